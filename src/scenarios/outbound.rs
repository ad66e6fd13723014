//! What is forwarded without a service on a two-armed director, and how servers behind it reach the outside.
//!
//! ```text
//! clients, routers 192.0.2.x -- 192.0.2.2 director 10.0.0.2 -- servers 10.0.0.21, another host 10.0.0.50
//! ```

use std::net::IpAddr;
use std::time::Duration;

use super::CLIENT;
use crate::base::{Chance, LinkId, Mac};
use crate::director::{Director, Settings};
use crate::outbound::{Forward, Masquerade, Policy};
use crate::router::Link;
use crate::testing::{DIRECTOR, Frame, Kind, Lab, Packet, endpoint, mac_of};
use crate::wire::Vnet;

const CLIENTS: LinkId = LinkId(0);
const SERVERS: LinkId = LinkId(1);
const INSIDE: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// A host outside, by either family.
const FAR: [&str; 2] = ["192.0.2.9:53", "[2001:db8:c::9]:53"];
const SERVER: [&str; 2] = ["10.0.0.21:5555", "[2001:db8::21]:5555"];
const OWN: [&str; 2] = ["192.0.2.2", "2001:db8:c::2"];

fn lab(clients: Policy) -> Lab {
    let mut director = Director::new(Settings { icmp_rate: 0, ..Settings::default() }, Chance::KNOWN);
    for (name, mac, nets) in [
        ("clients", DIRECTOR, ["192.0.2.2/24", "2001:db8:c::2/64"]),
        ("servers", INSIDE, ["10.0.0.2/24", "2001:db8::2/64"]),
    ] {
        let addresses = nets.iter().map(|net| net.parse().unwrap()).collect();
        director.router.add_link(Link { name: name.into(), mac, mtu: 1500, addresses });
    }
    for (link, host) in [
        (CLIENTS, "192.0.2.9"),
        (CLIENTS, "192.0.2.7"),
        (CLIENTS, "2001:db8:c::9"),
        (SERVERS, "10.0.0.21"),
        (SERVERS, "10.0.0.50"),
        (SERVERS, "2001:db8::21"),
    ] {
        let host: IpAddr = host.parse().unwrap();
        director.router.neighbours.add_permanent(link, host, mac_of(host));
    }
    director.outbound.set_policy(CLIENTS, clients);
    let mut lab = Lab::of(director);
    lab.rules("-A -t 192.0.2.100:80 -s rr\n-a -t 192.0.2.100:80 -r 10.0.0.21:8080 -m\n");
    lab.rules("-A -t [2001:db8:c::100]:80 -s rr\n-a -t [2001:db8:c::100]:80 -r [2001:db8::21]:8080 -m\n");
    lab.advance(Duration::from_secs(3));
    lab.take_moved();
    lab
}

fn masquerading() -> Lab {
    lab(Policy { forward: Forward::All, masquerade: Masquerade::On })
}

impl Lab {
    fn outside(&mut self, packet: &Packet) -> Vec<Frame> {
        self.arrive(CLIENTS, &packet.frame(mac_of(packet.src.addr), DIRECTOR), Vnet::default())
    }

    fn inside(&mut self, packet: &Packet) -> Vec<Frame> {
        self.arrive(SERVERS, &packet.frame(mac_of(packet.src.addr), INSIDE), Vnet::default())
    }

    fn passes(&mut self, packet: &Packet) -> bool {
        let sent = self.outside(packet);
        let moved = self.take_moved();
        assert_eq!(moved, if sent.is_empty() { "dropped.not-forwarded=1" } else { "" }, "{packet:?}");
        !sent.is_empty()
    }
}

/// The only packet that was sent.
#[track_caller]
fn only(sent: &[Frame]) -> Packet {
    assert_eq!(sent.len(), 1, "{sent:02x?}");
    sent[0].packet()
}

