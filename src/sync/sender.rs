//! Messages on their way: records gathered for up to two seconds, and the datagrams that carry them.
//!
//! Never decides what is told.

use std::net::IpAddr;
use std::time::Duration;

use super::daemon::Daemon;
use super::message::{Message, Version};
use super::record::Record;
use super::seal::Sealer;
use crate::base::{Endpoint, Instant};
use crate::router::{Egress, Router, Turn};
use crate::service::command::{Refused, SyncOptions};
use crate::wire::udp::{self, Hops};
use crate::wire::{Fragments, PacketBuf, ip_packet};

/// A message leaves this long after its first conn at the latest, as in the kernel.
const GATHERED: Duration = Duration::from_secs(2);
/// Where the other one may take over at any time a message leaves at once, unless the one before it left only just: conns that
/// the other one was not told of end with this director.
const SOON: Duration = Duration::from_millis(2);
/// Source ports (`ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const PORTS: u16 = 28_232;
/// Peers may be behind routers (`ip_default_ttl`).
const UNICAST_TTL: u8 = 64;

/// A message that fills up.
struct Gathered {
    message: Message,
    /// When the first conn of the message was added.
    since: Instant,
}

/// The daemon and the messages that it fills: one that kernels read, and two of conns that they cannot have. Conns between
/// families leave first of these, for they may control others.
pub(super) struct Running {
    pub(super) daemon: Daemon,
    pub(super) sender: Sender,
    gathered: [Gathered; 3],
    soon: bool,
    /// When a message left last.
    left: Instant,
    /// Messages and records that have left.
    pub(super) sent: (u64, u64),
}

impl Running {
    pub(super) fn new(daemon: Daemon, router: &mut Router) -> Result<Running, Refused> {
        let sender = Sender::new(&daemon, router)?;
        let message = || Message::new(usize::from(daemon.options.maxlen), daemon.options.syncid);
        let gathered = [message(), message(), message()].map(|message| Gathered { message, since: Instant::START });
        Ok(Running { daemon, sender, gathered, soon: false, left: Instant::START, sent: (0, 0) })
    }

    /// Messages leave soon, or when more has been gathered.
    pub(super) fn gather(&mut self, soon: bool) {
        self.soon = soon;
    }

    /// When the oldest message that is not full leaves.
    pub(super) fn due(&self) -> Option<Instant> {
        let oldest = self.oldest()?;
        Some(if self.soon { oldest.max(self.left + SOON) } else { oldest + GATHERED })
    }

    /// Sends the messages that have waited long enough.
    pub(super) fn send_due(&mut self, router: &mut Router, turn: &mut Turn<impl Egress>) {
        if self.due().is_some_and(|due| due <= turn.now) {
            let than = if self.soon { turn.now } else { turn.now - GATHERED };
            self.send_older(than, router, turn);
        }
    }

    /// When the first conn of those that wait was added.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.gathered.iter().filter(|gathered| !gathered.message.is_empty()).map(|gathered| gathered.since).min()
    }

    /// Adds a conn to the message; one that is full leaves first.
    pub(super) fn enqueue(
        &mut self,
        record: &Record,
        version: Version,
        router: &mut Router,
        turn: &mut Turn<impl Egress>,
    ) {
        let which = match version {
            Version::Zero | Version::One => 0,
            Version::Crossed => 1,
            Version::Own => 2,
        };
        let Gathered { message, since } = &mut self.gathered[which];
        if message.is_empty() {
            *since = turn.now;
        }
        if !message.push(record, version) {
            self.send(which, router, turn);
            let Gathered { message, since } = &mut self.gathered[which];
            message.push(record, version);
            *since = turn.now;
        }
        self.sent.1 += 1;
        if self.gathered[which].message.is_full() {
            self.send(which, router, turn);
        }
    }

    #[inline(never)]
    fn send(&mut self, which: usize, router: &mut Router, turn: &mut Turn<impl Egress>) {
        let message = &mut self.gathered[which].message;
        self.sender.send(message.bytes(), &self.daemon, router, turn);
        message.clear();
        self.left = turn.now;
        self.sent.0 += 1;
    }

    /// Sends messages that are not empty and whose first conn was added by then.
    pub(super) fn send_older(&mut self, than: Instant, router: &mut Router, turn: &mut Turn<impl Egress>) {
        for which in 0..self.gathered.len() {
            let Gathered { message, since } = &self.gathered[which];
            if !message.is_empty() && *since <= than {
                self.send(which, router, turn);
            }
        }
    }
}

/// Where messages come from, and where they go.
pub(super) struct Sender {
    /// Source and destination of each copy: to the group, or to each peer.
    ways: Vec<(IpAddr, IpAddr)>,
    port: u16,
    sealer: Option<Sealer>,
}

impl Sender {
    pub(super) fn new(daemon: &Daemon, router: &mut Router) -> Result<Sender, Refused> {
        let SyncOptions { group, peers, key, .. } = &daemon.options;
        let way = |to: IpAddr| Some((router.source(daemon.link, to, to)?, to));
        // All directors may be given the same list.
        let others = peers.iter().filter(|peer| !router.owns(**peer));
        let ways: Option<Vec<_>> =
            if peers.is_empty() { way(*group).map(|way| vec![way]) } else { others.map(|peer| way(*peer)).collect() };
        let sealer = key.as_ref().map(|key| Sealer::new(key.0.as_bytes()));
        Ok(Sender { ways: ways.ok_or(Refused::NoDevice)?, port: FIRST_PORT + router.fresh_id() % PORTS, sealer })
    }

    pub(super) fn send(&mut self, bytes: &[u8], daemon: &Daemon, router: &mut Router, turn: &mut Turn<impl Egress>) {
        for (from, to) in &self.ways {
            let (src, dst) = (Endpoint::new(*from, self.port), Endpoint::new(*to, daemon.options.port));
            let ttl = if to.is_multicast() { daemon.options.ttl } else { daemon.options.ttl.max(UNICAST_TTL) };
            let bytes = match &mut self.sealer {
                Some(sealer) => sealer.seal(bytes, *from, turn.clock),
                None => bytes,
            };
            turn.lend(|turn, packet| {
                udp::datagram(packet, src, dst, Hops { ttl, id: router.last_id() }, bytes);
                match to.is_multicast() {
                    true => send_to_group(packet, *to, daemon, router, turn),
                    false => router.send_to(packet, *to, turn),
                }
            });
        }
    }
}

fn send_to_group(
    packet: &mut PacketBuf,
    group: IpAddr,
    daemon: &Daemon,
    router: &mut Router,
    turn: &mut Turn<impl Egress>,
) {
    let (id, mtu) = (router.fresh_id(), usize::from(router.link(daemon.link).mtu));
    let Ok(ip) = ip_packet(packet.frame()) else { return };
    if ip.total_len() <= mtu {
        return router.send_to_group(packet, daemon.link, group, turn);
    }
    let Some(mut fragments) = Fragments::new(packet, &ip, mtu, u32::from(id)) else { return };
    turn.lend(|turn, piece| {
        while fragments.next_into(packet, &ip, piece) {
            router.send_to_group(piece, daemon.link, group, turn);
        }
    });
}
