//! The configuration: flags, or a TOML file, become a draft; a checked draft is a plan, and a plan makes a director.
//!
//! Everything is checked before anything on the host is touched. Never opens a device and never handles a packet.

mod commands;
pub mod describe;
mod diff;
mod draft;
mod flags;
mod flags_draft;
mod hop;
mod link;
mod outside;
mod place;
mod plan;
mod route;
pub mod spec;
mod toml;
mod validate;
mod vrrp;

#[cfg(any(test, feature = "testing"))]
pub use self::toml::read as read_text;
pub use self::toml::read_file;
use self::toml::{check_of_word, vrrp_of_word};
pub use diff::{Change, Wanted, add_daemons, add_rules, common_rules, diff, rules_of};
pub use draft::{ByHand, Rights};
pub use flags::RunArgs;
pub use link::PlannedLink;
pub use outside::Outside;
pub use place::{At, Problems};
pub use plan::{Plan, run_on_processor};

use crate::base::Instant;

/// Configuration happens before time begins.
const BEFORE: Instant = Instant::START;
