//! The description of a session (RFC 8866): where its author waits for media, as the other side has to read it.
//!
//! Text only: what becomes of an endpoint is said by whoever asks.

use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;

use crate::base::Endpoint;

/// What becomes of the endpoints that a description names.
pub trait Media {
    /// Where the other side finds who waits there; `None` if it is the same there. Port 0 is the host alone.
    fn found(&mut self, at: Endpoint) -> Option<Endpoint>;
}

/// Copies a description with its endpoints as the other side finds them.
pub(super) fn session(body: &[u8], media: &mut dyn Media, out: &mut Vec<u8>) {
    let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
    let all = connection(&lines);
    let mut medium = None;
    for (number, line) in lines.iter().enumerate() {
        match line {
            [b'o', b'=', ..] => rename(line, 0, media, out),
            [b'c', b'=', ..] => {
                let port = port_of(lines[..=number].iter().rfind(|line| is_medium(line)))
                    .or_else(|| port_of(lines[number..].iter().find(|line| is_medium(line))));
                rename(line, port.map_or(0, |(port, _)| port), media, out);
            }
            [b'm', b'=', ..] => {
                medium = announced(line, connection(&lines[number + 1..]).or(all), media);
                match &medium {
                    Some((_, told, range)) => replace(line, range.clone(), &told.port.to_string(), out),
                    None => out.extend_from_slice(line),
                }
            }
            _ if line.starts_with(b"a=rtcp:")
                && let Some((at, told, _)) = &medium =>
            {
                control(line, *at, *told, media, out);
            }
            _ => out.extend_from_slice(line),
        }
    }
}

fn is_medium(line: &[u8]) -> bool {
    line.starts_with(b"m=")
}

/// The address that a part of a description, up to the next medium, says is its author's.
fn connection(lines: &[&[u8]]) -> Option<IpAddr> {
    let here = lines.iter().take_while(|line| !is_medium(line));
    here.filter(|line| line.starts_with(b"c=")).find_map(|line| said(line)).map(|(addr, _)| addr)
}

/// The address of `IN IP4 address`, and where that stands.
fn said(line: &[u8]) -> Option<(IpAddr, Range<usize>)> {
    let from = line.windows(6).position(|word| word == b"IN IP4" || word == b"IN IP6")?;
    let rest = line.get(from + 7..)?;
    let len = rest.iter().position(|byte| b" /\r\n".contains(byte)).unwrap_or(rest.len());
    let addr = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
    Some((addr, from..from + 7 + len))
}

/// The port of a medium that datagrams carry, and where that stands.
fn port_of(line: Option<&&[u8]>) -> Option<(u16, Range<usize>)> {
    let line = line?;
    let from = line.iter().position(|byte| *byte == b' ')? + 1;
    let (port, len) = number(&line[from..]);
    let port = port?;
    let carrier = line[from..].split(|byte| *byte == b' ').nth(1)?;
    (port != 0 && !carrier.starts_with(b"TCP")).then_some((port, from..from + len))
}

/// Where a medium is waited for, where the other side finds that, and where in the line its port stands.
fn announced(line: &[u8], addr: Option<IpAddr>, media: &mut dyn Media) -> Option<(Endpoint, Endpoint, Range<usize>)> {
    let (port, range) = port_of(Some(&line))?;
    let at = Endpoint::new(addr?, port);
    Some((at, media.found(at)?, range))
}

/// Copies a line of which the address is renamed.
fn rename(line: &[u8], port: u16, media: &mut dyn Media, out: &mut Vec<u8>) {
    let Some((addr, range)) = said(line) else { return out.extend_from_slice(line) };
    let Some(found) = media.found(Endpoint::new(addr, port)) else { return out.extend_from_slice(line) };
    let family = if found.addr.is_ipv4() { 4 } else { 6 };
    replace(line, range, &format!("IN IP{family} {}", found.addr), out);
}

/// Copies a line that says where a medium's RTCP is waited for (RFC 3605), if not at the next port.
fn control(line: &[u8], at: Endpoint, told: Endpoint, media: &mut dyn Media, out: &mut Vec<u8>) {
    let from = b"a=rtcp:".len();
    let (port, len) = number(&line[from..]);
    let port: u16 = port.unwrap_or(0);
    let addr = said(line).map_or(at.addr, |(addr, _)| addr);
    let found = match port.wrapping_sub(at.port) {
        next @ (0 | 1) if addr == at.addr => Some(Endpoint::new(told.addr, told.port.wrapping_add(next))),
        _ => media.found(Endpoint::new(addr, port)),
    };
    let Some(found) = found else { return out.extend_from_slice(line) };
    let mut renamed = Vec::new();
    replace(line, from..from + len, &found.port.to_string(), &mut renamed);
    rename(&renamed, if addr == at.addr { at.port } else { port }, media, out);
}

fn replace(line: &[u8], range: Range<usize>, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&line[..range.start]);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&line[range.end..]);
}

/// The number that a text begins with, if it fits, and how many digits that has.
pub(super) fn number<T: FromStr>(text: &[u8]) -> (Option<T>, usize) {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (std::str::from_utf8(&text[..len]).ok().and_then(|digits| digits.parse().ok()), len)
}
