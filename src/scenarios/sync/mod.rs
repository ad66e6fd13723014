//! One director tells another of its conns, and the other goes on for it.

mod announced;
mod crossed;
mod kinds;
mod peers;
mod strangers;
mod table;
mod versions;

use std::net::IpAddr;
use std::time::Duration;

use super::{CLIENT, RS1, RS2, VIP};
use crate::base::{Instant, Mac, Proto};
use crate::router::Link;
use crate::sched::Mask;
use crate::service::command::{Command, ServiceKey, SharedKey, SyncOptions, SyncRole};
use crate::service::{Ending, Judgement};
use crate::settings::Settings;
use crate::testing::{DIRECTOR, Frame, Lab, Packet, ROUTER, endpoint, expect, mac_of};

const SERVICE: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n\
                       -a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m\n";
const MASTER: &str = "--start-daemon master --mcast-interface tap0 --syncid 7\n";
const BACKUP: &str = "--start-daemon backup --mcast-interface tap0 --syncid 7\n";
const GROUP: Mac = Mac([0x01, 0x00, 0x5e, 0, 0, 0x51]);

fn lab(rules: &[&str]) -> Lab {
    Lab::new(&rules.concat())
}

fn packet(flags: &'static str) -> Packet {
    Packet::tcp(CLIENT, VIP, flags)
}

/// A conn that is told of: its third packet is the first that counts.
fn establish(lab: &mut Lab, client: &str) -> Vec<Frame> {
    lab.client(&packet("S").from(client));
    for server in [RS1, RS2] {
        lab.real(&Packet::tcp(server, client, "SA"));
    }
    lab.client(&packet("A").from(client));
    lab.client(&packet("A").from(client))
}

/// The messages of what left.
fn messages(sent: &[Frame]) -> Vec<Vec<u8>> {
    sent.iter().filter(|frame| frame.to() == GROUP).map(|frame| frame.bytes.clone()).collect()
}

/// What the master says within three seconds reaches the backup; how many messages.
fn told(master: &mut Lab, backup: &mut Lab) -> usize {
    let messages = messages(&master.advance(Duration::from_secs(3)));
    messages.iter().for_each(|message| assert_eq!(backup.frame(message), []));
    messages.len()
}

/// A message of one conn, as a kernel's master sends it: method, state and lifetime are for the test to say.
fn forged(client: &str, real: &str, flags: u32, timeout: u32) -> Packet {
    let mut record = vec![0, 6, 0, 36];
    record.extend_from_slice(&flags.to_be_bytes());
    record.extend_from_slice(&1u16.to_be_bytes());
    let ends = [client, VIP, real].map(endpoint);
    ends.iter().for_each(|end| record.extend_from_slice(&end.port.to_be_bytes()));
    record.extend_from_slice(&0u32.to_be_bytes());
    record.extend_from_slice(&timeout.to_be_bytes());
    for end in ends {
        let IpAddr::V4(addr) = end.addr else { panic!("{end}") };
        record.extend_from_slice(&addr.octets());
    }
    let mut message = vec![0, 7, 0, 8 + record.len() as u8, 1, 1, 0, 0];
    message.extend_from_slice(&record);
    Packet::udp("10.0.0.3:40000", "224.0.0.81:8848").carrying(message)
}

fn hear(lab: &mut Lab, message: &Packet) {
    assert_eq!(lab.frame(&message.frame(ROUTER, GROUP)), []);
}

const PAIR: [&str; 2] = [MASTER, BACKUP];

/// What each of two directors sends reaches the other one, for so long.
fn talk(one: &mut Lab, other: &mut Lab, time: Duration) {
    let step = Duration::from_millis(10);
    let mut passed = Duration::ZERO;
    while passed < time {
        for message in messages(&one.advance(step)) {
            messages(&other.frame(&message)).iter().for_each(|answer| drop(one.frame(answer)));
        }
        for message in messages(&other.advance(step)) {
            messages(&one.frame(&message)).iter().for_each(|answer| drop(other.frame(answer)));
        }
        passed += step;
    }
}

/// A director that runs both daemons, and has asked in vain.
fn one_of_pair(rules: &str) -> Lab {
    let mut lab = lab(&[rules, PAIR[0], PAIR[1]]);
    lab.advance(Duration::from_secs(9));
    lab
}

/// Conns that are established and of which nothing was told: two packets each.
fn establish_many(lab: &mut Lab, count: u16) {
    for port in 2000..2000 + count {
        let client = format!("192.0.2.7:{port}");
        lab.client(&packet("S").from(&client));
        [RS1, RS2].iter().for_each(|server| drop(lab.real(&Packet::tcp(server, &client, "SA"))));
        lab.client(&packet("A").from(&client));
    }
}

