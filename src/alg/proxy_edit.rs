//! What is put in front of a segment's payload, and what is left out of it.
//!
//! Never sends a segment.

use crate::base::DropReason;
use crate::wire::{L4, Packet, tcp};

/// Leaves so many bytes of the stream out; false if nothing is left of the segment, not even the stream's end.
pub(super) fn leave_out(packet: &mut Packet, bytes: usize) -> Result<bool, DropReason> {
    let at = tcp::payload_at(packet.frame(), packet.ip);
    let count = bytes.min(packet.ip.end - at);
    let (vnet, is_end) = (packet.buf.vnet, matches!(packet.ip.l4, L4::Tcp { flags, .. } if flags.fin()));
    if count > 0 {
        replace(packet, at..at + count, &[])?;
        tcp::reopen(packet.buf, packet.ip, vnet);
    }
    tcp::shift_sequence(packet.buf, packet.ip, bytes as i32);
    Ok(is_end || packet.ip.end > tcp::payload_at(packet.frame(), packet.ip))
}

pub(super) fn without_payload(packet: &mut Packet) -> Result<(), DropReason> {
    let range = tcp::payload_at(packet.frame(), packet.ip)..packet.ip.end;
    replace(packet, range, &[])
}

pub(super) fn put_in_front(packet: &mut Packet, bytes: &[u8]) -> Result<(), DropReason> {
    let at = tcp::payload_at(packet.frame(), packet.ip);
    replace(packet, at..at, bytes)
}

fn replace(packet: &mut Packet, range: std::ops::Range<usize>, bytes: &[u8]) -> Result<(), DropReason> {
    let is_done = tcp::replace_payload(packet.buf, packet.ip, range, bytes);
    if is_done { Ok(()) } else { Err(DropReason::NoHeadroom) }
}
