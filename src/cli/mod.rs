//! What operators run beside the director: `ipvsadm`, `tapvs status`, `tapvs reload`, `tapvs check`, completion.
//!
//! Never touches a packet or a device; everything is asked of a running director.

mod check;
pub mod completion;
mod help;
mod ipvsadm;
mod locals;
mod status;

pub use check::{CheckArgs, check};
pub use ipvsadm::ipvsadm;
pub use status::{ReloadArgs, StatusArgs};
