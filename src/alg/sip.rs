//! The SIP persistence engine: what a call is recognised by.
//!
//! Reads text only; never keeps any.

use crate::base::{DropReason, ServiceId};
use crate::flows::Flows;
use crate::wire::{L4, Packet, field};

/// The longest Call-ID that binds (the kernel's `IP_VS_PEDATA_MAXLEN`).
const LONGEST: usize = 255;

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
