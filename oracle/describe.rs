//! A frame in words, as recordings write it: `tcp 192.0.2.1:5>10.0.0.1:80 S`, `ipip A>B {...}`, `icmp A>B type 3 code 3 {...}`.
//!
//! Reads what is there; what it cannot read it names by protocol number.

use std::net::IpAddr;

use tapvs::inside::base::{Mac, Proto};
use tapvs::inside::testing::mac_of;
use tapvs::inside::wire::{ETH_LEN, Ip, L4, ip_packet};

/// The packet of a frame.
pub fn frame(frame: &[u8]) -> String {
    match ip_packet(frame) {
        Ok(ip) => packet(frame, &ip),
        Err(reason) => format!("{} ({} bytes)", reason.name(), frame.len()),
    }
}

/// As `frame`, with `via SERVER` in front where a server's MAC gets what is not addressed to it.
pub fn sent(frame_bytes: &[u8], servers: &[IpAddr]) -> String {
    let via = server_behind(frame_bytes, servers).filter(|addr| ip_packet(frame_bytes).is_ok_and(|ip| ip.dst != *addr));
    match via {
        Some(addr) => format!("via {addr} {}", frame(frame_bytes)),
        None => frame(frame_bytes),
    }
}

/// The server whose MAC a frame is sent to.
pub fn server_behind(frame: &[u8], servers: &[IpAddr]) -> Option<IpAddr> {
    let mac = Mac(frame.get(..6)?.try_into().ok()?);
    servers.iter().copied().find(|addr| mac_of(*addr) == mac)
}

fn packet(frame: &[u8], ip: &Ip) -> String {
    match ip.l4 {
        L4::Tcp { flags, .. } => format!("tcp {} {}", ends(ip), flag_letters(flags.0)),
        L4::Udp { .. } => format!("udp {}", ends(ip)),
        L4::Sctp { .. } => format!("sctp {}", ends(ip)),
        L4::Icmp { icmp_type, code } => error(frame, ip, icmp_type, code),
        L4::Other | L4::Truncated => match ip.proto {
            Proto::IPIP => format!("ipip {}>{} {{{}}}", ip.src, ip.dst, inner(frame, ip.l4_at)),
            Proto(41) => format!("ipv6 {}>{} {{{}}}", ip.src, ip.dst, inner(frame, ip.l4_at)),
            other => format!("{other} {}>{}", ip.src, ip.dst),
        },
    }
}

fn error(frame: &[u8], ip: &Ip, icmp_type: u8, code: u8) -> String {
    let name = if ip.proto == Proto::ICMP { "icmp" } else { "icmp6" };
    let about = inner(frame, ip.l4_at + 8);
    format!("{name} {}>{} type {icmp_type} code {code} {{{about}}}", ip.src, ip.dst)
}

/// What is quoted or wrapped from `at` on; its lengths may promise more than is there.
fn inner(frame_bytes: &[u8], at: usize) -> String {
    let mut alone = vec![0; ETH_LEN];
    alone.extend_from_slice(frame_bytes.get(at..).unwrap_or_default());
    let version = alone.get(ETH_LEN).map_or(0, |byte| byte >> 4);
    alone[12..14].copy_from_slice(if version == 6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
    frame(&alone)
}

fn ends(ip: &Ip) -> String {
    match ip.tuple() {
        Some(tuple) => format!("{}>{}", tuple.src, tuple.dst),
        None => format!("{}>{}", ip.src, ip.dst),
    }
}

fn flag_letters(flags: u8) -> String {
    let letters = [(0x02, 'S'), (0x01, 'F'), (0x04, 'R'), (0x08, 'P'), (0x10, 'A'), (0x20, 'U')];
    let set: String = letters.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, letter)| letter).collect();
    if set.is_empty() { ".".into() } else { set }
}
