//! IPv4 options on their way through a router (RFC 791 3.1, RFC 1812 5.2.4), as a Linux router treats them.
//!
//! Checks their form and writes into "record route". Never lengthens a header.

use std::net::Ipv4Addr;

use super::PacketBuf;
use super::field::{ETH_LEN, ipv4, put};
use super::ip::set_header_checksum;
use super::packet::Ip;

const FIXED: usize = ipv4::LEN;
/// Where an option says which byte is next.
const POINTER: usize = 2;
const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// What the options of a packet ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionAction {
    /// Nothing that a router does.
    Nothing,
    /// The way is to be recorded in the option at this place of the IP header, which has room.
    Record(u8),
    /// The sender wants to choose the way.
    SourceRoute,
    /// The option or length at this place of the IP header cannot be.
    Bad(u8),
}

/// Reads the options of an IPv4 packet; hardly any has one.
#[inline]
pub fn parse(frame: &[u8], ip: &Ip) -> OptionAction {
    if !ip.dst.is_ipv4() || frame[ETH_LEN] & 0xf == 5 { OptionAction::Nothing } else { read(frame) }
}

#[cold]
fn read(frame: &[u8]) -> OptionAction {
    let header = &frame[ETH_LEN..ETH_LEN + usize::from(frame[ETH_LEN] & 0xf) * 4];
    let (mut at, mut action) = (FIXED, OptionAction::Nothing);
    while let Some(option_type) = header.get(at).copied().filter(|option_type| *option_type != END) {
        if option_type == NOP {
            at += 1;
            continue;
        }
        let len = usize::from(header.get(at + 1).copied().unwrap_or(0));
        let Some(option) = header.get(at..at + len).filter(|option| option.len() >= 2) else {
            return OptionAction::Bad(at as u8);
        };
        match option_type {
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return OptionAction::SourceRoute,
            RECORD_ROUTE => match room(option) {
                Ok(true) => action = OptionAction::Record(at as u8),
                Ok(false) => {}
                Err(wrong) => return OptionAction::Bad((at + wrong) as u8),
            },
            _ => {}
        }
        at += len;
    }
    action
}

/// Whether a "record route" option has room for one more address; else the byte that is wrong.
fn room(option: &[u8]) -> Result<bool, usize> {
    let Some(pointer) = option.get(POINTER).map(|byte| usize::from(*byte)) else { return Err(1) };
    match pointer {
        0..4 => Err(POINTER),
        _ if pointer > option.len() => Ok(false),
        _ if pointer + 3 > option.len() => Err(POINTER),
        _ => Ok(true),
    }
}

/// Writes an address into the "record route" option that `parse` found.
pub fn record(buf: &mut PacketBuf, option: u8, addr: Ipv4Addr) {
    let frame = buf.frame_mut();
    let header_len = usize::from(frame[ETH_LEN] & 0xf) * 4;
    let header = &mut frame[ETH_LEN..ETH_LEN + header_len];
    let option = usize::from(option);
    // The pointer counts from 1.
    let at = option + usize::from(header[option + POINTER]) - 1;
    put(header, at, &addr.octets());
    header[option + POINTER] += 4;
    set_header_checksum(header);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ip_packet;

    fn packet(options: &[u8]) -> (PacketBuf, Ip) {
        let mut frame = vec![0; ETH_LEN + FIXED];
        frame.extend_from_slice(options);
        let total = (frame.len() - ETH_LEN) as u8;
        frame[ETH_LEN] = 0x40 | (total / 4);
        frame[ETH_LEN + 3] = total;
        frame[ETH_LEN + 9] = 255;
        set_header_checksum(&mut frame[ETH_LEN..]);
        let mut buf = PacketBuf::new();
        buf.set(&frame);
        let ip = ip_packet(buf.frame()).unwrap();
        (buf, ip)
    }

    fn action_of(options: &[u8]) -> OptionAction {
        let (buf, ip) = packet(options);
        parse(buf.frame(), &ip)
    }

    #[test]
    fn options_are_read_to_their_end() {
        assert_eq!(action_of(&[]), OptionAction::Nothing);
        assert_eq!(action_of(&[1, 1, 1, 0]), OptionAction::Nothing);
        assert_eq!(action_of(&[0, 7, 0, 0]), OptionAction::Nothing, "behind the end");
        assert_eq!(action_of(&[1, 7, 7, 4, 0, 0, 0, 0]), OptionAction::Record(21));
        assert_eq!(action_of(&[7, 7, 8, 1, 2, 3, 4, 0]), OptionAction::Nothing, "full");
        assert_eq!(action_of(&[131, 7, 4, 1, 2, 3, 4, 0]), OptionAction::SourceRoute);
        for (bad, at) in [
            (&[7, 7, 3, 0, 0, 0, 0, 0], 22),
            (&[7, 7, 5, 0, 0, 0, 0, 0], 22),
            (&[7, 9, 4, 0, 0, 0, 0, 0], 20),
            (&[7, 1, 4, 0, 0, 0, 0, 0], 20),
            (&[7, 2, 1, 1, 0, 0, 0, 0], 21),
            (&[1, 1, 1, 1, 1, 1, 1, 7], 27),
        ] {
            assert_eq!(action_of(bad), OptionAction::Bad(at), "{bad:?}");
        }
    }

    #[test]
    fn an_address_is_recorded_at_the_pointer() {
        let (mut buf, ip) = packet(&[7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0]);
        record(&mut buf, 20, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(buf.frame()[ETH_LEN + 20..ip.l4_at], [7, 11, 12, 9, 9, 9, 9, 10, 0, 0, 1, 0]);
        assert!(ip_packet(buf.frame()).is_ok(), "the header checksum");
    }

    #[test]
    fn any_options_are_read_without_a_panic() {
        let mut rng = crate::base::Rng::seeded(11);
        for _ in 0..100_000 {
            let options: Vec<u8> = (0..4 * (1 + rng.below(10))).map(|_| rng.below(16) as u8).collect();
            let (mut buf, ip) = packet(&options);
            if let OptionAction::Record(option) = parse(buf.frame(), &ip) {
                record(&mut buf, option, Ipv4Addr::LOCALHOST);
            }
        }
    }
}
