//! What a segment of an FTP control conn announces, and how the announcement is put for the other side.
//!
//! As the kernel's helper: only lines that are whole within one segment. Never touches bytes, never keeps state.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::{Endpoint, Family};

/// What the client has asked for last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing, or PORT/EPRT: the server opens the data conn.
    #[default]
    Active,
    /// PASV.
    Passive,
    /// EPSV.
    ExtendedPassive,
    /// PASV of a client to a server of IPv6, which is asked by EPSV instead.
    PassiveByExtended,
}

/// What the client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FtpMessage {
    /// It wants to open the data conn.
    Mode(Mode),
    /// It waits for the data conn there.
    Waits(Announced),
}

/// Where one of them waits for the data conn, and which bytes of the payload say so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// The place.
    pub at: Endpoint,
    /// The bytes to be replaced.
    pub text: Range<usize>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// `PORT h1,h2,h3,h4,p1,p2`
    Port,
    /// `EPRT |family|address|port|`
    Eprt,
    /// `h1,h2,h3,h4,p1,p2` of 227
    Commas,
    /// `|||port|` of 229
    Bars,
    /// `229 ...(|||port|`, for a client that awaits 227
    BarsForCommas,
}

/// Reads a segment from the client.
pub fn client_says(payload: &[u8], client: IpAddr) -> Option<FtpMessage> {
    let family = Family::of(client);
    if let Some(rest) = strip(payload, b"PORT ")
        && family == Family::V4
    {
        return comma_endpoint(rest).map(|found| waits(Form::Port, found));
    }
    if let Some(rest) = strip(payload, b"EPRT ") {
        return bar_endpoint(rest, client).map(|found| waits(Form::Eprt, found));
    }
    let own = if family == Family::V4 { b"EPSV 1\r".as_slice() } else { b"EPSV 2\r" };
    if contains(payload, b"EPSV\r") || contains(payload, own) {
        return Some(FtpMessage::Mode(Mode::ExtendedPassive));
    }
    (family == Family::V4 && contains(payload, b"PASV\r\n")).then_some(FtpMessage::Mode(Mode::Passive))
}

/// `at` in the arguments of a command of four letters, and how long it is said there.
fn waits(form: Form, (at, len): (Endpoint, usize)) -> FtpMessage {
    FtpMessage::Waits(Announced { at, text: 0..5 + len, form })
}

/// Reads a segment from the server, which answers what the client asked for; `server` is its address on the control conn.
pub fn server_says(payload: &[u8], mode: Mode, server: IpAddr) -> Option<Announced> {
    match mode {
        Mode::Active => None,
        Mode::Passive => {
            let rest = strip(payload, b"227 ")?;
            let line = &rest[..rest.iter().position(|byte| *byte == b'\r' || *byte == b'\n')?];
            let from = line.iter().position(|byte| *byte == b'(' || byte.is_ascii_digit())?;
            let from = from + usize::from(line[from] == b'(');
            let (at, len) = comma_endpoint(&rest[from..])?;
            Some(Announced { at, text: from + 4..from + 4 + len, form: Form::Commas })
        }
        Mode::ExtendedPassive | Mode::PassiveByExtended => {
            let rest = strip(payload, b"229 ")?;
            let from = rest.iter().position(|byte| *byte == b'(')? + 1;
            let (at, len) = bar_endpoint(&rest[from..], server)?;
            let end = from + 4 + len;
            Some(match mode {
                Mode::PassiveByExtended => Announced { at, text: 0..end, form: Form::BarsForCommas },
                _ => Announced { at, text: from + 4..end, form: Form::Bars },
            })
        }
    }
}

