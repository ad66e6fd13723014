//! Which clients have TCP conns, for a program in the kernel that answers SYNs of all others.
//!
//! A count in each of many places; a keyed hash of its endpoint gives a client its place (multiply-shift, Dietzfelbinger and
//! others, 1997). No conn is missed, but one of another client in the same place is seen too.

use super::record::Conn;
use crate::base::{Array, Endpoint, Packed, Proto};

/// Bits of a place.
const BITS: u32 = 20;
/// Places that there are.
pub const CLIENT_PLACES: usize = 1 << BITS;

/// The counts; the program reads them while they change.
pub(super) struct Clients {
    places: Array<u8>,
    key: [u64; 2],
}

/// Whether a conn comes or goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Comes,
    Goes,
}

fn place_of(key: [u64; 2], client: Endpoint) -> usize {
    let [upper, lower] = Packed::from(client.addr).halves();
    let lower = lower ^ u64::from(client.port) << 48;
    (upper.wrapping_mul(key[0]).wrapping_add(lower.wrapping_mul(key[1])) >> (u64::BITS - BITS)) as usize
}

impl Clients {
    /// Counts these conns, and what is noted from then on.
    pub(super) fn of<'a>(mut places: Array<u8>, key: [u64; 2], conns: impl Iterator<Item = &'a Conn>) -> Clients {
        places[..].fill(0);
        let mut clients = Clients { places, key };
        conns.for_each(|conn| clients.note(conn, Step::Comes));
        clients
    }

    pub(super) fn note(&mut self, conn: &Conn, step: Step) {
        if conn.proto() != Proto::TCP || conn.is_template() {
            return;
        }
        let Some(count) = self.places.get_mut(place_of(self.key, conn.client())) else { return };
        // The largest stays, for nobody knows how many there are.
        match step {
            Step::Comes => *count = count.saturating_add(1),
            Step::Goes if *count < u8::MAX => *count = count.saturating_sub(1),
            Step::Goes => {}
        }
    }
}

#[cfg(test)]
impl Clients {
    /// True if these clients' places count one each, and together all that is counted.
    pub(super) fn are(&self, clients: impl Iterator<Item = Endpoint>) -> bool {
        let mut wanted = std::collections::BTreeMap::<usize, usize>::new();
        clients.for_each(|client| *wanted.entry(place_of(self.key, client)).or_default() += 1);
        let counted: usize = self.places.iter().map(|count| usize::from(*count)).sum();
        let is_wanted = |(place, count): (&usize, &usize)| usize::from(self.places[*place]) == *count;
        counted == wanted.values().sum::<usize>() && wanted.iter().all(is_wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    const KEY: [u64; 2] = [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321];

    fn endpoint(addr: std::net::IpAddr, port: u16) -> Endpoint {
        Endpoint::new(addr, port)
    }

    #[test]
    fn the_ports_of_a_client_and_clients_of_a_net_have_places_of_their_own() {
        let mut rng = Rng::seeded(5);
        for six in [false, true] {
            let addr = |last: u32| match six {
                false => std::net::IpAddr::from((0xc000_0200 + last).to_be_bytes()),
                true => std::net::IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(last)).to_be_bytes()),
            };
            let ports: std::collections::HashSet<_> =
                (0..=u16::MAX).map(|port| place_of(KEY, endpoint(addr(7), port))).collect();
            let clients: std::collections::HashSet<_> =
                (0..1 << 14).map(|last| place_of(KEY, endpoint(addr(last), 1024 + rng.below(60_000) as u16))).collect();
            assert!(ports.len() > 60_000 && clients.len() > 15_000, "{} {}", ports.len(), clients.len());
        }
    }
}
