//! No packet of an established flow asks for memory, and neither does a flow's first one.

#[path = "../benches/counting.rs"]
#[allow(dead_code)]
mod counting;

use tapvs::base::{Family, Instant};
use tapvs::director::Director;
use tapvs::router::Turn;
use tapvs::service::command::{Method, Tunnel};
use tapvs::testing::Wire;
use tapvs::testing::load::{self, ACK, LINK, PLAIN, SUPER, SYN};
use tapvs::wire::PacketBuf;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const BEFORE: Instant = Instant(1_000);
/// A minute and a half later.
const NOW: Instant = Instant(100_000);
const METHODS: [Method; 4] = [Method::Nat, Method::Direct, Method::Tunnel(Tunnel::Ipip), Method::FullNat];

fn send(director: &mut Director, buf: &mut PacketBuf, head: &load::Head, turn: &mut Turn<Wire>) {
    load::load(buf, head);
    director.ingress(LINK, buf, turn);
}

#[test]
fn packets_ask_for_no_memory() {
    for family in [Family::V4, Family::V6] {
        METHODS.iter().for_each(|method| no_memory_for(family, *method));
    }
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
    (0..100).for_each(|number| send(&mut director, &mut buf, &sent(number, SYN, 0), &mut turn));
    (0..100).for_each(|number| send(&mut director, &mut buf, &sent(number, ACK, SUPER), &mut turn));

    let before = counting::calls();
    for number in 100..5_000 {
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

    assert_eq!(asked, 0, "{family:?} {method:?}: allocations over 4,900 flows");
    assert_eq!(director.flows.conns.len(), 5_000);
}
