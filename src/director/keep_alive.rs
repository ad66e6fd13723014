//! Established conns whose time is over: their ends are asked whether they still have them, where that is set (`keepalive`).
//!
//! ```text
//! expiry     a segment to each end, with a number before the one that it expects (RFC 9293 3.8.4)
//! answer     a packet of the conn like any other: it prolongs the conn's time
//! interval   ends that have not answered are asked again, and in the end the conn is over, and both ends are reset
//! ```
//! That an end has answered is seen by what it acknowledges, which is remembered of each packet. Never keeps a packet.

use std::collections::VecDeque;
use std::time::Duration;

use super::standby::Standby;
use super::{Director, expiry_resets};
use crate::base::{ConnId, Endpoint, Instant};
use crate::conn::Side;
use crate::flows::Flows;
use crate::router::{Egress, Router, Turn};
use crate::wire::tcp;

const ENDS: [Side; 2] = [Side::Request, Side::Reply];
/// What a conn lives beyond the next question.
const MARGIN: Duration = Duration::from_secs(5);

/// A conn whose ends were asked.
struct Asked {
    due: Instant,
    id: ConnId,
    /// Its slot may have another conn later.
    client: Endpoint,
    virt: Endpoint,
    /// What each end expects next; 0 if that is not known.
    expects: [u32; 2],
    times: u32,
}

/// Conns whose ends were asked, the first one in front.
#[derive(Default)]
pub(super) struct KeepAlive(VecDeque<Asked>);

impl KeepAlive {
    /// When ends are asked again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.front().map(|asked| asked.due)
    }
}

/// Those parts of a director that ask.
pub(super) struct Asking<'a> {
    asked: &'a mut KeepAlive,
    flows: &'a mut Flows,
    router: &'a mut Router,
    standby: &'a Standby,
}

impl Director {
    /// Asks ends of conns.
    pub(super) fn asking(&mut self) -> Asking<'_> {
        let Director { keep_alive, flows, router, standby, .. } = self;
        Asking { asked: keep_alive, flows, router, standby }
    }
}

impl Asking<'_> {
    /// The time of an established conn is over.
    pub(super) fn ask_ends(&mut self, id: ConnId, turn: &mut Turn<impl Egress>) {
        let conn = self.flows.conns.get(id);
        let (client, virt) = (conn.client(), conn.virt());
        if self.standby.is_mute() || self.router.virtuals.is_away(virt.addr) {
            return self.flows.replace(id);
        }
        let expects = ENDS.map(|end| self.flows.conns.expected(id, end));
        ENDS.into_iter().for_each(|end| self.flows.conns.note_expected(id, end, 0));
        self.ask(Asked { due: turn.now, id, client, virt, expects, times: 0 }, turn);
    }

    /// Heeds what has become of conns whose ends were asked.
    pub(super) fn heed_answers(&mut self, turn: &mut Turn<impl Egress>) {
        while self.asked.due().is_some_and(|due| due <= turn.now)
            && let Some(asked) = self.asked.0.pop_front()
        {
            let id = asked.id;
            let is_that = self.flows.conns.live(id).is_some_and(|conn| {
                conn.is_established() && (conn.client(), conn.virt()) == (asked.client, asked.virt)
            });
            let silent = [0, 1].map(|end| asked.expects[end] != 0 && self.flows.conns.expected(id, ENDS[end]) == 0);
            if !is_that || silent == [false; 2] {
                continue;
            }
            if asked.times < self.flows.settings.keepalive_probes {
                self.ask(asked, turn);
                continue;
            }
            for (end, _) in silent.into_iter().enumerate().filter(|(_, is_silent)| *is_silent) {
                self.flows.conns.note_expected(id, ENDS[end], asked.expects[end]);
            }
            let conn = *self.flows.conns.get(id);
            expiry_resets::reset_ends((id, &conn), (self.flows, self.standby), self.router, turn);
            self.flows.replace(id);
        }
    }

    /// Asks the ends that have not answered.
    fn ask(&mut self, mut asked: Asked, turn: &mut Turn<impl Egress>) {
        let (id, conn) = (asked.id, *self.flows.conns.get(asked.id));
        let (real, shift) = (self.flows.conns.real(&conn), self.flows.conns.shift(id));
        let back = self.flows.splices.back(id);
        let peer = self.flows.conns.local(&conn).unwrap_or(asked.client);
        let [of_client, of_server] = asked.expects;
        let questions = [
            (asked.virt, asked.client, of_client, of_server.wrapping_sub(shift)),
            (peer, real, of_server, of_client.wrapping_sub(back)),
        ];
        for (end, (src, dst, expected, acknowledged)) in questions.into_iter().enumerate() {
            if expected != 0 && self.flows.conns.expected(id, ENDS[end]) == 0 {
                turn.lend(|turn, frame| {
                    tcp::keep_alive(frame, src, dst, (expected.wrapping_sub(1), acknowledged));
                    self.router.send_to(frame, dst.addr, turn);
                });
            }
        }
        let interval = Duration::from_secs(u64::from(self.flows.settings.keepalive_interval));
        asked.times += 1;
        asked.due = turn.now + interval;
        self.flows.conns.rearm(id, turn.now, interval + MARGIN);
        self.asked.0.push_back(asked);
    }
}