#[test]
fn a_server_reaches_the_outside_from_the_links_own_address_and_hears_the_answer() {
    for ((server, far), own) in SERVER.into_iter().zip(FAR).zip(OWN) {
        for (request, answer) in [(Kind::Tcp("S"), Kind::Tcp("SA")), (Kind::Udp, Kind::Udp)] {
            let mut lab = masquerading();
            let asked = Packet::new(server, far, request).carrying("who is it");
            let sent = only(&lab.inside(&asked));
            assert_eq!(sent.src.addr.to_string(), own);
            assert_eq!(sent, Packet { src: sent.src, ..asked.clone().one_hop_on() }, "the source alone is another");
            let again = only(&lab.inside(&asked));
            assert_eq!(again.src, sent.src, "a flow keeps its port");

            let answer = Packet { src: sent.dst, dst: sent.src, ..Packet::new(far, far, answer) }.carrying("it is I");
            let heard = only(&lab.outside(&answer));
            assert_eq!(heard, Packet { dst: endpoint(server), ..answer.clone().one_hop_on() });
            // Nobody else may use the port.
            let stranger = Packet { src: endpoint(&far.replace(":53", ":54")), ..answer };
            assert_ne!(lab.outside(&stranger).first().map(Frame::to), Some(mac_of(endpoint(server).addr)));
        }
    }
}

#[test]
fn echoes_are_told_apart_by_their_identifier() {
    for (((server, far), own), [ask, answer]) in SERVER.into_iter().zip(FAR).zip(OWN).zip([[8, 0], [128, 129]]) {
        let mut lab = masquerading();
        let echo = |kind, id: u8, from: &str, to: &str| Packet::new(from, to, Kind::Icmp(kind, 0, [0x70, id, 0, 1]));
        let (server, far) = (endpoint(server).addr.to_string(), endpoint(far).addr.to_string());
        let ids = [1, 2].map(|id| {
            let sent = only(&lab.inside(&echo(ask, id, &server, &far).carrying("ping")));
            assert_eq!((sent.src.addr.to_string(), &sent.payload[..]), (own.into(), &b"ping"[..]));
            let Kind::Icmp(_, _, [high, low, 0, 1]) = sent.kind else { panic!("{sent:?}") };
            [high, low]
        });
        assert_ne!(ids[0], ids[1]);
        for (number, id) in [1, 2].into_iter().zip(ids) {
            let reply = Packet::new(&far, own, Kind::Icmp(answer, 0, [id[0], id[1], 0, 1])).carrying("ping");
            let heard = only(&lab.outside(&reply));
            let wanted = echo(answer, number, &far, &server).carrying("ping").one_hop_on();
            assert_eq!(heard, wanted);
        }
        // What was not asked for goes to the director itself.
        let stray = Packet::new(&far, own, Kind::Icmp(answer, 0, [9, 9, 0, 1]));
        assert_eq!(lab.outside(&stray).len(), 0);
    }
}

#[test]
fn errors_about_masqueraded_packets_reach_the_server_in_its_own_terms() {
    let mut lab = masquerading();
    let asked = Packet::udp(SERVER[0], FAR[0]).carrying("who is it");
    let sent = only(&lab.inside(&asked));
    let error = Packet::icmp_about("192.0.2.7", OWN[0], (3, 4, 1400), &sent);
    let told = lab.outside(&error);
    assert_eq!(only(&told).src, endpoint("192.0.2.7:0"), "the router that said it");
    assert_eq!((told[0].packet().dst.addr, told[0].inner().src, told[0].inner().dst), {
        let server = endpoint(SERVER[0]);
        (server.addr, server, endpoint(FAR[0]))
    });
    // And an error of the server about an answer goes out in those of the outside.
    let answer = Packet { src: sent.dst, dst: sent.src, ..asked };
    let heard = only(&lab.outside(&answer));
    let refused = Packet::icmp_about("10.0.0.21", "192.0.2.9", (3, 3, 0), &heard);
    let told = lab.inside(&refused);
    assert_eq!((only(&told).src.addr, told[0].inner().dst), (sent.src.addr, sent.src));
}

