//! One DNS query by UDP and its answer (RFC 1035 4.1).
//!
//! An answer to another question, or with another id, is not the server's answer: it is passed over and the right one
//! awaited. Names in the answer are skipped, never followed.

use std::net::IpAddr;

use super::super::check::Dns as Query;
use super::super::outcome::Outcome;
use super::{Step, wrong};

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;
/// Names of RFC 1035 4.1.1 and RFC 2136 2.2.
const RCODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/// A query, and what is wanted of its answer.
#[derive(Debug)]
pub struct Dns {
    query: Query,
    bytes: Vec<u8>,
}

impl Dns {
    pub(super) fn new(query: &Query, id: u16) -> Dns {
        let mut bytes = Vec::with_capacity(HEADER + query.name.len() + 6);
        bytes.extend(id.to_be_bytes());
        // Recursion desired, one question.
        bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in query.name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len().min(63) as u8);
            bytes.extend(label.bytes().take(63));
        }
        bytes.push(0);
        bytes.extend(query.qtype.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        Dns { query: query.clone(), bytes }
    }

    pub(super) fn query(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// One datagram.
    pub(super) fn hear(&mut self, answer: &[u8]) -> Step {
        let Some((header, rest)) = answer.split_at_checked(HEADER) else { return Step::More };
        let question = &self.bytes[HEADER..];
        let ours = header[..2] == self.bytes[..2]
            // An answer to a query (QR set, opcode 0), with the one question that was asked.
            && header[2] & 0xf8 == 0x80
            && header[4..6] == [0, 1]
            && rest.len() >= question.len()
            && rest[..question.len()].eq_ignore_ascii_case(question);
        if !ours {
            return Step::More;
        }
        let rcode = header[3] & 0x0f;
        if rcode != 0 && !(rcode == NXDOMAIN && self.query.nxdomain) {
            return wrong(RCODES.get(usize::from(rcode)).map_or(format!("rcode {rcode}"), |name| (*name).into()));
        }
        let truncated = header[2] & 0x02 != 0;
        let count = u16::from_be_bytes([header[6], header[7]]);
        match self.query.expect {
            Some(addr) if !records(&rest[question.len()..], count).any(|record| record == Some(addr)) => {
                wrong(format!("{addr} is not among the answers"))
            }
            None if count == 0 && rcode == 0 && !truncated && !self.query.empty => wrong("no answer to the question"),
            Some(_) | None => Step::Done(Outcome::Passed),
        }
    }
}

/// The addresses of `count` records, `None` for one of another kind; ends where the bytes do.
fn records(bytes: &[u8], count: u16) -> impl Iterator<Item = Option<IpAddr>> {
    let mut rest = bytes;
    (0..count).map_while(move |_| {
        let record = &rest[name_length(rest)?..];
        // Type, class, time to live, length.
        let (fixed, data) = record.split_at_checked(10)?;
        let kind = u16::from_be_bytes([fixed[0], fixed[1]]);
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let (data, next) = data.split_at_checked(length)?;
        rest = next;
        Some(match kind {
            TYPE_A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            TYPE_AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            _ => None,
        })
    })
}

/// How long a name is: it ends at an empty label or at a pointer.
fn name_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return bytes.get(at + 1).map(|_| at + 2),
            length if length < 0x40 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::outcome::{Reason, Stage};
    use super::*;
    use crate::base::Rng;

    fn query() -> Query {
        Query { name: "shop.example".into(), qtype: TYPE_A, nxdomain: false, empty: false, expect: None }
    }

    /// An answer with one A record, 192.0.2.7, whose name is a pointer to the question.
    fn answer(dns: &Dns, rcode: u8) -> Vec<u8> {
        let mut answer = dns.bytes.clone();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80 | rcode, 1);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        answer
    }

    fn failed(what: &str) -> Step {
        Step::Done(Outcome::Failed(Reason::new(Stage::Answer, what)))
    }

    #[test]
    fn a_query_is_that_of_the_standard() {
        let dns = Dns::new(&query(), 0x1234);
        assert_eq!(dns.query(), b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04shop\x07example\0\0\x01\0\x01");
        let root = Dns::new(&Query { name: ".".into(), qtype: 6, ..query() }, 1);
        assert_eq!(root.query()[HEADER..], *b"\0\0\x06\0\x01");
    }

    #[test]
    fn codes_and_records_decide() {
        let mut dns = Dns::new(&query(), 7);
        let good = answer(&dns, 0);
        assert_eq!(dns.hear(&good), Step::Done(Outcome::Passed));
        assert_eq!(dns.hear(&answer(&dns, 2)), failed("SERVFAIL"));
        assert_eq!(dns.hear(&answer(&dns, 3)), failed("NXDOMAIN"));
        assert_eq!(dns.hear(&answer(&dns, 5)), failed("REFUSED"));
        assert_eq!(dns.hear(&answer(&dns, 9)), failed("rcode 9"));
        let mut empty = good[..dns.bytes.len()].to_vec();
        empty[7] = 0;
        assert_eq!(dns.hear(&empty), failed("no answer to the question"));
        empty[2] |= 2;
        assert_eq!(dns.hear(&empty), Step::Done(Outcome::Passed), "truncated: it would have said more");
        let mut lenient = Dns::new(&Query { nxdomain: true, empty: true, ..query() }, 7);
        assert_eq!(lenient.hear(&answer(&dns, 3)), Step::Done(Outcome::Passed));
        empty[2] &= !2;
        assert_eq!(lenient.hear(&empty), Step::Done(Outcome::Passed));
    }

    #[test]
    fn an_address_can_be_demanded() {
        let expects = |addr: &str| Dns::new(&Query { expect: addr.parse().ok(), ..query() }, 7);
        let mut dns = expects("192.0.2.7");
        let good = answer(&dns, 0);
        assert_eq!(dns.hear(&good), Step::Done(Outcome::Passed));
        assert_eq!(expects("192.0.2.8").hear(&good), failed("192.0.2.8 is not among the answers"));
        let cut = &good[..good.len() - 1];
        assert_eq!(dns.hear(cut), failed("192.0.2.7 is not among the answers"));
        // A CNAME before it.
        let mut two = dns.bytes.clone();
        (two[2], two[3], two[7]) = (0x81, 0x80, 2);
        two.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12]);
        two.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        assert_eq!(dns.hear(&two), Step::Done(Outcome::Passed));
    }

    #[test]
    fn what_is_no_answer_to_the_query_is_passed_over() {
        let mut dns = Dns::new(&query(), 7);
        let good = answer(&dns, 0);
        for (place, value) in [(0, 0x55), (2, 0x01), (2, 0x89), (5, 2), (HEADER + 1, b'x')] {
            let mut other = good.clone();
            other[place] = value;
            assert_eq!(dns.hear(&other), Step::More, "byte {place}");
        }
        let mut upper = good;
        upper[HEADER + 1..HEADER + 5].make_ascii_uppercase();
        assert_eq!(dns.hear(&upper), Step::Done(Outcome::Passed));
        let mut rng = Rng::seeded(4);
        let mut expects = Dns::new(&Query { expect: "::1".parse().ok(), ..query() }, 7);
        for _ in 0..20_000 {
            let mut noise = answer(&dns, 0);
            for _ in 0..rng.below(6) {
                let at = rng.below(noise.len() as u64) as usize;
                noise[at] = rng.next_u64() as u8;
            }
            noise.truncate(rng.below(noise.len() as u64 + 1) as usize);
            dns.hear(&noise);
            expects.hear(&noise);
        }
    }
}
