//! Limits of new conns and of conns at once (`--limit`), for a service and for each of its clients.

use std::time::Duration;

use super::VIP;
use crate::base::DropReason;
use crate::director::Settings;
use crate::ipvsadm;
use crate::testing::{Lab, Packet};

fn lab(limit: &str) -> Lab {
    Lab::new(&rules(limit))
}

fn rules(limit: &str) -> String {
    format!("-A -t {VIP} -s rr --limit {limit}\n-a -t {VIP} -r 10.0.0.21:8080 -m\n")
}

/// How many of these clients' SYNs get through.
fn opened(lab: &mut Lab, clients: impl Iterator<Item = String>) -> usize {
    clients.filter(|client| !lab.client(&Packet::tcp(client, VIP, "S")).is_empty()).count()
}

fn ports(addr: &str, ports: std::ops::Range<u16>) -> impl Iterator<Item = String> + use<'_> {
    ports.map(move |port| format!("{addr}:{port}"))
}

/// The server ends a conn at once.
fn refuse(lab: &mut Lab, client: &str) {
    lab.real(&Packet::tcp("10.0.0.21:8080", client, "RA"));
}

fn dropped(lab: &Lab) -> (u64, u64) {
    let ledger = lab.turn.ledger();
    (ledger.dropped(DropReason::ServiceLimit), ledger.dropped(DropReason::ClientLimit))
}

#[test]
fn a_service_takes_so_many_new_conns_a_second() {
    let mut lab = lab("new=10");
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 1000..1030)), 10);
    assert_eq!(dropped(&lab), (20, 0));
    lab.advance(Duration::from_millis(300));
    assert_eq!(opened(&mut lab, ports("192.0.2.8", 1000..1030)), 3);
    // However long nobody came: not more than the burst.
    lab.advance(Duration::from_secs(60));
    assert_eq!(opened(&mut lab, ports("192.0.2.9", 1000..1030)), 10);
    // A client sends its SYN again: it is the same conn.
    assert_eq!(opened(&mut lab, ports("192.0.2.9", 1000..1010)), 10);
    lab.recount().unwrap();
}

#[test]
fn rates_hold_in_the_long_run() {
    for (limit, at_least, at_most) in
        [("new=1,burst=5", 14, 15), ("new=300", 3290, 3300), ("new=3000,burst=1", 1, 10_100)]
    {
        let mut lab = Lab::with(Settings { max_flows: 1 << 16, ..Settings::default() }, &rules(limit));
        let mut sum = 0;
        for step in 0..1000_u32 {
            let addr = format!("192.0.{}.{}", step / 250, step % 250);
            sum += opened(&mut lab, ports(&addr, 1000..1004));
            lab.advance(Duration::from_millis(10));
        }
        assert!((at_least..=at_most).contains(&sum), "{limit}: {sum}");
    }
}

#[test]
fn each_client_has_a_bucket_of_its_own() {
    let mut lab = lab("new=1000,client-new=2,client-burst=4");
    for client in ["192.0.2.7", "192.0.2.8"] {
        assert_eq!(opened(&mut lab, ports(client, 1000..1020)), 4, "{client}");
    }
    assert_eq!(dropped(&lab), (0, 32));
    lab.advance(Duration::from_secs(1));
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 2000..2020)), 2);
    // What one client is refused takes nothing from others.
    let mut lab = self::lab("new=8,client-new=1");
    let greedy = opened(&mut lab, ports("192.0.2.7", 1000..1100));
    let others = opened(&mut lab, (1..=20).map(|last| format!("192.0.2.{}:1000", 100 + last)));
    assert_eq!((greedy, others), (1, 7));
}

#[test]
fn conns_at_once_count_until_they_end() {
    let mut lab = lab("conns=3");
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 1000..1010)), 3);
    refuse(&mut lab, "192.0.2.7:1000");
    lab.advance(Duration::from_secs(11));
    assert_eq!(opened(&mut lab, ports("192.0.2.8", 1000..1010)), 1);

    let mut lab = self::lab("client-conns=2");
    for client in ["192.0.2.7", "192.0.2.8"] {
        assert_eq!(opened(&mut lab, ports(client, 1000..1010)), 2);
    }
    refuse(&mut lab, "192.0.2.7:1001");
    lab.advance(Duration::from_secs(11));
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 2000..2010)), 1);
    assert_eq!(opened(&mut lab, ports("192.0.2.8", 2000..2010)), 0);
    // The limit goes, and comes back: conns made meanwhile do not count, nor do they when they end.
    lab.rules(&format!("-E -t {VIP} -s rr"));
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 3000..3010)), 10);
    lab.rules(&format!("-E -t {VIP} -s rr --limit client-conns=3"));
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 4000..4010)), 1);
    for port in 3000..3010 {
        refuse(&mut lab, &format!("192.0.2.7:{port}"));
    }
    lab.advance(Duration::from_secs(11));
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 5000..5010)), 0);
    lab.recount().unwrap();
}

#[test]
fn a_net_can_be_one_client() {
    let settings = Settings { client_net: 24, ..Settings::default() };
    let mut lab = Lab::with(settings, &rules("client-conns=2"));
    assert_eq!(opened(&mut lab, (1..=9).map(|last| format!("192.0.2.{last}:1000"))), 2);
    assert_eq!(opened(&mut lab, (1..=9).map(|last| format!("192.0.3.{last}:1000"))), 2);
    let v6 = "[2001:db8:51::1]:80";
    lab.rules(&format!("-A -t {v6} -s rr --limit client-conns=2\n-a -t {v6} -r [2001:db8::21]:80 -m"));
    let seen = |lab: &mut Lab, net: &str| {
        let client = |last: u32| Packet::tcp(&format!("[2001:db8:{net}::{last}]:1000"), v6, "S");
        (1..=9).filter(|last| !lab.client(&client(*last)).is_empty()).count()
    };
    assert_eq!((seen(&mut lab, "c"), seen(&mut lab, "d")), (2, 2));
}

#[test]
fn strangers_without_number_take_no_room_from_those_who_are_known() {
    let mut lab = Lab::with(Settings { max_flows: 64, ..Settings::default() }, &rules("client-new=1,client-burst=1"));
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 1000..1002)), 1);
    let strangers =
        (0..70_000_u32).map(|number| format!("10.{}.{}.{}:9", 1 + (number >> 16), number >> 8 & 255, number & 255));
    opened(&mut lab, strangers);
    assert_eq!(opened(&mut lab, ports("192.0.2.7", 2000..2002)), 0, "still known");
    assert!(lab.director.flows.conns.len() <= 64);
}

#[test]
fn limits_are_saved_as_they_were_given() {
    let lab = lab("new=10,burst=20,client-conns=3");
    let key = crate::service::command::ServiceKey::Address(crate::base::Proto::TCP, crate::testing::endpoint(VIP));
    let services = &lab.director.flows.services;
    let service = services.get(services.slot_of(&key).unwrap()).unwrap();
    let line = ipvsadm::service_line(service.key, &service.options, &ipvsadm::Names::default());
    assert!(line.ends_with(" -s rr --limit new=10,burst=20,client-conns=3"), "{line}");
    assert!(ipvsadm::parse_rules("-A -t 1.2.3.4:80 --limit speed=3").is_err());
}
