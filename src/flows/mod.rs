//! Flows: conns together with the services and servers they are bound to, from admission to their end.
//!
//! Every change of a conn's state passes here, so that the counters of its server, its timer and its local port follow.
//! Never sends a packet.

mod admission;
mod adopt;
mod announced;
mod bypass;
mod calls;
mod defence;
mod end;
mod open;
mod persistence;
mod quotas;
mod refusals;
mod splices;
mod warnings;

use crate::base::{Chance, ConnId, Counted, DestId, Instant, Method, Rng, Tunnel};
use crate::conn::{Conn, ConnTable, Event, FullNatTimeouts, Side, TcpState, Timeouts, next_state};
use crate::forward::{Ends, LocalPorts};
use crate::service::Services;
use crate::settings::Settings;
use crate::wire::{L4, Packet, tcp};

pub use admission::{ConnFate, FTP_DATA_PORT, SCTP_ABORT};
pub use adopt::Draft;
pub use bypass::nobody;
pub use calls::Calls;
pub use open::{Opening, own_address};
pub use persistence::{Choice, TemplateKey};
pub use refusals::{Refusals, Sign};
pub use splices::{Answer, Due, Handshake, Join, Splice, Splices};

/// Conns, services and what holds them together.
pub struct Flows {
    /// Services and dests.
    pub services: Services,
    /// Live conns.
    pub conns: ConnTable,
    /// Settings, named as the kernel's sysctls where it has them.
    pub settings: Settings,
    /// Conn timeouts (`--set`).
    pub timeouts: Timeouts,
    /// Templates that bind a call.
    pub calls: Calls,
    /// Local ports of FULL-NAT and of masqueraded flows.
    pub ports: LocalPorts,
    rng: Rng,
    defence: defence::Defence,
    warnings: warnings::Warnings,
    quotas: quotas::Quotas,
    /// Conns and templates of which another director told, and no packet has come here since.
    pub synced: usize,
    /// Where the search for conns of removed dests goes on.
    sweep: Option<usize>,
    /// Not before.
    sweep_from: Instant,
    /// Some service resets the conns of failed dests: what ends expect is remembered.
    resets_wanted: bool,
    /// Servers that refuse conns, or do not answer.
    pub refusals: Refusals,
    /// Conns whose handshake was made here.
    pub splices: Splices,
    /// Conns of which other directors are to be told whatever their packets are: they were announced, or helpers know more.
    news: Vec<ConnId>,
}

impl Flows {
    /// No services, no conns.
    pub fn new(settings: Settings, chance: Chance) -> Flows {
        let Chance { key, seed } = chance;
        let mut flows = Flows {
            services: Services::new(settings.sched(), seed),
            conns: ConnTable::new(settings.max_flows, key),
            timeouts: Timeouts::default(),
            calls: Calls::default(),
            ports: LocalPorts::new((seed >> 32) as u32),
            rng: Rng::seeded(seed),
            defence: defence::Defence::default(),
            warnings: warnings::Warnings::default(),
            quotas: quotas::Quotas::default(),
            synced: 0,
            sweep: None,
            sweep_from: Instant::START,
            resets_wanted: false,
            refusals: Refusals::default(),
            splices: Splices::default(),
            news: Vec::new(),
            settings,
        };
        flows.heed_timeouts();
        flows
    }

    /// Takes over the timeouts that are settings.
    pub fn heed_timeouts(&mut self) {
        self.timeouts.time_wait = self.settings.timeout_timewait;
        self.timeouts.close = self.settings.timeout_close;
        self.timeouts.full_nat = FullNatTimeouts {
            opening: self.settings.fullnat_timeout_opening,
            established: self.settings.fullnat_timeout_tcp,
            closing: self.settings.fullnat_timeout_closing,
            udp: self.settings.fullnat_timeout_udp,
        };
    }

    /// The ends of a conn, between which its packets are rewritten.
    #[inline(always)]
    pub fn ends(&self, id: ConnId) -> Ends {
        let conn = self.conns.get(id);
        let method = conn.method(|| self.tunnel_of(conn.dest));
        let (client, virt) = (conn.packed_client(), conn.packed_virt());
        let real = if matches!(method, Method::Bypass) { virt.into() } else { self.conns.real(conn) };
        let mut ends = Ends::new(method, client, virt, real, self.conns.local(conn));
        if matches!(method, Method::FullNat) {
            ends.shift = self.conns.shift(id);
        }
        ends
    }

    /// The first packet of a conn: a SYN through FULL-NAT gets a sequence number of ours.
    #[inline]
    pub fn begin_sequence(&mut self, id: ConnId, packet: &Packet, now: Instant) {
        if self.conns.get(id).is_full_nat()
            && let L4::Tcp { flags, .. } = packet.ip.l4
            && flags.syn()
            && !flags.ack()
            && self.settings.fullnat_sequence
        {
            self.conns.begin_sequence(id, tcp::sequence(packet.frame(), packet.ip), now);
        }
    }

