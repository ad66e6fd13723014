//! One HTTP/1.1 request and its answer (RFC 9112): a status, and a text in the body if one is wanted.
//!
//! The verdict falls as soon as it is certain: at a wrong status, else after the headers, or where the text was found.
//! Keeps at most 16 KiB of headers; reads at most 64 KiB of body and keeps what a text may begin in.

use super::super::check::{Http as Request, HttpMethod};
use super::super::outcome::{Outcome, Reason, Stage};
use super::{Step, contains, wrong};
use crate::base::Endpoint;

/// The longest status line and headers, interim answers (1xx) included.
const LONGEST_HEAD: usize = 16 * 1024;
/// The part of a body that is looked at.
const LONGEST_BODY: usize = 64 * 1024;
/// The longest line that begins a chunk.
const LONGEST_CHUNK_LINE: usize = 1024;

/// What is said of anything that does not begin with a status line.
const NOT_HTTP: &str = "not an answer of HTTP/1";

/// A request and as much of its answer as was heard.
#[derive(Debug)]
pub struct Http {
    request: Request,
    host: String,
    state: State,
    /// Bytes that were heard and not understood yet.
    pending: Vec<u8>,
    /// Bytes of the head that were understood.
    head: usize,
    /// The end of the body as far as it was heard: a text may begin in it.
    tail: Vec<u8>,
    /// Bytes of the body.
    body: usize,
    status: u16,
    chunked: bool,
    length: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    StatusLine,
    Headers,
    /// Bytes of the body that are still to come; without a number until the server closes.
    Body(Option<u64>),
    ChunkLine,
    /// Bytes that are left of a chunk, its line end included.
    Chunk(u64),
}

impl Http {
    pub(super) fn new(request: &Request, server: Endpoint) -> Http {
        Http {
            request: request.clone(),
            host: request.host.clone().unwrap_or_else(|| server.to_string()),
            state: State::StatusLine,
            pending: Vec::new(),
            head: 0,
            tail: Vec::new(),
            body: 0,
            status: 0,
            chunked: false,
            length: None,
        }
    }

