//! Reading the headers of tunnels: what stands between the outer packet and the inner one.
//!
//! The counterpart of `encap`. Never changes a byte.

use super::encap::{
    GRE_CHECKSUM, GRE_CHECKSUM_LEN, GRE_LEN, GUE_LEN, GUE_PRIVATE, GUE_REMOTE_CHECKSUM, GUE_REMOTE_CHECKSUM_LEN,
    UDP_LEN,
};
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
    let header = bytes.first_chunk::<GRE_LEN>()?;
    let (has_sum, len) = match u16::from_be_bytes([header[0], header[1]]) {
        0 => (false, GRE_LEN),
        GRE_CHECKSUM => (true, GRE_LEN + GRE_CHECKSUM_LEN),
        _ => return None,
    };
    let inner = match [header[2], header[3]] {
        [0x08, 0x00] => Family::V4,
        [0x86, 0xdd] => Family::V6,
        _ => return None,
    };
    Some(TunnelHeader { len, inner, has_sum, remote: None })
}

/// Reads a GUE header of version 0: no control message, no flag but that of the remote checksum.
pub fn gue_header(bytes: &[u8]) -> Option<TunnelHeader> {
    let header = bytes.first_chunk::<GUE_LEN>()?;
    // Two bits of version, one that marks control messages, five of length.
    let len = GUE_LEN + usize::from(header[0] & 0x1f) * 4;
    let inner = match Proto(header[1]) {
        Proto::IPIP => Family::V4,
        Proto::IPV6 => Family::V6,
        _ => return None,
    };
    if header[0] & 0xe0 != 0 {
        return None;
    }
    let remote = match u16::from_be_bytes([header[2], header[3]]) {
        0 => None,
        GUE_PRIVATE => Some(remote_checksum(bytes.get(GUE_LEN..len)?)?),
        _ => return None,
    };
    Some(TunnelHeader { len, inner, has_sum: false, remote })
}

fn remote_checksum(private: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d, start @ .., e, f] = private.first_chunk::<GUE_REMOTE_CHECKSUM_LEN>()?;
    let only_that = u32::from_be_bytes([*a, *b, *c, *d]) == GUE_REMOTE_CHECKSUM;
    only_that.then(|| (u16::from_be_bytes(*start), u16::from_be_bytes([*e, *f])))
}

/// Where the inner packet starts behind the tunnel header at `at` of a perhaps incomplete frame that ends at `end`, and,
/// for GUE, the UDP port it was sent to. `None` for what is no such tunnel of ours.
pub fn inner_at(frame: &[u8], proto: Proto, at: usize, end: usize) -> Option<(usize, Option<u16>)> {
    let bytes = frame.get(at..end)?;
    match proto {
        Proto::IPIP | Proto::IPV6 => Some((at, None)),
        Proto::GRE => Some((at + gre_header(bytes)?.len, None)),
        Proto::UDP => {
            let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            let header = gue_header(bytes.get(UDP_LEN..)?)?;
            Some((at + UDP_LEN + header.len, Some(port)))
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
