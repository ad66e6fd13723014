//! Sequence numbers and timestamps of FULL-NAT (RFC 6528, RFC 7323), in exact frames.

use std::time::Duration;

use super::{CLIENT, LIP, RS1, VIP};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, ROUTER, endpoint, mac_of, with_options};
use crate::wire::{self, Gso, Vnet};

const RULES: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -b\n\
                     -P -t 198.51.100.1:80 -z 10.0.0.30\n";
/// A client's clock.
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0];
/// What was received beyond a gap: 5000 to 6000 beyond the shift.
const SACK: u8 = 5;

fn lab() -> Lab {
    Lab::with(Settings { icmp_rate: 0, ..Settings::default() }, RULES)
}

/// Its TCP checksum is right.
#[track_caller]
pub(super) fn is_sound(sent: &Frame) {
    let mut buf = wire::PacketBuf::new();
    buf.set(&sent.bytes);
    let ip = wire::ip_packet(&sent.bytes).unwrap();
    assert!(wire::tcp::checksum_is_right(&buf, &ip), "{:02x?}", sent.bytes);
}

fn number(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
}

#[test]
fn a_conn_has_numbers_of_its_own_both_ways() {
    let mut lab = lab();
    let syn = Packet::tcp(CLIENT, VIP, "S");
    let sent = lab.frame(&with_options(syn.frame(ROUTER, DIRECTOR), &TIMESTAMPS));
    is_sound(&sent[0]);
    let begun = number(&sent[0].bytes, 38);
    let shift = begun.wrapping_sub(syn.seq);
    assert_ne!(shift, 0);
    assert_eq!(sent[0].bytes[54..66], [1; 12], "no timestamps of one client among those of others");
    let peer = sent[0].packet().src;
    assert_eq!(peer.addr.to_string(), LIP);
    let again = lab.frame(&with_options(syn.frame(ROUTER, DIRECTOR), &TIMESTAMPS));
    assert_eq!(number(&again[0].bytes, 38), begun, "a SYN that is sent again is the same");

    let answer = Packet { ack: begun.wrapping_add(1), dst: peer, ..Packet::tcp(RS1, "0.0.0.0:0", "SA") };
    let told = lab.real(&answer);
    is_sound(&told[0]);
    assert_eq!((told[0].packet().ack, told[0].packet().seq), (syn.seq + 1, answer.seq));

    // A segment with data, alone and as a superframe whose checksum is open.
    let data = Packet { seq: syn.seq + 1, ..Packet::tcp(CLIENT, VIP, "AP") }.carrying([7; 900]);
    let sent = lab.client(&data);
    is_sound(&sent[0]);
    assert_eq!((sent[0].packet().seq, sent[0].packet().ack), (begun.wrapping_add(1), data.ack));
    let vnet =
        Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size: 100, csum_start: 34, csum_offset: 16, ..Vnet::default() };
    let sent = lab.frame_with(&data.frame(ROUTER, DIRECTOR), vnet);
    assert_eq!(number(&sent[0].bytes, 38), begun.wrapping_add(1));

    // What the server has got beyond a gap is told in the client's numbers.
    let edges = [5000_u32, 6000].map(|edge| edge.wrapping_add(shift).to_be_bytes()).concat();
    let sack = [&[1, 1, SACK, 10], &edges[..]].concat();
    let answer = Packet { ack: begun.wrapping_add(1), dst: peer, ..Packet::tcp(RS1, "0.0.0.0:0", "A") };
    let told = lab.frame(&with_options(answer.frame(mac_of(endpoint(RS1).addr), DIRECTOR), &sack));
    is_sound(&told[0]);
    assert_eq!([42, 58, 62].map(|at| number(&told[0].bytes, at)), [syn.seq + 1, 5000, 6000]);

    // A reset that acknowledges nothing has no number of the client's.
    let reset = Packet { dst: peer, ..Packet::tcp(RS1, "0.0.0.0:0", "R") };
    assert_eq!(lab.real(&reset)[0].packet().ack, reset.ack);
}

#[test]
fn errors_quote_the_numbers_that_their_receiver_knows() {
    let mut lab = lab();
    let syn = Packet::tcp(CLIENT, VIP, "S");
    let seen = lab.client(&syn)[0].packet();
    let told = lab.client(&Packet::icmp_about("10.0.0.99", LIP, (3, 1, 0), &seen));
    assert_eq!((told[0].inner().seq, told[0].inner().src), (syn.seq, syn.src));
    let answer = Packet { ack: seen.seq.wrapping_add(1), dst: seen.src, ..Packet::tcp(RS1, "0.0.0.0:0", "SA") };
    let heard = lab.real(&answer)[0].packet();
    let told = lab.client(&Packet::icmp_about("192.0.2.99", "198.51.100.1", (3, 4, 1400), &heard));
    assert_eq!((told[0].inner().ack, told[0].inner().src), (answer.ack, answer.src));
    assert_eq!(told[0].packet().kind, Kind::Icmp(3, 4, 1400_u32.to_be_bytes()));
}

#[test]
fn numbers_of_one_local_port_rise_from_client_to_client() {
    let mut lab = lab();
    let mut last: Option<(u32, crate::base::Endpoint)> = None;
    for client in 0..40_u32 {
        // Clients begin anywhere; the server knows the local endpoint alone.
        let syn = Packet {
            seq: client.wrapping_mul(0x9e37_79b9),
            ..Packet::tcp(&format!("192.0.2.{client}:4000"), VIP, "S")
        };
        let sent = lab.client(&syn)[0].packet();
        let conn = lab.conn_of(&syn).unwrap();
        let begun = sent.seq;
        if let Some((number, local)) = last {
            assert_eq!(sent.src, local);
            assert!((begun.wrapping_sub(number) as i32) > 0, "{number} -> {begun}");
        }
        last = Some((begun, sent.src));
        lab.director.flows.replace(conn);
        // The same port again.
        let local = sent.src;
        lab.director.flows.ports = crate::forward::LocalPorts::new(u32::from(local.port) - 5000);
        lab.advance(Duration::from_secs(2));
    }
}

#[test]
fn the_setting_leaves_numbers_and_timestamps_as_they_are() {
    let mut lab = Lab::new(RULES);
    let syn = Packet::tcp(CLIENT, VIP, "S");
    let sent = lab.frame(&with_options(syn.frame(ROUTER, DIRECTOR), &TIMESTAMPS));
    assert_eq!((number(&sent[0].bytes, 38), &sent[0].bytes[54..66]), (syn.seq, &TIMESTAMPS[..]));
}
