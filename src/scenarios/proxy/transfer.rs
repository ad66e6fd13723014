//! Streams that arrive whole behind the header, whatever becomes of their segments.

use super::super::sequences::is_sound;
use super::{Session, V1};
use crate::base::{Proto, Rng};
use crate::testing::{DIRECTOR, Frame, LINK, Packet, ROUTER};
use crate::wire::{Gso, Vnet, checksum};

impl Session {
    /// The same as a device may hand it over: whole, with an open checksum, or as a superframe. What leaves is sound and fits.
    fn hand_over(&mut self, rng: &mut Rng, mtu: u16, at: u32, payload: &[u8]) -> Vec<Packet> {
        let segment = self.segment("A", at, payload);
        let (mut frame, mut vnet) = (segment.frame(ROUTER, DIRECTOR), Vnet::default());
        let pseudo = |of: &Packet| checksum::pseudo(of.src.addr, of.dst.addr, Proto::TCP, 20 + of.payload.len());
        let most = mtu - 40;
        if payload.len() > usize::from(most) || rng.below(2) == 0 {
            vnet = Vnet { needs_csum: true, csum_start: 34, csum_offset: 16, ..vnet };
            frame[50..52].copy_from_slice(&pseudo(&segment).to_be_bytes());
        }
        if payload.len() > usize::from(most) {
            vnet = Vnet { gso: Gso::Tcp4, gso_size: most, ..vnet };
        }
        let sent = self.lab.frame_with(&frame, vnet);
        for left in &sent {
            let largest = match left.vnet.gso {
                Gso::None => left.bytes.len() - 14,
                _ => 40 + usize::from(left.vnet.gso_size),
            };
            assert!(largest <= usize::from(mtu), "{largest} bytes");
            match left.vnet.needs_csum {
                true => assert_eq!(left.bytes[50..52], pseudo(&left.packet()).to_be_bytes()),
                false => is_sound(left),
            }
        }
        sent.iter().map(Frame::packet).collect()
    }
}

/// What a server has put together of what came, by its place.
#[derive(Default)]
struct Received {
    bytes: Vec<Option<u8>>,
}

impl Received {
    fn take(&mut self, at: usize, payload: &[u8]) {
        self.bytes.resize(self.bytes.len().max(at + payload.len()), None);
        for (byte, place) in payload.iter().zip(&mut self.bytes[at..]) {
            assert!(place.is_none_or(|known| known == *byte), "another byte at a place that was filled");
            *place = Some(*byte);
        }
    }

    fn in_order(&self) -> usize {
        self.bytes.iter().position(Option::is_none).unwrap_or(self.bytes.len())
    }
}

/// Sends a stream that begins with `own` until all of it is acknowledged, in any order and segmentation, with losses on both
/// ways; the server must have got `front` bytes of the director's, and the stream without its first `cut` bytes.
pub(in crate::scenarios) fn transfer(seed: u64, session: &mut Session, own: &[u8], front: usize, cut: usize) {
    let mut rng = Rng::seeded(seed);
    let mtu = [576, 1280, 1500, 9000][rng.below(4) as usize];
    session.lab.director.router.set_mtu(LINK, mtu);
    let random = (0..rng.below(4 * u64::from(mtu))).map(|_| rng.below(256) as u8);
    let stream: Vec<u8> = own.iter().copied().chain(random.collect::<Vec<_>>()).collect();
    let (mut received, mut known) = (Received::default(), 0);
    let (mut rounds, mut is_told) = (0, false);
    while received.in_order() < front + stream.len() - cut || known < stream.len() {
        rounds += 1;
        assert!(rounds < 10_000, "seed {seed}: nothing moves any more");
        // From anywhere in the window, but often what is missing, as a client sends again.
        let at = known + if rng.below(2) == 0 { 0 } else { rng.below((stream.len() - known) as u64 + 1) as usize };
        let least = if is_told { 0 } else { own.len() as u64 };
        let len = rng.below(3 * u64::from(mtu)).max(least).min((stream.len() - at) as u64) as usize;
        is_told |= at == 0 && len > 0;
        let mut sent = session.hand_over(&mut rng, mtu, at as u32, &stream[at..at + len]);
        if rng.below(3) == 0 {
            sent.reverse();
        }
        for segment in sent.iter().filter(|_| rng.below(4) != 0).collect::<Vec<_>>() {
            received.take(session.place(segment), &segment.payload);
        }
        if rng.below(3) != 0 {
            let got = received.in_order();
            let said: Vec<u8> = (0..rng.below(500)).map(|_| rng.below(256) as u8).collect();
            let answer = session.server_segment("A", got as u32).carrying(said);
            let heard = session.lab.real(&answer).remove(0);
            is_sound(&heard);
            let heard = heard.packet();
            assert_eq!((heard.seq, &heard.payload), (answer.seq, &answer.payload), "what the server says");
            let told = heard.ack.wrapping_sub(session.first) as usize;
            let beyond = got.checked_sub(front).map_or(0, |beyond| beyond + if is_told { cut } else { 0 });
            assert_eq!(told, beyond, "seed {seed}");
            known = told;
        }
    }
    let bytes: Vec<u8> = received.bytes.into_iter().flatten().collect();
    assert_eq!(&bytes[front..], &stream[cut..], "seed {seed}");
    session.lab.recount().unwrap();
}

#[test]
fn any_order_loss_and_segmentation_comes_out_as_header_and_stream() {
    for seed in 0..300 {
        let (version, front) = if seed % 2 == 0 { ("proxy-v1", V1.len()) } else { ("proxy-v2", 28) };
        transfer(seed, &mut Session::new(version), b"", front, 0);
    }
}
