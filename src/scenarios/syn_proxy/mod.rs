//! The SYN proxy, in exact frames: who says what to whom, and whose numbers, clocks and windows are in it.

mod ends;
mod heirs;
mod numbers;
mod service;

use etherparse::{Ipv4Header, Ipv6Header, TcpHeader};

use super::sequences::is_sound;
use super::{LIP, RS6};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Frame, Lab, Packet, ROUTER, endpoint, mac_of, with_options};

/// Maximum segment size 1460, selective acknowledgements, clock 100, windows shifted by 9 bits.
const OFFER: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 100, 0, 0, 0, 0, 1, 3, 3, 9];
/// The same of a server: clock 7,000,000, windows shifted by 4 bits.
const ANSWER: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 106, 207, 192, 0, 0, 0, 100, 1, 3, 3, 4];

pub(super) fn rules(virt: &str, real: &str, method: &str, mode: &str) -> String {
    let local = if real == RS6 { "2001:db8::30" } else { LIP };
    let mut rules = format!("-A -t {virt} -s rr --syn-proxy {mode}\n-a -t {virt} -r {real} {method}\n");
    if method.starts_with("-b") {
        rules += &format!("-P -t {virt} -z {local}\n");
    }
    rules
}

/// A segment that left, and its header.
pub(super) struct Seen {
    pub(super) packet: Packet,
    pub(super) tcp: TcpHeader,
}

impl Seen {
    #[track_caller]
    pub(super) fn of(frame: &Frame) -> Seen {
        is_sound(frame);
        let bytes = &frame.bytes[14..];
        let rest = match bytes[0] >> 4 {
            4 => Ipv4Header::from_slice(bytes).unwrap().1,
            _ => Ipv6Header::from_slice(bytes).unwrap().1,
        };
        Seen { packet: frame.packet(), tcp: TcpHeader::from_slice(rest).unwrap().0 }
    }

    fn options(&self) -> Vec<u8> {
        self.tcp.options.as_slice().to_vec()
    }

    /// What an option says; the segment may have some that only tapvs knows.
    pub(super) fn option(&self, kind: u8) -> Option<Vec<u8>> {
        let mut rest = self.tcp.options.as_slice();
        while let [first, others @ ..] = rest {
            let len = if *first < 2 { 1 } else { usize::from(others[0]) };
            if *first == kind {
                return Some(rest[2..len].to_vec());
            }
            rest = &rest[len..];
        }
        None
    }

    /// The numbers in an option.
    pub(super) fn numbers(&self, kind: u8) -> Option<(u32, u32)> {
        let said = self.option(kind)?;
        let at = |at: usize| u32::from_be_bytes(said[at..at + 4].try_into().unwrap());
        Some((at(0), at(4)))
    }

    /// Its clock, and what it echoes.
    pub(super) fn clocks(&self) -> Option<(u32, u32)> {
        self.numbers(8)
    }
}

fn stamp(value: u32, echo: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
}

/// A conn between two ends that have options.
struct Conn {
    lab: Lab,
    client: &'static str,
    virt: &'static str,
    real: &'static str,
    first: u32,
    /// What the client was answered.
    cookie: Seen,
}

impl Conn {
    fn asked(client: &'static str, virt: &'static str, real: &'static str, method: &str) -> Conn {
        let settings = Settings { icmp_rate: 0, ..Settings::default() };
        let mut lab = Lab::with(settings, &rules(virt, real, method, "on"));
        let syn = Packet { seq: 5000, ..Packet::tcp(client, virt, "S") };
        let answer = lab.frame(&with_options(syn.frame(ROUTER, DIRECTOR), &OFFER));
        assert_eq!((answer.len(), lab.director.flows.conns.len()), (1, 0), "nothing is kept");
        let cookie = Seen::of(&answer[0]);
        Conn { lab, client, virt, real, first: 5001, cookie }
    }

    fn client(&mut self, flags: &'static str, at: u32, payload: &[u8], options: &[u8]) -> Vec<Frame> {
        let ack = self.cookie.packet.seq.wrapping_add(1);
        let segment = Packet { seq: self.first + at, ack, ..Packet::tcp(self.client, self.virt, flags) };
        self.lab.frame(&framed(&segment.carrying(payload), ROUTER, options))
    }

    /// A server's segment, in answer to a SYN that it saw: its number, and how many numbers from the SYN's on it acknowledges.
    fn server(&mut self, syn: &Packet, flags: &'static str, (seq, ack): (u32, u32), options: &[u8]) -> Vec<Frame> {
        let segment =
            Packet { seq, ack: syn.seq.wrapping_add(ack), dst: syn.src, ..Packet::tcp(self.real, "0.0.0.0:0", flags) };
        let from = mac_of(endpoint(self.real).addr);
        self.lab.frame(&framed(&segment, from, options))
    }
}

fn framed(segment: &Packet, from: crate::base::Mac, options: &[u8]) -> Vec<u8> {
    match options {
        [] => segment.frame(from, DIRECTOR),
        options => with_options(segment.frame(from, DIRECTOR), options),
    }
}
