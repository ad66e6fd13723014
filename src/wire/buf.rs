//! One frame in one fixed buffer, with room in front for headers that are added.
//!
//! Allocated once; never grows, never copies payload to add a header.

use super::field::{ETH_LEN, ethernet, put16};
use super::{VNET_LEN, Vnet, VnetHeader};
use crate::base::Medium;

/// Free bytes in front of a frame as it is read: an outer IPv6 + UDP + GUE header and the virtio header fit.
pub const HEADROOM: usize = 128;
/// The largest frame: 64 KiB of IP, Ethernet header and a VLAN tag, rounded up.
const LARGEST: usize = 65_536 + 64;

/// How a device hands over and takes what it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// The virtio header in front.
    pub vnet: VnetHeader,
    /// With an Ethernet header, or without.
    pub medium: Medium,
}

impl Framing {
    /// Bytes of the header that a frame has here and not on the device.
    fn ethernet_to_add(self) -> usize {
        match self.medium {
            Medium::Ethernet => 0,
            Medium::Ip => ETH_LEN,
        }
    }
}

/// A frame (Ethernet header first) and its virtio header as values.
pub struct PacketBuf {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Checksum and segmentation state.
    pub vnet: Vnet,
    /// Came in fragments, the largest of which was this long (an IP packet): leaves in none larger.
    pub cut: Option<u16>,
    /// Bytes behind the headers of each fragment that it came in, in their order; empty for others.
    pub parts: Vec<u16>,
}

impl Default for PacketBuf {
    fn default() -> PacketBuf {
        PacketBuf::new()
    }
}

impl PacketBuf {
    /// An empty buffer for the largest possible frame.
    pub fn new() -> PacketBuf {
        PacketBuf {
            bytes: vec![0; HEADROOM + LARGEST].into_boxed_slice(),
            start: HEADROOM,
            end: HEADROOM,
            vnet: Vnet::default(),
            cut: None,
            parts: Vec::new(),
        }
    }

    /// The frame.
    #[inline]
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The frame, to be edited in place.
    #[inline]
    pub fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Length of the frame in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Replaces the frame by a copy of `frame` with a plain virtio header. Cut at the largest size.
    pub fn set(&mut self, frame: &[u8]) {
        let len = frame.len().min(LARGEST);
        self.start = HEADROOM;
        self.end = HEADROOM + len;
        self.bytes[HEADROOM..self.end].copy_from_slice(&frame[..len]);
        self.vnet = Vnet::default();
        self.cut = None;
        self.parts.clear();
    }

    /// Makes the frame `len` bytes of zeros, to be filled in; a plain virtio header.
    pub fn reset(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(LARGEST);
        self.start = HEADROOM;
        self.end = HEADROOM + len;
        self.vnet = Vnet::default();
        self.cut = None;
        self.parts.clear();
        let frame = &mut self.bytes[self.start..self.end];
        frame.fill(0);
        frame
    }

    /// Cuts the frame to `len` bytes (Ethernet padding); does nothing if it is shorter.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Makes room for `count` bytes at `at` by moving what stands before it (`at` bytes) forward.
    ///
    /// False, and nothing moved, if the headroom is used up. The gap holds stale bytes.
    pub fn insert(&mut self, at: usize, count: usize) -> bool {
        if count + VnetHeader::MAX > self.start || at > self.len() {
            return false;
        }
        let from = self.start;
        self.start -= count;
        self.bytes.copy_within(from..from + at, self.start);
        true
    }

    /// Takes out `count` bytes at `at`, moving what stands before them back.
    pub fn remove(&mut self, at: usize, count: usize) {
        debug_assert!(at + count <= self.len());
        let from = self.start;
        self.bytes.copy_within(from..from + at, from + count);
        self.start += count;
    }

    /// Where a device may write a virtio header (if it has one) and a frame or packet: one contiguous area.
    pub fn read_area(&mut self, framing: Framing) -> &mut [u8] {
        &mut self.bytes[HEADROOM + framing.ethernet_to_add() - framing.vnet.size()..]
    }

    /// Says how many bytes of the read area were filled; false if that is no frame at all.
    ///
    /// A packet without Ethernet header is given one, from and to the MAC 0, so that above there are only frames.
    #[inline]
    pub fn filled(&mut self, count: usize, framing: Framing) -> bool {
        self.start = HEADROOM;
        self.end = HEADROOM;
        self.vnet = Vnet::default();
        self.cut = None;
        self.parts.clear();
        let added = framing.ethernet_to_add();
        let Some(frame) = count.checked_sub(framing.vnet.size()).filter(|frame| *frame > 0) else { return false };
        let at = HEADROOM + added;
        if framing.vnet != VnetHeader::None {
            self.vnet = vnet_before(&self.bytes[..at], framing.vnet);
            self.vnet.csum_start = self.vnet.csum_start.saturating_add(added as u16);
        }
        if added > 0 {
            self.bytes[HEADROOM..at - 2].fill(0);
            let ethertype = ethernet::of_ip(self.bytes[at]);
            put16(&mut self.bytes, at - 2, ethertype);
        }
        self.end = at + frame;
        true
    }

