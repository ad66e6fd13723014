//! The null reflector: reads a frame from a TAP, rewrites it with constants, writes it. The limit of what a TAP can do.
//!
//! ```text
//! reflector nat|direct|tunnel BRIDGE TAP DIP VIP CLIENT_MAC SERVER SERVER_MAC
//!      nat      client -> VIP     becomes   client -> SERVER                        to SERVER_MAC
//!               SERVER -> client  becomes   VIP -> client                           to CLIENT_MAC
//!      direct   client -> VIP     stays what it is                                 to SERVER_MAC
//!      tunnel   client -> VIP     is put behind a constant header DIP -> SERVER    to SERVER_MAC
//! ```
//! The same link, loop and budget as tapvs. No table, no state, no check of anything: ARP for DIP and VIP is answered,
//! IPv4 is taken for TCP or UDP without options. What comes as a superframe does not fit a tunnel and is dropped.

use std::error::Error;
use std::net::Ipv4Addr;
use std::str::FromStr;

use mio::{Events, Interest, Poll, Token};
use tapvs::inside::base::{Mac, Medium};
use tapvs::inside::io::{Device, Link, LinkConfig, ReadOutcome};
use tapvs::inside::wire::arp::{self, Arp, ArpOp};
use tapvs::inside::wire::{ETH_LEN, Gso, PacketBuf, Vnet, checksum};

const OWN_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const BUDGET: usize = 256;
const IP_LEN: usize = 20;
const SOURCE: usize = ETH_LEN + 12;
const DESTINATION: usize = ETH_LEN + 16;

/// What a frame of one direction becomes.
struct Rewrite {
    /// Where the address stands that is replaced.
    at: usize,
    old: [u8; 4],
    new: [u8; 4],
    to: Mac,
}

/// What becomes of a frame for the VIP.
enum Method {
    /// Its address is replaced, and the real server's in what comes back.
    Nat { inbound: Rewrite, outbound: Rewrite },
    /// Only its MACs are.
    Direct { to: Mac },
    /// It goes behind a header that only its length changes.
    Tunnel { outer: [u8; IP_LEN], to: Mac },
}

struct Reflector {
    link: Link,
    own: [Ipv4Addr; 2],
    vip: [u8; 4],
    method: Method,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [method, bridge, tap, dip, vip, client_mac, server, server_mac] = &words[..] else {
        return Err("usage: reflector nat|direct|tunnel BRIDGE TAP DIP VIP CLIENT_MAC SERVER SERVER_MAC".into());
    };
    let config = LinkConfig {
        tap: Some(tap.clone()),
        bridge: Some(bridge.clone()),
        mtu: None,
        offload: true,
        mac: OWN_MAC,
        medium: Medium::Ethernet,
    };
    let (dip, vip) = (Ipv4Addr::from_str(dip)?, Ipv4Addr::from_str(vip)?);
    let (server, to) = (Ipv4Addr::from_str(server)?.octets(), Mac::from_str(server_mac)?);
    let method = match method.as_str() {
        "nat" => Method::Nat {
            inbound: Rewrite { at: DESTINATION, old: vip.octets(), new: server, to },
            outbound: Rewrite { at: SOURCE, old: server, new: vip.octets(), to: Mac::from_str(client_mac)? },
        },
        "direct" => Method::Direct { to },
        "tunnel" => Method::Tunnel { outer: outer(dip.octets(), server), to },
        other => return Err(format!("reflector: no method '{other}'; use nat, direct or tunnel").into()),
    };
    // Held open, and put back as it was, until the program ends.
    let device = Device::open(&config)?;
    let reflector = Reflector { link: device.link()?, own: [dip, vip], vip: vip.octets(), method };
    println!("ready");
    reflector.run()
}

impl Reflector {
    /// As the daemon's loop, until it is killed.
    fn run(mut self) -> Result<(), Box<dyn Error>> {
        let (mut poll, mut events, mut buf) = (Poll::new()?, Events::with_capacity(64), PacketBuf::new());
        poll.registry().register(&mut self.link, Token(0), Interest::READABLE)?;
        loop {
            poll.poll(&mut events, None)?;
            while self.drain(&mut buf)? {}
        }
    }

