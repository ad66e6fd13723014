//! One conn as plain data: one line of the cache, no pointers, so that millions fit and could outlive the process.
//!
//! ```text
//! client CIP:cport -> virtual VIP:vport         what the client sees
//! real   RIP:dport -> client, or local LIP:lport   what the real server answers (NAT, FULL-NAT)
//! ```
//! Refers to its dest by slot; the slot is not reused while a conn counts there.

use super::addresses::{AddrId, Addresses};
use super::flags as flag;
use super::key::Key;
use super::new_conn::{Kind, NewConn};
use super::tcp::TcpState;
use crate::base::{ConnId, DestId, Endpoint, Method, Packed, PackedEndpoint, Proto};

pub(super) const NIL: u32 = u32::MAX;

/// A live conn.
#[derive(Clone, Copy, PartialEq)]
#[repr(align(64))]
pub struct Conn {
    client: Packed,
    virt: Packed,
    cport: u16,
    vport: u16,
    dport: u16,
    lport: u16,
    real: AddrId,
    local: AddrId,
    /// Its dest.
    pub dest: DestId,
    /// Tick at which it expires.
    pub(super) deadline: u32,
    /// What controls it; of a vacant record: the next one.
    control: u32,
    /// Packets from the client; of a template: from the clients of its conns.
    pub in_pkts: u32,
    pub(super) flags: u16,
    proto: u8,
    state: u8,
}

impl Conn {
    #[inline]
    pub(super) fn new(new: &NewConn) -> Conn {
        let (local, lport) = new.local.unwrap_or((AddrId(0), 0));
        let (local, lport, kind) = match new.kind {
            Kind::Flow if new.client.port == 0 => (local, lport, flag::NO_CPORT),
            Kind::Announced if new.client.port == 0 => (local, lport, flag::ANY_DPORT | flag::NO_CPORT),
            Kind::Announced => (local, lport, flag::ANY_DPORT),
            Kind::Flow => (local, lport, 0),
            Kind::LocalFlow => (local, lport, flag::LOCAL),
            Kind::Template { timeout } => (AddrId((timeout >> 16) as u16), timeout as u16, flag::TEMPLATE),
        };
        // As in the kernel, replies of a conn that passes by are expected here.
        let two_way = new.method.rewrites_replies() || new.method == Method::Bypass;
        let one_way = if two_way { 0 } else { flag::ONE_WAY };
        Conn {
            client: new.client.addr.into(),
            virt: new.virt.addr.into(),
            cport: new.client.port,
            vport: new.virt.port,
            dport: new.dport,
            lport,
            real: new.real,
            local,
            dest: new.dest,
            deadline: 0,
            control: NIL,
            in_pkts: 0,
            flags: flag::LIVE | flag::INACTIVE | one_way | kind | new.method.number(),
            proto: new.proto.0,
            state: 0,
        }
    }

    /// A slot without a conn, and the vacant slot after it.
    pub(super) fn vacant(next: u32) -> Conn {
        let nobody = NewConn {
            proto: Proto(0),
            client: Endpoint::UNSPECIFIED,
            virt: Endpoint::UNSPECIFIED,
            real: AddrId(0),
            dport: 0,
            local: None,
            dest: DestId(NIL),
            method: Method::Nat,
            kind: Kind::Flow,
        };
        Conn { flags: 0, control: next, ..Conn::new(&nobody) }
    }

    /// All that decides which packets are its own and where they go, in 64-bit words.
    pub(super) fn identity(&self) -> [u64; 7] {
        let ([a, b], [c, d]) = (self.client.halves(), self.virt.halves());
        let two = |one: u16, other: u16| u64::from(one) << 16 | u64::from(other);
        let kind = u64::from(self.proto) << 16 | u64::from(self.flags & (flag::METHOD | flag::TEMPLATE | flag::LOCAL));
        let ports = two(self.cport, self.vport) << 32 | two(self.dport, self.lport);
        [a, b, c, d, ports, two(self.real.0, self.local.0) << 32 | u64::from(self.dest.0), kind]
    }

    /// The addresses that it names by index.
    pub(super) fn named(&self) -> impl Iterator<Item = AddrId> + use<> {
        let local = self.local().map(|(addr, _)| addr);
        std::iter::once(self.real).chain(local)
    }

    /// Damage, for tests: other addresses, and a bit of the word `half` turned.
    #[cfg(test)]
    pub(super) fn turn(&mut self, client: Packed, virt: Packed, half: usize, by: u64) {
        (self.client, self.virt) = (client, virt);
        let parts = [by as u16, (by >> 16) as u16, (by >> 32) as u16, (by >> 48) as u16];
        match half {
            4 => {
                self.cport ^= parts[0];
                self.vport ^= parts[1];
                self.dport ^= parts[2];
                self.lport ^= parts[3];
            }
            5 => {
                self.real.0 ^= parts[0];
                self.local.0 ^= parts[1];
                self.dest.0 ^= (by >> 32) as u32;
            }
            6 => {
                self.deadline ^= by as u32;
                self.control ^= (by >> 32) as u32;
            }
            7 => {
                self.in_pkts ^= by as u32;
                self.flags ^= parts[2];
                self.proto ^= parts[3] as u8;
                self.state ^= (parts[3] >> 8) as u8;
            }
            _ => {}
        }
    }

