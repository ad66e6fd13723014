//! The loop and the keeper: what the keeper says is heeded, and it is told of addresses that moved.
//!
//! Never waits for it.

use super::{Daemon, keeper};
use crate::base::{Family, Instant, LinkId};
use crate::keeper::messages::{ToKeeper, ToWorker, VirtualRouter};
use crate::vrrp::Tracked;

/// Addresses that the keeper is told of before packets have their turn again.
const MOVED_A_TURN: usize = 64;

impl Daemon {
    /// Heeds what the keeper says of links; false if it has ended.
    pub(super) fn listen(&mut self, now: Instant) -> bool {
        loop {
            match self.keeper.next_word() {
                Ok(Some(ToWorker::Mtu(link, mtu))) => self.director.router.set_mtu(LinkId(link), mtu),
                Ok(Some(ToWorker::Carrier(name, why))) => {
                    self.director.vrrp.judge(&Tracked::Link(name), why.as_deref());
                }
                Ok(Some(ToWorker::Back(_))) => self.director.presence().announce_again(now),
                // These are said at the start only.
                Ok(Some(ToWorker::State | ToWorker::Begin(_))) => {}
                Ok(Some(ToWorker::Ended(tag, ended))) => {
                    if !self.tracks.hear(tag, &ended, &mut self.director.vrrp) {
                        self.checks.hear_program(tag, ended, now);
                    }
                }
                Ok(Some(ToWorker::Stop)) => self.leaving = true,
                Ok(Some(ToWorker::Ping)) => self.keeper.tell(&ToKeeper::Pong),
                Ok(None) => return true,
                Err(keeper::Ended) => return false,
            }
        }
    }

    /// The keeper learns which addresses are here now, and the hosts of TUNs from it.
    pub(super) fn route_addresses_here(&mut self) {
        let mut moved = Vec::new();
        for _ in 0..MOVED_A_TURN {
            let Some((addr, here)) = self.director.take_moved_address() else { break };
            moved.push((addr, here));
        }
        if !moved.is_empty() {
            self.keeper.tell(&ToKeeper::Addresses(moved));
        }
        if let Some(active) = self.director.vrrp.take_news() {
            let name = |(link, id, family): (LinkId, u8, Family)| VirtualRouter {
                link: link.0,
                id,
                six: family == Family::V6,
            };
            self.keeper.tell(&ToKeeper::Active(active.into_iter().map(name).collect()));
        }
    }
}
