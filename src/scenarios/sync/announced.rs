//! What helpers have announced is opened through another director, and the conns that announced it go on there: of the same
//! packets both directors make the same.

use super::super::sip::with_session;
use super::kinds::known;
use super::*;
use crate::base::Endpoint;

/// Client, service, server and local address of a family; where a client or a server waits, and in which words.
struct Ends {
    client: &'static str,
    virt: &'static str,
    server: &'static str,
    local: &'static str,
    passive: [&'static str; 2],
    active: &'static str,
}

const FAMILIES: [Ends; 2] = [
    Ends {
        client: "192.0.2.7:4000",
        virt: "198.51.100.1:21",
        server: "10.0.0.21:21",
        local: "10.0.0.30",
        passive: ["PASV\r\n", "227 Entering Passive Mode (10,0,0,21,10,1).\r\n"],
        active: "PORT 192,0,2,7,10,1\r\n",
    },
    Ends {
        client: "[2001:db8:c::7]:4000",
        virt: "[2001:db8:51::1]:21",
        server: "[2001:db8::21]:21",
        local: "2001:db8::30",
        passive: ["EPSV\r\n", "229 Entering Extended Passive Mode (|||2561|)\r\n"],
        active: "EPRT |2|2001:db8:c::7|2561|\r\n",
    },
];

/// A control conn through one director of a pair.
struct Session {
    ends: &'static Ends,
    old: Lab,
    new: Lab,
    /// What the server sees as its client, and by how much its numbers are moved.
    peer: Endpoint,
    shift: u32,
    next: u32,
    /// What the first director has told.
    told: Vec<Vec<u8>>,
}

fn pair(service: &str, ends: &Ends, method: &str) -> [Lab; 2] {
    let Ends { server, local, .. } = ends;
    let kind = &service[..2];
    let local = if method == "-b" { format!("-P {service} -z {local}\n") } else { String::new() };
    let server = if kind == "-u" {
        server.replace(":21", ":5060").replace("db8::5060", "db8::21")
    } else {
        (*server).to_owned()
    };
    let rules = format!("-A {service} -s rr\n-a {service} -r {server} {method}\n{local}");
    [one_of_pair(&rules), one_of_pair(&rules)]
}

impl Session {
    fn new(ends: &'static Ends, method: &str) -> Session {
        let [mut old, new] = pair(&format!("-t {}", ends.virt), ends, method);
        let syn = Packet::tcp(ends.client, ends.virt, "S");
        let begun = old.client(&syn)[0].packet();
        let (shift, peer) = (begun.seq.wrapping_sub(syn.seq), begun.src);
        old.real(&Packet { dst: peer, ack: begun.seq.wrapping_add(1), ..Packet::tcp(ends.server, ends.client, "SA") });
        let mut session = Session { ends, old, new, peer, shift, next: syn.seq + 1, told: Vec::new() };
        session.says("");
        session
    }

    /// Others hear what the first director tells; it is their conn from now on.
    fn tell(&mut self, sent: &[Frame]) {
        let mut told = messages(sent);
        told.extend(messages(&self.old.advance(Duration::from_millis(5))));
        told.iter().for_each(|message| drop(self.new.frame(message)));
        self.told.extend(told);
    }

    fn says(&mut self, line: &str) {
        let packet = Packet { seq: self.next, ..Packet::tcp(self.ends.client, self.ends.virt, "AP") }.carrying(line);
        self.next += line.len() as u32;
        let sent = self.old.client(&packet);
        self.tell(&sent);
    }

    /// A segment of the server, which has got all so far.
    fn answer(&self, seq: u32, line: &str) -> Packet {
        let longer = self.next.wrapping_add(self.shift);
        Packet { seq, ack: longer, dst: self.peer, ..Packet::tcp(self.ends.server, self.ends.client, "AP") }
            .carrying(line)
    }

    fn answers(&mut self, seq: u32, line: &str) {
        let sent = self.old.real(&self.answer(seq, line));
        self.tell(&sent);
    }

    /// The same packet of the client through both.
    fn both(&mut self, packet: &Packet) -> Packet {
        same(self.new.client(packet), self.old.client(packet))
    }