    pub(super) fn request(&self) -> Vec<u8> {
        let method = match self.request.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        };
        let Http { host, request, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{method} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tapvs/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            request.path
        )
        .into_bytes()
    }

    pub(super) fn stage(&self) -> Stage {
        match self.state {
            State::StatusLine | State::Headers => Stage::Answer,
            State::Body(_) | State::ChunkLine | State::Chunk(_) => Stage::Body,
        }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Step {
        self.pending.extend_from_slice(bytes);
        loop {
            let step = match self.state {
                State::StatusLine => self.status_line(),
                State::Headers => self.header(),
                State::Body(left) => self.plain_body(left),
                State::ChunkLine => self.chunk_line(),
                State::Chunk(left) => self.chunk(left),
            };
            match step {
                Some(step) => return step,
                None if self.pending.is_empty() => return Step::More,
                None => {}
            }
        }
    }

    /// The server has closed: the end of a body without a length, anything else is cut short.
    pub(super) fn close(&self) -> Outcome {
        match self.state {
            State::Body(None) => self.not_there(),
            State::StatusLine if self.head == 0 && self.pending.is_empty() => {
                Outcome::Failed(Reason::new(Stage::Answer, "closed without an answer"))
            }
            _ => Outcome::Failed(Reason::new(self.stage(), "closed before the answer was complete")),
        }
    }

    /// The next line of the head, without its end; none if it is not all there.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Step> {
        let end = self.pending.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.pending.len(), |end| end + 1);
        if self.head + length > LONGEST_HEAD {
            return Err(wrong(format!("more than {LONGEST_HEAD} bytes of headers")));
        }
        let Some(end) = end else { return Ok(None) };
        self.head += length;
        let mut line: Vec<u8> = self.pending.drain(..=end).collect();
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
        Ok(Some(line))
    }

    fn status_line(&mut self) -> Option<Step> {
        let line = match self.line() {
            Ok(Some(line)) => line,
            // What cannot become a status line need not be waited for.
            Ok(None) if !is_begin_of_status(&self.pending) => return Some(wrong(NOT_HTTP)),
            Ok(None) => return Some(Step::More),
            Err(step) => return Some(step),
        };
        let Some(status) = status_of(&line) else { return Some(wrong(NOT_HTTP)) };
        self.status = status;
        let interim = (100..200).contains(&status);
        if !interim && !self.request.status.iter().any(|right| right.contains(&status)) {
            return Some(wrong(format!("status {status}")));
        }
        (self.state, self.chunked, self.length) = (State::Headers, false, None);
        None
    }

    fn header(&mut self) -> Option<Step> {
        let line = match self.line() {
            Ok(Some(line)) => line,
            Ok(None) => return Some(Step::More),
            Err(step) => return Some(step),
        };
        if line.is_empty() {
            return self.end_of_head();
        }
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("transfer-encoding", value)) => self.chunked = value.ends_with("chunked"),
            Some(("content-length", value)) => match value.parse() {
                Ok(length) => self.length = Some(length),
                Err(_) => return Some(wrong(format!("content-length '{value}' is no number"))),
            },
            Some(_) | None => {}
        }
        None
    }

    fn end_of_head(&mut self) -> Option<Step> {
        if (100..200).contains(&self.status) {
            self.state = State::StatusLine;
            return None;
        }
        if self.request.contains.is_none() {
            return Some(Step::Done(Outcome::Passed));
        }
        let empty = self.request.method == HttpMethod::Head || matches!(self.status, 204 | 304);
        self.state = match (empty, self.chunked) {
            (true, _) => State::Body(Some(0)),
            (false, true) => State::ChunkLine,
            (false, false) => State::Body(self.length),
        };
        if self.state == State::Body(Some(0)) { Some(Step::Done(self.not_there())) } else { None }
    }

    fn plain_body(&mut self, left: Option<u64>) -> Option<Step> {
        let count =
            left.map_or(self.pending.len(), |left| self.pending.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        let left = left.map(|left| left - count as u64);
        self.state = State::Body(left);
        let step = self.search(count);
        if step.is_some() || left != Some(0) {
            self.pending.clear();
            return step;
        }
        Some(Step::Done(self.not_there()))
    }

    fn chunk_line(&mut self) -> Option<Step> {
        let end = self.pending.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(self.pending.len()) > LONGEST_CHUNK_LINE {
            return Some(self.bad_chunk());
        }
        let Some(end) = end else { return Some(Step::More) };
        let line: Vec<u8> = self.pending.drain(..=end).collect();
        let digits = String::from_utf8_lossy(&line);
        let digits = digits.split(';').next().unwrap_or_default().trim();
        match u64::from_str_radix(digits, 16) {
            Ok(0) => Some(Step::Done(self.not_there())),
            Ok(size) if size <= u64::MAX - 2 => {
                self.state = State::Chunk(size + 2);
                None
            }
            Ok(_) | Err(_) => Some(self.bad_chunk()),
        }
    }

    fn chunk(&mut self, left: u64) -> Option<Step> {
        let count = self.pending.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        // Its last two bytes end the line.
        let text = count.min(usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX));
        let step = self.search(text);
        self.pending.drain(..count);
        let left = left - count as u64;
        self.state = if left == 0 { State::ChunkLine } else { State::Chunk(left) };
        step
    }

    /// Looks for the text in the first `count` pending bytes, and in what came before them.
    fn search(&mut self, count: usize) -> Option<Step> {
        let wanted = self.request.contains.as_deref().unwrap_or_default().as_bytes();
        let count = count.min(LONGEST_BODY.saturating_sub(self.body));
        self.body += count;
        self.tail.extend_from_slice(&self.pending[..count]);
        if contains(&self.tail, wanted) {
            return Some(Step::Done(Outcome::Passed));
        }
        let kept = wanted.len().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
        (self.body >= LONGEST_BODY).then(|| Step::Done(self.not_there()))
    }

    fn not_there(&self) -> Outcome {
        let wanted = self.request.contains.as_deref().unwrap_or_default();
        if wanted.is_empty() {
            return Outcome::Passed;
        }
        Outcome::Failed(Reason::new(Stage::Body, format!("'{wanted}' is not in the first {} bytes", self.body)))
    }

    fn bad_chunk(&self) -> Step {
        Step::Done(Outcome::Failed(Reason::new(Stage::Body, "a chunk without a length")))
    }
}

/// True while the bytes may become `HTTP/1.x `.
fn is_begin_of_status(bytes: &[u8]) -> bool {
    let form = b"HTTP/1.";
    bytes.iter().zip(form).all(|(byte, wanted)| byte == wanted)
}

