//! Flows that real servers open to the outside: which of their packets pass, and how they are masqueraded.
//!
//! ```text
//! leaves   RIP:port -> remote    becomes    the link's own address:local port -> remote      (masquerade)
//! enters   remote -> own address:local port    becomes    remote -> RIP:port
//! ```
//! Local ports come from the pools of FULL-NAT, so that both never have the same. Nothing here concerns a conn of a service.

mod flow;
mod policy;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

pub use policy::{FORWARDS, Forward, Masquerade, Policy};

use crate::base::{DropReason, Endpoint, Instant, LinkId, Proto, Tuple};
use crate::conn::Timeouts;
use crate::forward::LocalPorts;
use crate::wire::icmp;
use crate::wire::quote::{self, Quote};
use crate::wire::{End, L4, Packet};

/// Flows at a time.
const MOST: usize = 65_536;
/// An echo, a handshake that was not answered, and what is left of a flow that was reset.
const SHORT: Duration = Duration::from_secs(30);

/// A flow that was opened from inside.
struct Flow {
    /// Where the outside sends its answers: the opener itself, or the local endpoint that stands for it.
    outside: Endpoint,
    expires: Instant,
    is_answered: bool,
    is_closing: bool,
}

/// The links' policies, and the flows that they need to know.
#[derive(Default)]
pub struct Outbound {
    policies: Vec<Policy>,
    is_used: bool,
    /// Flows by the packets of their openers, and the openers by those packets as the outside sees them.
    flows: HashMap<Tuple, Flow>,
    openers: HashMap<Tuple, Endpoint>,
    /// When each flow may be over; a packet moves only the flow's own time.
    due: BinaryHeap<Reverse<(Instant, Tuple)>>,
}

impl Outbound {
    /// Says what holds for a link.
    pub fn set_policy(&mut self, link: LinkId, policy: Policy) {
        let wanted = self.policies.len().max(link.index() + 1);
        self.policies.resize_with(wanted, Policy::default);
        self.policies[link.index()] = policy;
        self.is_used = self.policies.iter().any(|policy| *policy != Policy::default());
    }

    /// False if every packet passes as it is, so that nothing here has to be asked.
    #[inline]
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// True if packets that came by this link pass; `inside` for one of a real server that is on that link.
    pub fn admits(&self, link: LinkId, packet: &Packet, inside: bool) -> bool {
        match self.policies.get(link.index()).map(|policy| policy.forward).unwrap_or_default() {
            Forward::All => true,
            Forward::FromServers => inside || self.is_answer(packet),
            Forward::None => false,
        }
    }

    /// True if what leaves by this link from that source is masqueraded; `inside` as for `Policy`.
    pub fn masquerades(&self, link: LinkId, packet: &Packet, inside: bool) -> bool {
        self.policies.get(link.index()).is_some_and(|policy| policy.masquerades(packet.ip.src, inside))
    }

    /// True if flows of servers are to be known because a link lets nothing else in.
    pub fn tracks(&self) -> bool {
        self.policies.iter().any(|policy| policy.forward == Forward::FromServers)
    }

    /// A packet, or an error about one, of a flow that was opened from inside and is not masqueraded.
    fn is_answer(&self, packet: &Packet) -> bool {
        let of = |tuple: Tuple| self.openers.get(&tuple) == Some(&tuple.src);
        flow::inward(packet).is_some_and(of)
            || error_quote(packet).and_then(|quote| flow::quoted(packet, &quote)).is_some_and(of)
    }

    /// True if a packet may open a flow.
    pub fn may_open(packet: &Packet) -> bool {
        flow::opens(packet.ip)
    }

    /// Opens the flow of a packet: masqueraded as a free port of `local`, or, without that, known as it is.
    pub fn open(
        &mut self,
        packet: &Packet,
        local: Option<std::net::IpAddr>,
        ports: &mut LocalPorts,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Some(tuple) = flow::outward(packet) else { return Ok(()) };
        if self.flows.contains_key(&tuple) {
            return Ok(());
        }
        if self.flows.len() >= MOST {
            return Err(DropReason::FlowTableFull);
        }
        let outside = match local {
            Some(addr) => {
                let port = ports.take(addr, tuple.proto, tuple.dst).ok_or(DropReason::NoLocalPort)?;
                Endpoint::new(addr, port)
            }
            None => tuple.src,
        };
        let expires = now + SHORT;
        self.openers.insert(Tuple { src: outside, ..tuple }, tuple.src);
        self.flows.insert(tuple, Flow { outside, expires, is_answered: false, is_closing: false });
        self.due.push(Reverse((expires, tuple)));
        Ok(())
    }

