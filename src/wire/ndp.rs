//! Neighbour discovery for IPv6 over Ethernet (RFC 4861), and the listener reports that snooping bridges want (RFC 3810).
//!
//! Builds and reads; never answers by itself. A message that a router forwarded is refused: the hop limit must be 255.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::PacketBuf;
use super::ethernet::{macs, set_macs};
use super::field::{ETH_LEN, icmp as field, ipv6, put, put16, take};
use super::icmp;
use super::ip::{Header, ip_header};
use super::listener::{self, Query, Report};
use super::packet::{Fragment, Ip, L4};
use crate::base::{DropReason, Family, Mac, Proto};

const QUERY: u8 = 130;
const OLD_REPORT: u8 = 131;
const ROUTER_SOLICITATION: u8 = 133;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const REPORT: u8 = 143;

const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
/// Type, code, checksum, flags, target.
const FIXED_LEN: usize = 24;
const FLAGS: usize = 4;
const TARGET: usize = 8;
const OPTION_LEN: usize = 8;
/// Hop-by-hop header with the router alert of MLD (RFC 2711).
const ROUTER_ALERT: [u8; 8] = [Proto::ICMP6.0, 0, 5, 2, 0, 0, 1, 0];
const RECORD_LEN: usize = 20;
/// Groups of one report: they fit into the smallest MTU.
pub const GROUPS_PER_REPORT: usize = 48;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_REPORTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// A message about neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ndp {
    /// Asks for the target's MAC.
    Solicitation {
        /// Source address; unspecified in a probe for a duplicate address (RFC 4862 5.4).
        sender: Ipv6Addr,
        /// The sender's MAC, from its option, else from the frame.
        mac: Mac,
        /// The address asked for.
        target: Ipv6Addr,
    },
    /// Gives the target's MAC.
    Advertisement {
        /// The address it is about.
        target: Ipv6Addr,
        /// Its MAC; an answer to a unicast solicitation may leave it out.
        mac: Option<Mac>,
        /// It replaces a MAC known before.
        overrides: bool,
    },
    /// Asks for the groups that stations listen to (RFC 3810 5.1).
    Query(Query),
}

/// True for messages that this file reads.
pub(super) fn concerns(ip: &Ip) -> bool {
    let icmp_type = match ip.l4 {
        L4::Icmp { icmp_type, .. } if ip.proto == Proto::ICMP6 => icmp_type,
        _ => return false,
    };
    icmp_type == QUERY || (ROUTER_SOLICITATION..=REDIRECT).contains(&icmp_type)
}

/// Reads the message of a packet, with all checks of RFC 4861 7.1 (of RFC 3810 6.2 for a query).
pub(super) fn parse(frame: &[u8], ip: &Ip) -> Result<Ndp, DropReason> {
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else { return Err(DropReason::NdpInvalid) };
    let message = &frame[ip.l4_at..ip.end];
    // Fragments are refused: they evade filters on the link (RFC 6980 5).
    if ip.fragment != Fragment::Whole || message[1] != 0 || !icmp::checksum_is_right(frame, ip) {
        return Err(DropReason::NdpInvalid);
    }
    if message[0] == QUERY {
        let valid = ip.ttl == 1 && src.is_unicast_link_local() && message.len() >= FIXED_LEN;
        return if valid { Ok(Ndp::Query(query(message))) } else { Err(DropReason::NdpInvalid) };
    }
    if ip.ttl != 255 {
        return Err(DropReason::NdpInvalid);
    }
    if !matches!(message[0], SOLICITATION | ADVERTISEMENT) {
        return Err(DropReason::Ndp);
    }
    let (fixed, options) = message.split_first_chunk::<FIXED_LEN>().ok_or(DropReason::NdpInvalid)?;
    let target = Ipv6Addr::from(take::<16>(fixed, TARGET));
    if target.is_multicast() {
        return Err(DropReason::NdpInvalid);
    }
    if message[0] == SOLICITATION {
        let said = mac_option(options, SOURCE_MAC)?;
        let probe = src.is_unspecified();
        if probe && (said.is_some() || dst != solicited_node(target)) {
            return Err(DropReason::NdpInvalid);
        }
        let mac = said.unwrap_or_else(|| macs(frame).map_or(Mac::ZERO, |(_, from)| from));
        return Ok(Ndp::Solicitation { sender: src, mac, target });
    }
    let mac = mac_option(options, TARGET_MAC)?;
    if dst.is_multicast() && fixed[FLAGS] & SOLICITED != 0 {
        return Err(DropReason::NdpInvalid);
    }
    Ok(Ndp::Advertisement { target, mac, overrides: fixed[FLAGS] & OVERRIDE != 0 })
}

