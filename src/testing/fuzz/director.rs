//! Frames and messages through a whole director.

use std::time::Duration;

use super::text::{RULES, rules_can_be_read_again};
use crate::base::{Family, Mac};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Kind, LINK, Lab, Packet, ROUTER, endpoint, mac_of};
use crate::wire::{Gso, UdpTunnel, Vnet};

const CLIENT: &str = "192.0.2.7:4000";
const CLIENT6: &str = "[2001:db8:9::7]:4000";
const RS1: &str = "10.0.0.21:8080";

/// What an operator does meanwhile; what is refused changes nothing.
const CHANGES: [&str; 10] = [
    "-d -t 198.51.100.1:80 -r 10.0.0.21:8080",
    "-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m",
    "-e -t 198.51.100.1:80 -r 10.0.0.22:80 -g -w 0",
    "-D -t 198.51.100.1:21",
    "-A -t 198.51.100.1:21 -s rr",
    "-a -t 198.51.100.1:21 -r 10.0.0.23:21 -m",
    "-P -u 198.51.100.1:53 -z 10.0.0.30",
    "-E -t 198.51.100.1:80 -s sh -p 30",
    "-C",
    "--set 5 5 5",
];

/// Steps, each of a word of two bytes and what follows it: a frame as long as it says, time, or a change.
pub fn frames(mut input: &[u8]) -> Result<String, String> {
    let settings = Settings { max_flows: 24, expire_nodest_conn: true, drop_entry: 1, ..Settings::default() };
    let mut lab = Lab::with(settings, RULES);
    lab.director.router.allow_tunnels(LINK);
    while let [kind, length, rest @ ..] = input {
        let (size, piece) = (usize::from(*length) * 8, rest);
        let frame = &piece[..size.min(piece.len())];
        match kind % 16 {
            13 => drop(lab.advance(Duration::from_secs(u64::from(*length)))),
            14 => change(&mut lab, CHANGES[usize::from(*length) % CHANGES.len()]),
            15 => drop(lab.frame_with(frame, vnet(kind / 16, frame))),
            _ => drop(lab.frame(frame)),
        }
        input = if matches!(kind % 16, 13 | 14) { rest } else { &piece[frame.len()..] };
    }
    outcome(&mut lab)
}

/// A step of a frame: what is missing to a multiple of eight bytes is padding, as Ethernet has it.
fn frame_step(kind: u8, frame: &[u8]) -> Vec<u8> {
    let words = frame.len().div_ceil(8).min(255);
    let mut step = vec![kind, words as u8];
    step.extend_from_slice(&frame[..frame.len().min(words * 8)]);
    step.resize(2 + words * 8, 0);
    step
}

/// A virtio header, from bits of the frame itself so that a small input says all.
fn vnet(which: u8, frame: &[u8]) -> Vnet {
    let bits = frame.iter().rev().take(4).fold(u32::from(which), |bits, byte| bits << 7 ^ bits >> 5 ^ u32::from(*byte));
    let pick = |shift: u32, count: u32| (bits >> shift) as usize % count as usize;
    Vnet {
        needs_csum: pick(0, 4) > 0,
        gso: [Gso::Tcp4, Gso::None, Gso::Tcp6, Gso::Udp, Gso::Unknown][pick(2, 5)],
        ecn: pick(5, 8) == 0,
        gso_size: [1448, 8, 1, 65_535, 0, 100][pick(8, 6)],
        csum_start: [34, 54, 66, 70, 0, 14, 65_535][pick(11, 7)],
        csum_offset: [16, 6, 0, 65_535][pick(14, 4)],
        tunnel: (pick(16, 3) == 0).then(|| UdpTunnel {
            family: [Family::V4, Family::V6][pick(18, 2)],
            summed: pick(19, 2) == 0,
            own: [0, 4, 22, 65_535][pick(20, 4)],
        }),
    }
}

