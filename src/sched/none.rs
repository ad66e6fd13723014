//! none: no server for anyone.
//!
//! ```text
//! every new conn is refused; conns that exist go on
//! ```
//!
//! Never picks.

use super::{Context, Flow, Scheduler, Servers};
use crate::base::DestId;

pub(super) struct Nobody;

impl Scheduler for Nobody {
    fn pick(&mut self, _servers: &Servers, _flow: &Flow, _context: &mut Context) -> Option<DestId> {
        None
    }
}