impl Announced {
    /// The same announcement of another place; where that is of IPv6, in the extended form (RFC 2428).
    pub fn put_for(&self, place: Endpoint) -> Vec<u8> {
        let Endpoint { addr, port } = place;
        let text = match (self.form, addr) {
            (Form::Port, IpAddr::V4(addr)) => format!("PORT {}", with_commas(addr, port)),
            (Form::Commas, IpAddr::V4(addr)) => with_commas(addr, port),
            (Form::BarsForCommas, IpAddr::V4(addr)) => {
                format!("227 Entering Passive Mode ({}", with_commas(addr, port))
            }
            (Form::Eprt, IpAddr::V4(addr)) => format!("EPRT |1|{addr}|{port}|"),
            (Form::Eprt | Form::Port, IpAddr::V6(addr)) => format!("EPRT |2|{addr}|{port}|"),
            (Form::Bars | Form::Commas | Form::BarsForCommas, _) => format!("|||{port}|"),
        };
        text.into_bytes()
    }
}

fn with_commas(addr: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = addr.octets();
    format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xff)
}

fn strip<'a>(payload: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = payload.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

fn contains(payload: &[u8], word: &[u8]) -> bool {
    payload.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// `h1,h2,h3,h4,p1,p2` and its length; something must follow, or the line may go on elsewhere.
fn comma_endpoint(text: &[u8]) -> Option<(Endpoint, usize)> {
    let len = text.iter().position(|byte| *byte != b',' && !byte.is_ascii_digit())?;
    let words: Vec<&str> = std::str::from_utf8(&text[..len]).ok()?.split(',').collect();
    let [a, b, c, d, high, low] = <[&str; 6]>::try_from(words).ok()?.map(|word| word.parse::<u8>().ok());
    let addr = IpAddr::V4(Ipv4Addr::new(a?, b?, c?, d?));
    Some((Endpoint::new(addr, u16::from_be_bytes([high?, low?])), len))
}

/// `dddportd` or `dfamilydaddressdportd` with any delimiter `d`, and its length. Without an address it is `default`.
fn bar_endpoint(text: &[u8], default: IpAddr) -> Option<(Endpoint, usize)> {
    let delimiter = *text.first().filter(|byte| (33..=126).contains(*byte))?;
    let mut parts = text[1..].split(|byte| *byte == delimiter);
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let (family, addr, port) = (word()?, word()?, word()?);
    // The closing delimiter must be there.
    parts.next()?;
    let addr = match (family, Family::of(default)) {
        ("", _) if addr.is_empty() => default,
        ("1", Family::V4) | ("2", Family::V6) => addr.parse().ok().filter(|a| Family::of(*a) == Family::of(default))?,
        _ => return None,
    };
    let len = 4 + family.len() + if family.is_empty() { 0 } else { text_len(text, delimiter)? } + port.len();
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Some((Endpoint::new(addr, port), len))
}

/// Length of the address between the second and the third delimiter.
fn text_len(text: &[u8], delimiter: u8) -> Option<usize> {
    text.split(|byte| *byte == delimiter).nth(2).map(<[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint;

    const SERVER: &str = "10.0.0.1";

    fn announced(payload: &str, mode: Mode) -> Option<(String, String)> {
        let said = server_says(payload.as_bytes(), mode, SERVER.parse().unwrap())?;
        let text = payload[said.text.clone()].to_owned();
        Some((said.at.to_string(), text))
    }

    #[test]
    fn the_server_announces_in_two_forms() {
        let pasv = |payload| announced(payload, Mode::Passive);
        let place = Some(("10.0.0.1:45146".into(), "10,0,0,1,176,90".into()));
        assert_eq!(pasv("227 Entering Passive Mode (10,0,0,1,176,90)\r\n"), place);
        assert_eq!(pasv("227 Entering Passive Mode 10,0,0,1,176,90\r\n"), place);
        for bad in
            ["227 (10,0,0,1,176,90", "227 (10,0,0,1,176)\r\n", "227 (10,0,0,256,1,1)\r\n", "226 (10,0,0,1,1,1)\r\n"]
        {
            assert_eq!(pasv(bad), None, "{bad}");
        }
        let epsv = |payload| announced(payload, Mode::ExtendedPassive);
        assert_eq!(epsv("229 Ok (|||39609|)\r\n"), Some(("10.0.0.1:39609".into(), "|||39609|".into())));
        assert_eq!(epsv("229 Ok (!1!10.0.0.9!5!)\r\n"), Some(("10.0.0.9:5".into(), "!1!10.0.0.9!5!".into())));
        for bad in ["229 Ok (|||0|)\r\n", "229 Ok (|||70000|)\r\n", "229 Ok (|||39609", "229 Ok (|2|::1|5|)\r\n"] {
            assert_eq!(epsv(bad), None, "{bad}");
        }
        assert_eq!(announced("227 (10,0,0,1,176,90)\r\n", Mode::Active), None);
    }

    #[test]
    fn the_client_asks_or_waits() {
        let said = |payload: &str| client_says(payload.as_bytes(), "192.0.2.1".parse().unwrap());
        let waits = |place: &str| Some(Endpoint::new(place.parse().unwrap(), 256));
        let place = |payload: &str| match said(payload)? {
            FtpMessage::Waits(announced) => Some(announced.at),
            FtpMessage::Mode(_) => None,
        };
        assert_eq!(said("pasv\r\n"), Some(FtpMessage::Mode(Mode::Passive)));
        assert_eq!(said("EPSV\r\n"), Some(FtpMessage::Mode(Mode::ExtendedPassive)));
        assert_eq!(said("EPSV 1\r\n"), Some(FtpMessage::Mode(Mode::ExtendedPassive)));
        assert_eq!(place("PORT 192,0,2,1,1,0\r\n"), waits("192.0.2.1"));
        assert_eq!(place("EPRT |1|192.0.2.9|256|\r\n"), waits("192.0.2.9"));
        for nothing in ["EPSV ALL\r\n", "EPSV 2\r\n", "LIST\r\n", "PORT 1,2\r\n", "EPRT |2|::1|5|\r\n", ""] {
            assert_eq!(said(nothing), None, "{nothing}");
        }
    }

    /// The payload after the announcement in it is replaced by that of another place.
    fn replaced(payload: &str, said: Announced, place: &str) -> String {
        let text = said.put_for(endpoint(place));
        let mut bytes = payload.as_bytes().to_vec();
        bytes.splice(said.text, text);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_announcement_is_put_for_another_place_in_the_form_of_its_family() {
        let client = |payload: &str, client: &str, place| match client_says(payload.as_bytes(), client.parse().unwrap())
        {
            Some(FtpMessage::Waits(said)) => replaced(payload, said, place),
            other => panic!("{other:?}"),
        };
        let port = "port 192,0,2,1,1,0\r\n";
        assert_eq!(client(port, "192.0.2.1", "10.0.0.2:5001"), "PORT 10,0,0,2,19,137\r\n");
        assert_eq!(client(port, "192.0.2.1", "[fd00::2]:5001"), "EPRT |2|fd00::2|5001|\r\n");
        assert_eq!(
            client("EPRT !2!2001:db8::1!256!\r\n", "2001:db8::1", "[fd00::2]:5001"),
            "EPRT |2|fd00::2|5001|\r\n"
        );
        assert_eq!(
            client("EPRT |2|2001:db8::1|256|\r\n", "2001:db8::1", "10.0.0.2:5001"),
            "EPRT |1|10.0.0.2|5001|\r\n"
        );

        let server = |payload: &str, mode, place| {
            replaced(payload, server_says(payload.as_bytes(), mode, "fd00::21".parse().unwrap()).unwrap(), place)
        };
        let ready = "229 Entering Extended Passive Mode (|||5001|)\r\n";
        assert_eq!(server(ready, Mode::ExtendedPassive, "192.0.2.100:5002"), ready.replace("5001", "5002"));
        let asked = "227 Entering Passive Mode (192,0,2,100,19,137)\r\n";
        assert_eq!(server(ready, Mode::PassiveByExtended, "192.0.2.100:5001"), asked);
    }
}