#[test]
fn the_other_director_goes_on_with_the_same_server() {
    let (mut master, mut backup) = (lab(&[SERVICE, MASTER]), lab(&[SERVICE, BACKUP]));
    // rr begins with the server added last; the backup's would too, for the next client.
    establish(&mut master, "192.0.2.7:3999");
    establish(&mut master, CLIENT);
    assert_eq!(told(&mut master, &mut backup), 1);
    assert_eq!(backup.take_moved(), "consumed.sync-message=1");

    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    assert_eq!((backup.counts(RS1), backup.counts(RS2)), ((1, 0), (1, 0)));
    let id = backup.conn_of(&packet("A")).unwrap();
    assert!(backup.director.flows.conns.get(id).is_synced());
    assert_eq!(backup.director.flows.services.total.conns, 0, "nobody's new conn");
    let on = packet("A").carrying("more");
    expect(&backup.client(&on), &[(mac_of(endpoint(RS1).addr), on.clone().to(RS1).one_hop_on())]);
    let reply = Packet::tcp(RS1, CLIENT, "A").carrying("yes");
    expect(&backup.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
}

#[test]
fn a_state_that_ends_a_conn_is_told_at_once_and_counted() {
    let (mut master, mut backup) = (lab(&[SERVICE, MASTER]), lab(&[SERVICE, BACKUP]));
    establish(&mut master, CLIENT);
    told(&mut master, &mut backup);
    master.client(&packet("FA"));
    assert_eq!(told(&mut master, &mut backup), 1);
    assert_eq!(backup.state_of(&packet("A")), "CLOSE_WAIT");
    assert_eq!(backup.counts(RS2), (0, 1));
}

#[test]
fn packets_between_are_not_told() {
    let (mut master, mut backup) = (lab(&[SERVICE, MASTER]), lab(&[SERVICE, BACKUP]));
    master.client(&packet("S"));
    assert_eq!(told(&mut master, &mut backup), 0, "not established");
    establish(&mut master, CLIENT);
    // The fourth packet: the one that the threshold names was the third, which was told of.
    assert_eq!(told(&mut master, &mut backup), 1);
    (0..49).for_each(|_| drop(master.client(&packet("A"))));
    assert_eq!(told(&mut master, &mut backup), 1, "the 53rd");
    (0..40).for_each(|_| drop(master.client(&packet("A"))));
    assert_eq!(told(&mut master, &mut backup), 0);
}

#[test]
fn a_template_is_told_of_and_binds_here_too() {
    let service = SERVICE.replace("-s rr", "-s rr -p 300");
    let (mut master, mut backup) = (lab(&[&service, MASTER]), lab(&[&service, BACKUP]));
    // The client's second conn has the server of its first one.
    establish(&mut master, "192.0.2.9:1");
    establish(&mut master, CLIENT);
    told(&mut master, &mut backup);
    let next = packet("S").from("192.0.2.7:4001");
    expect(&backup.client(&next), &[(mac_of(endpoint(RS1).addr), next.clone().to(RS1).one_hop_on())]);
}

/// What the other one of a pair was not told of ends with this one; a backup that only listens can wait.
#[test]
fn a_conn_is_told_of_at_once_where_the_other_one_may_take_over() {
    let told_within = |lab: &mut Lab, clients: &[&str], millis: u64| {
        let mut sent: Vec<Frame> = clients.iter().flat_map(|client| establish(lab, client)).collect();
        sent.extend(lab.advance(Duration::from_millis(millis)));
        messages(&sent).len()
    };
    let mut pair = one_of_pair(SERVICE);
    assert_eq!(told_within(&mut pair, &["192.0.2.7:2000"], 0), 1, "in the turn of its request");
    assert_eq!(told_within(&mut pair, &["192.0.2.7:2001", "192.0.2.7:2002"], 1), 0, "one has left just now");
    assert_eq!(told_within(&mut pair, &[], 1), 1, "both in one message");
    let mut alone = lab(&[SERVICE, MASTER]);
    assert_eq!(told_within(&mut alone, &["192.0.2.7:2000"], 1990), 0);
    assert_eq!(told_within(&mut alone, &[], 20), 1, "after two seconds, as in the kernel");
}

#[test]
fn a_full_message_leaves_at_once() {
    let options = "--start-daemon master --mcast-interface tap0 --syncid 7 --sync-maxlen 80\n";
    let (mut master, mut backup) = (lab(&[SERVICE, options]), lab(&[SERVICE, BACKUP]));
    let mut sent = Vec::new();
    for port in 1..=3 {
        let client = format!("192.0.2.7:{port}");
        sent.extend(messages(&establish(&mut master, &client)));
        sent.extend(messages(&master.client(&packet("FA").from(&client))));
    }
    assert_eq!(sent.len(), 2, "two records fit into 80 bytes, and six were told");
    sent.iter().for_each(|message| assert_eq!(backup.frame(message), []));
    assert_eq!(told(&mut master, &mut backup), 1);
    assert_eq!(backup.director.flows.conns.len(), 3);
}

#[test]
fn daemons_are_refused_where_they_cannot_be() {
    let mut lab = lab(&[SERVICE, MASTER]);
    let now = lab.turn.now;
    let mut refused = |line: &str| {
        let (_, command) = crate::ipvsadm::parse_rules(line).unwrap().remove(0);
        lab.director.apply(&command, now).err().map(|refused| refused.to_string())
    };
    let named = |what: &str| Some(what.to_owned());
    assert_eq!(refused(MASTER), named("Daemon has already run"));
    assert_eq!(refused("--start-daemon backup --mcast-interface eth9"), named("No such device"));
    assert_eq!(refused("--stop-daemon backup"), named("No daemon is running"));
    assert_eq!(refused("-a -t 198.51.100.1:80 -r [2001:db8::1]:80 -i"), None, "a server of another family");
    assert_eq!(refused("--stop-daemon master"), None);
    assert_eq!(refused(MASTER), None, "which the kernel refuses");
}
