//! Established conns that expire: both ends are told by a reset, instead of being left to find out (`expire_reset`).
//!
//! Needs what each end expects next, for no other reset is believed (RFC 5961). Never for conns that ended themselves.

use super::Director;
use crate::base::{ConnId, Endpoint, Instant, Proto};
use crate::conn::{Conn, Forwarding, Side, TcpState};
use crate::router::Egress;
use crate::wire::{Ip, L4, PacketBuf, tcp};

impl Director {
    fn is_reset(&self, forwarding: Forwarding) -> bool {
        match forwarding {
            Forwarding::Nat => self.settings.expire_reset & 1 != 0,
            Forwarding::FullNat => self.settings.expire_reset & 2 != 0,
            Forwarding::Direct | Forwarding::Tunnel => false,
        }
    }

    /// Remembers what the sender of a segment expects next.
    #[inline]
    pub(super) fn note_expected(&mut self, id: ConnId, sender: Side, buf: &PacketBuf, ip: &Ip) {
        if let L4::Tcp { flags, .. } = ip.l4
            && flags.ack()
            && self.is_reset(self.conns.get(id).forwarding())
        {
            self.conns.note_expected(id, sender, tcp::acknowledged(buf.frame(), ip));
        }
    }

    /// Tells both ends of a conn whose time is over, if it was established.
    pub(super) fn reset_ends(&mut self, id: ConnId, conn: &Conn, now: Instant, out: &mut impl Egress) {
        let established = conn.proto() == Proto::TCP
            && !conn.is_template()
            && TcpState::from_number(conn.state) == TcpState::Established;
        if !established || !self.is_reset(conn.forwarding()) {
            return;
        }
        let (client, real) = (conn.client(), self.conns.real(conn));
        let peer = self.conns.local(conn).unwrap_or(client);
        self.send_reset(conn.virt(), client, self.conns.expected(id, Side::Request), now, out);
        self.send_reset(peer, real, self.conns.expected(id, Side::Reply), now, out);
    }

    fn send_reset(&mut self, src: Endpoint, dst: Endpoint, seq: u32, now: Instant, out: &mut impl Egress) {
        let mut frame = self.scratch.take().unwrap_or_default();
        tcp::reset(&mut frame, src, dst, seq);
        self.send_back(&mut frame, dst.addr, now, out);
        self.scratch = Some(frame);
    }
}