fn change(lab: &mut Lab, rule: &str) {
    for (_, command) in crate::ipvsadm::parse_rules(rule).unwrap() {
        // Refused where it does not fit what there is by now.
        _ = lab.director.apply(&command, lab.turn.now);
    }
}

/// What must hold of a director at any time; where it was, in words.
fn outcome(lab: &mut Lab) -> Result<String, String> {
    lab.recount()?;
    rules_can_be_read_again(&mut lab.director)?;
    // The ledger was balanced after every step: the lab sees to that.
    let moved = lab.take_moved();
    let names: Vec<&str> = moved.split(' ').filter_map(|word| Some(word.split_once('=')?.0)).collect();
    Ok(format!("{} {}", names.join(" "), lab.director.flows.conns.len().min(3)))
}

/// Conversations, a step a packet.
pub fn frame_seeds() -> Vec<Vec<u8>> {
    let client = |packet: Packet| frame_step(0, &packet.frame(ROUTER, DIRECTOR));
    let server = |packet: Packet| frame_step(0, &packet.frame(mac_of(packet.src.addr), DIRECTOR));
    let tcp = |flags| Packet::tcp(CLIENT, "198.51.100.1:80", flags);
    let udp = |port: u16| Packet::udp(CLIENT, &format!("198.51.100.1:{port}"));
    let ftp = |flags| Packet::tcp(CLIENT, "198.51.100.1:21", flags);
    let piece = |at| Packet { fragment: at, dont_fragment: false, ..udp(53).carrying([0; 16]) };
    let quoted = Packet::tcp("198.51.100.1:80", CLIENT, "SA");
    let init = [0x0f, 0xa0, 0x0f, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20];
    let big = frame_step(15, &tcp("AP").carrying(vec![7; 1900]).frame(ROUTER, DIRECTOR));
    vec![
        [
            client(tcp("S")),
            server(Packet::tcp(RS1, CLIENT, "SA")),
            client(tcp("AP").carrying("GET / HTTP/1.0\r\n\r\n")),
            big,
            vec![14, 2],
            client(tcp("FA")),
            vec![13, 200],
            client(tcp("S")),
        ]
        .concat(),
        [
            client(ftp("S")),
            server(Packet::tcp("10.0.0.21:21", CLIENT, "SA")),
            client(ftp("AP").carrying("PORT 192,0,2,7,10,1\r\n")),
            server(
                Packet::tcp("10.0.0.21:21", CLIENT, "AP").carrying("227 Entering Passive Mode (10,0,0,21,10,1)\r\n"),
            ),
            server(Packet::tcp("10.0.0.21:20", "192.0.2.7:2561", "S")),
            vec![14, 3],
        ]
        .concat(),
        [
            client(udp(53).carrying("question")),
            server(Packet::udp("10.0.0.21:53", "10.0.0.2:5000").carrying("answer")),
            vec![14, 6],
            client(udp(53).from("192.0.2.9:99")),
            client(piece((0, true))),
            client(piece((24, false))),
            vec![13, 60],
        ]
        .concat(),
        [
            client(udp(5060).carrying("INVITE sip:a SIP/2.0\r\nCall-ID: one@two\r\n\r\n")),
            client(Packet::new(CLIENT, "198.51.100.1:3868", Kind::Other(132)).carrying(init)),
            client(Packet::new("192.0.2.7", "198.51.100.1", Kind::Icmp(8, 0, [0; 4]))),
            client(Packet::icmp_about("192.0.2.1", "198.51.100.1", (3, 4, 1300), &quoted)),
        ]
        .concat(),
        [
            client(Packet::tcp("[2001:db8:9::7]:4000", "[2001:db8::80]:80", "S")),
            client(Packet::new("2001:db8:9::7", "2001:db8::80", Kind::Icmp(128, 0, [0; 4]))),
            client(Packet::tcp(CLIENT, "198.51.100.1:81", "S")),
            client(Packet::tcp(CLIENT, "198.51.100.1:81", "A").carrying(vec![0; 1500])),
        ]
        .concat(),
    ]
}

