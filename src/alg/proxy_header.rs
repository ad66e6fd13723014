//! Headers of the PROXY protocol: those that the director writes, what is kept of one until its server has it, and how one that a
//! client sends is recognised.
//!
//! Never keeps a packet.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::base::{Endpoint, Proto};
use crate::conn::Conn;
use crate::service::command::ClientAddress;

/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The same of version 1, whose line ends within so many bytes.
const WORD: &[u8] = b"PROXY ";
const LONGEST_LINE: usize = 107;
/// Type and length of the unique id.
const UNIQUE_ID: [u8; 3] = [5, 0, 8];
/// Fewer bytes may be the beginning of anything.
const TELLING: usize = 5;

/// A header that its server has not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProxyHeader {
    /// Sequence number of the client's first byte.
    pub(super) first: u32,
    pub(super) version: ClientAddress,
    /// What the client says first has not come: it may be a header of its own.
    #[serde(default)]
    pub(super) is_open: bool,
    /// The server has acknowledged the header.
    #[serde(default)]
    pub(super) is_there: bool,
    /// The length of the client's own header, which its server does not get.
    #[serde(default)]
    pub(super) cut: u32,
    /// A unique id, which is told too.
    #[serde(default)]
    pub(super) id: Option<u64>,
    /// What has become of the handshake's end.
    #[serde(skip)]
    pub(super) end: HandshakeEnd,
}

/// What has become of the ACK that ends a handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HandshakeEnd {
    /// It has not come.
    #[default]
    Awaited,
    /// It waits for what the client says.
    Waits,
    /// It has gone on, or something that acknowledges as much.
    Gone,
}

impl ProxyHeader {
    /// One of a conn that has just begun, whose client says nothing of itself.
    pub fn plain(first: u32, version: ClientAddress) -> ProxyHeader {
        let end = HandshakeEnd::Awaited;
        ProxyHeader { first, version, is_open: false, is_there: false, cut: 0, id: None, end }
    }

    /// Sequence number of the client's first byte.
    pub fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn bytes(&self, conn: &Conn) -> Header {
        match self.version {
            ClientAddress::None | ClientAddress::Toa => Header::empty(),
            ClientAddress::ProxyV1 => version_1(conn.client(), conn.virt()),
            ClientAddress::ProxyV2 => version_2(conn.proto(), conn.client(), conn.virt(), self.id),
        }
    }

    pub(super) fn len(&self, conn: &Conn) -> u32 {
        match self.version {
            ClientAddress::ProxyV2 => length_2(conn.client(), self.id) as u32,
            ClientAddress::None | ClientAddress::Toa | ClientAddress::ProxyV1 => self.bytes(conn).len() as u32,
        }
    }
}

/// What a client says first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// No header.
    Nothing,
    /// A header of so many bytes.
    Whole(usize),
    /// A header that does not end in this segment.
    Part,
}

/// Whether a stream that begins so begins with a header.
pub(super) fn found_in(stream: &[u8]) -> Found {
    let begins = |with: &[u8]| {
        let known = stream.len().min(with.len());
        known >= TELLING && stream[..known] == with[..known]
    };
    if begins(SIGNATURE) {
        let Some([high, low]) = stream.get(14..16) else { return Found::Part };
        let len = 16 + usize::from(u16::from_be_bytes([*high, *low]));
        return if len <= stream.len() { Found::Whole(len) } else { Found::Part };
    }
    if !begins(WORD) {
        return Found::Nothing;
    }
    let line = &stream[..stream.len().min(LONGEST_LINE)];
    match line.windows(2).position(|end| end == b"\r\n") {
        Some(at) => Found::Whole(at + 2),
        None if line.len() == LONGEST_LINE => Found::Nothing,
        None => Found::Part,
    }
}

/// A header.
pub(super) struct Header {
    bytes: [u8; LONGEST_LINE],
    len: usize,
}

impl Header {
    /// Of no version.
    pub(super) fn empty() -> Header {
        Header { bytes: [0; LONGEST_LINE], len: 0 }
    }

