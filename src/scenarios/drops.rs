//! Every reason to drop a packet, provoked once, and counted under its name alone.

use std::time::Duration;

use super::extensions::{HOP_BY_HOP, behind};
use super::{CLIENT, CLIENT6, RS1, VIP, VIP6};
use crate::base::{DropReason, Mac};
use crate::director::Settings;
use crate::outbound::{Forward, Policy};
use crate::settings::{ClientHeader, Unknown};
use crate::testing::{DIRECTOR, Kind, LINK, Lab, Packet, ROUTER};
use crate::wire::{Gso, PacketBuf, Vnet, ndp};

const NAT: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n";

fn syn() -> Packet {
    Packet::tcp(CLIENT, VIP, "S")
}

fn nat() -> Lab {
    Lab::new(NAT)
}

/// One packet that ends for this reason, in a fresh lab.
fn provoke(reason: DropReason) -> Lab {
    let mut lab = match reason {
        DropReason::NoServer => Lab::new("-A -t 198.51.100.1:80 -s rr"),
        DropReason::NoCallId => {
            Lab::new("-A -u 198.51.100.1:80 -s rr -p 60 --pe sip\n-a -u 198.51.100.1:80 -r 10.0.0.21:8080 -m")
        }
        DropReason::BadCookie => {
            let settings = Settings { unknown: Unknown::Drop, ..Settings::default() };
            Lab::with(settings, &NAT.replace("-s rr", "-s rr --syn-proxy on"))
        }
        DropReason::ServerAwaited => Lab::new(&NAT.replace("-s rr", "-s rr --syn-proxy on")),
        DropReason::ServiceLimit => Lab::new(&NAT.replace("-s rr", "-s rr --limit conns=1")),
        DropReason::ClientLimit => Lab::new(&NAT.replace("-s rr", "-s rr --limit client-new=1")),
        DropReason::Defence => Lab::with(Settings { drop_packet: 3, am_droprate: 1, ..Settings::default() }, NAT),
        DropReason::FlowTableFull => Lab::with(Settings { max_flows: 1, ..Settings::default() }, NAT),
        DropReason::NeighbourUnreachable | DropReason::HoldQueueFull | DropReason::Shutdown => {
            Lab::without_neighbours(Settings::default(), NAT)
        }
        DropReason::NoConn => Lab::with(Settings { nat_icmp_send: true, ..Settings::default() }, NAT),
        DropReason::UnknownConn => Lab::with(Settings { unknown: Unknown::Drop, ..Settings::default() }, NAT),
        DropReason::NoRoute | DropReason::NoLocalPort => nat_without_default_route(),
        DropReason::ClientHeader => {
            let settings = Settings { proxy_client_header: ClientHeader::Refuse, ..Settings::default() };
            Lab::with(settings, &NAT.replace("-m", "-b --client-address proxy-v2"))
        }
        DropReason::L4Checksum => Lab::new("-A -t 198.51.100.1:21 -s rr\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m"),
        DropReason::SipOrder => Lab::new("-A -t 198.51.100.1:5060 -s rr\n-a -t 198.51.100.1:5060 -r 10.0.0.21:5060 -m"),
        _ => nat(),
    };
    send(reason, &mut lab);
    lab
}

fn nat_without_default_route() -> Lab {
    // The servers are beyond every route: nothing leads there but the default, which is taken away.
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 172.16.0.1:80 -m");
    lab.director.router.routes = Default::default();
    lab
}

