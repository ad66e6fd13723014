//! A client of the control socket: its lines, and the reply on its way.
//!
//! Takes as much memory as a request and a reply. Never interprets a request.

use std::io::{self, Read, Write};

use mio::net::UnixStream;

use crate::control::protocol::{LONGEST_REQUEST, Reply, Request};

/// What becomes of a request.
pub(super) enum Answer {
    /// It is answered.
    Now(Reply),
    /// It takes several turns: `finish` answers it.
    Later,
    /// It has to wait for the one that does.
    NotYet(Request),
    /// Another process answers: `take_passed` has its client.
    Passed,
}

/// A client.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of `output` that are written.
    written: usize,
    /// May have something to read or room to write: no event will tell again.
    pub(super) ready: bool,
    /// Its request takes several turns; it is not read until that is answered.
    pub(super) waits: bool,
    /// A request that has to wait for another one's end.
    pub(super) held: Option<Request>,
    /// Another process answers it.
    pub(super) passed: bool,
    /// Ends when its output is written.
    leaving: bool,
    /// The turn in which it was last heard.
    pub(super) heard: u64,
}

impl Client {
    /// One that has come in this turn.
    pub(super) fn new(stream: UnixStream, turn: u64) -> Client {
        Client {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            ready: true,
            waits: false,
            held: None,
            passed: false,
            leaving: false,
            heard: turn,
        }
    }

    /// One request at most. An error ends the client.
    pub(super) fn serve(&mut self, turn: u64, answer: &mut impl FnMut(Request) -> Answer) -> io::Result<()> {
        if !self.flush()? {
            return Ok(());
        }
        if self.waits {
            self.ready = false;
            return Ok(());
        }
        if let Some(request) = self.held.take() {
            return self.take(answer(request));
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
        let request = serde_json::from_slice(&self.input[..end]);
        self.input.drain(..=end);
        match request {
            Ok(request) => self.take(answer(request)),
            Err(error) => self.take(Answer::Now(Reply::Error(format!("not a request: {error}")))),
        }
    }

    fn take(&mut self, answer: Answer) -> io::Result<()> {
        match answer {
            Answer::Now(reply) => {
                self.say(&reply);
                return self.flush().map(drop);
            }
            Answer::Later => (self.waits, self.ready) = (true, false),
            Answer::NotYet(request) => (self.held, self.ready) = (Some(request), false),
            Answer::Passed => self.passed = true,
        }
        Ok(())
    }

    /// Fills `input` by a part; not ready any more if there was nothing.
    fn read(&mut self) -> io::Result<()> {
        let mut part = [0; 4096];
        match self.stream.read(&mut part) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.input.extend_from_slice(&part[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// True if all output is written; else not ready any more.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        (self.output, self.written) = (Vec::new(), 0);
        Ok(true)
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        let text = serde_json::to_string(reply);
        let text = text.unwrap_or_else(|error| {
            log::error!("control socket: a reply cannot be written: {error}");
            r#"{"error":"the reply cannot be written; this is a defect of tapvs"}"#.into()
        });
        self.output = text.into_bytes();
        self.output.push(b'\n');
        if let Reply::Listed { messages, .. } = reply {
            self.output.extend_from_slice(messages);
        }
    }

    pub(super) fn dismiss(&mut self, why: String) {
        self.say(&Reply::Error(why));
        (self.leaving, self.ready) = (true, true);
    }
}
