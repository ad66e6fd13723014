//! Two small TCPs with a director between them that makes their handshake, over links that lose, double and reorder: both
//! streams arrive whole, and no number, clock or window is other than its end has said.

use std::collections::VecDeque;
use std::time::Duration;

use super::syn_proxy::{Seen, rules};
use super::{CLIENT, CLIENT6, RS1, RS6, VIP, VIP6};
use crate::base::{Endpoint, Rng};
use crate::director::Settings;
use crate::testing::{DIRECTOR, Lab, Packet, ROUTER, endpoint, with_options};

/// Bytes of a segment.
const SEGMENT: usize = 100;
const PERMITTED: u8 = 4;
const SACK: u8 = 5;

/// One end, as far as it matters here: it sends again from what is not acknowledged, and takes what is next.
struct End {
    addr: Endpoint,
    peer: Endpoint,
    /// Numbers: its first byte's, and the other's.
    first: u32,
    theirs: Option<u32>,
    /// The handshake is over.
    open: bool,
    /// Its stream; how much of it was sent and acknowledged.
    stream: Vec<u8>,
    sent: usize,
    acknowledged: usize,
    got: Vec<u8>,
    /// Its clock and the other's last one; whether clocks are spoken of.
    clock: u32,
    echo: u32,
    clocks: bool,
    /// How its own windows are shifted, and the other's; the other's window.
    scale: Option<u8>,
    their_scale: u8,
    window: usize,
    /// What it says of its window, in bytes.
    room: usize,
    gap: Option<(u32, u32)>,
}

impl End {
    fn new(addr: &str, peer: &str, first: u32, stream: Vec<u8>, (clocks, scale): (bool, Option<u8>)) -> End {
        End {
            addr: endpoint(addr),
            peer: endpoint(peer),
            first,
            theirs: None,
            open: false,
            stream,
            sent: 0,
            acknowledged: 0,
            got: Vec::new(),
            clock: first ^ 0x5555,
            echo: 0,
            clocks,
            scale,
            their_scale: 0,
            window: 0,
            room: 30_000,
            gap: None,
        }
    }

    fn segment(&self, flags: &'static str, seq: u32, payload: &[u8], scale: u8) -> Vec<u8> {
        let ack = self.theirs.map_or(0, |first| first.wrapping_add(self.got.len() as u32));
        let packet =
            Packet { src: self.addr, dst: self.peer, seq, ack, ..Packet::tcp("10.0.0.1:1", "10.0.0.2:2", flags) };
        let mut options = Vec::new();
        if flags.starts_with('S') {
            options.extend([2, 4, 5, 180]);
            if self.clocks {
                options.extend([1, 1, PERMITTED, 2]);
                options.extend(self.scale.map_or(vec![], |scale| vec![1, 3, 3, scale]));
            }
        }
        if self.clocks {
            options.extend([1, 1, 8, 10]);
            options.extend(self.clock.to_be_bytes());
            options.extend(self.echo.to_be_bytes());
            if let Some((from, to)) = self.gap {
                options.extend([1, 1, SACK, 10]);
                options.extend(from.to_be_bytes());
                options.extend(to.to_be_bytes());
            }
        }
        let mut frame = match &options[..] {
            [] => packet.carrying(payload).frame(ROUTER, DIRECTOR),
            options => with_options(packet.carrying(payload).frame(ROUTER, DIRECTOR), options),
        };
        set_window(&mut frame, (self.room >> scale).min(65_535) as u16);
        frame
    }

    /// What it sends when nothing has come for a while: its SYN, a probe, or what is not acknowledged.
    fn speak(&mut self) -> Vec<u8> {
        self.clock += 1;
        let shift = self.scale.unwrap_or(0);
        if self.theirs.is_none() {
            return self.segment("S", self.first.wrapping_sub(1), &[], 0);
        }
        if !self.open {
            return self.segment("SA", self.first.wrapping_sub(1), &[], 0);
        }
        let next = self.first.wrapping_add(self.acknowledged as u32);
        if self.window == 0 {
            return self.segment("A", next.wrapping_sub(1), &[], shift);
        }
        let end = self.stream.len().min(self.acknowledged + SEGMENT.min(self.window));
        self.sent = self.sent.max(end);
        self.segment("AP", next, &self.stream[self.acknowledged..end], shift)
    }

