//! What each forwarding method makes of a packet, both ways, byte for byte.

use super::{CLIENT, LIP, RS1, VIP};
use crate::base::Mac;
use crate::testing::{Kind, Lab, Packet, ROUTER, endpoint, expect, mac_of};
use crate::wire::{Gso, Vnet};

const FIRST_LOCAL_PORT: &str = "10.0.0.30:5000";

fn rules(method: &str) -> String {
    let server = if method == "-m" || method == "--fullnat" { RS1 } else { "10.0.0.21" };
    let mut rules = format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {server} {method}\n");
    if method == "--fullnat" {
        rules += &format!("-P -t {VIP} -z {LIP}\n");
    }
    rules
}

fn rs1() -> Mac {
    mac_of(endpoint(RS1).addr)
}

fn syn() -> Packet {
    Packet::tcp(CLIENT, VIP, "S")
}

#[test]
fn nat_changes_the_destination_and_the_replys_source() {
    let mut lab = Lab::new(&rules("-m"));
    expect(&lab.client(&syn()), &[(rs1(), syn().to(RS1).one_hop_on())]);
    let reply = Packet::tcp(RS1, CLIENT, "SA").carrying("hello");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn fullnat_changes_both_ends_both_ways() {
    let mut lab = Lab::new(&rules("--fullnat"));
    expect(&lab.client(&syn()), &[(rs1(), syn().from(FIRST_LOCAL_PORT).to(RS1).one_hop_on())]);
    let reply = Packet::tcp(RS1, FIRST_LOCAL_PORT, "SA");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).to(CLIENT).one_hop_on())]);
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn direct_routing_changes_nothing_but_the_station() {
    let mut lab = Lab::new(&rules("-g"));
    expect(&lab.client(&syn()), &[(rs1(), syn().one_hop_on())]);
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn a_tunnel_carries_the_packet_inside_another() {
    let mut lab = Lab::new(&rules("-i"));
    let inner = Packet { tos: 0x2b, ..syn() };
    let outer = Packet::new("10.0.0.2", "10.0.0.21", Kind::Other(4)).carrying(inner.clone().one_hop_on().bytes());
    // TTL, TOS and DF come from inside, but congestion is not told twice; with DF the identification is 0.
    let outer = Packet { ttl: 63, tos: 0x2a, id: 0, ..outer };
    expect(&lab.client(&inner), &[(rs1(), outer)]);
    assert_eq!(lab.take_moved(), "");
}

#[test]
fn udp_without_a_checksum_gets_one_in_nat_and_none_elsewhere() {
    for method in ["-m", "-g"] {
        let mut lab = Lab::new(&rules(method).replace("-t", "-u"));
        let bare = Packet::new(CLIENT, VIP, Kind::UdpWithout).carrying("anyone?");
        let wanted = match method {
            "-m" => Packet { kind: Kind::Udp, ..bare.clone() }.to(RS1),
            _ => bare.clone(),
        };
        expect(&lab.client(&bare), &[(rs1(), wanted.one_hop_on())]);
    }
}

#[test]
fn a_damaged_segment_leaves_as_damaged_as_it_came() {
    let mut lab = Lab::new(&rules("-m"));
    let mut frame = syn().frame(ROUTER, crate::testing::DIRECTOR);
    let checksum = frame.len() - 4;
    frame[checksum] ^= 0x55;
    let sent = lab.frame(&frame);
    let mut wanted = syn().to(RS1).one_hop_on().frame(crate::testing::DIRECTOR, rs1());
    wanted[checksum] ^= 0x55;
    assert_eq!(sent[0].bytes, wanted);
}

#[test]
fn errors_about_requests_and_replies_reach_the_right_end() {
    // Where the real server knows the router's address it is shown; in FULL-NAT it knows the local address only.
    for (method, seen_by_server, teller) in [("-m", CLIENT, "203.0.113.9"), ("--fullnat", FIRST_LOCAL_PORT, LIP)] {
        let mut lab = Lab::new(&rules(method));
        lab.client(&syn());
        let reply = Packet::tcp(RS1, seen_by_server, "SA");
        lab.real(&reply);
        // A router on the client's side cannot carry the reply: the real server is told in its own terms.
        let narrow = (3, 4, 1300);
        let seen = Packet { ttl: 63, ..Packet::tcp(VIP, CLIENT, "SA") };
        let told = Packet::icmp_about("203.0.113.9", VIP, narrow, &seen);
        let mut quoted = reply.clone();
        quoted.ttl = 63;
        let wanted = Packet::icmp_about(teller, RS1, narrow, &quoted);
        let sent = lab.client(&told);
        assert_eq!(sent.len(), 1, "{method}");
        let error = sent[0].packet();
        assert_eq!((error.src.addr, error.dst.addr), (wanted.src.addr, wanted.dst.addr), "{method}: its own addresses");
        assert_eq!(error.kind, wanted.kind, "{method}");
        // What is quoted of layer 4 keeps the checksum it had.
        assert_eq!(sent[0].inner(), quoted, "{method}: what is quoted");
        assert_eq!(checksum_over(sent[0].behind_ip()), 0xffff, "{method}: the ICMP checksum");
    }
}

#[test]
fn an_error_from_the_servers_side_comes_from_the_virtual_address() {
    for (method, seen_by_server) in [("-m", CLIENT), ("--fullnat", FIRST_LOCAL_PORT)] {
        let mut lab = Lab::new(&rules(method));
        lab.client(&syn());
        let seen = syn().from(seen_by_server).to(RS1).one_hop_on();
        let told =
            Packet::icmp_about("10.0.0.21", endpoint(seen_by_server).addr.to_string().as_str(), (3, 3, 0), &seen);
        let sent = lab.real(&told);
        assert_eq!(sent.len(), 1, "{method}");
        let error = sent[0].packet();
        let ends = (error.src.addr, error.dst.addr);
        assert_eq!(ends, (endpoint(VIP).addr, endpoint(CLIENT).addr), "{method}: from the VIP to the client");
        assert_eq!(sent[0].inner(), syn().one_hop_on(), "{method}: about the client's own packet");
        assert_eq!(checksum_over(sent[0].behind_ip()), 0xffff, "{method}: the ICMP checksum");
    }
}

pub(super) fn checksum_over(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A superframe as a TAP gives it: one checksum for all, unfinished.
pub(super) fn superframe(packet: &Packet, gso: Gso, size: u16) -> (Vec<u8>, Vnet) {
    let mut frame = packet.frame(ROUTER, crate::testing::DIRECTOR);
    let (offset, proto) = if gso == Gso::Udp { (6, 17) } else { (16, 6) };
    let length = (frame.len() - 34) as u16;
    let mut pseudo = frame[26..34].to_vec();
    pseudo.extend([0, proto]);
    pseudo.extend(length.to_be_bytes());
    let sum = checksum_over(&pseudo).to_be_bytes();
    frame[34 + offset..36 + offset].copy_from_slice(&sum);
    let csum_offset = offset as u16;
    let vnet = Vnet { needs_csum: true, gso, gso_size: size, csum_start: 34, csum_offset, ..Vnet::default() };
    (frame, vnet)
}

#[test]
fn a_superframe_is_rewritten_whole() {
    let mut lab = Lab::new(&rules("-m"));
    lab.client(&syn());
    let big = Packet::tcp(CLIENT, VIP, "AP").carrying(vec![7; 20_000]);
    let (frame, vnet) = superframe(&big, Gso::Tcp4, 1448);
    let sent = lab.frame_with(&frame, vnet);
    let (mut wanted, _) = superframe(&big.to(RS1).one_hop_on(), Gso::Tcp4, 1448);
    wanted[..12].copy_from_slice(&[rs1().0, crate::testing::DIRECTOR.0].concat());
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0].bytes, sent[0].vnet), (&wanted, vnet));
}

