//! TCP segments: those that the director itself sends, and the numbers of others, moved in place.
//!
//! Never keeps state.

use super::field::{ETH_LEN, be16, be32, ports, put, put16, put32, tcp};
use super::ip::{DEFAULT_TTL, Header, header_len, ip_header, l4_header_len, set_length};
use super::packet::{Ip, L4, TcpFlags};
use super::vnet::{Gso, Vnet};
use super::{PacketBuf, checksum, tcp_option};
use crate::base::{Endpoint, Family, Proto};

/// Flags.
pub const SYN: u8 = 0x02;
const RST: u8 = TcpFlags::RST.0;
/// Flags.
pub const ACK: u8 = 0x10;

/// Writes the reset that answers a segment to a closed port (RFC 9293 3.10.7.1); MACs left open. False if it must not be
/// answered.
pub fn reset_for(out: &mut PacketBuf, request: &[u8], ip: &Ip) -> bool {
    let L4::Tcp { sport, dport, flags } = ip.l4 else { return false };
    if flags.rst() {
        return false;
    }
    let (seq, acked) = (sequence(request, ip), acknowledged(request, ip));
    let data = (ip.end - ip.l4_at).saturating_sub(l4_header_len(request, ip)) as u32;
    let (seq, ack, flags) = match flags.ack() {
        true => (acked, 0, RST),
        false => {
            let length = data + u32::from(flags.syn()) + u32::from(flags.fin());
            (0, seq.wrapping_add(length), RST | ACK)
        }
    };
    let (src, dst) = (Endpoint::new(ip.dst, dport), Endpoint::new(ip.src, sport));
    write(out, &Segment { tos: ip.tos, ..Segment::bare(src, dst, seq, ack, flags) });
    true
}

/// Writes a reset out of the blue; `seq` must be what the receiver expects (RFC 5961). MACs left open.
pub fn reset(out: &mut PacketBuf, src: Endpoint, dst: Endpoint, seq: u32) {
    write(out, &Segment::bare(src, dst, seq, 0, RST));
}

/// Writes a segment that its receiver must answer: its number is before the one that is expected (RFC 9293 3.8.4). MACs
/// left open.
pub fn keep_alive(out: &mut PacketBuf, src: Endpoint, dst: Endpoint, (seq, ack): (u32, u32)) {
    write(out, &Segment::bare(src, dst, seq, ack, ACK));
}

/// Writes a request for a connection, without options; MACs left open.
pub fn syn(out: &mut PacketBuf, src: Endpoint, dst: Endpoint, seq: u32) {
    write(out, &Segment::bare(src, dst, seq, 0, SYN));
}

/// A segment without data.
pub struct Segment<'a> {
    /// Its sender.
    pub src: Endpoint,
    /// Its receiver.
    pub dst: Endpoint,
    /// Sequence number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// Flag bits.
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Options, a multiple of four bytes.
    pub options: &'a [u8],
    /// TOS or traffic class.
    pub tos: u8,
}

impl Segment<'_> {
    fn bare(src: Endpoint, dst: Endpoint, seq: u32, ack: u32, flags: u8) -> Segment<'static> {
        Segment { src, dst, seq, ack, flags, window: 0, options: &[], tos: 0 }
    }
}

/// Writes a segment; MACs left open.
pub fn write(out: &mut PacketBuf, segment: &Segment) {
    let Segment { src, dst, seq, ack, flags, window, options, tos } = *segment;
    let start = ETH_LEN + header_len(Family::of(dst.addr));
    let len = tcp::LEN + options.len();
    let frame = out.reset(start + len);
    let header = &mut frame[start..];
    put16(header, ports::SRC, src.port);
    put16(header, ports::DST, dst.port);
    put32(header, tcp::SEQUENCE, seq);
    put32(header, tcp::ACKNOWLEDGMENT, ack);
    header[tcp::DATA_OFFSET] = (len as u8 / 4) << 4;
    header[tcp::FLAGS] = flags;
    put16(header, tcp::WINDOW, window);
    put(header, tcp::LEN, options);
    let sum = !checksum::with_pseudo(src.addr, dst.addr, Proto::TCP, header);
    put16(header, tcp::CHECKSUM, sum);
    let (src, dst) = (src.addr, dst.addr);
    let fields = Header { src, dst, proto: Proto::TCP, ttl: DEFAULT_TTL, tos, id: 0, dont_fragment: true };
    ip_header(frame, &fields);
}

/// What a segment acknowledges.
pub fn acknowledged(frame: &[u8], ip: &Ip) -> u32 {
    be32(frame, ip.l4_at + tcp::ACKNOWLEDGMENT)
}

/// Moves a segment's sequence number.
pub fn shift_sequence(buf: &mut PacketBuf, ip: &Ip, by: i32) {
    shift(buf, ip, ip.l4_at + tcp::SEQUENCE, by);
}

/// Moves what a segment acknowledges, selective acknowledgements (RFC 2018) included; `by` tells how far for each number.
pub fn shift_acknowledged(buf: &mut PacketBuf, ip: &Ip, by: impl Fn(u32) -> i32) {
    let at = ip.l4_at + tcp::ACKNOWLEDGMENT;
    let delta = by(be32(buf.frame(), at));
    shift(buf, ip, at, delta);
    tcp_option::each(buf, ip, |buf, option, range| {
        let edges = if option == tcp_option::SACK { (range.len() - 2) / 4 } else { 0 };
        for edge in (0..edges).map(|index| range.start + 2 + index * 4) {
            let delta = by(be32(buf.frame(), edge));
            shift(buf, ip, edge, delta);
        }
    });
}

