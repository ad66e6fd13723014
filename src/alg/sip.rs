//! SIP: what a call is recognised by (the persistence engine, over UDP), and its messages through NAT and FULL-NAT.
//!
//! ```text
//! from the client   CIP:any -> LIP:lport (FULL-NAT)   VIP:vport -> RIP:rport   session: where it waits for media
//! from the server   LIP:lport -> CIP:cport            RIP:rport -> VIP:vport   the same
//! ```
//! So each side reads of the other what it has to send to, and gets back what it has said itself. Only for conns to a port of
//! `sip_ports`. Reads text; never keeps any.

use super::sip_media::Calls;
use super::sip_message::{Alias, Names, confirmed, renamed};
use super::sip_registration::registered;
use crate::base::{ConnId, DropReason, Endpoint, Instant, ServiceId};
use crate::conn::Side;
use crate::flows::Flows;
use crate::wire::{L4, Packet, field, udp};

/// The longest Call-ID that binds (the kernel's `IP_VS_PEDATA_MAXLEN`).
const LONGEST: usize = 255;

/// The payload that a datagram of a SIP conn gets instead, not rewritten yet; `None` if it keeps its own.
pub fn message(
    id: ConnId,
    from: Side,
    packet: &Packet,
    flows: &mut Flows,
    now: Instant,
) -> Result<Option<Vec<u8>>, DropReason> {
    // From a corrupt one the director would make wrong statements of its own.
    let payload = udp::payload(packet.buf, packet.ip).ok_or(DropReason::L4Checksum)?;
    text(id, from, payload, flows, now)
}

/// What the other side has to read in place of a message; `None` if it is the same.
pub(super) fn text(
    id: ConnId,
    from: Side,
    payload: &[u8],
    flows: &mut Flows,
    now: Instant,
) -> Result<Option<Vec<u8>>, DropReason> {
    let conn = flows.conns.get(id);
    let (virt, real) = (conn.virt(), flows.conns.real(conn));
    let mut names = Vec::with_capacity(2);
    let local = flows.conns.local(conn);
    let all = match from {
        Side::Request => {
            names.extend(local.map(|to| Alias { from: Endpoint::new(conn.client().addr, 0), to }));
            let of_client = names.len();
            names.push(Alias { from: virt, to: real });
            Names { all: &names, outside: &names[..of_client] }
        }
        Side::Reply => {
            names.extend(local.map(|from| Alias { from, to: conn.client() }));
            names.push(Alias { from: real, to: virt });
            Names { all: &names, outside: &names }
        }
    };
    let mut calls = Calls::new(id, from, flows, now);
    let text = renamed(payload, &all, &mut calls);
    if let Some(reason) = calls.refused {
        return Err(reason);
    }
    if from == Side::Reply
        && let Some(seconds) = confirmed(payload)
    {
        registered(id, seconds, flows, now);
    }
    Ok(text)
}

/// The Call-ID of a packet for a service whose engine needs one.
pub fn call_of<'a>(packet: &'a Packet, service: ServiceId, flows: &Flows) -> Result<Option<&'a [u8]>, DropReason> {
    let options = flows.services.get(service).map(|service| &service.options);
    if options.is_none_or(|options| options.persistence.is_none() || options.engine.is_none()) {
        return Ok(None);
    }
    let payload = match packet.ip.l4 {
        L4::Udp { .. } => &packet.frame()[packet.ip.l4_at + field::udp::LEN..packet.ip.end],
        L4::Tcp { .. } | L4::Sctp { .. } | L4::Icmp { .. } | L4::Other | L4::Truncated => &[],
    };
    call_id(payload).map(Some).ok_or(DropReason::NoCallId)
}

/// The Call-ID of a SIP message (RFC 3261 8.1.1.4), in its long or compact form.
///
/// `None` if there is none, if it is empty, too long, or if its line is cut off.
fn call_id(message: &[u8]) -> Option<&[u8]> {
    let lines = message.split_inclusive(|byte| *byte == b'\n').skip(1);
    let value = lines.filter_map(header_value).next()?;
    let end = value.iter().position(|byte| *byte == b'\r' || *byte == b'\n')?;
    let id = value[..end].trim_ascii();
    (1..=LONGEST).contains(&id.len()).then_some(id)
}

fn header_value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let named = name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i");
    named.then(|| &line[colon + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_id() {
        let id = |text: &'static str| call_id(text.as_bytes()).map(|id| std::str::from_utf8(id).unwrap());
        assert_eq!(id("INVITE sip:a SIP/2.0\r\nVia: x\r\nCall-ID: 7@b\r\n\r\n"), Some("7@b"));
        assert_eq!(id("SIP/2.0 200 OK\r\ni : 7@b\r\n\r\n"), Some("7@b"));
        for nothing in ["Call-ID: 7@b\r\n", "A\r\nCall-ID: 7@b", "A\r\nCall-ID: \r\n", "A\r\nVia: i\r\n", ""] {
            assert_eq!(id(nothing), None, "{nothing}");
        }
        let long = format!("A\r\nCall-ID: {}\r\n", "x".repeat(256));
        assert_eq!(call_id(long.as_bytes()), None);
    }
}
