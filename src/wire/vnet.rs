//! The virtio-net header in front of every frame of a TAP opened with `IFF_VNET_HDR`.
//!
//! Ten bytes, little-endian (`TUNSETVNETLE`): flags, gso_type, hdr_len, gso_size, csum_start,
//! csum_offset (virtio 1.2, 5.1.6). Never trusts `hdr_len` from a read: it may be the whole first fragment.

/// Bytes of the header.
pub const VNET_LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

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
}

impl Default for Vnet {
    fn default() -> Vnet {
        Vnet { needs_csum: false, gso: Gso::None, ecn: false, gso_size: 0, csum_start: 0, csum_offset: 0 }
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
        }
    }

    /// Writes the header; `hdr_len` is the end of the L4 header, counted from the Ethernet header.
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
            let vnet = Vnet { needs_csum: true, gso, ecn, gso_size: 1448, csum_start: 34, csum_offset: 16 };
            assert_eq!(Vnet::decode(&vnet.encode(66)), vnet);
        }
        assert_eq!(Vnet::default().encode(0), [0; VNET_LEN]);
    }

    #[test]
    fn a_foreign_type_is_unknown_not_plain() {
        assert_eq!(Vnet::decode(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]).gso, Gso::Unknown);
    }
}
