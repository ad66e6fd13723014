//! The director's side of the control socket: clients, their lines, and the replies on their way.
//!
//! A client is given one request a turn and as much memory as a request and a reply take, so that a slow, dead or hostile
//! one costs packets nothing. Never interprets a request.

use std::io::{self, Read, Write};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use crate::control::protocol::{LONGEST_REQUEST, Reply, Request};
use crate::io::Listener;

/// Clients at a time; the one that has been quiet for the longest makes room for another.
const CLIENTS: usize = 32;
/// Tokens from here on are the control socket's.
const FIRST_TOKEN: usize = 1 << 16;
const LISTENER: Token = Token(FIRST_TOKEN);
const ACCEPTED_A_TURN: usize = 8;
/// Clients served before packets have their turn again.
const SERVED_A_TURN: usize = 4;

/// The socket and its clients.
pub(super) struct Control {
    listener: Option<Listener>,
    clients: Vec<Option<Client>>,
    /// Somebody may wait to be accepted.
    knocking: bool,
    /// Somebody waits who could not be accepted, and no event will tell again.
    refused: bool,
    turns: u64,
    /// The client whose turn it is.
    next: usize,
}

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of `output` that are written.
    written: usize,
    /// May have something to read or room to write: no event will tell again.
    hot: bool,
    /// Ends when its output is written.
    leaving: bool,
    /// The turn in which it was last heard.
    heard: u64,
}

impl Control {
    /// Without a listener nobody comes.
    pub(super) fn new(mut listener: Option<Listener>, registry: &Registry) -> io::Result<Control> {
        if let Some(listener) = &mut listener {
            registry.register(listener, LISTENER, Interest::READABLE)?;
        }
        let knocking = listener.is_some();
        Ok(Control {
            listener,
            clients: (0..CLIENTS).map(|_| None).collect(),
            knocking,
            refused: false,
            turns: 0,
            next: 0,
        })
    }

    /// Notes an event; false if it is not the control socket's.
    pub(super) fn notes(&mut self, token: Token) -> bool {
        let Some(place) = token.0.checked_sub(FIRST_TOKEN) else { return false };
        match place.checked_sub(1) {
            None => self.knocking = true,
            Some(client) if client < CLIENTS => {
                if let Some(client) = &mut self.clients[client] {
                    client.hot = true;
                }
            }
            Some(_) => return false,
        }
        true
    }

    /// True if there may be something to do that no event will tell.
    pub(super) fn is_hot(&self) -> bool {
        self.knocking || self.clients.iter().flatten().any(|client| client.hot)
    }

    /// Accepts who waits and serves a few clients, those who have waited for the longest, at most one request each.
    pub(super) fn turn(&mut self, registry: &Registry, mut answer: impl FnMut(&Request) -> Reply) {
        self.turns += 1;
        if self.knocking {
            self.accept(registry);
        }
        let mut left = SERVED_A_TURN;
        for _ in 0..CLIENTS {
            let slot = &mut self.clients[self.next];
            self.next = (self.next + 1) % CLIENTS;
            let Some(client) = slot.as_mut().filter(|client| client.hot) else { continue };
            if client.serve(self.turns, &mut answer).is_err() {
                *slot = None;
                // What it held is free for somebody who could not be accepted.
                self.knocking |= std::mem::take(&mut self.refused);
            }
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }

    /// Lets in a few of those who wait. Nobody tells again of the others: it stays knocking until nobody is left.
    fn accept(&mut self, registry: &Registry) {
        for _ in 0..ACCEPTED_A_TURN {
            let Some(listener) = &mut self.listener else { return };
            match listener.accept() {
                Ok(Some((stream, uid))) => self.admit(stream, uid, registry),
                Ok(None) => {
                    self.knocking = false;
                    return;
                }
                Err(error) => {
                    log::warn!("control socket: cannot accept a client: {error}; trying again when another one goes");
                    (self.knocking, self.refused) = (false, true);
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
            (0..CLIENTS).min_by_key(|place| clients[*place].as_ref().map_or(0, |client| client.heard))
        };
        let Some(place) = quietest(&self.clients) else { return };
        self.clients[place] = None;
        let token = Token(FIRST_TOKEN + 1 + place);
        if registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_err() {
            return;
        }
        let (input, output) = (Vec::new(), Vec::new());
        let mut client = Client { stream, input, output, written: 0, hot: true, leaving: false, heard: self.turns };
        if uid != 0 && uid != own {
            let who = if own == 0 { "only root may".to_owned() } else { format!("only root and uid {own} may") };
            client.dismiss(format!("uid {uid} may not control this director; {who}"));
        }
        self.clients[place] = Some(client);
    }
}

impl Client {
    /// One request at most. An error ends the client.
    fn serve(&mut self, turn: u64, answer: &mut impl FnMut(&Request) -> Reply) -> io::Result<()> {
        if !self.flush()? {
            return Ok(());
        }
        if self.leaving {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if !self.input.contains(&b'\n') {
            self.read()?;
        }
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
            if self.input.len() > LONGEST_REQUEST {
                self.dismiss(format!("a line of more than {LONGEST_REQUEST} bytes is no request"));
            }
            return Ok(());
        };
        self.heard = turn;
        let reply = match serde_json::from_slice(&self.input[..end]) {
            Ok(request) => answer(&request),
            Err(error) => Reply::Error(format!("not a request: {error}")),
        };
        self.input.drain(..=end);
        self.say(&reply);
        self.flush().map(drop)
    }

    /// Fills `input` by a part; not hot any more if there was nothing.
    fn read(&mut self) -> io::Result<()> {
        let mut part = [0; 4096];
        match self.stream.read(&mut part) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.input.extend_from_slice(&part[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.hot = false;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// True if all output is written; else not hot any more.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.hot = false;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.output, self.written) = (Vec::new(), 0);
        Ok(true)
    }

    fn say(&mut self, reply: &Reply) {
        let text = serde_json::to_string(reply);
        let text = text.unwrap_or_else(|error| {
            log::error!("control socket: a reply cannot be written: {error}");
            r#"{"error":"the reply cannot be written; this is a defect of tapvs"}"#.into()
        });
        self.output = text.into_bytes();
        self.output.push(b'\n');
    }

    fn dismiss(&mut self, why: String) {
        self.say(&Reply::Error(why));
        (self.leaving, self.hot) = (true, true);
    }
}