    fn both_real(&mut self, packet: &Packet) -> Packet {
        same(self.new.real(packet), self.old.real(packet))
    }

    /// What the server and the client say next has the same numbers by either.
    fn goes_on(&mut self, seq: u32) {
        let done = self.answer(seq, "226 Done\r\n");
        assert_eq!(self.both_real(&done).dst, endpoint(self.ends.client));
        let quit = Packet { seq: self.next, ack: seq + 3, ..Packet::tcp(self.ends.client, self.ends.virt, "AP") };
        assert_eq!(self.both(&quit.carrying("QUIT\r\n")).src, self.peer);
        self.old.recount().unwrap();
        self.new.recount().unwrap();
    }
}

/// The packet that both have sent; a SYN's own number is each director's.
fn same(new: Vec<Frame>, old: Vec<Frame>) -> Packet {
    let packet = |frames: Vec<Frame>| frames.into_iter().find(|frame| frame.to() != GROUP).unwrap().packet();
    let (new, old) = (packet(new), packet(old));
    let seq = if new.kind == Packet::tcp(CLIENT, VIP, "S").kind { old.seq } else { new.seq };
    assert_eq!(Packet { seq, ..new.clone() }, old);
    new
}

fn at(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(endpoint(addr).addr, port)
}

/// Every way to transfer a file: family, method, and whether the client opens the data conn.
fn ways() -> impl Iterator<Item = (&'static Ends, &'static str, bool)> {
    let methods = |ends| ["-m", "-b"].into_iter().map(move |method| (ends, method));
    FAMILIES.iter().flat_map(methods).flat_map(|(ends, method)| [(ends, method, true), (ends, method, false)])
}

/// A data conn is announced; the packet that opens it.
fn announced(session: &mut Session, is_passive: bool) -> Packet {
    let ends = session.ends;
    if is_passive {
        session.says(ends.passive[0]);
        session.answers(7, ends.passive[1]);
        return Packet { src: at(ends.client, 4001), dst: at(ends.virt, 2561), ..Packet::tcp(CLIENT, VIP, "S") };
    }
    session.says(ends.active);
    let flows = &session.old.director.flows;
    let (_, conn) = flows.conns.iter().find(|(_, conn)| conn.virt().port == 20).unwrap();
    let (src, dst) = match flows.conns.local(conn) {
        Some(local) => (at(ends.server, 41_234), local),
        None => (at(ends.server, 20), at(ends.client, 2561)),
    };
    Packet { src, dst, ..Packet::tcp(RS1, CLIENT, "S") }
}

fn opened_by(session: &mut Session, is_passive: bool, packet: &Packet) -> Packet {
    if is_passive { session.both(packet) } else { session.both_real(packet) }
}

#[test]
fn data_conns_that_were_announced_are_opened_through_another_director() {
    for (ends, method, is_passive) in ways() {
        let mut session = Session::new(ends, method);
        let open = announced(&mut session, is_passive);
        assert_eq!(known(&session.new), known(&session.old), "{method} {is_passive}");
        let opened = opened_by(&mut session, is_passive, &open);
        let wanted = if is_passive { at(ends.server, 2561) } else { at(ends.client, 2561) };
        assert_eq!(opened.dst, wanted, "{method}");
        // Who was asked answers: the other end gets it from where it has asked.
        let answer = Packet { src: opened.dst, dst: opened.src, ..Packet::tcp(CLIENT, VIP, "SA") };
        let answered = match is_passive {
            true => {
                let by_new = session.new.real(&Packet { ack: opened.seq.wrapping_add(1), ..answer.clone() });
                by_new[0].packet()
            }
            false => session.new.client(&answer)[0].packet(),
        };
        assert_eq!((answered.src, answered.dst), (open.dst, open.src), "{method} {is_passive}");
        session.goes_on(if is_passive { 60 } else { 7 });
    }
}

#[test]
fn data_conns_go_on_through_another_director() {
    for (ends, method, is_passive) in ways() {
        let mut session = Session::new(ends, method);
        let open = announced(&mut session, is_passive);
        let opened = match is_passive {
            true => session.old.client(&open)[0].packet(),
            false => session.old.real(&open)[0].packet(),
        };
        let back = |flags| Packet {
            src: opened.dst,
            dst: opened.src,
            ack: opened.seq.wrapping_add(1),
            ..Packet::tcp(CLIENT, VIP, flags)
        };
        let on = |flags| Packet {
            seq: open.seq + 1,
            ack: 1001,
            ..Packet { src: open.src, dst: open.dst, ..Packet::tcp(CLIENT, VIP, flags) }
        };
        let mut sent = Vec::new();
        for flags in ["SA", "A", "A", "A"] {
            if is_passive {
                session.old.real(&back(flags));
                sent.extend(session.old.client(&on("A")));
            } else {
                sent.extend(session.old.client(&back(flags)));
                session.old.real(&on("A"));
            }
        }
        session.tell(&sent);
        assert_eq!(known(&session.new), known(&session.old), "{method} {is_passive}");
        let (data, more) = (on("A").carrying("data"), back("A").carrying("more"));
        match is_passive {
            true => drop((session.both(&data), session.both_real(&more))),
            false => drop((session.both_real(&data), session.both(&more))),
        }
        session.goes_on(if is_passive { 60 } else { 7 });
    }
}

/// A kernel reads messages that say how many records they have; what it could not open or send on is in none of them.
#[test]
fn a_kernel_is_told_of_nothing_that_waits() {
    const UDP_PAYLOAD: usize = 14 + 20 + 8;
    for (ends, method, is_passive) in ways() {
        let mut session = Session::new(ends, method);
        announced(&mut session, is_passive);
        let mut records = 0;
        for message in session.told.iter().map(|frame| &frame[UDP_PAYLOAD..]).filter(|message| message[4] != 0) {
            let mut at = 8;
            for _ in 0..message[4] {
                let record = &message[at..];
                let len = usize::from(u16::from_be_bytes([record[2], record[3]]));
                let fixed = if record[0] == 1 { 24 + 48 } else { 24 + 12 };
                assert_eq!((len, record[9]), (fixed, 1), "an established conn without options");
                assert_ne!(record[10..12], [0, 0], "a client's port");
                at += len.next_multiple_of(4);
                records += 1;
            }
        }
        assert_eq!(records > 0, method == "-m", "{method}");
    }
}

#[test]
fn media_that_were_announced_pass_through_another_director() {
    for (ends, method) in FAMILIES.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let port = |end: &str, port| at(end, port);
        let service = format!("-u {}", port(ends.virt, 5060));
        let [mut old, mut new] = pair(&service, ends, method);
        let (client, server) = (endpoint(ends.client).addr.to_string(), endpoint(ends.server).addr.to_string());
        let from = Packet { src: port(ends.client, 5060), dst: port(ends.virt, 5060), ..Packet::udp(CLIENT, VIP) };
        let mut sent = old.client(&from.clone().carrying(with_session("INVITE sip:b@x SIP/2.0", "a@x", &client, 4000)));
        let asked = sent.iter().find(|frame| frame.to() != GROUP).unwrap().packet();
        let back = Packet { src: asked.dst, dst: asked.src, ..Packet::udp(RS1, CLIENT) };
        sent.extend(old.real(&back.clone().carrying(with_session("SIP/2.0 200 OK", "b@x", &server, 7000))));
        sent.extend(old.advance(Duration::from_millis(5)));
        messages(&sent).iter().for_each(|message| drop(new.frame(message)));
        assert_eq!(known(&new), known(&old), "{method}");
        // Media and their control, of both ends, and what the ends say next.
        for next in [0, 1] {
            let medium =
                Packet { src: port(ends.client, 4000 + next), dst: port(ends.virt, 7000 + next), ..from.clone() };
            let passed = same(new.client(&medium), old.client(&medium));
            assert_eq!(passed.dst, port(ends.server, 7000 + next));
            let answer = Packet { src: passed.dst, dst: passed.src, ..back.clone() };
            let answered = same(new.real(&answer), old.real(&answer));
            assert_eq!((answered.src, answered.dst), (medium.dst, medium.src));
        }
        let bye = same(
            new.client(&from.clone().carrying("BYE sip:b@x SIP/2.0\r\n\r\n")),
            old.client(&from.clone().carrying("BYE sip:b@x SIP/2.0\r\n\r\n")),
        );
        assert_eq!(bye.src, asked.src);
        [&old, &new].iter().for_each(|lab| lab.recount().unwrap());
        // All of it ends there too, and the ports go back.
        new.advance(Duration::from_secs(3600));
        assert_eq!(new.director.flows.conns.len(), 0, "{method}");
        new.recount().unwrap();
    }
}

