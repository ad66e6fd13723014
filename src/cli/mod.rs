//! What operators run beside the director: `ipvsadm`, `tapvs status`, `tapvs reload`, `tapvs check`, completion.
//!
//! Never touches a packet or a device; everything is asked of a running director.

mod check;
pub mod completion;
mod help;
mod ipvsadm;
mod locals;
mod settings;
mod status;

use std::io::{self, Write};

pub use check::{CheckArgs, check};
pub use ipvsadm::{Tool, ipvsadm};
pub use settings::{GetArgs, MarkArgs, SetArgs};
pub use status::{ReloadArgs, StatusArgs};

/// Writes to standard output; who does not want to read any more is not an error.
fn show(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
