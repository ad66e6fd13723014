//! IPv6 extension headers (RFC 8200 4): where they end, and what they ask of who passes a packet on or takes it.
//!
//! Judges as Linux does with its defaults. Never changes a packet.

use super::field::{ETH_LEN, be16, ipv6};
use super::packet::{Fragment, Ip};

const FIXED: usize = ipv6::LEN;
const NEXT_HEADER: usize = ipv6::NEXT_HEADER;
pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const DESTINATION: u8 = 60;
const AUTHENTICATION: u8 = 51;
/// "No next header": there is nothing to be delivered.
pub const NOTHING: u8 = 59;

/// One extension header. Places are counted from the IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Extension {
    header_type: u8,
    at: usize,
    len: usize,
}

/// What stands behind the extension headers. Places are counted from the IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Upper {
    /// Its protocol.
    pub proto: u8,
    /// Where it begins.
    pub at: usize,
    /// Where it is named.
    pub next_header_at: usize,
    /// The packet's place in its datagram.
    pub fragment: Fragment,
}

/// Finds what stands behind the extension headers of a packet; `None` if they are cut short or out of order.
///
/// Behind the header of a later fragment stand data, whatever they look like.
#[inline(always)]
pub(super) fn upper(packet: &[u8]) -> Option<Upper> {
    match *packet.get(NEXT_HEADER)? {
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION | AUTHENTICATION => behind_extensions(packet),
        proto => Some(Upper { proto, at: FIXED, next_header_at: NEXT_HEADER, fragment: Fragment::Whole }),
    }
}

#[cold]
fn behind_extensions(packet: &[u8]) -> Option<Upper> {
    walk(packet, |_| {})
}

fn walk(packet: &[u8], mut each: impl FnMut(Extension)) -> Option<Upper> {
    let mut upper =
        Upper { proto: *packet.get(NEXT_HEADER)?, at: FIXED, next_header_at: NEXT_HEADER, fragment: Fragment::Whole };
    loop {
        let Upper { proto: header_type, at, .. } = upper;
        let units = || packet.get(at + 1).map(|units| usize::from(*units));
        let len = match header_type {
            HOP_BY_HOP if at > FIXED => return None,
            HOP_BY_HOP | ROUTING | DESTINATION => (units()? + 1) * 8,
            AUTHENTICATION => (units()? + 2) * 4,
            FRAGMENT => ipv6::FRAGMENT_LEN,
            _ => return Some(upper),
        };
        let header = packet.get(at..at + len)?;
        each(Extension { header_type, at, len });
        if header_type == FRAGMENT {
            let field = be16(header, ipv6::FRAGMENT_OFFSET);
            upper.fragment = match (field & !7, field & 1) {
                (0, 0) => upper.fragment,
                (0, _) => Fragment::First,
                (_, _) => Fragment::Later,
            };
        }
        upper = Upper { proto: header[0], at: at + len, next_header_at: at, ..upper };
        if upper.fragment == Fragment::Later {
            return Some(upper);
        }
    }
}

/// The end of the headers that every router reads (RFC 8200 4.5), and where they name what follows.
pub(super) fn unfragmentable_end(frame: &[u8], end: usize) -> (usize, usize) {
    let (mut next_header_at, mut at) = (ETH_LEN + NEXT_HEADER, ETH_LEN + FIXED);
    while matches!(frame[next_header_at], HOP_BY_HOP | ROUTING | DESTINATION) && at + 8 <= end {
        let next = at + (usize::from(frame[at + 1]) + 1) * 8;
        if next > end {
            break;
        }
        (next_header_at, at) = (at, next);
    }
    (next_header_at, at)
}

/// What is to be done with a packet because of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing.
    Good,
    /// Dropped in silence.
    Drop,
    /// Dropped, and its sender is told with "parameter problem" (RFC 4443 3.4): the code, and the place it points to.
    Tell(u8, u32),
}

const ERRONEOUS_FIELD: u8 = 0;
const UNRECOGNISED_NEXT_HEADER: u8 = 1;
const UNRECOGNISED_OPTION: u8 = 2;

/// What every node on the way does with a packet: its hop-by-hop options.
#[inline]
pub fn on_the_way(frame: &[u8], ip: &Ip) -> Verdict {
    if !ip.has_extensions() || frame[ETH_LEN + NEXT_HEADER] != HOP_BY_HOP {
        return Verdict::Good;
    }
    let len = (usize::from(frame[ETH_LEN + FIXED + 1]) + 1) * 8;
    options(&frame[ETH_LEN..], FIXED, len, HOP_BY_HOP)
}