#[test]
fn a_phone_that_has_registered_is_reached_through_another_director() {
    for (ends, method) in FAMILIES.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let service = format!("-u {}", at(ends.virt, 5060));
        let [mut old, mut new] = pair(&service, ends, method);
        let from = Packet { src: at(ends.client, 5060), dst: at(ends.virt, 5060), ..Packet::udp(CLIENT, VIP) };
        let mut sent = old.client(&from.clone().carrying("REGISTER sip:x SIP/2.0\r\nContact: <sip:a@x>\r\n\r\n"));
        let asked = sent.iter().find(|frame| frame.to() != GROUP).unwrap().packet();
        let back = Packet { src: asked.dst, dst: asked.src, ..Packet::udp(RS1, CLIENT) };
        sent.extend(old.real(&back.clone().carrying("SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nExpires: 1000\r\n\r\n")));
        sent.extend(old.advance(Duration::from_millis(5)));
        messages(&sent).iter().for_each(|message| drop(new.frame(message)));
        new.advance(Duration::from_secs(900));
        let invite = back.carrying("INVITE sip:a@x SIP/2.0\r\n\r\n");
        assert_eq!(new.real(&invite)[0].packet().dst, from.src, "{method}");
        new.advance(Duration::from_secs(1300));
        assert_eq!(new.director.flows.conns.len(), 0, "{method}");
        new.recount().unwrap();
    }
}

