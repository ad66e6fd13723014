//! SYNs that the program of the fast path answers by cookies: the bytes are the director's, and what it cannot know it leaves.

use std::time::Duration;

use super::syn_proxy::rules;
use super::{CLIENT, CLIENT6, LIP, RS1, RS2, RS6, VIP, VIP6};
use crate::base::{Consumed, Instant, Prefix, Rng};
use crate::director::Settings;
use crate::sched::Mask;
use crate::service::Judgement;
use crate::service::command::ServiceKey;
use crate::testing::{DIRECTOR, Frame, Kind, LINK, Lab, Packet, ROUTER, Shadow, endpoint, with_options};

/// As much earlier is the time of the kernel's answers (director/fast/answers.rs).
const BEHIND: u64 = 32;

/// A director whose kernel answers.
struct Answering {
    lab: Lab,
    shadow: Shadow,
    /// The moment of the kernel's clock that is 0 to the director.
    epoch: u64,
}

impl Answering {
    fn new(rules: &str) -> Option<Answering> {
        Answering::with(Settings { icmp_rate: 0, ..Settings::default() }, rules)
    }

    fn with(settings: Settings, rules: &str) -> Option<Answering> {
        let (mut lab, shadow) = (Lab::with(settings, rules), Shadow::new(1)?);
        let epoch = Shadow::millis().saturating_sub(100_000);
        lab.director.fast().start(Box::new(shadow.clone()), epoch);
        lab.director.fast().heed();
        let mut answering = Answering { lab, shadow, epoch };
        answering.set_clock();
        Some(answering)
    }

    fn set_clock(&mut self) {
        self.lab.turn.now = Instant(Shadow::millis() - self.epoch);
    }

    /// What the kernel answers, if it does.
    fn kernel(&self, frame: &[u8]) -> Option<Vec<u8>> {
        self.shadow.run(LINK, frame)
    }

    fn answers(&self, syn: &Packet) -> bool {
        self.kernel(&syn.frame(ROUTER, DIRECTOR)).is_some()
    }

    /// True if the kernel answers a SYN as the director would, false if it leaves it; anything else is an error.
    #[track_caller]
    fn agrees(&mut self, frame: &[u8]) -> bool {
        let before = Shadow::millis();
        let Some(answer) = self.kernel(frame) else { return false };
        let wanted: Vec<Vec<Frame>> = (before..=Shadow::millis())
            .map(|moment| {
                self.lab.turn.now = Instant(moment - self.epoch - BEHIND);
                self.lab.frame(frame)
            })
            .collect();
        let is_wanted = |frames: &Vec<Frame>| matches!(&frames[..], [only] if only.bytes == answer);
        assert!(wanted.iter().any(is_wanted), "{frame:02x?}\n{answer:02x?}\n{wanted:02x?}");
        true
    }

    /// Counters as everybody sees them.
    fn count(&mut self) {
        self.lab.director.fast().read_all();
        self.lab.director.fast().account(&mut self.lab.turn);
    }
}

fn syn(client: &str, virt: &str) -> Packet {
    Packet { seq: 5000, ..Packet::tcp(client, virt, "S") }
}

/// Options of a SYN in any order, some of them unknown or said twice.
fn options(rng: &mut Rng) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..rng.below(8) {
        let number = rng.next_u64().to_be_bytes();
        let option = match rng.below(10) {
            0 | 1 => vec![2, 4, [0, 1, 2, 5][rng.below(4) as usize], number[1]],
            2 => vec![4, 2],
            3 | 4 => [&[8, 10][..], &number].concat(),
            5 => vec![3, 3, rng.below(20) as u8],
            // A cookie of TCP Fast Open (RFC 7413).
            6 => [&[34, 10][..], &number].concat(),
            7 => vec![number[0], 2 + number[1] % 4, number[2], number[3], number[4]][..2 + usize::from(number[1] % 4)]
                .to_vec(),
            8 => vec![1; 1 + rng.below(3) as usize],
            _ => vec![1, 1],
        };
        if options.len() + option.len() <= 40 {
            options.extend(option);
        }
    }
    while options.len() % 4 != 0 {
        options.push(rng.below(2) as u8);
    }
    options
}

fn random_syn(client: &str, virt: &str, rng: &mut Rng) -> Vec<u8> {
    let mut packet = syn(client, virt);
    packet.src.port = 1024 + rng.below(60_000) as u16;
    packet.kind = Kind::Tcp(["S", "SEC", "S", "SP", "SF", "SU"][rng.below(6) as usize]);
    (packet.seq, packet.ack) = (rng.next_u64() as u32, rng.next_u64() as u32);
    (packet.tos, packet.ttl, packet.id) = (rng.next_u64() as u8, 1 + rng.below(255) as u8, rng.next_u64() as u16);
    packet.dont_fragment = rng.below(2) == 0;
    if rng.below(8) == 0 {
        packet.payload = vec![7; rng.below(100) as usize];
    }
    with_options(packet.frame(ROUTER, DIRECTOR), &options(rng))
}

