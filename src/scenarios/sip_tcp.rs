//! SIP over TCP through NAT and FULL-NAT: messages are read as those of UDP, wherever segments begin and end.

use super::{LIP, RS1, sip};
use crate::base::Endpoint;
use crate::testing::{DIRECTOR, Lab, Packet, ROUTER, endpoint};
use crate::wire::Gso;

struct Ends {
    client: &'static str,
    virt: &'static str,
    server: &'static str,
    local: &'static str,
}

const FAMILIES: [Ends; 2] = [
    Ends { client: "192.0.2.7:40000", virt: "198.51.100.1:5060", server: "10.0.0.21:5060", local: LIP },
    Ends {
        client: "[2001:db8:c::7]:40000",
        virt: "[2001:db8:51::1]:5060",
        server: "[2001:db8::21]:5060",
        local: "2001:db8::30",
    },
];

/// A conn that is established, as both ends see it.
struct Session {
    lab: Lab,
    ends: &'static Ends,
    peer: Endpoint,
    /// What either end says next, and has got of the other, in its own numbers.
    client: (u32, u32),
    server: (u32, u32),
}

impl Session {
    fn new(ends: &'static Ends, method: &str) -> Session {
        let Ends { client, virt, server, local } = ends;
        let local = if method == "-b" { format!("-P -t {virt} -z {local}\n") } else { String::new() };
        let mut lab = Lab::new(&format!("-A -t {virt} -s rr\n-a -t {virt} -r {server} {method}\n{local}"));
        let syn = Packet::tcp(client, virt, "S");
        let begun = lab.client(&syn)[0].packet();
        let accept =
            Packet { seq: 70_000, ack: begun.seq.wrapping_add(1), dst: begun.src, ..Packet::tcp(server, client, "SA") };
        lab.real(&accept);
        let (first, got) = (begun.seq.wrapping_add(1), accept.seq + 1);
        Session { lab, ends, peer: begun.src, client: (syn.seq + 1, got), server: (got, first) }
    }

    fn of_client(&self, at: u32, text: &str) -> Packet {
        let (next, got) = self.client;
        Packet { seq: next.wrapping_add(at), ack: got, ..Packet::tcp(self.ends.client, self.ends.virt, "AP") }
            .carrying(text)
    }

    fn of_server(&self, at: u32, text: &str) -> Packet {
        let (next, got) = self.server;
        let from = Packet::tcp(self.ends.server, self.ends.client, "AP");
        Packet { seq: next.wrapping_add(at), ack: got, dst: self.peer, ..from }.carrying(text)
    }

    /// The client says this, and the server acknowledges it.
    fn says(&mut self, text: &str) -> String {
        let sent = self.lab.client(&self.of_client(0, text));
        let packet = sent[0].packet();
        assert_eq!((packet.seq, packet.ack), (self.server.1, self.server.0), "{text}");
        self.client.0 += text.len() as u32;
        self.server.1 = self.server.1.wrapping_add(packet.payload.len() as u32);
        let heard = self.lab.real(&self.of_server(0, ""))[0].packet();
        assert_eq!((heard.seq, heard.ack), (self.client.1, self.client.0));
        String::from_utf8(packet.payload).unwrap()
    }

    fn answers(&mut self, text: &str) -> String {
        let packet = self.lab.real(&self.of_server(0, text))[0].packet();
        assert_eq!((packet.seq, packet.ack), (self.client.1, self.client.0), "{text}");
        self.server.0 += text.len() as u32;
        self.client.1 = self.client.1.wrapping_add(packet.payload.len() as u32);
        let heard = self.lab.client(&self.of_client(0, ""))[0].packet();
        assert_eq!((heard.seq, heard.ack), (self.server.1, self.server.0));
        String::from_utf8(packet.payload).unwrap()
    }

    fn host(&self, end: &str) -> String {
        match endpoint(end).addr {
            std::net::IpAddr::V6(addr) => format!("[{addr}]"),
            std::net::IpAddr::V4(addr) => addr.to_string(),
        }
    }
}

/// A message with the description of a session.
fn with_session(first: &str, host: &str, port: u16) -> String {
    let first = format!("{first}\r\nVia: SIP/2.0/TCP {host}:5060");
    sip::with_session(&first, &format!("u@{host}:5060"), host.trim_matches(['[', ']']), port)
}

fn length_is_right(message: &str) {
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let said: usize = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert_eq!(said, body.len(), "{message}");
}

#[test]
fn each_side_reads_where_it_has_to_send_to_and_numbers_keep_pace() {
    for (ends, method) in FAMILIES.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let mut session = Session::new(ends, method);
        let (client, server, virt) = (session.host(ends.client), session.host(ends.server), session.host(ends.virt));
        for _ in 0..3 {
            let told = session.says(&with_session(&format!("INVITE sip:b@{virt} SIP/2.0"), &client, 4000));
            length_is_right(&told);
            assert_eq!(told.contains(&client), method == "-m", "{told}");
            let heard = session.answers(&with_session("SIP/2.0 200 OK", &server, 7000));
            length_is_right(&heard);
            assert!(!heard.contains(&server) && heard.contains(&format!("<sip:u@{virt}:5060>")), "{heard}");
            // Pings between messages.
            assert_eq!((session.says("\r\n\r\n"), session.answers("\r\n")), ("\r\n\r\n".into(), "\r\n".into()));
        }
        // Media go between the ends that both were told.
        let at = |end: &str, port| Endpoint::new(endpoint(end).addr, port);
        let medium =
            Packet { src: at(ends.client, 4000), dst: at(ends.virt, 7000), ..Packet::udp(ends.client, ends.virt) };
        let passed = session.lab.client(&medium)[0].packet();
        assert_eq!(passed.dst, at(ends.server, 7000));
        let back = session.lab.real(&Packet { src: passed.dst, dst: passed.src, ..medium.clone() })[0].packet();
        assert_eq!((back.src, back.dst), (medium.dst, medium.src));
        session.lab.recount().unwrap();
    }
}

