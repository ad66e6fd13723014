//! The places in a SIP message (RFC 3261) that say where to send what comes next, as the other side has to read them.
//!
//! ```text
//! renamed   Via, Contact, Record-Route, Route, Path, Service-Route; the request line
//! left      From, To and all else that says who somebody is; what is signed
//! ```
//! Text only: never keeps any, and knows no conn.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::session::{Media, number, session};
use crate::base::Endpoint;

/// The port of a SIP address that names none.
const SIP_PORT: u16 = 5060;

/// An endpoint that has another name on the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alias {
    /// As the sender writes it; port 0 is any.
    pub from: Endpoint,
    /// As the other side has to.
    pub to: Endpoint,
}

/// What is renamed in a message.
pub struct Names<'a> {
    /// In headers.
    pub all: &'a [Alias],
    /// In the line of a request outside a dialog: there it may be whom the request is for, not where it goes.
    pub outside: &'a [Alias],
}

/// What a line of the head is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Way,
    Length,
    Type,
    Other,
}

impl Header {
    fn of(line: &[u8]) -> Header {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        let is_one_of = |names: &[&str]| names.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()));
        match () {
            () if is_one_of(&["via", "v", "contact", "m", "record-route", "route", "path", "service-route"]) => {
                Header::Way
            }
            () if is_one_of(&["content-length", "l"]) => Header::Length,
            () if is_one_of(&["content-type", "c"]) => Header::Type,
            () => Header::Other,
        }
    }
}

/// The message as the other side has to read it; `None` if it is not SIP, or reads the same there.
pub fn renamed(message: &[u8], names: &Names, media: &mut dyn Media) -> Option<Vec<u8>> {
    let head = &message[..head_len(message)];
    let mut out = Vec::with_capacity(message.len() + 128);
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next()?;
    if first.trim_ascii_end().ends_with(b" SIP/2.0") {
        rename(first, if is_in_dialog(head) { names.all } else { names.outside }, &mut out);
    } else if first.starts_with(b"SIP/2.0 ") {
        out.extend_from_slice(first);
    } else {
        return None;
    }
    let (mut header, mut length_at, mut has_session) = (Header::Other, None, false);
    for line in lines {
        // A line that begins with a blank goes on with the header before.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            header = Header::of(line);
        }
        match header {
            Header::Way => {
                rename(line, names.all, &mut out);
                continue;
            }
            Header::Length => length_at = Some(out.len()..out.len() + line.len()),
            Header::Type => has_session |= [&b"sdp"[..], b"multipart"].iter().any(|kind| find(line, kind).is_some()),
            Header::Other => {}
        }
        out.extend_from_slice(line);
    }
    let (body, body_at) = (&message[head.len()..], out.len());
    if has_session {
        session(body, media, &mut out)
    } else {
        out.extend_from_slice(body)
    }
    let longer = (out.len() - body_at) as i64 - body.len() as i64;
    if longer != 0
        && let Some(range) = length_at
    {
        correct_length(&mut out, range, longer);
    }
    (out != message).then_some(out)
}

/// For how many seconds a registration is confirmed by this message, if it is one that does (RFC 3261 10.3).
pub fn confirmed(message: &[u8]) -> Option<u32> {
    let head = &message[..head_len(message)];
    let mut lines = head.split(|byte| *byte == b'\n');
    let is_success = lines.next()?.starts_with(b"SIP/2.0 2");
    let (mut is_registration, mut seconds) = (false, 0);
    for line in lines {
        is_registration |= starts_with(line, b"cseq") && line.trim_ascii_end().ends_with(b"REGISTER");
        for word in [&b"expires:"[..], b";expires="] {
            let value = find(line, word).map(|at| line[at + word.len()..].trim_ascii_start());
            let said = value.and_then(|value| number(value).0);
            seconds = seconds.max(said.unwrap_or(0));
        }
    }
    (is_success && is_registration).then_some(seconds)
}

/// The length of the head, with the empty line behind it.
fn head_len(message: &[u8]) -> usize {
    let mut len = 0;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        len += line.len();
        if line.trim_ascii().is_empty() {
            break;
        }
    }
    len
}

/// The length of a message's head, if all of it is there, and that of its body, if it is said there.
pub(super) fn body_of(message: &[u8]) -> Option<(usize, Option<usize>)> {
    let head = &message[..head_len(message)];
    let lines = || head.split_inclusive(|byte| *byte == b'\n');
    let is_whole = lines().next_back().is_some_and(|line| line.ends_with(b"\n") && line.trim_ascii().is_empty());
    let value = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        number(line[at + 1..].trim_ascii_start()).0
    };
    let said = lines().filter(|line| Header::of(line) == Header::Length).find_map(value);
    is_whole.then_some((head.len(), said))
}

