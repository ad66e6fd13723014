//! Established flows are forwarded by a kernel: which, what is counted of them, and all that takes them back.

use std::time::Duration;

use super::steps::{NAT, establish, secs};
use super::{CLIENT, CLIENT6, RS1, RS2, RS6, VIP, VIP6};
use crate::base::{Mac, Proto};
use crate::director::Settings;
use crate::flows::Join;
use crate::router::Virtual;
use crate::sched::Mask;
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement};
use crate::testing::{DIRECTOR, LINK, Lab, Packet, ROUTER, endpoint, expect, mac_of};
use crate::wire::Vnet;

const AWAY: Virtual = Virtual { link: LINK, mac: None, accept: true, here: false };
/// Entries that the kernel has room for.
const ROOM: usize = 64;

pub(super) fn lab(rules: &str) -> Lab {
    with(Settings::default(), rules)
}

pub(super) fn with(settings: Settings, rules: &str) -> Lab {
    let mut lab = Lab::with(Settings { icmp_rate: 0, fullnat_sequence: false, ..settings }, rules);
    lab.use_kernel(ROOM);
    lab
}

pub(super) fn entries(lab: &Lab) -> usize {
    lab.kernel.as_ref().unwrap().len()
}

/// The frames that the director, not the kernel, has read so far.
pub(super) fn read_here(lab: &mut Lab) -> u64 {
    lab.director.fast().account(&mut lab.turn);
    let ledger = lab.turn.ledger();
    ledger.rx() - ledger.fast()
}

/// Packets of a conn until it has been offered.
pub(super) fn talk(lab: &mut Lab, packet: &Packet) {
    (0..16).for_each(|_| _ = lab.client(packet));
}

/// A conn from this port to the last server, which the kernel has.
pub(super) fn taken(lab: &mut Lab, port: u16) -> Packet {
    assert_eq!(establish(lab, port), 22);
    let data = Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "AP").carrying("data");
    let before = entries(lab);
    talk(lab, &data);
    assert_eq!(entries(lab), before + 1);
    data
}

#[test]
fn a_conn_of_some_packets_is_the_kernels_and_counts_as_before() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    let read = read_here(&mut lab);
    let reply = Packet::tcp(RS2, CLIENT, "AP").carrying("answer");
    for _ in 0..100 {
        expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().to(RS2).one_hop_on())]);
        expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
    }
    assert_eq!(read_here(&mut lab), read, "the director has read none of them");
    let conn = lab.conn_of(&data).unwrap();
    lab.director.fast().read_all();
    assert_eq!(lab.director.flows.conns.get(conn).in_pkts, 2 + 16 + 100);
    let dest = lab.director.flows.conns.get(conn).dest;
    let stats = lab.director.flows.services.dest(dest).stats;
    assert_eq!((stats.in_pkts, stats.out_pkts), (118, 101));
    assert_eq!(stats.out_bytes, 40 + 100 * 46);
    assert_eq!(lab.director.flows.services.total.in_bytes, stats.in_bytes);
    lab.director.fast().account(&mut lab.turn);
    assert!(lab.turn.ledger().balances() && lab.turn.ledger().fast() > 200);
}

#[test]
fn a_conn_lives_by_what_the_kernel_has_forwarded_and_ends_without() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    for _ in 0..4 {
        lab.advance(secs(800));
        lab.client(&data);
    }
    lab.advance(secs(899));
    assert!(lab.conn_of(&data).is_some());
    assert_eq!(entries(&lab), 1);
    lab.advance(secs(2));
    assert_eq!((lab.conn_of(&data), entries(&lab)), (None, 0));
}

#[test]
fn after_a_long_silence_of_the_director_what_was_forwarded_meanwhile_counts() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    // The loop stands still: nobody reads.
    lab.turn.now = lab.turn.now + secs(1500);
    lab.client(&data);
    lab.turn.now = lab.turn.now + secs(600);
    lab.director.tick(&mut lab.turn);
    assert!(lab.conn_of(&data).is_some(), "its last packet is ten minutes old");
    lab.advance(secs(301));
    assert!(lab.conn_of(&data).is_none());
}

#[test]
fn the_end_of_a_conn_is_the_directors() {
    for flags in ["FA", "RA"] {
        let mut lab = lab(NAT);
        let data = taken(&mut lab, 4000);
        let read = read_here(&mut lab);
        assert_eq!(lab.client(&Packet::tcp(CLIENT, VIP, flags)).len(), 1);
        assert_eq!((entries(&lab), read_here(&mut lab)), (0, read + 1), "{flags}");
        talk(&mut lab, &data);
        assert_eq!(entries(&lab), 0, "it is not established any more");
    }
}

