//! One frame in one fixed buffer, with room in front for headers that are added.
//!
//! Allocated once; never grows, never copies payload to add a header.

use super::{VNET_LEN, Vnet};

/// Free bytes in front of a frame as it is read: an outer IPv6 + UDP + GUE header and the virtio header fit.
pub const HEADROOM: usize = 128;
/// The largest frame: 64 KiB of IP, Ethernet header and a VLAN tag, rounded up.
const LARGEST: usize = 65_536 + 64;

/// A frame (Ethernet header first) and its virtio header as values.
pub struct PacketBuf {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Checksum and segmentation state.
    pub vnet: Vnet,
    /// Came in fragments, the largest of which was this long (an IP packet): leaves in none larger.
    pub cut: Option<u16>,
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
        }
    }

    /// The frame.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The frame, to be edited in place.
    pub fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Length of the frame in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if there is no frame.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Replaces the frame by a copy of `frame` with a plain virtio header. Cut at the largest size.
    pub fn set(&mut self, frame: &[u8]) {
        let len = frame.len().min(LARGEST);
        self.start = HEADROOM;
        self.end = HEADROOM + len;
        self.bytes[HEADROOM..self.end].copy_from_slice(&frame[..len]);
        self.vnet = Vnet::default();
        self.cut = None;
    }

    /// Makes the frame `len` bytes of zeros, to be filled in; a plain virtio header.
    pub fn reset(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(LARGEST);
        self.start = HEADROOM;
        self.end = HEADROOM + len;
        self.vnet = Vnet::default();
        self.cut = None;
        let frame = &mut self.bytes[self.start..self.end];
        frame.fill(0);
        frame
    }

    /// Cuts the frame to `len` bytes (Ethernet padding); does nothing if it is shorter.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Makes room for `count` bytes at `at` by moving what stands before it (`at` bytes) forward.
    ///
    /// False, and nothing moved, if the headroom is used up. The gap holds stale bytes.
    pub fn insert(&mut self, at: usize, count: usize) -> bool {
        if count + VNET_LEN > self.start || at > self.len() {
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

    /// Where a device may write a virtio header (if `with_vnet`) and a frame: one contiguous area.
    pub fn read_area(&mut self, with_vnet: bool) -> &mut [u8] {
        let from = if with_vnet { HEADROOM - VNET_LEN } else { HEADROOM };
        &mut self.bytes[from..]
    }

    /// Says how many bytes of the read area were filled; false if that is no frame at all.
    pub fn filled(&mut self, count: usize, with_vnet: bool) -> bool {
        self.start = HEADROOM;
        self.vnet = Vnet::default();
        self.cut = None;
        if !with_vnet {
            self.end = HEADROOM + count;
            return count > 0;
        }
        let Some(frame) = count.checked_sub(VNET_LEN) else {
            self.end = HEADROOM;
            return false;
        };
        let mut header = [0; VNET_LEN];
        header.copy_from_slice(&self.bytes[HEADROOM - VNET_LEN..HEADROOM]);
        self.vnet = Vnet::decode(&header);
        self.end = HEADROOM + frame;
        frame > 0
    }

    /// The virtio header (if `with_vnet`) and the frame as one contiguous area to write.
    ///
    /// `hdr_len` is the end of the L4 header, counted from the Ethernet header.
    pub fn write_area(&mut self, with_vnet: bool, hdr_len: usize) -> &[u8] {
        if !with_vnet {
            return &self.bytes[self.start..self.end];
        }
        let header = self.vnet.encode(hdr_len.min(self.len()) as u16);
        let from = self.start - VNET_LEN;
        self.bytes[from..self.start].copy_from_slice(&header);
        &self.bytes[from..self.end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Gso;

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
        assert!(buf.insert(14, HEADROOM - VNET_LEN));
        assert!(!buf.insert(14, 1));
        assert_eq!(buf.len(), 60 + HEADROOM - VNET_LEN);
    }

    #[test]
    fn what_a_device_fills_is_what_a_device_gets() {
        let mut buf = PacketBuf::new();
        let vnet =
            Vnet { needs_csum: true, gso: Gso::Tcp4, ecn: false, gso_size: 1448, csum_start: 34, csum_offset: 16 };
        let mut read = vnet.encode(54).to_vec();
        read.extend_from_slice(&[7; 100]);
        buf.read_area(true)[..read.len()].copy_from_slice(&read);
        assert!(buf.filled(read.len(), true));
        assert_eq!((buf.len(), buf.vnet), (100, vnet));
        assert_eq!(buf.write_area(true, 54), read);
        assert!(!buf.filled(VNET_LEN - 1, true));
        assert!(!buf.filled(0, false));
    }
}
