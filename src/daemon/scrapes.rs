//! The door for Prometheus: HTTP clients that ask for the metrics, a page of text at a time.
//!
//! A client is given one page a turn and as much memory as a page takes: a slow one costs packets nothing.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::base::Instant;
use crate::control::{Scrape, Shown};

/// Tokens from here on are the scrapes'.
const FIRST_TOKEN: usize = 1 << 22;
const LISTENER: Token = Token(FIRST_TOKEN);
/// Clients at a time; the one that has been there for the longest makes room for another.
const CLIENTS: usize = 8;
/// The longest request.
const LONGEST: usize = 8 * 1024;
/// A client that has not been served by then is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\n\r\n";
const NOT_FOUND: &str =
    "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthe metrics are at /metrics\n";

/// The listener and its clients.
pub(super) struct Scrapes {
    listener: Option<TcpListener>,
    clients: [Option<Client>; CLIENTS],
    waiting: bool,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// What is still to be told, once the request has come.
    scrape: Option<Scrape>,
    /// All has been told but what `output` has.
    answered: bool,
    ready: bool,
    until: Instant,
}

impl Scrapes {
    /// Without a listener nobody comes.
    pub(super) fn new(mut listener: Option<TcpListener>, registry: &Registry) -> io::Result<Scrapes> {
        if let Some(listener) = &mut listener {
            registry.register(listener, LISTENER, Interest::READABLE)?;
        }
        // Clients may have come while there was no worker.
        let waiting = listener.is_some();
        Ok(Scrapes { listener, clients: [const { None }; CLIENTS], waiting })
    }

    /// Notes an event; false if it is not a scrape's.
    pub(super) fn notes(&mut self, token: Token) -> bool {
        let Some(place) = token.0.checked_sub(FIRST_TOKEN).filter(|place| *place <= CLIENTS) else { return false };
        match place.checked_sub(1) {
            None => self.waiting = true,
            Some(place) => {
                if let Some(client) = &mut self.clients[place] {
                    client.ready = true;
                }
            }
        }
        true
    }

    /// True if there may be something to do that no event will tell.
    pub(super) fn is_ready(&self) -> bool {
        self.waiting || self.clients.iter().flatten().any(|client| client.ready)
    }

    /// Accepts a client, and serves one page to each that is ready.
    pub(super) fn turn(&mut self, registry: &Registry, shown: &Shown) {
        if self.waiting {
            self.accept(registry, shown.now);
        }
        for client in &mut self.clients {
            client.take_if(|client| client.ready && client.serve(shown).is_err());
        }
    }

    fn accept(&mut self, registry: &Registry, now: Instant) {
        let Some(listener) = &self.listener else { return };
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(_) => {
                self.waiting = false;
                return;
            }
        };
        let oldest = (0..CLIENTS)
            .min_by_key(|place| self.clients[*place].as_ref().map_or(Instant::START, |client| client.until));
        let Some(place) = oldest else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if registry.register(&mut stream, Token(FIRST_TOKEN + 1 + place), interest).is_ok() {
            let (input, output, until) = (Vec::new(), Vec::new(), now + PATIENCE);
            self.clients[place] =
                Some(Client { stream, input, output, scrape: None, answered: false, ready: true, until });
        }
    }
}

impl Client {
    /// One step; an error ends the client.
    fn serve(&mut self, shown: &Shown) -> io::Result<()> {
        if shown.now > self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if !self.flush()? {
            return Ok(());
        }
        if self.answered {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match &mut self.scrape {
            None => self.read(),
            Some(scrape) => {
                match scrape.page(shown) {
                    Some(page) => self.output = page.into_bytes(),
                    None => self.answered = true,
                }
                Ok(())
            }
        }
    }

    /// Reads the request; when it is all there, the answer begins.
    fn read(&mut self) -> io::Result<()> {
        let mut part = [0; 2048];
        match self.stream.read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.input.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if self.input.windows(4).any(|four| four == b"\r\n\r\n") {
            let known = self.input.starts_with(b"GET /metrics ") || self.input.starts_with(b"GET /metrics?");
            self.output = if known { HEAD } else { NOT_FOUND }.into();
            (self.scrape, self.answered, self.ready) = (Some(Scrape::default()), !known, true);
        }
        if self.input.len() > LONGEST { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    /// True if all output is written; else not ready any more.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