/// A query, which is of `FIXED_LEN` bytes at the least (those of MLDv1 have no more).
fn query(message: &[u8]) -> Query {
    let code = u64::from(u16::from_be_bytes(take(message, 4)));
    let old = message.len() == FIXED_LEN;
    let millis = if old { code } else { listener::time(code, 12) };
    let group = Some(Ipv6Addr::from(take::<16>(message, TARGET))).filter(|group| !group.is_unspecified());
    Query { family: Family::V6, group: group.map(IpAddr::V6), within: Duration::from_millis(millis), old }
}

/// The first option of that type; every option must have a length (RFC 4861 4.6).
fn mac_option(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, DropReason> {
    let mut found = None;
    while !options.is_empty() {
        let len = options.get(1).map_or(0, |units| usize::from(*units) * 8);
        let option = options.get(..len).filter(|option| !option.is_empty()).ok_or(DropReason::NdpInvalid)?;
        if option[0] == wanted && len == OPTION_LEN && found.is_none() {
            found = Some(Mac(take(option, 2)));
        }
        options = &options[len..];
    }
    Ok(found)
}

/// The group that receives solicitations for an address (RFC 4291 2.7.1).
pub fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// The MAC of a group (RFC 2464 7).
fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The address that a station has on every link without being given one (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// The sender of a message.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// MAC.
    pub mac: Mac,
    /// Source address.
    pub addr: Ipv6Addr,
}

/// Writes a solicitation: to the target's group, or to the one station that had the address.
pub fn solicitation(buf: &mut PacketBuf, from: Speaker, target: Ipv6Addr, known: Option<Mac>) {
    let to = match known {
        Some(mac) => (mac, target),
        None => (group_mac(solicited_node(target)), solicited_node(target)),
    };
    let body = message(buf, from, to, FIXED_LEN + OPTION_LEN);
    body[0] = SOLICITATION;
    put(body, TARGET, &target.octets());
    put_mac(&mut body[FIXED_LEN..], SOURCE_MAC, from.mac);
    finish(buf, ETH_LEN + ipv6::LEN, from.addr, to.1);
}

/// Writes a solicitation for an address that the speaker is about to use, and that somebody may have (RFC 4862 5.4.2).
pub fn probe(buf: &mut PacketBuf, mac: Mac, target: Ipv6Addr) {
    let (group, addr) = (solicited_node(target), Ipv6Addr::UNSPECIFIED);
    let body = message(buf, Speaker { mac, addr }, (group_mac(group), group), FIXED_LEN);
    body[0] = SOLICITATION;
    put(body, TARGET, &target.octets());
    finish(buf, ETH_LEN + ipv6::LEN, addr, group);
}

/// Writes an advertisement of the speaker's own address: to the station that asked, or to all nodes.
pub fn advertisement(buf: &mut PacketBuf, from: Speaker, asker: Option<(Mac, Ipv6Addr)>) {
    let to = asker.unwrap_or((group_mac(ALL_NODES), ALL_NODES));
    let body = message(buf, from, to, FIXED_LEN + OPTION_LEN);
    body[0] = ADVERTISEMENT;
    body[FLAGS] = ROUTER | OVERRIDE | if asker.is_some() { SOLICITED } else { 0 };
    put(body, TARGET, &from.addr.octets());
    put_mac(&mut body[FIXED_LEN..], TARGET_MAC, from.mac);
    finish(buf, ETH_LEN + ipv6::LEN, from.addr, to.1);
}

/// Writes a report that the speaker listens to the solicited-node groups of these addresses, at most `GROUPS_PER_REPORT`;
/// an address that is a group stands for itself.
pub fn report(buf: &mut PacketBuf, from: Speaker, why: Report, addresses: &[Ipv6Addr]) {
    let count = addresses.len().min(GROUPS_PER_REPORT);
    let len = ROUTER_ALERT.len() + 8 + count * RECORD_LEN;
    let frame = message(buf, from, (group_mac(ALL_REPORTS), ALL_REPORTS), len);
    frame[..8].copy_from_slice(&ROUTER_ALERT);
    let body = &mut frame[8..];
    body[0] = REPORT;
    body[7] = count as u8;
    for (record, addr) in body[8..].chunks_exact_mut(RECORD_LEN).zip(addresses) {
        record[0] = why as u8;
        record[4..].copy_from_slice(&group_of(*addr).octets());
    }
    let at = ETH_LEN + ipv6::LEN + ROUTER_ALERT.len();
    finish(buf, at, from.addr, ALL_REPORTS);
    behind_router_alert(buf);
}

/// Writes a report of MLDv1 (RFC 2710 section 3) about the group of an address, to that group.
pub fn old_report(buf: &mut PacketBuf, from: Speaker, addr: Ipv6Addr) {
    let group = group_of(addr);
    let frame = message(buf, from, (group_mac(group), group), ROUTER_ALERT.len() + FIXED_LEN);
    frame[..8].copy_from_slice(&ROUTER_ALERT);
    let body = &mut frame[8..];
    body[0] = OLD_REPORT;
    put(body, TARGET, &group.octets());
    finish(buf, ETH_LEN + ipv6::LEN + ROUTER_ALERT.len(), from.addr, group);
    behind_router_alert(buf);
}

fn group_of(addr: Ipv6Addr) -> Ipv6Addr {
    if addr.is_multicast() { addr } else { solicited_node(addr) }
}

/// A listener report comes behind a hop-by-hop header and goes no further than the link.
fn behind_router_alert(buf: &mut PacketBuf) {
    let frame = buf.frame_mut();
    frame[ETH_LEN + ipv6::NEXT_HEADER] = Proto::IP.0;
    frame[ETH_LEN + ipv6::HOP_LIMIT] = 1;
}

/// Headers of a message of `len` bytes, and the bytes themselves.
fn message(buf: &mut PacketBuf, from: Speaker, to: (Mac, Ipv6Addr), len: usize) -> &mut [u8] {
    let frame = buf.reset(ETH_LEN + ipv6::LEN + len);
    let (src, dst) = (IpAddr::V6(from.addr), IpAddr::V6(to.1));
    ip_header(frame, &Header { src, dst, proto: Proto::ICMP6, ttl: 255, tos: 0, id: 0, dont_fragment: false });
    set_macs(buf, to.0, from.mac);
    &mut buf.frame_mut()[ETH_LEN + ipv6::LEN..]
}

fn put_mac(option: &mut [u8], option_type: u8, mac: Mac) {
    option[..2].copy_from_slice(&[option_type, 1]);
    option[2..8].copy_from_slice(&mac.0);
}

/// Writes the checksum of the message at `at`.
fn finish(buf: &mut PacketBuf, at: usize, src: Ipv6Addr, dst: Ipv6Addr) {
    let message = &mut buf.frame_mut()[at..];
    let sum = !icmp::message_sum(IpAddr::V6(src), IpAddr::V6(dst), message);
    put16(message, field::CHECKSUM, sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Parsed, ip_packet, parse as parse_frame};

    const OURS: Mac = Mac([2, 0x74, 0, 0, 0, 2]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn addr(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn read(buf: &PacketBuf) -> Result<Ndp, DropReason> {
        match parse_frame(buf)? {
            Parsed::Ndp(ndp) => Ok(ndp),
            other => panic!("not about neighbours: {other:?}"),
        }
    }

    fn solicit(known: Option<Mac>) -> PacketBuf {
        let mut buf = PacketBuf::new();
        solicitation(&mut buf, Speaker { mac: OURS, addr: addr("2001:db8::2") }, addr("2001:db8::9"), known);
        buf
    }

    /// After an edit, with the checksum made right again.
    fn edited(mut buf: PacketBuf, edit: impl FnOnce(&mut [u8])) -> PacketBuf {
        edit(buf.frame_mut());
        let ip = ip_packet(buf.frame()).unwrap();
        icmp::set_checksum(&mut buf, &ip);
        buf
    }

    #[test]
    fn a_solicitation_goes_to_the_group_or_to_the_station_that_had_the_address() {
        let all = solicit(None);
        assert_eq!(all.frame()[..6], [0x33, 0x33, 0xff, 0, 0, 9]);
        let one = solicit(Some(THEIRS));
        assert_eq!(one.frame()[..6], THEIRS.0);
        let expected = Ndp::Solicitation { sender: addr("2001:db8::2"), mac: OURS, target: addr("2001:db8::9") };
        assert_eq!((read(&all), read(&one)), (Ok(expected), Ok(expected)));
        assert_eq!(ip_packet(all.frame()).unwrap().dst, IpAddr::V6(addr("ff02::1:ff00:9")));
    }

    #[test]
    fn an_advertisement_is_solicited_only_towards_the_station_that_asked() {
        let from = Speaker { mac: OURS, addr: addr("2001:db8::100") };
        let expected = Ndp::Advertisement { target: from.addr, mac: Some(OURS), overrides: true };
        let mut buf = PacketBuf::new();
        advertisement(&mut buf, from, Some((THEIRS, addr("2001:db8::9"))));
        assert_eq!((read(&buf), buf.frame()[58]), (Ok(expected), 0xe0));
        advertisement(&mut buf, from, None);
        assert_eq!((read(&buf), buf.frame()[58]), (Ok(expected), 0xa0));
        let lie = edited(buf, |frame| frame[58] |= SOLICITED);
        assert_eq!(read(&lie), Err(DropReason::NdpInvalid), "solicited by everybody");
    }

    #[test]
    fn what_breaks_a_rule_is_dropped_by_name() {
        for (what, at, value) in [
            ("hop limit", 21, 254),
            ("code", 55, 1),
            ("multicast target", 62, 0xff),
            ("option of no length", 79, 0),
            ("option longer than the packet", 79, 2),
        ] {
            let broken = edited(solicit(None), |frame| frame[at] = value);
            assert_eq!(read(&broken), Err(DropReason::NdpInvalid), "{what}");
        }
        let mut corrupt = solicit(None);
        corrupt.frame_mut()[56] ^= 1;
        assert_eq!(read(&corrupt), Err(DropReason::NdpInvalid), "checksum");
        assert_eq!(read(&edited(solicit(None), |frame| frame[54] = 134)), Err(DropReason::Ndp), "router advertisement");
    }

    #[test]
    fn a_probe_for_an_address_names_no_mac() {
        let probe = edited(solicit(None), |frame| frame[22..38].fill(0));
        assert_eq!(read(&probe), Err(DropReason::NdpInvalid), "with a MAC");
        let probe = edited(solicit(None), |frame| {
            frame[22..38].fill(0);
            // A nonce (RFC 7527) in its place.
            frame[78] = 14;
        });
        let expected = Ndp::Solicitation { sender: Ipv6Addr::UNSPECIFIED, mac: OURS, target: addr("2001:db8::9") };
        assert_eq!(read(&probe), Ok(expected));
        let astray = edited(probe, |frame| frame[53] = 8);
        assert_eq!(read(&astray), Err(DropReason::NdpInvalid), "to another group");
    }

    #[test]
    fn a_report_names_the_groups() {
        let mut buf = PacketBuf::new();
        let from = Speaker { mac: OURS, addr: link_local(OURS) };
        report(&mut buf, from, Report::Joined, &[addr("2001:db8::100"), addr("2001:db8::2")]);
        let ip = ip_packet(buf.frame()).unwrap();
        assert_eq!((ip.ttl, ip.dst, ip.proto), (1, IpAddr::V6(ALL_REPORTS), Proto::ICMP6));
        assert!(icmp::checksum_is_right(buf.frame(), &ip));
        assert_eq!(buf.frame()[ip.l4_at + 12..ip.l4_at + 28], addr("ff02::1:ff00:100").octets());
        assert_eq!(buf.frame()[ip.l4_at + 32..ip.l4_at + 48], addr("ff02::1:ff00:2").octets());
    }

    #[test]
    fn a_report_of_mldv1_goes_to_the_group_that_it_is_about() {
        let mut buf = PacketBuf::new();
        let from = Speaker { mac: OURS, addr: link_local(OURS) };
        for (of, group) in [("2001:db8::100", "ff02::1:ff00:100"), ("ff02::12", "ff02::12")] {
            old_report(&mut buf, from, addr(of));
            let ip = ip_packet(buf.frame()).unwrap();
            assert_eq!((ip.ttl, ip.dst, ip.proto), (1, IpAddr::V6(addr(group)), Proto::ICMP6));
            assert!(icmp::checksum_is_right(buf.frame(), &ip));
            assert_eq!(ip.l4, L4::Icmp { icmp_type: 131, code: 0 });
            assert_eq!(buf.frame()[ip.l4_at + 8..ip.end], addr(group).octets());
            assert_eq!(buf.frame()[..6], group_mac(addr(group)).0);
        }
    }

    #[test]
    fn the_link_local_address_follows_from_the_mac() {
        assert_eq!(link_local(Mac([0x02, 0x74, 10, 0, 0, 2])), addr("fe80::74:aff:fe00:2"));
    }
}
