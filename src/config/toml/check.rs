//! `check = { kind = "http", ... }`, of services and servers.
//!
//! A key that a check's kind does not have is an error, never passed over.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::place::Problems;
use super::kind::Kind;
use super::reader::Section;
use super::{ip_address, word};
use crate::health::{self, Check, Dns, Exec, Http, HttpMethod, Timing, Tls, Udp};

const COMMON: [&str; 10] =
    ["kind", "interval", "fast_interval", "down_interval", "timeout", "rise", "fall", "address", "port", "bind"];
/// Each kind with the keys that it has besides.
const KINDS: [(&str, &[&str]); 11] = [
    ("tcp", &[]),
    ("http", &["path", "host", "method", "status", "contains"]),
    ("https", &["path", "host", "method", "status", "contains", "verify", "sni"]),
    ("dns", &["name", "type", "nxdomain", "empty", "expect"]),
    ("udp", &["payload", "payload_hex", "silence", "contains"]),
    ("smtp", &["helo"]),
    ("agent", &[]),
    ("exec", &["command", "dynamic", "user"]),
    ("icmp", &[]),
    ("neigh", &[]),
    ("path", &[]),
];
/// Keys of all kinds that mean nothing to some.
const MEANINGLESS: [(&str, &[&str]); 3] =
    [("icmp", &["port", "bind"]), ("neigh", &["port", "bind"]), ("path", &["address", "bind"])];
pub(super) const CHECK: Kind = Kind {
    name: "check",
    keys: &[
        "kind",
        "interval",
        "fast_interval",
        "down_interval",
        "timeout",
        "rise",
        "fall",
        "address",
        "port",
        "bind",
        "path",
        "host",
        "method",
        "status",
        "contains",
        "verify",
        "sni",
        "name",
        "type",
        "nxdomain",
        "empty",
        "expect",
        "payload",
        "payload_hex",
        "silence",
        "helo",
        "command",
        "dynamic",
        "user",
    ],
};
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
/// Types of records by name (RFC 1035 3.2.2, RFC 3596, RFC 4034).
const TYPES: [(&str, u16); 9] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("RRSIG", 46),
    ("DNSKEY", 48),
];

/// The checks of a service or a server: one, or a list of them.
pub(super) fn checks(section: &mut Section) -> Vec<Check> {
    section.one_or_more("check", &CHECK).iter_mut().filter_map(check).collect()
}

/// A check in one word, as a flag gives it: `http:/healthz,status=200-299,interval=5s`.
pub fn check_of_word(text: &str) -> Result<Check, Problems> {
    let mut words = text.split(',');
    let first = words.next().unwrap_or_default();
    let (kind, argument) = first.split_once(':').map_or((first, None), |(kind, rest)| (kind, Some(rest)));
    let key = match kind {
        "http" | "https" => "path",
        "dns" => "name",
        "udp" => "payload",
        "smtp" => "helo",
        "exec" => "command",
        _ => "port",
    };
    let named = [("kind", kind)].into_iter().chain(argument.map(|argument| (key, argument))).collect();
    word::read(&format!("--check {text}"), (&CHECK, named), &words.collect::<Vec<_>>(), check)
}

fn check(section: &mut Section) -> Option<Check> {
    let kinds = KINDS.map(|(name, _)| name).join(", ");
    section.require("kind", &format!("use one of {kinds}"));
    let kind = section.parsed("kind", |word| {
        let known = KINDS.iter().find(|(name, _)| *name == word);
        known.copied().ok_or_else(|| format!("use one of {kinds}"))
    })?;
    let (name, own) = kind.value;
    for key in CHECK.keys.iter().filter(|key| section.has(key) && !COMMON.contains(key) && !own.contains(key)) {
        let keys = if own.is_empty() { "no keys of its own".into() } else { own.join(", ") };
        section.report(&kind.place, format!("'{key}' is not for this kind, which has {keys}"));
    }
    for key in MEANINGLESS.iter().filter(|(of, _)| *of == name).flat_map(|(_, keys)| *keys) {
        if section.has(key) {
            section.report(&kind.place, format!("'{key}' is not for this kind, whose packets are the director's own"));
        }
    }
    let timing = timing(section);
    let address = section.parsed("address", ip_address).map(|addr| addr.value);
    let bind = section.parsed("bind", ip_address).map(|addr| addr.value);
    let port = section.number("port", 1..=65_535).map(|port| port.value);
    let kind = match name {
        "tcp" => health::Kind::Tcp,
        "agent" => health::Kind::Agent,
        "http" => health::Kind::Http(http(section, None)?),
        "https" => {
            if !has_tls() {
                section.report(
                    &kind.place,
                    "kind \"https\": this tapvs was built without TLS; use one built with the feature 'tls', or kind \"tcp\"",
                );
            }
            let verify = section.text("verify").map(|path| PathBuf::from(path.value));
            let sni = section.text("sni").map(|name| name.value);
            health::Kind::Http(http(section, Some(Tls { verify, sni }))?)
        }
        "dns" => health::Kind::Dns(dns(section)?),
        "udp" => health::Kind::Udp(udp(section)),
        "smtp" => health::Kind::Smtp(section.parsed("helo", one_line).map_or("localhost".into(), |name| name.value)),
        "icmp" => health::Kind::Icmp,
        "neigh" => health::Kind::Neigh,
        "path" => health::Kind::Path,
        _ => health::Kind::Exec(exec(section)?),
    };
    Some(Check { kind, timing, address, port, bind })
}