#[test]
fn datagrams_direct_routing_full_nat_and_ipv6_are_taken_too() {
    let udp = "-A -u 198.51.100.1:80\n-a -u 198.51.100.1:80 -r 10.0.0.22:8080 -m";
    let mut lab = lab(udp);
    let packet = Packet::udp(CLIENT, VIP).carrying("question");
    talk(&mut lab, &packet);
    let read = read_here(&mut lab);
    let reply = Packet::udp(RS2, CLIENT).carrying("answer");
    expect(&lab.client(&packet), &[(mac_of(endpoint(RS2).addr), packet.clone().to(RS2).one_hop_on())]);
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
    assert_eq!((entries(&lab), read_here(&mut lab)), (1, read));

    for method in ["-g", "-i"] {
        let mut lab = with(Settings::default(), &format!("-A -t {VIP}\n-a -t {VIP} -r 10.0.0.22 {method}"));
        let data = Packet::tcp(CLIENT, VIP, "A");
        lab.client(&Packet::tcp(CLIENT, VIP, "S"));
        talk(&mut lab, &data);
        let read = read_here(&mut lab);
        let sent = lab.client(&data);
        assert_eq!((entries(&lab), read_here(&mut lab), sent.len()), (1, read, 1), "{method}");
        if method == "-g" {
            expect(&sent, &[(mac_of(endpoint(RS2).addr), data.one_hop_on())]);
        }
    }

    let full = format!("-A -t {VIP}\n-a -t {VIP} -r {RS2} -b\n--add-laddr -t {VIP} -z 10.0.0.30");
    let mut lab = with(Settings::default(), &full);
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    let local = sent[0].packet().src.to_string();
    lab.real(&Packet::tcp(RS2, &local, "SA"));
    let data = Packet::tcp(CLIENT, VIP, "A");
    talk(&mut lab, &data);
    assert_eq!(entries(&lab), 2, "one for the replies");
    let read = read_here(&mut lab);
    let reply = Packet::tcp(RS2, &local, "A");
    expect(&lab.client(&data), &[(mac_of(endpoint(RS2).addr), data.clone().from(&local).to(RS2).one_hop_on())]);
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).to(CLIENT).one_hop_on())]);
    assert_eq!(read_here(&mut lab), read);
    lab.rules(&format!("-d -t {VIP} -r {RS2}"));
    assert_eq!(entries(&lab), 0);

    let mut lab = with(Settings::default(), &format!("-A -t {VIP6}\n-a -t {VIP6} -r {RS6} -m"));
    lab.client(&Packet::tcp(CLIENT6, VIP6, "S"));
    lab.real(&Packet::tcp(RS6, CLIENT6, "SA"));
    talk(&mut lab, &Packet::tcp(CLIENT6, VIP6, "A"));
    assert_eq!(entries(&lab), 1);
}

/// All that an operator, a check or a neighbour can do to conns that the kernel has, and how many of two it has
/// afterwards: what is done returns, and no packet goes the old way.
#[test]
fn a_client_to_whom_no_way_leads_is_taken_one_way() {
    let mut lab = lab("-A -u 198.51.100.1:80\n-a -u 198.51.100.1:80 -r 10.0.0.22:8080 -m");
    lab.director.router.routes = Default::default();
    lab.director.router.routes.add("10.0.0.0/24".parse().unwrap(), None, LINK);
    let packet = Packet::udp(CLIENT, VIP).carrying("log line");
    talk(&mut lab, &packet);
    let read = read_here(&mut lab);
    expect(&lab.client(&packet), &[(mac_of(endpoint(RS2).addr), packet.clone().to(RS2).one_hop_on())]);
    assert_eq!((entries(&lab), read_here(&mut lab)), (1, read));
    lab.real(&Packet::udp(RS2, CLIENT).carrying("answer"));
    assert_eq!(read_here(&mut lab), read + 1, "the director says what becomes of a reply");
    // A way appears: the conn is taken anew, both ways.
    let mut routes = lab.director.router.routes.clone();
    routes.add("0.0.0.0/0".parse().unwrap(), Some("10.0.0.1".parse().unwrap()), LINK);
    lab.director.router.set_routes(routes);
    lab.director.fast().heed();
    talk(&mut lab, &packet);
    let read = read_here(&mut lab);
    let reply = Packet::udp(RS2, CLIENT).carrying("answer");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(VIP).one_hop_on())]);
    assert_eq!((entries(&lab), read_here(&mut lab)), (1, read));
}

