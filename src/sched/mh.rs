//! mh, Maglev hashing: the server that owns the slot of the client's address, and few move when servers do.
//!
//! ```text
//! slot = H1(address + port) mod N,  port only with `mh-port`, else 0,  N a prime (4093)
//! H1, H2: the lower 32 bits of SipHash-1-3 under keys 2654435761 and 2654446892
//! table: in list order each server takes `turns` free slots of its own permutation
//!        offset, offset + skip, offset + 2 skip, ... until all are taken
//!        offset = H1(its address + port) mod N,  skip = H2(...) mod (N - 1) + 1
//! turns: last nonzero weight / gcd, halved until it has no more bits than the size allows (6 at 4093)
//! `mh-fallback`: owner unavailable? H1 of (address + port + slot, slot + 1, ...): the first available
//! ```
//!
//! Never moves a client because of load or of weight 0: the table follows the last weight that was not 0.
//! The table is built by the first pick after a change, so a thousand changes cost one building.

use super::hash::{client_port, fold};
use super::wrr::gcd;
use super::{Change, Context, Flags, Flow, Scheduler, Servers, Settings};
use crate::base::{DestId, Endpoint, siphash13};

/// The table sizes of the kernel's build option, indices 8 to 17.
pub const TABLE_SIZES: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071];

/// Keys of the two hashes, each for both halves of SipHash's key.
const KEY_1: u64 = 2_654_435_761;
const KEY_2: u64 = 2_654_446_892;

pub(super) struct Maglev {
    flags: Flags,
    /// The list may have changed since the table was built.
    stale: bool,
    /// What the table was built from: a health check that sets weight 0 and back changes none of it.
    seats: Vec<(DestId, Seat)>,
    /// Owner of each slot; empty if no server has a weight.
    table: Vec<DestId>,
}

/// One server's part in the filling of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seat {
    /// First slot it wants.
    offset: u32,
    /// Distance to the next one, less than the table's size and not 0.
    skip: u32,
    /// How many slots it takes each time round.
    turns: u32,
}

impl Maglev {
    pub(super) fn new(flags: Flags) -> Maglev {
        Maglev { flags, stale: true, seats: vec![], table: vec![] }
    }

    /// Builds the table if the list has changed in anything that matters.
    #[cold]
    fn refresh(&mut self, servers: &Servers, settings: &Settings) {
        self.stale = false;
        let size = table_size(settings);
        if servers.len() > size as usize {
            // As in the kernel: the old table goes on serving whom it can.
            return;
        }
        let seats = seats(servers, size);
        if seats == self.seats && self.table.len() == size as usize {
            return;
        }
        self.seats = seats;
        let plan: Vec<Seat> = self.seats.iter().map(|(_, seat)| *seat).collect();
        self.table = populate(size, &plan).into_iter().map(|index| self.seats[index as usize].0).collect();
    }

    /// The server of a slot if it can take a conn.
    fn taker(&self, servers: &Servers, slot: usize) -> Option<DestId> {
        let owner = self.table[slot];
        let server = servers.get(owner);
        (server.available && server.eligible()).then_some(owner)
    }

    /// Other slots, hashed from the packet's own on.
    fn fall_back(&self, servers: &Servers, value: u32, slot: usize) -> Option<DestId> {
        // With no server left all slots would be tried for every packet.
        servers.iter().find(|(_, server)| server.eligible())?;
        let size = self.table.len();
        (0..size).find_map(|step| {
            let offset = ((slot + step) % size) as u32;
            self.taker(servers, slot_of(value.wrapping_add(offset), size))
        })
    }
}

impl Scheduler for Maglev {
    fn set_flags(&mut self, flags: Flags) {
        self.flags = flags;
    }

    fn changed(&mut self, _servers: &Servers, _change: Change, _settings: &Settings) {
        self.stale = true;
    }

