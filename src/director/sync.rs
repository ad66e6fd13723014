//! Telling other directors of conns (IPVS connection synchronisation, the master's side).
//!
//! Decides which conns are worth telling of, in the kernel's order of questions, and gathers them into messages of up to
//! two seconds. A template is told of with each packet of its conns, or as `sync_refresh_period` allows. Never changes
//! a conn.

use std::net::IpAddr;
use std::time::Duration;

use super::{Director, Settings};
use crate::base::{ConnId, Endpoint, Family, Instant, LinkId, Proto, Tuple};
use crate::conn::{SctpState, Synced, TcpState};
use crate::router::Egress;
use crate::service::command::{Refused, ServiceKey, SyncOptions, SyncRole};
use crate::wire::sync::{Message, Record};
use crate::wire::udp::{self, Hops};
use crate::wire::{Fragments, PacketBuf};

/// A message leaves this long after its first conn at the latest.
const GATHERED: Duration = Duration::from_secs(2);
/// What a packet on any Ethernet takes.
const PACKET: u16 = 1500;
const UDP_HEADER: usize = 8;
const LARGEST: usize = 65_535;
/// Source ports (`ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const PORTS: u16 = 28_232;

/// What a daemon was started with, its defaults filled in.
pub(super) struct Daemon {
    pub(super) options: SyncOptions,
    pub(super) link: LinkId,
}

/// Master and backup may run at the same time.
#[derive(Default)]
pub(super) struct Sync {
    master: Option<Master>,
    pub(super) backup: Option<Daemon>,
}

struct Master {
    daemon: Daemon,
    source: IpAddr,
    port: u16,
    message: Message,
    /// When the first conn of the message was added.
    since: Instant,
}

impl Sync {
    pub(super) fn runs(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    pub(super) fn has_master(&self) -> bool {
        self.master.is_some()
    }

    /// When a message leaves that is not full.
    pub(super) fn due(&self) -> Option<Instant> {
        let master = self.master.as_ref()?;
        (!master.message.is_empty()).then(|| master.since + GATHERED)
    }
}

impl Director {
    /// The synchronisation daemons that run, with their options as they are used.
    pub fn sync_daemons(&self) -> impl Iterator<Item = (SyncRole, &SyncOptions)> {
        let master = self.sync.master.iter().map(|master| (SyncRole::Master, &master.daemon.options));
        master.chain(self.sync.backup.iter().map(|backup| (SyncRole::Backup, &backup.options)))
    }

    pub(super) fn start_daemon(&mut self, role: SyncRole, options: &SyncOptions) -> Result<(), Refused> {
        let daemon = self.daemon(role, options)?;
        match role {
            SyncRole::Master if self.sync.master.is_some() => return Err(Refused::DaemonRuns),
            SyncRole::Backup if self.sync.backup.is_some() => return Err(Refused::DaemonRuns),
            SyncRole::Backup => self.sync.backup = Some(daemon),
            SyncRole::Master => {
                let source = self
                    .router
                    .source(daemon.link, daemon.options.group, daemon.options.group)
                    .ok_or(Refused::NoDevice)?;
                let port = FIRST_PORT + self.fresh_id() % PORTS;
                let message = Message::new(usize::from(daemon.options.maxlen), daemon.options.syncid);
                self.sync.master = Some(Master { daemon, source, port, message, since: Instant::START });
            }
        }
        Ok(())
    }

    /// Link and size of messages. Servers of another family than their service cannot be told of.
    fn daemon(&self, role: SyncRole, options: &SyncOptions) -> Result<Daemon, Refused> {
        let named = |name: &str| self.router.links().find(|(_, link)| link.name == name);
        let (link, mtu) = named(&options.interface).map(|(id, link)| (id, link.mtu)).ok_or(Refused::NoDevice)?;
        if self.services.has_mixed_families() {
            return Err(Refused::Invalid);
        }
        let headers = UDP_HEADER + if options.group.is_ipv4() { 20 } else { 40 };
        let (packet, least) = match role {
            SyncRole::Master => (PACKET, 1),
            SyncRole::Backup => (mtu.max(PACKET), 1024),
        };
        let maxlen = match usize::from(options.maxlen) {
            0 => usize::from(packet) - headers,
            asked => asked.clamp(least, LARGEST - headers),
        };
        Ok(Daemon { options: SyncOptions { maxlen: maxlen as u16, ..options.clone() }, link })
    }

