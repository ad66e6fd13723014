//! A header of the PROXY protocol that a client sends itself: data, passed on, replaced or refused (`proxy_client_header`).
//!
//! Decided once, of what the client says first.

use super::proxy::{Ahead, Proxy};
use super::proxy_header::{Found, found_in};
use crate::base::{ConnId, DropReason};
use crate::flows::Flows;
use crate::settings::ClientHeader;
use crate::wire::{L4, Packet, tcp};

impl Proxy {
    /// Looks at what a client says first; `len` is the length of the director's header. What becomes of the segment, if that is
    /// not what becomes of all others.
    pub(super) fn decide(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        len: u32,
        flows: &mut Flows,
    ) -> Result<Option<Ahead>, DropReason> {
        let (Some(header), L4::Tcp { flags, .. }) = (self.headers.get(id), packet.ip.l4) else { return Ok(None) };
        let (mut header, mode) = (*header, flows.settings.proxy_client_header);
        let at = tcp::sequence(packet.frame(), packet.ip).wrapping_sub(header.first) as i32;
        let said = &packet.frame()[tcp::payload_at(packet.frame(), packet.ip)..packet.ip.end];
        let is_before = at < 0 && at.wrapping_add(said.len() as i32) <= 0;
        if flags.rst() || is_before || (said.is_empty() && !flags.fin()) {
            // The header waits for what may take its place.
            let waits = mode == ClientHeader::Pass && at <= 0;
            if waits {
                tcp::shift_sequence(packet.buf, packet.ip, (len as i32).wrapping_neg());
            }
            return Ok(waits.then_some(Ahead::Nothing));
        }
        if at != 0 {
            return Err(DropReason::ClientHeader);
        }
        match (mode, found_in(said)) {
            (ClientHeader::Data, _) | (_, Found::Nothing) => {}
            (ClientHeader::Pass, Found::Whole(_)) => {
                flows.conns.move_sequence(id, len.wrapping_neg());
                self.end(id, flows);
                flows.tell_of(id);
                return Ok(Some(Ahead::Nothing));
            }
            (ClientHeader::Replace, Found::Whole(cut)) => {
                header.cut = cut as u32;
                flows.conns.move_sequence(id, header.cut.wrapping_neg());
            }
            (ClientHeader::Refuse, _) | (_, Found::Part) => {
                let place = header.first.wrapping_add(flows.conns.shift(id));
                return Ok(Some(Ahead::Refused(place.wrapping_sub(if header.is_there { 0 } else { len }))));
            }
        }
        header.is_open = false;
        self.headers.set(id, header);
        flows.tell_of(id);
        Ok(None)
    }
}