    fn drain(&mut self, buf: &mut PacketBuf) -> Result<bool, Box<dyn Error>> {
        for _ in 0..BUDGET {
            match self.link.read(buf)? {
                ReadOutcome::Frame => self.reflect(buf),
                ReadOutcome::Empty => return Ok(false),
                ReadOutcome::Gone => return Err("the TAP was deleted".into()),
            }
        }
        Ok(true)
    }

    fn reflect(&mut self, buf: &mut PacketBuf) {
        let frame = buf.frame();
        if frame.len() < ETH_LEN + 28 || frame[12..14] != [8, 0] {
            return self.answer(buf);
        }
        let from_client = frame[DESTINATION..DESTINATION + 4] == self.vip;
        let leaves = match &self.method {
            Method::Nat { inbound, outbound } => rewrite(if from_client { inbound } else { outbound }, buf),
            Method::Direct { to } => from_client && turn(*to, buf),
            Method::Tunnel { outer, to } => from_client && wrap(outer, buf) && turn(*to, buf),
        };
        if leaves {
            self.send(buf);
        }
    }

    fn answer(&mut self, buf: &mut PacketBuf) {
        let Some(Ok(Arp { op: ArpOp::Request, sender, target })) = buf.frame().get(ETH_LEN..).map(arp::parse) else {
            return;
        };
        if self.own.contains(&target.1) {
            arp::build(buf, sender.0, &Arp { op: ArpOp::Reply, sender: (OWN_MAC, target.1), target: sender });
            self.send(buf);
        }
    }

    fn send(&mut self, buf: &mut PacketBuf) {
        self.link.enclose(buf);
        // A full queue is the kernel's to count.
        let _ = self.link.write(buf);
    }
}

fn turn(to: Mac, buf: &mut PacketBuf) -> bool {
    let frame = buf.frame_mut();
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&OWN_MAC.0);
    true
}

fn rewrite(rewrite: &Rewrite, buf: &mut PacketBuf) -> bool {
    let partial = buf.vnet.needs_csum;
    let frame = buf.frame_mut();
    if frame[rewrite.at..rewrite.at + 4] != rewrite.old {
        return false;
    }
    frame[rewrite.at..rewrite.at + 4].copy_from_slice(&rewrite.new);
    frame[ETH_LEN + 8] -= 1;
    let update = |frame: &mut [u8], at: usize, partial: bool, change: u16| {
        let field = u16::from_be_bytes([frame[at], frame[at + 1]]);
        let made = if partial { checksum::add(field, change) } else { checksum::update(field, change) };
        frame[at..at + 2].copy_from_slice(&made.to_be_bytes());
    };
    let change = checksum::change(&rewrite.old, &rewrite.new);
    update(frame, ETH_LEN + 10, false, checksum::add(change, checksum::change(&[1, 0], &[0, 0])));
    let field = if frame[ETH_LEN + 9] == 6 { ETH_LEN + 36 } else { ETH_LEN + 26 };
    if field + 2 <= frame.len() {
        update(frame, field, partial, change);
    }
    turn(rewrite.to, buf)
}

/// The header of a tunnel, its length and checksum for a packet of no bytes.
fn outer(from: [u8; 4], to: [u8; 4]) -> [u8; IP_LEN] {
    let mut header = [0; IP_LEN];
    header[..10].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 4]);
    header[12..16].copy_from_slice(&from);
    header[16..].copy_from_slice(&to);
    let sum = !checksum::sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn wrap(outer: &[u8; IP_LEN], buf: &mut PacketBuf) -> bool {
    let Vnet { needs_csum, gso, csum_start, csum_offset, .. } = buf.vnet;
    if gso != Gso::None {
        return false;
    }
    if needs_csum {
        // The far end of a tunnel cannot know that a checksum is unfinished.
        let (from, field) = (usize::from(csum_start), usize::from(csum_start + csum_offset));
        let sum = !checksum::sum(&buf.frame()[from..]);
        buf.frame_mut()[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        buf.vnet = Vnet::default();
    }
    if !buf.insert(ETH_LEN, IP_LEN) {
        return false;
    }
    let total = ((buf.len() - ETH_LEN) as u16).to_be_bytes();
    let header = &mut buf.frame_mut()[ETH_LEN..ETH_LEN + IP_LEN];
    header.copy_from_slice(outer);
    header[2..4].copy_from_slice(&total);
    let sum = checksum::update(u16::from_be_bytes([outer[10], outer[11]]), checksum::change(&[0, 0], &total));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    true
}
