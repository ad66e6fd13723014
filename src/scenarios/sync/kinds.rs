//! Conns of every kind are known to a director that begins.

use super::*;
use crate::base::ConnId;
use crate::conn::Conn;
use crate::testing::Kind;

const EVERYTHING: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n\
                          -a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m\n\
                          -A -t 198.51.100.1:81 -s rr -p 300\n-a -t 198.51.100.1:81 -r 10.0.0.21:8080 -m\n\
                          -A -u 198.51.100.1:5060 -s rr -p 300 --pe sip\n-a -u 198.51.100.1:5060 -r 10.0.0.22:5060 -m\n\
                          -A -t 198.51.100.1:21 -s rr\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m\n\
                          -A --sctp-service 198.51.100.1:3868 -s rr\n-a --sctp-service 198.51.100.1:3868 -r 10.0.0.22:3868 -m\n";
const FTP: &str = "198.51.100.1:21";

/// What each conn is. What it is under the control of is told where that was announced alone, as in the kernel.
pub(super) fn known(lab: &Lab) -> Vec<String> {
    let flows = &lab.director.flows;
    let in_words = |(id, conn): (ConnId, &Conn)| {
        let kind = if conn.is_template() { "template" } else { "conn" };
        let (proto, real) = (conn.proto().0, flows.ends(id).real);
        let local = flows.conns.local(conn).map_or(String::new(), |local| format!(" by {local}"));
        format!("{kind} {proto} {} {} {real}{local} state {}", conn.client(), conn.virt(), conn.state())
    };
    let mut known: Vec<String> = flows.conns.iter().map(in_words).collect();
    known.sort();
    known
}

/// A chunk of an association, of this kind.
fn chunk(from: &str, to: &str, kind: u8) -> Packet {
    let (from_port, to_port) = (endpoint(from).port.to_be_bytes(), endpoint(to).port.to_be_bytes());
    let bytes = [&from_port[..], &to_port, &[0; 8], &[kind, 0, 0, 20], &[7; 16]].concat();
    Packet::new(from, to, Kind::Other(132)).carrying(bytes)
}

#[test]
fn a_director_that_begins_knows_conns_of_every_kind() {
    let mut old = one_of_pair(EVERYTHING);
    establish(&mut old, CLIENT);
    establish(&mut old, "192.0.2.7:4001");
    // A client with a template, and a call with one of its own.
    old.client(&packet("S").to("198.51.100.1:81"));
    old.real(&Packet::tcp(RS1, CLIENT, "SA"));
    old.client(&packet("A").to("198.51.100.1:81"));
    let invite = "INVITE sip:a@example.net SIP/2.0\r\nCall-ID: 7@192.0.2.7\r\n\r\n";
    old.client(&Packet::udp("192.0.2.7:5060", "198.51.100.1:5060").carrying(invite));
    // FTP with the conn for a list.
    let (server, client) = ("10.0.0.21:21", "192.0.2.8:4000");
    old.client(&Packet::tcp(client, FTP, "S"));
    old.real(&Packet::tcp(server, client, "SA"));
    old.client(&Packet::tcp(client, FTP, "A"));
    old.client(&Packet::tcp(client, FTP, "AP").carrying("PASV\r\n"));
    old.real(&Packet::tcp(server, client, "AP").carrying("227 Entering Passive Mode (10,0,0,21,10,1).\r\n"));
    old.client(&Packet::tcp("192.0.2.8:4001", "198.51.100.1:2561", "S"));
    old.real(&Packet::tcp("10.0.0.21:2561", "192.0.2.8:4001", "SA"));
    old.client(&Packet::tcp("192.0.2.8:4001", "198.51.100.1:2561", "A"));
    // An association: INIT, INIT-ACK, COOKIE-ECHO, COOKIE-ACK.
    let (association, end) = ("198.51.100.1:3868", "10.0.0.22:3868");
    old.client(&chunk(CLIENT, association, 1));
    old.real(&chunk(end, CLIENT, 2));
    old.client(&chunk(CLIENT, association, 10));
    old.real(&chunk(end, CLIENT, 11));
    // One server is drained, the other one has failed, and their conns go on.
    old.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
    let failed = Judgement { mask: Mask::Failed, ..Judgement::default() };
    old.director.flows.judge(ServiceKey::Address(Proto::TCP, endpoint(VIP)), endpoint(RS1), failed);

    let mut new = lab(&[EVERYTHING]);
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    talk(&mut old, &mut new, Duration::from_secs(1));
    let wanted = known(&old);
    assert_eq!(wanted.len(), 9, "{wanted:#?}");
    assert_eq!(known(&new), wanted);
    new.recount().unwrap();
    // A template is found by its call, too: the same one from another port has it.
    new.client(&Packet::udp("192.0.2.7:5062", "198.51.100.1:5060").carrying(invite));
    assert_eq!(known(&new).len(), 10, "{:#?}", known(&new));
}
