//! Packets inside packets with work left to be done: by us on what a tunnel device of this host has wrapped, and by the
//! kernel on superframes that we have wrapped.
//!
//! Never a frame that is complete as it leaves (`methods`).

use super::methods::{checksum_over, superframe};
use super::{CLIENT, VIP};
use crate::base::{Family, Mac};
use crate::testing::{DIRECTOR, Frame, Kind, LINK, Lab, Packet, ROUTER, endpoint, expect, mac_of};
use crate::wire::{Gso, UdpTunnel, Vnet};

const RULES: &str = "-A -u 198.51.100.1:4789 -s rr\n-a -u 198.51.100.1:4789 -r 10.0.0.21:4789 -m\n";

fn outer(inside: &Packet) -> Packet {
    Packet::udp(CLIENT, "198.51.100.1:4789").carrying([&b"between!"[..], &inside.bytes()].concat())
}

/// A kernel (6.17 and later) gives a TAP the unfinished checksum of a packet that its tunnel device has wrapped, with an
/// outer checksum that is already right for the finished one.
#[test]
fn an_unfinished_checksum_inside_is_finished() {
    let rs1: Mac = mac_of(endpoint("10.0.0.21:0").addr);
    let inside = Packet::tcp("10.77.0.1:4000", "10.77.0.2:80", "S").carrying(b"odd".to_vec());
    let mut frame = outer(&inside).frame(ROUTER, DIRECTOR);
    // Ethernet 14, IPv4 20, UDP 8, what is between 8: 50; inner IPv4 20.
    let (l4, field) = (70, 86);
    let pseudo = [&frame[62..70], &[0, 6, 0, (frame.len() - l4) as u8]].concat();
    frame[field..field + 2].copy_from_slice(&checksum_over(&pseudo).to_be_bytes());
    let vnet = Vnet { needs_csum: true, csum_start: l4 as u16, csum_offset: 16, ..Vnet::default() };
    let mut lab = Lab::new(RULES);

    let sent = lab.frame_with(&frame, vnet);

    let wanted = outer(&inside).to("10.0.0.21:4789").one_hop_on();
    expect(&sent, &[(rs1, wanted)]);
    assert_eq!(sent[0].vnet, Vnet::default());
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn a_promise_that_no_packet_keeps_is_no_frame() {
    let frame = outer(&Packet::udp("10.77.0.1:1", "10.77.0.2:2")).frame(ROUTER, DIRECTOR);
    let mut lab = Lab::new(RULES);
    for (csum_start, csum_offset) in
        [(14, 6), (34, 16), (70, frame.len() as u16), (frame.len() as u16, 0), (u16::MAX, 16)]
    {
        let vnet = Vnet { needs_csum: true, csum_start, csum_offset, ..Vnet::default() };
        assert_eq!(lab.frame_with(&frame, vnet), [], "{csum_start} {csum_offset}");
        assert_eq!(lab.take_moved(), "dropped.offload=1");
    }
}

const GUE4: &str = "-r 10.0.0.21 -i --tun-type gue --tun-port 6080";
const GUE6: &str = "-r [2001:db8::21]:80 -i --tun-type gue --tun-port 6080";

/// A lab with one server, whose link takes superframes inside UDP tunnels.
fn tunnelling(server: &str) -> Lab {
    let mut lab = Lab::new(&format!("-A -t {VIP} -s rr\n-a -t {VIP} {server}\n"));
    lab.director.router.allow_tunnels(LINK);
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    lab
}

fn upload(bytes: usize) -> Packet {
    Packet::tcp(CLIENT, VIP, "ACPF").carrying(vec![7; bytes])
}

fn send(lab: &mut Lab, packet: &Packet, size: u16) -> Vec<Frame> {
    let (frame, vnet) = superframe(packet, Gso::Tcp4, size);
    lab.frame_with(&frame, Vnet { ecn: true, ..vnet })
}

/// The frame that must leave: GUE's four bytes between UDP and the superframe, whose checksums are as unfinished as the
/// outer one.
fn wrapped(inner: &Packet, (src, dst): (&str, &str), summed: bool) -> Vec<u8> {
    let (inner, _) = superframe(&inner.clone().one_hop_on(), Gso::Tcp4, 0);
    let outer = Packet::new(src, dst, if summed { Kind::Udp } else { Kind::UdpWithout });
    let outer = Packet { ttl: 63, id: 0, ..outer }.carrying([&[0, 4, 0, 0][..], &inner[14..]].concat());
    let mut frame = outer.frame(DIRECTOR, mac_of(outer.dst.addr));
    if summed {
        let (addresses, udp) = if outer.dst.addr.is_ipv4() { (26..34, 34) } else { (22..54, 54) };
        let length = (frame.len() - udp) as u16;
        let pseudo = [&frame[addresses], &[0, 17], &length.to_be_bytes()].concat();
        frame[udp + 6..udp + 8].copy_from_slice(&checksum_over(&pseudo).to_be_bytes());
    }
    frame
}

#[test]
fn a_superframe_goes_into_gue_whole_where_the_kernel_cuts_it_afterwards() {
    let ends4 = ("10.0.0.2", "10.0.0.21", Family::V4, 34);
    let ends6 = ("[2001:db8::2]", "[2001:db8::21]", Family::V6, 54);
    for (server, (src, dst, family, udp_at)) in [(GUE4, ends4), (GUE6, ends6)] {
        for (sums, summed) in [("--tun-nocsum", false), ("--tun-csum", true), ("--tun-remcsum", true)] {
            let mut lab = tunnelling(&format!("{server} {sums}"));
            let big = upload(20_000);

            let sent = send(&mut lab, &big, 1400);

            assert_eq!(sent.len(), 1, "{server} {sums}");
            let port = sent[0].packet().src.port;
            let ends = (&*format!("{src}:{port}"), &*format!("{dst}:6080"));
            assert_eq!(sent[0].bytes, wrapped(&big, ends, summed), "{server} {sums}");
            let tunnel = Some(UdpTunnel { family, summed, own: 4 });
            let (gso_size, csum_start, csum_offset) = (1400, udp_at + 32, 16);
            let vnet = Vnet { needs_csum: true, gso: Gso::Tcp4, ecn: true, gso_size, csum_start, csum_offset, tunnel };
            assert_eq!(sent[0].vnet, vnet, "{server} {sums}");
            assert_eq!(lab.take_moved(), "", "{server} {sums}: nothing was cut here");
        }
    }
}

#[test]
fn what_the_kernel_would_not_cut_rightly_is_cut_here() {
    // 1500 less IP, UDP and GUE, less the inner headers of 40 bytes.
    for (server, bytes, size) in [
        ("-r 10.0.0.21 -i", 5000, 1400),
        ("-r 10.0.0.21 -i --tun-type gre --tun-csum", 5000, 1400),
        // One byte too long for the link with its headers: ends as fragments, as from any director.
        (GUE4, 5000, 1429),
        (GUE6, 5000, 1409),
        // Longer than a length can say, once it is inside.
        (GUE4, 65_464, 1400),
        // No more than one segment.
        (GUE4, 1400, 1400),
    ] {
        let mut lab = tunnelling(server);
        let big = Packet { dont_fragment: false, ..upload(bytes) };
        let sent = send(&mut lab, &big, size);
        assert!(sent.iter().all(|frame| frame.vnet == Vnet::default()), "{server} {bytes} {size}");
        assert!(sent.len() >= bytes.div_ceil(usize::from(size)), "{server} {bytes} {size}");
        assert!(lab.take_moved().contains("consumed.segmented=1"), "{server} {bytes} {size}");
    }
    for (server, bytes, size) in [(GUE4, 5000, 1428), (GUE6, 5000, 1408), (GUE4, 65_463, 1400), (GUE4, 1401, 1400)] {
        assert_eq!(send(&mut tunnelling(server), &upload(bytes), size).len(), 1, "{server} {bytes} {size}");
    }
}

#[test]
fn whoever_cuts_a_superframe_has_identifications_for_all_its_pieces() {
    let mut lab = tunnelling(GUE4);
    let id = |sent: &[Frame]| sent[0].packet().id;
    let small = Packet { dont_fragment: false, ..Packet::tcp(CLIENT, VIP, "A") };
    let first = id(&send(&mut lab, &Packet { dont_fragment: false, ..upload(4201) }, 1400));
    let next = id(&lab.client(&small));
    assert!(next.wrapping_sub(first) >= 4, "{first} {next}");
}

/// A superframe as a tunnel device of this host gives it, IPv4 in `outer`'s family, and its virtio header: TCP of `bytes`
/// in segments of `size`, behind eight bytes of the tunnel's own.
fn nested(outer: &Packet, bytes: usize, size: u16) -> (Vec<u8>, Vnet) {
    let data = Packet::tcp("10.77.0.1:4000", "10.77.0.2:80", "ACPF").carrying(payload(bytes));
    let (inner, vnet) = superframe(&data, Gso::Tcp4, size);
    let whole = outer.clone().carrying([&b"between!"[..], &inner[14..]].concat());
    let mut frame = whole.frame(ROUTER, DIRECTOR);
    let (family, addresses, udp) = match outer.dst.addr.is_ipv4() {
        true => (Family::V4, 26..34, 34),
        false => (Family::V6, 22..54, 54),
    };
    let summed = outer.kind == Kind::Udp;
    if summed {
        sum_pseudo(&mut frame, addresses, udp);
    }
    let tunnel = Some(UdpTunnel { family, summed, own: 8 });
    (frame, Vnet { tunnel, csum_start: udp as u16 + 36, ecn: true, ..vnet })
}

/// The sum of the pseudo-header where the UDP checksum is.
fn sum_pseudo(frame: &mut [u8], addresses: std::ops::Range<usize>, udp: usize) {
    let length = (frame.len() - udp) as u16;
    let pseudo = [&frame[addresses], &[0, 17], &length.to_be_bytes()].concat();
    frame[udp + 6..udp + 8].copy_from_slice(&checksum_over(&pseudo).to_be_bytes());
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

/// The packets that such a superframe stands for.
fn pieces(outer: &Packet, bytes: usize, size: usize) -> Vec<Packet> {
    let payload = payload(bytes);
    let count = bytes.div_ceil(size);
    let piece = |(at, chunk): (usize, &[u8])| {
        let flags = match (at, at + 1 == count) {
            (0, _) => "AC",
            (_, true) => "APF",
            _ => "A",
        };
        let inner = Packet::tcp("10.77.0.1:4000", "10.77.0.2:80", flags).carrying(chunk);
        let inner = Packet { seq: 1000 + (at * size) as u32, id: 0x1234 + at as u16, ..inner };
        let id = outer.id + at as u16;
        Packet { id, ..outer.clone() }.carrying([&b"between!"[..], &inner.bytes()].concat())
    };
    payload.chunks(size).enumerate().map(piece).collect()
}

/// A lab with a service for the tunnels of others, and a conn of it.
fn nesting(rules: &str, outer: &Packet) -> Lab {
    let mut lab = Lab::new(rules);
    lab.director.router.allow_tunnels(LINK);
    lab.client(&outer.clone().carrying("first"));
    lab.take_moved();
    lab
}

fn to_vip(kind: Kind) -> Packet {
    Packet { dont_fragment: false, ..Packet::new(CLIENT, "198.51.100.1:4789", kind) }
}

#[test]
fn a_superframe_in_somebodys_tunnel_is_rewritten_whole() {
    let rules = |method| format!("-A -u 198.51.100.1:4789 -s rr\n-a -u 198.51.100.1:4789 -r 10.0.0.21:4789 {method}\n");
    // NAT makes a checksum where there was none, as for any datagram; direct routing leaves everything as it is.
    for (method, kind, to, summed) in [
        ("-m", Kind::Udp, "10.0.0.21:4789", Kind::Udp),
        ("-m", Kind::UdpWithout, "10.0.0.21:4789", Kind::Udp),
        ("-g", Kind::Udp, "198.51.100.1:4789", Kind::Udp),
        ("-g", Kind::UdpWithout, "198.51.100.1:4789", Kind::UdpWithout),
    ] {
        let outer = to_vip(kind);
        let mut lab = nesting(&rules(method), &outer);
        let (frame, vnet) = nested(&outer, 20_000, 1300);

        let sent = lab.frame_with(&frame, vnet);

        let (mut wanted, vnet) = nested(&Packet { kind: summed, ..outer.to(to).one_hop_on() }, 20_000, 1300);
        wanted[..12].copy_from_slice(&[mac_of(endpoint("10.0.0.21:0").addr).0, DIRECTOR.0].concat());
        assert_eq!(sent.len(), 1, "{method}");
        assert_eq!((&sent[0].bytes, sent[0].vnet), (&wanted, vnet), "{method}");
        assert_eq!(lab.take_moved(), "", "{method}");
    }
}

/// Replies and what is only forwarded, over IPv6 too.
#[test]
fn a_superframe_in_somebodys_tunnel_passes_through_whole() {
    for (src, dst) in [("10.0.0.21:1", "192.0.2.7:4789"), ("[2001:db8::21]:1", "[2001:db8:c::7]:4789")] {
        let mut lab = Lab::new("");
        lab.director.router.allow_tunnels(LINK);
        let outer = Packet { dont_fragment: false, ..Packet::udp(src, dst) };
        let (frame, vnet) = nested(&outer, 5000, 1300);
        let sent = lab.frame_with(&frame, vnet);
        let (mut wanted, _) = nested(&outer.one_hop_on(), 5000, 1300);
        wanted[..12].copy_from_slice(&[ROUTER.0, DIRECTOR.0].concat());
        assert_eq!((sent.len(), &sent[0].bytes, sent[0].vnet), (1, &wanted, vnet));
    }
}

#[test]
fn a_superframe_in_somebodys_tunnel_is_cut_where_it_cannot_stay_whole() {
    let rules = |server: &str| format!("-A -u 198.51.100.1:4789 -s rr\n-a -u 198.51.100.1:4789 -r {server}\n");
    let rs1 = mac_of(endpoint("10.0.0.21:0").addr);
    for (kind, summed) in [(Kind::Udp, Kind::Udp), (Kind::UdpWithout, Kind::UdpWithout)] {
        let outer = to_vip(kind);
        let (frame, vnet) = nested(&outer, 3000, 1300);
        let wanted = |to: &str, kind: &Kind| -> Vec<(Mac, Packet)> {
            let outer = Packet { kind: kind.clone(), ..outer.clone().to(to).one_hop_on() };
            pieces(&outer, 3000, 1300).into_iter().map(|piece| (rs1, piece)).collect()
        };

        // The first packet of a conn finds its server as any other does.
        let mut fresh = Lab::new(&rules("10.0.0.21:4789 -m"));
        fresh.director.router.allow_tunnels(LINK);
        expect(&fresh.frame_with(&frame, vnet), &wanted("10.0.0.21:4789", &Kind::Udp));
        assert_eq!(fresh.take_moved(), "consumed.segmented=1");

        // The way out is a link that takes none.
        let mut lab = Lab::new(&rules("10.0.0.21:4789 -g"));
        lab.client(&outer.clone().carrying("first"));
        expect(&lab.frame_with(&frame, vnet), &wanted("198.51.100.1:4789", &summed));

        // A tunnel of ours around theirs; no such tunnel is cut outside.
        let mut lab = nesting(&rules("10.0.0.21 -i"), &outer);
        let sent = lab.frame_with(&frame, vnet);
        assert_eq!(sent.len(), 3);
        for (sent, (_, wanted)) in sent.iter().zip(wanted("198.51.100.1:4789", &summed)) {
            assert_eq!((sent.behind_ip(), sent.vnet), (&wanted.bytes()[..], Vnet::default()));
        }

        // Another family.
        let mut lab = nesting(&(rules("[2001:db8::21]:4789 -b") + "-P -u 198.51.100.1:4789 -z 2001:db8::30\n"), &outer);
        let (frame, vnet) = nested(&Packet { dont_fragment: true, ..outer }, 3000, 1300);
        let sent = lab.frame_with(&frame, vnet);
        assert_eq!((sent.len(), sent[2].vnet), (3, Vnet::default()));
        assert!(sent[0].packet().dst.addr.is_ipv6());
    }
}

#[test]
fn a_superframe_that_is_not_what_it_says_is_no_frame() {
    let outer = to_vip(Kind::Udp);
    let (frame, good) = nested(&outer, 5000, 1300);
    let tunnel = good.tunnel.unwrap();
    let bad = [
        Vnet { needs_csum: false, ..good },
        Vnet { gso: Gso::None, ..good },
        Vnet { gso: Gso::Udp, ..good },
        Vnet { gso_size: 0, ..good },
        Vnet { csum_start: good.csum_start - 1, ..good },
        Vnet { csum_offset: 6, ..good },
        Vnet { tunnel: Some(UdpTunnel { family: Family::V6, ..tunnel }), ..good },
        Vnet { tunnel: Some(UdpTunnel { own: 7, ..tunnel }), ..good },
        Vnet { tunnel: Some(UdpTunnel { own: u16::MAX, ..tunnel }), ..good },
    ];
    let mut lab = nesting(RULES, &outer);
    for vnet in bad {
        assert_eq!(lab.frame_with(&frame, vnet), [], "{vnet:?}");
        assert_eq!(lab.take_moved(), "dropped.offload=1", "{vnet:?}");
    }
    assert_eq!(lab.frame_with(&frame, good).len(), 1);
}
