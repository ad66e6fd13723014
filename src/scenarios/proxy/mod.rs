//! The PROXY protocol in front of a client's stream through FULL-NAT: whatever becomes of segments, the server gets the header
//! and then the stream, and the client never learns of it.

use std::time::Duration;

use super::sequences::is_sound;
use super::{CLIENT, CLIENT6, LIP, RS1, RS6, VIP, VIP6};
use crate::base::{DropReason, Endpoint, Proto, Rng};
use crate::director::Settings;
use crate::ipvsadm;
use crate::service::command::Refused;
use crate::testing::{DIRECTOR, Frame, LINK, Lab, Packet, ROUTER};
use crate::wire::{Gso, Vnet, checksum};

pub(super) const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4000 80\r\n";

/// A conn, as both ends see it.
pub(super) struct Session {
    pub(super) lab: Lab,
    client: &'static str,
    virt: &'static str,
    pub(super) real: &'static str,
    /// What the server sees as its client.
    pub(super) peer: Endpoint,
    /// The client's first number, and what the server takes for it.
    pub(super) first: u32,
    pub(super) begun: u32,
}

impl Session {
    fn new(version: &str) -> Session {
        Session::between(CLIENT, VIP, RS1, version)
    }

    /// The handshake is over, but for its last segment.
    pub(super) fn between(client: &'static str, virt: &'static str, real: &'static str, version: &str) -> Session {
        Session::set(client, virt, real, version, Settings::default())
    }

    pub(super) fn set(
        client: &'static str,
        virt: &'static str,
        real: &'static str,
        version: &str,
        settings: Settings,
    ) -> Session {
        let local = if real == RS6 { "2001:db8::30" } else { LIP };
        let rules = format!(
            "-A -t {virt} -s rr\n-a -t {virt} -r {real} -b --client-address {version}\n-P -t {virt} -z {local}\n"
        );
        let mut lab = Lab::with(Settings { icmp_rate: 0, ..settings }, &rules);
        let syn = Packet::tcp(client, virt, "S");
        let sent = lab.client(&syn)[0].packet();
        assert!(sent.payload.is_empty());
        let first = syn.seq + 1;
        let mut session = Session { lab, client, virt, real, peer: sent.src, first, begun: sent.seq.wrapping_add(1) };
        assert_eq!(session.answer("SA", 0).ack, first);
        session
    }

    /// A segment of the client `at` so many bytes from its first.
    pub(super) fn segment(&self, flags: &'static str, at: u32, payload: &[u8]) -> Packet {
        Packet { seq: self.first.wrapping_add(at), ..Packet::tcp(self.client, self.virt, flags) }.carrying(payload)
    }

    pub(super) fn send(&mut self, flags: &'static str, at: u32, payload: &[u8]) -> Vec<Packet> {
        let segment = self.segment(flags, at, payload);
        self.lab.client(&segment).iter().map(Frame::packet).collect()
    }

    /// The handshake's end, after which the client says nothing; what the server gets.
    pub(super) fn is_silent(&mut self) -> Packet {
        assert_eq!(self.send("A", 0, b""), [], "it waits for what the client says");
        assert!(self.lab.advance(Duration::from_millis(9)).is_empty());
        let sent = self.lab.advance(Duration::from_millis(1));
        assert_eq!(sent.len(), 1);
        is_sound(&sent[0]);
        sent[0].packet()
    }

    /// A segment of the server, which has got so many bytes; as the client sees it.
    pub(super) fn answer(&mut self, flags: &'static str, got: u32) -> Packet {
        let packet = self.server_segment(flags, got);
        self.lab.real(&packet)[0].packet()
    }

    /// The same as the server sends it.
    pub(super) fn server_segment(&self, flags: &'static str, got: u32) -> Packet {
        let ack = self.begun.wrapping_add(got);
        Packet { ack, dst: self.peer, ..Packet::tcp(self.real, "0.0.0.0:0", flags) }
    }

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

    /// How many bytes before a segment the server's stream has.
    pub(super) fn place(&self, sent: &Packet) -> usize {
        sent.seq.wrapping_sub(self.begun) as usize
    }
}

#[test]
fn the_header_comes_with_the_handshake_until_it_is_acknowledged() {
    let mut session = Session::new("proxy-v1");
    let header = V1.len();
    let silent = session.is_silent();
    assert_eq!((session.place(&silent), &silent.payload[..]), (0, V1.as_bytes()), "for servers that speak first");
    assert_eq!(silent.ack, session.segment("A", 0, b"").ack);
    assert!(session.lab.advance(Duration::from_secs(1)).is_empty(), "once");
    for (flags, at, payload, place, wanted) in [
        // The server asks for the handshake's end again.
        ("A", 0, "", 0, V1.to_owned()),
        ("AP", 0, "HELO\r\n", 0, format!("{V1}HELO\r\n")),
        ("AP", 6, "DATA", header + 6, "DATA".into()),
        ("FA", 10, "", header + 10, String::new()),
        ("AP", 0, "HELO\r\n", 0, format!("{V1}HELO\r\n")),
    ] {
        let sent = session.send(flags, at, payload.as_bytes());
        assert_eq!((sent.len(), session.place(&sent[0])), (1, place), "{flags} {at}");
        assert_eq!(String::from_utf8_lossy(&sent[0].payload), wanted);
    }
    // A part of the header is nothing of the client's.
    for got in [0, 1, header - 1, header] {
        assert_eq!(session.answer("A", got as u32).ack, session.first, "{got}");
    }
    let sent = session.send("AP", 0, b"HELO\r\n");
    assert_eq!((session.place(&sent[0]), &sent[0].payload[..]), (header, &b"HELO\r\n"[..]), "once it is there");
    assert_eq!(session.answer("A", header as u32 + 6).ack, session.first + 6);
    session.lab.recount().unwrap();
}