#[test]
fn several_messages_in_a_segment_and_one_in_several_are_read() {
    for (ends, method) in FAMILIES.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let mut session = Session::new(ends, method);
        let server = session.host(ends.server);
        let one = with_session("SIP/2.0 200 OK", &server, 7000);
        let two = one.replace("200 OK", "183 Session Progress");
        let alone = [session.answers(&one), session.answers(&two)].concat();
        assert_eq!(session.answers(&[&one[..], &two].concat()), alone);

        // The second one ends in the next segment.
        let both = [&one[..], &two].concat();
        let (first, rest) = both.split_at(one.len() + two.len() / 2);
        let sent = session.lab.real(&session.of_server(0, first))[0].packet();
        assert_eq!((sent.seq, sent.payload.len() < alone.len()), (session.client.1, true));
        let sum = sent.payload.len() as u32;
        // What the client has is the first message, for the second one has not begun for it.
        let got = Packet { ack: session.client.1.wrapping_add(sum), ..session.of_client(0, "") };
        assert_eq!(session.lab.client(&got)[0].packet().ack, session.server.0 + one.len() as u32);
        let last = session.lab.real(&session.of_server(first.len() as u32, rest))[0].packet();
        assert_eq!(last.seq, session.client.1.wrapping_add(sum));
        assert_eq!(String::from_utf8([sent.payload, last.payload].concat()).unwrap(), alone);
        session.lab.recount().unwrap();
    }
}

#[test]
fn a_segment_that_becomes_too_long_is_cut_by_the_device() {
    let mut session = Session::new(&FAMILIES[0], "-b");
    session.lab.director.flows.settings.sip_ports.contains(5060);
    let message = with_session("INVITE sip:b@x SIP/2.0", "192.0.2.7", 4000);
    let fill = "y".repeat(1460 - message.len() - 5);
    let message = message.replace("Content-Type", &format!("X: {fill}\r\nContent-Type"));
    assert_eq!(message.len(), 1460);
    // The local address is as long as the client's; the VIP is not.
    let longer = message.replace("Contact: <sip:u@192.0.2.7:5060>", "Contact: <sip:u@192.0.2.7:5060;x=192.0.2.7>");
    let sent = session.lab.client(&session.of_client(0, &longer));
    let is_long = sent[0].packet().payload.len() > 1460;
    assert_eq!(sent[0].vnet.gso != Gso::None, is_long);
    assert!(is_long && usize::from(sent[0].vnet.gso_size) <= 1460);
}

#[test]
fn what_is_lost_is_sent_again_and_says_the_same() {
    let mut session = Session::new(&FAMILIES[0], "-b");
    let message = with_session("INVITE sip:b@x SIP/2.0", "192.0.2.7", 4000);
    let first = session.lab.client(&session.of_client(0, &message))[0].packet();
    let again = session.lab.client(&session.of_client(0, &message))[0].packet();
    assert_eq!((&first.payload, first.seq), (&again.payload, again.seq));
    // A part of it is acknowledged: its client is told of nothing.
    let (next, got) = session.server;
    session.server = (next, got + 20);
    let heard = session.lab.real(&session.of_server(0, ""))[0].packet();
    assert_eq!(heard.ack, session.client.0);
    session.server = (next, got);
    assert_eq!(session.lab.real(&session.of_server(0, ""))[0].packet().ack, session.client.0);
}

#[test]
fn other_ports_and_servers_behind_direct_routing_are_not_read() {
    let mut lab = Lab::new(&format!(
        "-A -t 198.51.100.1:5080 -s rr\n-a -t 198.51.100.1:5080 -r {RS1} -b\n-P -t 198.51.100.1:5080 -z {LIP}\n"
    ));
    let message = with_session("INVITE sip:b@x SIP/2.0", "192.0.2.7", 4000);
    lab.client(&Packet::tcp("192.0.2.7:4000", "198.51.100.1:5080", "S"));
    let sent = lab.client(&Packet::tcp("192.0.2.7:4000", "198.51.100.1:5080", "AP").carrying(message.clone()));
    assert_eq!(sent[0].packet().payload, message.into_bytes());
}

#[test]
fn a_corrupt_segment_goes_on_corrupt_and_is_not_heeded() {
    let mut session = Session::new(&FAMILIES[0], "-b");
    let message = with_session("INVITE sip:b@x SIP/2.0", "192.0.2.7", 4000);
    let damaged = message.replace("INVITE", "INWITE");
    let mut frame = session.of_client(0, &message).frame(ROUTER, DIRECTOR);
    let at = frame.len() - message.len();
    frame[at..].copy_from_slice(damaged.as_bytes());
    let sent = session.lab.frame(&frame);
    assert_eq!(sent[0].packet().payload, damaged.into_bytes());
    assert_eq!(session.lab.director.flows.conns.len(), 1, "no media are expected");
    length_is_right(&session.says(&message));
}