    fn pick(&mut self, servers: &Servers, flow: &Flow, context: &mut Context) -> Option<DestId> {
        if self.stale {
            self.refresh(servers, context.settings);
        }
        if self.table.is_empty() {
            return None;
        }
        let port = if self.flags.has(Flags::PORT) { client_port(flow) } else { 0 };
        let value = fold(flow.src.addr).wrapping_add(u32::from(port));
        let slot = slot_of(value, self.table.len());
        let own = self.taker(servers, slot);
        let out = servers.get(self.table[slot]).is_out();
        if own.is_some() || !(self.flags.has(Flags::FALLBACK) || out) {
            return own;
        }
        self.fall_back(servers, value, slot)
    }
}

fn slot_of(value: u32, size: usize) -> usize {
    (hash_of(value, KEY_1) % size as u32) as usize
}

/// The lower half of the hash of four bytes, as the kernel takes it.
fn hash_of(value: u32, key: u64) -> u32 {
    siphash13([key; 2], [4 << 56 | u64::from(value)]) as u32
}

/// The configured size; the kernel's default in place of one that is not a prime of the list.
fn table_size(settings: &Settings) -> u32 {
    let known = TABLE_SIZES.contains(&settings.mh_table_size);
    debug_assert!(known, "mh table size {}", settings.mh_table_size);
    if known { settings.mh_table_size } else { 4093 }
}

/// Everyone's part, in list order; none if no server has ever had a weight.
fn seats(servers: &Servers, size: u32) -> Vec<(DestId, Seat)> {
    let weights = || servers.iter().map(|(_, server)| server.last_weight);
    let unit = weights().fold(0, gcd);
    if unit == 0 {
        return vec![];
    }
    let index = 8 + TABLE_SIZES.iter().position(|known| *known == size).unwrap_or(4) as u32;
    let bits = 32 - (weights().max().unwrap_or(0) / unit).leading_zeros();
    let shift = bits.saturating_sub(index / 2);
    let seat = |endpoint, weight: u32| {
        let least = u32::from(weight != 0);
        Seat { turns: ((weight / unit) >> shift).max(least), ..whereabouts(endpoint, size) }
    };
    servers.iter().map(|(id, server)| (id, seat(server.endpoint, server.last_weight))).collect()
}

/// A server's permutation of the slots.
fn whereabouts(endpoint: Endpoint, size: u32) -> Seat {
    let value = fold(endpoint.addr).wrapping_add(u32::from(endpoint.port));
    let hash = |key| hash_of(value, key);
    Seat { offset: hash(KEY_1) % size, skip: hash(KEY_2) % (size - 1) + 1, turns: 0 }
}

