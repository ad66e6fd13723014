//! The server of a new conn: the scheduler's choice or, in persistent services, the server of the client's first conn.
//!
//! ```text
//! service                     template (client masked, its port 0)   binds
//! address and port, not 21    PROTO client -> VIP:port               this service
//! port 21, port 0             PROTO client -> VIP:0                  all ports of the VIP
//! mark                        IP    client -> mark:0                 all protocols, ports and VIPs of the mark
//! ```
//! With the sip engine the Call-ID is part of the key. A template ignores weight 0 and thresholds, as in IPVS. Never changes
//! a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Flows;
use crate::base::{ConnId, DestId, DropReason, Endpoint, Family, Instant, Proto, ServiceId, Tuple};
use crate::conn::{Conn, Event, Kind, NewConn, SctpState, TcpState};
use crate::service::command::{Persistence, ServiceKey};

const FTP_PORT: u16 = 21;

/// Where a new conn goes.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The dest.
    pub dest: DestId,
    /// Address and port at the real server.
    pub real: Endpoint,
    /// The template that decided, or that was made of the decision.
    pub template: Option<ConnId>,
}

/// What a template is found by, and whether it binds to the dest's own port.
#[derive(Clone, Copy)]
pub struct TemplateKey {
    /// Protocol; 0 for marks.
    pub proto: Proto,
    /// The masked client, port 0.
    pub client: Endpoint,
    /// The virtual endpoint, or the mark in its place.
    pub virt: Endpoint,
    /// It binds to the dest's own port.
    pub of_one_port: bool,
}

/// A template that is looked for.
struct Wanted<'a> {
    service: ServiceId,
    tuple: &'a Tuple,
    key: &'a TemplateKey,
    call: Option<&'a [u8]>,
    timeout: u32,
}

impl Flows {
    /// The choice for a new conn; `None` if no dest is available.
    pub fn choose(
        &mut self,
        service: ServiceId,
        tuple: &Tuple,
        call: Option<&[u8]>,
        now: Instant,
    ) -> Result<Option<Choice>, DropReason> {
        let Some(configured) = self.services.get(service) else { return Ok(None) };
        let key = configured.key;
        if let Some(dest) = self.services.substitute(service) {
            return Ok(Some(self.without_template(dest, tuple)));
        }
        if let Some(Persistence { timeout }) = configured.options.persistence {
            let template = template_key(key, tuple, configured.options.netmask);
            let wanted = Wanted { service, tuple, key: &template, call, timeout };
            let Some(id) = self.template(&wanted, now)? else {
                let resort = self.services.last_resort(service);
                return Ok(resort.map(|dest| self.without_template(dest, tuple)));
            };
            let dest = self.conns.get(id).dest;
            let endpoint = self.services.server(dest).endpoint;
            let of_service = matches!(key, ServiceKey::Address(_, vip) if vip.port == tuple.dst.port);
            let port = if of_service && endpoint.port != 0 { endpoint.port } else { tuple.dst.port };
            return Ok(Some(Choice { dest, real: Endpoint::new(endpoint.addr, port), template: Some(id) }));
        }
        // A service on FTP's port was found for another port: that is for persistence only.
        if matches!(key, ServiceKey::Address(_, vip) if vip.port != tuple.dst.port) {
            return Ok(None);
        }
        let picked = self.services.pick(service, tuple, now).or_else(|| self.services.last_resort(service));
        Ok(picked.map(|dest| self.without_template(dest, tuple)))
    }

    fn without_template(&self, dest: DestId, tuple: &Tuple) -> Choice {
        let endpoint = self.services.server(dest).endpoint;
        let port = if endpoint.port == 0 { tuple.dst.port } else { endpoint.port };
        Choice { dest, real: Endpoint::new(endpoint.addr, port), template: None }
    }

    /// The template that binds this client, or this call, made now if there is none.
    fn template(&mut self, wanted: &Wanted, now: Instant) -> Result<Option<ConnId>, DropReason> {
        let Wanted { service, tuple, key, call, timeout } = *wanted;
        let known = match call {
            Some(call) => self.calls.find(key, call),
            None => self.conns.find_template(key.proto, key.client, key.virt),
        };
        if let Some(id) = known.filter(|id| self.is_usable(*id)) {
            return Ok(Some(id));
        }
        let Some(dest) = self.services.pick(service, tuple, now) else { return Ok(None) };
        let id = self.make_template(key, dest, timeout, now)?;
        if let Some(call) = call {
            self.conns.hide(id);
            self.calls.remember(key, call, id);
        }
        Ok(Some(id))
    }

