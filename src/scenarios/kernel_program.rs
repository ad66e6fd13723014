//! The program of the fast path makes the same bytes of a packet as the director, or leaves it alone.

use super::rewriting::checksum_of;
use super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6};
use crate::base::{Method, Proto, Rng};
use crate::director::Settings;
use crate::fastpath::abi::{Counters, Entry};
use crate::flows::Join;
use crate::testing::fast::{Fast, Fate};
use crate::testing::{DIRECTOR, Kind, Lab, Packet, ROUTER, mac_of, with_options};
use crate::wire::{Gso, Vnet, checksum};

/// An established conn, with its entries in the kernel.
pub(super) struct Established {
    pub lab: Lab,
    pub fast: Fast,
    /// A packet of the client.
    pub request: Packet,
    /// A packet of the server, where it passes here.
    pub reply: Packet,
}

/// How many of them, at the end, are of the director's handshake.
pub(super) const JOINED: usize = 4;
/// What conns there are: method, and whether the director has made the handshake; whether TCP, and the family of client and server.
pub(super) const CASES: [(&str, bool, bool, bool); 19] = [
    ("-m", true, false, false),
    ("-m", false, false, false),
    ("-m", true, true, true),
    ("-m", false, true, true),
    ("--fullnat", true, false, false),
    ("--fullnat", false, false, false),
    ("--fullnat", true, true, true),
    ("-g", true, false, false),
    ("-g", false, true, true),
    ("-i", true, false, false),
    ("-i", true, true, false),
    ("-i", false, false, true),
    ("-i --tun-type gre", true, false, false),
    ("-i --tun-type gue --tun-port 6080", true, false, false),
    ("-i --tun-type gue --tun-port 6080", false, true, true),
    ("-m joined", true, false, false),
    ("-m joined", true, true, true),
    ("--fullnat joined", true, false, false),
    ("--fullnat joined", true, true, true),
];

pub(super) fn established((method, tcp, six, real_six): (&str, bool, bool, bool)) -> Option<Established> {
    let (method, is_joined) = method.strip_suffix(" joined").map_or((method, false), |method| (method, true));
    let mut fast = Fast::new()?;
    let settings = Settings { icmp_rate: 0, fullnat_sequence: true, ..Settings::default() };
    let (kind, flag) = if tcp { (Kind::Tcp("A"), "-t") } else { (Kind::Udp, "-u") };
    let (client, vip) = if six { (CLIENT6, VIP6) } else { (CLIENT, VIP) };
    let nat = matches!(method, "-m" | "--fullnat");
    let real = match (nat, real_six) {
        (true, false) => RS1,
        (true, true) => RS6,
        (false, false) => "10.0.0.21",
        (false, true) => "2001:db8::21",
    };
    let mut rules = format!("-A {flag} {vip} -s rr\n-a {flag} {vip} -r {real} {method}\n");
    if method == "--fullnat" {
        rules += &format!("-P {flag} {vip} -z {}\n", if six { "2001:db8::30" } else { LIP });
    }
    let mut lab = Lab::with(settings, &rules);
    let request = Packet::new(client, vip, kind.clone());
    let first = if tcp { Packet { kind: Kind::Tcp("S"), ..request.clone() } } else { request.clone() };
    let sent = lab.client(&first);
    let reply = if nat {
        Packet { src: crate::testing::endpoint(real), dst: sent[0].packet().src, kind, ..request.clone() }
    } else {
        request.clone()
    };
    if tcp && nat {
        lab.real(&Packet { kind: Kind::Tcp("SA"), ..reply.clone() });
    }
    lab.client(&request);
    if !tcp && nat {
        lab.real(&reply);
    }
    let id = lab.conn_of(&request).unwrap();
    if is_joined {
        // As after a handshake that the director has made.
        let (back, client_clock, server_clock) = (0xfff0_1234, 77, 0x9000_0000);
        let join = Join { back, client_clock, server_clock, client_window: 3, server_window: -2 };
        lab.director.flows.take_join(id, Some(join));
    }
    fast.offer(&lab, id).unwrap();
    Some(Established { lab, fast, request, reply })
}

impl Established {
    /// What the director writes for a frame, which is one frame.
    fn director(&mut self, frame: &[u8], vnet: Vnet) -> Vec<u8> {
        let sent = self.lab.frame_with(frame, vnet);
        assert_eq!(sent.len(), 1, "{frame:02x?} {}", self.lab.turn.ledger());
        sent[0].bytes.clone()
    }

