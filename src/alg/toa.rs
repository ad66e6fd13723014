//! TOA: a TCP option in which a server behind FULL-NAT finds its client's address.
//!
//! ```text
//! kind (setting), length 8 or 20, client's port, client's IPv4 or IPv6 address
//! ```
//! It is ahead of the client's own options on every segment after the SYN, until the server has acknowledged the client's first
//! byte; the SYN+ACK names a maximum segment size that leaves room for it. What a client sends of that kind is blanked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::{ConnId, Endpoint};
use crate::conn::{Beside, LifeEvent};
use crate::flows::Flows;
use crate::service::command::ClientAddress;
use crate::wire::{L4, Packet, tcp, tcp_option};

/// What is known of a conn whose server is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToaOption {
    /// Sequence number of the client's first byte.
    pub(super) first: u32,
    /// A segment had no room for the option.
    pub(super) missing: bool,
    /// The server has the client's first byte: it is told no more.
    pub(super) ended: bool,
    /// What the client sends of it is blanked, and no more.
    #[serde(default)]
    pub(super) strips: bool,
}

impl ToaOption {
    /// One of a conn that has just begun.
    pub fn plain(first: u32, strips: bool) -> ToaOption {
        ToaOption { first, missing: false, ended: false, strips }
    }

    /// Sequence number of the client's first byte.
    pub fn first(&self) -> u32 {
        self.first
    }
}

/// Options that servers may not have yet, and conns that went without.
#[derive(Default)]
pub struct Toa {
    conns: Beside<ToaOption>,
    missing: u64,
}

impl Toa {
    /// A conn has ended: what was known of it is forgotten.
    #[inline]
    pub fn on(&mut self, event: LifeEvent) {
        self.conns.on(event);
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<ToaOption>)> {
        self.conns.take_changed()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub fn recall(&mut self, id: ConnId, option: ToaOption) {
        self.conns.recall(id, option);
    }

    /// What is known of a conn.
    pub fn option(&self, id: ConnId) -> Option<ToaOption> {
        self.conns.get(id).copied()
    }

    /// Another director knows this of a conn.
    pub fn take(&mut self, id: ConnId, told: Option<ToaOption>) {
        self.conns.take(id, told);
    }

    /// True while the option goes with every segment of a conn.
    pub fn has(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|option| !option.ended)
    }

    /// True for a conn of which a segment had no room: its server may not know the client.
    pub fn is_missing(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|option| option.missing)
    }

    /// By how much segments of a conn become longer.
    pub fn length(&self, id: ConnId, flows: &Flows) -> u32 {
        let is_told = self.conns.get(id).is_some_and(|option| !option.ended && !option.strips);
        if is_told { option_of(flows.conns.get(id).client(), flows).1.len() as u32 } else { 0 }
    }

    /// The path to the server of a conn has no room for the option, however short its client's segments are made: what the
    /// server has not been told by now it is not told.
    pub fn give_up(&mut self, id: ConnId, flows: &mut Flows) {
        if let Some(known) = self.conns.get(id).copied() {
            self.missing += 1;
            self.conns.set(id, ToaOption { missing: true, ended: true, ..known });
            flows.ends_help(id);
        }
    }

    /// Segments that had no room for the option.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// A conn was opened by this packet: if it is a SYN, and its server is to be told, the option will go with it.
    pub fn begin(&mut self, id: ConnId, packet: &Packet, flows: &mut Flows) {
        let conn = flows.conns.get(id);
        let L4::Tcp { flags, .. } = packet.ip.l4 else { return };
        let way = flows.services.dest(conn.dest).client_address;
        let (is_told, is_read) = (way == ClientAddress::Toa, way == ClientAddress::None && flows.settings.toa_strip);
        if (is_told || is_read) && flags.syn() && conn.is_full_nat() {
            let first = tcp::sequence(packet.frame(), packet.ip).wrapping_add(1);
            flows.conns.get_mut(id).set_helped(true);
            self.conns.set(id, ToaOption::plain(first, !is_told));
        }
    }

    /// A segment of the client, not rewritten yet; `room` is what its way to the server takes. False if it goes without
    /// the option for want of room, for the first time of its conn.
    pub fn request(&mut self, id: ConnId, packet: &mut Packet, room: u16, flows: &Flows) -> bool {
        let (Some(known), L4::Tcp { flags, .. }) = (self.conns.get_mut(id), packet.ip.l4) else { return true };
        let conn = flows.conns.get(id);
        let (kind, option) = option_of(conn.client(), flows);
        tcp_option::blank(packet.buf, packet.ip, kind, option.len());
        if flags.syn() {
            known.first = tcp::sequence(packet.frame(), packet.ip).wrapping_add(1);
        }
        if known.strips || flags.syn() || flags.rst() {
            return true;
        }
        let fits = packet.ip.wire_len(packet.buf) + option.len() <= usize::from(room);
        if fits && tcp_option::put_first(packet.buf, packet.ip, &option) {
            return true;
        }
        self.missing += 1;
        std::mem::replace(&mut known.missing, true)
    }

    /// A segment of the server, not rewritten yet.
    pub fn reply(&mut self, id: ConnId, packet: &mut Packet, flows: &mut Flows) {
        let (Some(known), L4::Tcp { flags, .. }) = (self.conns.get(id), packet.ip.l4) else { return };
        if flags.syn() && !known.strips {
            let (_, option) = option_of(flows.conns.get(id).client(), flows);
            tcp_option::lower_mss(packet.buf, packet.ip, option.len() as u16);
        }
        let first = known.first.wrapping_add(flows.conns.shift(id));
        let beyond = tcp::acknowledged(packet.frame(), packet.ip).wrapping_sub(first) as i32;
        if flags.ack() && beyond > 0 {
            match *known {
                ToaOption { missing: true, .. } => self.conns.set(id, ToaOption { ended: true, ..*known }),
                ToaOption { missing: false, .. } => self.conns.forget(id),
            }
            flows.ends_help(id);
        }
    }
}

/// The option's kind, and its bytes.
fn option_of(client: Endpoint, flows: &Flows) -> (u8, Vec<u8>) {
    let (kind, address) = match client.addr {
        IpAddr::V4(addr) => (flows.settings.toa_kind, addr.octets().to_vec()),
        IpAddr::V6(addr) => (flows.settings.toa_kind_ipv6, addr.octets().to_vec()),
    };
    let head = [kind, 4 + address.len() as u8];
    (kind, [&head[..], &client.port.to_be_bytes(), &address].concat())
}