/// True for a request of a dialog: whom it is for has a tag.
fn is_in_dialog(head: &[u8]) -> bool {
    let is_to = |line: &&[u8]| [&b"to:"[..], b"t:", b"to ", b"t "].iter().any(|name| starts_with(line, name));
    head.split(|byte| *byte == b'\n').filter(is_to).any(|line| find(line, b";tag=").is_some())
}

fn correct_length(out: &mut Vec<u8>, range: Range<usize>, longer: i64) {
    let line = &out[range.clone()];
    let Some(said) = line.iter().position(u8::is_ascii_digit) else { return };
    let (Some(length), digits) = number::<u32>(&line[said..]) else { return };
    let at = range.start + said;
    out.splice(at..at + digits, (i64::from(length) + longer).to_string().into_bytes());
}

/// Copies a line with the hosts in it renamed, and the ports that servers have written behind `rport` (RFC 3581).
fn rename(line: &[u8], names: &[Alias], out: &mut Vec<u8>) {
    let (mut copied, mut at) = (0, 0);
    while at < line.len() {
        let begins = at == 0 || !(is_of_name(line[at - 1]));
        let found = if begins { host(&line[at..]) } else { None };
        if let Some(Host { addr, port, len }) = found {
            let is_bare = line[..at].ends_with(b"received=");
            let is_named = |name: &&Alias| name.from.addr == addr && port.is_none_or(|port| is_port_of(name, port));
            if let Some(name) = names.iter().find(is_named) {
                out.extend_from_slice(&line[copied..at]);
                write_host(name.to, port.is_some(), is_bare, out);
                copied = at + len;
            }
            at += len;
            continue;
        }
        if begins && starts_with(&line[at..], b"rport=") {
            let from = at + b"rport=".len();
            let (said, len) = number(&line[from..]);
            let said: u32 = said.unwrap_or(0);
            if let Some(name) = names.iter().find(|name| said != 0 && u32::from(name.from.port) == said) {
                out.extend_from_slice(&line[copied..from]);
                out.extend_from_slice(name.to.port.to_string().as_bytes());
                copied = from + len;
            }
        }
        at += 1;
    }
    out.extend_from_slice(&line[copied..]);
}

fn is_port_of(name: &Alias, port: u16) -> bool {
    name.from.port == 0 || name.from.port == port
}