    /// A frame as it comes from the client or the server.
    pub fn frame(&self, packet: &Packet) -> Vec<u8> {
        let from = if packet.src.addr == self.request.src.addr { ROUTER } else { mac_of(packet.src.addr) };
        packet.frame(from, DIRECTOR)
    }

    pub fn is_nat(&self) -> bool {
        self.reply != self.request
    }
}

/// Options as stacks send them, and others.
fn options(rng: &mut Rng) -> Vec<u8> {
    let random = |rng: &mut Rng, count: u64| (0..count).map(|_| rng.next_u64() as u8).collect::<Vec<u8>>();
    let timestamps = |rng: &mut Rng| [vec![1, 1, 8, 10], random(rng, 8)].concat();
    let sack = |rng: &mut Rng, blocks: u64| [vec![1, 1, 5, 2 + 8 * blocks as u8], random(rng, 8 * blocks)].concat();
    match rng.below(6) {
        0 => Vec::new(),
        1 | 2 => timestamps(rng),
        3 => {
            let blocks = 1 + rng.below(4);
            sack(rng, blocks)
        }
        4 => {
            let blocks = 1 + rng.below(3);
            [timestamps(rng), sack(rng, blocks)].concat()
        }
        _ => {
            let count = 4 * rng.below(11);
            random(rng, count)
        }
    }
}

/// A packet like this one, with anything in it that does not say whose it is.
pub(super) fn random(like: &Packet, rng: &mut Rng) -> Packet {
    let payload: Vec<u8> = (0..rng.below(200)).map(|_| rng.next_u64() as u8).collect();
    let kind = match like.kind {
        Kind::Tcp(_) => Kind::Tcp(["A", "AP", "APU", "AEC"][rng.below(4) as usize]),
        _ => Kind::Udp,
    };
    let (tos, ttl) = (rng.next_u64() as u8, 2 + rng.below(254) as u8);
    let (id, seq, ack) = (rng.next_u64() as u16, rng.next_u64() as u32, rng.next_u64() as u32);
    let dont_fragment = rng.below(3) > 0;
    Packet { kind, tos, ttl, id, seq, ack, dont_fragment, ..like.clone() }.carrying(payload)
}

/// The identification of an outer header without DF is any, and with it the checksum.
pub(super) fn without_outer_id(mut frame: Vec<u8>, is_nat: bool) -> Vec<u8> {
    if !is_nat && frame[12] == 8 && frame[20] & 0x40 == 0 && matches!(frame[23], 4 | 41 | 47 | 17) {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
    }
    frame
}

#[test]
fn random_packets_are_rewritten_as_the_director_does() {
    for case in CASES {
        let Some(mut conn) = established(case) else { return };
        let mut rng = Rng::seeded(20);
        for round in 0..2000 {
            let reply = conn.is_nat() && rng.below(2) == 1;
            let packet = random(if reply { &conn.reply } else { &conn.request }, &mut rng);
            let mut frame = conn.frame(&packet);
            let mut usual = true;
            if case.1 {
                let options = options(&mut rng);
                usual = options.is_empty() || options.starts_with(&[1, 1]);
                frame = with_options(frame, &options);
            }
            if rng.below(8) == 0 {
                frame.resize(frame.len() + rng.below(30) as usize, 0x55); // padding
            }
            match conn.fast.run(&frame, Vnet::default()) {
                Fate::Taken(taken) => {
                    let wanted = conn.director(&frame, Vnet::default());
                    let (taken, wanted) =
                        (without_outer_id(taken, conn.is_nat()), without_outer_id(wanted, conn.is_nat()));
                    assert_eq!(
                        taken, wanted,
                        "\n{case:?} {round} {packet:?}\n{taken:02x?}\n{wanted:02x?}\n{frame:02x?}"
                    );
                }
                Fate::Left(reason) => assert!(!usual, "{case:?} {round} {reason:?} {packet:?} {frame:02x?}"),
            }
        }
    }
}

