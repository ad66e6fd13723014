//! Virtual routers of a group: they take the addresses together, give them up together, and have what one of them tracks.

use super::Vrrp;
use super::options::Options;
use super::track::Standing;
use super::virtual_router::VirtualRouter;
use crate::base::Instant;
use crate::router::{Egress, Router, Turn};

impl Vrrp {
    /// What is tracked, or an operator, says something else. Those of a group have all that one of them tracks.
    pub(super) fn stand(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let all: Vec<Options> = self.routers.iter().map(|known| known.options().clone()).collect();
        for (known, own) in self.routers.iter_mut().zip(&all) {
            let with = |other: &&Options| other.is_of(own) || (own.group.is_some() && other.group == own.group);
            let tracks = all.iter().filter(with).flat_map(|other| &other.tracks);
            let mut standing = Standing::of(own.rank.priority, tracks, &self.failed);
            if self.stands_by {
                standing.fault = Some("the director stands by".to_owned());
            }
            self.changes.extend(known.stand(&standing, router, turn));
        }
    }

    /// One of a group takes over only with all others.
    pub(super) fn gather_groups(&mut self, now: Instant) {
        for at in 0..self.routers.len() {
            let (group, is_active) = (self.routers[at].options().group.clone(), self.routers[at].is_active());
            if group.is_none() || is_active || !self.routers[at].may_be_active(now) {
                continue;
            }
            let mut others = self.routers.iter().filter(|other| other.options().group == group);
            let all = others.all(|other| other.may_be_active(now));
            let until = if all { now } else { now + self.routers[at].options().rank.interval };
            self.routers[at].wait(until);
        }
    }

    /// One of a group that has gone takes the others with it.
    pub(super) fn follow_groups(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        for at in 0..self.routers.len() {
            let group = self.routers[at].options().group.clone();
            let left = |other: &VirtualRouter| other.options().group == group && !other.is_active();
            if group.is_some() && self.routers[at].is_active() && self.routers.iter().any(left) {
                self.changes.extend(self.routers[at].step_down(router, turn));
            }
        }
    }
}
