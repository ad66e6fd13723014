//! The first packet of a conn that was announced (`alg`): who opens it has a port now.
//!
//! Never makes a conn.

use super::Flows;
use crate::base::{ConnId, Endpoint, Instant, Proto};
use crate::conn::Side;
use crate::wire::Packet;

impl Flows {
    /// Takes the port of whoever opens the conn; the conn that the packet belongs to now.
    #[cold]
    pub fn learn_port(&mut self, id: ConnId, of: Side, packet: &Packet, now: Instant) -> ConnId {
        let Some((port, _)) = packet.ip.ports() else { return id };
        match of {
            Side::Request => {
                if let Some(waiting) = self.waiting_at(id, port) {
                    return waiting;
                }
                self.conns.learn_port(id, of, port);
                self.begin_sequence(id, packet, now);
            }
            Side::Reply => self.learn_server_port(id, port),
        }
        id
    }

    /// The client of a medium waits for it at the port from which it sends, and has said so: both are one conn, whose local
    /// port its server was told.
    fn waiting_at(&mut self, id: ConnId, port: u16) -> Option<ConnId> {
        let conn = *self.conns.get(id);
        let (client, virt) = (Endpoint::new(conn.client().addr, port), Endpoint::new(conn.virt().addr, 0));
        let is_of_server = |other: &ConnId| self.conns.get(*other).real() == conn.real();
        let known = self.conns.find_flow(conn.proto(), client, virt).filter(|_| conn.proto() == Proto::UDP);
        let waiting = known.filter(is_of_server)?;
        self.replace(id);
        self.learn_server_port(waiting, conn.dport());
        Some(waiting)
    }

    /// Another director tells of a conn between these: the conn here that waits for a port which is known there.
    pub fn waited_for(&mut self, proto: Proto, client: Endpoint, virt: Endpoint, real: Endpoint) -> Option<ConnId> {
        let waits = |client, virt| {
            let id = self.conns.find_flow(proto, client, virt)?;
            let conn = self.conns.get(id);
            (conn.lacks_port() && self.conns.real(conn).addr == real.addr).then_some(id)
        };
        let any = |end: Endpoint| Endpoint::new(end.addr, 0);
        let id = waits(client, virt).or_else(|| waits(client, any(virt))).or_else(|| waits(any(client), virt))?;
        if client.port != 0 && self.conns.get(id).is_without_client_port() {
            self.conns.learn_port(id, Side::Request, client.port);
        }
        if real.port != 0 && self.conns.get(id).is_without_server_port() {
            self.learn_server_port(id, real.port);
        }
        Some(id)
    }

    fn learn_server_port(&mut self, id: ConnId, port: u16) {
        let conn = self.conns.get(id);
        let virt = conn.virt();
        if virt.port == 0
            && let Some(older) = self.conns.find_flow(conn.proto(), conn.client(), Endpoint::new(virt.addr, port))
        {
            self.replace(older);
        }
        self.conns.learn_port(id, Side::Reply, port);
    }
}
