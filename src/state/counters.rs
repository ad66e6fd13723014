//! Counters of services and dests in the file, by slot.
//!
//! Never counts: they are copies of what the director counts.

use super::State;
use crate::base::Array;
use crate::director::Director;
use crate::service::Stats;

impl State {
    /// Copies the counters, which move with every packet, to where a later process finds them.
    pub fn save_counters(&mut self, director: &Director) {
        let services = &director.flows.services;
        if self.total.commit(1) {
            self.total[0] = numbers(&services.total);
        }
        for (slot, service) in services.slots_from(0) {
            put(&mut self.services, slot, &service.stats);
            for dest in &service.dests {
                put(&mut self.dests, dest.0, &services.dest(*dest).stats);
            }
        }
    }

    /// The counters of then: of a service's slot, of a dest's, of all together.
    pub fn counters(&self) -> (impl Fn(u32) -> Stats, impl Fn(u32) -> Stats, Stats) {
        let of = |array: &'_ Array<[u64; 5]>, slot: u32| stats(array.get(slot as usize).copied().unwrap_or_default());
        (move |slot| of(&self.services, slot), move |slot| of(&self.dests, slot), stats(self.total[0]))
    }
}

fn put(array: &mut Array<[u64; 5]>, slot: u32, stats: &Stats) {
    let slot = slot as usize;
    if slot < array.len() && array.commit(slot + 1) {
        array[slot] = numbers(stats);
    }
}

fn numbers(stats: &Stats) -> [u64; 5] {
    let Stats { conns, in_pkts, out_pkts, in_bytes, out_bytes } = *stats;
    [conns, in_pkts, out_pkts, in_bytes, out_bytes]
}

/// Counters have no check of their own: what no director counts in ten years is damage, and nothing is taken of it.
fn stats(numbers: [u64; 5]) -> Stats {
    const MOST: u64 = 1 << 62;
    let fit = numbers.iter().all(|number| *number < MOST);
    let [conns, in_pkts, out_pkts, in_bytes, out_bytes] = if fit { numbers } else { [0; 5] };
    Stats { conns, in_pkts, out_pkts, in_bytes, out_bytes }
}