#[test]
fn random_syns_are_answered_as_the_director_answers_them_or_left_to_it() {
    let of_services = [
        (CLIENT, VIP, RS1, "-m"),
        (CLIENT6, VIP6, RS6, "-b"),
        (CLIENT6, VIP6, RS1, "-b"),
        (CLIENT, VIP, RS1, "-b --client-address toa"),
    ];
    for (client, virt, real, method) in of_services {
        for syn_proxy_timestamps in [true, false] {
            let settings = Settings { icmp_rate: 0, syn_proxy_timestamps, ..Settings::default() };
            let Some(mut here) = Answering::with(settings, &rules(virt, real, method, "on")) else { return };
            let (mut rng, mut answered) = (Rng::seeded(31), 0);
            for round in 0..3000 {
                let mut frame = random_syn(client, virt, &mut rng);
                match rng.below(8) {
                    0 => (0..1 + rng.below(2)).for_each(|_| {
                        let at = rng.below(frame.len() as u64) as usize;
                        frame[at] = rng.next_u64() as u8;
                    }),
                    1 => frame.resize(frame.len() + rng.below(20) as usize, 0x55),
                    _ => {}
                }
                answered += usize::from(here.agrees(&frame));
                assert!(here.lab.turn.ledger().balances(), "{round}");
            }
            assert!(answered > 800, "{virt} {real} {method}: {answered}");
        }
    }
}

#[test]
fn usual_syns_are_the_kernels() {
    let Some(mut here) = Answering::new(&rules(VIP, RS1, "-m", "on")) else { return };
    let usual: [&[u8]; 6] = [
        &[],
        &[2, 4, 5, 180],
        &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 100, 0, 0, 0, 0, 1, 3, 3, 9],
        &[2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2],
        &[2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0],
        &[
            2, 4, 2, 24, 1, 3, 3, 5, 4, 2, 8, 10, 9, 9, 9, 9, 0, 0, 0, 0, 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1,
        ],
    ];
    for options in usual {
        let frame = syn(CLIENT, VIP).frame(ROUTER, DIRECTOR);
        assert!(here.agrees(&if options.is_empty() { frame } else { with_options(frame, options) }), "{options:?}");
    }
    here.count();
    assert_eq!(here.lab.director.fast.report.answered, 6);
    assert!(here.lab.turn.ledger().consumed(Consumed::SynCookie) >= 12 && here.lab.turn.ledger().balances());
}

#[test]
fn what_only_the_director_knows_is_left_to_it() {
    let rules = rules(VIP, RS1, "-m", "on")
        + "-A -t 198.51.100.1:21 -s rr --syn-proxy on\n-a -t 198.51.100.1:21 -r 10.0.0.21:21 -m\n\
        -A -t 198.51.100.9:0 -s rr -p 60 --syn-proxy on\n-a -t 198.51.100.9:0 -r 10.0.0.21:0 -m\n\
        -A -t 198.51.100.5:80 -s rr\n-a -t 198.51.100.5:80 -r 10.0.0.21:80 -m\n";
    let Some(mut here) = Answering::new(&rules) else { return };
    let good = syn(CLIENT, VIP);
    assert!(here.answers(&good) && here.answers(&good.clone().to("198.51.100.1:21")));
    for virt in ["198.51.100.1:81", "198.51.100.2:80", "198.51.100.9:80", "198.51.100.5:80"] {
        assert!(!here.answers(&good.clone().to(virt)), "{virt}");
    }
    // Neighbours, own addresses, addresses that nobody has, FTP's data port.
    let sources =
        ["10.0.0.9:4000", "10.0.0.2:4000", "198.51.100.5:4000", "10.0.0.255:4000", "127.0.0.1:4000", "224.0.0.1:4000"];
    for client in sources.into_iter().chain(["0.0.0.0:4000", "255.255.255.255:4000", "192.0.2.7:20"]) {
        assert!(!here.answers(&good.clone().from(client)), "{client}");
    }
    for flags in ["SA", "A", "SF", "SR", "", "SU", "SP"] {
        assert!(!here.answers(&Packet { kind: Kind::Tcp(Packet::flags(flags).unwrap()), ..good.clone() }), "{flags}");
    }
    let others = [
        good.clone().carrying("data"),
        Packet { fragment: (0, true), ..good.clone() },
        Packet { kind: Kind::Udp, ..good.clone() },
    ];
    assert!(others.iter().all(|packet| !here.answers(packet)));
    let mut tagged = good.frame(ROUTER, DIRECTOR);
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert_eq!(here.kernel(&tagged), None);
    let mut damaged = good.frame(ROUTER, DIRECTOR);
    damaged[38] ^= 1;
    assert_eq!(here.kernel(&damaged), None);
    // An address is the director's own as soon as a command says so.
    let client = good.clone().from("198.51.100.77:4000");
    assert!(here.answers(&client));
    let own = "-A -t 198.51.100.77:80 -s rr\n";
    here.lab.rules(own);
    here.lab.director.fast().heed();
    assert!(!here.answers(&client));
    here.lab.rules("-D -t 198.51.100.77:80\n");
    here.lab.director.fast().heed();
    assert!(here.answers(&client));
}

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