fn send(reason: DropReason, lab: &mut Lab) {
    let frame = syn().frame(ROUTER, DIRECTOR);
    match reason {
        DropReason::Malformed => drop(lab.frame(&frame[..20])),
        DropReason::HeaderChecksum => drop(lab.frame(&with(&frame, 24, 0xff))),
        DropReason::EtherType => drop(lab.frame(&with(&frame, 12, 0x88))),
        DropReason::NotForUs => drop(lab.frame(&with(&frame, 5, 0x77))),
        DropReason::Martian => drop(lab.client(&syn().from("127.0.0.1:4000"))),
        DropReason::UnknownConn => drop(lab.client(&Packet::tcp(CLIENT, VIP, "A"))),
        DropReason::TruncatedL4 => {
            drop(lab.client(&Packet::new("192.0.2.7", "198.51.100.1", Kind::Other(6)).carrying([0; 8])));
        }
        DropReason::L4Checksum => {
            for flags in ["S", "A"] {
                lab.client(&Packet::tcp(CLIENT, "198.51.100.1:21", flags));
            }
            let text = Packet::tcp(CLIENT, "198.51.100.1:21", "AP").carrying("PASV\r\n");
            let mut frame = text.frame(ROUTER, DIRECTOR);
            frame[55] ^= 1;
            lab.take_moved();
            lab.frame(&frame);
        }
        DropReason::Offload => {
            let vnet = Vnet { needs_csum: true, gso: Gso::Unknown, csum_start: 34, csum_offset: 16, ..Vnet::default() };
            drop(lab.frame_with(&frame, vnet));
        }
        DropReason::ClientHeader => {
            lab.client(&syn());
            lab.take_moved();
            lab.client(&Packet { seq: syn().seq + 9, ..Packet::tcp(CLIENT, VIP, "AP") }.carrying("later"));
        }
        DropReason::TinySegments => {
            let frame = syn().carrying([0; 1025]).frame(ROUTER, DIRECTOR);
            let vnet = Vnet { needs_csum: true, csum_start: 34, csum_offset: 16, ..Vnet::default() };
            drop(lab.frame_with(&frame, Vnet { gso: Gso::Tcp4, gso_size: 1, ..vnet }));
        }
        DropReason::BadSync => {
            lab.rules("--start-daemon backup --mcast-interface tap0");
            let to_group = Packet::udp("10.0.0.3:4000", "224.0.0.81:8848").carrying("no message");
            lab.frame(&to_group.frame(ROUTER, Mac::of_group("224.0.0.81".parse().unwrap())));
        }
        DropReason::Vrrp => {
            let advert =
                Packet::new("10.0.0.3", "224.0.0.18", Kind::Other(112)).carrying([0x31, 9, 100, 0, 0, 100, 0, 0]);
            lab.frame(&advert.frame(ROUTER, Mac::of_group("224.0.0.18".parse().unwrap())));
        }
        DropReason::SourceRoute => drop(lab.frame(&source_routed(&frame))),
        DropReason::ExtensionHeader => drop(lab.frame(&with_unknown_option())),
        DropReason::Arp => drop(lab.frame(&arp_for_somebody())),
        DropReason::NdpInvalid => drop(lab.frame(&with(&question("2001:db8::9"), 21, 64))),
        DropReason::Ndp => drop(lab.frame(&question("2001:db8::9"))),
        DropReason::BeyondScope => drop(lab.frame(&link_local_syn())),
        DropReason::TtlExceeded => drop(lab.client(&Packet { ttl: 1, ..syn() })),
        DropReason::TooBig => drop(lab.client(&syn().carrying(vec![0; 1500]))),
        DropReason::NotForwarded => {
            lab.director.outbound.set_policy(LINK, Policy { forward: Forward::None, ..Policy::default() });
            lab.client(&syn().to("10.0.0.21:22"));
        }
        DropReason::NoRoute => drop(lab.client(&syn())),
        DropReason::NeighbourUnreachable => {
            lab.client(&syn());
            lab.advance(Duration::from_secs(10));
        }
        DropReason::HoldQueueFull => {
            for port in 4000..4200 {
                lab.client(&syn().from(&format!("192.0.2.7:{port}")).carrying(vec![0; 1400]));
            }
        }
        DropReason::NeighbourLimit => {
            for last in 100..120 {
                lab.client(&Packet::udp(CLIENT, &format!("10.0.0.{last}:9")));
            }
        }
        DropReason::Standby => {
            lab.director.presence().stand_by(true, lab.turn.now);
            lab.client(&syn());
        }
        DropReason::NoServer | DropReason::Defence => drop(lab.client(&syn())),
        DropReason::ServiceLimit | DropReason::ClientLimit => {
            lab.client(&syn());
            lab.client(&syn().from("192.0.2.7:4001"));
        }
        DropReason::BadCookie => drop(lab.client(&Packet::tcp(CLIENT, VIP, "A"))),
        DropReason::SipOrder => {
            let sip = Packet::tcp(CLIENT, "198.51.100.1:5060", "AP");
            for (flags, seq) in [("S", 1), ("A", 2)] {
                lab.client(&Packet { seq, ..Packet::tcp(CLIENT, "198.51.100.1:5060", flags) });
            }
            lab.client(&Packet { seq: 2, ..sip.clone() }.carrying("\r\n"));
            drop(lab.client(&Packet { seq: 9, ..sip }.carrying("\r\n")));
        }
        DropReason::ServerAwaited => {
            let cookie = lab.client(&syn())[0].packet().seq;
            let ack = Packet { seq: 1001, ack: cookie.wrapping_add(1), ..Packet::tcp(CLIENT, VIP, "A") };
            lab.client(&ack);
            lab.client(&ack.carrying("GET /"));
        }
        DropReason::NoConn => drop(lab.real(&Packet::tcp("10.0.0.21:8080", CLIENT, "A"))),
        DropReason::NoCallId => drop(lab.client(&Packet::udp(CLIENT, VIP).carrying("OPTIONS sip:x SIP/2.0\r\n\r\n"))),
        DropReason::DestGone => {
            lab.client(&syn());
            lab.rules("-d -t 198.51.100.1:80 -r 10.0.0.21:8080");
            lab.client(&Packet::tcp(CLIENT, VIP, "A"));
        }
        DropReason::FlowTableFull => {
            lab.client(&syn());
            lab.real(&Packet::tcp(RS1, CLIENT, "SA"));
            lab.client(&Packet::tcp(CLIENT, VIP, "A"));
            lab.client(&syn().from("192.0.2.7:4001"));
        }
        DropReason::NoLocalPort => {
            lab.rules("-A -t 198.51.100.2:80 -s rr\n-a -t 198.51.100.2:80 -r 172.16.0.1:80 --fullnat");
            lab.client(&syn().to("198.51.100.2:80"));
        }
        DropReason::LocalClosed => drop(lab.client(&Packet::udp(CLIENT, "198.51.100.1:9"))),
        DropReason::LocalIcmp => {
            drop(lab.client(&Packet::new("192.0.2.7", "198.51.100.1", Kind::Icmp(13, 0, [0; 4]))));
        }
        DropReason::BadIcmp => {
            let ping = Packet::new("192.0.2.7", "198.51.100.1", Kind::Icmp(8, 0, [0; 4]));
            lab.frame(&with(&ping.frame(ROUTER, DIRECTOR), 36, 0xff));
        }
        DropReason::FragmentInvalid => {
            lab.client(&piece(0, true));
            lab.client(&piece(8, true));
            lab.client(&Packet { payload: vec![1; 24], ..piece(16, true) });
        }
        DropReason::FragmentTimeout => {
            lab.client(&piece(0, true));
            lab.advance(Duration::from_secs(60));
        }
        DropReason::FragmentMemory => {
            for id in 0..5000 {
                lab.client(&Packet { id, ..piece(0, true) });
            }
        }
        DropReason::DeviceBusy | DropReason::DeviceDown | DropReason::DeviceRefused => {
            lab.turn.out.refuses = Some(reason);
            lab.client(&syn());
        }
        DropReason::Shutdown => {
            lab.client(&syn());
            lab.director.router.shut_down(&mut lab.turn);
        }
        other => panic!("{} has no scenario", other.name()),
    }
}

