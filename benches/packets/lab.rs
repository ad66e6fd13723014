//! A director with one service, frames to feed it, and a way out that takes frames as a TAP would.
//!
//! Everything a packet meets in the daemon but the two system calls.

use std::hash::RandomState;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use tapvs::base::{DropReason, Endpoint, Instant, LinkId, Mac, Medium, Prefix, Proto, Tuple};
use tapvs::director::{Director, Settings};
use tapvs::neigh::{Egress, Link};
use tapvs::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions};
use tapvs::wire::{self, ETH_LEN, Framing, PacketBuf, VNET_LEN, checksum};

pub const LINK: LinkId = LinkId(0);
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
/// Bytes of headers: virtio, Ethernet, IPv4, TCP with timestamps.
pub const HEADERS: usize = VNET_LEN + ETH_LEN + 20 + 32;
/// Payload of a segment that fits into a tunnel, and of a superframe of 45 of them.
pub const PLAIN: usize = 1400;
pub const SEGMENTS: usize = 45;
pub const SUPER: usize = SEGMENTS * PLAIN;
const TAP: Framing = Framing { vnet: true, medium: Medium::Ethernet };
const DIRECTOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const NEIGHBOUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const SERVERS: u8 = 8;

pub fn vip() -> Endpoint {
    Endpoint::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 80)
}

/// The headers of one frame; its payload is never looked at, so it is not made.
#[derive(Clone, Copy)]
pub struct Head {
    bytes: [u8; HEADERS],
    payload: u32,
}

/// A segment between two endpoints with `payload` bytes behind it; more than one packet's worth is a superframe.
pub fn segment(src: Endpoint, dst: Endpoint, flags: u8, payload: usize) -> Head {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (src.addr, dst.addr) else { panic!("IPv4 only") };
    let mut bytes = [0; HEADERS];
    let (vnet, frame) = bytes.split_at_mut(VNET_LEN);
    if payload > PLAIN {
        vnet.copy_from_slice(&[1, 1, 66, 0, PLAIN as u8, (PLAIN >> 8) as u8, 34, 0, 16, 0]);
    }
    frame[..6].copy_from_slice(&DIRECTOR_MAC.0);
    frame[6..12].copy_from_slice(&NEIGHBOUR_MAC.0);
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = &mut frame[ETH_LEN..];
    ip[..2].copy_from_slice(&[0x45, 0]);
    ip[2..4].copy_from_slice(&((52 + payload) as u16).to_be_bytes());
    ip[6..10].copy_from_slice(&[0x40, 0, 64, 6]);
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let sum = !checksum::sum(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[20..22].copy_from_slice(&src.port.to_be_bytes());
    ip[22..24].copy_from_slice(&dst.port.to_be_bytes());
    ip[32..34].copy_from_slice(&[0x80, flags]);
    Head { bytes, payload: payload as u32 }
}

/// Puts a frame where the TAP would have put it.
pub fn load(buf: &mut PacketBuf, head: &Head) {
    buf.read_area(TAP)[..HEADERS].copy_from_slice(&head.bytes);
    buf.filled(HEADERS + head.payload as usize, TAP);
}

/// The TAP's other direction: headers are encoded, bytes go nowhere.
#[derive(Default)]
pub struct Sink {
    pub frames: u64,
}

impl Egress for Sink {
    fn transmit(&mut self, _: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason> {
        let header_end = wire::header_end(frame);
        black_box(frame.write_area(TAP, header_end));
        self.frames += 1;
        Ok(())
    }
}

/// The endpoint of the n-th client: behind the gateway, every one different.
pub fn client(number: u32) -> Endpoint {
    let addr = Ipv4Addr::from(0xac10_0000 + number % 0xf_0000);
    Endpoint::new(IpAddr::V4(addr), 10_000 + (number / 0xf_0000) as u16)
}

/// A director whose service has eight servers reached by one method.
pub fn director(method: Method, max_flows: usize) -> Director {
    let settings = Settings { max_flows, ..Settings::default() };
    let mut director = Director::new(settings, RandomState::new(), 1);
    let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
    let addresses = vec![prefix("10.0.0.2/24")];
    director.router.add_link(Link { name: "tap0".into(), mac: DIRECTOR_MAC, mtu: 1500, addresses });
    let gateway: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
    director.router.routes.add(prefix("0.0.0.0/0"), Some(gateway), LINK);
    director.router.neighbours.add_permanent(LINK, gateway, NEIGHBOUR_MAC);
    let key = ServiceKey::Address(Proto::TCP, vip());
    let defaults = ServiceOptions::defaults(tapvs::base::Family::V4);
    let mut apply = |command| director.apply(&command, Instant::START).expect("a sound command");
    apply(Command::AddService(key, ServiceOptions { scheduler: "rr".into(), ..defaults }));
    // Local addresses enough for a million flows to each server.
    (0..32).for_each(|n| apply(Command::AddLocalAddress(key, Ipv4Addr::new(10, 0, 0, 100 + n).into())));
    for number in 0..SERVERS {
        let real = Endpoint::new(Ipv4Addr::new(10, 0, 0, 21 + number).into(), 80);
        apply(Command::AddDest(key, real, DestOptions { method, ..DestOptions::default() }));
    }
    for number in 0..SERVERS {
        let addr = Ipv4Addr::new(10, 0, 0, 21 + number).into();
        director.router.neighbours.add_permanent(LINK, addr, NEIGHBOUR_MAC);
    }
    // As the daemon does.
    let _ = tapvs::io::use_large_pages();
    director
}

/// How a reply of the real server to this client looks at the director.
pub fn reply_ends(director: &Director, client: Endpoint) -> (Endpoint, Endpoint) {
    let tuple = Tuple { proto: Proto::TCP, src: client, dst: vip() };
    let conn = *director.conns.get(director.conn_of(&tuple).expect("a conn of this client"));
    (director.conns.real(&conn), director.conns.local(&conn).unwrap_or(client))
}
