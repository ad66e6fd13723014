//! Which SYNs the kernel answers, and that its bytes are the director's.

use super::super::syn_proxy::rules;
use super::super::{CLIENT, CLIENT6, RS1, RS6, VIP, VIP6};
use super::{Answering, syn};
use crate::base::{Consumed, Rng};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Kind, Packet, ROUTER, with_options};

/// Options of a SYN in any order, some of them unknown or said twice.
fn options(rng: &mut Rng) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..rng.below(8) {
        let number = rng.next_u64().to_be_bytes();
        let option = match rng.below(10) {
            0 | 1 => vec![2, 4, [0, 1, 2, 5][rng.below(4) as usize], number[1]],
            2 => vec![4, 2],
            3 | 4 => [&[8, 10][..], &number].concat(),
            5 => vec![3, 3, rng.below(20) as u8],
            // A cookie of TCP Fast Open (RFC 7413).
            6 => [&[34, 10][..], &number].concat(),
            7 => vec![number[0], 2 + number[1] % 4, number[2], number[3], number[4]][..2 + usize::from(number[1] % 4)]
                .to_vec(),
            8 => vec![1; 1 + rng.below(3) as usize],
            _ => vec![1, 1],
        };
        if options.len() + option.len() <= 40 {
            options.extend(option);
        }
    }
    while options.len() % 4 != 0 {
        options.push(rng.below(2) as u8);
    }
    options
}

fn random_syn(client: &str, virt: &str, rng: &mut Rng) -> Vec<u8> {
    let mut packet = syn(client, virt);
    packet.src.port = 1024 + rng.below(60_000) as u16;
    packet.kind = Kind::Tcp(["S", "SEC", "S", "SP", "SF", "SU"][rng.below(6) as usize]);
    (packet.seq, packet.ack) = (rng.next_u64() as u32, rng.next_u64() as u32);
    (packet.tos, packet.ttl, packet.id) = (rng.next_u64() as u8, 1 + rng.below(255) as u8, rng.next_u64() as u16);
    packet.dont_fragment = rng.below(2) == 0;
    if rng.below(8) == 0 {
        packet.payload = vec![7; rng.below(100) as usize];
    }
    with_options(packet.frame(ROUTER, DIRECTOR), &options(rng))
}

#[test]
fn random_syns_are_answered_as_the_director_answers_them_or_left_to_it() {
    let of_services = [
        (CLIENT, VIP, RS1, "-m"),
        (CLIENT6, VIP6, RS6, "-b"),
        (CLIENT6, VIP6, RS1, "-b"),
        (CLIENT, VIP, RS1, "-b --client-address toa"),
    ];
    for (client, virt, real, method) in of_services {
        for syn_proxy_timestamps in [true, false] {
            let settings = Settings { icmp_rate: 0, syn_proxy_timestamps, ..Settings::default() };
            let Some(mut here) = Answering::with(settings, &rules(virt, real, method, "on")) else { return };
            let (mut rng, mut answered) = (Rng::seeded(31), 0);
            for round in 0..3000 {
                let mut frame = random_syn(client, virt, &mut rng);
                match rng.below(8) {
                    0 => (0..1 + rng.below(2)).for_each(|_| {
                        let at = rng.below(frame.len() as u64) as usize;
                        frame[at] = rng.next_u64() as u8;
                    }),
                    1 => frame.resize(frame.len() + rng.below(20) as usize, 0x55),
                    _ => {}
                }
                answered += usize::from(here.agrees(&frame));
                assert!(here.lab.turn.ledger().balances(), "{round}");
            }
            assert!(answered > 800, "{virt} {real} {method}: {answered}");
        }
    }
}

