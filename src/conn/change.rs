//! What happens to a conn while it lives: its state moves, the kernel takes it or leaves it, its port is learnt, it is hidden.
//!
//! Whatever changes what becomes of its packets disturbs it. Never makes or ends one.

use super::event::Event;
use super::flags as flag;
use super::key::Side;
use super::life::LifeEvent;
use super::table::ConnTable;
use crate::base::ConnId;

impl ConnTable {
    /// Moves a conn's state; its timer and its dest's counters are the caller's.
    #[inline]
    pub fn set_state(&mut self, id: ConnId, state: u8) {
        self.move_state(id, state, None);
    }

    /// The same, for what a packet does.
    #[inline]
    pub fn move_state(&mut self, id: ConnId, state: u8, by: Option<Event>) {
        let before = self.records[id].set_state(state);
        if before != state {
            self.has_moved(id, before, by);
        }
    }

    #[inline(never)]
    fn has_moved(&mut self, id: ConnId, before: u8, by: Option<Event>) {
        self.disturb(id);
        self.count_state(id, before);
        self.life.add(LifeEvent::Moved(id, before, by));
    }

    /// The kernel forwards packets of this conn from now on.
    pub fn set_fast(&mut self, id: ConnId) {
        self.records[id].set(flag::FAST, true);
    }

    /// The kernel forwards none of them any more, and who had it stop knows.
    pub fn clear_fast(&mut self, id: ConnId) {
        self.records[id].set(flag::FAST, false);
    }

    /// Whoever changes what becomes of a conn's packets says so: the kernel is to forward none of them any more.
    #[inline]
    pub fn disturb(&mut self, id: ConnId) {
        if self.records[id].is_fast() {
            self.records[id].set(flag::FAST, false);
            self.life.add(LifeEvent::Left(id));
        }
    }

    /// One end has opened the conn that was announced: now its port is known.
    pub fn learn_port(&mut self, id: ConnId, of: Side, port: u16) {
        self.disturb(id);
        self.unlink(id);
        self.shares.remove(&self.records[id]);
        match of {
            Side::Request => self.records[id].set_client_port(port),
            Side::Reply => self.records[id].set_server_port(port),
        }
        self.shares.add(&self.records[id]);
        self.link(id);
        self.records.seal(id);
    }

    /// Changes how long a template lives after a packet of its conns.
    pub fn set_template_timeout(&mut self, id: ConnId, seconds: u32) {
        debug_assert!(self.get(id).is_template());
        self.records[id].set_template_timeout(seconds);
        self.records.seal(id);
    }

    /// Puts a conn under the template or conn that it came from: that one stays while it lives.
    pub fn set_control(&mut self, id: ConnId, control: ConnId) {
        debug_assert!(self.get(id).control().is_none());
        self.records[id].set_control(Some(control));
        self.records.count_controlled(control, 1);
    }

    /// A conn that no packet finds any more; it stays until its timer ends because others depend on it.
    pub fn hide(&mut self, id: ConnId) {
        if !self.get(id).is_hidden() {
            self.disturb(id);
            self.unlink(id);
            self.records[id].set(flag::HIDDEN, true);
        }
    }

    /// A template that binds no client any more; its timer goes on.
    pub fn invalidate_template(&mut self, id: ConnId) {
        self.hide(id);
        self.records[id].set_unusable();
        self.records.seal(id);
    }
}