    /// Conns that were gathered and not sent are forgotten, as in the kernel.
    pub(super) fn stop_daemon(&mut self, role: SyncRole) -> Result<(), Refused> {
        let ran = match role {
            SyncRole::Master => self.sync.master.take().is_some(),
            SyncRole::Backup => self.sync.backup.take().is_some(),
        };
        if ran { Ok(()) } else { Err(Refused::NoDaemon) }
    }

    /// A packet of a conn was forwarded, or its life was prolonged: it is told of, and what it came from too.
    #[inline]
    pub(super) fn sync(&mut self, id: ConnId, now: Instant, out: &mut impl Egress) {
        if self.sync.master.is_some() {
            self.sync_chain(id, self.conns.get(id).in_pkts, now, out);
        }
    }

    /// What the kernel does where it does not count packets: as if the threshold had just been reached.
    pub(super) fn sync_as_due(&mut self, id: ConnId, now: Instant, out: &mut impl Egress) {
        if self.sync.master.is_some() {
            self.sync_chain(id, self.settings.sync_threshold, now, out);
        }
    }

    fn sync_chain(&mut self, mut id: ConnId, mut packets: u32, now: Instant, out: &mut impl Egress) {
        loop {
            if self.is_worth_telling(id, packets, now) {
                self.tell(id, now, out);
            }
            let Some(control) = self.conns.get(id).control() else { return };
            packets = self.packets_of_control(control);
            id = control;
        }
    }

    /// A template counts the packets of all its conns.
    fn packets_of_control(&mut self, control: ConnId) -> u32 {
        let conn = self.conns.get_mut(control);
        if !conn.is_template() {
            return self.settings.sync_threshold;
        }
        conn.in_pkts = conn.in_pkts.wrapping_add(1);
        conn.in_pkts
    }

    /// For a conn that is not in the table (one-packet scheduling): only its template is told of.
    pub(super) fn sync_template(&mut self, template: ConnId, now: Instant, out: &mut impl Egress) {
        let packets = self.packets_of_control(template);
        if self.sync.master.is_some() {
            self.sync_chain(template, packets, now, out);
        }
    }

    fn is_worth_telling(&mut self, id: ConnId, packets: u32, now: Instant) -> bool {
        let conn = *self.conns.get(id);
        let template = conn.is_template();
        let told = *self.conns.synced(id);
        let persistent = conn.control().is_some_and(|control| self.conns.get(control).is_template());
        let state = match conn.proto() {
            _ if template => Telling::Regular,
            _ if self.settings.sync_persist_mode && persistent => return false,
            Proto::TCP => telling_tcp(conn.state),
            Proto::SCTP => telling_sctp(conn.state),
            _ => Telling::Regular,
        };
        let end = now + self.lifetime(id);
        let mut retries = 0;
        match state {
            Telling::Never => return false,
            Telling::AtOnce if told.state != conn.state => {}
            Telling::AtOnce | Telling::Regular => match self.retries_if_due(&told, end, packets, template, now) {
                Some(count) => retries = count,
                None => return false,
            },
        }
        *self.conns.synced(id) = Synced { state: conn.state, retries, end };
        true
    }

    /// How often an unchanged conn was told of by then, if it is to be told of now.
    fn retries_if_due(&self, told: &Synced, end: Instant, packets: u32, template: bool, now: Instant) -> Option<u8> {
        let Settings { sync_threshold: threshold, sync_period: period, .. } = self.settings;
        let refresh = Duration::from_secs(u64::from(self.settings.sync_refresh_period));
        let mut retries = 0;
        if !refresh.is_zero() {
            let lifetime = end.since(now);
            let change = end.since(told.end).max(told.end.since(end));
            if change < refresh.min((lifetime / 2).max(Duration::from_secs(10))) {
                let last = told.end - lifetime;
                if told.retries >= self.settings.sync_retries || now < last + refresh / 8 {
                    return None;
                }
                retries = told.retries + 1;
            }
        }
        let due = match period {
            0 => !refresh.is_zero() || packets == threshold,
            _ => template || packets % period == threshold,
        };
        due.then_some(retries)
    }

    /// How long a conn lives after a packet.
    fn lifetime(&self, id: ConnId) -> Duration {
        let conn = self.conns.get(id);
        if conn.is_template() {
            return Duration::from_secs(u64::from(conn.template_timeout()));
        }
        self.timeouts.state(conn.proto(), conn.state).timeout
    }

