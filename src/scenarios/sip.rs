//! SIP through NAT and FULL-NAT: each side reads where it has to send to, and the media of calls go between the same ends.

use std::time::Duration;

use super::LIP;
use crate::base::Endpoint;
use crate::testing::{Frame, Kind, Lab, Packet, endpoint};

const CLIENT: &str = "192.0.2.7:5060";
const OTHER: &str = "192.0.2.8:5060";
const VIP: &str = "198.51.100.1:5060";
const SERVER: &str = "10.0.0.21:5060";

fn lab(method: &str) -> Lab {
    let local = if method == "-b" { format!("-P -u {VIP} -z {LIP}\n") } else { String::new() };
    Lab::new(&format!("-A -u {VIP} -s rr\n-a -u {VIP} -r {SERVER} {method}\n{local}"))
}

fn text(packet: &Packet) -> &str {
    std::str::from_utf8(&packet.payload).unwrap()
}

/// A message with the description of a session.
pub(super) fn with_session(first: &str, contact: &str, addr: &str, port: u16) -> String {
    let family = if addr.contains(':') { 6 } else { 4 };
    let body = format!(
        "v=0\r\no=- 1 1 IN IP{family} {addr}\r\ns=-\r\nc=IN IP{family} {addr}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
    );
    let len = body.len();
    format!(
        "{first}\r\nContact: <sip:{contact}>\r\nContent-Type: application/sdp\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

/// One datagram in, one out.
fn sent(frames: Vec<Frame>) -> Packet {
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames[0].packet()
}

/// The endpoint of the session in a message.
fn session_of(packet: &Packet) -> Endpoint {
    let text = text(packet);
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let said = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(said.parse(), Ok(body.len()), "{text}");
    let addr = body.lines().find_map(|line| line.strip_prefix("c=IN IP")).unwrap();
    let port = body.lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap();
    Endpoint::new(addr[2..].parse().unwrap(), port.split(' ').next().unwrap().parse().unwrap())
}

fn at(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(addr.parse().unwrap(), port)
}

fn datagram(src: Endpoint, dst: Endpoint) -> Packet {
    Packet { src, dst, ..Packet::udp(CLIENT, VIP) }.carrying("rtp")
}

/// A call from the client to its server, answered; where the server sees the client, and where it waits for media.
fn call(lab: &mut Lab) -> (Endpoint, Endpoint) {
    let invite = with_session(
        "INVITE sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;rport",
        "a@192.0.2.7",
        "192.0.2.7",
        4000,
    );
    let told = sent(lab.client(&Packet::udp(CLIENT, VIP).carrying(invite)));
    let media = session_of(&told);
    let answer = with_session("SIP/2.0 200 OK", "b@10.0.0.21:5060", "10.0.0.21", 7000);
    let said = sent(lab.real(&Packet { dst: told.src, ..Packet::udp(SERVER, CLIENT) }.carrying(answer)));
    assert_eq!((said.src, said.dst, session_of(&said)), (endpoint(VIP), endpoint(CLIENT), at("198.51.100.1", 7000)));
    assert!(text(&said).contains("Contact: <sip:b@198.51.100.1:5060>"), "{}", text(&said));
    (told.src, media)
}

#[test]
fn media_go_between_the_ends_that_each_side_was_told() {
    for first in ["client", "server"] {
        let mut lab = lab("-b");
        let (peer, media) = call(&mut lab);
        assert_eq!((peer.addr.to_string().as_str(), media.addr, media.port % 2), (LIP, peer.addr, 0));
        for next in [0, 1] {
            let [client, virt, real] = [("192.0.2.7", 4000), ("198.51.100.1", 7000), ("10.0.0.21", 7000)]
                .map(|(addr, port)| at(addr, port + next));
            let local = Endpoint::new(media.addr, media.port + next);
            let up = |lab: &mut Lab| {
                let packet = sent(lab.client(&datagram(client, virt)));
                assert_eq!((packet.src, packet.dst), (local, real));
            };
            if first == "client" {
                up(&mut lab);
            }
            let packet = sent(lab.real(&datagram(real, local)));
            assert_eq!((packet.src, packet.dst), (virt, client));
            up(&mut lab);
        }
        lab.recount().unwrap();
        // The conn of the messages lives as long as the media that it has announced.
        lab.advance(Duration::from_secs(200));
        sent(lab.real(&datagram(at("10.0.0.21", 7000), media)));
        lab.advance(Duration::from_secs(200));
        let bye = Packet { dst: peer, ..Packet::udp(SERVER, CLIENT) }.carrying("BYE sip:a@10.0.0.30:1 SIP/2.0\r\n\r\n");
        assert_eq!(sent(lab.real(&bye)).dst, endpoint(CLIENT));
        lab.advance(Duration::from_secs(3600));
        assert_eq!(lab.director.flows.conns.len(), 0, "what was announced ends, and its ports go back");
        lab.recount().unwrap();
    }
}

#[test]
fn a_message_that_is_sent_again_says_the_same_until_media_flow_and_a_new_one_takes_their_place() {
    let mut lab = lab("-b");
    let (peer, media) = call(&mut lab);
    assert_eq!(call(&mut lab), (peer, media));
    let [client, virt, real] =
        [("192.0.2.7", 4000), ("198.51.100.1", 7000), ("10.0.0.21", 7000)].map(|(a, p)| at(a, p));
    sent(lab.client(&datagram(client, virt)));
    // The call is described once more: whichever of the two its server uses, it reaches the client from where that sends to.
    let (_, second) = call(&mut lab);
    assert_ne!(second, media);
    assert_eq!(sent(lab.real(&datagram(real, media))).dst, client);
    let packet = sent(lab.real(&datagram(real, second)));
    assert_eq!((packet.src, packet.dst), (virt, client));
    assert_eq!(sent(lab.client(&datagram(client, virt))).src, second);
    lab.advance(Duration::from_secs(3600));
    assert_eq!(lab.director.flows.conns.len(), 0);
    lab.recount().unwrap();
}

#[test]
fn in_nat_servers_are_hidden_and_clients_are_not() {
    let mut lab = lab("-m");
    let (peer, media) = call(&mut lab);
    assert_eq!((peer, media), (endpoint(CLIENT), at("192.0.2.7", 4000)));
    for next in [0, 1] {
        let [client, virt, real] =
            [("192.0.2.7", 4000), ("198.51.100.1", 7000), ("10.0.0.21", 7000)].map(|(a, p)| at(a, p + next));
        let packet = sent(lab.real(&datagram(real, client)));
        assert_eq!((packet.src, packet.dst), (virt, client));
        let packet = sent(lab.client(&datagram(client, virt)));
        assert_eq!((packet.src, packet.dst), (client, real));
    }
    lab.recount().unwrap();
}

#[test]
fn between_families_each_side_reads_its_own() {
    let (client, vip) = ("[2001:db8:c::7]:5060", "[2001:db8:51::1]:5060");
    let mut lab = Lab::new(&format!("-A -u {vip} -s rr\n-a -u {vip} -r {SERVER} -b\n-P -u {vip} -z {LIP}\n"));
    let invite = with_session("INVITE sip:b@example.org SIP/2.0", "a@[2001:db8:c::7]:5060", "2001:db8:c::7", 4000);
    let told = sent(lab.client(&Packet::udp(client, vip).carrying(invite)));
    let media = session_of(&told);
    assert_eq!(media.addr.to_string(), LIP);
    assert!(text(&told).contains(&format!("Contact: <sip:a@{}>", told.src)), "{}", text(&told));
    let answer = with_session("SIP/2.0 200 OK", "b@10.0.0.21", "10.0.0.21", 7000);
    let said = sent(lab.real(&Packet { dst: told.src, ..Packet::udp(SERVER, CLIENT) }.carrying(answer)));
    assert_eq!(session_of(&said), at("2001:db8:51::1", 7000));
    assert!(text(&said).contains("Contact: <sip:b@[2001:db8:51::1]>"), "{}", text(&said));
    let packet = sent(lab.real(&datagram(at("10.0.0.21", 7000), media)));
    assert_eq!((packet.src, packet.dst), (at("2001:db8:51::1", 7000), at("2001:db8:c::7", 4000)));
}

#[test]
fn clients_of_a_proxy_that_carries_no_media_send_to_each_other() {
    let mut lab = lab("-b");
    let invite = with_session("INVITE sip:b@example.org SIP/2.0", "a@192.0.2.7", "192.0.2.7", 4000);
    let told = sent(lab.client(&Packet::udp(CLIENT, VIP).carrying(invite)));
    let registered = sent(
        lab.client(&Packet::udp(OTHER, VIP).carrying("REGISTER sip:x SIP/2.0\r\nContact: <sip:b@192.0.2.8>\r\n\r\n")),
    );
    assert_eq!(text(&registered), format!("REGISTER sip:x SIP/2.0\r\nContact: <sip:b@{}>\r\n\r\n", registered.src));
    let onward = Packet { dst: registered.src, ..Packet::udp(SERVER, OTHER) };
    let line = format!("INVITE sip:b@{} SIP/2.0", registered.src);
    let body = text(&told).split_once("\r\n").unwrap().1;
    let said = sent(lab.real(&onward.carrying(format!("{line}\r\nRecord-Route: <sip:10.0.0.21;lr>\r\n{body}"))));
    assert_eq!((said.dst, session_of(&said)), (endpoint(OTHER), at("192.0.2.7", 4000)));
    assert!(
        text(&said).starts_with("INVITE sip:b@192.0.2.8:5060 SIP/2.0\r\nRecord-Route: <sip:198.51.100.1;lr>"),
        "{}",
        text(&said)
    );
}

#[test]
fn a_phone_that_has_registered_is_reached_until_its_registration_ends() {
    for method in ["-m", "-b"] {
        let mut lab = lab(method);
        let register =
            Packet::udp(CLIENT, VIP).carrying("REGISTER sip:x SIP/2.0\r\nContact: <sip:a@192.0.2.7>\r\n\r\n");
        let confirm = |seconds: u32| format!("SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nExpires: {seconds}\r\n\r\n");
        let told = sent(lab.client(&register));
        let from_server = Packet { dst: told.src, ..Packet::udp(SERVER, CLIENT) };
        sent(lab.real(&from_server.clone().carrying(confirm(1000))));
        lab.advance(Duration::from_secs(900));
        let invite = from_server.clone().carrying("INVITE sip:a@x SIP/2.0\r\n\r\n");
        assert_eq!(sent(lab.real(&invite)).dst, endpoint(CLIENT), "{method}");
        // Registered once more, it goes on.
        sent(lab.client(&register));
        sent(lab.real(&from_server.clone().carrying(confirm(1000))));
        assert_eq!(lab.director.flows.conns.len(), 2);
        lab.advance(Duration::from_secs(900));
        assert_eq!(sent(lab.real(&invite)).dst, endpoint(CLIENT), "{method}");
        // Nobody is reached by the conn that keeps it.
        let nowhere = sent(lab.client(&Packet { dst: at("198.51.100.1", 0), ..register.clone() }));
        assert!(matches!(nowhere.kind, Kind::Icmp(3, 3, _)), "{nowhere:?}");
        sent(lab.client(&register));
        sent(lab.real(&from_server.carrying(confirm(0))));
        assert_eq!(lab.director.flows.conns.len(), 1);
        lab.advance(Duration::from_secs(400));
        assert_eq!(lab.director.flows.conns.len(), 0);
        lab.recount().unwrap();
    }
}

#[test]
fn ports_of_sip_are_a_setting_and_a_message_too_long_to_grow_is_refused() {
    let mut lab = lab("-b");
    lab.director.set("sip_ports", "").unwrap();
    let invite = with_session("INVITE sip:b@example.org SIP/2.0", "a@192.0.2.7", "192.0.2.7", 4000);
    assert_eq!(text(&sent(lab.client(&Packet::udp(CLIENT, VIP).carrying(invite.clone())))), invite);
    lab.director.set("sip_ports", "5061,5060").unwrap();
    let fill = "x".repeat(1472 - invite.len() - 4);
    let long = invite.replace("Contact", &format!("X: {fill}\nContact"));
    let refused = lab.client(&Packet::udp(OTHER, VIP).carrying(long.replace("192.0.2.7", "192.0.2.8")));
    let Kind::Icmp(3, 4, [_, _, high, low]) = sent(refused).kind else { panic!("not an ICMP error") };
    let room = u16::from_be_bytes([high, low]);
    assert!((1470..1500).contains(&room), "{room}");
}
