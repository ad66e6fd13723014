//! Whatever comes, the director neither panics nor loses count of it.

use std::time::Duration;

use super::{CLIENT, RS1, VIP};
use crate::base::{Family, Rng};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Kind, Lab, Packet, ROUTER, endpoint, mac_of};
use crate::wire::{Gso, UdpTunnel, Vnet};

const RULES: &str = "\
-A -t 198.51.100.1:80 -s rr -p 60
-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m
-a -t 198.51.100.1:80 -r 10.0.0.22:80 -g
-A -t 198.51.100.1:21 -s wlc
-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m
-A -u 198.51.100.1:53 -s sh
-a -u 198.51.100.1:53 -r 10.0.0.21:53 --fullnat
-a -u 198.51.100.1:53 -r 10.0.0.22:53 -i --tun-type gue --tun-port 6080
-A -u 198.51.100.1:5060 -s rr -p 60 --pe sip
-a -u 198.51.100.1:5060 -r 10.0.0.21:5060 -m
-A --sctp-service 198.51.100.1:3868 -s rr
-a --sctp-service 198.51.100.1:3868 -r 10.0.0.21:3869 -m
-A -t [2001:db8::80]:80 -s mh
-a -t [2001:db8::80]:80 -r [2001:db8:1::21]:8080 -m
-a -t [2001:db8::80]:80 -r 10.0.0.23:80 -i
";

/// One of each kind of packet that does something.
fn seeds() -> Vec<Vec<u8>> {
    let udp = |port: u16| Packet::udp(CLIENT, &format!("198.51.100.1:{port}"));
    let quoted = Packet::tcp(VIP, CLIENT, "SA");
    let sip = "INVITE sip:a SIP/2.0\r\nCall-ID: one@two\r\n\r\n";
    let client = [
        Packet::tcp(CLIENT, VIP, "S"),
        Packet::tcp(CLIENT, VIP, "AP").carrying("GET / HTTP/1.0\r\n\r\n"),
        Packet::tcp(CLIENT, VIP, "FA"),
        Packet::tcp(CLIENT, "198.51.100.1:21", "S"),
        Packet::tcp(CLIENT, "198.51.100.1:21", "AP").carrying("PORT 192,0,2,7,10,1\r\n"),
        udp(53).carrying("question"),
        udp(5060).carrying(sip),
        Packet { fragment: (0, true), dont_fragment: false, ..udp(53).carrying([0; 16]) },
        Packet { fragment: (24, false), dont_fragment: false, ..udp(53).carrying([0; 16]) },
        Packet::new("192.0.2.7", "198.51.100.1", Kind::Icmp(8, 0, [0; 4])),
        Packet::icmp_about("192.0.2.1", "198.51.100.1", (3, 4, 1300), &quoted),
        Packet::new(CLIENT, "198.51.100.1:3868", Kind::Other(132))
            .carrying([0x0f, 0xa0, 0x0f, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20]),
        Packet::tcp("[2001:db8:9::7]:4000", "[2001:db8::80]:80", "S"),
        Packet::new("2001:db8:9::7", "2001:db8::80", Kind::Icmp(128, 0, [0; 4])),
    ];
    let server = [
        Packet::tcp(RS1, CLIENT, "SA"),
        Packet::tcp("10.0.0.21:21", CLIENT, "AP").carrying("227 Entering Passive Mode (10,0,0,21,10,1)\r\n"),
        Packet::udp("10.0.0.21:53", "10.0.0.2:5000").carrying("answer"),
    ];
    let client = client.iter().map(|packet| packet.frame(ROUTER, DIRECTOR));
    client.chain(server.iter().map(|packet| packet.frame(mac_of(endpoint(RS1).addr), DIRECTOR))).collect()
}

fn mutated(seed: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut frame = seed.to_vec();
    for _ in 0..rng.below(4) {
        // Mostly headers; the MACs rarely, or nothing would get further.
        let at = rng.below(frame.len() as u64).max(rng.below(14)) as usize;
        frame[at] = rng.next_u64() as u8;
    }
    if rng.below(8) == 0 {
        frame.truncate(rng.below(frame.len() as u64 + 1) as usize);
    }
    frame
}

fn vnet(rng: &mut Rng) -> Vnet {
    let gso = [Gso::None, Gso::None, Gso::Tcp4, Gso::Tcp6, Gso::Udp, Gso::Unknown][rng.below(6) as usize];
    Vnet {
        needs_csum: rng.below(2) == 0,
        gso,
        ecn: rng.below(8) == 0,
        gso_size: [0, 1, 8, 1448, 65_535][rng.below(5) as usize],
        csum_start: [34, 54, 66, 0, 14, 65_535][rng.below(6) as usize],
        csum_offset: [6, 16, 0, 65_535][rng.below(4) as usize],
        tunnel: (rng.below(3) == 0).then(|| UdpTunnel {
            family: [Family::V4, Family::V6][rng.below(2) as usize],
            summed: rng.below(2) == 0,
            own: [0, 4, 22, 65_535][rng.below(4) as usize],
        }),
    }
}

#[test]
fn damaged_packets_are_handled_or_dropped_and_all_are_counted() {
    let seeds = seeds();
    let mut rng = Rng::seeded(11);
    let settings = Settings { max_flows: 64, expire_nodest_conn: true, ..Settings::default() };
    let mut lab = Lab::with(settings, RULES);
    lab.director.router.allow_tunnels(crate::testing::LINK);
    for round in 0..60_000u32 {
        let seed = &seeds[rng.below(seeds.len() as u64) as usize];
        let frame = mutated(seed, &mut rng);
        let vnet = if rng.below(4) == 0 { vnet(&mut rng) } else { Vnet::default() };
        lab.frame_with(&frame, vnet);
        if round % 1000 == 0 {
            lab.advance(Duration::from_secs(rng.below(70)));
        }
    }
    assert!(lab.director.router.ledger.tx > 10_000, "most packets did something:\n{}", lab.director.router.ledger);
}

#[test]
fn any_bytes_at_all_are_dropped_or_understood() {
    let mut rng = Rng::seeded(12);
    let mut lab = Lab::new(RULES);
    for _ in 0..60_000 {
        let mut frame: Vec<u8> = (0..rng.below(120)).map(|_| rng.next_u64() as u8).collect();
        if frame.len() > 14 {
            frame[..6].copy_from_slice(&DIRECTOR.0);
            frame[12..14].copy_from_slice(&[[8, 0], [8, 6], [0x86, 0xdd], [1, 2]][rng.below(4) as usize]);
        }
        let vnet = vnet(&mut rng);
        lab.frame_with(&frame, vnet);
    }
}