#[test]
fn a_superframe_into_a_tunnel_is_cut_and_every_piece_stands_alone() {
    let mut lab = Lab::new(&rules("-i"));
    lab.client(&syn());
    let payload: Vec<u8> = (0..5000u32).map(|byte| byte as u8).collect();
    let big = Packet::tcp(CLIENT, VIP, "ACPF").carrying(payload.clone());
    let (frame, vnet) = superframe(&big, Gso::Tcp4, 1400);
    let sent = lab.frame_with(&frame, vnet);
    let pieces: Vec<(Mac, Packet)> = payload
        .chunks(1400)
        .enumerate()
        .map(|(index, chunk)| {
            // CWR on the first only, PSH and FIN on the last only (RFC 3168 6.1.2, RFC 9293).
            let flags = ["AC", "A", "A", "APF"][index];
            let inner = Packet::tcp(CLIENT, VIP, flags).carrying(chunk).one_hop_on();
            let inner = Packet { seq: 1000 + 1400 * index as u32, id: 0x1234 + index as u16, ..inner };
            let outer = Packet::new("10.0.0.2", "10.0.0.21", Kind::Other(4)).carrying(inner.bytes());
            (rs1(), Packet { ttl: 63, id: 0, ..outer })
        })
        .collect();
    expect(&sent, &pieces);
    assert_eq!(lab.take_moved(), "consumed.segmented=1");
}