#[test]
fn damaged_packets_are_left_alone_or_as_damaged_as_the_director_leaves_them() {
    let mut taken = 0;
    for case in CASES {
        let Some(mut conn) = established(case) else { return };
        let mut rng = Rng::seeded(21);
        for round in 0..3000 {
            let reply = conn.is_nat() && rng.below(2) == 1;
            let packet = random(if reply { &conn.reply } else { &conn.request }, &mut rng);
            let mut frame = conn.frame(&packet);
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(frame.len().min(80) as u64) as usize;
                frame[at] = rng.next_u64() as u8;
            }
            if rng.below(16) == 0 {
                // The kernel runs a program on no frame without an IP header.
                let least = if case.2 { 54 } else { 34 };
                frame.truncate(least + rng.below((frame.len() - least) as u64 + 1) as usize);
            }
            if let Fate::Taken(bytes) = conn.fast.run(&frame, Vnet::default()) {
                taken += 1;
                let wanted = conn.director(&frame, Vnet::default());
                let bytes = without_outer_id(bytes, conn.is_nat());
                assert_eq!(bytes, without_outer_id(wanted, conn.is_nat()), "{case:?} {round} {frame:02x?}");
            }
        }
    }
    assert!(taken > 1000, "{taken}");
}

/// A superframe's checksum is not complete on a device; a frame that belongs to none cannot be like that, so that its field is
/// compared as if it were complete.
#[test]
fn superframes_are_rewritten_whole() {
    for case in CASES.into_iter().filter(|(method, ..)| !method.starts_with("-i")) {
        let Some(mut conn) = established(case) else { return };
        let mut rng = Rng::seeded(22);
        for _ in 0..500 {
            let reply = conn.is_nat() && rng.below(2) == 1;
            let packet = random(if reply { &conn.reply } else { &conn.request }, &mut rng);
            let payload: Vec<u8> = (0..600 + rng.below(2000)).map(|_| rng.next_u64() as u8).collect();
            let packet = packet.carrying(payload);
            let frame = conn.frame(&packet);
            let gso = match (case.1, case.2) {
                (false, _) => Gso::Udp,
                (true, false) => Gso::Tcp4,
                (true, true) => Gso::Tcp6,
            };
            let l4 = if case.2 { 54 } else { 34 };
            let (gso_size, csum_offset) = (64 + rng.below(400) as u16, if case.1 { 16 } else { 6 });
            let vnet = Vnet { needs_csum: true, gso, gso_size, csum_start: l4, csum_offset, ..Vnet::default() };
            let Fate::Taken(mut taken) = conn.fast.run(&frame, vnet) else { panic!("{case:?} {packet:?}") };
            let mut wanted = conn.director(&frame, vnet);
            let at = usize::from(l4 + csum_offset);
            assert_eq!(checksum_of(&taken, &packet), checksum_of(&rebuilt(&wanted), &packet), "{case:?}");
            for frame in [&mut taken, &mut wanted] {
                frame[at..at + 2].fill(0);
            }
            assert_eq!(taken, wanted, "{case:?} {packet:?}");
        }
    }
}

/// The frame with the checksum that is right for it.
fn rebuilt(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let ip = crate::wire::ip_packet(&frame).unwrap();
    let at = ip.l4_at + if ip.proto == Proto::TCP { 16 } else { 6 };
    frame[at..at + 2].fill(0);
    let sum = !checksum::with_pseudo(ip.src, ip.dst, ip.proto, &frame[ip.l4_at..ip.end]);
    let sum = if ip.proto == Proto::UDP { checksum::nonzero(sum) } else { sum };
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn packets_and_bytes_of_each_way_are_counted() {
    let Some(mut conn) = established(("-m", true, false, false)) else { return };
    for (packet, count) in [(conn.request.clone(), 3), (conn.reply.clone(), 2)] {
        for _ in 0..count {
            let frame = conn.frame(&packet.clone().carrying("four"));
            assert!(matches!(conn.fast.run(&frame, Vnet::default()), Fate::Taken(_)));
        }
    }
    let Entry { request, reply, .. } = conn.fast.entry(Proto::TCP, conn.request.src).unwrap();
    let seen = |counters: Counters| Counters { seen: 0, ..counters };
    let counted = |packets, acknowledged| Counters { packets, bytes: packets * 44, seen: 0, acknowledged };
    assert_eq!((seen(request.counters), seen(reply.counters)), (counted(3, 2000), counted(2, 2000)));
    assert!(request.counters.seen > 0 && reply.counters.seen >= request.counters.seen);
    assert_eq!(conn.lab.director.flows.ends(conn.lab.conn_of(&conn.request).unwrap()).method, Method::Nat);
}
