//! FTP through FULL-NAT: servers see a local endpoint where clients name their own, and both numbers of a control conn move.

use std::time::Duration;

use super::{CLIENT, CLIENT6, LIP, RS1, RS6};
use crate::base::Endpoint;
use crate::director::Settings;
use crate::testing::{Lab, Packet, endpoint};

const CONTROL: &str = "198.51.100.1:21";
const SERVER: &str = "10.0.0.21:21";
const CONTROL6: &str = "[2001:db8:51::1]:21";
const SERVER6: &str = "[2001:db8::21]:21";

/// A control conn that is established, with the sequence numbers that either end sees.
struct Session {
    lab: Lab,
    client: &'static str,
    control: &'static str,
    server: &'static str,
    /// What the server sees as its client.
    peer: Endpoint,
    /// By how much the client's numbers are moved before any command.
    shift: u32,
    /// The next number of the client, in its own numbers.
    next: u32,
}

impl Session {
    fn new(client: &'static str, control: &'static str, server: &'static str) -> Session {
        let local = if server == SERVER { LIP } else { "2001:db8::30" };
        let rules = format!("-A -t {control} -s rr\n-a -t {control} -r {server} -b\n-P -t {control} -z {local}\n");
        let mut lab = Lab::with(Settings { icmp_rate: 0, ..Settings::default() }, &rules);
        let syn = Packet::tcp(client, control, "S");
        let begun = lab.client(&syn)[0].packet();
        let shift = begun.seq.wrapping_sub(syn.seq);
        lab.real(&Packet { dst: begun.src, ack: begun.seq.wrapping_add(1), ..Packet::tcp(server, client, "SA") });
        let mut session = Session { lab, client, control, server, peer: begun.src, shift, next: syn.seq + 1 };
        session.says("");
        session
    }

    /// The client's next line, as the server gets it.
    fn says(&mut self, line: &str) -> Packet {
        let sent = self.repeats(line);
        self.next += line.len() as u32;
        sent
    }

    /// The same without an end: it will be sent again.
    fn repeats(&mut self, line: &str) -> Packet {
        let packet = Packet { seq: self.next, ..Packet::tcp(self.client, self.control, "AP") }.carrying(line);
        self.lab.client(&packet)[0].packet()
    }

    /// A segment of the server, as the client gets it.
    fn answers(&mut self, seq: u32, ack: u32, line: &str) -> Packet {
        let packet = Packet { seq, ack, dst: self.peer, ..Packet::tcp(self.server, "0.0.0.0:0", "AP") }.carrying(line);
        self.lab.real(&packet)[0].packet()
    }

    /// Opens a data conn from this port of the server to where the client waits by what the server was told; what the
    /// client gets.
    fn server_opens(&mut self, port: u16, to: Endpoint) -> Vec<crate::testing::Frame> {
        let server = Endpoint::new(endpoint(self.server).addr, port);
        self.lab.real(&Packet { src: server, dst: to, ..Packet::tcp(self.server, "0.0.0.0:0", "S") })
    }
}

fn text(packet: &Packet) -> &str {
    std::str::from_utf8(&packet.payload).unwrap()
}

/// Where the server is told that the client waits.
fn told_in(packet: &Packet) -> Endpoint {
    let line = text(packet).trim_end();
    if let Some(words) = line.strip_prefix("PORT ") {
        let bytes: Vec<u8> = words.split(',').map(|word| word.parse().unwrap()).collect();
        let addr: [u8; 4] = bytes[..4].try_into().unwrap();
        return Endpoint::new(addr.into(), u16::from_be_bytes([bytes[4], bytes[5]]));
    }
    let words: Vec<&str> = line.strip_prefix("EPRT ").unwrap().split('|').collect();
    Endpoint::new(words[2].parse().unwrap(), words[3].parse().unwrap())
}