#[test]
fn pieces_of_a_superframe_have_the_headers_of_their_tunnel_each() {
    // Bytes of the tunnel's own between the outer IP header and the inner packet.
    for (kind, between) in
        [("gre", 4), ("gre --tun-csum", 8), ("gue --tun-port 6080", 12), ("gue --tun-port 6080 --tun-csum", 12)]
    {
        let mut lab = Lab::new(&rules(&format!("-i --tun-type {kind}")));
        lab.client(&syn());
        let big = Packet::tcp(CLIENT, VIP, "AP").carrying(vec![7; 3000]);
        let (frame, vnet) = superframe(&big, Gso::Tcp4, 1400);
        let sent = lab.frame_with(&frame, vnet);
        assert_eq!(sent.len(), 3, "{kind}");
        for (index, (sent, length)) in sent.iter().zip([1400, 1400, 200]).enumerate() {
            let flags = if index == 2 { "AP" } else { "A" };
            let inner = Packet::tcp(CLIENT, VIP, flags).carrying(vec![7; length]).one_hop_on();
            let inner = Packet { seq: 1000 + 1400 * index as u32, id: 0x1234 + index as u16, ..inner };
            let behind = sent.behind_ip();
            assert_eq!(behind[between..], inner.bytes(), "{kind}");
            assert_eq!(sent.vnet, Vnet::default(), "{kind}: nothing is left to be done");
            match kind {
                "gre --tun-csum" => assert_eq!(checksum_over(behind), 0xffff, "{kind}"),
                "gue --tun-port 6080 --tun-csum" => {
                    let pseudo = [&sent.bytes[26..34], &[0, 17], &(behind.len() as u16).to_be_bytes()].concat();
                    assert_eq!(checksum_over(&[&pseudo, behind].concat()), 0xffff, "{kind}");
                }
                _ => {}
            }
        }
        assert_eq!(lab.take_moved(), "consumed.segmented=1", "{kind}");
    }
}

#[test]
fn local_ports_freed_last_are_reused_last() {
    let mut lab = Lab::new(&rules("--fullnat"));
    let from = |port: u16| format!("192.0.2.7:{port}");
    for (client, local) in [(4000, "10.0.0.30:5000"), (4001, "10.0.0.30:5001")] {
        let syn = syn().from(&from(client));
        expect(&lab.client(&syn), &[(rs1(), syn.clone().from(local).to(RS1).one_hop_on())]);
    }
    // The first conn ends; the next one takes a port that nobody had.
    lab.real(&Packet::tcp(RS1, "10.0.0.30:5000", "R"));
    lab.advance(std::time::Duration::from_secs(15));
    let next = syn().from(&from(4002));
    expect(&lab.client(&next), &[(rs1(), next.clone().from("10.0.0.30:5002").to(RS1).one_hop_on())]);
}
