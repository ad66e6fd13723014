//! The director as it is configured: commands, local prefixes, announcements, warnings.
//!
//! Never touches a packet of a client.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::Director;
use crate::base::{Endpoint, Family, Instant, Medium, Prefix};
use crate::conn::Conn;
use crate::router::Egress;
use crate::service::Marks;
use crate::service::command::{Command, Method, Refused, ServiceKey};

/// An announcement is repeated once, for the first may meet a bridge port that does not forward yet.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// Addresses announced between two packets: each is a frame or two for each link.
const ANNOUNCED_A_TURN: usize = 32;
/// Records looked at in one turn.
const SWEEP_BUDGET: usize = 4096;
/// Between two warnings of one kind.
const QUIET: Duration = Duration::from_secs(10);

/// Gratuitous ARP and unsolicited advertisements that are due.
#[derive(Default)]
pub(super) struct Announcements {
    /// What is said now, and what is repeated, each in the order of time.
    first: VecDeque<(Instant, IpAddr)>,
    again: VecDeque<(Instant, IpAddr)>,
    /// Addresses that have come or gone since the hosts of TUNs were told.
    moved: VecDeque<IpAddr>,
}

impl Announcements {
    pub(super) fn next(&self) -> Option<Instant> {
        [&self.first, &self.again].into_iter().filter_map(|queue| Some(queue.front()?.0)).min()
    }

    fn add(&mut self, addr: IpAddr, now: Instant) {
        self.first.push_back((now, addr));
        self.again.push_back((now + REPEAT_AFTER, addr));
    }

    fn take_due(&mut self, now: Instant) -> Option<IpAddr> {
        let is_due = |queue: &VecDeque<(Instant, IpAddr)>| queue.front().is_some_and(|(due, _)| *due <= now);
        let queue = if is_due(&self.first) { &mut self.first } else { &mut self.again };
        if is_due(queue) { queue.pop_front().map(|(_, addr)| addr) } else { None }
    }
}

/// Warnings from the data path, each kind at most once in ten seconds.
#[derive(Default)]
pub(super) struct Warnings {
    table_full: Quiet,
    no_port: Quiet,
}

#[derive(Default)]
struct Quiet {
    until: Instant,
    silenced: u64,
}

impl Quiet {
    /// How many were silenced since the last one that was allowed, if this one is.
    fn allows(&mut self, now: Instant) -> Option<u64> {
        if now < self.until {
            self.silenced += 1;
            return None;
        }
        self.until = now + QUIET;
        Some(std::mem::take(&mut self.silenced))
    }
}

impl Warnings {
    pub(super) fn flow_table_full(&mut self, now: Instant, max: usize) {
        if let Some(before) = self.table_full.allows(now) {
            log::warn!(
                "flow table full ({max} conns): new conns are refused ({before} more since the last warning); raise --max-flows"
            );
        }
    }

    pub(super) fn no_local_port(&mut self, now: Instant, real: Endpoint) {
        if let Some(before) = self.no_port.allows(now) {
            log::warn!("no local port left towards {real} ({before} more since the last warning); add --local-address");
        }
    }
}

impl Director {
    /// Carries out an operator's command, as a whole or not at all; a new VIP is announced.
    pub fn apply(&mut self, command: &Command, now: Instant) -> Result<(), Refused> {
        match command {
            Command::StartDaemon(role, options) => return self.start_daemon(*role, options),
            Command::StopDaemon(role) => return self.stop_daemon(*role),
            // A server of another family than its service cannot be told of.
            Command::AddDest(key, real, _) if self.sync.runs() && key.family() != Family::of(real.addr) => {
                return Err(Refused::Invalid);
            }
            _ => {}
        }
        self.check_medium(command)?;
        let news = brought_by(command).filter(|addr| !self.services.owns(*addr));
        let gone = self.services.addresses_of(command);
        self.services.apply(command, now)?;
        self.announcements.moved.extend(news.into_iter().chain(gone));
        if let Command::SetTimeouts { tcp, tcp_fin, udp } = command {
            self.timeouts.set(*tcp, *tcp_fin, *udp);
        }
        let removes = matches!(command, Command::DeleteDest(..) | Command::DeleteService(_) | Command::Clear);
        if removes && self.settings.expire_nodest_conn {
            self.sweep = Some(0);
        }
        if let Some(addr) = news {
            self.announcements.add(addr, now);
        }
        Ok(())
    }