fn timing(section: &mut Section) -> Timing {
    let usual = Timing::default();
    let mut time = |key, range| section.duration(key, range).map(|time| time.value);
    let interval = time("interval", INTERVAL).unwrap_or(usual.interval);
    let fast = time("fast_interval", INTERVAL).unwrap_or(usual.fast.min(interval));
    let down = time("down_interval", INTERVAL).unwrap_or(usual.down.max(interval));
    let timeout = time("timeout", TIMEOUT).unwrap_or(usual.timeout.min(interval));
    let rise = section.number("rise", 1..=1000).map_or(usual.rise, |count| count.value);
    let fall = section.number("fall", 1..=1000).map_or(usual.fall, |count| count.value);
    Timing { interval, fast, down, timeout, rise, fall }
}

fn http(section: &mut Section, tls: Option<Tls>) -> Option<Http> {
    let usual = Http::default();
    let path = section.parsed("path", |path| {
        let good = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| path.to_owned())
            .ok_or_else(|| "a path begins with '/' and has no blanks; write them as %20".into())
    });
    let host = section.parsed("host", |host| {
        let good = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| host.to_owned()).ok_or_else(|| "not a name of a host, like shop.example".to_owned())
    });
    let method = section.parsed("method", |word| match word {
        "GET" => Ok(HttpMethod::Get),
        "HEAD" => Ok(HttpMethod::Head),
        _ => Err("use GET or HEAD".into()),
    });
    let status = section.text_or_number("status");
    let read = status.as_ref().map(|text| statuses(&text.value));
    if let (Some(text), Some(None)) = (&status, &read) {
        section.report(&text.place, "not codes of HTTP, like \"200-299\" or \"200,301-308\"");
    }
    let method = method.map_or(usual.method, |method| method.value);
    let contains = section.text("contains").filter(|text| !text.value.is_empty());
    if let Some(text) = contains.as_ref().filter(|_| method == HttpMethod::Head) {
        section.report(&text.place, "the answer to HEAD has no body; use GET");
    }
    if let Some(text) = contains.as_ref().filter(|text| text.value.len() > 4096) {
        section.report(&text.place, "longer than 4096 bytes");
    }
    Some(Http {
        tls,
        method,
        path: path.map_or(usual.path, |path| path.value),
        host: host.map(|host| host.value),
        status: read.flatten().unwrap_or(usual.status),
        contains: contains.map(|text| text.value),
    })
}

/// True if this program can speak TLS; a test may say otherwise.
fn has_tls() -> bool {
    #[cfg(test)]
    if super::tests::WITHOUT_TLS.get() {
        return false;
    }
    cfg!(feature = "tls")
}

/// `200`, `200-299`, `200,301-308`.
fn statuses(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let code = |text: &str| text.trim().parse().ok().filter(|code| (200..=599).contains(code));
    text.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (code(first)?, code(last)?);
            (first <= last).then_some(first..=last)
        })
        .collect()
}

fn dns(section: &mut Section) -> Option<Dns> {
    let name = section.parsed("name", |name| {
        let labels = name.trim_end_matches('.').split('.');
        let good =
            name == "." || (name.len() <= 253 && labels.into_iter().all(|label| (1..=63).contains(&label.len())));
        good.then(|| name.to_owned())
            .ok_or_else(|| "not a domain name: labels of 1 to 63 bytes between dots".to_owned())
    });
    let expect = section.parsed("expect", ip_address).map(|addr| addr.value);
    let qtype = section.parsed("type", |word| {
        let known = TYPES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        known.ok_or_else(|| format!("use one of {}", TYPES.map(|(name, _)| name).join(", ")))
    });
    let usual = match expect {
        Some(IpAddr::V4(_)) => 1,
        Some(IpAddr::V6(_)) => 28,
        None => 6,
    };
    Some(Dns {
        name: name.map_or(".".into(), |name| name.value),
        qtype: qtype.map_or(usual, |number| number.value),
        nxdomain: section.truth("nxdomain").is_some_and(|said| said.value),
        empty: section.truth("empty").is_some_and(|said| said.value),
        expect,
    })
}

fn udp(section: &mut Section) -> Udp {
    let hex = section.parsed("payload_hex", |text| {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes = digits.chunks(2).map(|two| pair(two).filter(|_| two.len() == 2)).collect::<Option<Vec<u8>>>();
        bytes.ok_or_else(|| "not bytes in hex, like \"00 ff\"".into())
    });
    let text = section.text("payload");
    if let (Some(hex), Some(_)) = (&hex, &text) {
        section.report(&hex.place, "a second payload; name one");
    }
    let payload = hex.or_else(|| text.map(|text| text.map(String::into_bytes)));
    if let Some(payload) = payload.as_ref().filter(|payload| payload.value.len() > 1400) {
        section.report(&payload.place, "more than 1400 bytes, which one datagram may not carry");
    }
    Udp {
        payload: payload.map_or(Vec::new(), |payload| payload.value),
        silence: section.truth("silence").is_some_and(|said| said.value),
        contains: section.text("contains").map(|text| text.value.into_bytes()),
    }
}

fn exec(section: &mut Section) -> Option<Exec> {
    let command = command(section, "command");
    if command.is_empty() {
        section.report(
            &section.place.clone(),
            "no command; give a program's path and arguments, like [\"/usr/local/bin/check\", \"-q\"]",
        );
        return None;
    }
    let dynamic = section.truth("dynamic").is_some_and(|said| said.value);
    Some(Exec { command, dynamic, user: section.text("user").map(|name| name.value) })
}

/// A program's path with its arguments.
pub(super) fn command(section: &mut Section, key: &str) -> Vec<String> {
    let words = section.list(key, |word| Ok(word.to_owned()));
    if let Some(first) = words.first().filter(|first| !first.value.starts_with('/')) {
        section.report(&first.place, "not a full path; no shell looks for it");
    }
    words.into_iter().map(|word| word.value).collect()
}

fn one_line(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| text.to_owned()).ok_or_else(|| "not a name, like lb.example".into())
}