/// What the destination does with a packet: destination options, and routing headers that want to lead it on.
pub fn at_the_end(frame: &[u8], ip: &Ip) -> Verdict {
    let mut verdict = Verdict::Good;
    each_of(frame, ip, |packet, extension| {
        let found = match extension.header_type {
            DESTINATION => options(packet, extension.at, extension.len, DESTINATION),
            ROUTING if segments_left(packet, extension) > 0 => Verdict::Tell(ERRONEOUS_FIELD, extension.at as u32 + 2),
            _ => Verdict::Good,
        };
        if verdict == Verdict::Good {
            verdict = found;
        }
    });
    verdict
}

/// What a translator to IPv4 does with a packet that is yet to be led elsewhere (RFC 7915 5.1).
pub fn at_the_border(frame: &[u8], ip: &Ip) -> Verdict {
    let mut verdict = Verdict::Good;
    each_of(frame, ip, |packet, extension| {
        if extension.header_type == ROUTING && segments_left(packet, extension) > 0 {
            verdict = Verdict::Tell(ERRONEOUS_FIELD, extension.at as u32 + 3);
        }
    });
    verdict
}

/// What the destination does with a protocol that it does not know.
pub fn unknown_protocol(frame: &[u8], ip: &Ip) -> Verdict {
    match upper(&frame[ETH_LEN..ip.end]) {
        Some(Upper { proto: NOTHING, .. }) | None => Verdict::Drop,
        Some(Upper { next_header_at, .. }) => Verdict::Tell(UNRECOGNISED_NEXT_HEADER, next_header_at as u32),
    }
}

fn each_of(frame: &[u8], ip: &Ip, mut each: impl FnMut(&[u8], Extension)) {
    if !ip.has_extensions() {
        return;
    }
    let packet = &frame[ETH_LEN..ip.end];
    walk(packet, |extension| each(packet, extension));
}

fn segments_left(packet: &[u8], routing: Extension) -> u8 {
    packet[routing.at + 3]
}

/// Reads the options of the header at `at` (RFC 8200 4.2). As in Linux, no more than eight, and no more padding than
/// alignment needs.
fn options(packet: &[u8], at: usize, len: usize, header_type: u8) -> Verdict {
    const PAD1: u8 = 0;
    const PADN: u8 = 1;
    const MOST: usize = 8;
    let Some(header) = packet.get(at..at + len) else { return Verdict::Drop };
    let (mut place, mut count, mut padding) = (2, 0, 0);
    while let Some(option) = header.get(place).copied() {
        let size = match (option, header.get(place + 1)) {
            (PAD1, _) => 1,
            (_, Some(data)) => usize::from(*data) + 2,
            (_, None) => return Verdict::Drop,
        };
        let Some(bytes) = header.get(place..place + size) else { return Verdict::Drop };
        if matches!(option, PAD1 | PADN) {
            padding += size;
            if padding > 7 || bytes.iter().skip(2).any(|byte| *byte != 0) {
                return Verdict::Drop;
            }
        } else {
            (count, padding) = (count + 1, 0);
            let verdict = if count > MOST {
                Verdict::Drop
            } else {
                unknown_option_action(bytes, (at + place) as u32, header_type)
            };
            if verdict != Verdict::Good {
                return verdict;
            }
        }
        place += size;
    }
    Verdict::Good
}