#[test]
fn where_a_client_waits_becomes_a_local_endpoint_that_any_port_of_its_server_reaches() {
    let mut session = Session::new(CLIENT, CONTROL, SERVER);
    let line = "PORT 192,0,2,7,10,1\r\n";
    let first = session.repeats(line);
    let again = session.says(line);
    assert_eq!((text(&first), first.seq), (text(&again), again.seq), "a line that is sent again says the same");
    let local = told_in(&first);
    assert_eq!(local.addr.to_string(), LIP);

    // What the client says next is further on for the server, and what the server has got of it less far.
    let longer = first.payload.len() as i32 - line.len() as i32;
    let next = session.next;
    let list = session.says("LIST\r\n");
    assert_eq!(list.seq, next.wrapping_add(session.shift).wrapping_add_signed(longer));
    let got = session.answers(7, list.seq.wrapping_add(6), "150 Here\r\n");
    assert_eq!((got.ack, got.seq), (session.next, 7));

    // Not from another server; then from a port that nobody knew, once.
    let stranger = Packet { dst: local, ..Packet::tcp("10.0.0.22:41234", "0.0.0.0:0", "S") };
    assert!(session.lab.real(&stranger).iter().all(|frame| frame.packet().dst != endpoint("192.0.2.7:2561")));
    let opened = session.server_opens(41_234, local)[0].packet();
    assert_eq!((opened.src, opened.dst), (endpoint("198.51.100.1:20"), endpoint("192.0.2.7:2561")));
    let accepted = session.lab.client(&Packet::tcp("192.0.2.7:2561", "198.51.100.1:20", "SA"))[0].packet();
    assert_eq!((accepted.src, accepted.dst), (local, endpoint("10.0.0.21:41234")));
    let other = session.server_opens(41_235, local);
    assert!(other.iter().all(|frame| frame.packet().dst != endpoint("192.0.2.7:2561")), "one conn was announced");

    // The same place once more, for the next file: another local endpoint.
    let second = told_in(&session.says(line));
    assert_ne!(second, local);
    let opened = session.server_opens(20, second)[0].packet();
    assert_eq!((opened.src, opened.dst), (endpoint("198.51.100.1:20"), endpoint("192.0.2.7:2561")));
    session.lab.recount().unwrap();
    session.lab.advance(Duration::from_secs(3600));
    assert_eq!(session.lab.director.flows.conns.len(), 0, "what was announced ends, and its ports go back");
}

#[test]
fn where_a_server_waits_is_reached_by_a_local_endpoint() {
    let mut session = Session::new(CLIENT, CONTROL, SERVER);
    let asked = session.says("PASV\r\n");
    assert_eq!(text(&asked), "PASV\r\n");
    let end = asked.seq.wrapping_add(6);
    let told = session.answers(7, end, "227 Entering Passive Mode (10,0,0,21,10,1).\r\n");
    assert_eq!(text(&told), "227 Entering Passive Mode (198,51,100,1,10,1).\r\n");
    assert_eq!(told.ack, session.next);
    let syn = Packet::tcp("192.0.2.7:4001", "198.51.100.1:2561", "S");
    let opened = session.lab.client(&syn)[0].packet();
    assert_eq!((opened.src.addr.to_string().as_str(), opened.dst), (LIP, endpoint("10.0.0.21:2561")));
    assert_ne!(opened.seq, syn.seq, "the server sees numbers of the director");
    let answer = Packet { dst: opened.src, ack: opened.seq.wrapping_add(1), ..Packet::tcp(RS1, "0.0.0.0:0", "SA") };
    let accepted = session.lab.real(&Packet { src: opened.dst, ..answer })[0].packet();
    assert_eq!((accepted.src, accepted.dst, accepted.ack), (syn.dst, syn.src, syn.seq + 1));
}

#[test]
fn a_client_of_the_other_family_is_announced_and_answered_in_its_servers() {
    // Of IPv6 to a server of IPv4.
    let mut session = Session::new(CLIENT6, CONTROL6, SERVER);
    let told = session.says("EPRT |2|2001:db8:c::7|2561|\r\n");
    let local = told_in(&told);
    assert!(text(&told).starts_with("EPRT |1|10.0.0.30|"), "{}", text(&told));
    let opened = session.server_opens(20, local)[0].packet();
    assert_eq!((opened.src, opened.dst), (endpoint("[2001:db8:51::1]:20"), endpoint("[2001:db8:c::7]:2561")));

    // Of IPv4 to a server of IPv6, which has neither PORT nor PASV.
    let mut session = Session::new(CLIENT, CONTROL, SERVER6);
    let told = session.says("PORT 192,0,2,7,10,1\r\n");
    assert!(text(&told).starts_with("EPRT |2|2001:db8::30|"), "{}", text(&told));
    let opened = session.server_opens(20, told_in(&told))[0].packet();
    assert_eq!((opened.src, opened.dst), (endpoint("198.51.100.1:20"), endpoint("192.0.2.7:2561")));
    let asked = session.says("PASV\r\n");
    assert_eq!(text(&asked), "EPSV\r\n");
    let end = asked.seq.wrapping_add(6);
    let told = session.answers(7, end, "229 Entering Extended Passive Mode (|||2562|)\r\n");
    assert_eq!(text(&told), "227 Entering Passive Mode (198,51,100,1,10,2)\r\n");
    let opened = session.lab.client(&Packet::tcp("192.0.2.7:4001", "198.51.100.1:2562", "S"))[0].packet();
    assert_eq!(opened.dst, Endpoint::new(endpoint(RS6).addr, 2562));
}
