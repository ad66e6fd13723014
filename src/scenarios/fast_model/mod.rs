//! The same conversation with and without a kernel that forwards: the same frames leave, and the same is known afterwards.
//!
//! Beside the model of the kernel stands the program itself, where it may be loaded. `TAPVS_SEEDS` in the environment says how many
//! conversations there are.

use std::hash::RandomState;
use std::time::Duration;

use super::fast::arp_from;
use super::kernel_program::{CASES, JOINED};
use super::steps::secs;
use crate::base::{Endpoint, Instant, Mac, Proto, Rng};
use crate::config::{diff, rules_of};
use crate::director::Settings;
use crate::ipvsadm;
use crate::sched::Mask;
use crate::service::command::{Command, ServiceKey};
use crate::service::{Ending, Judgement, Share, Stats};
use crate::testing::{DIRECTOR, Frame, KernelModel, Kind, LINK, Lab, Packet, ROUTER, Shadow, endpoint, mac_of};

/// Cases of conns whose handshakes the ends make themselves.
const PLAIN: usize = CASES.len() - JOINED;
/// Conversations, and steps of each.
const SEEDS: u64 = 90;
const STEPS: usize = 150;
const ROOM: usize = 8;

/// What is known of a conn at the end.
type Known = (String, u8, u32, Instant);

/// Of all conns, and what is counted of each dest and of all.
type Everything = (Vec<Known>, Vec<Stats>);

/// What a conversation is about.
#[derive(Clone, Copy)]
struct Case {
    method: &'static str,
    tcp: bool,
    six: bool,
    real_six: bool,
    /// Workers die without a word, so that bytes and replies are counted by estimate.
    crashes: bool,
    persistent: bool,
}

/// One step, the same in both laboratories.
#[derive(Debug)]
enum Step {
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
    fn of(seed: u64) -> Case {
        let (method, tcp, six, real_six) = CASES[(seed % PLAIN as u64) as usize];
        Case { method, tcp, six, real_six, crashes: seed % 4 == 3, persistent: seed % 5 == 2 }
    }

    fn is_nat(self) -> bool {
        self.is_full_nat() || self.method == "-m"
    }

