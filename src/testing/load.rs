//! A director with one service of eight servers, and the headers of frames to feed it, for benches and for the test that
//! counts allocations: everything a packet meets in the daemon but the two system calls.
//!
//! Headers are written by hand: making them is part of what benches count, and must cost little.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::{Chance, Endpoint, Family, Instant, LinkId, Mac, Medium, Prefix, Proto, Tuple};
use crate::director::{Director, Settings};
use crate::router::{Link, Turn};
use crate::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions};
use crate::wire::{ETH_LEN, Framing, PacketBuf, VNET_LEN, VnetHeader, checksum};

pub use crate::wires::{Sink, handle};

/// The only link.
pub const LINK: LinkId = LinkId(0);
/// TCP flag.
pub const SYN: u8 = 0x02;
/// TCP flag.
pub const ACK: u8 = 0x10;
/// Room for headers: virtio, Ethernet, IPv6, TCP with timestamps.
pub const HEADERS: usize = VNET_LEN + ETH_LEN + 40 + TCP_LEN;
const TCP_LEN: usize = 32;
/// Payload of a segment that fits into a tunnel.
pub const PLAIN: usize = 1400;
/// Segments of a superframe.
pub const SEGMENTS: usize = 45;
/// Payload of a superframe.
pub const SUPER: usize = SEGMENTS * PLAIN;
const TAP: Framing = Framing { vnet: VnetHeader::Plain, medium: Medium::Ethernet };
const DIRECTOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const NEIGHBOUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const SERVERS: u8 = 8;

/// The service.
pub fn vip(family: Family) -> Endpoint {
    Endpoint::new(address(family, Ipv4Addr::new(198, 51, 100, 1)), 80)
}

/// The same address in either family: the IPv4 one stands behind 2001:db8::.
fn address(family: Family, addr: Ipv4Addr) -> IpAddr {
    match family {
        Family::V4 => addr.into(),
        Family::V6 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(addr.to_bits())).into(),
    }
}

/// The headers of one frame; its payload is never looked at, so it is not made.
#[derive(Clone, Copy)]
pub struct Head {
    /// One length for both families: the copy costs the same.
    bytes: [u8; HEADERS],
    /// Of the frame that it begins, virtio header included.
    total: u32,
}

/// A segment between two endpoints with `payload` bytes behind it; more than one packet's worth is a superframe.
pub fn segment(src: Endpoint, dst: Endpoint, flags: u8, payload: usize) -> Head {
    let mut bytes = [0; HEADERS];
    let (vnet, frame) = bytes.split_at_mut(VNET_LEN);
    frame[..6].copy_from_slice(&DIRECTOR_MAC.0);
    frame[6..12].copy_from_slice(&NEIGHBOUR_MAC.0);
    let (ethertype, gso, ip_len) = match (src.addr, dst.addr) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ([0x08, 0x00], 1, ipv4(&mut frame[ETH_LEN..], from, to, payload)),
        (IpAddr::V6(from), IpAddr::V6(to)) => ([0x86, 0xdd], 4, ipv6(&mut frame[ETH_LEN..], from, to, payload)),
        _ => panic!("one family a packet"),
    };
    frame[12..14].copy_from_slice(&ethertype);
    let tcp_at = ETH_LEN + ip_len;
    let tcp = &mut frame[tcp_at..];
    tcp[..2].copy_from_slice(&src.port.to_be_bytes());
    tcp[2..4].copy_from_slice(&dst.port.to_be_bytes());
    tcp[12..14].copy_from_slice(&[0x80, flags]);
    let headers = tcp_at + TCP_LEN;
    if payload > PLAIN {
        vnet.copy_from_slice(&[1, gso, headers as u8, 0, PLAIN as u8, (PLAIN >> 8) as u8, tcp_at as u8, 0, 16, 0]);
    }
    Head { bytes, total: (VNET_LEN + headers + payload) as u32 }
}

