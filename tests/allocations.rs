//! No packet of an established flow asks for memory, and neither does a flow's first one.

#[path = "../benches/counting.rs"]
#[allow(dead_code)]
mod counting;

use tapvs::inside::base::{Endpoint, Family, Instant, Mac, Proto};
use tapvs::inside::director::Director;
use tapvs::inside::router::Turn;
use tapvs::inside::service::command::{Command, DestOptions, Method, ServiceKey, ServiceOptions, SynProxy, Tunnel};
use tapvs::inside::testing::load::Sink;
use tapvs::inside::testing::load::{self, ACK, LINK, PLAIN, SUPER, SYN};
use tapvs::inside::testing::{Kind, Packet};
use tapvs::inside::wire::{Gso, PacketBuf, UdpTunnel, Vnet};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const BEFORE: Instant = Instant(1_000);
/// A minute and a half later.
const NOW: Instant = Instant(100_000);
/// Flows after which each server has been reached from each local address.
const WARM: u32 = 3_000;
const METHODS: [Method; 4] = [Method::Nat, Method::Direct, Method::Tunnel(Tunnel::Ipip), Method::FullNat];

fn send(director: &mut Director, buf: &mut PacketBuf, head: &load::Head, turn: &mut Turn<Sink>) {
    load::load(buf, head);
    director.ingress(LINK, buf, turn);
}

#[test]
fn packets_ask_for_no_memory() {
    for family in [Family::V4, Family::V6] {
        METHODS.iter().for_each(|method| no_memory_for(family, *method));
    }
    // Not a test of its own: the counter is that of the whole process.
    no_memory_for_superframes_inside_tunnels();
    [Family::V4, Family::V6].into_iter().for_each(no_memory_for_a_flood_of_syns);
}

/// Behind a SYN proxy no SYN leaves anything.
fn no_memory_for_a_flood_of_syns(family: Family) {
    let mut director = load::director(family, Method::Nat, 10_000);
    let key = ServiceKey::Address(Proto::TCP, load::vip(family));
    let options = director.flows.services.by_key(&key).unwrap().options.clone();
    let options = ServiceOptions { syn_proxy: SynProxy::On, ..options };
    director.apply(&Command::EditService(key, options), BEFORE).unwrap();
    let (mut buf, mut turn) = (PacketBuf::new(), load::turn(BEFORE));
    director.tick(&mut turn);
    turn.now = NOW;
    (0..4).for_each(|_| director.tick(&mut turn));
    let flood = |number, director: &mut Director, buf: &mut PacketBuf, turn: &mut Turn<Sink>| {
        load::load(buf, &load::segment(load::client(family, number), load::vip(family), SYN, 0));
        // Its checksum is open.
        let csum_start = if family == Family::V4 { 34 } else { 54 };
        buf.vnet = Vnet { needs_csum: true, csum_start, csum_offset: 16, ..Vnet::default() };
        director.ingress(LINK, buf, turn);
    };
    flood(0, &mut director, &mut buf, &mut turn);
    let (before, frames) = (counting::calls(), turn.out.frames);
    (1..=50_000).for_each(|number| flood(number, &mut director, &mut buf, &mut turn));
    assert_eq!(counting::calls() - before, 0, "{family:?}: allocations over 50,000 SYNs");
    assert_eq!((turn.out.frames - frames, director.flows.conns.len()), (50_000, 0), "{family:?}");
}

fn no_memory_for(family: Family, method: Method) {
    let mut director = load::director(family, method, 10_000);
    let (mut buf, mut turn) = (PacketBuf::new(), load::turn(BEFORE));
    // Announcements are made before there is traffic.
    director.tick(&mut turn);
    turn.now = NOW;
    (0..4).for_each(|_| director.tick(&mut turn));
    let client = |number| load::client(family, number);
    let sent = |number, flags, payload| load::segment(client(number), load::vip(family), flags, payload);
    // The first ones may: addresses are stored once, pools of local ports are made.
    (0..WARM).for_each(|number| send(&mut director, &mut buf, &sent(number, SYN, 0), &mut turn));
    (0..WARM).for_each(|number| send(&mut director, &mut buf, &sent(number, ACK, SUPER), &mut turn));

    let before = counting::calls();
    for number in WARM..5_000 {
        send(&mut director, &mut buf, &sent(number, SYN, 0), &mut turn);
        send(&mut director, &mut buf, &sent(number, ACK, PLAIN), &mut turn);
        send(&mut director, &mut buf, &sent(number, ACK, SUPER), &mut turn);
        if !matches!(method, Method::Direct | Method::Tunnel(_)) {
            let (real, peer) = load::reply_ends(&director, client(number));
            send(&mut director, &mut buf, &load::segment(real, peer, ACK, SUPER), &mut turn);
        }
        director.tick(&mut turn);
    }
    let asked = counting::calls() - before;

    assert_eq!(asked, 0, "{family:?} {method:?}: allocations over 2,000 flows");
    assert_eq!(director.flows.conns.len(), 5_000);
}

/// A superframe inside a UDP tunnel that goes one by one, each packet wrapped and cut again: buffers within buffers.
fn no_memory_for_superframes_inside_tunnels() {
    const SIZE: usize = 1440;
    let mut director = load::director(Family::V4, Method::Nat, 10_000);
    let vxlan = Endpoint::new("198.51.100.1".parse().unwrap(), 4789);
    let key = ServiceKey::Address(Proto::UDP, vxlan);
    let options = ServiceOptions { scheduler: "rr".into(), ..ServiceOptions::defaults(Family::V4) };
    let tunnel = DestOptions { method: Method::Tunnel(Tunnel::Ipip), ..DestOptions::default() };
    director.apply(&Command::AddService(key, options), BEFORE).unwrap();
    director.apply(&Command::AddDest(key, Endpoint::new("10.0.0.21".parse().unwrap(), 4789), tunnel), BEFORE).unwrap();

    let inner = Packet::tcp("10.77.0.1:4000", "10.77.0.2:80", "A").carrying(vec![7; SIZE * 20]).bytes();
    let outer = Packet::new("192.0.2.7:4000", "198.51.100.1:4789", Kind::UdpWithout);
    let outer = Packet { dont_fragment: false, ..outer }.carrying([&b"between!"[..], &inner].concat());
    let frame = outer.frame(Mac([2, 0, 0, 0, 0, 9]), director.router.link(LINK).mac);
    let tunnel = Some(UdpTunnel { family: Family::V4, summed: false, own: 8 });
    let (gso, gso_size) = (Gso::Tcp4, SIZE as u16);
    let vnet = Vnet { needs_csum: true, gso, gso_size, csum_start: 70, csum_offset: 16, tunnel, ..Vnet::default() };

    let (mut buf, mut turn) = (PacketBuf::new(), load::turn(BEFORE));
    director.tick(&mut turn);
    turn.now = NOW;
    (0..4).for_each(|_| director.tick(&mut turn));
    let mut send = |turn: &mut Turn<Sink>| {
        buf.set(&frame);
        buf.vnet = vnet;
        director.ingress(LINK, &mut buf, turn);
    };
    send(&mut turn);
    let (before, frames) = (counting::calls(), turn.out.frames);
    (0..100).for_each(|_| send(&mut turn));
    assert_eq!(counting::calls() - before, 0, "allocations over 100 superframes");
    assert_eq!(turn.out.frames - frames, 100 * 20 * 2, "twenty packets of each, each in two fragments");
}
