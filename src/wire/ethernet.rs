//! The Ethernet header of a frame.
//!
//! Never knows which MAC belongs where.

use super::PacketBuf;
use super::field::{ETH_LEN, ethernet, put, put16, take};
use crate::base::{DropReason, Mac};

/// Destination and source MAC of a frame.
pub fn macs(frame: &[u8]) -> Result<(Mac, Mac), DropReason> {
    let header = frame.get(..ethernet::ETHERTYPE).ok_or(DropReason::Malformed)?;
    Ok((Mac(take(header, ethernet::DST)), Mac(take(header, ethernet::SRC))))
}

/// Sets the MACs of a frame; the ethertype follows the IP version.
#[inline]
pub fn set_macs(buf: &mut PacketBuf, dst: Mac, src: Mac) {
    let frame = buf.frame_mut();
    put(frame, ethernet::DST, &dst.0);
    put(frame, ethernet::SRC, &src.0);
    put16(frame, ethernet::ETHERTYPE, ethernet::of_ip(frame[ETH_LEN]));
}