fn with(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    assert_ne!(frame[at], value);
    frame[at] = value;
    frame
}

/// A fragment of a datagram to the service.
fn piece(offset: u16, more: bool) -> Packet {
    let whole = Packet { dont_fragment: false, ..Packet::udp(CLIENT, VIP) };
    Packet { fragment: (offset, more), ..whole.carrying(vec![0; if offset == 0 { 8 } else { 16 }]) }
}

/// The frame with a loose source route in its IP header (RFC 791).
fn source_routed(frame: &[u8]) -> Vec<u8> {
    let (mut header, rest) = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap();
    header.options = etherparse::Ipv4Options::try_from(&[131, 7, 4, 10, 0, 0, 9, 0][..]).unwrap();
    header.set_payload_len(rest.len()).unwrap();
    let mut routed = frame[..14].to_vec();
    header.write(&mut routed).unwrap();
    routed.extend(rest);
    routed
}

fn arp_for_somebody() -> Vec<u8> {
    let mut frame = [[0xff; 6], ROUTER.0].concat();
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(ROUTER.0);
    // Nobody the director has to do with.
    frame.extend([10, 0, 0, 88]);
    frame.extend([0; 6]);
    frame.extend([10, 0, 0, 99]);
    frame
}

/// A solicitation for somebody else.
fn question(sender: &str) -> Vec<u8> {
    let mut buf = PacketBuf::new();
    let from = ndp::Speaker { mac: ROUTER, addr: sender.parse().unwrap() };
    ndp::solicitation(&mut buf, from, "2001:db8::77".parse().unwrap(), None);
    buf.frame().to_vec()
}

/// A packet of a link-local source for another link.
fn link_local_syn() -> Vec<u8> {
    Packet::tcp("[fe80::9]:4000", "[2001:db8:5::1]:80", "S").frame(ROUTER, DIRECTOR)
}

/// A packet to an IPv6 address with a hop-by-hop option that nobody knows and that says "discard" (RFC 8200 4.2).
fn with_unknown_option() -> Vec<u8> {
    behind(&[(HOP_BY_HOP, &[0, 0, 0x5e, 4, 9, 9, 9, 9])], &Packet::tcp(CLIENT6, VIP6, "S"))
}

/// No packet in this program can end so: the headroom holds every header that a method adds.
const IMPOSSIBLE: &[DropReason] = &[DropReason::NoHeadroom, DropReason::Unsupported];

#[test]
fn every_reason_is_provoked_and_counted_under_its_name() {
    for reason in DropReason::ALL.iter().copied().filter(|reason| !IMPOSSIBLE.contains(reason)) {
        let lab = provoke(reason);
        let ledger = &lab.turn.ledger();
        assert!(ledger.dropped(reason) >= 1, "{}: not counted\n{ledger}", reason.name());
        assert!(ledger.balances(), "{}\n{ledger}", reason.name());
        let others = DropReason::ALL.iter().filter(|other| **other != reason && ledger.dropped(**other) > 0);
        let others: Vec<&str> = others.map(|other| other.name()).collect();
        assert!(others.is_empty(), "{}: also {others:?}", reason.name());
    }
}
