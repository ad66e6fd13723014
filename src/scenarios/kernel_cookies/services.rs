//! As long as the director would answer for a service, and no client has a conn, the kernel does.

use std::time::Duration;

use super::super::syn_proxy::rules;
use super::super::{CLIENT, CLIENT6, LIP, RS1, RS2, RS6, VIP, VIP6};
use super::{Answering, syn};
use crate::base::Prefix;
use crate::sched::Mask;
use crate::service::Judgement;
use crate::service::command::ServiceKey;
use crate::testing::{DIRECTOR, Kind, LINK, Packet, ROUTER, endpoint, with_options};

/// The whole handshake, of which the kernel makes the first half.
#[test]
fn a_client_that_the_kernel_has_answered_gets_its_server() {
    for (client, virt, real, method) in [(CLIENT, VIP, RS1, "-m"), (CLIENT6, VIP6, RS6, "-b")] {
        let Some(mut here) = Answering::new(&rules(virt, real, method, "on")) else { return };
        let asked = with_options(syn(client, virt).frame(ROUTER, DIRECTOR), &[2, 4, 5, 100]);
        let cookie = Packet::read(&here.kernel(&asked).unwrap()[14..]);
        assert_eq!((cookie.src, cookie.dst, cookie.ack), (endpoint(virt), endpoint(client), 5001));
        here.set_clock();
        let ack = Packet { seq: 5001, ack: cookie.seq.wrapping_add(1), ..Packet::tcp(client, virt, "A") };
        let sent = here.lab.client(&ack);
        assert_eq!(sent[0].packet().kind, Kind::Tcp("S"), "{virt}");
        // Now the client has a conn, and its SYN is for the director, also when a server has answered.
        assert!(!here.answers(&syn(client, virt)));
        assert!(here.answers(&syn(if virt == VIP { "192.0.2.8:4000" } else { "[2001:db8:c::8]:4000" }, virt)));
        let reset = Packet {
            ack: sent[0].packet().seq.wrapping_add(1),
            dst: sent[0].packet().src,
            ..Packet::tcp(real, virt, "RA")
        };
        here.lab.real(&reset);
        here.lab.advance(Duration::from_secs(200));
        assert_eq!(here.lab.director.flows.conns.len(), 0);
        assert!(here.answers(&syn(client, virt)), "{virt}: its conn is over");
        here.count();
        assert!(here.lab.turn.ledger().balances(), "{}", here.lab.turn.ledger());
    }
}

#[test]
fn a_service_is_the_kernels_as_long_as_the_director_would_answer() {
    let Some(mut here) = Answering::new(&rules(VIP, RS1, "-m", "on")) else { return };
    let (key, asked) = (ServiceKey::Address(crate::base::Proto::TCP, endpoint(VIP)), syn(CLIENT, VIP));
    let commands = [
        ("-e -t 198.51.100.1:80 -r 10.0.0.21:8080 -m -w 0", false),
        ("-e -t 198.51.100.1:80 -r 10.0.0.21:8080 -m -w 2", true),
        ("-d -t 198.51.100.1:80 -r 10.0.0.21:8080", false),
        ("-a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m", true),
        ("-E -t 198.51.100.1:80 -s rr --syn-proxy off", false),
        ("-E -t 198.51.100.1:80 -s rr --syn-proxy on", true),
        ("-D -t 198.51.100.1:80", false),
        ("-A -t 198.51.100.1:80 -s rr --syn-proxy on", false),
        ("-a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m", true),
        ("-C", false),
        ("-A -t 198.51.100.1:80 -s rr --syn-proxy on\n-a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m", true),
    ];
    for (command, wanted) in commands {
        here.lab.rules(&format!("{command}\n"));
        here.lab.director.fast().heed();
        assert_eq!(here.answers(&asked), wanted, "{command}");
    }
    let failed = Judgement { mask: Mask::Failed, ..Judgement::default() };
    for (judgement, wanted) in [(failed, false), (Judgement::default(), true)] {
        here.lab.director.flows.services.judge(key, endpoint(RS2), judgement);
        here.lab.director.fast().heed();
        assert_eq!(here.answers(&asked), wanted);
    }
    for (setting, value, wanted) in [("nat_icmp_send", "1", false), ("nat_icmp_send", "0", true)] {
        here.lab.director.set(setting, value).unwrap();
        here.lab.director.fast().heed();
        assert_eq!(here.answers(&asked), wanted, "{setting} {value}");
    }
    here.lab.director.router.set_mtu(LINK, 1400);
    here.lab.director.fast().heed();
    assert!(here.agrees(&asked.frame(ROUTER, DIRECTOR)), "with the new size");
    // Without a way to its clients.
    let mut routes = crate::router::Routes::default();
    routes.add("10.0.0.2/24".parse::<Prefix>().unwrap(), None, LINK);
    here.lab.director.router.set_routes(routes);
    here.lab.director.fast().heed();
    assert!(!here.answers(&asked));
}

#[test]
fn under_pressure_alone_the_kernel_answers_where_that_is_asked() {
    let Some(mut here) = Answering::new(&rules(VIP, RS1, "-m", "auto")) else { return };
    here.lab.director.flows.settings.set("syn_proxy_rate", "20").unwrap();
    let from = |port: u16| syn(&format!("192.0.2.9:{port}"), VIP);
    assert!(!here.answers(&from(1)));
    (100..130).for_each(|port| _ = here.lab.client(&from(port)));
    here.lab.director.fast().heed();
    assert!(here.answers(&from(2)));
    // The kernel's answers are pressure too: it lasts while the director sees none of them.
    for _ in 0..15 {
        (1000..1050).for_each(|port| assert!(here.answers(&from(port))));
        here.lab.advance(Duration::from_secs(1));
    }
    here.count();
    assert_eq!(here.lab.director.fast.report.answered, 15 * 50 + 1);
    here.lab.advance(Duration::from_secs(12));
    assert!(!here.answers(&from(3)));
    assert!(here.lab.turn.ledger().balances());
}

#[test]
fn with_the_director_standing_by_or_marks_in_use_the_kernel_answers_nothing() {
    let Some(mut here) = Answering::new(&(rules(VIP, RS1, "-b", "on") + &format!("-A -t {LIP}:80 -s rr\n"))) else {
        return;
    };
    assert!(here.answers(&syn(CLIENT, VIP)));
    let mut marks = crate::service::Marks::default();
    marks.add("7=tcp/198.51.100.1:80".parse().unwrap());
    here.lab.director.set_marks(marks, here.lab.turn.now);
    here.lab.director.fast().heed();
    assert!(!here.answers(&syn(CLIENT, VIP)));
    here.lab.director.set_marks(Default::default(), here.lab.turn.now);
    here.lab.director.fast().heed();
    assert!(here.answers(&syn(CLIENT, VIP)));
}
