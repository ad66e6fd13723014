//! The director as it is configured: commands, local prefixes, announcements, warnings.
//!
//! Never touches a packet of a client.

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
/// Records looked at in one turn.
const SWEEP_BUDGET: usize = 4096;
/// Between two warnings of one kind.
const QUIET: Duration = Duration::from_secs(10);

/// Gratuitous ARP and unsolicited advertisements that are due.
#[derive(Default)]
pub(super) struct Announcements {
    pending: Vec<(Instant, IpAddr)>,
    /// Addresses may have come or gone since the hosts of TUNs were told.
    moved: bool,
}

impl Announcements {
    pub(super) fn next(&self) -> Option<Instant> {
        self.pending.iter().map(|(due, _)| *due).min()
    }

    fn add(&mut self, addr: IpAddr, now: Instant) {
        self.pending.extend([(now, addr), (now + REPEAT_AFTER, addr)]);
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
        let news = brought_by(command).filter(|addr| !self.is_claimed(*addr));
        self.services.apply(command, now)?;
        self.announcements.moved |=
            !matches!(command, Command::AddDest(..) | Command::EditDest(..) | Command::DeleteDest(..));
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
        let news: Vec<IpAddr> = marks.hosts().filter(|addr| !self.is_claimed(*addr)).collect();
        self.services.marks = marks;
        self.announcements.moved = true;
        news.into_iter().for_each(|addr| self.announcements.add(addr, now));
    }

    /// True for a virtual or local address that was announced when it came.
    fn is_claimed(&self, addr: IpAddr) -> bool {
        self.services.is_vip(addr) || self.services.iter().any(|service| service.locals.contains(&addr))
    }

    /// Direct routing is told from any other by the MAC alone.
    fn check_medium(&self, command: &Command) -> Result<(), Refused> {
        let (Command::AddDest(_, real, options) | Command::EditDest(_, real, options)) = command else { return Ok(()) };
        let by = self.router.route(real.addr).map(|route| self.router.medium(route.link));
        let refused = options.method == Method::Direct && by == Ok(Medium::Ip);
        if refused { Err(Refused::NoEthernet) } else { Ok(()) }
    }

    /// The director's addresses, if some may have come or gone since they were last asked for: a TUN's host routes them.
    pub fn take_moved_addresses(&mut self) -> Option<Vec<IpAddr>> {
        if !std::mem::take(&mut self.announcements.moved) {
            return None;
        }
        let mut all = self.announced();
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    /// Changes a setting by its name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.settings.set(name, value)?;
        self.services.settings = self.settings.sched.clone();
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
        self.router.own_addresses().for_each(|addr| self.announcements.add(addr, now));
        self.announcements.moved = true;
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        let locals = self.services.iter().flat_map(|service| service.locals.clone());
        self.services.vips().chain(self.services.marks.hosts()).chain(locals).collect()
    }

    /// Every address that the neighbours are to know.
    pub(super) fn announced(&self) -> Vec<IpAddr> {
        self.router.own_addresses().chain(self.own_addresses()).collect()
    }

    pub(super) fn announce_due(&mut self, now: Instant, out: &mut impl Egress) {
        while let Some(place) = self.announcements.pending.iter().position(|(due, _)| *due <= now) {
            let (_, addr) = self.announcements.pending.swap_remove(place);
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
