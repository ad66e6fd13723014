//! FTP through NAT (the kernel's `ip_vs_ftp`): data conns are expected where control conns announce them.
//!
//! ```text
//! PASV, EPSV   the server's "I wait at RIP:port" becomes "at VIP:port"; CIP:? -> VIP:port will go to RIP:port
//! PORT, EPRT   "I wait at CIP:port" is left as it is; RIP:20 -> CIP:port will come from VIP:20
//! ```
//! A text of another length moves every later sequence number. Only for conns to port 21 in NAT.

use std::collections::HashMap;

use super::Director;
use crate::base::{ConnId, DropReason, Endpoint, Instant, Proto};
use crate::conn::{Conn, Forwarding, Kind, NewConn, TcpState};
use crate::forward::ftp::{self, Mode, Said};
use crate::wire::{Gso, Ip, PacketBuf, tcp};

const FTP_PORT: u16 = 21;

/// How far the server's sequence numbers have moved.
#[derive(Clone, Copy, Default)]
struct Moved {
    /// The sequence number of the text replaced last.
    at: u32,
    before: i32,
    after: i32,
}

impl Moved {
    fn note(&mut self, at: u32, by: i32) {
        if self.before == self.after || is_after(at, self.at) {
            *self = Moved { at, before: self.after, after: self.after + by };
        }
    }

    fn of_sequence(&self, number: u32) -> i32 {
        if is_after(number, self.at) { self.after } else { self.before }
    }

    fn of_acknowledged(&self, number: u32) -> i32 {
        let original = number.wrapping_sub(self.before as u32);
        if is_after(original, self.at) { -self.after } else { -self.before }
    }
}

/// Sequence numbers wrap.
fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[derive(Default)]
struct Control {
    mode: Mode,
    moved: Moved,
    /// The announcement replaced last, by its sequence number: it may be sent again.
    answered: Option<(u32, Mode)>,
}

impl Control {
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
pub(super) struct Ftp {
    controls: HashMap<ConnId, Control>,
}

impl Ftp {
    /// True for a new conn that will announce others.
    pub(super) fn watches(conn: &Conn) -> bool {
        conn.proto() == Proto::TCP && conn.forwarding() == Forwarding::Nat && conn.virt().port == FTP_PORT
    }

    pub(super) fn forget(&mut self, id: ConnId) {
        self.controls.remove(&id);
    }
}

impl Director {
    /// A segment of a control conn from the client: what it asks for is remembered, what it acknowledges is put back.
    pub(super) fn ftp_request(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &Ip,
        now: Instant,
    ) -> Result<(), DropReason> {
        let payload = self.control_payload(id, buf, ip)?;
        let said = payload.and_then(|payload| ftp::client_says(payload, ip.src));
        match said {
            Some(Said::Mode(mode)) => self.ftp.controls.entry(id).or_default().mode = mode,
            Some(Said::Waits(client)) => {
                self.ftp.controls.entry(id).or_default().mode = Mode::Active;
                self.expect_active(id, client, now);
            }
            None => {}
        }
        if let Some(control) = self.ftp.controls.get(&id) {
            tcp::shift_acknowledged(buf, ip, |number| control.moved.of_acknowledged(number));
        }
        Ok(())
    }

    /// A segment of a control conn from the server, not rewritten yet.
    pub(super) fn ftp_reply(
        &mut self,
        id: ConnId,
        buf: &mut PacketBuf,
        ip: &mut Ip,
        now: Instant,
    ) -> Result<(), DropReason> {
        let payload = self.control_payload(id, buf, ip)?;
        let Some(control) = self.ftp.controls.get(&id) else { return Ok(()) };
        let sequence = tcp::sequence(buf.frame(), ip);
        let (mode, moved) = (control.mode_for(sequence), control.moved);
        if let Some(announced) = payload.and_then(|payload| ftp::server_says(payload, mode, ip.src)) {
            let virt = Endpoint::new(self.conns.get(id).virt().addr, announced.at.port);
            self.expect_passive(id, virt, announced.at, now);
            let text = announced.put_for(virt);
            let from = tcp::payload_at(buf.frame(), ip);
            let range = from + announced.text.start..from + announced.text.end;
            let by = text.len() as i32 - range.len() as i32;
            if !tcp::replace_payload(buf, ip, range, &text) {
                return Err(DropReason::NoHeadroom);
            }
            let control = self.ftp.controls.entry(id).or_default();
            control.answered = Some((sequence, mode));
            control.mode = Mode::Active;
            if by != 0 {
                control.moved.note(sequence, by);
            }
        }
        // What is repeated stands where it stood: before its own correction.
        let moved = self.ftp.controls.get(&id).map_or(moved, |control| control.moved);
        tcp::shift_sequence(buf, ip, moved.of_sequence(sequence));
        Ok(())
    }

    /// The payload of a segment that may say something; a corrupt one would make us say wrong things ourselves.
    fn control_payload<'a>(&self, id: ConnId, buf: &'a PacketBuf, ip: &Ip) -> Result<Option<&'a [u8]>, DropReason> {
        if !tcp::checksum_is_right(buf, ip) {
            return Err(DropReason::L4Checksum);
        }
        let established = TcpState::from_number(self.conns.get(id).state) == TcpState::Established;
        let payload = &buf.frame()[tcp::payload_at(buf.frame(), ip)..ip.end];
        Ok((established && buf.vnet.gso == Gso::None && !payload.is_empty()).then_some(payload))
    }

    /// The client will open a conn from a port that is not known yet.
    fn expect_passive(&mut self, control: ConnId, virt: Endpoint, real: Endpoint, now: Instant) {
        let client = Endpoint::new(self.conns.get(control).client().addr, 0);
        self.expect(control, client, virt, real, now);
    }

    /// The server will open a conn from the port below its control port.
    fn expect_active(&mut self, control: ConnId, client: Endpoint, now: Instant) {
        let conn = self.conns.get(control);
        let (virt, real) = (conn.virt(), self.conns.real(conn));
        let virt = Endpoint::new(virt.addr, virt.port - 1);
        let real = Endpoint::new(real.addr, real.port.wrapping_sub(1));
        self.expect(control, client, virt, real, now);
    }

    fn expect(&mut self, control: ConnId, client: Endpoint, virt: Endpoint, real: Endpoint, now: Instant) {
        if self.conns.exists(Proto::TCP, client, virt) {
            return;
        }
        let dest = self.conns.get(control).dest;
        let Some(addr) = self.conns.intern(real.addr) else { return };
        let new = NewConn {
            proto: Proto::TCP,
            client,
            virt,
            real: addr,
            dport: real.port,
            local: None,
            dest,
            forwarding: Forwarding::Nat,
            kind: Kind::Flow,
        };
        let timeout = self.timeouts.state(Proto::TCP, TcpState::Listen as u8).timeout;
        // A full table has said so already.
        let Ok(id) = self.insert(&new, now, timeout) else { return };
        self.conns.get_mut(id).state = TcpState::Listen as u8;
        self.services.bind(dest);
        self.conns.set_control(id, control);
    }
}
