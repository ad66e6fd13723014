//! Health probes by the director's own packets: an echo, a SYN by a server's forwarding method, a solicitation.
//!
//! They prove what no socket of the host can: that frames reach the server from here and come back, and that a server
//! behind direct routing or a tunnel has the virtual address. Never judges a server.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::Director;
use crate::base::{Consumed, DestId, DropReason, Endpoint, FastHash, LinkId, Method, Proto, Tuple};
use crate::conn::Kind;
use crate::flows::Flows;
use crate::forward::{self, Ends};
use crate::router::{Egress, Router, Turn};
use crate::service::command::ServiceKey;
use crate::wire::arp::Arp;
use crate::wire::ndp::Ndp;
use crate::wire::{L4, Packet, PacketBuf, Parsed, icmp, ip_packet, tcp};

/// Local ports of SYNs, from the first on (RFC 6335: dynamic ports).
const FIRST_PORT: u16 = 49_152;
const PORTS: u16 = 16_384;
/// Ports that are tried if conns have them.
const TRIES: u16 = 16;

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub enum OwnProbe {
    /// An echo.
    Echo(IpAddr),
    /// A neighbour's answer.
    Neighbour(IpAddr),
    /// A SYN to the service's virtual endpoint at this server; its port is that of the check where it has none.
    Path(ServiceKey, Endpoint),
}

/// What a server answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// What was asked for.
    Right,
    /// A reset.
    Refused,
    /// Nothing, for its neighbour entry has failed.
    Unreachable,
}

/// A packet whose answer is awaited: what it belongs to, and what the answer must show.
struct Open {
    tag: u64,
    proof: u32,
    local: Endpoint,
    /// How a SYN went; a reset goes the same way.
    ends: Option<Ends>,
}

/// Probes under way. Each has a tag, which its answer has too.
#[derive(Default)]
pub struct OwnProbes {
    /// By protocol, who answers, and the local port or the echo's identifier.
    open: HashMap<(Proto, Endpoint, u16), Open, FastHash>,
    solicited: Vec<(LinkId, IpAddr, u64)>,
    answers: VecDeque<(u64, Answer)>,
}

impl OwnProbes {
    /// The next answer.
    pub fn take_answer(&mut self) -> Option<(u64, Answer)> {
        self.answers.pop_front()
    }

    /// True if `take_answer` has one.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Nobody waits for this one any more.
    pub fn forget(&mut self, tag: u64) {
        self.open.retain(|_, open| open.tag != tag);
        self.solicited.retain(|(.., other)| *other != tag);
        self.answers.retain(|(other, _)| *other != tag);
    }

    /// A packet of no conn. True if it answers a probe; then it is accounted for.
    #[inline]
    pub(super) fn hear(&mut self, packet: &Packet, router: &mut Router, turn: &mut Turn<impl Egress>) -> bool {
        !self.open.is_empty() && self.answered(packet, router, turn)
    }

    fn answered(&mut self, packet: &Packet, router: &mut Router, turn: &mut Turn<impl Egress>) -> bool {
        let Some((key, proof, answer)) = answer_in(packet) else { return false };
        let is_awaited = |open: &Open| open.proof == proof && open.local.addr == packet.ip.dst;
        if !self.open.get(&key).is_some_and(is_awaited) {
            return false;
        }
        let Some(open) = self.open.remove(&key) else { return false };
        turn.consume(Consumed::Probe);
        self.answers.push_back((open.tag, answer));
        if let Some(ends) = open.ends.filter(|_| answer == Answer::Right) {
            let reset = |buf: &mut PacketBuf| tcp::reset(buf, open.local, key.1, proof);
            let _ = send(reset, &ends, router, turn);
        }
        true
    }

    /// A neighbour has said something.
    pub(super) fn hear_neighbour(&mut self, link: LinkId, said: &Parsed) {
        let addr = match *said {
            Parsed::Arp(Arp { sender: (_, addr), .. }) => IpAddr::V4(addr),
            Parsed::Ndp(Ndp::Advertisement { target, .. }) => IpAddr::V6(target),
            Parsed::Ndp(Ndp::Solicitation { sender, .. }) => IpAddr::V6(sender),
            Parsed::Ndp(Ndp::Query(_)) | Parsed::Ip(_) => return,
        };
        let heard = self.solicited.extract_if(.., |(on, of, _)| (*on, *of) == (link, addr));
        self.answers.extend(heard.map(|(.., tag)| (tag, Answer::Right)));
    }

    fn solicit(&mut self, tag: u64, to: IpAddr, router: &mut Router, turn: &mut Turn<impl Egress>) -> Result<(), Why> {
        let link = router.solicit(to, turn).ok_or("the server is behind a gateway and has no neighbour entry here")?;
        self.solicited.push((link, to, tag));
        Ok(())
    }

