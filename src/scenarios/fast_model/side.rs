//! One of the two directors: what it does at each step, and what it knows afterwards.

use super::super::fast::arp_from;
use super::alike::{Everything, Known};
use super::case::{Case, Step};
use crate::base::{Endpoint, Mac};
use crate::config::{diff, rules_of};
use crate::director::Settings;
use crate::ipvsadm;
use crate::service::Stats;
use crate::service::command::{Command, ServiceKey};
use crate::testing::{DIRECTOR, Frame, KernelModel, Kind, LINK, Lab, Packet, ROUTER, mac_of};

impl Case {
    fn lab(self, settings: Settings, key: [u64; 2], kernel: Option<KernelModel>) -> Lab {
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
}

/// A laboratory, and where its servers of IPv4 are.
pub(super) struct Side {
    pub(super) lab: Lab,
    macs: [(u8, Mac); 2],
}

impl Side {
    pub(super) fn new(case: Case, settings: Settings, key: [u64; 2], kernel: Option<KernelModel>) -> Side {
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

    pub(super) fn take(&mut self, case: Case, step: &Step) -> Vec<Frame> {
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

    pub(super) fn known(&mut self, crashes: bool) -> Everything {
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