// ---- synchronisation -------------------------------------------------------------------------------------------

const BACKUP: &str = "--start-daemon backup --mcast-interface tap0 --syncid 7\n";
const MASTER: &str = "--start-daemon master --mcast-interface tap0 --syncid 7\n";
/// Where a message begins in its frame: behind Ethernet, IPv4 and UDP.
const MESSAGE: usize = 14 + 20 + 8;

/// The rules with local addresses, and a daemon.
fn synced(daemon: &str) -> String {
    format!("{RULES}-P -u 198.51.100.1:53 -z 10.0.0.30\n-P -t 198.51.100.1:81 -z 2001:db8::30\n{daemon}")
}

/// Messages to a backup, each as long as the two bytes before it say; then the traffic that they are about.
pub fn sync(mut input: &[u8]) -> Result<String, String> {
    let mut lab = Lab::with(Settings { max_flows: 24, ..Settings::default() }, &synced(BACKUP));
    while let [high, low, rest @ ..] = input {
        let message = &rest[..rest.len().min(usize::from(u16::from_be_bytes([*high, *low])))];
        let packet = Packet::udp("10.0.0.3:4000", "224.0.0.81:8848").carrying(message);
        lab.frame(&packet.frame(ROUTER, Mac::of_group("224.0.0.81".parse().unwrap())));
        input = &rest[message.len()..];
    }
    lab.recount()?;
    lab.client(&Packet::tcp(CLIENT, "198.51.100.1:80", "A"));
    lab.client(&Packet::udp(CLIENT, "198.51.100.1:53"));
    lab.client(&Packet::tcp(CLIENT, "198.51.100.1:81", "A"));
    lab.client(&Packet::tcp(CLIENT6, "[2001:db8::80]:80", "A"));
    lab.advance(Duration::from_secs(100));
    outcome(&mut lab)
}

/// What a master says of some conns.
pub fn sync_seeds() -> Vec<Vec<u8>> {
    let mut master = Lab::with(Settings { sync_threshold: 1, ..Settings::default() }, &synced(MASTER));
    for port in [80, 21] {
        let (vip, server) = (format!("198.51.100.1:{port}"), endpoint(RS1));
        master.client(&Packet::tcp(CLIENT, &vip, "S"));
        master.real(&Packet::tcp(&format!("{}:{}", server.addr, if port == 80 { 8080 } else { port }), CLIENT, "SA"));
        (0..4).for_each(|_| drop(master.client(&Packet::tcp(CLIENT, &vip, "A"))));
    }
    (0..4).for_each(|_| {
        drop(master.client(
            &Packet::udp(CLIENT, "198.51.100.1:5060").carrying("INVITE sip:a SIP/2.0\r\nCall-ID: one@two\r\n\r\n"),
        ))
    });
    (0..4).for_each(|_| drop(master.client(&Packet::tcp(CLIENT6, "[2001:db8::80]:80", "A"))));
    // Of IPv4 to a server of IPv6.
    let begun = master.client(&Packet::tcp(CLIENT, "198.51.100.1:81", "S"))[0].packet();
    master.real(&Packet { src: begun.dst, dst: begun.src, ..Packet::tcp(RS1, CLIENT, "SA") });
    (0..4).for_each(|_| drop(master.client(&Packet::tcp(CLIENT, "198.51.100.1:81", "A"))));
    let sent = master.advance(Duration::from_secs(3));
    let messages = sent.iter().filter(|frame| frame.to() == Mac::of_group("224.0.0.81".parse().unwrap()));
    messages
        .map(|frame| {
            let message = &frame.bytes[MESSAGE..];
            [&(message.len() as u16).to_be_bytes()[..], message].concat()
        })
        .collect()
}
