//! Templates: what they bind, how long they live, what they ignore.

use super::steps::{NAT, establish, secs, served_by, syn_from};
use super::{CLIENT, RS2, VIP};
use crate::base::ConnId;
use crate::conn::Conn;
use crate::director::Settings;
use crate::testing::{Lab, Packet};

fn persistent() -> String {
    NAT.replace("-s rr", "-s rr -p 100")
}

fn find(lab: &Lab, wanted: impl Fn(&Conn) -> bool) -> Vec<ConnId> {
    let (mut found, mut cursor) = (Vec::new(), Some(0));
    while let Some(from) = cursor {
        let (id, next) = lab.director.flows.conns.scan(from, usize::MAX / 2, &wanted);
        found.extend(id);
        cursor = next;
    }
    found
}

#[test]
fn a_template_ignores_the_limit() {
    let mut lab = Lab::new(&persistent().replace("-m", "-m -x 1"));
    assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
    assert_eq!(served_by(&mut lab, &syn_from(4001)), 22, "though its one conn is taken");
    assert_eq!(lab.counts(RS2), (2, 0));
    let other = Packet::tcp("192.0.2.8:4000", VIP, "S");
    assert_eq!(served_by(&mut lab, &other), 21, "another client is not sent there");
}

#[test]
fn a_template_ignores_weight_0_unless_told_otherwise() {
    for (expire, wanted) in [(false, 22), (true, 21)] {
        let settings = Settings { expire_quiescent_template: expire, ..Settings::default() };
        let mut lab = Lab::with(settings, &NAT.replace("-s rr", "-s rr -p 300"));
        assert_eq!(served_by(&mut lab, &syn_from(4000)), 22);
        lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
        assert_eq!(served_by(&mut lab, &syn_from(4001)), wanted, "expire_quiescent_template {expire}");
    }
}

#[test]
fn a_template_that_outlived_its_time_has_a_minute_from_then_on() {
    let mut lab = Lab::new(&persistent().replace("-t", "-u"));
    let datagram = |port: u16| Packet::udp(&format!("192.0.2.7:{port}"), VIP);
    let left = |lab: &Lab| {
        let templates = find(lab, Conn::is_template);
        let conn = lab.director.flows.conns.get(templates[0]);
        lab.director.flows.conns.deadline(conn).since(lab.turn.now).as_secs_f64().round()
    };
    lab.client(&datagram(4000));
    assert_eq!(left(&lab), 100.0);
    lab.advance(secs(50));
    lab.client(&datagram(4000));
    assert_eq!(left(&lab), 50.0, "traffic of its conns does not restart it");
    lab.advance(secs(70));
    lab.client(&datagram(4001));
    assert_eq!(left(&lab), 60.0, "a new conn restarts it, with a minute now");
}

#[test]
fn a_templates_time_is_restarted_by_new_conns_only() {
    let datagram = |port: u16| Packet::udp(&format!("192.0.2.7:{port}"), VIP);
    let mut lab = Lab::new(&NAT.replace("-t", "-u").replace("-s rr", "-s rr -p 100"));
    assert_eq!(served_by(&mut lab, &datagram(4000)), 22);
    // The conn itself lives for 300 s and keeps the template: a minute at a time from its own end on.
    lab.advance(secs(150));
    assert_eq!(served_by(&mut lab, &datagram(4001)), 22);
    // With the conns gone, so is the template.
    lab.advance(secs(500));
    assert_eq!(lab.director.flows.conns.len(), 0);
    assert_eq!(served_by(&mut lab, &datagram(4002)), 21);
}

#[test]
fn a_conn_of_a_template_is_not_replaced_by_a_syn() {
    let settings = Settings { expire_quiescent_template: true, ..Settings::default() };
    for (rules, wanted) in [(persistent(), 22), (NAT.to_owned(), 21)] {
        let mut lab = Lab::with(settings.clone(), &rules);
        assert_eq!(establish(&mut lab, 4000), 22);
        lab.real(&Packet::tcp(RS2, CLIENT, "R"));
        // Were it scheduled anew, it could not go there again.
        lab.rules("-e -t 198.51.100.1:80 -r 10.0.0.22:8080 -m -w 0");
        assert_eq!(served_by(&mut lab, &syn_from(4000)), wanted, "{rules}");
    }
}
