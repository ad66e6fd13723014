//! Reports of the IPv4 groups that are listened to, which snooping bridges want (RFC 3376; RFC 2236 where a querier is of
//! that version).
//!
//! Builds and reads; never answers by itself. Groups of 224.0.0.0/24 are not reported: bridges pass them on (RFC 4541).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::ethernet::set_macs;
use super::field::{ETH_LEN, ipv4, put, put16, take};
use super::ip::{Header, ip_header, set_header_checksum};
use super::listener::{self, Query, Report};
use super::packet::{Fragment, Ip};
use super::{PacketBuf, checksum};
use crate::base::{Family, Mac, Proto};

const QUERY: u8 = 0x11;
const OLD_REPORT: u8 = 0x16;
const REPORT: u8 = 0x22;

/// Type, time, checksum, group.
const FIXED_LEN: usize = 8;
const CODE: usize = 1;
const CHECKSUM: usize = 2;
const GROUP: usize = 4;
const RECORD_LEN: usize = 8;
/// Groups of one report.
pub const GROUPS_PER_REPORT: usize = 48;

const ALL_REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// RFC 2113.
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
const HEADER_LEN: usize = ipv4::LEN + ROUTER_ALERT.len();
/// RFC 3376 4: internetwork control.
const TOS: u8 = 0xc0;
/// What a query of IGMPv1 gives (RFC 2236 4), in tenths of a second.
const USUAL: u64 = 100;

/// True for groups that are reported.
pub fn is_reported(group: Ipv4Addr) -> bool {
    group.is_multicast() && !matches!(group.octets(), [224, 0, 0, _])
}

/// The query that a packet is, if it is a sound one.
pub fn query(frame: &[u8], ip: &Ip) -> Option<Query> {
    let message = frame.get(ip.l4_at..ip.end)?;
    let fixed: &[u8; FIXED_LEN] = message.first_chunk()?;
    let is_whole = ip.proto == Proto::IGMP && ip.fragment == Fragment::Whole && ip.dst.is_ipv4();
    if !is_whole || ip.ttl != 1 || fixed[0] != QUERY || checksum::sum(message) != 0xffff {
        return None;
    }
    let old = message.len() == FIXED_LEN;
    let tenths = match u64::from(fixed[CODE]) {
        0 if old => USUAL,
        code if old => code,
        code => listener::time(code, 4),
    };
    let group = Some(Ipv4Addr::from(take::<4>(fixed, GROUP))).filter(|group| !group.is_unspecified());
    Some(Query { family: Family::V4, group: group.map(IpAddr::V4), within: Duration::from_millis(100 * tenths), old })
}

/// Writes a report that the sender listens to these groups, at most `GROUPS_PER_REPORT`.
pub fn report(buf: &mut PacketBuf, from: (Mac, Ipv4Addr), why: Report, groups: &[Ipv4Addr]) {
    let count = groups.len().min(GROUPS_PER_REPORT);
    let body = message(buf, from, ALL_REPORTS, FIXED_LEN + count * RECORD_LEN);
    body[0] = REPORT;
    put16(body, 6, count as u16);
    for (record, group) in body[FIXED_LEN..].chunks_exact_mut(RECORD_LEN).zip(groups) {
        record[0] = why as u8;
        put(record, 4, &group.octets());
    }
    finish(buf);
}

/// Writes a report of IGMPv2 about one group, to that group.
pub fn old_report(buf: &mut PacketBuf, from: (Mac, Ipv4Addr), group: Ipv4Addr) {
    let body = message(buf, from, group, FIXED_LEN);
    body[0] = OLD_REPORT;
    put(body, GROUP, &group.octets());
    finish(buf);
}

/// Headers of a message of `len` bytes, and the bytes themselves.
fn message(buf: &mut PacketBuf, (mac, src): (Mac, Ipv4Addr), to: Ipv4Addr, len: usize) -> &mut [u8] {
    let frame = buf.reset(ETH_LEN + HEADER_LEN + len);
    let (src, dst) = (IpAddr::V4(src), IpAddr::V4(to));
    ip_header(frame, &Header { src, dst, proto: Proto::IGMP, ttl: 1, tos: TOS, id: 0, dont_fragment: true });
    let header = &mut frame[ETH_LEN..ETH_LEN + HEADER_LEN];
    header[0] = 0x40 | (HEADER_LEN / 4) as u8;
    put(header, ipv4::LEN, &ROUTER_ALERT);
    set_header_checksum(header);
    set_macs(buf, Mac::of_group(dst), mac);
    &mut buf.frame_mut()[ETH_LEN + HEADER_LEN..]
}

fn finish(buf: &mut PacketBuf) {
    let message = &mut buf.frame_mut()[ETH_LEN + HEADER_LEN..];
    put16(message, CHECKSUM, 0);
    let sum = !checksum::sum(message);
    put16(message, CHECKSUM, sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ip_packet;

    const FROM: (Mac, Ipv4Addr) = (Mac([2, 0x74, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2));
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 129, 2, 3);

    /// As Linux 6.18 sends it when a socket joins 239.129.2.3 on a link with 10.0.0.2.
    #[test]
    fn a_report_is_the_one_that_linux_sends() {
        let mut buf = PacketBuf::new();
        report(&mut buf, FROM, Report::Joined, &[GROUP]);
        #[rustfmt::skip]
        assert_eq!(buf.frame(), [
            0x01, 0x00, 0x5e, 0x00, 0x00, 0x16, 0x02, 0x74, 0x00, 0x00, 0x00, 0x02, 0x08, 0x00, 0x46, 0xc0,
            0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x01, 0x02, 0xf9, 0xf7, 0x0a, 0x00, 0x00, 0x02, 0xe0, 0x00,
            0x00, 0x16, 0x94, 0x04, 0x00, 0x00, 0x22, 0x00, 0xe8, 0x79, 0x00, 0x00, 0x00, 0x01, 0x04, 0x00,
            0x00, 0x00, 0xef, 0x81, 0x02, 0x03,
        ]);
    }

    #[test]
    fn queries_are_read_and_whatever_is_no_sound_one_is_not() {
        let built = |code: u8, len: usize| {
            let mut buf = PacketBuf::new();
            let body = message(&mut buf, FROM, GROUP, len);
            (body[0], body[1]) = (QUERY, code);
            put(body, 4, &GROUP.octets());
            finish(&mut buf);
            buf
        };
        let read = |buf: &PacketBuf| query(buf.frame(), &ip_packet(buf.frame()).unwrap());
        for (code, len, millis, old) in
            [(100, 12, 10_000, false), (0x80, 12, 12_800, false), (0x80, 8, 12_800, true), (0, 8, 10_000, true)]
        {
            let wanted =
                Query { family: Family::V4, group: Some(GROUP.into()), within: Duration::from_millis(millis), old };
            assert_eq!(read(&built(code, len)), Some(wanted), "code {code}, {len} bytes");
        }
        let (whole, len) = (built(100, 8), ETH_LEN + HEADER_LEN);
        let ip = ip_packet(whole.frame()).unwrap();
        (0..8).for_each(|short| assert_eq!(query(&whole.frame()[..len + short], &ip), None, "{short} bytes"));
        for at in [22, 38, 40, 44] {
            let mut damaged = built(100, 12);
            damaged.frame_mut()[at] ^= 2;
            set_header_checksum(&mut damaged.frame_mut()[ETH_LEN..ETH_LEN + HEADER_LEN]);
            assert_eq!(read(&damaged), None, "byte {at}");
        }
    }
}