/// The same ends for SIP over TCP.
const SIP: [Ends; 2] = [
    Ends { virt: "198.51.100.1:5060", server: "10.0.0.21:5060", ..FAMILIES[0] },
    Ends { virt: "[2001:db8:51::1]:5060", server: "[2001:db8::21]:5060", ..FAMILIES[1] },
];

#[test]
fn messages_over_tcp_go_on_through_another_director() {
    for (ends, method) in SIP.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]) {
        let mut session = Session::new(ends, method);
        let (client, server) = (endpoint(ends.client).addr.to_string(), endpoint(ends.server).addr.to_string());
        let invite = with_session("INVITE sip:b@x SIP/2.0", "a@192.0.2.7", &client, 4000);
        let packet = Packet { seq: session.next, ..Packet::tcp(ends.client, ends.virt, "AP") }.carrying(invite.clone());
        let sent = session.old.client(&packet);
        let went = sent.iter().find(|frame| frame.to() != GROUP).unwrap().packet();
        session.tell(&sent);
        // The server has got all of it, and answers; then the client goes on.
        let (seq, ack) = (Packet::tcp(RS1, CLIENT, "SA").seq + 1, went.seq.wrapping_add(went.payload.len() as u32));
        let answer = Packet { seq, ack, dst: session.peer, ..Packet::tcp(ends.server, ends.client, "AP") };
        let heard = session.both_real(&answer.carrying(with_session("SIP/2.0 200 OK", "b@10.0.0.21", &server, 7000)));
        assert_eq!(heard.ack, session.next + invite.len() as u32, "{method}");
        let (seq, ack) = (heard.ack, heard.seq.wrapping_add(heard.payload.len() as u32));
        let bye = Packet { seq, ack, ..Packet::tcp(ends.client, ends.virt, "AP") };
        session.both(&bye.carrying("BYE sip:b@x SIP/2.0\r\nContent-Length: 0\r\n\r\n"));
        session.new.recount().unwrap();
    }
}
