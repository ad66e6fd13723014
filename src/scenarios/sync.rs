//! One director tells another of its conns, and the other goes on for it.

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

fn version(sync_version: u32) -> Settings {
    Settings { sync_version, icmp_rate: 0, ..Settings::default() }
}

/// The bytes of a message, without the headers before it.
fn payload(message: &[u8]) -> &[u8] {
    &message[14 + 20 + 8..]
}

#[test]
fn version_0_is_told_and_understood() {
    let mut master = Lab::with(version(0), &[SERVICE, MASTER].concat());
    let mut backup = lab(&[SERVICE, BACKUP]);
    establish(&mut master, "192.0.2.7:3999");
    establish(&mut master, CLIENT);
    let sent = messages(&master.advance(Duration::from_secs(3)));
    // rr: the first client has the second server, the second one the first.
    let wanted = [
        &[2, 7, 0, 52][..],
        &[0, 6, 0x0f, 0x9f, 0, 80, 0x1f, 0x90, 192, 0, 2, 7, 198, 51, 100, 1, 10, 0, 0, 22, 0, 0, 0, 1],
        &[0, 6, 0x0f, 0xa0, 0, 80, 0x1f, 0x90, 192, 0, 2, 7, 198, 51, 100, 1, 10, 0, 0, 21, 0, 0, 0, 1],
    ];
    assert_eq!(sent.iter().map(|message| payload(message)).collect::<Vec<_>>(), [wanted.concat()]);
    backup.frame(&sent[0]);
    assert_eq!(backup.take_moved(), "consumed.sync-message=1");
    assert_eq!((backup.counts(RS1), backup.counts(RS2)), ((1, 0), (1, 0)));
    // No lifetime was told: it is that of the state here.
    backup.advance(Duration::from_secs(890));
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    backup.advance(Duration::from_secs(20));
    assert_eq!(backup.conn_of(&packet("A")), None);
}

#[test]
fn the_version_changes_between_two_messages() {
    let mut master = lab(&[SERVICE, MASTER]);
    establish(&mut master, CLIENT);
    master.director.set("sync_version", "0").unwrap();
    let sent = messages(&establish(&mut master, "192.0.2.8:1"));
    assert_eq!(sent.iter().map(|message| payload(message)[0]).collect::<Vec<_>>(), [0], "the old one leaves first");
    let sent = messages(&master.advance(Duration::from_secs(3)));
    assert_eq!(sent.iter().map(|message| payload(message)[0]).collect::<Vec<_>>(), [1], "one conn of version 0");
}

#[test]
fn version_0_tells_a_template_with_its_conns_alone() {
    let service = SERVICE.replace("-s rr", "-s rr -p 300");
    let mut master = Lab::with(version(0), &[&service, MASTER].concat());
    let mut backup = lab(&[&service, BACKUP]);
    // The conn is told of with its third packet, and not the template with each, as in version 1.
    establish(&mut master, CLIENT);
    let sent = messages(&master.advance(Duration::from_secs(3)));
    assert_eq!(sent.iter().map(|message| payload(message)[..4].to_vec()).collect::<Vec<_>>(), [[2, 7, 0, 52]]);
    backup.frame(&sent[0]);
    let template = backup.director.flows.conns.find_template(Proto::TCP, endpoint("192.0.2.7:0"), endpoint(VIP));
    // A template's lifetime is not told either: three minutes, as the kernel takes it.
    let deadline = |lab: &Lab| lab.director.flows.conns.deadline(lab.director.flows.conns.get(template.unwrap()));
    assert_eq!(deadline(&backup).since(backup.turn.now).as_secs(), 180);
    (0..20).for_each(|_| drop(master.client(&packet("A"))));
    assert_eq!(messages(&master.advance(Duration::from_secs(3))), [[0; 0]; 0]);
}

#[test]
fn version_0_knows_no_ipv6() {
    let service = "-A -t [2001:db8::100]:80 -s rr\n-a -t [2001:db8::100]:80 -r [2001:db8:1::21]:80 -m\n";
    for (number, told) in [(0, 0), (1, 1)] {
        let mut master = Lab::with(version(number), &[service, MASTER].concat());
        let syn = Packet::tcp("[2001:db8:2::7]:4000", "[2001:db8::100]:80", "S");
        let sent: Vec<_> = (0..4).flat_map(|_| master.client(&syn)).collect();
        assert_eq!(messages(&sent), [[0; 0]; 0]);
        master.real(&Packet::tcp("[2001:db8:1::21]:80", "[2001:db8:2::7]:4000", "SA"));
        let ack = Packet::tcp("[2001:db8:2::7]:4000", "[2001:db8::100]:80", "A");
        (0..50).for_each(|_| drop(master.client(&ack)));
        assert_eq!(messages(&master.advance(Duration::from_secs(3))).len(), told, "version {number}");
    }
}

