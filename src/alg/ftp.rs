//! FTP through NAT (the kernel's `ip_vs_ftp`): data conns are expected where control conns announce them.
//!
//! ```text
//! PASV, EPSV   the server's "I wait at RIP:port" becomes "at VIP:port"; CIP:? -> VIP:port will go to RIP:port
//! PORT, EPRT   "I wait at CIP:port" is left as it is; RIP:20 -> CIP:port will come from VIP:20
//! ```
//! A text of another length moves every later sequence number. Only for conns in NAT to a port of `ftp_ports`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::ftp_commands::{FtpMessage, Mode, client_says, server_says};
use crate::base::{ConnId, DropReason, Endpoint, Instant, Method, Proto};
use crate::conn::{Kind, LifeEvent, NewConn, TcpState};
use crate::flows::Flows;
use crate::forward::SequenceShift;
use crate::wire::{Gso, Packet, tcp};

/// What is known of a control conn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FtpControl {
    mode: Mode,
    shift: SequenceShift,
    /// The announcement replaced last, by its sequence number: it may be sent again.
    answered: Option<(u32, Mode)>,
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
pub struct Ftp {
    controls: HashMap<ConnId, FtpControl>,
    /// Those of which something new is known, or nothing any more.
    changed: Vec<ConnId>,
}

impl Ftp {
    /// A control conn has ended: what was known of it is forgotten.
    pub fn on(&mut self, event: LifeEvent) {
        if let LifeEvent::Ended(id) = event
            && !self.controls.is_empty()
        {
            self.changed.extend(self.controls.remove(&id).map(|_| id));
        }
    }

    /// Those that have changed since they were asked for, each with what is known of it now.
    pub fn take_changed(&mut self) -> Vec<(ConnId, Option<FtpControl>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|id| (id, self.controls.get(&id).copied())).collect()
    }

    /// Goes on with what an earlier process knew of a control conn.
    pub fn recall(&mut self, id: ConnId, control: FtpControl) {
        self.controls.insert(id, control);
    }

    /// A segment of a control conn from the client: what it asks for is remembered, what it acknowledges is put back.
    pub fn request(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        flows: &mut Flows,
        now: Instant,
    ) -> Result<(), DropReason> {
        let payload = control_payload(id, packet, flows)?;
        match payload.and_then(|payload| client_says(payload, packet.ip.src)) {
            Some(FtpMessage::Mode(mode)) => {
                self.changed.push(id);
                self.controls.entry(id).or_default().mode = mode;
            }
            Some(FtpMessage::Waits(client)) => {
                self.changed.push(id);
                self.controls.entry(id).or_default().mode = Mode::Active;
                expect_active(id, client, flows, now);
            }
            None => {}
        }
        if let Some(control) = self.controls.get(&id) {
            tcp::shift_acknowledged(packet.buf, packet.ip, |number| control.shift.of_acknowledged(number));
        }
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
        let Some(control) = self.controls.get_mut(&id) else { return Ok(()) };
        let sequence = tcp::sequence(packet.frame(), packet.ip);
        let mode = control.mode_for(sequence);
        if let Some(announced) = payload.and_then(|payload| server_says(payload, mode, packet.ip.src)) {
            let virt = Endpoint::new(flows.conns.get(id).virt().addr, announced.at.port);
            expect_passive(id, virt, announced.at, flows, now);
            let text = announced.put_for(virt);
            let from = tcp::payload_at(packet.frame(), packet.ip);
            let range = from + announced.text.start..from + announced.text.end;
            let by = text.len() as i32 - range.len() as i32;
            if !tcp::replace_payload(packet.buf, packet.ip, range, &text) {
                return Err(DropReason::NoHeadroom);
            }
            self.changed.push(id);
            control.answered = Some((sequence, mode));
            control.mode = Mode::Active;
            if by != 0 {
                control.shift.note(sequence, by);
            }
        }
        // What is repeated stands where it stood: before its own correction.
        tcp::shift_sequence(packet.buf, packet.ip, control.shift.of_sequence(sequence));
        Ok(())
    }
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

/// The client will open a conn from a port that is not known yet.
fn expect_passive(control: ConnId, virt: Endpoint, real: Endpoint, flows: &mut Flows, now: Instant) {
    let client = Endpoint::new(flows.conns.get(control).client().addr, 0);
    expect(control, Expected { client, virt, real }, flows, now);
}

/// The server will open a conn from the port below its control port.
fn expect_active(control: ConnId, client: Endpoint, flows: &mut Flows, now: Instant) {
    let conn = flows.conns.get(control);
    let (virt, real) = (conn.virt(), flows.conns.real(conn));
    let virt = Endpoint::new(virt.addr, virt.port - 1);
    let real = Endpoint::new(real.addr, real.port.wrapping_sub(1));
    expect(control, Expected { client, virt, real }, flows, now);
}

/// The ends of a data conn that was announced.
struct Expected {
    client: Endpoint,
    virt: Endpoint,
    real: Endpoint,
}

fn expect(control: ConnId, Expected { client, virt, real }: Expected, flows: &mut Flows, now: Instant) {
    if flows.conns.exists(Proto::TCP, client, virt) {
        return;
    }
    let dest = flows.conns.get(control).dest;
    let Some(addr) = flows.conns.intern(real.addr) else { return };
    let new = NewConn {
        proto: Proto::TCP,
        client,
        virt,
        real: addr,
        dport: real.port,
        local: None,
        dest,
        method: Method::Nat,
        kind: Kind::Flow,
    };
    let timeout = flows.timeouts.state(Proto::TCP, TcpState::Listen as u8).timeout;
    // A full table has said so already.
    let Ok(id) = flows.insert(&new, now, timeout) else { return };
    flows.conns.set_state(id, TcpState::Listen as u8);
    flows.services.bind(dest);
    flows.conns.set_control(id, control);
}
