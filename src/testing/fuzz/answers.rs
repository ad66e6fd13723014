//! What servers say to health checks: answers of HTTP, DNS, SMTP and agents, from hands that nobody knows.
//!
//! The promises: no panic, an end or a wish for more after every byte, and the same outcome however the bytes come.

use std::net::IpAddr;

use crate::base::Endpoint;
use crate::health::{Check, Dialogue, Dns, Http, Kind, Outcome, Step, Timing};

/// An answer of HTTP, in whose body a text is wanted.
pub fn http(input: &[u8]) -> Result<String, String> {
    let wanted = Http { contains: Some("well".into()), ..Http::default() };
    alike(&Kind::Http(wanted), input)
}

/// A line of an agent.
pub fn agent(input: &[u8]) -> Result<String, String> {
    alike(&Kind::Agent, input)
}

/// A mail server's lines, each said in its turn.
pub fn smtp(input: &[u8]) -> Result<String, String> {
    let mut dialogue = dialogue(&Kind::Smtp("lb.example".into()))?;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if let Step::Done(outcome) = dialogue.hear(line) {
            return Ok(place(&outcome));
        }
    }
    Ok(place(&dialogue.close()))
}

/// A datagram of a name server.
pub fn dns(input: &[u8]) -> Result<String, String> {
    let expect = Some(IpAddr::from([192, 0, 2, 7]));
    let query = Dns { name: "shop.example".into(), qtype: 1, nxdomain: false, empty: false, expect };
    Ok(match dialogue(&Kind::Dns(query))?.hear(input) {
        Step::Done(outcome) => place(&outcome),
        step => format!("{step:?} {:?}", input.get(2..4)),
    })
}

pub fn http_seeds() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nall is well",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8;x=y\r\nall is w\r\n3\r\nell\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 204 No\r\nServer: x\r\n\r\n",
        "HTTP/1.1 503 Busy\r\n\r\n",
        "HTTP/1.1 404 No\r\n\r\n",
        "HTTP/1.1 302 There\r\nLocation: /\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn agent_seeds() -> Vec<Vec<u8>> {
    ["75% ready up\n", "weight:30 drain\n", "down#disk full, at last\r\n", "maint fail\n", "maxconn:30,stopped\n"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

pub fn smtp_seeds() -> Vec<Vec<u8>> {
    [
        "220-a\r\n220 mail\r\n250-SIZE 1\r\n250 HELP\r\n",
        "220\r\n250\r\n",
        "554 no\r\n",
        "220 x\n502 what\n",
        "421 later\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn dns_seeds() -> Vec<Vec<u8>> {
    let question = b"\x04shop\x07example\0\0\x01\0\x01";
    let answer = |flags: [u8; 2], count: u8, records: &[u8]| {
        [&[0, 7, flags[0], flags[1], 0, 1, 0, count, 0, 0, 0, 0], &question[..], records].concat()
    };
    let a = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07";
    let cname = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c";
    let mut seeds: Vec<Vec<u8>> = (0..11).map(|rcode| answer([0x81, 0x80 | rcode], 0, &[])).collect();
    seeds.push(answer([0x81, 0x80], 1, a));
    seeds.push(answer([0x81, 0x80], 2, &[&cname[..], a].concat()));
    seeds
}

/// The place of the outcome, if it does not depend on how the bytes come.
fn alike(kind: &Kind, input: &[u8]) -> Result<String, String> {
    let outcomes = [input.len().max(1), 1, 7].map(|part| {
        let mut dialogue = dialogue(kind)?;
        dialogue.begin();
        for bytes in input.chunks(part) {
            if let Step::Done(outcome) = dialogue.hear(bytes) {
                return Ok(outcome);
            }
        }
        Ok::<Outcome, String>(dialogue.close())
    });
    let [whole, single, parts] = outcomes;
    let (whole, single, parts) = (whole?, single?, parts?);
    if whole != single || whole != parts {
        return Err(format!("whole: {whole:?}; by bytes: {single:?}; in parts: {parts:?}"));
    }
    Ok(place(&whole))
}

fn dialogue(kind: &Kind) -> Result<Dialogue, String> {
    let check = Check { kind: kind.clone(), timing: Timing::default(), address: None, port: None, bind: None };
    Dialogue::new(&check, Endpoint::UNSPECIFIED, 7).ok_or("no dialogue".into())
}

fn place(outcome: &Outcome) -> String {
    format!("{outcome:?}")
}
