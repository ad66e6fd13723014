//! FTP through NAT (the kernel's `ip_vs_ftp`) and FULL-NAT: data conns are expected where control conns announce them.
//!
//! ```text
//! PASV, EPSV   the server's "I wait at RIP:port" becomes "at VIP:port"; CIP:? -> VIP:port will go to RIP:port
//! PORT, EPRT   NAT: "I wait at CIP:port" is left as it is; RIP:20 -> CIP:port will come from VIP:20
//!              FULL-NAT: it becomes "at LIP:lport"; RIP:? -> LIP:lport will go to CIP:port, from VIP:20
//! ```
//! Between families PORT becomes EPRT, and PASV is asked as EPSV and answered as 227 (RFC 2428, RFC 6384).
//! A text of another length moves every later sequence number of its sender. Only for conns to a port of `ftp_ports`.

use serde::{Deserialize, Serialize};

use super::ftp_commands::{Announced, FtpMessage, Mode, client_says, server_says};
use super::ftp_data::{expect_active, expect_passive};
use crate::base::{ConnId, DropReason, Endpoint, Family, Instant};
use crate::conn::{Beside, LifeEvent, TcpState};
use crate::flows::Flows;
use crate::forward::SequenceShift;
use crate::wire::{Gso, Packet, tcp};

/// What is known of a control conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FtpControl {
    pub(super) mode: Mode,
    /// Of the server's sequence numbers.
    pub(super) shift: SequenceShift,
    /// Of the client's.
    #[serde(default)]
    pub(super) client_shift: SequenceShift,
    /// The announcement replaced last, by its sequence number: it may be sent again.
    pub(super) answered: Option<(u32, Mode)>,
    /// FULL-NAT: the same of the client's announcement, and the local endpoint that took its place.
    #[serde(default)]
    pub(super) told: Option<(u32, Endpoint)>,
}

impl FtpControl {
    /// An announcement answers one question, and a repeated one the same.
    fn mode_for(&self, sequence: u32) -> Mode {
        match self.answered {
            Some((answered, mode)) if answered == sequence => mode,
            _ => self.mode,
        }
    }
}

/// What is known of control conns.
#[derive(Default)]
pub struct Ftp(Beside<FtpControl>);

impl Ftp {
    /// A control conn has ended: what was known of it is forgotten.
    #[inline]
    pub fn on(&mut self, event: LifeEvent) {
        self.0.on(event);
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<FtpControl>)> {
        self.0.take_changed()
    }

    /// Goes on with what an earlier process knew of a control conn.
    pub fn recall(&mut self, id: ConnId, control: FtpControl) {
        self.0.recall(id, control);
    }

    /// What is known of a control conn.
    pub fn control(&self, id: ConnId) -> Option<FtpControl> {
        self.0.get(id).copied()
    }

    /// Another director knows this of a control conn.
    pub fn take(&mut self, id: ConnId, told: Option<FtpControl>) {
        self.0.take(id, told);
    }

    /// True for a control conn on which something was announced.
    pub fn has(&self, id: ConnId) -> bool {
        self.0.get(id).is_some()
    }

    /// A segment of a control conn from the client, not rewritten yet: what it asks for is remembered, what it acknowledges
    /// is put back.
    pub fn request(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        flows: &mut Flows,
        now: Instant,
    ) -> Result<(), DropReason> {
        let payload = control_payload(id, packet, flows)?;
        let said = payload.and_then(|payload| client_says(payload, packet.ip.src));
        if said.is_some() {
            let known = self.0.get(id).copied();
            self.0.set(id, known.unwrap_or_default());
            flows.tell_of(id);
        }
        let Some(control) = self.0.get_mut(id) else { return Ok(()) };
        let sequence = tcp::sequence(packet.frame(), packet.ip);
        match said {
            Some(FtpMessage::Mode(mode)) => control.mode = ask(mode, id, packet, flows)?,
            Some(FtpMessage::Waits(client)) => {
                control.mode = Mode::Active;
                let local = match control.told.filter(|(told, _)| *told == sequence) {
                    Some((_, local)) => Some(local),
                    None => expect_active(id, client.at, flows, now)?,
                };
                if let Some(local) = local {
                    control.client_shift.note(sequence, replace(packet, &client, local)?);
                    control.told = Some((sequence, local));
                }
            }
            None => {}
        }
        tcp::shift_sequence(packet.buf, packet.ip, control.client_shift.of_sequence(sequence));
        tcp::shift_acknowledged(packet.buf, packet.ip, |number| control.shift.of_acknowledged(number));
        Ok(())
    }

