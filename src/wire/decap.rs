//! Reading the headers of tunnels: what stands between the outer packet and the inner one.
//!
//! The counterpart of `encap`. Never changes a byte.

use super::field::{be16, be32, ethernet, gre, gue, ports, udp};
use crate::base::{Family, Proto};

/// A tunnel's own header, between the outer IP or UDP header and the inner packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TunnelHeader {
    /// Its length.
    pub len: usize,
    /// What the packet behind it is.
    pub inner: Family,
    /// GRE: it holds a checksum over itself and all behind it.
    pub has_sum: bool,
    /// GUE: from where the inner packet is to be summed, and where the result goes, both from its start.
    pub remote: Option<(u16, u16)>,
}

/// Reads a GRE header: none, or a checksum, and IP behind it (RFC 2784). Keys and sequence numbers are not ours.
pub fn gre_header(bytes: &[u8]) -> Option<TunnelHeader> {
    let header = bytes.first_chunk::<{ gre::LEN }>()?;
    let (has_sum, len) = match be16(header, 0) {
        0 => (false, gre::LEN),
        gre::HAS_CHECKSUM => (true, gre::LEN + gre::CHECKSUM_LEN),
        _ => return None,
    };
    let inner = match be16(header, gre::PROTOCOL) {
        ethernet::IPV4 => Family::V4,
        ethernet::IPV6 => Family::V6,
        _ => return None,
    };
    Some(TunnelHeader { len, inner, has_sum, remote: None })
}

/// Reads a GUE header of version 0: no control message, no flag but that of the remote checksum.
pub fn gue_header(bytes: &[u8]) -> Option<TunnelHeader> {
    let header = bytes.first_chunk::<{ gue::LEN }>()?;
    // Two bits of version, one that marks control messages, five of length.
    let len = gue::LEN + usize::from(header[0] & 0x1f) * 4;
    let inner = match Proto(header[gue::PROTOCOL]) {
        Proto::IPIP => Family::V4,
        Proto::IPV6 => Family::V6,
        _ => return None,
    };
    if header[0] & 0xe0 != 0 {
        return None;
    }
    let remote = match be16(header, gue::FLAGS) {
        0 => None,
        gue::PRIVATE => Some(remote_checksum(bytes.get(..len)?)?),
        _ => return None,
    };
    Some(TunnelHeader { len, inner, has_sum: false, remote })
}

fn remote_checksum(header: &[u8]) -> Option<(u16, u16)> {
    let header = header.get(..gue::LEN + gue::REMOTE_CHECKSUM_LEN)?;
    let only_that = be32(header, gue::PRIVATE_FLAGS) == gue::REMOTE_CHECKSUM;
    only_that.then(|| (be16(header, gue::REMOTE_START), be16(header, gue::REMOTE_PLACE)))
}

/// Where the inner packet starts behind the tunnel header at `at` of a perhaps incomplete frame that ends at `end`, and,
/// for GUE, the UDP port it was sent to. `None` for what is no such tunnel of ours.
pub fn inner_at(frame: &[u8], proto: Proto, at: usize, end: usize) -> Option<(usize, Option<u16>)> {
    let bytes = frame.get(at..end)?;
    match proto {
        Proto::IPIP | Proto::IPV6 => Some((at, None)),
        Proto::GRE => Some((at + gre_header(bytes)?.len, None)),
        Proto::UDP => {
            let header = gue_header(bytes.get(udp::LEN..)?)?;
            Some((at + udp::LEN + header.len, Some(be16(bytes, ports::DST))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_tunnel_of_ours_is_read() {
        let gre = |bytes: &[u8]| inner_at(bytes, Proto::GRE, 0, bytes.len());
        assert_eq!(gre(&[0x20, 0, 8, 0, 0, 0, 0, 1]), None, "a key");
        assert_eq!(gre(&[0, 0, 0x65, 0x58]), None, "Ethernet");
        assert_eq!(gre(&[0, 0, 8]), None, "cut");
        let gue =
            |first, proto, flag| inner_at(&[0, 1, 0x17, 0xc0, 0, 12, 0, 0, first, proto, 0, flag], Proto::UDP, 0, 12);
        assert_eq!(gue(0, 4, 0), Some((12, Some(6080))));
        assert_eq!((gue(0x20, 4, 0), gue(0x40, 4, 0), gue(0, 6, 0)), (None, None, None), "control, version, protocol");
        assert_eq!((gue(0, 4, 1), gue(2, 4, 1), gue(0, 4, 2)), (None, None, None), "flags without their fields");
    }
}
