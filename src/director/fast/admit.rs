//! Which conns get entries.
//!
//! Never takes any away.

use super::Fast;
use super::places::neighbour_of;
use crate::base::{ConnId, Instant, Proto};
use crate::conn::{Conn, TcpState};
use crate::fastpath::abi::Joined;
use crate::fastpath::{self, Facts, Hop};
use crate::flows::{Flows, Join};
use crate::forward;
use crate::router::Route;
use crate::sched::Mask;

/// No place for a next hop.
const NONE_LEFT: u32 = u32::MAX;

/// What lies between the ends of a conn whose handshake the director has made.
pub fn joined(flows: &Flows, id: ConnId) -> Joined {
    let join = flows.splices.join(id);
    join.map_or(Joined::default(), |Join { back, client_clock, server_clock, client_window, server_window }| Joined {
        back,
        clocks: [client_clock, server_clock],
        windows: [client_window, server_window],
    })
}

impl Fast<'_> {
    /// Gives entries to conns that have asked. Called when all that was read is written: an entry that is made before would
    /// let later packets overtake.
    pub fn admit(&mut self, now: Instant) {
        if !self.path.is_asked() {
            return;
        }
        self.heed();
        while let Some(id) = self.path.next_offer() {
            if self.is_leaving() {
                self.path.refuse("leaving");
                continue;
            }
            if self.path.len() >= self.flows.settings.fast_flows {
                self.path.refuse("full");
                continue;
            }
            if let Err(why) = self.give_entries(id, now) {
                self.path.refuse(why);
            }
        }
    }

    fn give_entries(&mut self, id: ConnId, now: Instant) -> Result<(), &'static str> {
        let Some(conn) = self.flows.conns.live(id).copied().filter(|conn| !conn.is_fast()) else { return Ok(()) };
        self.check(id, &conn)?;
        let ends = self.flows.ends(id);
        let there = self.router.route(ends.real.addr).map_err(|_| "route")?;
        // Clients that only send need no way back; what comes for them all the same is the director's.
        let back = ends.method.rewrites_replies().then(|| self.router.route(ends.client().addr)).and_then(Result::ok);
        let largest = forward::largest(&ends, &there, self.router, now).ok_or("route")?;
        let mut facts = Facts {
            proto: conn.proto(),
            request: Hop { neighbour: 0, largest },
            reply: None,
            source: self.router.source(there.link, there.next_hop, ends.real.addr),
            discovery: self.router.path_mtus.discovery,
            joined: joined(self.flows, id),
        };
        // Before places are taken: one that the program cannot forward takes none.
        fastpath::entries(&ends, &facts).map_err(|unfit| unfit.name())?;
        facts.request.neighbour = self.hold(&there).ok_or("neighbours")?;
        let hops = [facts.request.neighbour, back.map_or(Some(0), |route| self.hold(&route)).unwrap_or(NONE_LEFT)];
        if hops[1] == NONE_LEFT {
            self.path.release_hop(hops[0]);
            return Err("neighbours");
        }
        facts.reply = back.map(|route| Hop { neighbour: hops[1], largest: route.mtu });
        let mut entries = fastpath::entries(&ends, &facts).map_err(|unfit| unfit.name())?;
        entries.first.1.born = conn.in_pkts;
        if let Some((_, entry)) = &mut entries.second {
            entry.born = conn.in_pkts;
        }
        if self.path.add(id, conn.dest, &entries, hops).is_ok() {
            self.flows.conns.set_fast(id);
        }
        Ok(())
    }

    /// Whether a conn's packets are forwarded always the same way, and change nothing but counters and its deadline.
    fn check(&self, id: ConnId, conn: &Conn) -> Result<(), &'static str> {
        let server = self.flows.services.server(conn.dest);
        let established = match conn.proto() {
            Proto::TCP => TcpState::from_number(conn.state()) == TcpState::Established,
            Proto::UDP => true,
            _ => return Err("protocol"),
        };
        match () {
            () if !self.is_active() || self.router.virtuals.is_away(conn.virt().addr) => Err("standby"),
            () if conn.is_template() || conn.is_hidden() || conn.is_shadowed() || conn.is_synced() => Err("state"),
            () if !established || conn.lacks_port() => Err("state"),
            () if conn.is_helped() && self.is_read(id) => Err("helper"),
            () if conn.is_local() => Err("local"),
            () if !server.available || server.mask != Mask::None => Err("server"),
            () => Ok(()),
        }
    }

    /// Whether more is done to a helped conn's packets than what lies between ends that the director has joined.
    fn is_read(&self, id: ConnId) -> bool {
        let has_news = self.proxy.has(id) || self.toa.has(id);
        has_news || self.flows.announces(id) || self.flows.splices.join(id).is_none()
    }

    fn hold(&mut self, route: &Route) -> Option<u32> {
        let neighbour = neighbour_of(self.router, self.path, route.link, route.next_hop);
        self.path.hold_hop((route.link, route.next_hop), neighbour)
    }
}