    /// A segment of a control conn from the server, not rewritten yet.
    pub fn reply(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        flows: &mut Flows,
        now: Instant,
    ) -> Result<(), DropReason> {
        let payload = control_payload(id, packet, flows)?;
        let Some(mut control) = self.0.get(id).copied() else { return Ok(()) };
        let sequence = tcp::sequence(packet.frame(), packet.ip);
        let mode = control.mode_for(sequence);
        if let Some(announced) = payload.and_then(|payload| server_says(payload, mode, packet.ip.src)) {
            let virt = Endpoint::new(flows.conns.get(id).virt().addr, announced.at.port);
            flows.tell_of(id);
            expect_passive(id, virt, announced.at, flows, now)?;
            control.shift.note(sequence, replace(packet, &announced, virt)?);
            control.answered = Some((sequence, mode));
            control.mode = Mode::Active;
            self.0.set(id, control);
        }
        // What is repeated stands where it stood: before its own correction.
        tcp::shift_sequence(packet.buf, packet.ip, control.shift.of_sequence(sequence));
        let moved = flows.conns.shift(id);
        tcp::shift_acknowledged(packet.buf, packet.ip, |number| {
            control.client_shift.of_acknowledged(number.wrapping_sub(moved))
        });
        Ok(())
    }
}

/// Asks the server in that mode: one of IPv6 knows EPSV alone.
fn ask(mode: Mode, id: ConnId, packet: &mut Packet, flows: &Flows) -> Result<Mode, DropReason> {
    let server = flows.conns.real(flows.conns.get(id)).addr;
    if mode != Mode::Passive || Family::of(server) == Family::V4 {
        return Ok(mode);
    }
    let from = tcp::payload_at(packet.frame(), packet.ip);
    let word = from..from + b"EPSV".len();
    if !tcp::replace_payload(packet.buf, packet.ip, word, b"EPSV") {
        return Err(DropReason::NoHeadroom);
    }
    Ok(Mode::PassiveByExtended)
}

/// Announces that place instead; by how much the text has become longer.
fn replace(packet: &mut Packet, announced: &Announced, place: Endpoint) -> Result<i32, DropReason> {
    let text = announced.put_for(place);
    let from = tcp::payload_at(packet.frame(), packet.ip);
    let range = from + announced.text.start..from + announced.text.end;
    let by = text.len() as i32 - range.len() as i32;
    if !tcp::replace_payload(packet.buf, packet.ip, range, &text) {
        return Err(DropReason::NoHeadroom);
    }
    Ok(by)
}

/// The payload of a segment that may say something; from a corrupt one the director would make wrong statements of its own.
fn control_payload<'a>(id: ConnId, packet: &'a Packet, flows: &Flows) -> Result<Option<&'a [u8]>, DropReason> {
    if !tcp::checksum_is_right(packet.buf, packet.ip) {
        return Err(DropReason::L4Checksum);
    }
    let established = TcpState::from_number(flows.conns.get(id).state()) == TcpState::Established;
    let payload = &packet.frame()[tcp::payload_at(packet.frame(), packet.ip)..packet.ip.end];
    Ok((established && packet.buf.vnet.gso == Gso::None && !payload.is_empty()).then_some(payload))
}