    /// A segment has come; what is said to it.
    fn hear(&mut self, seen: &Seen) -> Vec<Vec<u8>> {
        let (packet, tcp) = (&seen.packet, &seen.tcp);
        assert!(!tcp.rst, "nobody has a reason for a reset");
        if let Some((value, echo)) = seen.clocks() {
            assert!(self.clocks);
            let age = self.clock.wrapping_sub(echo);
            assert!(tcp.syn && !tcp.ack || age < 100_000, "an echo of {echo} at {}", self.clock);
            if self.theirs.is_some() && (value.wrapping_sub(self.echo) as i32) < 0 {
                return Vec::new();
            }
            self.echo = value;
        } else if self.theirs.is_some() && self.clocks && !tcp.syn {
            panic!("a segment without a clock, at {}: {:?} {:?}", self.addr, packet, tcp);
        }
        if tcp.syn {
            return self.hear_syn(seen);
        }
        let Some(theirs) = self.theirs else { return Vec::new() };
        self.check_gaps(seen);
        let before = self.acknowledged;
        let acknowledged = packet.ack.wrapping_sub(self.first) as i32;
        self.open |= acknowledged >= 0;
        assert!(acknowledged <= self.sent as i32, "{acknowledged} of {}", self.sent);
        self.acknowledged = before.max(acknowledged.max(0) as usize);
        self.window = usize::from(tcp.window_size) << self.their_scale;
        let at = packet.seq.wrapping_sub(theirs) as i32;
        let is_next = at >= 0 && at as usize <= self.got.len();
        if !packet.payload.is_empty() {
            let end = at.max(0) as usize + packet.payload.len();
            if is_next && end > self.got.len() {
                self.got.extend(&packet.payload[self.got.len() - at as usize..]);
                self.gap = None;
            } else if at as usize > self.got.len() && self.clocks {
                self.gap = Some((packet.seq, packet.seq.wrapping_add(packet.payload.len() as u32)));
            }
        }
        let must_answer = !packet.payload.is_empty() || at < 0;
        if must_answer || self.acknowledged > before { vec![self.speak()] } else { Vec::new() }
    }

    fn hear_syn(&mut self, seen: &Seen) -> Vec<Vec<u8>> {
        let (packet, tcp) = (&seen.packet, &seen.tcp);
        if !tcp.ack && self.open {
            // An old SYN (RFC 5961 4).
            let next = self.first.wrapping_add(self.acknowledged as u32);
            return vec![self.segment("A", next, &[], self.scale.unwrap_or(0))];
        }
        if !tcp.ack && self.theirs.is_some() {
            return vec![self.speak()];
        }
        if !tcp.ack {
            // A server: the clock it hears decides whether there are any.
            self.clocks &= seen.clocks().is_some();
            self.theirs = Some(packet.seq.wrapping_add(1));
            self.peer = packet.src;
            self.take_scale(seen);
            return vec![self.segment("SA", self.first.wrapping_sub(1), &[], 0)];
        }
        if self.theirs.is_none() {
            assert_eq!(packet.ack, self.first);
            self.clocks &= seen.clocks().is_some();
            self.theirs = Some(packet.seq.wrapping_add(1));
            self.take_scale(seen);
            (self.window, self.open) = (0, true);
        }
        vec![self.speak()]
    }

    fn take_scale(&mut self, seen: &Seen) {
        let scale = seen.option(3).map(|said| said[0]);
        match scale.filter(|_| self.scale.is_some()) {
            Some(scale) => self.their_scale = scale,
            None => (self.scale, self.their_scale) = (None, 0),
        }
        self.window = usize::from(seen.tcp.window_size);
    }

    /// What the other says that it has beyond a gap, this end has sent.
    fn check_gaps(&self, seen: &Seen) {
        if let Some((from, to)) = seen.numbers(SACK) {
            let [from, to] = [from, to].map(|edge| edge.wrapping_sub(self.first) as usize);
            assert!(from < to && to <= self.sent, "{from} to {to} of {}", self.sent);
        }
    }
}

fn set_window(frame: &mut [u8], window: u16) {
    let mut buf = crate::wire::PacketBuf::new();
    buf.set(frame);
    let ip = crate::wire::ip_packet(frame).unwrap();
    crate::wire::tcp::set_window(&mut buf, &ip, window);
    frame.copy_from_slice(buf.frame());
}

