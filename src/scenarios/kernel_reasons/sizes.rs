//! How large a packet is, and what its segments are.

use super::super::kernel_program::established;
use super::{IPIP, NAT, NAT_UDP, NAT6};
use crate::fastpath::abi::Passed;
use crate::testing::fast::{Fate, Run};
use crate::wire::{Gso, Vnet};

#[test]
fn what_does_not_fit_is_the_directors() {
    // The way takes 1,500 bytes, and a tunnel 20 of them.
    for (case, most) in [(NAT, 1460), (NAT6, 1440), (IPIP, 1440)] {
        let Some(mut conn) = established(case) else { return };
        conn.takes(&conn.request.clone().carrying(vec![7; most]));
        conn.leaves(&conn.request.clone().carrying(vec![7; most + 1]), Passed::TooBig);
    }
    let Some(mut conn) = established(NAT) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    for (gso_size, taken) in [(1460, true), (1461, false)] {
        let vnet = Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size, ..Vnet::default() };
        let fate = conn.fast.run(&frame, vnet);
        assert_eq!(matches!(fate, Fate::Taken(_)), taken, "{gso_size} {fate:?}");
        assert!(taken || fate == Fate::Left(Passed::TooBig), "{fate:?}");
    }
}

#[test]
fn superframes_that_are_not_usual_are_the_directors() {
    let Some(mut conn) = established(NAT) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    let vnet = |gso_size| Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size, ..Vnet::default() };
    let tiny = Run { frame: &frame, gso_size: 2, gso_segs: 1500, ..Run::default() };
    assert_eq!(conn.fast.fate(&tiny), Fate::Left(Passed::Superframe));
    let padded = [frame, vec![0; 2]].concat();
    assert_eq!(conn.fast.run(&padded, vnet(1000)), Fate::Left(Passed::Superframe), "with padding");
    let Some(mut conn) = established(NAT_UDP) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    let run =
        |wire_len: usize| Run { frame: &frame, gso_size: 1000, gso_segs: 3, wire_len: wire_len as u32, repeat: 1 };
    assert!(matches!(conn.fast.fate(&run(3042 + 2 * 42)), Fate::Taken(_)));
    // The headers of the segments are larger: those of a tunnel inside.
    assert_eq!(conn.fast.fate(&run(3042 + 2 * 92)), Fate::Left(Passed::Superframe));
}

/// A superframe of which nothing says what its segments are: the kernel puts it into no tunnel.
#[test]
fn what_the_kernel_refuses_is_the_directors() {
    let Some(mut conn) = established(IPIP) else { return };
    let frame = conn.frame(&conn.request.clone().carrying(vec![7; 3000]));
    let run = Run { frame: &frame, gso_size: 1000, gso_segs: 3, wire_len: 3054 + 2 * 54, repeat: 1 };
    assert_eq!(conn.fast.fate(&run), Fate::Left(Passed::Refused));
}
