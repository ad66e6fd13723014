//! Which service or dest a packet is for, and whose an address is.
//!
//! Reads only, and each question takes one or two looks into a map.

use std::net::IpAddr;

use crate::base::{DestId, Endpoint, Family, Proto, ServiceId, Tuple};

use super::command::{Command, ServiceKey};
use super::{Service, Services};

/// The port of FTP's control conn: services there also take the data conns.
pub(super) const FTP_PORT: u16 = 21;
/// The port a server opens active FTP data conns from.
const FTP_DATA_PORT: u16 = 20;
/// First port that a passive FTP server may announce (`ip_unprivileged_port_start`).
const FIRST_HIGH_PORT: u16 = 1024;

impl Services {
    /// The service that takes a packet: by mark, by exact address, by the FTP rule, by address with any port.
    pub fn find(&self, tuple: &Tuple) -> Option<ServiceId> {
        self.find_marked(self.marks.of(tuple), tuple.proto, tuple.dst)
    }

    /// As `find`, of a packet that carries this mark.
    pub fn find_marked(&self, mark: u32, proto: Proto, dst: Endpoint) -> Option<ServiceId> {
        if mark != 0
            && let Some(id) = self.slot_of(&ServiceKey::Mark(Family::of(dst.addr), mark))
        {
            return Some(id);
        }
        let at = |port| self.slot_of(&ServiceKey::Address(proto, Endpoint::new(dst.addr, port)));
        let port = dst.port;
        let ftp_data = proto == Proto::TCP && (port == FTP_DATA_PORT || port >= FIRST_HIGH_PORT);
        at(port)
            .or_else(|| if self.ftp > 0 && ftp_data { at(FTP_PORT) } else { None })
            .or_else(|| if self.any_port > 0 { at(0) } else { None })
    }

    /// A dest of a service by its endpoint.
    pub fn find_dest(&self, service: ServiceId, real: Endpoint) -> Option<DestId> {
        self.by_endpoint.get(&(service, real)).copied()
    }

    /// True for the endpoint of a server in NAT; those of mark services have no protocol of their own.
    pub fn is_nat_server(&self, proto: Proto, real: Endpoint) -> bool {
        [proto, Proto::IP].into_iter().any(|of| self.nat_servers.contains_key(&(of, real)))
    }

    /// True if there is any service of this family, or one whose servers may be of it; without one, nothing is balanced.
    pub fn any(&self, family: Family) -> bool {
        self.families[family as usize] > 0 || (self.crossed && self.families != [0; 2])
    }

    /// True for a virtual address and for a local one of FULL-NAT: the director answers for both.
    pub fn owns(&self, addr: IpAddr) -> bool {
        self.addresses.is_own(addr)
    }

    /// True for a local address of FULL-NAT.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.addresses.is_local(addr)
    }

    /// True for the address of a real server.
    pub fn is_server(&self, addr: IpAddr) -> bool {
        self.addresses.is_server(addr)
    }

    /// True if a packet belongs to a service by its mark, whatever its destination: the rule may name a net.
    pub fn takes_by_mark(&self, tuple: &Tuple) -> bool {
        self.marks.any_net() && {
            let mark = self.marks.of(tuple);
            mark != 0 && self.by_key.contains_key(&ServiceKey::Mark(Family::of(tuple.dst.addr), mark))
        }
    }

    /// The virtual and the local addresses, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.own()
    }

    /// The addresses that a command may take away.
    pub fn addresses_of(&self, command: &Command) -> Vec<IpAddr> {
        let of = |service: &Service| {
            let vip = match service.key {
                ServiceKey::Address(_, vip) => Some(vip.addr),
                ServiceKey::Mark(..) => None,
            };
            vip.into_iter().chain(service.locals.iter().copied()).collect()
        };
        match command {
            Command::DeleteService(key) => self.by_key(key).map(of).unwrap_or_default(),
            Command::Clear => self.addresses().collect(),
            Command::DeleteLocalAddress(_, local) => vec![*local],
            _ => Vec::new(),
        }
    }

    /// True for a service on FTP's control port.
    pub fn is_ftp(&self, id: ServiceId) -> bool {
        let key = self.get(id).map(|service| service.key);
        matches!(key, Some(ServiceKey::Address(Proto::TCP, vip)) if vip.port == FTP_PORT)
    }

    /// The slot of a service.
    #[inline]
    pub fn slot_of(&self, key: &ServiceKey) -> Option<ServiceId> {
        let near = self.near.get(key);
        match self.get(near) {
            Some(service) if service.key == *key => Some(near),
            _ => self.by_key.get(key).copied(),
        }
    }
}
