//! Counters of a service, a dest or the whole director, and how fast they move.
//!
//! Monotonic; bytes are layer-3 lengths before rewriting (in) and after it (out), as IPVS counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Between two readings of a meter.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

/// Five counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Conns scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_pkts: u64,
    /// Packets from real servers.
    pub out_pkts: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes from real servers.
    pub out_bytes: u64,
}

impl Stats {
    /// All that others counted.
    pub fn add(&mut self, others: &Stats) {
        let Stats { conns, in_pkts, out_pkts, in_bytes, out_bytes } = self;
        *conns += others.conns;
        *in_pkts += others.in_pkts;
        *out_pkts += others.out_pkts;
        *in_bytes += others.in_bytes;
        *out_bytes += others.out_bytes;
    }

    /// One more packet from a client.
    #[inline]
    pub fn count_in(&mut self, bytes: usize) {
        self.in_pkts += 1;
        self.in_bytes += bytes as u64;
    }

    /// One more packet from a real server.
    #[inline]
    pub fn count_out(&mut self, bytes: usize) {
        self.out_pkts += 1;
        self.out_bytes += bytes as u64;
    }
}

/// Per second: what `--rate` lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Conns scheduled.
    pub conns: u64,
    /// Packets from clients.
    pub in_pkts: u64,
    /// Packets from real servers.
    pub out_pkts: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes from real servers.
    pub out_bytes: u64,
}

/// The kernel's estimator: with each reading a quarter of the difference between the rate of the last two seconds and
/// the average so far goes into the average.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meter {
    last: Stats,
    /// Readings that are in the average.
    readings: u64,
    /// Conns and packets in 1/1024, bytes in 1/32 a second.
    average: Rates,
}

impl Meter {
    /// Rates of counters that stand where they stand.
    pub(super) fn starting_at(stats: &Stats, readings: u64) -> Meter {
        Meter { last: *stats, readings, average: Rates::default() }
    }

    /// Takes the reading of that number; those between it and the last one found nothing moved.
    pub(super) fn read(&mut self, now: &Stats, number: u64) {
        rest(&mut self.average, number.saturating_sub(self.readings + 1));
        self.readings = number;
        let last = std::mem::replace(&mut self.last, *now);
        let Rates { conns, in_pkts, out_pkts, in_bytes, out_bytes } = &mut self.average;
        // Twice 512 is 1024, twice 16 is 32: the difference is of two seconds.
        approach(conns, (now.conns - last.conns) << 9);
        approach(in_pkts, (now.in_pkts - last.in_pkts) << 9);
        approach(out_pkts, (now.out_pkts - last.out_pkts) << 9);
        approach(in_bytes, (now.in_bytes - last.in_bytes) << 4);
        approach(out_bytes, (now.out_bytes - last.out_bytes) << 4);
    }

    /// Whole units per second after so many readings.
    pub(super) fn rates(&self, readings: u64) -> Rates {
        let mut average = self.average;
        rest(&mut average, readings.saturating_sub(self.readings));
        let Rates { conns, in_pkts, out_pkts, in_bytes, out_bytes } = average;
        let units = |average: u64| (average + 0x1ff) >> 10;
        let bytes = |average: u64| (average + 0xf) >> 5;
        Rates {
            conns: units(conns),
            in_pkts: units(in_pkts),
            out_pkts: units(out_pkts),
            in_bytes: bytes(in_bytes),
            out_bytes: bytes(out_bytes),
        }
    }
}

/// As many readings in which nothing had moved.
fn rest(average: &mut Rates, readings: u64) {
    let Rates { conns, in_pkts, out_pkts, in_bytes, out_bytes } = average;
    for average in [conns, in_pkts, out_pkts, in_bytes, out_bytes] {
        for _ in 0..readings {
            if *average == 0 {
                break;
            }
            approach(average, 0);
        }
    }
}

/// A quarter of the way, rounded down.
fn approach(average: &mut u64, rate: u64) {
    *average = average.wrapping_add_signed((rate as i64 - *average as i64) >> 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel shows, reading by reading.
    #[test]
    fn rates_follow_as_the_kernels_do() {
        let (mut meter, mut stats) = (Meter::default(), Stats::default());
        let mut shown = Vec::new();
        for number in 1..=12 {
            stats.conns += 200;
            meter.read(&stats, number);
            shown.push(meter.rates(number).conns);
        }
        assert_eq!(shown, [25, 44, 58, 68, 76, 82, 87, 90, 92, 94, 96, 97]);

        let (mut meter, stats) = (Meter::default(), Stats { in_bytes: 3000, conns: 1, ..Stats::default() });
        let (mut shown, mut resting) = (Vec::new(), Meter::default());
        resting.read(&stats, 1);
        for number in 1..=4 {
            meter.read(&stats, number);
            let late = resting.rates(number);
            assert_eq!(late, meter.rates(number), "readings without movement may come later, all at once");
            shown.push((late.in_bytes, late.conns));
        }
        assert_eq!(shown, [375, 281, 211, 158].map(|bytes| (bytes, 0)));
        resting.read(&stats, 5);
        meter.read(&stats, 5);
        assert_eq!(resting, meter);
        assert_eq!(resting.rates(u64::MAX), Rates::default());
    }
}
