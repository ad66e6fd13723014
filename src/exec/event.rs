//! What an event of the loop is about: the upper half of its data. A socket's number is in the lower one.

/// A call of the program.
pub const CALLS: u64 = 0;
/// A signal.
pub const SIGNALS: u64 = 1;
/// The director has gone.
pub const DIRECTOR: u64 = 2;
/// The program has sent something, or has room again.
pub const SOCKET: u64 = 3;
/// The kernel has answered for a family of its own.
pub const KERNEL: u64 = 4;
