//! The program of the fast path at the egress of a TAP: what reaches the other ports of the bridge is what the director writes,
//! checksums that are not complete and superframes included. By TCX and by clsact.

use super::kernel_program::{CASES, Established, established, random};
use crate::base::{Mac, Proto, Rng};
use crate::testing::fast::Fast;
use crate::testing::taps::{At, BehindTun, Taps, Way};
use crate::testing::{DIRECTOR, Frame, Kind, LINK, Packet, ROUTER};
use crate::wire::{Gso, PacketBuf, Vnet, checksum, finish_inner_checksum, ip_packet};

/// Does something in a thread of its own, which may go to another namespace.
fn apart(deed: impl FnOnce() + Send + 'static) {
    if Fast::new().is_none() {
        return;
    }
    std::thread::spawn(deed).join().unwrap();
}

/// A packet with its checksum left to be finished; `gso_size` 0: no superframe.
fn unfinished(mut frame: Vec<u8>, gso_size: u16) -> (Vec<u8>, Vnet) {
    let ip = ip_packet(&frame).unwrap();
    let csum_offset = if ip.proto == Proto::TCP { 16 } else { 6 };
    let at = ip.l4_at + usize::from(csum_offset);
    let sum = checksum::pseudo(ip.src, ip.dst, ip.proto, ip.end - ip.l4_at);
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let gso = match (gso_size, ip.proto, ip.dst.is_ipv4()) {
        (0, ..) => Gso::None,
        (_, Proto::UDP, _) => Gso::Udp,
        (_, _, true) => Gso::Tcp4,
        (_, _, false) => Gso::Tcp6,
    };
    let vnet = Vnet { needs_csum: true, gso, gso_size, csum_start: ip.l4_at as u16, csum_offset, ..Vnet::default() };
    (frame, vnet)
}

/// A packet as the kernel hands it over, in one of three ways.
fn handed_over(conn: &Established, packet: &Packet, rng: &mut Rng) -> (Vec<u8>, Vnet) {
    match rng.below(3) {
        0 => (conn.frame(packet), Vnet::default()),
        1 => unfinished(conn.frame(packet), 0),
        _ => {
            let payload: Vec<u8> = (0..2000 + rng.below(40_000)).map(|_| rng.next_u64() as u8).collect();
            unfinished(conn.frame(&packet.clone().carrying(payload)), 700 + rng.below(600) as u16)
        }
    }
}

/// In tunnels the kernel leaves the inner packet's checksum to whoever has to know it, which the director does not. The outer
/// IPv4 header may have any identification.
fn comparable(frame: &Frame, is_nat: bool) -> (Vec<u8>, Vnet) {
    let mut buf = PacketBuf::new();
    buf.set(&frame.bytes);
    buf.vnet = frame.vnet;
    if !is_nat {
        finish_inner_checksum(&mut buf);
    }
    let mut bytes = buf.frame().to_vec();
    if !is_nat && bytes[12] == 8 && matches!(bytes[23], 4 | 41 | 47 | 17) {
        bytes[18..20].fill(0);
        bytes[24..26].fill(0);
    }
    (bytes, buf.vnet)
}

fn equal_the_directors(taps: &mut Taps, case: (&str, bool, bool, bool), way: Way) {
    let Some(mut conn) = established(case) else { return };
    taps.attach(&mut conn.fast, way);
    if taps.takes_tunnels() {
        conn.lab.director.router.allow_tunnels(LINK);
    }
    let mut rng = Rng::seeded(23);
    for _ in 0..60 {
        let reply = conn.is_nat() && rng.below(2) == 1;
        let (from, to) = if reply { (At::Server, At::Client) } else { (At::Client, At::Server) };
        let like = if reply { &conn.reply } else { &conn.request };
        let packet = random(like, &mut rng);
        // The kernel cuts what has no DF into other identifications than the director.
        let packet = Packet { dont_fragment: true, ..packet };
        let (frame, vnet) = handed_over(&conn, &packet, &mut rng);
        let wanted = conn.lab.frame_with(&frame, vnet);
        let station = Mac(wanted[0].bytes[..6].try_into().unwrap());
        taps.send(from, &frame, vnet);
        for (number, wanted) in wanted.iter().enumerate() {
            let came = taps.receive(to, station);
            let (came, wanted) = (comparable(&came, conn.is_nat()), comparable(wanted, conn.is_nat()));
            assert_eq!(came, wanted, "{way:?} {case:?} {number} {vnet:?} {packet:?}");
        }
        assert_eq!(taps.receive_now(At::Director, DIRECTOR), None, "{case:?}: the director has nothing to do");
    }
    taps.detach();
}

