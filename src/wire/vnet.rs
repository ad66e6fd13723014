//! The virtio-net header in front of every frame of a TAP opened with `IFF_VNET_HDR`.
//!
//! Ten bytes, little-endian (`TUNSETVNETLE`): flags, gso_type, hdr_len, gso_size, csum_start, csum_offset (virtio 1.2,
//! 5.1.6). Linux 6.17 takes fourteen more: ten without meaning here, then where the outer UDP header and the inner IP
//! header of a superframe in a UDP tunnel are. Never trusts `hdr_len` from a read: it may be the whole first fragment.

use super::field::{ETH_LEN, udp};
use super::ip::header_len;
use crate::base::Family;

/// Bytes of the header that every kernel knows.
pub const VNET_LEN: usize = 10;
/// Bytes that may follow it.
const TUNNEL_LEN: usize = 14;

const NEEDS_CSUM: u8 = 1;
const TUNNEL_CSUM: u8 = 8;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_TUNNEL4: u8 = 0x20;
const GSO_TUNNEL6: u8 = 0x40;
const GSO_TUNNEL: u8 = GSO_TUNNEL4 | GSO_TUNNEL6;
const GSO_ECN: u8 = 0x80;

/// The header that a device has in front of every frame; as a number, its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VnetHeader {
    /// No header.
    None = 0,
    /// `struct virtio_net_hdr`.
    Plain = VNET_LEN as isize,
    /// `struct virtio_net_hdr_v1_hash_tunnel`: superframes may be inside UDP tunnels.
    Tunnel = (VNET_LEN + TUNNEL_LEN) as isize,
}

impl VnetHeader {
    /// The longest.
    pub const MAX: usize = VnetHeader::Tunnel.size();

    /// Its length in bytes.
    pub const fn size(self) -> usize {
        self as usize
    }
}

/// What a superframe will be cut into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gso {
    /// Not a superframe.
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one size, either family.
    Udp,
    /// A type this program does not handle; such a frame is dropped.
    Unknown,
}

/// A UDP tunnel around a superframe: its headers, which go in front of every segment, are an IP header without options,
/// UDP, and the tunnel's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpTunnel {
    /// Of the outer packet.
    pub family: Family,
    /// The outer UDP checksum is wanted; the field holds the pseudo-header's sum, of the superframe's length.
    pub summed: bool,
    /// Bytes of the tunnel's own header, an inner Ethernet header included.
    pub own: u16,
}

impl UdpTunnel {
    /// Adds the tunnel to the header of the superframe inside it, a long one.
    pub fn add_to(&self, header: &mut [u8; VnetHeader::MAX]) {
        header[0] |= if self.summed { TUNNEL_CSUM } else { 0 };
        header[1] |= match self.family {
            Family::V4 => GSO_TUNNEL4,
            Family::V6 => GSO_TUNNEL6,
        };
        header[20..22].copy_from_slice(&(self.udp_at() as u16).to_le_bytes());
        header[22..24].copy_from_slice(&(self.inner_at() as u16).to_le_bytes());
    }

    /// Where the outer UDP header is, from the Ethernet header.
    pub fn udp_at(&self) -> usize {
        ETH_LEN + header_len(self.family)
    }

    /// Where the inner IP header is, from the Ethernet header.
    pub fn inner_at(&self) -> usize {
        self.udp_at() + udp::LEN + usize::from(self.own)
    }

    /// Reads a long header that has bits of a tunnel; nothing if it is none as above.
    fn of(header: &[u8; VnetHeader::MAX]) -> Option<UdpTunnel> {
        let family = match header[1] & GSO_TUNNEL {
            GSO_TUNNEL4 => Family::V4,
            GSO_TUNNEL6 => Family::V6,
            _ => return None,
        };
        let tunnel = UdpTunnel { family, summed: header[0] & TUNNEL_CSUM != 0, own: 0 };
        let udp_at = usize::from(u16::from_le_bytes([header[20], header[21]]));
        let own = u16::from_le_bytes([header[22], header[23]]).checked_sub(tunnel.inner_at() as u16)?;
        (udp_at == tunnel.udp_at()).then_some(UdpTunnel { own, ..tunnel })
    }
}

/// The header as values. The default is a plain frame with complete checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vnet {
    /// The L4 checksum field holds only the folded pseudo-header sum (CHECKSUM_PARTIAL).
    pub needs_csum: bool,
    /// Superframe kind.
    pub gso: Gso,
    /// CWR must be kept on the first segment only.
    pub ecn: bool,
    /// Payload bytes per segment.
    pub gso_size: u16,
    /// Where the L4 header starts, from the Ethernet header; valid with `needs_csum`.
    pub csum_start: u16,
    /// Where the checksum is, from `csum_start`.
    pub csum_offset: u16,
    /// The superframe is inside a UDP tunnel; on devices with the long header only.
    pub tunnel: Option<UdpTunnel>,
}

impl Vnet {
    /// True if nothing about the frame is left to be done.
    #[inline]
    pub fn is_plain(&self) -> bool {
        !self.needs_csum && self.gso == Gso::None && self.tunnel.is_none()
    }
}

impl Default for Vnet {
    fn default() -> Vnet {
        let (gso, tunnel) = (Gso::None, None);
        Vnet { needs_csum: false, gso, ecn: false, gso_size: 0, csum_start: 0, csum_offset: 0, tunnel }
    }
}