    /// Replaces the mark rules; a new VIP among them is announced.
    pub fn set_marks(&mut self, marks: Marks, now: Instant) {
        let news: Vec<IpAddr> = marks.hosts().filter(|addr| !self.services.owns(*addr)).collect();
        self.announcements.moved.extend(self.services.marks().hosts().chain(news.iter().copied()));
        self.services.set_marks(marks);
        news.into_iter().for_each(|addr| self.announcements.add(addr, now));
    }

    /// Direct routing is told from any other by the MAC alone.
    fn check_medium(&self, command: &Command) -> Result<(), Refused> {
        let (Command::AddDest(_, real, options) | Command::EditDest(_, real, options)) = command else { return Ok(()) };
        let by = self.router.route(real.addr).map(|route| self.router.medium(route.link));
        let refused = options.method == Method::Direct && by == Ok(Medium::Ip);
        if refused { Err(Refused::NoEthernet) } else { Ok(()) }
    }

    /// An address that has come (true) or gone (false) since this was last asked: a TUN's host routes those that are here.
    pub fn take_moved_address(&mut self) -> Option<(IpAddr, bool)> {
        let addr = self.announcements.moved.pop_front()?;
        Some((addr, self.services.owns(addr) || self.router.owns(addr)))
    }

    /// True while `take_moved_address` has something to tell.
    pub fn has_moved_addresses(&self) -> bool {
        !self.announcements.moved.is_empty()
    }

    /// Changes a setting by its name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.settings.set(name, value)?;
        self.services.settings = self.settings.sched();
        self.judge_pressure();
        Ok(())
    }

    /// Ends conns of removed dests (`expire_nodest_conn`), a part of the table at a time.
    pub(super) fn sweep(&mut self) {
        let Some(mut cursor) = self.sweep else { return };
        let until = cursor + SWEEP_BUDGET;
        while cursor < until {
            let services = &self.services;
            let idle = |conn: &Conn| !conn.controls() && !services.server(conn.dest).available;
            let (found, next) = self.conns.scan(cursor, until - cursor, idle);
            self.sweep = next;
            let Some(id) = found else { return };
            let control = self.conns.get(id).control();
            self.end(id);
            // What controlled it may be idle now.
            let again = control.filter(|control| control.index() < id.index()).map(|control| control.index());
            self.sweep = again.or(next);
            cursor = self.sweep.unwrap_or(until);
        }
    }

    /// Takes every address of a prefix for the director's own (a whole net of virtual addresses).
    pub fn add_local_prefix(&mut self, prefix: Prefix) {
        self.locals.push(prefix);
    }

    /// Announces the addresses of the links; virtual addresses are announced as they come.
    pub fn announce_links(&mut self, now: Instant) {
        for addr in self.router.own_addresses().chain(self.services.addresses()) {
            self.announcements.moved.push_back(addr);
        }
        self.router.own_addresses().for_each(|addr| self.announcements.add(addr, now));
    }

    /// Every address that the neighbours are to know.
    pub(super) fn announced(&self) -> Vec<IpAddr> {
        self.router.own_addresses().chain(self.services.addresses()).collect()
    }

    pub(super) fn announce_due(&mut self, now: Instant, out: &mut impl Egress) {
        for _ in 0..ANNOUNCED_A_TURN {
            let Some(addr) = self.announcements.take_due(now) else { return };
            self.router.links_toward(addr).into_iter().for_each(|link| self.router.announce(link, addr, out));
        }
    }
}

/// The address that a command may bring to this director.
fn brought_by(command: &Command) -> Option<IpAddr> {
    match command {
        Command::AddService(ServiceKey::Address(_, vip), _) => Some(vip.addr),
        Command::AddLocalAddress(_, local) => Some(*local),
        _ => None,
    }
}
