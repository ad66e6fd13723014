//! Cutting an IPv4 packet into fragments (RFC 791 3.2).
//!
//! Works on complete packets, fragments included; never on a superframe, never on a packet with DF.

use super::parse::{ETH_LEN, Ip};
use super::{PacketBuf, checksum};

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Where the cutting stands.
pub struct Fragments {
    payload_at: usize,
    next: usize,
    size: usize,
}

impl Fragments {
    /// Fragments of at most `mtu` bytes; `None` if not even 8 bytes of payload fit behind the header.
    pub fn new(whole: &PacketBuf, ip: &Ip, mtu: usize) -> Option<Fragments> {
        let payload_at = ETH_LEN + usize::from(whole.frame()[ETH_LEN] & 0xf) * 4;
        let size = mtu.checked_sub(payload_at - ETH_LEN)? & !7;
        debug_assert!(payload_at <= ip.end);
        (size > 0).then_some(Fragments { payload_at, next: payload_at, size })
    }

    /// Writes the next fragment; false when all payload is out.
    pub fn next_into(&mut self, whole: &PacketBuf, ip: &Ip, out: &mut PacketBuf) -> bool {
        if self.next >= ip.end {
            return false;
        }
        let source = whole.frame();
        let len = self.size.min(ip.end - self.next);
        let frame = out.reset(self.payload_at + len);
        frame[..self.payload_at].copy_from_slice(&source[..self.payload_at]);
        frame[self.payload_at..].copy_from_slice(&source[self.next..self.next + len]);
        let old = u16::from_be_bytes([source[ETH_LEN + 6], source[ETH_LEN + 7]]);
        let offset = (old & OFFSET) + ((self.next - self.payload_at) / 8) as u16;
        let more = if self.next + len < ip.end { MORE } else { old & MORE };
        if self.next > self.payload_at {
            forget_uncopied_options(&mut frame[ETH_LEN + 20..self.payload_at]);
        }
        frame[ETH_LEN + 2..ETH_LEN + 4].copy_from_slice(&((self.payload_at - ETH_LEN + len) as u16).to_be_bytes());
        frame[ETH_LEN + 6..ETH_LEN + 8].copy_from_slice(&(offset | more).to_be_bytes());
        frame[ETH_LEN + 10..ETH_LEN + 12].fill(0);
        let sum = !checksum::sum(&frame[ETH_LEN..self.payload_at]);
        frame[ETH_LEN + 10..ETH_LEN + 12].copy_from_slice(&sum.to_be_bytes());
        self.next += len;
        true
    }
}

/// Options without the "copied" bit stand in the first fragment only; later ones carry no-ops in their place.
fn forget_uncopied_options(options: &mut [u8]) {
    const END: u8 = 0;
    const NOP: u8 = 1;
    let mut at = 0;
    while at < options.len() && options[at] != END {
        let len = match (options[at], options.get(at + 1)) {
            (NOP, _) => 1,
            (_, Some(len)) if *len >= 2 && at + usize::from(*len) <= options.len() => usize::from(*len),
            _ => return,
        };
        if options[at] & 0x80 == 0 {
            options[at..at + len].fill(NOP);
        }
        at += len;
    }
}
