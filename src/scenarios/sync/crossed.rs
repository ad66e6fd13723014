//! Conns between families: a client of one, a server of the other, by FULL-NAT and through tunnels.

use super::super::{CLIENT6, RS6, VIP6};
use super::*;
use crate::base::Tuple;

/// Client, virtual address, real server and local address.
type Ends = [&'static str; 4];

const CROSSED: [Ends; 2] = [[CLIENT, VIP, RS6, "2001:db8::30"], [CLIENT6, VIP6, RS1, "10.0.0.30"]];
/// What a message is of: the header of IPv4 and UDP before it, and where it says its number of records and its kind.
const PAYLOAD: usize = 14 + 20 + 8;
const RECORDS: usize = PAYLOAD + 4;
const KIND: usize = PAYLOAD + 12;
const BETWEEN: u8 = 5;

fn service([_, virt, real, local]: Ends, method: &str) -> String {
    let local = if method == "-b" { format!("-P -t {virt} -z {local}\n") } else { String::new() };
    format!("-A -t {virt} -s rr -p 300\n{local}-a -t {virt} -r {real} {method}\n")
}

fn of_client([client, virt, ..]: Ends, flags: &'static str) -> Packet {
    Packet::tcp(client, virt, flags)
}

/// A conn in its third packet; what left. The server sees `peer` as its client.
fn begun(lab: &mut Lab, ends: Ends, method: &str) -> (Vec<Frame>, Packet) {
    let syn = lab.client(&of_client(ends, "S")).remove(0);
    let mut sent = Vec::new();
    let answer = match method {
        "-b" => Packet { dst: syn.packet().src, ..Packet::tcp(ends[2], CLIENT, "SA") },
        _ => Packet::tcp(ends[1], ends[0], "SA"),
    };
    if method == "-b" {
        lab.real(&answer);
    }
    (0..2).for_each(|_| sent.extend(lab.client(&of_client(ends, "A"))));
    (sent, answer)
}

/// The bytes of each frame but the identification and header checksum of IPv4, which are each director's.
fn same(one: &[Frame], other: &[Frame]) {
    let packets = |frames: &[Frame]| frames.iter().map(|frame| Packet { id: 0, ..frame.packet() }).collect::<Vec<_>>();
    assert_eq!(packets(one), packets(other));
    assert_eq!(one.len(), 1);
}

#[test]
fn a_conn_between_families_goes_on_at_the_other_director() {
    for ends in CROSSED {
        for method in ["-b", "-i"] {
            let rules = service(ends, method);
            let (mut one, mut other) = (one_of_pair(&rules), one_of_pair(&rules));
            let (mut sent, answer) = begun(&mut one, ends, method);
            sent.extend(one.advance(Duration::from_millis(5)));
            let told = messages(&sent);
            assert!(!told.is_empty(), "{ends:?} {method}");
            for message in &told {
                assert_eq!((message[RECORDS], message[KIND]), (0, BETWEEN), "no record for a kernel");
                other.frame(message);
            }
            assert_eq!(kinds::known(&other), kinds::known(&one), "the conn and its template");
            let on = of_client(ends, "A").carrying("more");
            if method == "-b" {
                same(&other.client(&on), &one.client(&on));
                let reply = Packet { seq: 9, ..answer }.carrying("yes");
                same(&other.real(&reply), &one.real(&reply));
            } else {
                assert_eq!(other.client(&on)[0].to(), mac_of(endpoint(ends[2]).addr));
            }
            // The client's next conn has the same server by its template.
            other.client(&of_client(ends, "S").from(&ends[0].replace(":4000", ":4001")));
            assert_eq!(other.director.flows.conns.len(), 3);
            other.recount().unwrap();
            other.advance(Duration::from_secs(2000));
            assert_eq!((other.director.flows.conns.len(), other.director.flows.synced), (0, 0), "ports go back");
        }
    }
}

/// Rules for conns of all families, and many of them.
fn crowd() -> (String, Lab) {
    let rules = CROSSED.map(|ends| service(ends, "-b").replace(" -p 300", "")).concat();
    let rules = rules + "-A -t 198.51.100.1:81 -s rr\n-a -t 198.51.100.1:81 -r 10.0.0.21:81 -m\n";
    let mut old = one_of_pair(&rules);
    for port in 2000..2400 {
        for ends in CROSSED {
            let client = ends[0].replace(":4000", &format!(":{port}"));
            let syn = old.client(&of_client(ends, "S").from(&client))[0].packet();
            old.real(&Packet { src: syn.dst, dst: syn.src, ..Packet::tcp(RS1, CLIENT, "SA") });
            old.client(&of_client(ends, "A").from(&client));
        }
        let client = format!("192.0.2.7:{port}");
        old.client(&packet("S").from(&client).to("198.51.100.1:81"));
        old.real(&Packet::tcp("10.0.0.21:81", &client, "SA"));
        old.client(&packet("A").from(&client).to("198.51.100.1:81"));
    }
    assert_eq!(old.director.flows.conns.len(), 1200);
    (rules, old)
}

/// What is told to a director that asks, within a second.
fn answers(old: &mut Lab, new: &mut Lab) -> Vec<Vec<u8>> {
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    let asks = messages(&new.advance(Duration::from_millis(1)));
    let mut answers = messages(&old.frame(&asks[0]));
    (0..60).for_each(|_| answers.extend(messages(&old.advance(Duration::from_millis(10)))));
    answers
}

#[test]
fn a_director_that_begins_is_told_of_conns_between_families_until_it_has_all() {
    let (rules, mut old) = crowd();
    let mut new = lab(&[&rules]);
    talk_of_all(&mut old, &mut new);
    assert_eq!(kinds::known(&new), kinds::known(&old));
    new.recount().unwrap();
    // Messages of either kind are missed where they are lost.
    for lost in [0, BETWEEN] {
        let mut lossy = lab(&[&rules]);
        let mut answers = answers(&mut old, &mut lossy);
        let is_it = |message: &Vec<u8>| match lost {
            BETWEEN => message[RECORDS] == 0 && message[KIND] == BETWEEN,
            _ => message[RECORDS] != 0,
        };
        answers.remove(answers.iter().position(is_it).unwrap());
        answers.iter().for_each(|message| drop(lossy.frame(message)));
        assert!(lossy.director.flows.conns.len() < 1200 && lossy.director.sync.report(lossy.turn.now).asking);
        talk(&mut old, &mut lossy, Duration::from_secs(2));
        let asking = lossy.director.sync.report(lossy.turn.now).asking;
        assert_eq!((lossy.director.flows.conns.len(), asking), (1200, false));
    }
}

fn talk_of_all(old: &mut Lab, new: &mut Lab) {
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    talk(old, new, Duration::from_secs(1));
    assert!(!new.director.sync.report(new.turn.now).asking);
}

/// It passes over the kind of message that it does not know, and reads no more of an answer than it did.
#[test]
fn an_older_director_has_all_when_it_has_what_it_can_read() {
    const TELLS: u8 = 2;
    let (rules, mut old) = crowd();
    let mut new = lab(&[&rules]);
    let answers = answers(&mut old, &mut new);
    let mut records = 0;
    for message in answers.iter().filter(|message| message[RECORDS] != 0) {
        records += u32::from(message[RECORDS]);
    }
    let last = answers.iter().rfind(|message| message[RECORDS] == 0 && message[KIND] == TELLS).unwrap();
    let told = u32::from_be_bytes(last[PAYLOAD + 24..PAYLOAD + 28].try_into().unwrap());
    assert_eq!((records, told, last[PAYLOAD + 28]), (400, 400, 1));
}

/// A message of one conn between families, with this method and local address.
fn forged_between([client, virt, real, _]: Ends, method: u32, local: Option<&str>) -> Packet {
    let ends = [client, virt, real].map(endpoint);
    let octets = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    };
    let mut record = vec![u8::from(ends[0].addr.is_ipv6()), 6, 0, 0];
    record.extend_from_slice(&method.to_be_bytes());
    record.extend_from_slice(&1u16.to_be_bytes());
    ends.iter().for_each(|end| record.extend_from_slice(&end.port.to_be_bytes()));
    record.extend_from_slice(&[0, 0, 0, 0, 0, 0, 3, 132]);
    ends.iter().for_each(|end| record.extend_from_slice(&octets(end.addr)));
    if let Some(local) = local.map(endpoint) {
        let addr = octets(local.addr);
        record.extend_from_slice(&[0x21, 2 + addr.len() as u8]);
        record.extend_from_slice(&local.port.to_be_bytes());
        record.extend_from_slice(&addr);
        record.extend_from_slice(&[0x22, 4, 0, 0, 0, 9]);
    }
    record[3] = record.len() as u8;
    let mut message = vec![0, 7, 0, 16 + record.len() as u8, 0, 1, 0, 0];
    message.extend_from_slice(b"tapv");
    message.extend_from_slice(&[BETWEEN, 1, 0, 0]);
    message.extend_from_slice(&record);
    Packet::udp("10.0.0.3:40000", "224.0.0.81:8848").carrying(message)
}

