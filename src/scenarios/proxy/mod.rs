//! The PROXY protocol in front of a client's stream through FULL-NAT: whatever becomes of segments, the server gets the header
//! and then the stream, and the client never learns of it.

mod header;
mod transfer;

use std::time::Duration;

use super::sequences::is_sound;
use super::{CLIENT, LIP, RS1, RS6, VIP};
use crate::base::Endpoint;
use crate::director::Settings;
use crate::testing::{Frame, Lab, Packet};

pub(super) use transfer::transfer;

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

    /// How many bytes before a segment the server's stream has.
    pub(super) fn place(&self, sent: &Packet) -> usize {
        sent.seq.wrapping_sub(self.begun) as usize
    }
}