#[test]
fn a_client_that_speaks_first_sends_one_segment() {
    let mut session = Session::new("proxy-v1");
    assert_eq!(session.send("A", 0, b""), []);
    let sent = session.send("AP", 0, b"GET /\r\n");
    assert_eq!((sent.len(), session.place(&sent[0])), (1, 0));
    assert_eq!(String::from_utf8_lossy(&sent[0].payload), format!("{V1}GET /\r\n"));
    assert!(session.lab.advance(Duration::from_secs(1)).is_empty(), "nothing waits any more");
    // Another conn of the same slot has nothing to do with it.
    session.lab.recount().unwrap();
    let mut session = Session::new("proxy-v2");
    assert_eq!(session.send("A", 0, b""), []);
    let sent = session.send("FA", 0, b"");
    assert_eq!((sent.len(), sent[0].payload.len()), (1, 28), "it has nothing to say");
}

#[test]
fn what_a_client_says_behind_the_header_is_not_read_as_ftp() {
    let mut session = Session::new("proxy-v1");
    let said = "PORT 192,0,2,7,10,1\r\n";
    let sent = session.send("AP", 0, said.as_bytes());
    assert_eq!(String::from_utf8_lossy(&sent[0].payload), format!("{V1}{said}"));
    assert_eq!(session.lab.director.flows.conns.len(), 1, "no data conn is expected");
}

#[test]
fn where_there_is_no_room_the_header_is_a_segment_of_its_own() {
    let mut session = Session::new("proxy-v2");
    let full = [7; 1460];
    let sent = session.send("FA", 0, &full);
    let [header, data] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((session.place(header), header.payload.len()), (0, 28));
    assert_eq!((session.place(data), &data.payload[..]), (28, &full[..]));
    assert_eq!(
        (header.kind.clone(), data.kind.clone()),
        (Packet::tcp(RS1, VIP, "A").kind, Packet::tcp(RS1, VIP, "FA").kind)
    );

    // A superframe, whose segments stay as they are.
    let vnet =
        Vnet { needs_csum: true, gso: Gso::Tcp4, gso_size: 1000, csum_start: 34, csum_offset: 16, ..Vnet::default() };
    let frame = session.segment("AP", 0, &[7; 1460]).frame(ROUTER, DIRECTOR);
    let sent = session.lab.frame_with(&frame, vnet);
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].packet().payload.len(), sent[1].packet().payload.len()), (28, 1460));
    assert_eq!(sent[1].vnet.gso_size, 1000);
}

#[test]
fn resets_and_damaged_segments_bring_no_header() {
    let mut session = Session::new("proxy-v2");
    let mut frame = session.segment("AP", 0, b"GET /").frame(ROUTER, DIRECTOR);
    *frame.last_mut().unwrap() ^= 1;
    assert!(session.lab.frame(&frame).is_empty());
    assert_eq!(session.lab.turn.ledger().dropped(DropReason::L4Checksum), 1);
    let sent = session.send("R", 0, b"");
    assert_eq!((session.place(&sent[0]), sent[0].payload.len()), (0, 0), "what the server expects next");
}

#[test]
fn servers_of_the_other_family_learn_the_clients_own() {
    for (client, virt, real, wanted) in
        [(CLIENT6, VIP6, RS1, "PROXY TCP6 2001:db8:c::7 2001:db8:51::1 4000 80\r\n"), (CLIENT, VIP, RS6, V1)]
    {
        let mut session = Session::between(client, virt, real, "proxy-v1");
        assert_eq!(String::from_utf8_lossy(&session.is_silent().payload), wanted);
    }
}

#[test]
fn data_in_a_syn_is_left_for_the_client_to_send_again() {
    let rules = format!("-A -t {VIP} -s rr\n-a -t {VIP} -r {RS1} -b --client-address proxy-v1\n-P -t {VIP} -z {LIP}\n");
    let mut lab = Lab::new(&rules);
    let sent = lab.client(&Packet::tcp(CLIENT, VIP, "S").carrying("GET /"))[0].packet();
    assert!(sent.payload.is_empty());
}

#[test]
fn headers_go_through_full_nat_alone() {
    let mut lab = Lab::new("-A -t 198.51.100.1:80 -s rr\n-A -u 198.51.100.1:80 -s rr\n");
    // A datagram carries no line of text.
    for rule in ["-a -t 198.51.100.1:80 -r 10.0.0.21 -m", "-a -u 198.51.100.1:80 -r 10.0.0.21 -b"] {
        let told = ipvsadm::parse_rules(&format!("{rule} --client-address proxy-v1")).unwrap();
        assert_eq!(lab.director.apply(&told[0].1, lab.turn.now), Err(Refused::ClientAddress));
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
pub(super) fn transfer(seed: u64, session: &mut Session, own: &[u8], front: usize, cut: usize) {
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
