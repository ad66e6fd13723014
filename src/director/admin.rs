//! The director as it is configured: commands, local prefixes, announcements, warnings.
//!
//! Never touches a packet of a client.

use std::net::{IpAddr, Ipv4Addr};

use super::Director;
use super::owner::Ownership;
use crate::base::{Instant, Medium};
use crate::service::command::{Command, Method, Refused, ServiceKey};
use crate::service::{Marks, limits};

impl Director {
    /// Carries out an operator's command, as a whole or not at all; a new VIP is announced.
    pub fn apply(&mut self, command: &Command, now: Instant) -> Result<(), Refused> {
        limits::check(command)?;
        self.fast().prepare(command);
        match command {
            Command::StartDaemon(role, options) => {
                self.sync.start(*role, options, &mut self.router)?;
                self.presence().judge_standby(now);
                return Ok(());
            }
            Command::StopDaemon(role) => {
                self.sync.stop(*role, &mut self.router)?;
                self.presence().judge_standby(now);
                return Ok(());
            }
            // One host cannot be both: see `check_local`.
            Command::AddDest(_, real, _) if self.flows.services.is_local(real.addr) => return Err(Refused::Invalid),
            _ => {}
        }
        self.ownership().check_medium(command)?;
        self.ownership().check_local_address(command)?;
        let news = new_address_of(command).filter(|addr| !self.flows.services.owns(*addr));
        let gone = self.flows.services.addresses_of(command);
        self.flows.services.apply(command, now)?;
        if !gone.is_empty() {
            self.vrrp.note_services(now);
        }
        self.stack.announcements.note_moved(news.into_iter().chain(gone));
        if let Command::SetTimeouts { tcp, tcp_fin, udp } = command {
            self.flows.timeouts.set(*tcp, *tcp_fin, *udp);
        }
        let removes = matches!(command, Command::DeleteDest(..) | Command::DeleteService(_) | Command::Clear);
        if removes && self.flows.settings.expire_nodest_conn {
            self.flows.start_sweep();
        }
        if let Command::AddDest(_, real, _) = command
            && real.addr.is_loopback()
        {
            log::warn!(
                "real server {real}: no packet from a link reaches the host's loopback address, so clients get no answer from this server; name an address that the host has on the bridge"
            );
        }
        self.presence().announce_new(news, now);
        Ok(())
    }

    /// Replaces the mark rules; a new VIP among them is announced.
    pub fn set_marks(&mut self, marks: Marks, now: Instant) {
        let Director { flows, stack, .. } = self;
        let news: Vec<IpAddr> = marks.hosts().filter(|addr| !flows.services.owns(*addr)).collect();
        stack.announcements.note_moved(flows.services.marks().hosts().chain(news.iter().copied()));
        flows.services.set_marks(marks);
        self.presence().announce_new(news, now);
    }

    /// An address that has come (true) or gone (false) since this was last asked: a TUN's host routes those that are here.
    pub fn take_moved_address(&mut self) -> Option<(IpAddr, bool)> {
        let addr = self.stack.announcements.take_moved()?;
        Some((addr, self.owns(addr)))
    }

    /// True while `take_moved_address` has something to tell.
    pub fn has_moved_addresses(&self) -> bool {
        self.stack.announcements.has_moved()
    }

    /// Changes a setting by its name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.fast().leave_all();
        self.flows.settings.set(name, value)?;
        self.flows.heed_timeouts();
        self.flows.services.settings = self.flows.settings.sched();
        self.router.path_mtus.discovery = self.flows.settings.pmtu_disc;
        self.flows.judge_pressure();
        Ok(())
    }
}

impl Ownership<'_> {
    /// Direct routing is told from any other by the MAC alone.
    fn check_medium(&self, command: &Command) -> Result<(), Refused> {
        let (Command::AddDest(_, real, options) | Command::EditDest(_, real, options)) = command else { return Ok(()) };
        let by = self.router.route(real.addr).map(|route| self.router.medium(route.link));
        let refused = options.method == Method::Direct && by == Ok(Medium::Ip);
        if refused { Err(Refused::NoEthernet) } else { Ok(()) }
    }

    /// A local address is one that a host can have, and that no other host has: it is announced, and conns leave from it.
    fn check_local_address(&self, command: &Command) -> Result<(), Refused> {
        let Command::AddLocalAddress(_, local) = command else { return Ok(()) };
        let of_group = local.is_multicast() || *local == IpAddr::V4(Ipv4Addr::BROADCAST);
        let of_nobody = of_group || local.is_unspecified() || local.is_loopback() || self.router.is_broadcast(*local);
        let of_server = self.flows.services.is_server(*local) && !self.owns(*local);
        if of_nobody || of_server { Err(Refused::NotLocal) } else { Ok(()) }
    }
}

/// The address that a command may bring to this director.
fn new_address_of(command: &Command) -> Option<IpAddr> {
    match command {
        Command::AddService(ServiceKey::Address(_, vip), _) => Some(vip.addr),
        Command::AddLocalAddress(_, local) => Some(*local),
        _ => None,
    }
}