    /// A number that no client knows.
    pub fn draw(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A segment of a conn had no room for the option that tells the server of its client.
    #[cold]
    pub fn warn_of_missing_toa(&mut self, id: ConnId, now: Instant) {
        let conn = self.conns.get(id);
        let (client, real) = (conn.client(), self.conns.real(conn));
        self.warnings.no_room_for_toa(now, client, real);
    }

    /// How a dest's tunnel is made now, whatever the method of the conn.
    #[inline]
    fn tunnel_of(&self, dest: DestId) -> Tunnel {
        match self.services.dest(dest).method {
            Method::Tunnel(tunnel) => tunnel,
            Method::Nat | Method::Direct | Method::FullNat | Method::Bypass => Tunnel::Ipip,
        }
    }

    /// Moves a conn's state, its dest's counters and its timer.
    #[inline]
    pub fn advance(&mut self, id: ConnId, event: Event, l4: &L4, now: Instant) {
        let tables = self.tcp_tables();
        let conn = self.conns.get(id);
        let number = next_state(conn.state(), event, l4, tables);
        let (counted, timeout) = self.timeouts.lasting(conn, number);
        let (dest, before) = (conn.dest, conn.counted());
        if number == TcpState::SynRecv as u8 && self.refusals.is_on() {
            self.refusals.half_open((id, conn), conn.state(), event, now);
        }
        self.conns.move_state(id, number, Some(event));
        if before != counted {
            self.count_as(id, dest, counted);
        }
        self.conns.rearm(id, now, timeout);
        self.assure(id, event);
    }

    /// Other directors are to be told of a conn at once.
    pub fn tell_of(&mut self, id: ConnId) {
        if !self.news.contains(&id) {
            self.news.push(id);
        }
    }

    /// True if other directors are to be told of something.
    #[inline(always)]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Of what they are to be told, in this order.
    pub fn take_news(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.news)
    }

    /// Another director told of this conn.
    pub fn note_synced(&mut self, id: ConnId) {
        if !self.conns.get(id).is_synced() {
            self.conns.disturb(id);
            self.conns.get_mut(id).set_synced(true);
            self.synced += 1;
        }
    }

    /// Another director tells of a conn: whether it has made the handshake, and how numbers are moved since.
    pub fn take_join(&mut self, id: ConnId, join: Option<Join>) {
        let conn = self.conns.get_mut(id);
        match join {
            Some(join) if conn.rewrites_replies() && !conn.is_template() => {
                conn.set_helped(true);
                self.splices.join_as(id, join);
            }
            _ if self.splices.get(id).is_some() => {
                self.splices.forget(id);
                self.ends_help(id);
            }
            _ => {}
        }
    }

    /// The first packet of a conn of which another director told has come here.
    #[cold]
    pub fn confirm(&mut self, id: ConnId) {
        self.conns.get_mut(id).set_synced(false);
        self.synced = self.synced.saturating_sub(1);
        if self.services.dest(self.conns.get(id).dest).judgement.ending.ends_conns() {
            self.start_sweep();
        }
    }

    /// Counts a conn as active or inactive at its dest.
    pub fn count_as(&mut self, id: ConnId, dest: DestId, counted: Counted) {
        let conn = self.conns.get_mut(id);
        let before = conn.counted();
        conn.set_counted(counted);
        self.services.recount(dest, before, counted);
    }

    /// The name of a conn's state in listings.
    pub fn state_name(&self, conn: &Conn) -> &'static str {
        if conn.is_template() {
            return persistence::template_state(conn);
        }
        self.timeouts.state(conn.proto(), conn.state()).name
    }

    /// Whether the ends of a conn are reset when it expires in ESTABLISHED.
    pub fn resets_at_expiry(&self, conn: &Conn) -> bool {
        conn.is_of(self.settings.expire_reset)
    }

    /// True if somebody may want what an end of the conn expects next.
    pub fn wants_expected(&self, conn: &Conn) -> bool {
        self.resets_wanted || conn.is_of(self.settings.expire_reset | self.settings.keepalive)
    }

    /// Remembers the sequence number that the sender of a segment expects next, if somebody may want it.
    #[inline(always)]
    pub fn note_expected(&mut self, id: ConnId, sender: Side, packet: &Packet) {
        if self.wants_expected(self.conns.get(id))
            && let L4::Tcp { flags, .. } = packet.ip.l4
            && flags.ack()
        {
            self.conns.note_expected(id, sender, tcp::acknowledged(packet.frame(), packet.ip));
        }
    }
}