/// The three digits of `HTTP/1.x SP 3DIGIT [SP text]` (RFC 9112 4).
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [minor, b' ', a, b, c, rest @ ..] = rest else { return None };
    let ends = matches!(rest.first(), None | Some(b' '));
    if !ends || ![minor, a, b, c].iter().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some([a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::super::{Dialogue, testing};
    use super::*;
    use crate::base::Rng;

    fn ask(request: &Request, answer: impl AsRef<[u8]>) -> String {
        let make = || Dialogue::Http(Box::new(Http::new(request, Endpoint::UNSPECIFIED)));
        match testing::outcome(make, answer.as_ref()) {
            Outcome::Passed => "passed".into(),
            Outcome::Failed(reason) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn wants(text: &str) -> Request {
        Request { contains: Some(text.into()), ..Request::default() }
    }

    #[test]
    fn a_request_is_what_servers_expect() {
        let request = Request { path: "/up?x=1".into(), host: Some("shop.example".into()), ..Request::default() };
        let text = String::from_utf8(Http::new(&request, Endpoint::UNSPECIFIED).request()).unwrap();
        assert!(text.starts_with("GET /up?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: tapvs/"), "{text}");
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    }

    #[test]
    fn the_status_decides() {
        let request = Request::default();
        for (answer, wanted) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "passed"),
            ("HTTP/1.0 204\r\n\r\n", "passed"),
            ("HTTP/1.1 200 OK\nServer: old\n\n", "passed"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "passed"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "passed"),
            ("HTTP/1.1 301 Moved\r\nLocation: /login\r\n\r\n", "answer: status 301"),
            ("HTTP/1.1 500 Oops\r\n", "answer: status 500"),
            ("HTTP/1.1 100 Continue\r\n\r\n", "answer: closed before the answer was complete"),
            ("HTTP/1.1 200 OK\r\n", "answer: closed before the answer was complete"),
            ("", "answer: closed without an answer"),
            ("<html>HTTP 0.9", "answer: not an answer of HTTP/1"),
            ("HTTP/1.1 2x0 OK\r\n", "answer: not an answer of HTTP/1"),
            ("HTTP/1.1 2000\r\n", "answer: not an answer of HTTP/1"),
            ("HTTP/2 200\r\n", "answer: not an answer of HTTP/1"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1e9\r\n\r\n", "answer: content-length '1e9' is no number"),
        ] {
            assert_eq!(ask(&request, answer), wanted, "{answer}");
        }
        let redirects = Request { status: vec![200..=200, 301..=308], ..Request::default() };
        assert_eq!(ask(&redirects, "HTTP/1.1 302 Found\r\n\r\n"), "passed");
        assert_eq!(ask(&redirects, "HTTP/1.1 204 No\r\n\r\n"), "answer: status 204");
    }

    #[test]
    fn a_text_is_found_in_every_kind_of_body() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\nall is well",
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8;x=y\r\nall is w\r\n3\r\nell\r\n0\r\n\r\n",
        ] {
            assert_eq!(ask(&wants("is well"), answer), "passed", "{answer}");
            assert!(ask(&wants("is ill"), answer).starts_with("body: 'is ill' is not in the first 11"), "{answer}");
        }
        for (answer, wanted) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall is well", "body: 'well' is not in the first 3 bytes"),
            ("HTTP/1.1 204 OK\r\n\r\nwell", "body: 'well' is not in the first 0 bytes"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall", "body: closed before the answer was complete"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "body: a chunk without a length"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                "body: a chunk without a length",
            ),
        ] {
            assert_eq!(ask(&wants("well"), answer), wanted, "{answer}");
        }
    }

    #[test]
    fn floods_cost_a_bounded_amount() {
        let mut http = Http::new(&Request::default(), Endpoint::UNSPECIFIED);
        let mut heard = 0;
        let reason = loop {
            let line: &[u8] = if heard == 0 { b"HTTP/1.1 200 OK\r\n" } else { b"X-Bomb: boom\r\n" };
            heard += line.len();
            assert!(heard < 2 * LONGEST_HEAD, "still listening");
            if let Step::Done(outcome) = http.hear(line) {
                break outcome;
            }
        };
        assert_eq!(reason, Outcome::Failed(Reason::new(Stage::Answer, "more than 16384 bytes of headers")));
        for head in ["", "Content-Length: 99999999999\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut http = Http::new(&wants("nowhere"), Endpoint::UNSPECIFIED);
            let chunk = if head.starts_with('T') { "ffffffffff\r\n" } else { "" };
            assert_eq!(http.hear(format!("HTTP/1.1 200 OK\r\n{head}\r\n{chunk}").as_bytes()), Step::More);
            let mut parts = 0;
            while http.hear(&[b'x'; 16 * 1024]) == Step::More {
                parts += 1;
                assert!(parts < 5 && http.tail.len() < 8, "{head}");
            }
        }
    }

    #[test]
    fn no_answer_at_all_breaks_it() {
        let mut rng = Rng::seeded(8);
        let pieces: [&[u8]; 9] = [
            b"HTTP/1.1 ",
            b"200",
            b"\r\n",
            b"\r\n\r\n",
            b"5\r\n",
            b"\n",
            b"Content-Length: 4\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\xff\x00",
        ];
        for _ in 0..20_000 {
            let answer: Vec<u8> =
                (0..rng.below(8)).flat_map(|_| pieces[rng.below(9) as usize].iter().copied()).collect();
            ask(&wants("4"), answer);
        }
    }
}