    /// Protocol.
    pub fn proto(&self) -> Proto {
        Proto(self.proto)
    }

    /// Client endpoint.
    pub fn client(&self) -> Endpoint {
        self.packed_client().into()
    }

    /// The same as it is kept.
    #[inline(always)]
    pub fn packed_client(&self) -> PackedEndpoint {
        PackedEndpoint { addr: self.client, port: self.cport }
    }

    /// Virtual endpoint.
    pub fn virt(&self) -> Endpoint {
        self.packed_virt().into()
    }

    /// The same as it is kept.
    #[inline(always)]
    pub fn packed_virt(&self) -> PackedEndpoint {
        PackedEndpoint { addr: self.virt, port: self.vport }
    }

    /// State number of its protocol's machine.
    #[inline]
    pub fn state(&self) -> u8 {
        self.state
    }

    /// True for a TCP conn in ESTABLISHED.
    pub fn is_established(&self) -> bool {
        let state = TcpState::from_number(self.state);
        self.proto() == Proto::TCP && !self.is_template() && state == TcpState::Established
    }

    /// Moves the state; the one before.
    #[inline]
    pub(super) fn set_state(&mut self, state: u8) -> u8 {
        std::mem::replace(&mut self.state, state)
    }

    /// Port at the real server.
    pub fn dport(&self) -> u16 {
        self.dport
    }

    /// Address of the real server, by index.
    pub fn real(&self) -> AddrId {
        self.real
    }

    /// Local address and port (FULL-NAT only).
    pub fn local(&self) -> Option<(AddrId, u16)> {
        (self.is_full_nat() && !self.is_template()).then_some((self.local, self.lport))
    }

    /// Seconds that a template lives after the last conn made by it. They lie where a flow has its local endpoint.
    pub fn template_timeout(&self) -> u32 {
        u32::from(self.local.0) << 16 | u32::from(self.lport)
    }

    pub(super) fn set_template_timeout(&mut self, seconds: u32) {
        (self.local, self.lport) = (AddrId((seconds >> 16) as u16), seconds as u16);
    }

    /// Gives a template ports that no client has: it binds none any more.
    pub(super) fn set_unusable(&mut self) {
        (self.vport, self.dport) = (u16::MAX, u16::MAX);
    }

    pub(super) fn set_client_port(&mut self, port: u16) {
        self.cport = port;
        self.set(flag::NO_CPORT, false);
    }

    /// True if the server will open it from a port that is not known yet.
    pub fn is_without_server_port(&self) -> bool {
        self.flags & flag::ANY_DPORT != 0 && self.dport == 0
    }

    /// True if the port of whoever opens it is not known yet.
    pub fn lacks_port(&self) -> bool {
        self.is_without_client_port() || self.is_without_server_port()
    }

    /// The client sees the same port where none was chosen for it.
    pub(super) fn set_server_port(&mut self, port: u16) {
        self.dport = port;
        if self.vport == 0 {
            self.vport = port;
        }
    }

    /// The server's port by which local ports are told apart: that of the conn, or 0 if it was not known at first.
    pub fn port_of_pool(&self) -> u16 {
        if self.flags & flag::ANY_DPORT != 0 { 0 } else { self.dport }
    }

    /// True if a packet with that key comes from the client.
    #[inline]
    pub(super) fn is_request(&self, key: &Key) -> bool {
        self.cport == key.src_port
            && self.vport == key.dst_port
            && self.client == key.src
            && self.virt == key.dst
            && self.kind() == key.kind
    }

    /// True if a packet with that key comes from the real server, and no newer conn takes it.
    #[inline]
    pub(super) fn is_reply(&self, key: &Key, addresses: &Addresses) -> bool {
        self.dport == key.src_port
            && self.kind() == key.kind
            && self.flags & flag::SHADOWED == 0
            && self.has_reply_key()
            && self.reply_key(addresses) == *key
    }

    /// Key of a packet from the client.
    pub(super) fn request_key(&self) -> Key {
        Key { src: self.client, dst: self.virt, src_port: self.cport, dst_port: self.vport, kind: self.kind() }
    }

    /// Key of a packet from the real server.
    #[inline]
    pub(super) fn reply_key(&self, addresses: &Addresses) -> Key {
        let (dst, dst_port) = match self.is_full_nat() {
            true => (addresses.packed(self.local), self.lport),
            false => (self.client, self.cport),
        };
        Key { src: addresses.packed(self.real), dst, src_port: self.dport, dst_port, kind: self.kind() }
    }

    fn kind(&self) -> u16 {
        u16::from(self.proto) | self.flags & flag::TEMPLATE
    }

    pub(super) fn set_control(&mut self, control: Option<ConnId>) {
        self.control = control.map_or(NIL, |id| id.0);
    }

    pub(super) fn next_vacant(&self) -> u32 {
        debug_assert!(!self.is_live());
        self.control
    }

    /// The conn or template that controls this one.
    pub fn control(&self) -> Option<ConnId> {
        (self.control != NIL).then_some(ConnId(self.control))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_the_cache() {
        assert_eq!((size_of::<Conn>(), align_of::<Conn>()), (64, 64));
    }
}