/// The window of a segment, as it is written there.
pub fn window(frame: &[u8], ip: &Ip) -> u16 {
    be16(frame, ip.l4_at + tcp::WINDOW)
}

/// Gives a segment another window.
pub fn set_window(buf: &mut PacketBuf, ip: &Ip, window: u16) {
    let complete = !buf.vnet.needs_csum;
    let (at, sum_at) = (ip.l4_at + tcp::WINDOW, ip.l4_at + tcp::CHECKSUM);
    let frame = buf.frame_mut();
    let old = be16(frame, at);
    put16(frame, at, window);
    if complete {
        let sum = be16(frame, sum_at);
        put16(frame, sum_at, checksum::update(sum, checksum::change(&old.to_be_bytes(), &window.to_be_bytes())));
    }
}

/// Moves a segment's timestamps (RFC 7323): its sender's clock, and what it echoes, which only an acknowledgement does.
pub fn shift_timestamps(buf: &mut PacketBuf, ip: &Ip, value: u32, echo: u32) {
    let echoes = matches!(ip.l4, L4::Tcp { flags, .. } if flags.ack());
    tcp_option::each(buf, ip, |buf, option, range| {
        if option == tcp_option::TIMESTAMPS && range.len() == 10 {
            shift(buf, ip, range.start + 2, value as i32);
            if echoes {
                shift(buf, ip, range.start + 6, echo as i32);
            }
        }
    });
}

/// Takes the FIN out of a segment; its checksum is for the caller to make.
pub fn clear_fin(buf: &mut PacketBuf, ip: &mut Ip) {
    buf.frame_mut()[ip.l4_at + tcp::FLAGS] &= !1;
    if let L4::Tcp { flags, .. } = &mut ip.l4 {
        *flags = TcpFlags(flags.0 & !1);
    }
}

/// The sequence number of a segment.
pub fn sequence(frame: &[u8], ip: &Ip) -> u32 {
    be32(frame, ip.l4_at + tcp::SEQUENCE)
}

/// Where the payload of a segment begins.
pub fn payload_at(frame: &[u8], ip: &Ip) -> usize {
    (ip.l4_at + l4_header_len(frame, ip)).min(ip.end)
}

/// Puts other bytes in the place of a part of the payload; the checksum is made anew and complete.
///
/// False, and nothing changed, if there is no room.
pub fn replace_payload(buf: &mut PacketBuf, ip: &mut Ip, range: std::ops::Range<usize>, text: &[u8]) -> bool {
    if text.len() > range.len() && !buf.insert(range.start, text.len() - range.len()) {
        return false;
    }
    if text.len() < range.len() {
        buf.remove(range.start, range.len() - text.len());
    }
    ip.end = ip.end + text.len() - range.len();
    buf.vnet = Default::default();
    let frame = buf.frame_mut();
    put(frame, range.start, text);
    set_length(&mut frame[ETH_LEN..ip.end], ip.family(), ip.l4_at - ETH_LEN);
    let segment = &mut frame[ip.l4_at..ip.end];
    put16(segment, tcp::CHECKSUM, 0);
    let sum = !checksum::with_pseudo(ip.src, ip.dst, Proto::TCP, segment);
    put16(segment, tcp::CHECKSUM, sum);
    true
}

/// A superframe that `replace_payload` has made a segment of becomes one again, if it is longer than one of its segments.
pub fn reopen(buf: &mut PacketBuf, ip: &Ip, vnet: Vnet) {
    if vnet.gso == Gso::None || ip.end - payload_at(buf.frame(), ip) <= usize::from(vnet.gso_size) {
        return;
    }
    buf.vnet = vnet;
    let sum = checksum::pseudo(ip.src, ip.dst, Proto::TCP, ip.end - ip.l4_at);
    put16(buf.frame_mut(), ip.l4_at + tcp::CHECKSUM, sum);
}

/// True if a segment's checksum is right, or not complete yet.
pub fn checksum_is_right(buf: &PacketBuf, ip: &Ip) -> bool {
    let segment = &buf.frame()[ip.l4_at..ip.end];
    buf.vnet.needs_csum || checksum::with_pseudo(ip.src, ip.dst, Proto::TCP, segment) == 0xffff
}

/// Inlined, so that the place of a header's own number is a constant.
#[inline(always)]
fn shift(buf: &mut PacketBuf, ip: &Ip, at: usize, by: i32) {
    if by == 0 {
        return;
    }
    let complete = !buf.vnet.needs_csum;
    let frame = buf.frame_mut();
    let old = be32(frame, at);
    let new = old.wrapping_add_signed(by);
    put32(frame, at, new);
    if complete {
        let (old, new) = aligned(at - ip.l4_at, old, new);
        let field = be16(frame, ip.l4_at + tcp::CHECKSUM);
        put16(frame, ip.l4_at + tcp::CHECKSUM, checksum::update(field, checksum::change(&old, &new)));
    }
}

/// A number's bytes as the checksum pairs them: one that stands at an odd place is turned.
fn aligned(offset: usize, old: u32, new: u32) -> ([u8; 4], [u8; 4]) {
    match offset % 2 {
        0 => (old.to_be_bytes(), new.to_be_bytes()),
        _ => (old.rotate_right(8).to_be_bytes(), new.rotate_right(8).to_be_bytes()),
    }
}