    fn tell(&mut self, id: ConnId, now: Instant, out: &mut impl Egress) {
        let conn = *self.conns.get(id);
        let (client, virt) = (conn.client(), conn.virt());
        let mark = match self.services.dest(conn.dest).service {
            ServiceKey::Mark(_, mark) => mark,
            ServiceKey::Address(..) => self.services.marks().of(&Tuple { proto: conn.proto(), src: client, dst: virt }),
        };
        let real = self.conns.real(&conn);
        if Family::of(real.addr) != Family::of(client.addr) {
            return;
        }
        let timeout = self.lifetime(id).as_secs() as u32;
        // Taken out, for the record borrows the rest of the director.
        let Some(mut master) = self.sync.master.take() else { return };
        let mut packet = self.scratch.take().unwrap_or_default();
        let record = Record {
            proto: conn.proto(),
            flags: conn.kernel_flags(),
            state: u16::from(conn.state),
            client,
            virt,
            real,
            mark,
            timeout,
            engine: if conn.is_template() { self.engine_data(id) } else { None },
        };
        let full = !master.message.has_room_for(&record);
        if full {
            master.write(&mut packet, self.next_id);
            master.message.clear();
        }
        if master.message.is_empty() {
            master.since = now;
        }
        master.message.push(&record);
        if full {
            self.send_message(&mut packet, &master.daemon, out);
        }
        self.scratch = Some(packet);
        self.sync.master = Some(master);
    }

    /// Sends the message that has waited long enough.
    pub(super) fn sync_due(&mut self, now: Instant, out: &mut impl Egress) {
        if self.sync.due().is_none_or(|due| due > now) {
            return;
        }
        let Some(mut master) = self.sync.master.take() else { return };
        let mut packet = self.scratch.take().unwrap_or_default();
        master.write(&mut packet, self.next_id);
        master.message.clear();
        self.send_message(&mut packet, &master.daemon, out);
        self.scratch = Some(packet);
        self.sync.master = Some(master);
    }

    fn send_message(&mut self, packet: &mut PacketBuf, daemon: &Daemon, out: &mut impl Egress) {
        let (id, mtu) = (self.fresh_id(), usize::from(self.router.link(daemon.link).mtu));
        let Ok(ip) = crate::wire::ip_packet(packet.frame()) else { return };
        if ip.total_len() <= mtu {
            return self.router.send_to_group(packet, daemon.link, daemon.options.group, out);
        }
        let Some(mut fragments) = Fragments::new(packet, &ip, mtu, u32::from(id)) else { return };
        while fragments.next_into(packet, &ip, &mut self.pieces) {
            self.router.send_to_group(&mut self.pieces, daemon.link, daemon.options.group, out);
        }
    }
}

impl Master {
    fn write(&self, packet: &mut PacketBuf, id: u16) {
        let SyncOptions { group, port, ttl, .. } = &self.daemon.options;
        let (src, dst) = (Endpoint::new(self.source, self.port), Endpoint::new(*group, *port));
        udp::datagram(packet, src, dst, Hops { ttl: *ttl, id }, self.message.bytes());
    }
}

/// When a conn in a state is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Telling {
    Never,
    /// By the count of its packets.
    Regular,
    /// As soon as it has come into the state.
    AtOnce,
}

fn telling_tcp(state: u8) -> Telling {
    match TcpState::from_number(state) {
        TcpState::Established => Telling::Regular,
        TcpState::FinWait | TcpState::Close | TcpState::CloseWait | TcpState::TimeWait => Telling::AtOnce,
        TcpState::None
        | TcpState::SynSent
        | TcpState::SynRecv
        | TcpState::LastAck
        | TcpState::Listen
        | TcpState::SynAck => Telling::Never,
    }
}

fn telling_sctp(state: u8) -> Telling {
    match SctpState::from_number(state) {
        SctpState::Established => Telling::Regular,
        SctpState::ShutdownSent | SctpState::ShutdownReceived | SctpState::ShutdownAckSent | SctpState::Closed => {
            Telling::AtOnce
        }
        SctpState::None
        | SctpState::Init1
        | SctpState::Init
        | SctpState::CookieSent
        | SctpState::CookieReplied
        | SctpState::CookieWait
        | SctpState::Cookie
        | SctpState::CookieEchoed
        | SctpState::Rejected => Telling::Never,
    }
}