#[test]
fn a_port_is_free_again_when_its_flow_is_over() {
    let mut lab = masquerading();
    let port =
        |lab: &mut Lab, from: u16| only(&lab.inside(&Packet::udp(&format!("10.0.0.21:{from}"), FAR[0]))).src.port;
    let first = port(&mut lab, 1);
    assert_ne!(port(&mut lab, 2), first);
    assert_eq!(lab.director.flows.ports.pools(), 1);
    lab.advance(Duration::from_secs(299));
    assert_eq!(port(&mut lab, 1), first, "in use");
    lab.advance(Duration::from_secs(301 + 250));
    assert_eq!(lab.director.flows.ports.pools(), 0);
    let late = Packet::udp(FAR[0], &format!("192.0.2.2:{first}"));
    assert_ne!(lab.outside(&late).first().map(|sent| sent.packet().dst.addr), Some(endpoint(SERVER[0]).addr));
}

#[test]
fn only_what_is_inside_or_in_the_named_nets_is_masqueraded() {
    let mut nets =
        lab(Policy { masquerade: Masquerade::Nets(vec!["10.0.0.48/28".parse().unwrap()]), ..Policy::default() });
    let source = |lab: &mut Lab, from: &str| only(&lab.inside(&Packet::udp(from, FAR[0]))).src.addr.to_string();
    assert_eq!(source(&mut nets, "10.0.0.50:7"), OWN[0]);
    assert_eq!(source(&mut nets, SERVER[0]), "10.0.0.21");
    assert_eq!(source(&mut masquerading(), "10.0.0.50:7"), OWN[0]);
    // The answer of a server to a packet that was routed to it stays its answer.
    let mut lab = masquerading();
    only(&lab.outside(&Packet::tcp(CLIENT, "10.0.0.21:22", "S")));
    let sent = only(&lab.inside(&Packet::tcp("10.0.0.21:22", CLIENT, "SA")));
    assert_eq!(sent.src, endpoint("10.0.0.21:22"));
    // Packets of services are not concerned.
    only(&lab.outside(&Packet::tcp(CLIENT, "192.0.2.100:80", "S")));
    let sent = only(&lab.inside(&Packet::tcp("10.0.0.21:8080", CLIENT, "SA")));
    assert_eq!(sent.src, endpoint("192.0.2.100:80"));
}

#[test]
fn a_link_lets_pass_what_servers_have_opened_or_nothing() {
    let inwards = |to: &str| Packet::tcp("192.0.2.9:53", to, "S");
    let mut all = lab(Policy::default());
    assert!(all.passes(&inwards("10.0.0.21:22")));
    for forward in [Forward::FromServers, Forward::None] {
        let mut lab = lab(Policy { forward, ..Policy::default() });
        assert!(!lab.passes(&inwards("10.0.0.21:22")), "any port of any server");
        assert!(!lab.passes(&Packet::udp("192.0.2.9:53", "10.0.0.50:53")));
        assert!(!lab.passes(&Packet::tcp("10.0.0.21:9", "10.0.0.50:22", "S")), "a server's address, from outside");
        // The service works.
        only(&lab.outside(&Packet::tcp(CLIENT, "192.0.2.100:80", "S")));
        lab.take_moved();

        let asked = Packet::tcp(SERVER[0], FAR[0], "S");
        assert_eq!(only(&lab.inside(&asked)), asked.clone().one_hop_on());
        let open = forward == Forward::FromServers;
        assert_eq!(lab.passes(&Packet::tcp(FAR[0], SERVER[0], "SA")), open);
        let too_big = Packet::icmp_about("192.0.2.7", "10.0.0.21", (3, 4, 1400), &asked.one_hop_on());
        assert_eq!(lab.passes(&too_big), open);
        assert!(!lab.passes(&Packet::tcp(FAR[0], "10.0.0.21:5556", "SA")), "another port");
        // What another host asks for is nobody's business here.
        only(&lab.inside(&Packet::udp("10.0.0.50:7", FAR[0])));
        assert!(!lab.passes(&Packet::udp(FAR[0], "10.0.0.50:7")));
        // A handshake that ended is forgotten after the time of an established conn.
        only(&lab.inside(&Packet::tcp(SERVER[0], FAR[0], "A")));
        lab.advance(Duration::from_secs(800));
        assert_eq!(lab.passes(&Packet::tcp(FAR[0], SERVER[0], "A")), open);
        lab.advance(Duration::from_secs(901));
        assert!(!lab.passes(&Packet::tcp(FAR[0], SERVER[0], "A")));
    }
}
