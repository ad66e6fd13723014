//! Mark services without a usable server, whose packets go to their own destinations (`cache_bypass`).

use std::time::Duration;

use super::{CLIENT, RS1, VIP};
use crate::settings::Settings;
use crate::testing::{Frame, Lab, Packet, ROUTER, endpoint, expect, mac_of};

/// A net behind the router, whose packets are a service's.
const RULE: &str = "7=any/0.0.0.0/0:80";
const SERVICE: &str = "-A -f 7 -s rr\n-a -f 7 -r 10.0.0.21 -g -w 0\n";
const ORIGIN: &str = "203.0.113.5:80";

fn lab(cache_bypass: bool, rules: &str) -> Lab {
    let settings = Settings { cache_bypass, icmp_rate: 0, ..Settings::default() };
    let mut lab = Lab::with(settings, rules);
    for rule in [RULE, "8=any/2001:db8:51::/64", "9=udp/0.0.0.0/0:53"] {
        lab.director.flows.services.add_mark(rule.parse().unwrap());
    }
    lab
}

fn packet(flags: &'static str) -> Packet {
    Packet::tcp(CLIENT, ORIGIN, flags)
}

/// One frame, an ICMP error to the router.
fn is_refused(sent: &[Frame]) -> bool {
    matches!(sent, [frame] if frame.to() == ROUTER && frame.bytes[23] == 1)
}

#[test]
fn packets_go_where_they_are_addressed_while_there_is_no_server() {
    let mut lab = lab(true, SERVICE);
    expect(&lab.client(&packet("S")), &[(ROUTER, packet("S").one_hop_on())]);
    let reply = Packet::tcp(ORIGIN, CLIENT, "SA");
    expect(&lab.client(&reply), &[(ROUTER, reply.clone().one_hop_on())]);
    expect(&lab.client(&packet("A")), &[(ROUTER, packet("A").one_hop_on())]);
    assert_eq!(lab.state_of(&packet("A")), "ESTABLISHED");
    let flows = &lab.director.flows;
    let conn = flows.conns.get(lab.conn_of(&packet("A")).unwrap());
    assert_eq!((flows.conns.real(conn), conn.kernel_flags() & 0x87), (endpoint("0.0.0.0:0"), 4));
    assert_eq!((flows.services.total.conns, flows.services.total.in_pkts), (0, 0), "as in the kernel: nobody's");
    assert_eq!(flows.services.iter().next().unwrap().stats.in_pkts, 0);

    // A server is back: the conn goes on, new ones are the server's.
    lab.rules("-e -f 7 -r 10.0.0.21 -g -w 1\n");
    expect(&lab.client(&packet("A")), &[(ROUTER, packet("A").one_hop_on())]);
    let next = packet("S").from("192.0.2.7:4001");
    expect(&lab.client(&next), &[(mac_of(endpoint(RS1).addr), next.clone().one_hop_on())]);
    lab.advance(Duration::from_secs(1000));
    assert_eq!(lab.director.flows.conns.len(), 0);
    lab.rules("-C\n");
    lab.advance(Duration::from_secs(1000));
    assert_eq!(lab.director.flows.services.trash_due(), None, "nothing is left of it");
}

#[test]
fn the_setting_the_service_and_the_destination_decide() {
    assert!(is_refused(&lab(false, SERVICE).client(&packet("S"))), "off");
    let own = packet("S").to("10.0.0.2:80");
    assert!(is_refused(&lab(true, SERVICE).client(&own)), "an address of the director");
    let broadcast = packet("S").to("10.0.0.255:80");
    let mut with_broadcast = lab(true, SERVICE);
    with_broadcast.client(&broadcast);
    assert_eq!(with_broadcast.director.flows.conns.len(), 0, "a broadcast");
    let by_address = "-A -t 198.51.100.1:80 -s rr\n";
    assert!(is_refused(&lab(true, by_address).client(&packet("S").to(VIP))), "a service by address");
    assert!(is_refused(&lab(true, SERVICE).client(&Packet { ttl: 1, ..packet("S") })), "no hop is left");
}

#[test]
fn persistent_services_ipv6_and_single_packets_pass_by_too() {
    let mut persistent = lab(true, "-A -f 7 -s rr -p 300\n");
    expect(&persistent.client(&packet("S")), &[(ROUTER, packet("S").one_hop_on())]);
    assert_eq!(persistent.director.flows.conns.len(), 1, "no template");

    let six = Packet::udp("[2001:db8:c::7]:4000", "[2001:db8:51::7]:9");
    let mut of_six = lab(true, "-A -f 8 -6 -s rr\n");
    expect(&of_six.client(&six), &[(ROUTER, six.clone().one_hop_on())]);
    let conn = *of_six.director.flows.conns.get(of_six.conn_of(&six).unwrap());
    assert_eq!(of_six.director.flows.conns.real(&conn), endpoint("[::]:0"));

    let question = Packet::udp(CLIENT, "203.0.113.5:53");
    let mut single = lab(true, "-A -f 9 -s rr -o\n");
    expect(&single.client(&question), &[(ROUTER, question.clone().one_hop_on())]);
    assert_eq!(single.director.flows.conns.len(), 0);
}

#[test]
fn another_director_lets_them_pass_by_as_well() {
    let daemon = |role: &str| format!("{SERVICE}--start-daemon {role} --mcast-interface tap0 --syncid 7\n");
    let (mut master, mut backup) = (lab(true, &daemon("master")), lab(true, &daemon("backup")));
    for flags in ["S", "A", "A"] {
        master.client(&packet(flags));
    }
    let messages = master.advance(Duration::from_secs(3));
    assert_eq!(messages.len(), 1);
    assert_eq!(backup.frame(&messages[0].bytes), []);
    assert_eq!(backup.state_of(&packet("A")), "ESTABLISHED");
    expect(&backup.client(&packet("A")), &[(ROUTER, packet("A").one_hop_on())]);
}