#[test]
fn usual_syns_are_the_kernels() {
    let Some(mut here) = Answering::new(&rules(VIP, RS1, "-m", "on")) else { return };
    let usual: [&[u8]; 6] = [
        &[],
        &[2, 4, 5, 180],
        &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 100, 0, 0, 0, 0, 1, 3, 3, 9],
        &[2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2],
        &[2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0],
        &[
            2, 4, 2, 24, 1, 3, 3, 5, 4, 2, 8, 10, 9, 9, 9, 9, 0, 0, 0, 0, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1,
        ],
    ];
    for options in usual {
        let frame = syn(CLIENT, VIP).frame(ROUTER, DIRECTOR);
        assert!(here.agrees(&if options.is_empty() { frame } else { with_options(frame, options) }), "{options:?}");
    }
    here.count();
    assert_eq!(here.lab.director.fast.report.answered, 6);
    assert!(here.lab.turn.ledger().consumed(Consumed::SynCookie) >= 12 && here.lab.turn.ledger().balances());
    // Another process counts those that the one before did not: here two, and all of another kernel.
    for (known, news) in [(6, 0), (4, 2), (7, 6)] {
        here.lab.director.fast = Default::default();
        here.lab.director.fast().start(Box::new(here.shadow.clone()), here.epoch);
        here.lab.director.fast.recall_answered(known);
        assert_eq!(here.lab.director.fast.report.answered, news, "{known}");
    }
}

#[test]
fn what_only_the_director_knows_is_left_to_it() {
    let rules = rules(VIP, RS1, "-m", "on")
        + "-A -t 198.51.100.1:21 -s rr --syn-proxy on\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m\n\
        -A -t 198.51.100.9:0 -s rr -p 60 --syn-proxy on\n-a -t 198.51.100.9:0 -r 10.0.0.21:0 -m\n\
        -A -t 198.51.100.5:80 -s rr\n-a -t 198.51.100.5:80 -r 10.0.0.21:80 -m\n";
    let Some(mut here) = Answering::new(&rules) else { return };
    let good = syn(CLIENT, VIP);
    assert!(here.answers(&good) && here.answers(&good.clone().to("198.51.100.1:21")));
    for virt in ["198.51.100.1:81", "198.51.100.2:80", "198.51.100.9:80", "198.51.100.5:80"] {
        assert!(!here.answers(&good.clone().to(virt)), "{virt}");
    }
    // Neighbours, own addresses, addresses that nobody has, FTP's data port.
    let sources =
        ["10.0.0.9:4000", "10.0.0.2:4000", "198.51.100.5:4000", "10.0.0.255:4000", "127.0.0.1:4000", "224.0.0.1:4000"];
    for client in sources.into_iter().chain(["0.0.0.0:4000", "255.255.255.255:4000", "192.0.2.7:20"]) {
        assert!(!here.answers(&good.clone().from(client)), "{client}");
    }
    for flags in ["SA", "A", "SF", "SR", "", "SU", "SP"] {
        assert!(!here.answers(&Packet { kind: Kind::Tcp(Packet::flags(flags).unwrap()), ..good.clone() }), "{flags}");
    }
    let others = [
        good.clone().carrying("data"),
        Packet { fragment: (0, true), ..good.clone() },
        Packet { kind: Kind::Udp, ..good.clone() },
    ];
    assert!(others.iter().all(|packet| !here.answers(packet)));
    let mut tagged = good.frame(ROUTER, DIRECTOR);
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert_eq!(here.kernel(&tagged), None);
    let mut damaged = good.frame(ROUTER, DIRECTOR);
    damaged[38] ^= 1;
    assert_eq!(here.kernel(&damaged), None);
    // An address is the director's own as soon as a command says so.
    let client = good.clone().from("198.51.100.77:4000");
    assert!(here.answers(&client));
    let own = "-A -t 198.51.100.77:80 -s rr\n";
    here.lab.rules(own);
    here.lab.director.fast().heed();
    assert!(!here.answers(&client));
    here.lab.rules("-D -t 198.51.100.77:80\n");
    here.lab.director.fast().heed();
    assert!(here.answers(&client));
}
