//! Entries that go in parts: those of a worker that has ended, and those of many conns at once. And flows whose client is silent.

use std::time::Duration;

use super::fast::{entries, lab, read_here, taken, talk, with};
use super::steps::{NAT, establish};
use super::{CLIENT, RS2, VIP};
use crate::director::Settings;
use crate::testing::{Lab, Packet};

/// More than leave at a time.
const MANY: std::ops::Range<u16> = 4000..5500;

/// Another worker takes the place of the one at work, and finds its conns in the state.
fn begin_anew(lab: &mut Lab) {
    let kernel = lab.kernel.clone().unwrap();
    let conns = &mut lab.director.flows.conns;
    let ids: Vec<_> = conns.iter().map(|(id, _)| id).collect();
    ids.into_iter().for_each(|id| conns.clear_fast(id));
    lab.director.fast = Default::default();
    lab.director.fast().start(Box::new(kernel), 0);
}

fn data(port: u16) -> Packet {
    Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "AP").carrying("data")
}

/// Lets the entries go that are to; how many turns of the loop it took.
fn until_gone(lab: &mut Lab) -> usize {
    let mut turns = 0;
    while entries(lab) > 0 {
        lab.advance(Duration::from_millis(1));
        turns += 1;
    }
    turns
}

#[test]
fn another_process_goes_on_with_what_the_kernel_has_counted() {
    let mut lab = lab(NAT);
    let data = taken(&mut lab, 4000);
    let conn = lab.conn_of(&data).unwrap();
    lab.director.fast().read_all();
    (0..30).for_each(|_| _ = lab.client(&data));
    begin_anew(&mut lab);
    assert_eq!(entries(&lab), 0);
    assert_eq!(lab.director.flows.conns.get(conn).in_pkts, 2 + 16 + 30);
    talk(&mut lab, &data);
    assert_eq!(entries(&lab), 1);
}

/// What the endpoint of a client is to the server.
fn seen_as(lab: &Lab, port: u16) -> String {
    let conns = &lab.director.flows.conns;
    let id = lab.conn_of(&data(port)).unwrap();
    conns.local(conns.get(id)).map_or_else(|| format!("192.0.2.7:{port}"), |local| local.to_string())
}

#[test]
fn what_a_worker_has_left_goes_in_parts_and_is_counted_to_the_packet() {
    let full = format!("-A -t {VIP}\n-a -t {VIP} -r {RS2} -b\n-P -t {VIP} -z 10.0.0.30");
    for rules in [NAT.lines().filter(|line| !line.contains(".21:")).collect::<Vec<_>>().join("\n"), full] {
        let mut lab = with(Settings::default(), &rules);
        lab.use_kernel(8192);
        for port in MANY {
            lab.client(&Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "S"));
            let local = seen_as(&lab, port);
            lab.real(&Packet::tcp(RS2, &local, "SA"));
            (0..8).for_each(|_| _ = lab.client(&data(port)));
            // Those that the kernel forwards.
            (0..5).for_each(|_| _ = lab.client(&data(port)));
            (0..3).for_each(|_| _ = lab.real(&Packet::tcp(RS2, &local, "AP").carrying("answer")));
        }
        assert!(entries(&lab) >= MANY.len());
        begin_anew(&mut lab);
        assert!(entries(&lab) > 0, "that would take long");
        let read = read_here(&mut lab);
        MANY.for_each(|port| assert_eq!(lab.client(&data(port)).len(), 1));
        assert_eq!(read_here(&mut lab), read + MANY.len() as u64, "the director forwards meanwhile");
        assert_eq!(lab.director.fast.report.added, 0, "and makes no entries");
        let turns = until_gone(&mut lab);
        assert!(turns < 5, "{turns} turns");
        let conns = &lab.director.flows.conns;
        assert!(conns.iter().all(|(_, conn)| conn.in_pkts == 1 + 8 + 5 + 1), "{rules}");
        let stats = lab.director.flows.services.total;
        let count = MANY.len() as u64;
        assert_eq!((stats.in_pkts, stats.out_pkts), (count * 15, count * 4));
        assert_eq!((stats.in_bytes, stats.out_bytes), (count * (40 + 14 * 44), count * (40 + 3 * 46)));
        talk(&mut lab, &data(4000));
        assert!(entries(&lab) > 0, "the kernel takes conns again");
    }
}

#[test]
fn many_conns_leave_in_parts_and_until_then_the_kernel_forwards_nothing() {
    let mut lab = lab(NAT);
    lab.use_kernel(4096);
    for port in MANY {
        establish(&mut lab, port);
        (0..7).for_each(|_| _ = lab.client(&data(port)));
    }
    assert_eq!(entries(&lab), 1500);
    lab.director.fast().leave_all();
    assert_eq!(entries(&lab), 1500, "that would take long");
    let read = read_here(&mut lab);
    assert_eq!(lab.client(&data(4000)).len(), 1);
    assert_eq!(read_here(&mut lab), read + 1, "the director forwards");
    let turns = until_gone(&mut lab);
    assert!(turns < 3, "{turns} turns");
    talk(&mut lab, &data(4000));
    assert_eq!(entries(&lab), 1);
    let read = read_here(&mut lab);
    lab.client(&data(4000));
    assert_eq!(read_here(&mut lab), read, "the kernel forwards again");
    lab.director.fast().read_all();
    let conns = &lab.director.flows.conns;
    let counted = |port| u64::from(conns.get(lab.conn_of(&data(port)).unwrap()).in_pkts);
    assert_eq!(MANY.map(counted).sum::<u64>(), 1500 * 9 + 1 + 16 + 1);
}

#[test]
fn a_flow_whose_client_is_silent_is_taken_and_a_question_with_its_answer_is_not() {
    let mut lab = lab("-A -u 198.51.100.1:80\n-a -u 198.51.100.1:80 -r 10.0.0.22:8080 -m");
    lab.use_kernel(8192);
    for port in 5000..6000 {
        let client = format!("192.0.2.7:{port}");
        lab.client(&Packet::udp(&client, VIP).carrying("question"));
        lab.real(&Packet::udp(RS2, &client).carrying("answer"));
    }
    assert_eq!(entries(&lab), 0);
    lab.client(&Packet::udp(CLIENT, VIP).carrying("subscribe"));
    let news = Packet::udp(RS2, CLIENT).carrying("news");
    (0..64).for_each(|_| _ = lab.real(&news));
    assert_eq!(entries(&lab), 1);
    let read = read_here(&mut lab);
    (0..64).for_each(|_| assert_eq!(lab.real(&news).len(), 1));
    assert_eq!(read_here(&mut lab), read);
    lab.advance(Duration::from_secs(2));
    // Nobody can tell how much of it was known: what was counted is not counted again.
    let counted = lab.director.flows.services.total.out_pkts;
    begin_anew(&mut lab);
    assert_eq!(lab.director.flows.services.total.out_pkts, counted);
}
