//! The PROXY protocol (versions 1 and 2) in front of a client's stream: its server behind FULL-NAT learns who the client is.
//!
//! ```text
//! SYN      the header's length is fixed: from now on every byte of the client stands so much further on at the server
//! until the server has acknowledged the header:
//!   a segment from the client's first byte, be it the ACK of the handshake, leaves with the header in front of it
//!   what the server acknowledges before that byte is told to the client as that byte
//! ```
//! So a header that is lost, doubled or overtaken is one that its client sends again, and servers that speak first have it
//! with the handshake. Afterwards a shift is all that is left. Never keeps a packet.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::beside::Beside;
use crate::base::{ConnId, DropReason, Endpoint};
use crate::conn::{Conn, LifeEvent};
use crate::flows::Flows;
use crate::service::command::ClientAddress;
use crate::wire::{Gso, Ip, L4, Packet, PacketBuf, tcp};

/// How much longer an IPv6 header is than one of IPv4.
const TRANSLATED: usize = 20;

/// A header that its server has not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProxyHeader {
    /// Sequence number of the client's first byte.
    first: u32,
    version: ClientAddress,
}

impl ProxyHeader {
    fn bytes(&self, conn: &Conn) -> Vec<u8> {
        match self.version {
            ClientAddress::None | ClientAddress::Toa => Vec::new(),
            ClientAddress::ProxyV1 => version_1(conn.client(), conn.virt()),
            ClientAddress::ProxyV2 => version_2(conn.client(), conn.virt()),
        }
    }
}

/// What is to be done with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// It goes on.
    Nothing,
    /// The header goes first, as a segment of its own: there is no room for both in one.
    Header,
}

/// Headers that are on their way.
#[derive(Default)]
pub struct Proxy(Beside<ProxyHeader>);

impl Proxy {
    /// A conn has ended: what was known of it is forgotten.
    pub fn on(&mut self, event: LifeEvent) {
        self.0.on(event);
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<ProxyHeader>)> {
        self.0.take_changed()
    }

    /// Goes on with what an earlier process knew of a conn.
    pub fn recall(&mut self, id: ConnId, header: ProxyHeader) {
        self.0.recall(id, header);
    }

    /// True while the header of a conn is on its way: FTP reads that conn afterwards.
    pub fn has(&self, id: ConnId) -> bool {
        self.0.get(id).is_some()
    }

    /// A conn was opened by this packet: if it is a SYN, and its server is to be told, the header has its place.
    pub fn begin(&mut self, id: ConnId, packet: &Packet, flows: &mut Flows) {
        let conn = *flows.conns.get(id);
        let version = flows.services.dest(conn.dest).client_address;
        let L4::Tcp { flags, .. } = packet.ip.l4 else { return };
        let has_header = matches!(version, ClientAddress::ProxyV1 | ClientAddress::ProxyV2);
        if !has_header || !flags.syn() || !conn.is_full_nat() {
            return;
        }
        let first = tcp::sequence(packet.frame(), packet.ip).wrapping_add(1);
        let header = ProxyHeader { first, version };
        flows.conns.move_sequence(id, header.bytes(&conn).len() as u32);
        flows.conns.get_mut(id).set_helped(true);
        self.0.set(id, header);
    }

    /// A segment of the client, not rewritten yet; `mtu` is that of its way to the server.
    pub fn request(&mut self, id: ConnId, packet: &mut Packet, mtu: u16, flows: &Flows) -> Result<Ahead, DropReason> {
        let (Some(header), L4::Tcp { flags, .. }) = (self.0.get_mut(id), packet.ip.l4) else {
            return Ok(Ahead::Nothing);
        };
        if !tcp::checksum_is_right(packet.buf, packet.ip) {
            return Err(DropReason::L4Checksum);
        }
        let sequence = tcp::sequence(packet.frame(), packet.ip);
        let bytes = header.bytes(flows.conns.get(id));
        if flags.syn() {
            header.first = sequence.wrapping_add(1);
            without_payload(packet)?;
        } else if sequence != header.first {
            return Ok(Ahead::Nothing);
        } else if !flags.rst() {
            let longer = packet.ip.total_len() + bytes.len() + TRANSLATED;
            if packet.buf.vnet.gso != Gso::None || longer > usize::from(mtu) {
                return Ok(Ahead::Header);
            }
            put_in_front(packet, &bytes)?;
        }
        tcp::shift_sequence(packet.buf, packet.ip, -(bytes.len() as i32));
        Ok(Ahead::Nothing)
    }

