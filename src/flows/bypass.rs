//! Conns of mark services that have no usable server: packets go where they are addressed (`cache_bypass`).
//!
//! As in the kernel such a conn belongs to no dest and counts nowhere. Never decides whether a packet may pass by.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Flows;
use crate::base::{ConnId, DropReason, Endpoint, Family, Instant, Method, ServiceId, Tuple};
use crate::conn::{Kind, NewConn};

use super::open::UNBORN;

impl Flows {
    /// True for a service whose packets may pass by without a server.
    pub fn may_bypass(&self, service: ServiceId) -> bool {
        let is_mark = || self.services.get(service).is_some_and(|service| service.key.is_mark());
        self.settings.cache_bypass && is_mark()
    }

    /// Makes the conn.
    pub fn open_bypass(&mut self, service: ServiceId, tuple: &Tuple, now: Instant) -> Result<ConnId, DropReason> {
        let key = self.services.get(service).ok_or(DropReason::NoServer)?.key;
        let nobody = nobody(key.family());
        let dest = self.services.expect(key, nobody, Method::Bypass, now).ok_or(DropReason::NoServer)?;
        let new = NewConn {
            proto: tuple.proto,
            client: tuple.src,
            virt: tuple.dst,
            real: self.intern(nobody.addr, now)?,
            dport: 0,
            local: None,
            dest,
            method: Method::Bypass,
            kind: Kind::Flow,
        };
        let id = self.insert(&new, now, UNBORN)?;
        self.services.bind(dest);
        Ok(id)
    }
}

/// What listings and other directors are told in the place of a server.
pub fn nobody(family: Family) -> Endpoint {
    let addr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    Endpoint::new(addr, 0)
}
