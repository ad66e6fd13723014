//! What one end of a TCP conn offers the other in its SYN: the options that hold for the whole conn.
//!
//! Read and written; never decides what is accepted.

use serde::{Deserialize, Serialize};

use super::field::{be16, be32, put32, tcp};
use super::{Ip, PacketBuf, tcp_option};

/// The largest shift of a window (RFC 7323 2.3).
const SCALE_AT_MOST: u8 = 14;

/// Options of a SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Offer {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// By how many bits windows are shifted.
    pub scale: Option<u8>,
    /// Selective acknowledgements are understood.
    pub sack: bool,
    /// The sender's clock, and what it echoes.
    pub timestamps: Option<(u32, u32)>,
}

impl Offer {
    /// Reads the options of a segment; of one that is no SYN only timestamps mean anything.
    pub fn read(buf: &mut PacketBuf, ip: &Ip) -> Offer {
        let mut offer = Offer::default();
        tcp_option::each(buf, ip, |buf, option, range| {
            let bytes = &buf.frame()[range];
            match (option, bytes.len()) {
                (tcp_option::MSS, 4) => offer.mss = Some(be16(bytes, 2)),
                (tcp_option::WINDOW_SCALE, 3) => offer.scale = Some(bytes[2].min(SCALE_AT_MOST)),
                (tcp_option::SACK_PERMITTED, 2) => offer.sack = true,
                (tcp_option::TIMESTAMPS, 10) => offer.timestamps = Some((be32(bytes, 2), be32(bytes, 6))),
                _ => {}
            }
        });
        offer
    }

    /// Writes the options, padded to whole words.
    pub fn write<'a>(&self, out: &'a mut [u8; 40]) -> &'a [u8] {
        const NOP: u8 = tcp_option::NOP;
        let mut at = 0;
        let mut add = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            add(&[tcp_option::MSS, 4, high, low]);
        }
        if let Some((value, echo)) = self.timestamps {
            let mut bytes = [NOP, NOP, tcp_option::TIMESTAMPS, 10, 0, 0, 0, 0, 0, 0, 0, 0];
            put32(&mut bytes, 4, value);
            put32(&mut bytes, 8, echo);
            add(&bytes);
        }
        if self.sack {
            add(&[NOP, NOP, tcp_option::SACK_PERMITTED, 2]);
        }
        if let Some(scale) = self.scale {
            add(&[NOP, tcp_option::WINDOW_SCALE, 3, scale]);
        }
        &out[..at]
    }
}

const _: () = assert!(tcp::LEN + 4 + 12 + 4 + 4 <= 60);