/// Writes a host; without a port where the usual one is meant, and of a parameter the address alone.
fn write_host(to: Endpoint, had_port: bool, is_bare: bool, out: &mut Vec<u8>) {
    let text = match to.addr {
        _ if is_bare => to.addr.to_string(),
        IpAddr::V6(addr) => format!("[{addr}]"),
        IpAddr::V4(addr) => addr.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
    if !is_bare && (had_port || to.port != SIP_PORT) {
        out.extend_from_slice(format!(":{}", to.port).as_bytes());
    }
}

/// An address at the beginning of a text, with its port.
struct Host {
    addr: IpAddr,
    port: Option<u16>,
    len: usize,
}

fn host(text: &[u8]) -> Option<Host> {
    let (addr, mut len) = address(text)?;
    let mut port = None;
    if text.get(len) == Some(&b':') {
        let (said, digits) = number(&text[len + 1..]);
        port = said;
        len += if digits > 0 { 1 + digits } else { 0 };
    }
    // Part of a longer name, or of a user's.
    let is_more = text.get(len).is_some_and(|byte| is_of_name(*byte) || *byte == b'@');
    (!is_more).then_some(Host { addr, port, len })
}

/// An address at the beginning of a text, and how long it is there.
fn address(text: &[u8]) -> Option<(IpAddr, usize)> {
    /// The longest form of an IPv6 address.
    const LONGEST: usize = 45;
    let is_in = |set: &'static [u8]| move |byte: &u8| byte.is_ascii_hexdigit() || set.contains(byte);
    let word = |from: usize, set| {
        let len = text[from..].iter().take(LONGEST + 1).take_while(|byte| is_in(set)(byte)).count();
        std::str::from_utf8(&text[from..from + len]).ok()
    };
    if text.first() == Some(&b'[') {
        let inside = word(1, b":.")?;
        let end = 1 + inside.len();
        let addr: Ipv6Addr = inside.parse().ok().filter(|_| text.get(end) == Some(&b']'))?;
        return Some((addr.into(), end + 1));
    }
    // A parameter has an IPv6 address without brackets.
    let all = word(0, b":.")?;
    if let Ok(addr) = all.parse::<Ipv6Addr>() {
        return Some((addr.into(), all.len()));
    }
    let first = word(0, b".")?;
    Some((first.parse::<Ipv4Addr>().ok()?.into(), first.len()))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

/// True if a text begins with a word, however it is capitalised.
fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Where a word stands in a text, however it is capitalised.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint;

    /// Media that are found at another host, 1000 ports further on, or where they are if the host is unknown.
    struct Elsewhere(&'static str, Vec<String>);

    impl Media for Elsewhere {
        fn found(&mut self, at: Endpoint) -> Option<Endpoint> {
            self.1.push(at.to_string());
            let port = if at.port == 0 { 0 } else { at.port + 1000 };
            (!at.addr.to_string().ends_with(".99")).then(|| Endpoint::new(self.0.parse().unwrap(), port))
        }
    }

    fn alias(from: &str, to: &str) -> Alias {
        Alias { from: endpoint(from), to: endpoint(to) }
    }

    /// The message with `\n` for the end of a line, as the other side gets it.
    fn read(message: &str, names: &[Alias], host: &'static str) -> Option<String> {
        let outside = &names[..names.len() - 1];
        let media = &mut Elsewhere(host, Vec::new());
        let text = renamed(message.replace('\n', "\r\n").as_bytes(), &Names { all: names, outside }, media)?;
        Some(String::from_utf8(text).unwrap().replace("\r\n", "\n"))
    }

    fn up() -> [Alias; 2] {
        [alias("192.0.2.7:0", "10.0.0.30:5003"), alias("198.51.100.1:5060", "10.0.0.21:5070")]
    }

    #[test]
    fn who_sends_where_is_renamed_and_who_somebody_is_is_not() {
        let said = "REGISTER sip:198.51.100.1 SIP/2.0\n\
            Via: SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z9hG4bK-192.0.2.7\n\
            v: SIP/2.0/UDP [2001:db8::7], SIP/2.0/UDP 192.0.2.7;ttl=1\n\
            From: <sip:a@192.0.2.7>;tag=1\nTo: <sip:a@198.51.100.1>\n\
            Contact: <sip:a@192.0.2.7:5060>, <sip:192.0.2.7@example.org>\n ;q=1, <sip:a@192.0.2.70>\n\
            Route: <sip:198.51.100.1;lr>, <sip:198.51.100.1:5061;lr>\n\
            Call-ID: 1@192.0.2.7\n\n192.0.2.7";
        let told = "REGISTER sip:198.51.100.1 SIP/2.0\n\
            Via: SIP/2.0/UDP 10.0.0.30:5003;rport;branch=z9hG4bK-192.0.2.7\n\
            v: SIP/2.0/UDP [2001:db8::7], SIP/2.0/UDP 10.0.0.30:5003;ttl=1\n\
            From: <sip:a@192.0.2.7>;tag=1\nTo: <sip:a@198.51.100.1>\n\
            Contact: <sip:a@10.0.0.30:5003>, <sip:192.0.2.7@example.org>\n ;q=1, <sip:a@192.0.2.70>\n\
            Route: <sip:10.0.0.21:5070;lr>, <sip:198.51.100.1:5061;lr>\n\
            Call-ID: 1@192.0.2.7\n\n192.0.2.7";
        assert_eq!(read(said, &up(), "10.0.0.30").as_deref(), Some(told));
        // In a dialog the line says where the request goes.
        let said = "BYE sip:198.51.100.1:5060 SIP/2.0\nTo: <sip:b@example.org>;tag=2\n\n";
        let told = "BYE sip:10.0.0.21:5070 SIP/2.0\nTo: <sip:b@example.org>;tag=2\n\n";
        assert_eq!(read(said, &up(), "10.0.0.30").as_deref(), Some(told));
    }

    #[test]
    fn what_a_server_repeats_is_what_its_client_has_said() {
        let down = [alias("[2001:db8::30]:5003", "192.0.2.7:4060"), alias("[2001:db8::21]:5060", "198.51.100.1:5060")];
        let said = "SIP/2.0 200 OK\n\
            Via: SIP/2.0/UDP [2001:db8::30]:5003;rport=5003;received=2001:db8::30;branch=z9hG4bK-1\n\
            Via: SIP/2.0/UDP [2001:db8::30]:5004;received=[2001:db8::31]\n\
            Record-Route: <sip:[2001:DB8:0::21];lr>\nContact: <sip:b@[2001:db8::21]:5060>\nContact: <sip:[2001:db8::21]:5080>\n\n";
        let told = "SIP/2.0 200 OK\n\
            Via: SIP/2.0/UDP 192.0.2.7:4060;rport=4060;received=192.0.2.7;branch=z9hG4bK-1\n\
            Via: SIP/2.0/UDP [2001:db8::30]:5004;received=[2001:db8::31]\n\
            Record-Route: <sip:198.51.100.1;lr>\nContact: <sip:b@198.51.100.1:5060>\nContact: <sip:[2001:db8::21]:5080>\n\n";
        assert_eq!(read(said, &down, "198.51.100.1").as_deref(), Some(told));
    }

    #[test]
    fn a_session_is_read_with_its_length() {
        let said = "INVITE sip:b@example.org SIP/2.0\nl: 288\nc: application/sdp\n\n\
            v=0\no=- 1 1 IN IP4 192.0.2.7\ns=-\nc=IN IP4 192.0.2.8/127\nt=0 0\n\
            m=audio 4000 RTP/AVP 0\na=rtcp:4001\na=rtcp:4003 IN IP4 192.0.2.9\n\
            m=video 0 RTP/AVP 31\nm=text 4100 TCP/MSRP *\nm=audio 4200/2 RTP/AVP 0\nc=IN IP4 192.0.2.99\n\
            m=image 4300 udptl t38\nc=IN IP4 192.0.2.10\n";
        let told = "INVITE sip:b@example.org SIP/2.0\nl: 300\nc: application/sdp\n\n\
            v=0\no=- 1 1 IN IP6 2001:db8::1\ns=-\nc=IN IP6 2001:db8::1/127\nt=0 0\n\
            m=audio 5000 RTP/AVP 0\na=rtcp:5001\na=rtcp:5003 IN IP6 2001:db8::1\n\
            m=video 0 RTP/AVP 31\nm=text 4100 TCP/MSRP *\nm=audio 4200/2 RTP/AVP 0\nc=IN IP4 192.0.2.99\n\
            m=image 5300 udptl t38\nc=IN IP6 2001:db8::1\n";
        let longer = told.len() - said.len();
        let told = told.replace("l: 300", &format!("l: {}", 288 + longer));
        assert_eq!(read(said, &up(), "2001:db8::1"), Some(told));
        // A body of another type is nobody's business.
        assert_eq!(read(&said.replace("application/sdp", "text/plain"), &up(), "2001:db8::1"), None);
    }

    #[test]
    fn a_registration_is_confirmed_for_a_time() {
        let confirmed = |rest: &str| confirmed(format!("SIP/2.0 200 OK\r\n{rest}\r\n\r\nExpires: 9").as_bytes());
        assert_eq!(confirmed("CSeq: 1 REGISTER\r\nContact: <sip:a@b>;expires=60, <sip:c>;q=1"), Some(60));
        assert_eq!(confirmed("Expires: 3600\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@b>;Expires=600"), Some(3600));
        assert_eq!(confirmed("CSeq: 1 REGISTER\r\nContact: <sip:a@b>;expires=99999999999"), Some(0));
        assert_eq!((confirmed("CSeq: 2 REGISTER"), confirmed("CSeq: 2 INVITE\r\nExpires: 60")), (Some(0), None));
        assert_eq!(super::confirmed(b"SIP/2.0 401 No\r\nCSeq: 1 REGISTER\r\nExpires: 60\r\n\r\n"), None);
    }

    #[test]
    fn what_is_not_sip_or_says_nothing_is_left() {
        for nothing in
            ["", "\n\n", "INVITE sip:b@192.0.2.7 HTTP/1.1\nVia: 192.0.2.7\n", "\0\u{1}", "SIP/2.0", "A SIP/2.0\n"]
        {
            assert_eq!(read(nothing, &up(), "10.0.0.30"), None, "{nothing:?}");
        }
        for cut in [
            "X SIP/2.0\nVia: 192.0.2.",
            "X SIP/2.0\nVia: [2001:db8::",
            "X SIP/2.0\nVia:",
            "X SIP/2.0\nl:\nc: sdp\n\nm=",
        ] {
            assert_eq!(read(cut, &up(), "10.0.0.30"), None, "{cut:?}");
        }
        let words =
            ["192.0.2.7", ":", "rport=", "[", "]", "m=", "c=IN IP4 ", "\n", " ", "a=rtcp:", "5", "received=", "@"];
        let mut rng = crate::base::Rng::seeded(5);
        for _ in 0..20_000 {
            let mut text = "X SIP/2.0\nc: sdp\nl: 9\nVia: ".to_owned();
            (0..rng.below(24)).for_each(|_| text += words[rng.below(words.len() as u64) as usize]);
            read(&text, &up(), "10.0.0.30");
        }
    }
}