    /// Makes the frame what a device takes, one contiguous piece: the virtio header (if there is one) and the frame or packet.
    ///
    /// `hdr_len` is the end of the L4 header, counted from the Ethernet header.
    pub fn enclose(&mut self, framing: Framing, hdr_len: usize) {
        let dropped = framing.ethernet_to_add();
        let start = self.start + dropped;
        if framing.vnet == VnetHeader::None {
            self.start = start;
            return;
        }
        let csum_start = self.vnet.csum_start.saturating_sub(dropped as u16);
        let vnet = Vnet { csum_start, ..self.vnet };
        let header = vnet.encode(hdr_len.min(self.len()).saturating_sub(dropped) as u16);
        debug_assert!(vnet.tunnel.is_none() || framing.vnet == VnetHeader::Tunnel);
        let from = start - framing.vnet.size();
        self.bytes[from..from + VNET_LEN].copy_from_slice(&header);
        if framing.vnet == VnetHeader::Tunnel {
            self.bytes[from + VNET_LEN..start].fill(0);
            if let (Some(tunnel), Some(header)) = (&vnet.tunnel, self.bytes[from..].first_chunk_mut()) {
                tunnel.add_to(header);
            }
        }
        self.start = from;
    }
}

/// The virtio header at the end of `bytes`.
#[inline]
fn vnet_before(bytes: &[u8], header: VnetHeader) -> Vnet {
    let read = match header {
        VnetHeader::None => None,
        VnetHeader::Plain => bytes.last_chunk().map(Vnet::decode),
        VnetHeader::Tunnel => bytes.last_chunk().map(Vnet::decode_long),
    };
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Gso;

    const TAP: Framing = Framing { vnet: VnetHeader::Plain, medium: Medium::Ethernet };
    const TUN: Framing = Framing { vnet: VnetHeader::Plain, medium: Medium::Ip };

    #[test]
    fn a_header_goes_in_and_out_without_moving_the_payload() {
        let mut buf = PacketBuf::new();
        buf.set(b"ethernetPAYLOAD");
        assert!(buf.insert(8, 4));
        buf.frame_mut()[8..12].copy_from_slice(b"-ip-");
        assert_eq!(buf.frame(), b"ethernet-ip-PAYLOAD");
        buf.remove(8, 4);
        assert_eq!(buf.frame(), b"ethernetPAYLOAD");
    }

    #[test]
    fn headroom_ends_and_says_so() {
        let mut buf = PacketBuf::new();
        buf.set(&[1; 60]);
        assert!(buf.insert(14, HEADROOM - VnetHeader::MAX));
        assert!(!buf.insert(14, 1));
        assert_eq!(buf.len(), 60 + HEADROOM - VnetHeader::MAX);
    }

    #[test]
    fn what_a_device_fills_is_what_a_device_gets() {
        let mut buf = PacketBuf::new();
        let (gso, gso_size, csum_start, csum_offset) = (Gso::Tcp4, 1448, 34, 16);
        let vnet = Vnet { needs_csum: true, gso, gso_size, csum_start, csum_offset, ..Vnet::default() };
        for header in [VnetHeader::Plain, VnetHeader::Tunnel] {
            let framing = Framing { vnet: header, ..TAP };
            let mut read = vnet.encode(54).to_vec();
            read.resize(header.size(), 0);
            read.extend_from_slice(&[7; 100]);
            buf.read_area(framing)[..read.len()].copy_from_slice(&read);
            assert!(buf.filled(read.len(), framing));
            assert_eq!((buf.len(), buf.vnet), (100, vnet));
            buf.enclose(framing, 54);
            assert_eq!(buf.frame(), read);
            assert!(!buf.filled(header.size() - 1, framing));
        }
        assert!(!buf.filled(0, Framing { vnet: VnetHeader::None, ..TAP }));
    }

    #[test]
    fn a_packet_without_ethernet_is_a_frame_here_and_a_packet_again_outside() {
        for (version, ethertype) in [(0x45, [0x08, 0x00]), (0x60, [0x86, 0xdd])] {
            for framing in [TUN, Framing { vnet: VnetHeader::None, ..TUN }] {
                let mut buf = PacketBuf::new();
                let on_device = Vnet { needs_csum: true, csum_start: 20, csum_offset: 16, ..Vnet::default() };
                let mut read =
                    if framing.vnet == VnetHeader::Plain { on_device.encode(40).to_vec() } else { Vec::new() };
                read.extend_from_slice(&[version; 60]);
                buf.read_area(framing)[..read.len()].copy_from_slice(&read);
                assert!(buf.filled(read.len(), framing));
                assert_eq!((buf.len(), &buf.frame()[12..14]), (74, &ethertype[..]));
                assert_eq!(buf.vnet.needs_csum, framing == TUN);
                assert!(framing != TUN || buf.vnet.csum_start == 34);
                buf.enclose(framing, 54);
                assert_eq!(buf.frame(), read);
            }
        }
    }
}