/// Fills `size` slots with indices into `seats` (section 3.4 of the Maglev paper, Eisenbud et al. 2016,
/// with turns for weights); empty if no server has a turn.
fn populate(size: u32, seats: &[Seat]) -> Vec<u32> {
    if seats.iter().all(|seat| seat.turns == 0) {
        return vec![];
    }
    let mut table = vec![0; size as usize];
    // One bit a slot stays in the nearest cache, where the table does not.
    let mut taken = vec![0u64; size as usize / 64 + 1];
    let mut next: Vec<u32> = seats.iter().map(|seat| seat.offset).collect();
    let mut left = size;
    loop {
        for (index, seat) in seats.iter().enumerate() {
            for _ in 0..seat.turns {
                let mut slot = next[index];
                while taken[slot as usize / 64] >> (slot % 64) & 1 == 1 {
                    slot += seat.skip;
                    slot = slot.checked_sub(size).unwrap_or(slot);
                }
                next[index] = slot;
                taken[slot as usize / 64] |= 1 << (slot % 64);
                table[slot as usize] = index as u32;
                left -= 1;
                if left == 0 {
                    return table;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENTS, Farm, flow, random_flow};
    use super::*;
    use crate::base::Rng;

    fn largest() -> Settings {
        Settings { mh_table_size: 131_071, ..Settings::default() }
    }

    fn clients(farm: &mut Farm) -> String {
        farm.picks_for(CLIENTS.map(|addr| flow(addr, "198.51.100.1")))
    }

    /// The owners of all slots as names.
    fn table(farm: &Farm) -> Vec<char> {
        let servers = Servers::new(&farm.order, &farm.slab);
        let mut maglev = Maglev::new(Flags::default());
        maglev.refresh(&servers, &farm.settings);
        maglev.table.iter().map(|id| farm.name(*id)).collect()
    }

    #[test]
    fn clients_hash_as_they_do_in_the_kernel() {
        let vectors = [([10, 0, 0, 1], 0x0308_0ce4), ([192, 0, 2, 1], 0x9288_9c88), ([203, 0, 113, 200], 0x9da0_894b)];
        for (addr, hash) in vectors {
            assert_eq!(hash_of(u32::from_be_bytes(addr), KEY_1), hash, "{addr:?}");
        }
    }

    /// The worked example of the paper, its table 1.
    #[test]
    fn the_papers_example_comes_out() {
        let seat = |offset, skip| Seat { offset, skip, turns: 1 };
        assert_eq!(populate(7, &[seat(3, 4), seat(0, 2), seat(3, 1)]), [1, 0, 1, 0, 2, 2, 0]);
        assert_eq!(populate(7, &[seat(3, 4), seat(3, 1)]), [0, 0, 0, 0, 1, 1, 1], "without the second");
        assert!(populate(7, &[]).is_empty());
    }

    #[test]
    fn permutations_start_where_the_kernels_do() {
        let farm = Farm::new("mh", &[1, 1, 1]);
        let expected = [(2684, 2584), (183, 1302), (1446, 594)];
        for (server, (offset, skip)) in farm.slab.iter().zip(expected) {
            assert_eq!(whereabouts(server.endpoint, 4093), Seat { offset, skip, turns: 0 });
        }
    }

    #[test]
    fn tables_are_the_kernels_slot_for_slot() {
        let vectors: [(&[u32], [usize; 3], &str, u32); 4] = [
            (&[1, 1, 1], [1364, 1364, 1365], "ABCACABABCACCBABACCCAABACBCCABAC", 0x5bec_bb20),
            (&[1, 2, 3], [682, 1364, 2047], "ABCCCCBABCCCCCABBCCCAABBCBCCACBC", 0x016f_7e76),
            (&[100, 50, 50], [2046, 1023, 1024], "AAAACABAACACABABAACCAABAABCAABAC", 0x6d5c_b569),
            (&[1, 0, 1], [2046, 0, 2047], "AACACACAACACCCAAACCCAACACACCACAC", 0x0199_574a),
        ];
        for (weights, shares, first, digest) in vectors {
            let table = table(&Farm::new("mh", weights));
            let share = |name| table.iter().filter(|owner| **owner == name).count();
            assert_eq!(['A', 'B', 'C'].map(share), shares, "{weights:?}");
            assert_eq!(table[..32].iter().collect::<String>(), first, "{weights:?}");
            let sum = |d: u32, owner: &char| d.wrapping_mul(31).wrapping_add(*owner as u32 - 'A' as u32);
            assert_eq!(table.iter().fold(0, sum), digest, "{weights:?}");
        }
    }

    #[test]
    fn clients_find_the_slots_the_kernel_gives_them() {
        let slots = [
            (3711, 490),
            (1884, 1889),
            (3741, 2858),
            (1263, 1703),
            (3538, 4061),
            (2891, 1302),
            (1482, 696),
            (3310, 838),
        ];
        for (addr, (alone, with_port)) in CLIENTS.iter().zip(slots) {
            let folded = fold(addr.parse().unwrap());
            assert_eq!(slot_of(folded, 4093), alone, "{addr}");
            assert_eq!(slot_of(folded + 12345, 4093), with_port, "{addr} port 12345");
        }
        assert_eq!(slot_of(fold("2001:db8::1".parse().unwrap()), 4093), 3457);
    }

    #[test]
    fn weight_0_moves_nobody_else() {
        let mut farm = Farm::new("mh", &[1, 1, 1]);
        assert_eq!(clients(&mut farm), "B A B B B A B C");
        farm.weigh('B', 0);
        assert_eq!(clients(&mut farm), "- A - - - A - C");
        farm.scheduler.set_flags(Flags::FALLBACK);
        assert_eq!(clients(&mut farm), "A A C A C A C C");
        farm.weigh('B', 1);
        farm.scheduler.set_flags(Flags::PORT);
        assert_eq!(clients(&mut farm), "B C A A B A A B");
    }

    /// A server whose checks change their mind all the time.
    #[test]
    fn a_mask_that_comes_and_goes_builds_no_table() {
        use super::super::Mask;
        let mut farm = Farm::new("mh", &[1, 2, 3]);
        let mut maglev = Maglev::new(Flags::default());
        maglev.refresh(&Servers::new(&farm.order, &farm.slab), &farm.settings);
        let built = maglev.table.as_ptr();
        for mask in [Mask::Failed, Mask::None, Mask::Unchecked, Mask::Drained].into_iter().cycle().take(300) {
            farm.server('B').mask = mask;
            maglev.refresh(&Servers::new(&farm.order, &farm.slab), &farm.settings);
            assert_eq!(maglev.table.as_ptr(), built, "{mask:?}");
        }
        farm.weigh('B', 1);
        maglev.refresh(&Servers::new(&farm.order, &farm.slab), &farm.settings);
        assert_ne!(maglev.table.as_ptr(), built, "another weight needs another one");
    }

    #[test]
    fn nobody_left_is_nobody() {
        let mut farm = Farm::with("mh", Flags::FALLBACK, Settings::default(), &[2, 3]);
        farm.server('A').overloaded = true;
        farm.weigh('B', 0);
        assert_eq!(farm.picks(1), "-");
        farm.remove('A');
        farm.remove('B');
        assert_eq!(farm.picks(1), "-");
        assert_eq!(Farm::new("mh", &[0, 0]).picks(1), "-");
    }

    #[test]
    fn shares_are_the_weights_within_one_percent_at_the_largest_size() {
        let mut rng = Rng::seeded(2);
        for _ in 0..5 {
            let weights: Vec<u32> = (0..50).map(|_| 1 + rng.below(10) as u32).collect();
            let farm = Farm::with("mh", Flags::default(), largest(), &weights);
            let table = table(&farm);
            let total: u32 = weights.iter().sum();
            for (index, weight) in weights.iter().enumerate() {
                let name = farm.name(DestId(index as u32));
                let share = table.iter().filter(|owner| **owner == name).count() as f64 / 131_071.0;
                let fair = f64::from(*weight) / f64::from(total);
                assert!((share / fair - 1.0).abs() < 0.01, "{share} for {fair}");
            }
        }
    }

    #[test]
    fn a_removed_server_takes_hardly_anyone_elses_flows_along() {
        let mut rng = Rng::seeded(6);
        let mut farm = Farm::with("mh", Flags::default(), largest(), &[1; 20]);
        let flows: Vec<Flow> = (0..50_000).map(|_| random_flow(&mut rng)).collect();
        let before: Vec<_> = flows.iter().map(|flow| farm.pick(flow)).collect();
        let gone = farm.id('H');
        farm.remove('H');
        let after: Vec<_> = flows.iter().map(|flow| farm.pick(flow)).collect();
        let others = || before.iter().zip(&after).filter(|(owner, _)| **owner != Some(gone));
        let moved = others().filter(|(owner, now)| owner != now).count();
        assert!(moved * 100 < others().count(), "{moved} of {} moved", others().count());
        assert!(!after.contains(&Some(gone)));
    }
}