impl Vnet {
    /// Reads the header; `DATA_VALID` is forgotten, for a rewriter may not pass it on.
    pub fn decode(bytes: &[u8; VNET_LEN]) -> Vnet {
        let gso = match bytes[1] & !GSO_ECN {
            0 => Gso::None,
            GSO_TCPV4 => Gso::Tcp4,
            GSO_TCPV6 => Gso::Tcp6,
            GSO_UDP_L4 => Gso::Udp,
            _ => Gso::Unknown,
        };
        Vnet {
            needs_csum: bytes[0] & NEEDS_CSUM != 0,
            gso,
            ecn: bytes[1] & GSO_ECN != 0,
            gso_size: u16::from_le_bytes([bytes[4], bytes[5]]),
            csum_start: u16::from_le_bytes([bytes[6], bytes[7]]),
            csum_offset: u16::from_le_bytes([bytes[8], bytes[9]]),
            tunnel: None,
        }
    }

    /// Reads the long header.
    #[inline]
    pub fn decode_long(header: &[u8; VnetHeader::MAX]) -> Vnet {
        let mut plain = [0; VNET_LEN];
        plain.copy_from_slice(&header[..VNET_LEN]);
        if plain[1] & GSO_TUNNEL == 0 {
            return Vnet::decode(&plain);
        }
        let tunnel = UdpTunnel::of(header);
        // Malformed tunnel information keeps the tunnel's bits, so that `Gso::Unknown` drops the frame.
        plain[1] &= if tunnel.is_some() { !GSO_TUNNEL } else { 0xff };
        Vnet { tunnel, ..Vnet::decode(&plain) }
    }

    /// Writes the header that every kernel knows; `hdr_len` is the end of the L4 header, counted from the Ethernet header.
    pub fn encode(&self, hdr_len: u16) -> [u8; VNET_LEN] {
        let mut out = [0; VNET_LEN];
        out[0] = if self.needs_csum { NEEDS_CSUM } else { 0 };
        out[1] = match self.gso {
            Gso::None | Gso::Unknown => 0,
            Gso::Tcp4 => GSO_TCPV4,
            Gso::Tcp6 => GSO_TCPV6,
            Gso::Udp => GSO_UDP_L4,
        };
        if self.ecn && out[1] != 0 {
            out[1] |= GSO_ECN;
        }
        out[2..4].copy_from_slice(&hdr_len.to_le_bytes());
        out[4..6].copy_from_slice(&self.gso_size.to_le_bytes());
        if self.needs_csum {
            out[6..8].copy_from_slice(&self.csum_start.to_le_bytes());
            out[8..10].copy_from_slice(&self.csum_offset.to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_decode_and_encode() {
        for (gso, ecn) in [(Gso::None, false), (Gso::Tcp4, true), (Gso::Tcp6, false), (Gso::Udp, false)] {
            let (gso_size, csum_start, csum_offset) = (1448, 34, 16);
            let vnet = Vnet { needs_csum: true, gso, ecn, gso_size, csum_start, csum_offset, tunnel: None };
            assert_eq!(Vnet::decode(&vnet.encode(66)), vnet);
        }
        assert_eq!(Vnet::default().encode(0), [0; VNET_LEN]);
    }

    /// What Linux 6.18 put in front of superframes of its own VXLAN tunnel, and what it took for a GUE tunnel over IPv6.
    #[test]
    fn a_superframe_in_a_tunnel_is_described_as_a_kernel_does() {
        let written = |vnet: Vnet, hdr_len| {
            let mut header = [0; VnetHeader::MAX];
            header[..VNET_LEN].copy_from_slice(&vnet.encode(hdr_len));
            vnet.tunnel.iter().for_each(|tunnel| tunnel.add_to(&mut header));
            header
        };
        let tunnel = UdpTunnel { family: Family::V4, summed: false, own: 22 };
        let vnet = Vnet {
            needs_csum: true,
            gso: Gso::Tcp4,
            gso_size: 1400,
            csum_start: 84,
            csum_offset: 16,
            ..Vnet::default()
        };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let whole = Vnet { tunnel: Some(tunnel), ..vnet };
        assert_eq!(hex(&written(whole, 104)), "012168007805540010000000000000000000000022004000");
        let summed = Vnet { tunnel: Some(UdpTunnel { summed: true, ..tunnel }), ..vnet };
        assert_eq!(hex(&written(summed, 104)), "092168007805540010000000000000000000000022004000");
        let six = UdpTunnel { family: Family::V6, summed: false, own: 4 };
        let six = Vnet { tunnel: Some(six), gso: Gso::Tcp6, csum_start: 106, ecn: true, ..vnet };
        assert_eq!(hex(&written(six, 138)), "01c48a0078056a0010000000000000000000000036004200");
        assert_eq!(hex(&written(vnet, 104)), "010168007805540010000000000000000000000000000000");
        for vnet in [whole, summed, six, vnet] {
            assert_eq!(Vnet::decode_long(&written(vnet, 104)), vnet);
        }
        let short = written(whole, 104).first_chunk().map(Vnet::decode).unwrap();
        assert_eq!(short.gso, Gso::Unknown, "not without the rest");
        for (at, byte) in [(1, 0x61), (20, 38), (22, 41), (23, 0xff)] {
            let mut header = written(whole, 104);
            header[at] = byte;
            let read = Vnet::decode_long(&header);
            assert!(read.gso == Gso::Unknown || at == 23 && read.tunnel.is_some(), "{at}: {read:?}");
        }
    }

    #[test]
    fn a_foreign_type_is_unknown_not_plain() {
        assert_eq!(Vnet::decode(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]).gso, Gso::Unknown);
    }
}