/// Takes the PROXY protocol's header out of what a server got.
fn without_header(got: &[u8]) -> &[u8] {
    match got {
        [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, _, _, high, low, rest @ ..] => {
            rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
        }
        all => all,
    }
}

/// One conn to its end, over links that lose one in `loss` frames.
fn converse(seed: u64, (client, virt, real, method): (&'static str, &'static str, &'static str, &str), loss: u64) {
    let mut rng = Rng::seeded(seed);
    let settings = Settings { icmp_rate: 0, ..Settings::default() };
    let mut lab = Lab::with(settings, &rules(virt, real, method, "on"));
    let mut random = |len: u64| (0..rng.below(len)).map(|_| rng.below(256) as u8).collect::<Vec<u8>>();
    let (up, down) = (random(3000), random(3000));
    let scale = |rng: &mut Rng| Some(rng.below(15) as u8).filter(|_| rng.below(4) > 0);
    let kind = |rng: &mut Rng| (rng.below(4) > 0, scale(rng));
    let mut ends = [
        End::new(client, virt, rng.below(1 << 32) as u32, up, kind(&mut rng)),
        End::new(real, "0.0.0.0:0", rng.below(1 << 32) as u32, down, (true, scale(&mut rng))),
    ];
    let mut links: VecDeque<Vec<u8>> = VecDeque::new();
    for step in 0..60_000 {
        let is_over = |ends: &[End; 2]| {
            without_header(&ends[1].got) == ends[0].stream
                && ends[0].got == ends[1].stream
                && ends.iter().all(|end| end.acknowledged == end.stream.len())
        };
        if is_over(&ends) {
            lab.recount().unwrap();
            return;
        }
        // A timer of one end, or what is on a link.
        if links.is_empty() || rng.below(40) == 0 {
            let which = rng.below(2) as usize;
            if which == 0 || ends[1].theirs.is_some() {
                let frame = ends[which].speak();
                links.push_back(frame);
            }
            let late = lab.advance(Duration::from_millis(rng.below(700)));
            ends.iter_mut().for_each(|end| end.clock += 300);
            deliver(late, &mut ends, &mut links, &mut rng, loss);
            continue;
        }
        let at = if rng.below(5) == 0 { rng.below(links.len() as u64) as usize } else { 0 };
        let frame = links.remove(at).unwrap();
        if rng.below(12) == 0 {
            links.push_back(frame.clone());
        }
        if rng.below(loss) == 0 {
            continue;
        }
        lab.advance(Duration::from_millis(1));
        let left = lab.frame(&frame);
        deliver(left, &mut ends, &mut links, &mut rng, loss);
        if links.len() > 60 {
            links.truncate(20);
        }
        assert!(step < 59_999, "seed {seed} {client} -> {real} {method}: {} {}", ends[0].got.len(), ends[1].got.len());
    }
}

fn deliver(
    frames: Vec<crate::testing::Frame>,
    ends: &mut [End; 2],
    links: &mut VecDeque<Vec<u8>>,
    rng: &mut Rng,
    loss: u64,
) {
    for frame in frames {
        let seen = Seen::of(&frame);
        let end = ends.iter_mut().find(|end| end.addr == seen.packet.dst);
        let Some(end) = end else { panic!("for nobody: {:?}", seen.packet) };
        if rng.below(loss) > 0 {
            links.extend(end.hear(&seen));
        }
    }
}

#[test]
fn both_streams_arrive_whole_whatever_is_lost_doubled_or_overtaken() {
    let forms = [
        (CLIENT, VIP, RS1, "-m"),
        (CLIENT, VIP, RS1, "-b"),
        (CLIENT, VIP, RS1, "-b --client-address proxy-v2"),
        (CLIENT, VIP, RS1, "-b --client-address toa"),
        (CLIENT6, VIP6, RS6, "-m"),
        (CLIENT6, VIP6, RS6, "-b --client-address proxy-v2"),
        (CLIENT6, VIP6, RS1, "-b"),
    ];
    for seed in 0..12 {
        for form in forms {
            converse(seed, form, [1_000_000, 10, 4][seed as usize % 3]);
        }
    }
}
