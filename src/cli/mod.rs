//! What operators run beside the director: `ipvsadm`, `tapvs status`, `tapvs reload`, `tapvs upgrade`, `tapvs standby`, `tapvs check`, completion.
//!
//! Never touches a packet or a device; everything is asked of a running director.

mod announce;
mod check;
pub mod completion;
mod health;
mod help;
mod ipvsadm;
mod locals;
mod proc;
mod settings;
mod show;
mod status;
mod sync;
mod upgrade;
mod vrrp;

pub use announce::AnnounceArgs;
pub use check::{CheckArgs, check};
pub use health::{CheckNowArgs, DrainArgs, ForceArgs, HealthArgs, UndrainArgs};
pub use ipvsadm::{Tool, ipvsadm};
pub use proc::ProcArgs;
pub use settings::{GetArgs, MarkArgs, SetArgs};
pub use status::{ReloadArgs, StandbyArgs, StatusArgs};
pub use sync::SyncArgs;
pub use upgrade::UpgradeArgs;
pub use vrrp::VrrpArgs;
