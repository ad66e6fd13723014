//! Why the program of the fast path leaves packets to the director: each reason by a packet that has it, and one that all but
//! has it and is taken.

mod entries;
mod headers;
mod sizes;

use std::collections::HashSet;

use super::kernel_program::{CASES, Established, established};
use crate::fastpath::abi::Passed;
use crate::testing::fast::Fate;
use crate::testing::{Kind, Packet};
use crate::wire::{Vnet, checksum};

const NAT: (&str, bool, bool, bool) = CASES[0];
const NAT_UDP: (&str, bool, bool, bool) = CASES[1];
const NAT6: (&str, bool, bool, bool) = CASES[2];
const FULL_NAT: (&str, bool, bool, bool) = CASES[4];
const DIRECT: (&str, bool, bool, bool) = CASES[7];
const IPIP: (&str, bool, bool, bool) = CASES[9];

impl Established {
    fn fate_of(&mut self, packet: &Packet) -> Fate {
        let frame = self.frame(packet);
        self.fast.run(&frame, Vnet::default())
    }

    #[track_caller]
    fn takes(&mut self, packet: &Packet) {
        let fate = self.fate_of(packet);
        assert!(matches!(fate, Fate::Taken(_)), "{fate:?} {packet:?}");
    }

    #[track_caller]
    fn leaves(&mut self, packet: &Packet, reason: Passed) {
        assert_eq!(self.fate_of(packet), Fate::Left(reason), "{packet:?}");
    }

    /// A frame of a request after somebody has had a hand in it; the IPv4 header's checksum is made right.
    fn run(&mut self, change: impl FnOnce(&mut Vec<u8>)) -> Fate {
        let mut frame = self.frame(&self.request.clone().carrying("text"));
        change(&mut frame);
        if frame[12] == 8 {
            frame[24..26].fill(0);
            let sum = !checksum::sum(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        self.fast.run(&frame, Vnet::default())
    }
}

#[test]
fn every_reason_has_a_packet_and_a_name_of_its_own() {
    let Some(mut nat) = established(NAT) else { return };
    for reason in Passed::ALL {
        let plain = nat.request.clone();
        let header = |at: usize, byte: u8| move |frame: &mut Vec<u8>| frame[at] = byte;
        let fate = match reason {
            Passed::Station => nat.run(header(5, 77)),
            Passed::EtherType => nat.run(header(13, 6)),
            Passed::Protocol => nat.run(header(23, 47)),
            Passed::Options => nat.run(header(14, 0x46)),
            Passed::Fragment => nat.run(header(21, 1)),
            Passed::Malformed => nat.run(header(14, 0x44)),
            Passed::Flags => nat.fate_of(&Packet { kind: Kind::Tcp("FA"), ..plain }),
            Passed::NoEntry => nat.fate_of(&plain.from("192.0.2.8:4000")),
            Passed::OtherEnd => nat.fate_of(&plain.to("198.51.100.2:80")),
            Passed::Ttl => nat.fate_of(&Packet { ttl: 1, ..plain }),
            Passed::TooBig => nat.fate_of(&plain.carrying(vec![7; 1461])),
            // Each has a test of its own, with a conn of another kind.
            Passed::OneWay | Passed::Neighbour | Passed::Superframe => continue,
            Passed::Unsummed | Passed::TcpOptions | Passed::Refused => continue,
        };
        assert_eq!(fate, Fate::Left(reason));
    }
    let names: HashSet<&str> = Passed::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Passed::ALL.len());
}