/// Packets of such a conn could not be forwarded.
#[test]
fn conns_that_no_method_joins_are_not_taken() {
    const NAT: u32 = 0;
    const TUNNEL: u32 = 2;
    for ends in CROSSED {
        let taken = |rules: &str, message: Packet| {
            let mut backup = lab(&[rules, BACKUP]);
            hear(&mut backup, &message);
            let there = backup.director.flows.conns.len() == 1;
            let tuple = Tuple { proto: Proto::TCP, src: endpoint(ends[0]), dst: endpoint(ends[1]) };
            assert_eq!(backup.director.flows.conns.lookup(&tuple).is_some(), there);
            backup.client(&of_client(ends, "A").carrying("more"));
            there
        };
        // Of a service that is not here yet: as its master forwards it.
        for method in 0..8 {
            assert_eq!(taken("", forged_between(ends, method, None)), method == TUNNEL, "{method}");
        }
        // Of one that is here: by its own method, from a local address of the server's family.
        let [four, six] = ["10.0.0.30:5000", "[2001:db8::30]:5000"];
        let (own, other) = if endpoint(ends[2]).addr.is_ipv4() { (four, six) } else { (six, four) };
        let rules = service(ends, "-b") + &format!("-P -t {} -z {}\n", ends[1], endpoint(other).addr);
        assert!(taken(&rules, forged_between(ends, NAT, Some(own))), "{own}");
        assert!(!taken(&rules, forged_between(ends, NAT, Some(other))), "{other}");
        assert!(!taken(&rules, forged_between(ends, NAT, None)), "from nowhere");
    }
}
