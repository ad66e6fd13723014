//! From an IP-in-IP packet to the packet inside (RFC 2003): what may be let in, and how.
//!
//! Pure: bytes in, a range of them out. Never lets in what is not for a VIP.

use std::net::Ipv4Addr;
use std::ops::Range;

use etherparse::{IpNumber, Ipv4HeaderSlice};

use crate::wire::Vnet;

/// Why a packet was not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not a whole IPv4 packet in a whole IPv4 packet.
    Malformed,
    /// The inner destination is no VIP of this host.
    NotOurs,
    /// Marked as congested on the way, though its ends do not speak ECN (RFC 6040, 4.2).
    Congested,
}

/// The packet inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Where it stands.
    pub at: Range<usize>,
    /// What the kernel needs to know of its checksum.
    pub vnet: Vnet,
}

/// Checks `packet` (outer header first) and finds the packet inside; congestion marks move inwards.
pub fn unpack(packet: &mut [u8], vips: &[Ipv4Addr]) -> Result<Inner, Refusal> {
    let outer = Ipv4HeaderSlice::from_slice(packet).map_err(|_| Refusal::Malformed)?;
    let congested = outer.ecn().value() == 3;
    let start = outer.slice().len();
    let inner = Ipv4HeaderSlice::from_slice(&packet[start..]).map_err(|_| Refusal::Malformed)?;
    let len = usize::from(inner.total_len());
    let whole = len >= inner.slice().len() && start + len <= packet.len();
    if !whole || inner.header_checksum() != inner.to_header().calc_header_checksum() {
        return Err(Refusal::Malformed);
    }
    if !vips.contains(&inner.destination_addr()) {
        return Err(Refusal::NotOurs);
    }
    if congested && inner.ecn().value() == 0 {
        return Err(Refusal::Congested);
    }
    let at = start..start + len;
    let vnet = unfinished_checksum(&inner, &packet[at.clone()]).unwrap_or_default();
    if congested {
        mark_congested(&mut packet[at.clone()]);
    }
    Ok(Inner { at, vnet })
}

fn mark_congested(inner: &mut [u8]) {
    inner[1] |= 3;
    if let Ok(header) = Ipv4HeaderSlice::from_slice(inner) {
        let checksum = header.to_header().calc_header_checksum();
        inner[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Says so if the L4 checksum is only the sum of the pseudo header, to be finished by hardware.
///
/// A network card's receive offload joins segments even inside IP-in-IP, and leaves exactly that in the
/// joined packet. Written plainly it would be dropped as corrupt. The field of an intact packet has that
/// value once in 65536; then the kernel skips a check that would have passed.
fn unfinished_checksum(header: &Ipv4HeaderSlice, packet: &[u8]) -> Option<Vnet> {
    let csum_offset: u16 = match header.protocol() {
        IpNumber::TCP => 16,
        IpNumber::UDP => 6,
        _ => return None,
    };
    if header.is_fragmenting_payload() {
        return None;
    }
    let l4 = packet.get(header.slice().len()..)?;
    let found = l4.get(usize::from(csum_offset)..)?.first_chunk::<2>()?;
    (u16::from_be_bytes(*found) == pseudo_header_sum(header, l4.len())).then(|| Vnet {
        needs_csum: true,
        csum_start: header.slice().len() as u16,
        csum_offset,
        ..Vnet::default()
    })
}

fn pseudo_header_sum(header: &Ipv4HeaderSlice, l4_len: usize) -> u16 {
    let addresses = [header.source(), header.destination()].concat();
    let pairs = addresses.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = pairs.sum::<u32>() + u32::from(header.protocol().0) + l4_len as u32;
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    const DIRECTOR: [u8; 4] = [10, 0, 0, 1];
    const REAL: [u8; 4] = [10, 0, 0, 2];
    const CLIENT: [u8; 4] = [192, 0, 2, 1];
    const VIP: [u8; 4] = [198, 51, 100, 1];

    fn inner(dst: [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4(CLIENT, dst, 60).tcp(4000, 80, 1, 1000).write(&mut bytes, b"hello").unwrap();
        bytes
    }

    fn outer(inner: &[u8], tos: u8) -> Vec<u8> {
        let mut header = etherparse::Ipv4Header::new(inner.len() as u16, 64, IpNumber(4), DIRECTOR, REAL).unwrap();
        header.ecn = etherparse::IpEcn::try_new(tos).unwrap();
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], inner].concat()
    }

    fn vips() -> Vec<Ipv4Addr> {
        vec![VIP.into()]
    }

    #[test]
    fn the_packet_inside_comes_out_as_it_went_in() {
        let inside = inner(VIP);
        let mut packet = outer(&inside, 0);
        packet.extend_from_slice(b"padding");
        let found = unpack(&mut packet, &vips()).unwrap();
        assert_eq!(packet[found.at], inside);
        assert_eq!(found.vnet, Vnet::default());
    }

    #[test]
    fn only_a_vip_is_let_in() {
        let mut packet = outer(&inner([10, 0, 0, 2]), 0);
        assert_eq!(unpack(&mut packet, &vips()), Err(Refusal::NotOurs));
    }

    #[test]
    fn nothing_cut_short_or_corrupt_is_let_in() {
        let whole = outer(&inner(VIP), 0);
        for cut in 0..whole.len() {
            assert_eq!(unpack(&mut whole[..cut].to_vec(), &vips()), Err(Refusal::Malformed), "{cut}");
        }
        for at in 20..40 {
            let mut packet = whole.clone();
            packet[at] ^= 0x55;
            assert_eq!(unpack(&mut packet, &vips()), Err(Refusal::Malformed), "{at}");
        }
    }

    #[test]
    fn a_congestion_mark_moves_inwards_or_ends_the_packet() {
        let mut inside = inner(VIP);
        assert_eq!(unpack(&mut outer(&inside, 3), &vips()), Err(Refusal::Congested));
        inside[1] |= 2;
        let checksum = Ipv4HeaderSlice::from_slice(&inside).unwrap().to_header().calc_header_checksum();
        inside[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut packet = outer(&inside, 3);
        let found = unpack(&mut packet, &vips()).unwrap();
        let header = Ipv4HeaderSlice::from_slice(&packet[found.at]).unwrap();
        assert_eq!(header.ecn().value(), 3);
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    }

    #[test]
    fn an_unfinished_checksum_is_handed_on_as_such() {
        let mut inside = inner(VIP);
        let sum = pseudo_header_sum(&Ipv4HeaderSlice::from_slice(&inside).unwrap(), inside.len() - 20);
        inside[36..38].copy_from_slice(&sum.to_be_bytes());
        let found = unpack(&mut outer(&inside, 0), &vips()).unwrap();
        assert!(found.vnet.needs_csum);
        assert_eq!((found.vnet.csum_start, found.vnet.csum_offset), (20, 16));
    }
}
