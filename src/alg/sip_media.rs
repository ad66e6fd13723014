//! The media of a call: conns that the description of a session announces, made before either end sends.
//!
//! ```text
//! of a client   "I wait at CIP:p" becomes "at LIP:lp" (NAT: stays); RIP:? -> LIP:lp will go to CIP:p, from VIP and the port
//!               that the server turns out to have
//! of a server   "I wait at RIP:q" becomes "at VIP:q"; CIP:? -> VIP:q will go to RIP:q
//! ```
//! A client that sends from where it waits (RFC 4961) joins both to one conn with its first packet (`Flows::learn_port`). RTCP
//! has the next port of each (RFC 3550). What another client has announced, and a server that does not carry media itself
//! repeats, becomes again what that client has said: both send to each other. Never reads a packet.

use super::expected::{Expected, Local, expect};
use super::session::Media;
use crate::base::{ConnId, DropReason, Endpoint, Family, Instant, Proto, Tuple};
use crate::conn::Side;
use crate::flows::Flows;

/// So many endpoints are heeded in one message.
const MOST: u8 = 16;

/// Who describes a session, and what became of that.
pub(super) struct Calls<'a> {
    /// The conn of the message.
    pub control: ConnId,
    pub from: Side,
    pub flows: &'a mut Flows,
    pub now: Instant,
    count: u8,
    pub refused: Option<DropReason>,
}

impl Calls<'_> {
    pub(super) fn new(control: ConnId, from: Side, flows: &mut Flows, now: Instant) -> Calls<'_> {
        Calls { control, from, flows, now, count: 0, refused: None }
    }

    /// Expects a medium and its RTCP; the conn of the first.
    fn expect(&mut self, client: Endpoint, virt: Endpoint, real: Endpoint) -> Result<Option<ConnId>, DropReason> {
        let Calls { control, ref mut flows, now, .. } = *self;
        let first = Expected { proto: Proto::UDP, client, virt, real, local: Local::Even };
        let Some(id) = expect(control, &first, flows, now)? else { return Ok(None) };
        let next = |at: Endpoint| Endpoint::new(at.addr, if at.port == 0 { 0 } else { at.port.wrapping_add(1) });
        let local = flows.conns.local(flows.conns.get(id)).map_or(Local::Any, |local| Local::Taken(local.port + 1));
        let second = Expected { client: next(client), virt: next(virt), real: next(real), local, ..first };
        // The second is under the first, so that of a pair of local ports the even one is given back last.
        expect(id, &second, flows, now)?;
        Ok(Some(id))
    }

    fn of_client(&mut self, at: Endpoint) -> Result<Option<Endpoint>, DropReason> {
        let conn = *self.flows.conns.get(self.control);
        let (virt, real) = (Endpoint::new(conn.virt().addr, 0), self.flows.conns.real(&conn).addr);
        let local = self.flows.conns.local(&conn).map(|local| local.addr);
        if at.addr.is_unspecified() || at.addr.is_multicast() || Family::of(at.addr) != Family::of(virt.addr) {
            return Ok(None);
        }
        if at.port == 0 {
            return Ok(local.map(|local| Endpoint::new(local, 0)));
        }
        let is_same = |id: &ConnId| {
            let known = self.flows.conns.get(*id);
            (self.flows.conns.real(known).addr, self.flows.conns.local(known).map(|local| local.addr)) == (real, local)
        };
        let known = self.flows.conns.find_flow(Proto::UDP, at, virt);
        let id = match known.filter(is_same) {
            Some(id) => Some(id),
            None => {
                known.into_iter().for_each(|id| self.flows.replace(id));
                self.expect(at, virt, Endpoint::new(real, 0))?
            }
        };
        Ok(id.map(|id| self.flows.conns.local(self.flows.conns.get(id)).unwrap_or(at)))
    }

    fn of_server(&mut self, at: Endpoint) -> Result<Option<Endpoint>, DropReason> {
        let conn = *self.flows.conns.get(self.control);
        let (client, virt, real) = (conn.client().addr, conn.virt().addr, self.flows.conns.real(&conn).addr);
        if at.addr != real && at.addr != virt {
            return Ok(self.of_another_client(at, real, virt));
        }
        let (client, virt) = (Endpoint::new(client, 0), Endpoint::new(virt, at.port));
        if at.port != 0 && !self.flows.conns.exists(Proto::UDP, client, virt) {
            self.expect(client, virt, Endpoint::new(real, at.port))?;
        }
        Ok(Some(virt))
    }

    /// Where the client waits for which this local endpoint stands.
    fn of_another_client(&self, at: Endpoint, real: std::net::IpAddr, virt: std::net::IpAddr) -> Option<Endpoint> {
        let conns = &self.flows.conns;
        let tuple = Tuple { proto: Proto::UDP, src: Endpoint::new(real, 0), dst: at };
        let (id, side) = conns.lookup(&tuple).filter(|_| at.port != 0)?;
        let client = conns.get(id).client();
        (side == Side::Reply && Family::of(client.addr) == Family::of(virt)).then_some(client)
    }
}

impl Media for Calls<'_> {
    fn found(&mut self, at: Endpoint) -> Option<Endpoint> {
        self.count += 1;
        if self.count > MOST || self.refused.is_some() {
            return None;
        }
        let found = match self.from {
            Side::Request => self.of_client(at),
            Side::Reply => self.of_server(at),
        };
        found.unwrap_or_else(|reason| {
            self.refused = Some(reason);
            None
        })
    }
}