/// One option. Whoever does not know it finds in its two highest bits what to do.
fn unknown_option_action(option: &[u8], at: u32, header_type: u8) -> Verdict {
    const ROUTER_ALERT: u8 = 5;
    const JUMBO: u8 = 0xc2;
    match option {
        [ROUTER_ALERT, len, ..] if header_type == HOP_BY_HOP => {
            if *len == 2 {
                Verdict::Good
            } else {
                Verdict::Drop
            }
        }
        // No packet with a length in its header is a jumbogram, and no link here takes others (RFC 2675 3).
        [JUMBO, 4, 0, 0, _, _] if header_type == HOP_BY_HOP => Verdict::Tell(ERRONEOUS_FIELD, at + 2),
        [JUMBO, 4, ..] if header_type == HOP_BY_HOP => Verdict::Tell(ERRONEOUS_FIELD, at),
        [JUMBO, ..] if header_type == HOP_BY_HOP => Verdict::Drop,
        [option, ..] => match option >> 6 {
            0 => Verdict::Good,
            1 => Verdict::Drop,
            // "Unless sent to a group": those are not ours.
            _ => Verdict::Tell(UNRECOGNISED_OPTION, at),
        },
        [] => Verdict::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with these extension headers, the last of which names UDP, and 16 bytes behind them.
    fn packet(headers: &[(u8, &[u8])]) -> Vec<u8> {
        let mut packet = vec![0; FIXED];
        packet[0] = 0x60;
        let mut next_header_at = NEXT_HEADER;
        for (header_type, bytes) in headers {
            packet[next_header_at] = *header_type;
            next_header_at = packet.len();
            packet.extend_from_slice(bytes);
        }
        packet[next_header_at] = 17;
        packet.extend([0; 16]);
        packet
    }

    #[test]
    fn what_stands_behind_all_headers_is_found() {
        let (hop, routing, dest) = ([0, 0, 1, 4, 0, 0, 0, 0], [0, 2, 4, 0, 0, 0, 0, 0], [0, 0, 1, 4, 0, 0, 0, 0]);
        let routing = [&routing[..], &[0; 16]].concat();
        let whole = packet(&[(HOP_BY_HOP, &hop), (ROUTING, &routing), (AUTHENTICATION, &[0; 8]), (DESTINATION, &dest)]);
        let wanted = Upper { proto: 17, at: 88, next_header_at: 80, fragment: Fragment::Whole };
        assert_eq!(upper(&whole), Some(wanted));
        for len in 0..88 {
            assert_eq!(upper(&whole[..len]), None, "{len}");
        }
        let plain = Upper { proto: 17, at: 40, next_header_at: 6, fragment: Fragment::Whole };
        assert_eq!(upper(&packet(&[])), Some(plain));
        assert_eq!(upper(&packet(&[(DESTINATION, &dest), (HOP_BY_HOP, &hop)])), None, "hop-by-hop options elsewhere");
    }

    #[test]
    fn behind_a_later_fragments_header_stand_data() {
        let fragment = |field: u16| {
            let mut header = [DESTINATION, 0, 0, 0, 0, 0, 0, 1];
            header[2..4].copy_from_slice(&field.to_be_bytes());
            let mut packet = packet(&[(FRAGMENT, &header)]);
            // What looks like destination options of 2 KiB.
            packet[40] = DESTINATION;
            packet[48..50].copy_from_slice(&[17, 255]);
            upper(&packet).map(|upper| (upper.proto, upper.at, upper.fragment))
        };
        assert_eq!(fragment(1480), Some((DESTINATION, 48, Fragment::Later)));
        assert_eq!(fragment(1481), Some((DESTINATION, 48, Fragment::Later)));
        assert_eq!(fragment(1), None, "in the first they are headers");
    }

    #[test]
    fn options_say_what_becomes_of_who_does_not_know_them() {
        let verdict = |text: &[u8], header_type: u8| {
            let mut header = vec![17, (text.len() / 8) as u8];
            header.extend_from_slice(text);
            assert_eq!(header.len() % 8, 0);
            options(&packet(&[(header_type, &header)]), FIXED, header.len(), header_type)
        };
        for (text, wanted) in [
            (&[1, 4, 0, 0, 0, 0][..], Verdict::Good),
            (&[0, 0, 0, 0, 0, 0], Verdict::Good),
            (&[5, 2, 0, 0, 1, 0], Verdict::Good),
            (&[5, 3, 0, 0, 0, 0], Verdict::Drop),
            (&[0x1e, 4, 9, 9, 9, 9], Verdict::Good),
            (&[0x5e, 4, 9, 9, 9, 9], Verdict::Drop),
            (&[0x9e, 4, 9, 9, 9, 9], Verdict::Tell(2, 42)),
            (&[0, 0xde, 3, 9, 9, 9], Verdict::Tell(2, 43)),
            (&[0xc2, 4, 0, 1, 0, 0], Verdict::Tell(0, 42)),
            (&[0xc2, 4, 0, 0, 9, 9], Verdict::Tell(0, 44)),
            (&[1, 4, 0, 0, 0, 1], Verdict::Drop),
            (&[0x1e, 5, 0, 0, 0, 0], Verdict::Drop),
            (&[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Verdict::Drop),
        ] {
            assert_eq!(verdict(text, HOP_BY_HOP), wanted, "{text:?}");
        }
        assert_eq!(verdict(&[0x1e, 0, 0x1e, 0, 0x1e, 0], HOP_BY_HOP), Verdict::Good);
        assert_eq!(verdict(&[[0x1e, 0].repeat(9), vec![0; 4]].concat(), HOP_BY_HOP), Verdict::Drop, "nine of them");
        assert_eq!(verdict(&[5, 3, 0, 0, 0, 0], DESTINATION), Verdict::Good, "no option of a router's there");
    }
}
