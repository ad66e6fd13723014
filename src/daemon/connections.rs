//! The director's side of the control socket: clients, their lines, and the replies on their way.
//!
//! A client is given one request a turn and as much memory as a request and a reply take, so that a slow, dead or hostile
//! one costs packets nothing. Never interprets a request.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::client::{Answer, Client};
use crate::base::Instant;
use crate::control::protocol::{Reply, Request};
use crate::io::Listener;

/// Clients at a time; the one that has been quiet for the longest makes room for another.
const CLIENTS: usize = 32;
/// Tokens from here on are the control socket's.
const FIRST_TOKEN: usize = 1 << 16;
const LISTENER: Token = Token(FIRST_TOKEN);
const ACCEPTED_A_TURN: usize = 8;
/// Clients served before packets have their turn again.
const SERVED_A_TURN: usize = 4;

/// After accept failed for want of descriptors or memory, when it is tried again if no client goes meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The socket and its clients.
pub(super) struct Control {
    listener: Option<Listener>,
    clients: Vec<Option<Client>>,
    /// There may be a client to accept.
    accept_ready: bool,
    /// Accept has failed: when it is tried again.
    retry: Option<Instant>,
    turns: u64,
    /// The client whose turn it is.
    next: usize,
    /// A client whom another process answers.
    passed: Option<OwnedFd>,
}

impl Control {
    /// Without a listener nobody comes.
    pub(super) fn new(mut listener: Option<Listener>, registry: &Registry) -> io::Result<Control> {
        if let Some(listener) = &mut listener {
            registry.register(listener, LISTENER, Interest::READABLE)?;
        }
        let accept_ready = listener.is_some();
        Ok(Control {
            listener,
            clients: (0..CLIENTS).map(|_| None).collect(),
            accept_ready,
            retry: None,
            turns: 0,
            next: 0,
            passed: None,
        })
    }

    /// Notes an event; false if it is not the control socket's.
    pub(super) fn notes(&mut self, token: Token) -> bool {
        let Some(place) = token.0.checked_sub(FIRST_TOKEN) else { return false };
        match place.checked_sub(1) {
            None => self.accept_ready = true,
            Some(client) if client < CLIENTS => {
                if let Some(client) = &mut self.clients[client] {
                    client.ready = true;
                }
            }
            Some(_) => return false,
        }
        true
    }

    /// True if there may be something to do that no event will tell.
    pub(super) fn is_hot(&self) -> bool {
        self.accept_ready || self.clients.iter().flatten().any(|client| client.ready)
    }

    /// Accepts who waits and serves a few clients, those who have waited for the longest, at most one request each.
    pub(super) fn turn(&mut self, registry: &Registry, now: Instant, mut answer: impl FnMut(Request) -> Answer) {
        self.turns += 1;
        if self.accept_ready {
            self.accept(registry, now);
        }
        let mut left = SERVED_A_TURN;
        for _ in 0..CLIENTS {
            let slot = &mut self.clients[self.next];
            self.next = (self.next + 1) % CLIENTS;
            let Some(client) = slot.as_mut().filter(|client| client.ready) else { continue };
            if client.serve(self.turns, &mut answer).is_err() {
                *slot = None;
                // Its descriptor is free for one who waits.
                self.accept_ready |= self.retry.take().is_some();
            } else if let Some(client) = slot.take_if(|client| client.passed) {
                self.passed = Some(client.stream.into());
            }
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }

    /// Answers the request that took several turns, if its client is still there; others may ask for such a thing again.
    pub(super) fn finish(&mut self, reply: &Reply) {
        for client in self.clients.iter_mut().flatten() {
            if std::mem::take(&mut client.waits) {
                client.say(reply);
                client.ready = true;
            }
            client.ready |= client.held.is_some();
        }
    }

    /// A client whom another process is to answer.
    pub(super) fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.take()
    }

    /// Lets nobody in any more: who comes waits for the next worker.
    pub(super) fn close(&mut self) {
        (self.listener, self.accept_ready, self.retry) = (None, false, None);
    }

    /// When accept is tried again.
    pub(super) fn retry_due(&self) -> Option<Instant> {
        self.retry
    }

    /// Tries accept again, if that is due.
    pub(super) fn pass_time(&mut self, now: Instant) {
        if self.retry.is_some_and(|due| due <= now) {
            self.accept_ready = true;
        }
    }

    /// Lets in a few of those who wait. No event tells again of the others: `accept_ready` stays until none is left.
    fn accept(&mut self, registry: &Registry, now: Instant) {
        for _ in 0..ACCEPTED_A_TURN {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept() {
                Ok(Some((stream, uid))) => self.admit(stream, uid, registry),
                Ok(None) => {
                    (self.accept_ready, self.retry) = (false, None);
                    return;
                }
                Err(error) => {
                    if self.retry.is_none() {
                        log::warn!("control socket: cannot accept a client: {error}; tried again every second");
                    }
                    (self.accept_ready, self.retry) = (false, Some(now + RETRY_AFTER));
                    return;
                }
            }
            if self.clients.iter().all(Option::is_some) {
                // What has just come is served before the next is let in.
                return;
            }
        }
    }

    fn admit(&mut self, mut stream: UnixStream, uid: u32, registry: &Registry) {
        let own = self.listener.as_ref().map_or(0, Listener::owner);
        let quietest = |clients: &[Option<Client>]| {
            let age = |client: &Client| (client.waits, client.heard);
            (0..CLIENTS).min_by_key(|place| clients[*place].as_ref().map_or((false, 0), age))
        };
        let Some(place) = quietest(&self.clients) else { return };
        self.clients[place] = None;
        let token = Token(FIRST_TOKEN + 1 + place);
        if registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_err() {
            return;
        }
        let mut client = Client::new(stream, self.turns);
        if uid != 0 && uid != own {
            let who = if own == 0 { "only root may".to_owned() } else { format!("only root and uid {own} may") };
            client.dismiss(format!("uid {uid} may not control this director; {who}"));
        }
        self.clients[place] = Some(client);
    }
}