/// Writes an IPv4 header; its length.
fn ipv4(ip: &mut [u8], from: Ipv4Addr, to: Ipv4Addr, payload: usize) -> usize {
    ip[..2].copy_from_slice(&[0x45, 0]);
    ip[2..4].copy_from_slice(&((20 + TCP_LEN + payload) as u16).to_be_bytes());
    ip[6..10].copy_from_slice(&[0x40, 0, 64, 6]);
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let sum = !checksum::sum(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    20
}

/// Writes an IPv6 header; its length.
fn ipv6(ip: &mut [u8], from: Ipv6Addr, to: Ipv6Addr, payload: usize) -> usize {
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&((TCP_LEN + payload) as u16).to_be_bytes());
    ip[6..8].copy_from_slice(&[6, 64]);
    ip[8..24].copy_from_slice(&from.octets());
    ip[24..40].copy_from_slice(&to.octets());
    40
}

/// Puts a frame where the TAP would have put it.
pub fn load(buf: &mut PacketBuf, head: &Head) {
    buf.read_area(TAP)[..HEADERS].copy_from_slice(&head.bytes);
    buf.filled(head.total as usize, TAP);
}

/// The loop's turn at a time.
pub fn turn(now: Instant) -> Turn<Sink> {
    let mut turn = Turn::new(Sink { framing: TAP, frames: 0 });
    turn.now = now;
    turn
}

/// The endpoint of the n-th client: behind the gateway, every one different.
pub fn client(family: Family, number: u32) -> Endpoint {
    let addr = address(family, Ipv4Addr::from(0xac10_0000 + number % 0xf_0000));
    Endpoint::new(addr, 10_000 + (number / 0xf_0000) as u16)
}

/// A director whose service has eight servers reached by one method.
pub fn director(family: Family, method: Method, max_flows: usize) -> Director {
    let settings = Settings { max_flows, ..Settings::default() };
    let mut director = Director::new(settings, Chance::KNOWN);
    let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
    let addresses = vec![prefix("10.0.0.2/24"), prefix("2001:db8::a00:2/120")];
    director.router.add_link(Link { name: "tap0".into(), mac: DIRECTOR_MAC, mtu: 1500, addresses });
    let near = |host: u8| address(family, Ipv4Addr::new(10, 0, 0, host));
    let everywhere = match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    };
    director.router.routes.add(prefix(everywhere), Some(near(1)), LINK);
    director.router.neighbours.add_permanent(LINK, near(1), NEIGHBOUR_MAC);
    let key = ServiceKey::Address(Proto::TCP, vip(family));
    let defaults = ServiceOptions::defaults(family);
    let mut apply = |command| director.apply(&command, Instant::START).expect("a sound command");
    apply(Command::AddService(key, ServiceOptions { scheduler: "rr".into(), ..defaults }));
    // Local addresses enough for a million flows to each server.
    (0..32).for_each(|n| apply(Command::AddLocalAddress(key, near(100 + n))));
    for number in 0..SERVERS {
        let real = Endpoint::new(near(21 + number), 80);
        apply(Command::AddDest(key, real, DestOptions { method, ..DestOptions::default() }));
    }
    for number in 0..SERVERS {
        director.router.neighbours.add_permanent(LINK, near(21 + number), NEIGHBOUR_MAC);
    }
    // As the daemon does.
    let _ = crate::io::use_large_pages(director.flows.conns.memory());
    director
}

/// How a reply of the real server to this client looks at the director.
pub fn reply_ends(director: &Director, client: Endpoint) -> (Endpoint, Endpoint) {
    let tuple = Tuple { proto: Proto::TCP, src: client, dst: vip(Family::of(client.addr)) };
    let conn = *director.flows.conns.get(director.conn_of(&tuple).expect("a conn of this client"));
    (director.flows.conns.real(&conn), director.flows.conns.local(&conn).unwrap_or(client))
}