    /// Rewrites a packet that leaves, or an error about an answer, if its flow is masqueraded.
    pub fn leave(&mut self, packet: &mut Packet, timeouts: &Timeouts, now: Instant) {
        if let Some(quote) = error_quote(packet) {
            let Some(tuple) = flow::quoted_answer(packet, &quote) else { return };
            if let Some(flow) = self.flows.get(&tuple).filter(|flow| flow.outside != tuple.src) {
                flow::rewrite_error(packet, &quote, (End::Source, End::Destination), flow.outside);
            }
            return;
        }
        let Some(tuple) = flow::outward(packet) else { return };
        let Some(flow) = self.flows.get_mut(&tuple) else { return };
        flow.touch(packet, timeouts, now);
        if flow.outside != tuple.src {
            flow::rewrite(packet, End::Source, flow.outside);
        }
    }

    /// Notes an answer that passes as it is.
    pub fn answered(&mut self, packet: &Packet, timeouts: &Timeouts, now: Instant) {
        let Some(tuple) = flow::inward(packet) else { return };
        if self.openers.get(&tuple) == Some(&tuple.src)
            && let Some(flow) = self.flows.get_mut(&tuple)
        {
            flow.is_answered = true;
            flow.touch(packet, timeouts, now);
        }
    }

    /// The opener to which a packet for an address of the director goes, or an error about one of its own packets; `None`
    /// if it concerns no masqueraded flow.
    #[inline]
    pub fn opener(&self, packet: &Packet) -> Option<Endpoint> {
        if self.is_used() { self.opener_of_flow(packet) } else { None }
    }

    fn opener_of_flow(&self, packet: &Packet) -> Option<Endpoint> {
        let tuple = match error_quote(packet) {
            Some(quote) => flow::quoted(packet, &quote),
            None => flow::inward(packet),
        }?;
        self.openers.get(&tuple).copied().filter(|inside| *inside != tuple.src)
    }

    /// Points such a packet at its opener.
    pub fn enter(&mut self, packet: &mut Packet, inside: Endpoint, timeouts: &Timeouts, now: Instant) {
        if let Some(quote) = error_quote(packet) {
            return flow::rewrite_error(packet, &quote, (End::Destination, End::Source), inside);
        }
        if let Some(tuple) = flow::inward(packet)
            && let Some(flow) = self.flows.get_mut(&Tuple { src: inside, ..tuple })
        {
            flow.is_answered = true;
            flow.touch(packet, timeouts, now);
        }
        flow::rewrite(packet, End::Destination, inside);
    }

    /// When a flow may be over.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Forgets the flows that are over; their ports are free again.
    pub fn expire(&mut self, ports: &mut LocalPorts, now: Instant) {
        while let Some(Reverse((_, tuple))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.due.pop();
            let Some(flow) = self.flows.get(&tuple) else { continue };
            if flow.expires > now {
                self.due.push(Reverse((flow.expires, tuple)));
                continue;
            }
            let outside = flow.outside;
            self.flows.remove(&tuple);
            self.openers.remove(&Tuple { src: outside, ..tuple });
            if outside != tuple.src {
                ports.give_back(outside.addr, tuple.proto, tuple.dst, outside.port);
            }
        }
    }
}

impl Flow {
    /// A packet of either end moves the time of its end.
    fn touch(&mut self, packet: &Packet, timeouts: &Timeouts, now: Instant) {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let time = match packet.ip.l4 {
            L4::Tcp { flags, .. } => {
                if flags.syn() && !flags.ack() {
                    (self.is_answered, self.is_closing) = (false, false);
                }
                self.is_closing |= flags.fin() || flags.rst();
                match (self.is_answered, self.is_closing) {
                    (false, _) => SHORT,
                    (true, true) => seconds(timeouts.tcp_fin),
                    (true, false) => seconds(timeouts.tcp),
                }
            }
            L4::Icmp { .. } => SHORT,
            _ if packet.ip.proto == Proto::UDP => seconds(timeouts.udp),
            _ if self.is_answered => seconds(timeouts.tcp),
            _ => SHORT,
        };
        self.expires = now + time;
    }
}

/// What an error quotes; `None` for another packet.
fn error_quote(packet: &Packet) -> Option<Quote> {
    let L4::Icmp { icmp_type, .. } = packet.ip.l4 else { return None };
    icmp::is_translatable(packet.ip, icmp_type).then(|| quote::read(packet.frame(), packet.ip)).flatten()
}