    /// A template whose dest is gone, or has failed, or is quiesced where that counts, is put aside.
    fn is_usable(&mut self, id: ConnId) -> bool {
        let dest = self.conns.get(id).dest;
        let server = self.services.server(dest);
        let quiesced = self.settings.expire_quiescent_template && server.weight == 0;
        let usable = server.available && !quiesced && !self.services.is_abandoned(dest);
        if !usable {
            self.conns.invalidate_template(id);
            self.calls.forget(id);
        }
        usable
    }

    fn make_template(
        &mut self,
        key: &TemplateKey,
        dest: DestId,
        timeout: u32,
        now: Instant,
    ) -> Result<ConnId, DropReason> {
        let endpoint = self.services.server(dest).endpoint;
        let new = NewConn {
            proto: key.proto,
            client: key.client,
            virt: key.virt,
            real: self.intern(endpoint.addr, now)?,
            dport: if key.of_one_port { endpoint.port } else { 0 },
            local: None,
            dest,
            method: self.services.dest(dest).method,
            kind: Kind::Template { timeout },
        };
        let id = self.insert(&new, now, Duration::from_secs(u64::from(timeout)))?;
        self.services.bind_template(dest);
        Ok(id)
    }

    /// A new conn was made by a template: its time begins again.
    pub fn renew_template(&mut self, id: ConnId, now: Instant) {
        let timeout = Duration::from_secs(u64::from(self.conns.get(id).template_timeout()));
        self.conns.rearm(id, now, timeout);
    }
}

/// States of a template.
const ASSURED: u8 = 1;

impl Flows {
    /// A client that has proved itself keeps its template under pressure.
    #[inline]
    pub fn assure(&mut self, id: ConnId, event: Event) {
        if let Some(control) = self.conns.get(id).control() {
            self.assure_control(id, control, event);
        }
    }

    fn assure_control(&mut self, id: ConnId, control: ConnId, event: Event) {
        let conn = self.conns.get(id);
        let proved = match conn.proto() {
            Proto::UDP => event == Event::Output,
            Proto::SCTP => SctpState::from_number(conn.state()) == SctpState::Established,
            _ => TcpState::from_number(conn.state()) == TcpState::Established,
        };
        if proved && self.conns.get(control).is_template() {
            self.conns.set_state(control, ASSURED);
        }
    }
}

/// True if a client has proved itself by a conn of this template.
pub(super) fn is_assured(template: &Conn) -> bool {
    template.state() == ASSURED
}

/// The name of a template's state in listings.
pub(super) fn template_state(template: &Conn) -> &'static str {
    if is_assured(template) { "ASSURED" } else { "NONE" }
}

fn template_key(key: ServiceKey, tuple: &Tuple, netmask: u32) -> TemplateKey {
    let client = Endpoint::new(masked(tuple.src.addr, netmask), 0);
    let all_ports = Endpoint::new(tuple.dst.addr, 0);
    match key {
        ServiceKey::Mark(family, mark) => {
            let virt = Endpoint::new(mark_address(family, mark), 0);
            TemplateKey { proto: Proto::IP, client, virt, of_one_port: false }
        }
        ServiceKey::Address(proto, vip) if vip.port == tuple.dst.port && vip.port != FTP_PORT => {
            TemplateKey { proto, client, virt: tuple.dst, of_one_port: true }
        }
        ServiceKey::Address(proto, _) => TemplateKey { proto, client, virt: all_ports, of_one_port: false },
    }
}

/// `netmask` is an IPv4 mask, holes allowed, or an IPv6 prefix length.
fn masked(addr: IpAddr, netmask: u32) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => IpAddr::V4(Ipv4Addr::from(u32::from(addr) & netmask)),
        IpAddr::V6(addr) => {
            let mask = u128::MAX.checked_shl(128 - netmask.min(128)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(addr) & mask))
        }
    }
}

/// A mark in the place of a template's virtual address, as listings show it.
fn mark_address(family: Family, mark: u32) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(mark)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(u128::from(mark) << 96)),
    }
}