#[test]
fn what_is_meant_for_others_or_broken_changes_nothing() {
    let mut master = lab(&[SERVICE, MASTER]);
    establish(&mut master, CLIENT);
    let message = messages(&master.advance(Duration::from_secs(3))).remove(0);
    let mut others = lab(&[SERVICE, "--start-daemon backup --mcast-interface tap0 --syncid 8\n"]);
    others.frame(&message);
    assert_eq!(others.take_moved(), "dropped.not-for-us=1");
    let mut nobody = lab(&[SERVICE]);
    nobody.frame(&message);
    assert_eq!(nobody.take_moved(), "dropped.not-for-us=1");
    let mut backup = lab(&[SERVICE, BACKUP]);
    let mut broken = message.clone();
    *broken.last_mut().unwrap() ^= 1;
    backup.frame(&broken);
    assert_eq!(backup.take_moved(), "dropped.bad-sync=1");
    let mut elsewhere = lab(&["-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.23:8080 -m\n", BACKUP]);
    elsewhere.frame(&message);
    assert_eq!(elsewhere.take_moved(), "consumed.sync-message=1");
    assert_eq!(elsewhere.director.flows.conns.len(), 1, "a server that is not one here yet");
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
    let mixed = "-a -t 198.51.100.1:80 -r [2001:db8::1]:80 -i";
    assert!(refused(mixed).is_some(), "a server of another family cannot be told of");
    assert_eq!(refused("--stop-daemon master"), None);
    assert_eq!(refused(mixed), None);
    assert!(refused(MASTER).is_some(), "and the other way round");
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

const UNBOUND_DIRECT: u32 = 0x103;

#[test]
fn a_conn_whose_service_is_not_here_yet_is_kept_and_bound_later() {
    let elsewhere = "-A -t 198.51.100.2:80 -s rr\n-a -t 198.51.100.2:80 -r 10.0.0.21:9 -m\n";
    let mut backup = lab(&[elsewhere, BACKUP]);
    hear(&mut backup, &forged(CLIENT, RS1, UNBOUND_DIRECT, 900));
    let id = backup.conn_of(&packet("A")).unwrap();
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    // As in the kernel it is forwarded as the master does it.
    let on = packet("A").carrying("more");
    expect(&backup.client(&on), &[(mac_of(endpoint(RS1).addr), on.clone().one_hop_on())]);
    backup.rules(SERVICE);
    assert_eq!(backup.conn_of(&packet("A")), Some(id));
    let services = &backup.director.flows.services;
    let service = services.find_marked(0, Proto::TCP, endpoint(VIP)).unwrap();
    let dest = services.find_dest(service, endpoint(RS1)).unwrap();
    assert_eq!(services.server(dest).active, 1, "it is that server's conn now");
    // Its method is this director's own from then on, for conns that are made from then on.
    let next = packet("S").from("192.0.2.7:4001");
    expect(&backup.client(&next), &[(mac_of(endpoint(RS2).addr), next.clone().to(RS2).one_hop_on())]);
}

#[test]
fn forged_messages_neither_fill_the_table_nor_keep_it() {
    let settings = Settings { max_flows: 100, icmp_rate: 0, ..Settings::default() };
    let mut backup = Lab::with(settings, &[SERVICE, BACKUP].concat());
    for port in 1..=200 {
        hear(&mut backup, &forged(&format!("192.0.2.66:{port}"), RS1, 0, u32::MAX));
    }
    assert_eq!(backup.director.flows.conns.len(), 50, "half the table");
    backup.advance(Duration::from_secs(901));
    assert_eq!(
        (backup.director.flows.conns.len(), backup.director.flows.synced),
        (0, 0),
        "as long as a conn of its own"
    );
    for real in 1..=200 {
        hear(&mut backup, &forged("192.0.2.66:9", &format!("10.0.0.{real}:99"), UNBOUND_DIRECT, 900));
    }
    assert_eq!(backup.director.flows.conns.len(), 1, "each takes the place of the one before");
}

#[test]
fn a_running_conn_is_not_moved_by_another_directors_word() {
    let mut backup = lab(&[SERVICE, BACKUP]);
    establish(&mut backup, CLIENT);
    let on = packet("A").carrying("more");
    let before = backup.client(&on);
    hear(&mut backup, &forged(CLIENT, "10.0.0.66:80", UNBOUND_DIRECT, 900));
    hear(&mut backup, &forged(CLIENT, RS1, 0, 1));
    assert_eq!(backup.client(&on), before);
    // A conn that has been silent here goes on at the other director.
    backup.advance(Duration::from_secs(11));
    hear(&mut backup, &forged(CLIENT, RS1, 0, 900));
    let id = backup.conn_of(&packet("A")).unwrap();
    assert!(backup.director.flows.conns.get(id).is_synced());
    // And is this one's again with its first packet here.
    backup.client(&on);
    let id = backup.conn_of(&packet("A")).unwrap();
    assert!(!backup.director.flows.conns.get(id).is_synced());
}

/// Its own checks may say what they like: the director that has the conn decides, and after a takeover this one.
#[test]
fn a_conn_that_another_director_has_does_not_end_with_its_server_here() {
    let (mut master, mut backup) = (lab(&[SERVICE, MASTER]), lab(&[SERVICE, BACKUP]));
    establish(&mut master, "192.0.2.7:3999");
    establish(&mut master, CLIENT);
    told(&mut master, &mut backup);
    let key = ServiceKey::Address(Proto::TCP, endpoint(VIP));
    let failed = Judgement { mask: Mask::Failed, ending: Ending::Drop, ..Judgement::default() };
    backup.director.flows.judge(key, endpoint(RS1), failed);
    backup.advance(Duration::from_secs(1));
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    // The client's packets come here now.
    backup.client(&packet("A").carrying("more"));
    backup.advance(Duration::from_secs(1));
    assert!(backup.conn_of(&packet("A")).is_none(), "it ends as the service says");
}

#[test]
fn a_backup_listens_to_named_directors_only() {
    let mut backup = lab(&[SERVICE]);
    let interface = "tap0".to_owned();
    let peers = vec!["10.0.0.4".parse().unwrap()];
    let options = SyncOptions { interface, peers, ..SyncOptions::default() };
    backup.director.apply(&Command::StartDaemon(SyncRole::Backup, options), Instant::START).unwrap();
    let message = forged(CLIENT, RS1, 0, 900);
    hear(&mut backup, &message);
    assert_eq!(backup.conn_of(&packet("A")), None);
    hear(&mut backup, &message.from("10.0.0.4:40000"));
    assert!(backup.conn_of(&packet("A")).is_some());
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
fn a_director_that_begins_is_told_the_whole_table() {
    let mut old = one_of_pair(SERVICE);
    establish_many(&mut old, 2500);
    old.client(&packet("S").from("192.0.2.8:1"));
    let mut new = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    talk(&mut old, &mut new, Duration::from_secs(1));
    let report = new.director.sync.report(new.turn.now);
    assert_eq!((new.director.flows.conns.len(), report.heard_records, report.asking), (2500, 2500, false));
    new.recount().unwrap();
    // One that has lost messages asks again until it has all.
    let mut lossy = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| lossy.rules(daemon));
    let asks = messages(&lossy.advance(Duration::from_millis(1)));
    let mut answers = messages(&old.frame(&asks[0]));
    (0..60).for_each(|_| answers.extend(messages(&old.advance(Duration::from_millis(10)))));
    answers.remove(5);
    answers.iter().for_each(|message| drop(lossy.frame(message)));
    assert!(lossy.director.flows.conns.len() < 2500 && lossy.director.sync.report(lossy.turn.now).asking);
    talk(&mut old, &mut lossy, Duration::from_secs(2));
    assert_eq!(lossy.director.flows.conns.len(), 2500);
    assert!(!lossy.director.sync.report(lossy.turn.now).asking);
}

#[test]
fn a_table_is_told_at_a_pace_and_a_lone_director_soon_stops_asking() {
    let mut old = one_of_pair(SERVICE);
    assert!(!old.director.sync.report(old.turn.now).asking, "nobody has answered");
    establish_many(&mut old, 5000);
    let mut new = lab(&[SERVICE]);
    PAIR.iter().for_each(|daemon| new.rules(daemon));
    let asks = messages(&new.advance(Duration::from_millis(1)));
    assert_eq!(messages(&old.frame(&asks[0])).len(), 1, "it has heard");
    // A million in less than ten seconds is a thousand in ten milliseconds.
    let bursts: Vec<usize> = (0..6).map(|_| messages(&old.advance(Duration::from_millis(10))).len()).collect();
    assert!(bursts.iter().all(|count| *count <= 1200 / 40 + 2), "{bursts:?}");
    assert!(bursts[..4].iter().all(|count| *count >= 1000 / 41), "{bursts:?}");
    assert_eq!(bursts[5], 0);
}

const FULL_NAT: &str = "-A -t 198.51.100.1:80 -s rr\n-P -t 198.51.100.1:80 -z 10.0.0.9\n\
                        -a -t 198.51.100.1:80 -r 10.0.0.21:8080 -b\n";

#[test]
fn a_conn_of_full_nat_goes_on_at_the_other_director_with_its_port_and_numbers() {
    let settings = || Settings { icmp_rate: 0, ..Settings::default() };
    let with = |rules: &[&str]| Lab::with(settings(), &rules.concat());
    let (mut one, mut other) = (with(&[FULL_NAT, PAIR[0], PAIR[1]]), with(&[FULL_NAT, PAIR[0], PAIR[1]]));
    talk(&mut one, &mut other, Duration::from_secs(4));
    let syn = one.client(&packet("S"))[0].packet();
    let local = syn.src.to_string();
    one.real(&Packet::tcp(RS1, &local, "SA"));
    (0..2).for_each(|_| drop(one.client(&packet("A"))));
    talk(&mut one, &mut other, Duration::from_secs(3));
    let on = packet("A").carrying("more");
    let (here, there) = (one.client(&on), other.client(&on));
    assert_eq!(here[0].packet().src, there[0].packet().src, "the local port");
    assert_eq!(here[0].bytes[14..], there[0].bytes[14..], "and the sequence numbers");
    let reply = Packet::tcp(RS1, &local, "A").carrying("yes");
    assert_eq!(one.real(&reply), other.real(&reply));
    // A kernel's backup, which reads no message of this kind, sees none of it.
    let mut seen = std::collections::HashSet::from([syn.src.port]);
    for port in 5000..5100 {
        let sent = other.client(&packet("S").from(&format!("192.0.2.9:{port}")));
        assert!(seen.insert(sent[0].packet().src.port), "a port twice");
    }
    // What ends here gives its port back.
    other.advance(Duration::from_secs(2000));
    assert_eq!(other.director.flows.conns.len(), 0);
}

#[test]
fn what_comes_from_elsewhere_is_counted_by_its_reason() {
    let mut lab = one_of_pair(SERVICE);
    hear(&mut lab, &forged(CLIENT, RS1, 0, 900));
    let mut other_id = forged(CLIENT, RS1, 0, 900);
    other_id.payload[1] = 9;
    let mut other_address = forged(CLIENT, RS1, 0, 900);
    other_address.payload[8 + 24 + 4] = 203;
    let mut cut = forged(CLIENT, RS1, 0, 900);
    cut.payload.truncate(20);
    for packet in [&other_id, &other_address, &cut] {
        hear(&mut lab, packet);
    }
    let report = lab.director.sync.report(lab.turn.now);
    let refused: Vec<_> = report.refused.iter().map(|(why, count)| (why.as_str(), *count)).collect();
    assert_eq!((report.heard_records, refused), (1, vec![("address", 1), ("syncid", 1), ("unreadable", 1)]));
    assert_eq!(lab.director.flows.conns.len(), 1);
}

/// A director with one daemon, whose options are the usual ones but for these.
fn with_daemon(role: SyncRole, options: SyncOptions) -> Lab {
    let mut lab = lab(&[SERVICE]);
    let options = SyncOptions { interface: "tap0".into(), syncid: 7, ..options };
    lab.director.apply(&Command::StartDaemon(role, options), Instant::START).unwrap();
    lab
}

fn refused(lab: &Lab) -> Vec<(String, u64)> {
    lab.director.sync.report(lab.turn.now).refused.into_iter().collect()
}

fn counted(why: &str, count: u64) -> (String, u64) {
    (why.to_owned(), count)
}

#[test]
fn peers_are_told_one_by_one_and_nobody_else_is_heard() {
    let peers: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2"].map(|addr| addr.parse().unwrap()).into();
    let of_peers = || SyncOptions { peers: peers.clone(), ..SyncOptions::default() };
    let mut master = with_daemon(SyncRole::Master, of_peers());
    establish(&mut master, CLIENT);
    let sent = master.advance(Duration::from_secs(3));
    assert_eq!(messages(&sent), Vec::<Vec<u8>>::new(), "nothing for the group");
    let [frame] = &sent[..] else { panic!("one message for the one peer that is not itself: {sent:?}") };
    assert_eq!((frame.to(), frame.bytes[14 + 8]), (ROUTER, 64));
    let payload = frame.bytes[14 + 20 + 8..].to_vec();

    let mut backup = with_daemon(SyncRole::Backup, of_peers());
    let second = Link { name: "tap1".into(), mac: Mac([2, 0, 0, 0, 0, 2]), mtu: 1500, addresses: Vec::new() };
    let other = backup.director.router.add_link(second);
    let message = |from: &str| Packet::udp(from, "10.0.0.2:8848").carrying(payload.clone());
    // Another director works, as an operator has said: this one is silent, and is told all the same.
    backup.director.presence().stand_by(true, Instant::START);
    assert_eq!(backup.frame(&message("10.0.0.9:40000").frame(ROUTER, DIRECTOR)), [], "no ICMP error either");
    let elsewhere = message("10.0.0.1:40000").frame(ROUTER, Mac([2, 0, 0, 0, 0, 2]));
    backup.arrive(other, &elsewhere, Default::default());
    assert_eq!(backup.conn_of(&packet("A")), None);
    assert_eq!(refused(&backup), [counted("interface", 1), counted("peer", 1)]);
    assert_eq!(backup.frame(&message("10.0.0.1:40000").frame(ROUTER, DIRECTOR)), []);
    assert!(backup.conn_of(&packet("A")).is_some());
    backup.recount().unwrap();
}

#[test]
fn with_a_key_nobody_is_heard_who_does_not_have_it_and_nothing_twice() {
    let with_key = |role, key: Option<&str>| {
        let key = key.map(|key| SharedKey(key.to_owned()));
        with_daemon(role, SyncOptions { key, ..SyncOptions::default() })
    };
    let (own, others) = (Some("sixteen bytes or more"), Some("another key of them"));
    let mut master = with_key(SyncRole::Master, own);
    let mut backup = with_key(SyncRole::Backup, own);
    establish(&mut master, CLIENT);
    let [message] = &messages(&master.advance(Duration::from_secs(3)))[..] else { panic!("no message") };

    hear(&mut backup, &forged(CLIENT, RS1, 0, 900));
    backup.turn.clock = Duration::from_secs(100);
    assert_eq!(backup.frame(message), []);
    backup.turn.clock = Duration::ZERO;
    assert_eq!(refused(&backup), [counted("clock", 1), counted("key", 1)]);
    assert_eq!(backup.conn_of(&packet("A")), None);
    for _ in 0..3 {
        assert_eq!(backup.frame(message), []);
    }
    assert!(backup.conn_of(&packet("A")).is_some());
    assert_eq!(refused(&backup), [counted("clock", 1), counted("key", 1), counted("replay", 2)]);
    assert_eq!(backup.director.sync.report(backup.turn.now).heard_messages, 1);

    for key in [None, others] {
        let mut stranger = with_key(SyncRole::Backup, key);
        assert_eq!(stranger.frame(message), []);
        assert_eq!(refused(&stranger), [counted("key", 1)], "{key:?}");
        assert_eq!(stranger.conn_of(&packet("A")), None);
    }
}

#[test]
fn a_sealed_message_is_no_longer_than_one_may_be() {
    let key = Some(SharedKey("sixteen bytes or more".into()));
    let mut master = with_daemon(SyncRole::Master, SyncOptions { key, ..SyncOptions::default() });
    establish_many(&mut master, 200);
    let more = |port: u16| packet("A").from(&format!("192.0.2.7:{port}")).carrying("x");
    let sent: Vec<Vec<u8>> = (2000..2200).flat_map(|port| messages(&master.client(&more(port)))).collect();
    let longest = sent.iter().map(Vec::len).max().unwrap();
    assert!(sent.len() >= 4 && longest <= 1514 && longest > 1400, "{} messages, {longest} bytes", sent.len());
}

#[test]
fn what_is_refused_is_counted_by_its_reason() {
    let mut backup = lab(&[SERVICE, BACKUP, MASTER]);
    let good = forged(CLIENT, RS1, 0, 900);
    let elsewhere = [&good.frame(ROUTER, GROUP)[..]].concat();
    let payload = elsewhere[14 + 20 + 8..].to_vec();
    let with = |at: usize, byte: u8| {
        let mut bytes = payload.clone();
        bytes[at] = byte;
        Packet::udp("10.0.0.3:40000", "224.0.0.81:8848").carrying(bytes)
    };
    // Another syncid, a length that is not its own, a port that is not ours, and an address of no service.
    hear(&mut backup, &with(1, 9));
    hear(&mut backup, &with(3, 9));
    hear(&mut backup, &Packet::udp("10.0.0.3:40000", "224.0.0.81:8849").carrying(payload.clone()));
    hear(&mut backup, &with(payload.len() - 5, 77));
    let wanted = [counted("address", 1), counted("port", 1), counted("syncid", 1), counted("unreadable", 1)];
    assert_eq!(refused(&backup), wanted);
    assert_eq!(backup.director.flows.conns.len(), 0);
}
