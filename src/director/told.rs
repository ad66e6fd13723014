//! What other directors are told of conns that helpers read, and what of theirs is heeded here.
//!
//! Never decides when a conn is told of but for those that helpers have made.

use super::Director;
use crate::alg::Helped;
use crate::base::ConnId;
use crate::router::{Egress, Turn};

/// Tells other directors of what is new: a conn that controls another one before that one.
#[cold]
#[inline(never)]
pub(super) fn tell_directors(director: &mut Director, turn: &mut Turn<impl Egress>) {
    let Director { ftp, proxy, toa, sip, flows, sync, router, .. } = director;
    let helped = |id: ConnId| {
        let (ftp, proxy, toa) = (ftp.control(id), proxy.header(id), toa.option(id));
        Helped { ftp, proxy, toa, sip: sip.conn(id).cloned() }
    };
    let news = flows.take_news();
    for id in news {
        sync.master.tell_again(id, flows, router, turn);
        sync.master.tell_unsaid(&helped, flows, router, turn);
    }
    sync.master.tell_unsaid(&helped, flows, router, turn);
}

/// Goes on with what helpers of another director know of conns.
pub(super) fn take_helped(director: &mut Director) {
    for (id, told) in director.sync.take_helped() {
        if !director.flows.conns.live(id).is_some_and(|conn| conn.is_synced() && conn.rewrites_replies()) {
            continue;
        }
        director.ftp.take(id, told.ftp);
        director.proxy.take(id, told.proxy);
        director.toa.take(id, told.toa);
        director.sip.take(id, told.sip);
        match told.proxy.is_some() || told.toa.is_some() {
            true => director.flows.conns.get_mut(id).set_helped(true),
            false => director.flows.ends_help(id),
        }
    }
}
