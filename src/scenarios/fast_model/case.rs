//! What a conversation is about, and what happens in it: drawn from a seed.

use std::time::Duration;

use super::super::kernel_program::{CASES, JOINED};
use super::super::steps::secs;
use crate::base::{Endpoint, Mac, Proto, Rng};
use crate::sched::Mask;
use crate::service::{Ending, Judgement, Share};
use crate::testing::{Kind, Packet, endpoint};

/// Cases of conns whose handshakes the ends make themselves.
pub(super) const PLAIN: usize = CASES.len() - JOINED;

/// What a conversation is about.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) method: &'static str,
    pub(super) tcp: bool,
    pub(super) six: bool,
    pub(super) real_six: bool,
    /// Workers die without a word, so that bytes and replies are counted by estimate.
    pub(super) crashes: bool,
    persistent: bool,
}

/// One step, the same in both laboratories.
#[derive(Debug)]
pub(super) enum Step {
    /// A handshake with that server, if it is the one, and segments until the conn asks for entries; of UDP, datagrams.
    Opens(Packet, Endpoint),
    Client(Packet, u64),
    /// From this server to the client of that packet.
    Server(Endpoint, Packet, u64),
    Wait(Duration),
    Rules(String),
    /// The server is removed, the packet comes, and it is there again.
    Replaced(String, Packet, String),
    Reload(String),
    Judge(Proto, Endpoint, Endpoint, Judgement),
    Moves(u8, Mac),
    Mtu(u16),
    /// A router says that the tunnel by which this packet has left is narrower, and the next ones come.
    Narrower(Packet, u32),
    Standby(bool),
    /// Another worker goes on: of the same version, or of one that the program in the kernel is not for.
    Worker {
        same: bool,
    },
}

impl Case {
    pub(super) fn of(seed: u64) -> Case {
        let (method, tcp, six, real_six) = CASES[(seed % PLAIN as u64) as usize];
        Case { method, tcp, six, real_six, crashes: seed % 4 == 3, persistent: seed % 5 == 2 }
    }

    pub(super) fn is_nat(self) -> bool {
        self.is_full_nat() || self.method == "-m"
    }

    pub(super) fn is_full_nat(self) -> bool {
        self.method == "--fullnat"
    }

    fn flag(self) -> &'static str {
        if self.tcp { "-t" } else { "-u" }
    }

    fn proto(self) -> Proto {
        if self.tcp { Proto::TCP } else { Proto::UDP }
    }

    fn virt(self, number: u64) -> String {
        let number = 1 + number % 2;
        if self.six { format!("[2001:db8:51::{number}]:80") } else { format!("198.51.100.{number}:80") }
    }

    fn server(self, number: u64) -> String {
        let (number, port) = (21 + number % 2, if self.is_nat() { 8080 } else { 80 });
        if self.real_six { format!("[2001:db8::{number}]:{port}") } else { format!("10.0.0.{number}:{port}") }
    }

    fn service(self, number: u64, scheduler: &str) -> String {
        let persistence = if self.persistent { " -p 300" } else { "" };
        format!("-A {} {} -s {scheduler}{persistence}\n", self.flag(), self.virt(number))
    }

    fn dest(self, service: u64, server: u64, weight: u64) -> String {
        let (flag, virt, server) = (self.flag(), self.virt(service), self.server(server));
        format!("-a {flag} {virt} -r {server} {} -w {weight}\n", self.method)
    }

    /// Two services with two servers each; a bit of `weights` for each of them.
    pub(super) fn rules(self, scheduler: &str, weights: u64) -> String {
        let mut rules = String::new();
        for service in 0..2 {
            rules += &self.service(service, scheduler);
            if self.is_full_nat() {
                let local = if self.real_six { "2001:db8::30" } else { "10.0.0.30" };
                rules += &format!("-P {} {} -z {local}\n", self.flag(), self.virt(service));
            }
            for server in 0..2 {
                let weight = weights >> (2 * (2 * service + server)) & 3;
                if weight < 3 {
                    rules += &self.dest(service, server, weight);
                }
            }
        }
        rules
    }

    fn packet(self, rng: &mut Rng) -> Packet {
        let port = 4000 + rng.below(5);
        let client = if self.six { format!("[2001:db8:c::7]:{port}") } else { format!("192.0.2.7:{port}") };
        let kind = match self.tcp {
            true => Kind::Tcp(["S", "FA", "RA", "A", "AP", "AP", "AP", "AP"][rng.below(40).min(7) as usize]),
            false if rng.below(16) == 0 && !self.six => Kind::UdpWithout,
            false => Kind::Udp,
        };
        let largest = if rng.below(8) == 0 { 1600 } else { 600 };
        let payload: Vec<u8> = (0..rng.below(largest)).map(|_| rng.next_u64() as u8).collect();
        let (tos, ttl) = (rng.next_u64() as u8, if rng.below(16) == 0 { 1 } else { 64 });
        let (seq, ack) = (rng.next_u64() as u32, rng.next_u64() as u32);
        let virt = self.virt(u64::from(rng.below(4) == 0));
        let packet = Packet::new(&client, &virt, kind).carrying(payload);
        Packet { tos, ttl, seq, ack, dont_fragment: rng.below(4) > 0, ..packet }
    }

    pub(super) fn step(self, rng: &mut Rng) -> Step {
        let count = 1 + rng.below(20);
        let (service, server) = (u64::from(rng.below(4) == 0), rng.below(2));
        let (flag, virt, real) = (self.flag(), self.virt(service), self.server(server));
        match rng.below(32) {
            0..=4 => Step::Opens(self.packet(rng), endpoint(&self.server(count))),
            5..=13 => Step::Client(self.packet(rng), count),
            14..=18 => Step::Server(endpoint(&real), self.packet(rng), count),
            19 | 20 => Step::Wait(Duration::from_millis(count * 777)),
            21 => Step::Wait(secs(count * 60)),
            22 => Step::Rules(format!("-e {flag} {virt} -r {real} {} -w {}", self.method, count % 3)),
            23 => {
                let removed = format!("-d {flag} {virt} -r {real}");
                Step::Replaced(removed, self.packet(rng), self.dest(service, server, 1))
            }
            24 => Step::Reload(self.rules(["rr", "wrr", "lc"][(count % 3) as usize], rng.next_u64())),
            25 | 26 => Step::Judge(self.proto(), endpoint(&virt), endpoint(&real), judgement(rng)),
            27 => Step::Moves(21 + server as u8, Mac([2, 9, 9, 9, 9, rng.next_u64() as u8])),
            28 if self.method == "-i" && !self.real_six => Step::Narrower(self.packet(rng), 1200 + 10 * count as u32),
            28 => Step::Mtu([1500, 1400][(count % 2) as usize]),
            29 => Step::Standby(count.is_multiple_of(4)),
            30 => Step::Rules(
                [format!("--set {} {} {}", 100 + count, 20 + count, 30 + count), "-Z".into()][server as usize].clone(),
            ),
            _ => Step::Worker { same: count > 4 },
        }
    }
}

fn judgement(rng: &mut Rng) -> Judgement {
    let mask = [Mask::None, Mask::None, Mask::Failed, Mask::Drained, Mask::Unchecked][rng.below(5) as usize];
    let ending = [Ending::None, Ending::Reschedule, Ending::Drop, Ending::Reset][rng.below(4) as usize];
    let ending = if mask == Mask::None { Ending::None } else { ending };
    Judgement { mask, ending, share: Share::default(), ramp: 1 + rng.below(100) as u8 }
}