    fn is_full_nat(self) -> bool {
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
    fn rules(self, scheduler: &str, weights: u64) -> String {
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

    fn lab(self, settings: Settings, key: RandomState, kernel: Option<KernelModel>) -> Lab {
        let mut lab = Lab::keyed(settings, &self.rules("rr", 0b0101_0101), key);
        let neighbours = &mut lab.director.router.neighbours;
        for (addr, mac) in [("10.0.0.1", ROUTER), ("2001:db8::1", ROUTER)] {
            neighbours.add_permanent(LINK, addr.parse().unwrap(), mac);
        }
        for last in [21, 22] {
            let addr = format!("2001:db8::{last}").parse().unwrap();
            neighbours.add_permanent(LINK, addr, mac_of(addr));
        }
        lab.director.flows.prepare_resets();
        if let Some(kernel) = kernel {
            lab.director.fast().start(Box::new(kernel.clone()), 0);
            lab.kernel = Some(kernel);
        }
        lab
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

    fn step(self, rng: &mut Rng) -> Step {
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

/// A laboratory, and where its servers of IPv4 are.
struct Side {
    lab: Lab,
    macs: [(u8, Mac); 2],
}

impl Side {
    fn new(case: Case, settings: Settings, key: RandomState, kernel: Option<KernelModel>) -> Side {
        let macs = [21, 22].map(|last| (last, mac_of([10, 0, 0, last].into())));
        Side { lab: case.lab(settings, key, kernel), macs }
    }

    /// Servers of IPv4 say where they are whenever they are asked, which the fast path does more often. What is left.
    fn answered(&mut self, mut said: Vec<Frame>) -> Vec<Frame> {
        loop {
            let is_arp = |frame: &Frame| frame.bytes[12..14] == [8, 6];
            let asked: Vec<u8> = said.iter().filter(|frame| is_arp(frame)).map(|frame| frame.bytes[41]).collect();
            said.retain(|frame| !is_arp(frame));
            let macs = self.macs;
            let answers = macs.iter().filter(|(last, _)| asked.contains(last));
            let answers: Vec<Vec<u8>> = answers.map(|(last, mac)| arp_from([10, 0, 0, *last], *mac)).collect();
            if answers.is_empty() {
                return said;
            }
            answers.iter().for_each(|frame| said.extend(self.lab.frame(frame)));
        }
    }

    fn send(&mut self, packet: &Packet, count: u64) -> Vec<Frame> {
        let from = if packet.src.addr == packet.dst.addr { DIRECTOR } else { ROUTER };
        let frame = packet.frame(from, DIRECTOR);
        let mut said = Vec::new();
        for _ in 0..count {
            let sent = self.lab.frame(&frame);
            // As the loop does after each turn.
            self.lab.director.fast().heed();
            said.extend(self.answered(sent));
        }
        said
    }

    /// What a server sends to the client of a packet: in FULL-NAT the conn's, to the endpoint that it knows.
    fn reply(&self, case: Case, server: Endpoint, like: &Packet) -> Packet {
        let conns = &self.lab.director.flows.conns;
        let conn = self.lab.conn_of(like).map(|id| conns.get(id)).filter(|_| case.is_full_nat());
        let seen = conn.and_then(|conn| Some((conns.real(conn), conns.local(conn)?)));
        let src = if case.is_nat() { server } else { like.dst };
        let (src, dst) = seen.unwrap_or((src, like.src));
        Packet { src, dst, ..like.clone() }
    }

    fn take(&mut self, case: Case, step: &Step) -> Vec<Frame> {
        let mut said = Vec::new();
        match step {
            Step::Opens(packet, server) => {
                let flagged = |flags| match packet.kind {
                    Kind::Tcp(_) => Packet { kind: Kind::Tcp(flags), ttl: 64, ..packet.clone() },
                    _ => packet.clone(),
                };
                said.extend(self.send(&flagged("S"), 1));
                if case.real_six == case.six || !case.is_nat() {
                    said.extend(self.send(&self.reply(case, *server, &flagged("SA")), 1));
                }
                said.extend(self.send(&flagged("A"), 12));
                return said;
            }
            Step::Client(packet, count) => return self.send(packet, *count),
            Step::Server(server, like, count) if case.real_six == case.six || !case.is_nat() => {
                return self.send(&self.reply(case, *server, like), *count);
            }
            Step::Server(..) => {}
            Step::Wait(time) => said = self.lab.advance(*time),
            Step::Rules(rules) => self.apply(rules),
            Step::Replaced(removed, packet, added) => {
                self.apply(removed);
                said = self.send(packet, 2);
                self.apply(added);
            }
            Step::Reload(rules) => {
                let wanted: Vec<Command> =
                    ipvsadm::parse_rules(rules).unwrap().into_iter().map(|(_, rule)| rule).collect();
                for change in diff(&rules_of(&self.lab.director), &wanted) {
                    self.lab.director.apply(&change.command, self.lab.turn.now).unwrap();
                }
            }
            Step::Judge(proto, virt, real, judgement) => {
                self.lab.director.flows.judge(ServiceKey::Address(*proto, *virt), *real, *judgement);
            }
            Step::Moves(last, mac) => {
                self.macs.iter_mut().filter(|(server, _)| server == last).for_each(|known| known.1 = *mac);
                said = self.lab.frame(&arp_from([10, 0, 0, *last], *mac));
            }
            Step::Narrower(like, mtu) => return self.narrower(case, like, *mtu),
            Step::Mtu(mtu) => self.lab.director.router.set_mtu(LINK, *mtu),
            Step::Standby(on) => self.lab.director.presence().stand_by(*on, self.lab.turn.now),
            Step::Worker { same } => self.another_worker(case, *same),
        }
        self.lab.director.fast().heed();
        said = self.answered(said);
        said.sort_by(|one, other| one.bytes.cmp(&other.bytes));
        said
    }

    fn narrower(&mut self, case: Case, like: &Packet, mtu: u32) -> Vec<Frame> {
        let conns = &self.lab.director.flows.conns;
        let Some(id) = self.lab.conn_of(like) else { return Vec::new() };
        let server = Endpoint::new(conns.real(conns.get(id)).addr, 0);
        let outer = Packet::new("10.0.0.2", "10.0.0.21", Kind::Other(if case.six { 41 } else { 4 }));
        let about = Packet { dst: server, ..outer }.carrying(like.clone().one_hop_on().bytes()).bytes();
        let error = Packet::new("10.0.0.1", "10.0.0.2", Kind::Icmp(3, 4, mtu.to_be_bytes()));
        let mut said = self.send(&error.carrying(&about[..about.len().min(120)]), 1);
        let kind = if case.tcp { Kind::Tcp("A") } else { Kind::Udp };
        let next = Packet { kind, ttl: 64, ..like.clone() };
        for size in [1100, 1300] {
            said.extend(self.send(&next.clone().carrying(vec![7; size]), 3));
        }
        said
    }

    /// Rules that do not fit what is there are refused on both sides.
    fn apply(&mut self, rules: &str) {
        for (_, command) in ipvsadm::parse_rules(rules).unwrap() {
            let _ = self.lab.director.apply(&command, self.lab.turn.now);
        }
    }

    /// What a worker leaves to the next one: its conns, and the kernel's entries.
    fn another_worker(&mut self, case: Case, same: bool) {
        let Some(kernel) = self.lab.kernel.clone() else { return };
        // Another version comes by an upgrade, before which a worker reads what was counted.
        if !(case.crashes && same) {
            self.lab.director.fast().read_all();
        }
        self.lab.director.fast().account(&mut self.lab.turn);
        let conns = &mut self.lab.director.flows.conns;
        let ids: Vec<_> = conns.iter().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| conns.clear_fast(id));
        self.lab.director.fast = Default::default();
        if same {
            self.lab.director.fast().start(Box::new(kernel), 0);
        } else {
            kernel.silence();
        }
    }

    fn known(&mut self, crashes: bool) -> Everything {
        self.lab.director.fast().read_all();
        let flows = &self.lab.director.flows;
        let of = |conn: &crate::conn::Conn| {
            let (real, local) = (flows.conns.real(conn), flows.conns.local(conn).map(|local| local.addr));
            let ends = format!("{} {} {real} {local:?} {}", conn.client(), conn.virt(), conn.is_template());
            (ends, conn.state(), conn.in_pkts, flows.conns.deadline(conn))
        };
        let mut conns: Vec<Known> = flows.conns.iter().map(|(_, conn)| of(conn)).collect();
        conns.sort();
        let services = flows.services.iter();
        let dests = services.flat_map(|service| service.dests.iter().map(|dest| flows.services.dest(*dest).stats));
        let all = dests.chain([flows.services.total]);
        let exact = |stats: Stats| if crashes { Stats { conns: stats.conns, ..Stats::default() } } else { stats };
        (conns, all.map(exact).collect())
    }
}

/// What the director makes itself is numbered, and what passes through it takes a number too where it is the director that
/// forwards: of errors, of the outer headers of tunnels without DF, and of fragments of IPv6, the numbers are another thing.
fn without_ids(frame: &mut Frame, in_tunnels: bool) {
    const ICMP: u8 = 1;
    const FRAGMENT: u8 = 44;
    let bytes = &mut frame.bytes;
    if bytes[12..14] == [8, 0] && (bytes[23] == ICMP || in_tunnels && bytes[20] & 0x40 == 0) {
        bytes[18..20].fill(0);
        bytes[24..26].fill(0);
    }
    if bytes[12..14] == [0x86, 0xdd] && bytes[20] == FRAGMENT {
        bytes[58..62].fill(0);
    }
}

/// Conns that end in the same tick give their local ports back in any order, so that later conns of FULL-NAT have others: the
/// port and the numbers that follow from it are left out of a segment, and of an error about one what it quotes.
fn without_local(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.bytes.clone();
    let (l4, address) = if bytes[12..14] == [8, 0] { (34, 4) } else { (54, 16) };
    let is_local = |bytes: &[u8], at: usize| {
        bytes[at..at + address].ends_with(&[0x30]) || bytes[at..at + address] == [10, 0, 0, 30]
    };
    let (from, to) = (is_local(&bytes, l4 - 2 * address), is_local(&bytes, l4 - address));
    let proto = Proto(bytes[if address == 4 { 23 } else { 20 }]);
    let is_tcp = proto == Proto::TCP;
    if matches!(proto, Proto::ICMP | Proto::ICMP6) && (from || to) {
        bytes[l4 + 2..l4 + 4].fill(0);
        bytes.truncate(l4 + 8);
        return bytes;
    }
    for (there, range) in [(from, 0..2), (to, 2..4), (is_tcp, 4..12), (is_tcp, 16..18), (!is_tcp, 6..8)] {
        if there && bytes.len() >= l4 + range.end {
            bytes[l4 + range.start..l4 + range.end].fill(0);
        }
    }
    bytes
}

fn compare(case: Case, [without, with]: &[Vec<Frame>; 2], place: impl Fn() -> String) {
    let are_alike = |(one, other): &(&Frame, &Frame)| {
        one == other || case.is_full_nat() && without_local(one) == without_local(other)
    };
    if let Some((one, other)) = without.iter().zip(with).find(|pair| !are_alike(pair)) {
        panic!("{}\n{:02x?} without\n{:02x?} with", place(), one.bytes, other.bytes);
    }
    assert_eq!(without.len(), with.len(), "frames of {}", place());
}

/// A worker that dies leaves no word of how many packets of a conn the director forwarded while the kernel had it: they are taken
/// to be the kernel's that were counted, so that fewer are counted afterwards, never more.
fn compare_known(without: Everything, mut with: Everything, case: Case, place: impl Fn() -> String) {
    if case.crashes && without.0.len() == with.0.len() {
        for (one, other) in without.0.iter().zip(&mut with.0) {
            assert!(other.2 <= one.2, "{} {one:?} without, {other:?} with", place());
            other.2 = one.2;
        }
    }
    assert_eq!(without, with, "{}", place());
}

/// A conversation; how many frames the kernel has forwarded.
fn converse(seed: u64, shadow: Option<&Shadow>) -> u64 {
    let (mut rng, case) = (Rng::seeded(seed), Case::of(seed));
    let settings = Settings { icmp_rate: 0, expire_nodest_conn: rng.below(2) == 0, ..Settings::default() };
    let settings = Settings { fullnat_sequence: rng.below(2) == 0, pmtu_disc: rng.below(4) > 0, ..settings };
    shadow.inspect(|shadow| shadow.empty());
    let kernel = KernelModel::with_shadow(ROOM, shadow.cloned());
    let key = RandomState::new();
    let mut without = Side::new(case, settings.clone(), key.clone(), None);
    let mut with = Side::new(case, settings, key, Some(kernel));
    let mut frames = 0;
    for number in 0..STEPS {
        let step = case.step(&mut rng);
        if matches!(step, Step::Worker { .. }) {
            frames += with.lab.director.fast.report.frames;
        }
        let mut said = [&mut without, &mut with].map(|side| side.take(case, &step));
        said.iter_mut().flatten().for_each(|frame| without_ids(frame, !case.is_nat()));
        let conns = [&without, &with].map(|side| side.lab.director.flows.conns.len());
        assert_eq!(conns[0], conns[1], "conns, seed {seed}, step {number}: {step:02x?}");
        compare(case, &said, || format!("seed {seed} {}, step {number}: {step:02x?}", case.method));
    }
    compare_known(without.known(case.crashes), with.known(case.crashes), case, || {
        format!("seed {seed} {}", case.method)
    });
    with.lab.recount().unwrap();
    assert!(with.lab.turn.ledger().balances());
    frames + with.lab.director.fast.report.frames
}

#[test]
fn with_and_without_a_kernel_the_same_leaves_and_the_same_is_known() {
    let seeds = std::env::var("TAPVS_SEEDS").ok().map_or(SEEDS, |number| number.parse().unwrap());
    let shadow = Shadow::new(1);
    let mut forwarded = [0; PLAIN];
    for seed in 0..seeds {
        forwarded[seed as usize % PLAIN] += converse(seed, shadow.as_ref());
    }
    let least = seeds / PLAIN as u64 * 10;
    assert!(forwarded.iter().all(|frames| *frames >= least), "the kernel had little to do: {forwarded:?}");
}