#[test]
fn what_reaches_the_other_ports_is_what_the_director_writes() {
    apart(|| {
        let Some(mut taps) = Taps::open() else { return };
        for way in [Way::Tcx, Way::Clsact] {
            for case in CASES.into_iter().filter(|(method, ..)| !method.starts_with("-i")) {
                equal_the_directors(&mut taps, case, way);
            }
        }
    });
}

#[test]
fn superframes_in_tunnels_are_cut_by_the_kernel_as_by_the_director() {
    apart(|| {
        let Some(mut taps) = Taps::open() else { return };
        for case in CASES.into_iter().filter(|(method, ..)| method.starts_with("-i")) {
            equal_the_directors(&mut taps, case, Way::Tcx);
        }
    });
}

#[test]
fn what_the_program_leaves_comes_to_the_director_and_without_it_all_does() {
    apart(|| {
        let Some(mut taps) = Taps::open() else { return };
        for way in [Way::Tcx, Way::Clsact] {
            let Some(mut conn) = established(CASES[0]) else { return };
            taps.attach(&mut conn.fast, way);
            let end = Packet { kind: Kind::Tcp("FA"), ..conn.request.clone() };
            let frame = conn.frame(&end);
            taps.send(At::Client, &frame, Vnet::default());
            assert_eq!(taps.receive(At::Director, DIRECTOR).bytes, frame, "{way:?}");
            taps.detach();
            let frame = end_less(&end).frame(ROUTER, DIRECTOR);
            taps.send(At::Client, &frame, Vnet::default());
            assert_eq!(taps.receive(At::Director, DIRECTOR).bytes, frame, "{way:?}: after it was taken away");
        }
    });
}

/// The same segment without an end.
fn end_less(packet: &Packet) -> Packet {
    Packet { kind: Kind::Tcp("A"), ..packet.clone() }
}

/// The host takes one from the TTL before and behind the director.
#[test]
fn behind_a_tun_the_host_routes_what_the_program_has_rewritten() {
    apart(|| {
        let Some(mut conn) = established(CASES[0]) else { return };
        let (client, server) = (Mac([2, 0, 0, 0, 0, 9]), Mac([2, 0, 0, 0, 0, 21]));
        let setup = "addr add 192.0.2.1/24 dev near\naddr add 10.0.0.1/24 dev near\naddr add 10.9.9.1/32 dev tun0\nroute add 198.51.100.1 dev tun0\n\
            neigh add 192.0.2.7 lladdr 02:00:00:00:00:09 dev near nud permanent\n\
            neigh add 10.0.0.21 lladdr 02:00:00:00:00:15 dev near nud permanent";
        let Some(mut lab) = BehindTun::open(&mut conn.fast, setup) else { return };
        let request = conn.request.clone().carrying("text");
        let sent = lab.exchange((&request.frame(client, lab.host), Vnet::default()), server);
        assert_eq!(sent.packet(), Packet { ttl: 61, ..request.clone().to(super::RS1) });
        let (whole, vnet) = unfinished(request.carrying(vec![7; 20_000]).frame(client, lab.host), 1400);
        let sent = lab.exchange((&whole, vnet), server);
        assert_eq!((sent.vnet, sent.bytes.len(), sent.packet().dst), (vnet, whole.len(), conn.reply.src));
    });
}
