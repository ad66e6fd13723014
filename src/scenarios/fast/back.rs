//! All that takes conns back from the kernel.

use super::super::steps::{NAT, secs};
use super::super::{CLIENT, RS2, VIP};
use super::{ROOM, arp_from, entries, lab, read_here, taken, talk};
use crate::base::{Mac, Proto};
use crate::director::Settings;
use crate::router::Virtual;
use crate::sched::Mask;
use crate::service::command::ServiceKey;
use crate::service::{Ending, Judgement};
use crate::testing::{LINK, Lab, Packet, ROUTER, endpoint, expect};

const AWAY: Virtual = Virtual { link: LINK, mac: None, accept: true, here: false };

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

/// All that an operator, a check or a neighbour can do to conns that the kernel has, and how many of two it has
/// afterwards: what is done returns, and no packet goes the old way.
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