    fn echo(
        &mut self,
        (tag, nonce): (u64, u64),
        to: IpAddr,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Why> {
        let route = router.route(to).map_err(|_| "no route to the server")?;
        let source = router.source(route.link, route.next_hop, to).ok_or("no own address towards the server")?;
        let (id, proof) = (nonce as u16, (nonce >> 32) as u32);
        let proto = if to.is_ipv4() { Proto::ICMP } else { Proto::ICMP6 };
        let open = Open { tag, proof, local: Endpoint::new(source, id), ends: None };
        self.open.insert((proto, Endpoint::new(to, 0), id), open);
        turn.lend(|turn, buf| {
            icmp::echo_request(buf, (source, to), id, proof);
            router.send_to(buf, to, turn);
        });
        Ok(())
    }

    fn syn(
        &mut self,
        (tag, nonce): (u64, u64),
        way: Way,
        (flows, router): (&Flows, &mut Router),
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Why> {
        let Way { method, to, real } = way;
        let route = router.route(real.addr).map_err(|_| "no route to the server")?;
        let source = router.source(route.link, route.next_hop, to.addr);
        let source = source.ok_or("no own address of the family of the virtual address")?;
        let local = free_port(flows, Endpoint::new(source, 0), to, nonce as u16).ok_or("no free local port")?;
        let ends = Ends::new(method, local.into(), to.into(), real, None);
        let seq = (nonce >> 32) as u32;
        match send(|buf| tcp::syn(buf, local, to, seq), &ends, router, turn) {
            Err(DropReason::NeighbourUnreachable) => self.answers.push_back((tag, Answer::Unreachable)),
            Err(_) => return Err("the packet could not be sent; the ledger says why"),
            Ok(()) => {
                let open = Open { tag, proof: seq.wrapping_add(1), local, ends: Some(ends) };
                self.open.insert((Proto::TCP, to, local.port), open);
            }
        }
        Ok(())
    }
}

/// Why a probe cannot be made here.
type Why = &'static str;

impl Director {
    /// Sends a probe; its answer comes with the tag. An error is this host's, not the server's. `nonce` must not be
    /// guessable.
    pub fn probe(
        &mut self,
        (tag, nonce): (u64, u64),
        what: OwnProbe,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), &'static str> {
        if self.standby.is_mute() {
            return Err("this director stands by and sends nothing");
        }
        match what {
            OwnProbe::Echo(to) => self.own_probes.echo((tag, nonce), to, &mut self.router, turn),
            OwnProbe::Neighbour(to) => self.own_probes.solicit(tag, to, &mut self.router, turn),
            OwnProbe::Path(key, server) => {
                let way = way_to(&self.flows, key, server)?;
                if self.flows.kind_towards(way.real.addr, &self.router) == Kind::LocalFlow {
                    return Err("the server is this host");
                }
                self.own_probes.syn((tag, nonce), way, (&self.flows, &mut self.router), turn)
            }
        }
    }
}

/// How a SYN reaches a server.
struct Way {
    method: Method,
    /// The virtual endpoint, or the server's own where NAT would give it.
    to: Endpoint,
    real: Endpoint,
}

/// The way of the service's packets to a server.
fn way_to(flows: &Flows, key: ServiceKey, server: Endpoint) -> Result<Way, Why> {
    let ServiceKey::Address(Proto::TCP, virt) = key else {
        return Err("a path is probed by TCP to a virtual address, which this service has not");
    };
    let services = &flows.services;
    let dests = services.dests_of(&key);
    let of_server = |dest: &&DestId| services.server(**dest).endpoint.addr == server.addr;
    let same_port = |dest: &&DestId| services.server(**dest).endpoint.port == server.port;
    let dest = dests.iter().filter(of_server).find(same_port).or_else(|| dests.iter().find(of_server));
    let dest = *dest.ok_or("the service has no such server any more")?;
    let or_checks = |end: Endpoint| Endpoint { port: if end.port == 0 { server.port } else { end.port }, ..end };
    let real = or_checks(services.server(dest).endpoint);
    // A server behind NAT is addressed itself.
    let (method, to) = match services.dest(dest).method {
        Method::Nat | Method::FullNat => (Method::Direct, real),
        method => (method, or_checks(virt)),
    };
    if to.port == 0 {
        return Err("the service has no port of its own; say which with 'port'");
    }
    Ok(Way { method, to, real })
}

/// A local endpoint of which no conn knows.
fn free_port(flows: &Flows, at: Endpoint, to: Endpoint, first: u16) -> Option<Endpoint> {
    let ports = (0..TRIES).map(|step| FIRST_PORT + first.wrapping_add(step) % PORTS);
    let is_free = |local: &Endpoint| {
        let answer = Tuple { proto: Proto::TCP, src: to, dst: *local };
        flows.conns.lookup(&answer).is_none()
    };
    ports.map(|port| Endpoint { port, ..at }).find(is_free)
}

/// Sends a segment the way that requests of a conn go.
fn send(
    write: impl FnOnce(&mut PacketBuf),
    ends: &Ends,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) -> Result<(), DropReason> {
    turn.lend(|turn, buf| {
        write(buf);
        turn.generated();
        let sent = ip_packet(buf.frame()).map_err(Into::into);
        let sent = sent.and_then(|mut ip| forward::send_to_server(&mut Packet::new(buf, &mut ip), ends, router, turn));
        sent.map_err(|refusal| {
            turn.drop(refusal.reason);
            refusal.reason
        })
    })
}

/// What a packet may answer: its key, the proof that it has, and what it says.
fn answer_in(packet: &Packet) -> Option<((Proto, Endpoint, u16), u32, Answer)> {
    let ip = &*packet.ip;
    match ip.l4 {
        L4::Tcp { sport, dport, flags } => {
            let answer = match (flags.rst(), flags.syn() && flags.ack()) {
                (true, _) => Answer::Refused,
                (false, true) => Answer::Right,
                (false, false) => return None,
            };
            let key = (Proto::TCP, Endpoint::new(ip.src, sport), dport);
            Some((key, tcp::acknowledged(packet.frame(), ip), answer))
        }
        L4::Icmp { icmp_type, .. } if icmp::is_echo_reply(ip, icmp_type) => {
            let (id, proof) = icmp::echo_proof(packet.frame(), ip)?;
            Some(((ip.proto, Endpoint::new(ip.src, 0), id), proof, Answer::Right))
        }
        L4::Icmp { .. } | L4::Udp { .. } | L4::Sctp { .. } | L4::Other | L4::Truncated => None,
    }
}