#[test]
fn whatever_happens_to_a_conn_takes_it_from_the_kernel_at_once() {
    type Act = fn(&mut Lab);
    let acts: &[(&str, Act, usize)] = &[
        ("weight", |lab| lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 7"), 1),
        ("weight 0", |lab| lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0"), 1),
        ("thresholds", |lab| lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -x 9 -y 3"), 1),
        ("method", |lab| lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -b"), 0),
        ("removed", |lab| lab.rules("-d -t 198.51.100.1:80 -r 10.0.0.22:8080"), 0),
        ("another removed", |lab| lab.rules("-d -t 198.51.100.1:80 -r 10.0.0.21:8080"), 1),
        ("another added", |lab| lab.rules("-a -t 198.51.100.1:80 -r 10.0.0.23:8080 -m"), 1),
        ("service edited", |lab| lab.rules("-E -t 198.51.100.1:80 -s wrr"), 0),
        ("service removed", |lab| lab.rules("-D -t 198.51.100.1:80"), 0),
        ("cleared", |lab| lab.rules("-C"), 0),
        ("timeouts", |lab| lab.rules("--set 60 10 20"), 0),
        ("zeroed", |lab| lab.rules("-Z"), 1),
        ("setting", |lab| lab.director.set("expire_nodest_conn", "1").unwrap(), 0),
        ("failed", |lab| judge(lab, Mask::Failed, Ending::Reschedule), 0),
        ("drained", |lab| judge(lab, Mask::Drained, Ending::None), 0),
        ("standby", |lab| lab.director.presence().stand_by(true, lab.turn.now), 0),
        ("mtu", |lab| lab.director.router.set_mtu(LINK, 1400), 0),
        ("routes", |lab| lab.director.router.set_routes(lab.director.router.routes.clone()), 0),
        ("backup", |lab| lab.rules("--start-daemon backup --mcast-interface tap0"), 0),
        ("address away", |lab| lab.director.router.virtuals.put(endpoint(VIP).addr, AWAY), 0),
    ];
    for (what, act, left) in acts {
        let mut lab = lab(NAT);
        let data = taken(&mut lab, 4000);
        (0..5).for_each(|_| _ = lab.client(&data));
        act(&mut lab);
        lab.director.fast().heed();
        assert_eq!(entries(&lab), *left, "{what}");
        let conn = lab.conn_of(&data).unwrap();
        assert_eq!(lab.director.flows.conns.get(conn).is_fast(), *left == 1, "{what}");
        if *left == 0 {
            assert_eq!(lab.director.flows.conns.get(conn).in_pkts, 2 + 16 + 5, "{what}: counted when it left");
            let read = read_here(&mut lab);
            lab.client(&data);
            assert_eq!(read_here(&mut lab), read + 1, "{what}");
        }
    }
}

fn judge(lab: &mut Lab, mask: Mask, ending: Ending) {
    let key = ServiceKey::Address(Proto::TCP, endpoint(VIP));
    lab.director.flows.judge(key, endpoint(RS2), Judgement { mask, ending, ..Judgement::default() });
}

#[test]
fn who_works_again_takes_conns_again() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    lab.director.presence().stand_by(true, lab.turn.now);
    lab.director.fast().heed();
    (0..40).for_each(|_| assert!(lab.client(&data).is_empty(), "mute"));
    assert_eq!(entries(&lab), 0);
    lab.director.presence().stand_by(false, lab.turn.now);
    lab.director.fast().heed();
    talk(&mut lab, &data);
    assert_eq!(entries(&lab), 1);
}

#[test]
fn another_conn_to_the_same_server_takes_the_replies_of_an_older_one() {
    let second = "198.51.100.2:80";
    let mut lab = lab(&format!("-A -t {VIP}\n-a -t {VIP} -r {RS2} -m\n-A -t {second}\n-a -t {second} -r {RS2} -m"));
    let data = {
        lab.client(&Packet::tcp(CLIENT, VIP, "S"));
        lab.real(&Packet::tcp(RS2, CLIENT, "SA"));
        let data = Packet::tcp(CLIENT, VIP, "A");
        talk(&mut lab, &data);
        data
    };
    assert_eq!(entries(&lab), 1);
    lab.client(&Packet::tcp(CLIENT, second, "S"));
    assert_eq!(entries(&lab), 0, "its replies are another conn's now");
    talk(&mut lab, &data);
    assert_eq!(entries(&lab), 0);
    let reply = Packet::tcp(RS2, CLIENT, "SA");
    expect(&lab.real(&reply), &[(ROUTER, reply.clone().from(second).one_hop_on())]);
}

#[test]
fn a_full_map_leaves_conns_to_the_director_and_says_so() {
    let mut lab = lab(NAT);
    lab.director.flows.settings.fast_flows = 1;
    taken(&mut lab, 4000);
    let data = Packet::tcp("192.0.2.7:4001", VIP, "A");
    establish(&mut lab, 4001);
    let read = read_here(&mut lab);
    talk(&mut lab, &data);
    assert_eq!((entries(&lab), read_here(&mut lab)), (1, read + 16));
    assert_eq!(lab.director.fast.report.refused, [("full", 1)]);
}

#[test]
fn conns_that_helpers_read_or_that_change_family_are_the_directors() {
    let ftp = "198.51.100.1:21";
    let mut lab = lab(&format!("-A -t {ftp}\n-a -t {ftp} -r 10.0.0.22:21 -m"));
    lab.client(&Packet::tcp(CLIENT, ftp, "S"));
    lab.real(&Packet::tcp("10.0.0.22:21", CLIENT, "SA"));
    talk(&mut lab, &Packet::tcp(CLIENT, ftp, "A"));
    assert_eq!((entries(&lab), lab.director.fast.report.refused.clone()), (0, vec![("helper", 1)]));

    let rules = format!("-A -t {VIP}\n-a -t {VIP} -r {RS6} -b\n--add-laddr -t {VIP} -z 2001:db8::30");
    let mut lab = with(Settings::default(), &rules);
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    lab.real(&Packet::tcp(RS6, &sent[0].packet().src.to_string(), "SA"));
    talk(&mut lab, &Packet::tcp(CLIENT, VIP, "A"));
    assert_eq!((entries(&lab), lab.director.fast.report.refused.clone()), (0, vec![("families", 1)]));
}

#[test]
fn a_conn_whose_server_is_still_to_be_told_of_its_client_is_the_directors() {
    for told in ["proxy-v2", "toa"] {
        let rules = format!("-A -t {VIP}\n-a -t {VIP} -r {RS1} -b --client-address {told}\n-P -t {VIP} -z 10.0.0.30");
        let mut lab = with(Settings::default(), &rules);
        let syn = Packet::tcp(CLIENT, VIP, "S");
        let sent = lab.client(&syn)[0].packet();
        let answer = |ack: u32| Packet { ack, dst: sent.src, ..Packet::tcp(RS1, "0.0.0.0:0", "A") };
        lab.real(&Packet { ack: sent.seq.wrapping_add(1), dst: sent.src, ..Packet::tcp(RS1, "0.0.0.0:0", "SA") });
        let segment = Packet { seq: syn.seq + 1, ..Packet::tcp(CLIENT, VIP, "A") };
        talk(&mut lab, &segment.clone().carrying("GET /"));
        assert_eq!((entries(&lab), lab.director.fast.report.refused.clone()), (0, vec![("helper", 1)]), "{told}");
        // The header, and the first byte.
        lab.real(&answer(sent.seq.wrapping_add(1 + 28 + 1)));
        talk(&mut lab, &segment);
        assert_eq!(entries(&lab), 2, "{told}: one for each end");
    }
}

#[test]
fn conns_that_the_director_has_begun_are_the_kernels_unless_more_is_done_to_them() {
    for port in [80, 21] {
        let vip = format!("198.51.100.1:{port}");
        let mut lab = with(Settings::default(), &format!("-A -t {vip}\n-a -t {vip} -r {RS1} -m"));
        lab.client(&Packet::tcp(CLIENT, &vip, "S"));
        lab.real(&Packet::tcp(RS1, CLIENT, "SA"));
        let data = Packet { ack: 5, ..Packet::tcp(CLIENT, &vip, "A") };
        let id = lab.conn_of(&data).unwrap();
        let (back, client_clock, server_clock) = (3, 0, 7);
        let join = Join { back, client_clock, server_clock, client_window: 0, server_window: 1 };
        lab.director.flows.take_join(id, Some(join));
        talk(&mut lab, &data);
        assert_eq!(entries(&lab), usize::from(port == 80), "FTP is read on");
        let sent = lab.client(&data)[0].packet();
        assert_eq!((sent.seq, sent.ack), (data.seq, 2));
    }
}

#[test]
fn one_packet_scheduling_never_reaches_the_kernel() {
    let mut lab = lab("-A -u 198.51.100.1:80 -o\n-a -u 198.51.100.1:80 -r 10.0.0.22:8080 -m");
    talk(&mut lab, &Packet::udp(CLIENT, VIP));
    assert_eq!((entries(&lab), lab.director.flows.conns.len()), (0, 0));
}

#[test]
fn persistent_clients_conns_are_taken_and_their_template_lives_on() {
    let mut lab = lab(&NAT.replace("-s rr", "-s rr -p 300"));
    let data = taken(&mut lab, 4000);
    lab.advance(secs(290));
    lab.client(&data);
    lab.advance(secs(301));
    assert_eq!(lab.director.flows.conns.len(), 2, "a template lives as long as its conns");
}

/// An ARP announcement of the server.
pub(super) fn arp_from(server: [u8; 4], mac: Mac) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(DIRECTOR.0);
    frame.extend(mac.0);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac.0);
    frame.extend(server);
    frame.extend(DIRECTOR.0);
    frame.extend([10, 0, 0, 2]);
    frame.resize(60, 0);
    frame
}

#[test]
fn a_neighbour_that_moves_is_followed_and_one_that_is_silent_is_asked_and_given_up() {
    let (first, second) = (Mac([2, 0, 0, 0, 1, 1]), Mac([2, 0, 0, 0, 1, 2]));
    let settings = Settings { icmp_rate: 0, ..Settings::default() };
    let mut lab = Lab::without_neighbours(settings, &format!("-A -t {VIP}\n-a -t {VIP} -r {RS2} -g"));
    lab.use_kernel(ROOM);
    lab.client(&Packet::tcp(CLIENT, VIP, "S"));
    lab.frame(&arp_from([10, 0, 0, 22], first));
    let data = Packet::tcp(CLIENT, VIP, "A");
    talk(&mut lab, &data);
    assert_eq!((entries(&lab), lab.client(&data)[0].to()), (1, first));
    lab.frame(&arp_from([10, 0, 0, 22], second));
    assert_eq!((entries(&lab), lab.client(&data)[0].to()), (1, second), "one write");
    // While packets pass, it is asked before it is forgotten; it is silent now.
    let mut asked = 0;
    let read = read_here(&mut lab);
    for _ in 0..60 {
        lab.client(&data);
        asked += lab.advance(secs(1)).iter().filter(|frame| frame.bytes[12..14] == [8, 6]).count();
    }
    assert!(asked >= 3, "asked {asked} times");
    assert!(read_here(&mut lab) > read, "its packets are the director's again");
    let frames = lab.frame(&arp_from([10, 0, 0, 22], first));
    assert!(!frames.is_empty(), "what waited leaves");
    assert_eq!(lab.client(&data)[0].to(), first);
}

#[test]
fn an_entry_is_made_when_all_that_was_read_is_written() {
    let mut lab = lab(NAT);
    establish(&mut lab, 4000);
    let data = Packet::tcp(CLIENT, VIP, "A").frame(ROUTER, DIRECTOR);
    let mut batch = crate::director::Batch::default();
    for _ in 0..2 {
        for _ in 0..8 {
            batch.room().unwrap().set(&data);
            batch.add();
        }
        batch.handle(&mut lab.director, LINK, &mut lab.turn);
    }
    assert!(entries(&lab) == 0 && lab.director.fast.is_asked());
    lab.frame_with(&data, Vnet::default());
    assert_eq!(entries(&lab), 1);
}

#[test]
fn the_deadline_after_it_has_left_is_that_of_its_last_packet() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    lab.advance(Duration::from_millis(400));
    lab.client(&data);
    let at = lab.turn.now;
    lab.advance(Duration::from_millis(300));
    lab.director.fast().leave_all();
    let conns = &lab.director.flows.conns;
    let left = conns.deadline(conns.get(lab.conn_of(&data).unwrap())).since(at);
    assert!(left >= secs(900) && left < secs(900) + Duration::from_millis(129), "{left:?}");
}
