//! Requests that helpers read before they go on: FTP's commands, headers of the PROXY protocol, TOA.
//!
//! Never chooses a server.

use super::Director;
use crate::alg::Ahead;
use crate::base::{ConnId, Family};
use crate::forward;
use crate::router::{Egress, Refusal, Turn, room_for};
use crate::wire::Packet;

impl Director {
    /// A request that helpers read before it goes on.
    #[cold]
    pub(super) fn help_request(
        &mut self,
        id: ConnId,
        packet: &mut Packet,
        turn: &mut Turn<impl Egress>,
    ) -> Result<(), Refusal> {
        let (has_header, has_option) = (self.proxy.has(id), self.toa.has(id));
        if !has_header && (!has_option || self.flows.is_ftp_control(id)) {
            self.ftp.request(id, packet, &mut self.flows, turn.now)?;
        }
        if !has_header && !has_option {
            return Ok(());
        }
        let ends = self.flows.ends(id);
        let mtu = self.router.route(ends.real.addr)?.mtu;
        if has_option {
            let room = room_for(packet, mtu, Family::of(ends.real.addr));
            if !self.toa.request(id, packet, room, &self.flows) {
                self.flows.warn_of_missing_toa(id, turn.now);
            }
            return Ok(());
        }
        if self.proxy.request(id, packet, mtu, &self.flows)? == Ahead::Header {
            let Director { proxy, flows, router, .. } = self;
            turn.lend(|turn, piece| {
                turn.generated();
                let sent = proxy
                    .alone(id, packet, piece, flows)
                    .map_err(Refusal::from)
                    .and_then(|mut ip| forward::send_to_server(&mut Packet::new(piece, &mut ip), &ends, router, turn));
                if let Err(refusal) = sent {
                    turn.drop(refusal.reason);
                }
            });
        }
        Ok(())
    }
}
