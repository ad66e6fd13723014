//! dh, destination hashing: the server that owns the bucket of the virtual address.
//!
//! ```text
//! bucket = upper 8 bits of (address * 0x61C88647);  one bucket for each server in turn
//! ```
//!
//! Never looks at weights other than 0 and never at another server if the owner cannot take the conn.

use super::hash::{Buckets, fold, hash_8};
use super::{Change, Context, Flow, Scheduler, Servers, Settings};
use crate::base::DestId;

pub(super) struct DestinationHash(Buckets);

impl DestinationHash {
    pub(super) fn new(servers: &Servers) -> DestinationHash {
        DestinationHash(Buckets::deal(servers, |_| 1))
    }
}

impl Scheduler for DestinationHash {
    fn changed(&mut self, servers: &Servers, change: Change, _settings: &Settings) {
        match change {
            Change::Added(_) | Change::Removed { .. } => *self = DestinationHash::new(servers),
            Change::Edited(_) => {}
        }
    }

    fn pick(&mut self, servers: &Servers, flow: &Flow, _context: &mut Context) -> Option<DestId> {
        let bucket = hash_8(fold(flow.dst.addr));
        let owner = self.0.owner(bucket)?;
        let server = servers.get(owner);
        if server.available && server.is_out() {
            // Checks took it out, which the kernel does not know: the next bucket of a server that is there.
            let others = (1..=255u8).map_while(|step| self.0.owner(bucket.wrapping_add(step)));
            return others.into_iter().find(|other| servers.get(*other).eligible());
        }
        (server.available && server.eligible()).then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENTS, Farm, flow};

    fn picks(farm: &mut Farm) -> String {
        farm.picks_for(CLIENTS.map(|addr| flow("192.0.2.9", addr)))
    }

    #[test]
    fn the_virtual_address_decides_and_weights_do_not() {
        assert_eq!(picks(&mut Farm::new("dh", &[1, 1, 1])), "C A B A B A B B");
        assert_eq!(picks(&mut Farm::new("dh", &[9, 1, 4])), "C A B A B A B B");
    }

    #[test]
    fn a_server_that_cannot_leaves_its_flows_without_one() {
        let mut farm = Farm::new("dh", &[1, 1, 1]);
        farm.weigh('B', 0);
        farm.server('C').overloaded = true;
        assert_eq!(picks(&mut farm), "- A - A - A - -");
        farm.remove('A');
        farm.remove('B');
        farm.remove('C');
        assert_eq!(picks(&mut farm), "- - - - - - - -");
    }
}
