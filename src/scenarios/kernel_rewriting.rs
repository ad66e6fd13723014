//! The program of the fast path over many random packets between random ends: what it takes equals a packet built that way.

use super::rewriting::{endpoint, packet};
use crate::base::{Mac, Method, Proto, Rng};
use crate::fastpath::abi::Joined;
use crate::fastpath::{Facts, Hop, entries};
use crate::forward::Ends;
use crate::testing::fast::{Fast, Fate};
use crate::testing::{DIRECTOR, Kind, Packet, ROUTER};
use crate::wire::Vnet;

const PACKETS: usize = 100_000;
const NEXT_HOP: Mac = Mac([2, 7, 7, 7, 7, 7]);

/// True for what the program is to take.
fn is_usual(packet: &Packet) -> bool {
    packet.ttl > 1 && matches!(packet.kind, Kind::Udp | Kind::Tcp("A" | "AP"))
}

#[test]
fn what_the_program_takes_equals_a_packet_built_that_way() {
    let Some(mut fast) = Fast::new() else { return };
    let mut rng = Rng::seeded(7);
    let hop = Hop { neighbour: fast.place(NEXT_HOP), largest: 1500 };
    let mut taken = 0;
    for _ in 0..PACKETS {
        let packet = packet(&mut rng);
        let v6 = packet.dst.addr.is_ipv6();
        let (src, dst) = (endpoint(&mut rng, v6), endpoint(&mut rng, v6));
        let is_reply = rng.below(2) == 1;
        // A request to `dst` from `src`, or the reply to one that came from there.
        let (client, virt, real, local) =
            if is_reply { (dst, src, packet.src, packet.dst) } else { (packet.src, packet.dst, dst, src) };
        let ends = Ends::new(Method::FullNat, client.into(), virt.into(), real, Some(local));
        let proto = if matches!(packet.kind, Kind::Tcp(_)) { Proto::TCP } else { Proto::UDP };
        let facts =
            Facts { proto, request: hop, reply: Some(hop), source: None, discovery: true, joined: Joined::default() };
        let made = entries(&ends, &facts).unwrap();
        let (key, entry) = if is_reply { made.second.unwrap() } else { made.first };
        fast.maps.add(&key, &entry).unwrap();

        let fate = fast.run(&packet.frame(ROUTER, DIRECTOR), Vnet::default());

        fast.maps.take(&key).unwrap().unwrap();
        match fate {
            Fate::Taken(bytes) => {
                let wanted = Packet { src, dst, ..packet }.one_hop_on();
                assert_eq!(bytes, wanted.frame(DIRECTOR, NEXT_HOP), "{wanted:?}");
                taken += 1;
            }
            Fate::Left(reason) => assert!(!is_usual(&packet), "{reason:?} {packet:?}"),
        }
    }
    assert!(taken > PACKETS / 2, "{taken}");
}
