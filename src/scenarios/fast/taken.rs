//! Which conns the kernel is given, and which stay the director's.

use super::super::steps::{NAT, establish};
use super::super::{CLIENT, CLIENT6, RS1, RS2, RS6, VIP, VIP6};
use super::{entries, lab, read_here, taken, talk, with};
use crate::director::Settings;
use crate::flows::Join;
use crate::testing::{LINK, Packet, ROUTER, endpoint, expect, mac_of};

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
