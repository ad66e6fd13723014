//! ICMP errors that concern a conn: the outer addresses and the quoted packet are both translated.
//!
//! The quoted L4 checksum is left as it is, as in IPVS. Never answers an error with an error.

use super::{Ends, Fit, sequence};
use crate::base::{DropReason, Method};
use crate::wire::icmp;
use crate::wire::quote::{self, Quote};
use crate::wire::translate_error::{ErrorEnds, translate_error};
use crate::wire::{End, Packet, set_address};

/// An error about a request, on its way to the client: it seems to come from the virtual address.
///
/// The source becomes the virtual address even if a router in between sent it. `fit` is for an error of the other family.
pub fn about_request(packet: &mut Packet, quote: &Quote, ends: &Ends, fit: Fit) -> Result<(), DropReason> {
    sequence::quoted_request(packet, quote, ends.shift);
    if ends.translates() {
        let (src, dst, Fit { mtu, id }) = (ends.virt().addr, ends.client().addr, fit);
        let ends = ErrorEnds { src, dst, quoted_src: ends.client(), quoted_dst: ends.virt(), mtu, id };
        return translate_error(packet.buf, packet.ip, quote, &ends);
    }
    match ends.method {
        Method::Nat | Method::FullNat => {
            set_address(packet.buf, packet.ip, End::Source, ends.virt().addr);
            quote::set_end(packet.buf, quote, End::Destination, ends.virt());
        }
        Method::Direct | Method::Tunnel(_) | Method::Bypass => return Ok(()),
    }
    if ends.method == Method::FullNat {
        set_address(packet.buf, packet.ip, End::Destination, ends.client().addr);
        quote::set_end(packet.buf, quote, End::Source, ends.client());
    }
    icmp::set_checksum(packet.buf, packet.ip);
    Ok(())
}

/// An error about a reply, on its way to the real server, which knows its own address only.
pub fn about_reply(packet: &mut Packet, quote: &Quote, ends: &Ends, fit: Fit) -> Result<(), DropReason> {
    sequence::quoted_reply(packet, quote, ends.shift);
    if ends.translates() {
        let (src, dst, Fit { mtu, id }) = (ends.peer().addr, ends.real.addr, fit);
        let ends = ErrorEnds { src, dst, quoted_src: ends.real, quoted_dst: ends.peer(), mtu, id };
        return translate_error(packet.buf, packet.ip, quote, &ends);
    }
    match ends.method {
        Method::Nat | Method::FullNat => {
            set_address(packet.buf, packet.ip, End::Destination, ends.real.addr);
            quote::set_end(packet.buf, quote, End::Source, ends.real);
        }
        Method::Direct | Method::Tunnel(_) | Method::Bypass => return Ok(()),
    }
    if ends.method == Method::FullNat {
        // The real server knows no way to the client's side but through the local address.
        set_address(packet.buf, packet.ip, End::Source, ends.peer().addr);
        quote::set_end(packet.buf, quote, End::Destination, ends.peer());
    }
    icmp::set_checksum(packet.buf, packet.ip);
    Ok(())
}