    /// No header is longer than a line may be.
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_address(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => self.put(&addr.octets()),
            IpAddr::V6(addr) => self.put(&addr.octets()),
        }
    }
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Write for Header {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// A line of text.
pub(super) fn version_1(client: Endpoint, virt: Endpoint) -> Header {
    let family = if client.addr.is_ipv4() { 4 } else { 6 };
    let mut header = Header::empty();
    // It has room for the longest.
    let _ = write!(header, "PROXY TCP{family} {} {} {} {}\r\n", client.addr, virt.addr, client.port, virt.port);
    header
}

/// The length of what `version_2` makes.
pub(super) fn length_2(client: Endpoint, id: Option<u64>) -> usize {
    16 + if client.addr.is_ipv4() { 12 } else { 36 } + id.map_or(0, |_| UNIQUE_ID.len() + 8)
}

/// Signature, "version 2, PROXY", family with STREAM or DGRAM, length, both ends, and a unique id if there is one
/// (PP2_TYPE_UNIQUE_ID).
pub(super) fn version_2(proto: Proto, client: Endpoint, virt: Endpoint, id: Option<u64>) -> Header {
    let family = if client.addr.is_ipv4() { 0x10 } else { 0x20 };
    let mut header = Header::empty();
    header.put(SIGNATURE);
    header.put(&[0x21, family | if proto == Proto::UDP { 2 } else { 1 }]);
    header.put(&((length_2(client, id) - 16) as u16).to_be_bytes());
    header.put_address(client.addr);
    header.put_address(virt.addr);
    header.put(&client.port.to_be_bytes());
    header.put(&virt.port.to_be_bytes());
    if let Some(id) = id {
        header.put(&UNIQUE_ID);
        header.put(&id.to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint;

    #[test]
    fn headers_are_as_the_protocol_says() {
        let (client, virt) = (endpoint("192.0.2.7:4000"), endpoint("198.51.100.1:80"));
        assert_eq!(&*version_1(client, virt), b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 80\r\n");
        let wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\0\x50";
        assert_eq!(&*version_2(Proto::TCP, client, virt, None), wanted);
        assert_eq!(version_2(Proto::UDP, client, virt, None)[13], 0x12);
        let (client, virt) = (endpoint("[2001:db8:c::7]:4000"), endpoint("[2001:db8:51::1]:80"));
        assert_eq!(&*version_1(client, virt), b"PROXY TCP6 2001:db8:c::7 2001:db8:51::1 4000 80\r\n");
        let header = version_2(Proto::TCP, client, virt, None);
        assert_eq!((header.len(), header[13], &header[14..16]), (52, 0x21, &[0_u8, 36][..]));
        assert_eq!(length_2(client, None), 52);
        let [client, virt] = ["[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"; 2].map(endpoint);
        assert!(version_1(client, virt).len() <= LONGEST_LINE, "the longest");
        let header = version_2(Proto::TCP, client, virt, Some(7));
        assert_eq!(header.len(), length_2(client, Some(7)));
        assert_eq!((header[15], &header[52..]), (47, &[5, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7][..]));
    }

    #[test]
    fn a_header_is_recognised_whole_and_in_part() {
        let (client, virt) = (endpoint("192.0.2.7:4000"), endpoint("198.51.100.1:80"));
        for header in [version_1(client, virt), version_2(Proto::TCP, client, virt, None)] {
            assert_eq!(found_in(&[&header[..], b"more"].concat()), Found::Whole(header.len()));
            for len in 0..header.len() {
                let wanted = if len < TELLING { Found::Nothing } else { Found::Part };
                assert_eq!(found_in(&header[..len]), wanted, "{len} bytes");
            }
        }
        let endless = [b"PROXY ".to_vec(), vec![b'x'; 200]].concat();
        assert_eq!((found_in(&endless), found_in(&endless[..106])), (Found::Nothing, Found::Part));
        for other in ["GET / HTTP/1.1\r\n", "PROXIES\r\n", "", "\r\n\r\n", "PROX"] {
            assert_eq!(found_in(other.as_bytes()), Found::Nothing, "{other:?}");
        }
    }
}
