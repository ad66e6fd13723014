//! `ipvsadm -G`: local addresses for FULL-NAT, as its patch for LVS lists them.
//!
//! No port is ever given to two connections, so there are no conflicts to count.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::{Endpoint, Proto};
use crate::control::protocol::{Reply, Request};
use crate::control::{Client, strange};
use crate::service::command::ServiceKey;

/// The listing of one service or all.
pub(super) fn list(client: &mut Client, key: Option<ServiceKey>) -> Result<String, String> {
    let services = match key {
        None => client.services()?,
        Some(key) => match client.ask(&Request::Service(key))? {
            Reply::Services { services, .. } => services,
            Reply::Refused(refused) => return Err(refused.to_string()),
            _ => return Err(strange()),
        },
    };
    let mut conns: HashMap<(Proto, Endpoint, IpAddr), u64> = HashMap::new();
    client.each_conn(|page| {
        for conn in page {
            if let Some(local) = conn.local {
                *conns.entry((conn.proto, conn.virt, local.addr)).or_default() += 1;
            }
        }
    })?;
    let count = |key: ServiceKey, local: IpAddr| match key {
        ServiceKey::Address(proto, vip) => conns.get(&(proto, vip, local)).copied().unwrap_or(0),
        ServiceKey::Mark(..) => conns.iter().filter(|(key, _)| key.2 == local).map(|(_, count)| count).sum(),
    };
    let mut text =
        format!("{:<20} {:<8} {:<20} {:<10} {:<10}\n", "VIP:VPORT", "TOTAL", "SNAT_IP", "CONFLICTS", "CONNS");
    for service in services {
        let name = match service.key {
            ServiceKey::Address(_, vip) => vip.to_string(),
            ServiceKey::Mark(_, mark) => format!("FWM {mark}"),
        };
        text += &format!("{name:<20} {:<8}\n", service.locals.len());
        for local in &service.locals {
            text += &format!("{:<29} {:<20} {:<10} {:<10}\n", "", local.to_string(), 0, count(service.key, *local));
        }
    }
    Ok(text)
}