    /// The header as a segment of its own, ahead of that of the client; written into `piece`.
    pub fn alone(&self, id: ConnId, packet: &Packet, piece: &mut PacketBuf, flows: &Flows) -> Result<Ip, DropReason> {
        let header = self.0.get(id).ok_or(DropReason::NoConn)?;
        let bytes = header.bytes(flows.conns.get(id));
        let mut ip = *packet.ip;
        piece.set(&packet.frame()[..ip.end]);
        let mut segment = Packet::new(piece, &mut ip);
        tcp::clear_fin(segment.buf, segment.ip);
        without_payload(&mut segment)?;
        put_in_front(&mut segment, &bytes)?;
        tcp::shift_sequence(segment.buf, segment.ip, -(bytes.len() as i32));
        Ok(ip)
    }

    /// A segment of the server, not rewritten yet.
    pub fn reply(&mut self, id: ConnId, packet: &mut Packet, flows: &mut Flows) -> Result<(), DropReason> {
        let (Some(header), L4::Tcp { flags, .. }) = (self.0.get(id), packet.ip.l4) else { return Ok(()) };
        if !flags.ack() {
            return Ok(());
        }
        if !tcp::checksum_is_right(packet.buf, packet.ip) {
            return Err(DropReason::L4Checksum);
        }
        let first = header.first.wrapping_add(flows.conns.shift(id));
        let missing = first.wrapping_sub(tcp::acknowledged(packet.frame(), packet.ip)) as i32;
        if missing > 0 {
            tcp::shift_acknowledged(packet.buf, packet.ip, |number| (first.wrapping_sub(number) as i32).max(0));
            return Ok(());
        }
        self.0.forget(id);
        flows.ends_help(id);
        Ok(())
    }
}

fn without_payload(packet: &mut Packet) -> Result<(), DropReason> {
    let range = tcp::payload_at(packet.frame(), packet.ip)..packet.ip.end;
    replace(packet, range, &[])
}

fn put_in_front(packet: &mut Packet, bytes: &[u8]) -> Result<(), DropReason> {
    let at = tcp::payload_at(packet.frame(), packet.ip);
    replace(packet, at..at, bytes)
}

fn replace(packet: &mut Packet, range: std::ops::Range<usize>, bytes: &[u8]) -> Result<(), DropReason> {
    let is_done = tcp::replace_payload(packet.buf, packet.ip, range, bytes);
    if is_done { Ok(()) } else { Err(DropReason::NoHeadroom) }
}

/// A line of text.
fn version_1(client: Endpoint, virt: Endpoint) -> Vec<u8> {
    let family = if client.addr.is_ipv4() { 4 } else { 6 };
    format!("PROXY TCP{family} {} {} {} {}\r\n", client.addr, virt.addr, client.port, virt.port).into_bytes()
}

/// Signature, "version 2, PROXY", family with STREAM, length, and both ends.
fn version_2(client: Endpoint, virt: Endpoint) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let ends = match (client.addr, virt.addr) {
        (IpAddr::V4(client), IpAddr::V4(virt)) => [client.octets(), virt.octets()].concat(),
        (IpAddr::V6(client), IpAddr::V6(virt)) => [client.octets(), virt.octets()].concat(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return header,
    };
    header.push(if client.addr.is_ipv4() { 0x11 } else { 0x21 });
    header.extend_from_slice(&(ends.len() as u16 + 4).to_be_bytes());
    header.extend_from_slice(&ends);
    header.extend_from_slice(&client.port.to_be_bytes());
    header.extend_from_slice(&virt.port.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint;

    #[test]
    fn headers_are_as_the_protocol_says() {
        let (client, virt) = (endpoint("192.0.2.7:4000"), endpoint("198.51.100.1:80"));
        assert_eq!(version_1(client, virt), b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 80\r\n");
        let wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\0\x50";
        assert_eq!(version_2(client, virt), wanted);
        let (client, virt) = (endpoint("[2001:db8:c::7]:4000"), endpoint("[2001:db8:51::1]:80"));
        assert_eq!(version_1(client, virt), b"PROXY TCP6 2001:db8:c::7 2001:db8:51::1 4000 80\r\n");
        let header = version_2(client, virt);
        assert_eq!((header.len(), header[13], &header[14..16]), (52, 0x21, &[0_u8, 36][..]));
    }
}
