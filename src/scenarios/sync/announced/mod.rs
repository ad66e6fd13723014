//! What helpers have announced is opened through another director, and the conns that announced it go on there: of the same
//! packets both directors make the same.

mod ftp;
mod sip;

use super::kinds::known;
use super::*;
use crate::base::Endpoint;

/// Client, service, server and local address; where a client or a server waits, and in which words.
struct Ends {
    client: &'static str,
    virt: &'static str,
    server: &'static str,
    local: &'static str,
    passive: [&'static str; 2],
    active: &'static str,
}

/// Of one family.
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

/// A client of one family and a server of the other, which is spoken to in its own words where it has to be.
const CROSSED: [Ends; 2] = [
    Ends {
        server: FAMILIES[1].server,
        local: FAMILIES[1].local,
        passive: [FAMILIES[0].passive[0], FAMILIES[1].passive[1]],
        ..FAMILIES[0]
    },
    Ends { server: FAMILIES[0].server, local: FAMILIES[0].local, ..FAMILIES[1] },
];

/// Ends and the methods by which they may be joined.
fn joined() -> impl Iterator<Item = (&'static Ends, &'static str)> {
    let of_one = FAMILIES.iter().flat_map(|ends| [(ends, "-m"), (ends, "-b")]);
    of_one.chain(CROSSED.iter().map(|ends| (ends, "-b")))
}

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

/// The packet that both have sent; a SYN's own number is each director's, and so is the identification of what was IPv6.
fn same(new: Vec<Frame>, old: Vec<Frame>) -> Packet {
    let packet = |frames: Vec<Frame>| frames.into_iter().find(|frame| frame.to() != GROUP).unwrap().packet();
    let (new, old) = (packet(new), packet(old));
    let seq = if new.kind == Packet::tcp(CLIENT, VIP, "S").kind { old.seq } else { new.seq };
    let id = if new.dont_fragment { new.id } else { old.id };
    assert_eq!(Packet { seq, id, ..new.clone() }, old);
    new
}

fn at(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(endpoint(addr).addr, port)
}
