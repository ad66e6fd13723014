//! The packet that an ICMP error quotes, perhaps cut short: its ends, its sequence number, its echo.
//!
//! Reads and edits; never makes the error's own checksum right again.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::field::{be16, be32, icmp, ipv4, ipv6, ports, put, put16, put32, tcp};
use super::ip::set_header_checksum;
use super::packet::{Fragment, Ip};
use super::{End, PacketBuf, extension};
use crate::base::{Endpoint, Proto, Tuple};

/// A packet quoted by an error, perhaps cut short.
#[derive(Clone, Copy, Debug)]
pub struct Quote {
    /// Where its IP header starts in the frame.
    pub at: usize,
    /// Where its L4 header starts.
    pub l4_at: usize,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol.
    pub proto: Proto,
    /// IPv4 DF.
    pub dont_fragment: bool,
    /// Both ports, if the quote reaches that far and it is no later fragment.
    pub ports: Option<(u16, u16)>,
}

impl Quote {
    /// The flow of the quoted packet, as it was sent.
    pub fn tuple(&self) -> Option<Tuple> {
        let (sport, dport) = self.ports.filter(|_| self.proto.has_ports())?;
        Some(Tuple { proto: self.proto, src: Endpoint::new(self.src, sport), dst: Endpoint::new(self.dst, dport) })
    }
}

/// The sequence number of a quoted segment, if the quote reaches that far; it ends with the frame at `end`.
pub fn sequence(frame: &[u8], quote: &Quote, end: usize) -> Option<u32> {
    let at = quote.l4_at + tcp::SEQUENCE;
    let is_there = quote.proto == Proto::TCP && quote.ports.is_some() && at + 4 <= end;
    is_there.then(|| be32(frame, at))
}

/// Moves the sequence number of a quoted segment, if the quote reaches that far; it ends with the frame at `end`.
pub fn shift_sequence(buf: &mut PacketBuf, quote: &Quote, end: usize, by: u32) {
    shift(buf, quote, (tcp::SEQUENCE, end), by);
}

/// Moves what a quoted segment acknowledges, if the quote reaches that far.
pub fn shift_acknowledged(buf: &mut PacketBuf, quote: &Quote, end: usize, by: u32) {
    shift(buf, quote, (tcp::ACKNOWLEDGMENT, end), by);
}

fn shift(buf: &mut PacketBuf, quote: &Quote, (field, end): (usize, usize), by: u32) {
    let at = quote.l4_at + field;
    if quote.proto == Proto::TCP && quote.ports.is_some() && at + 4 <= end {
        let number = be32(buf.frame(), at).wrapping_add(by);
        put32(buf.frame_mut(), at, number);
    }
}

/// The identifier of a quoted echo of either direction, if the quote reaches that far; it ends with the frame at `end`.
pub fn echo_id(frame: &[u8], quote: &Quote, end: usize) -> Option<u16> {
    let head = frame.get(quote.l4_at..end)?.first_chunk::<{ icmp::LEN }>()?;
    let is_echo = match quote.proto {
        Proto::ICMP => matches!(head[icmp::TYPE], 0 | 8),
        Proto::ICMP6 => matches!(head[icmp::TYPE], 128 | 129),
        _ => false,
    };
    is_echo.then(|| be16(head, icmp::SECOND_WORD))
}

/// Gives a quoted echo another identifier; its checksum stays as it is, like that of any quoted packet.
pub fn set_echo_id(buf: &mut PacketBuf, quote: &Quote, id: u16) {
    put16(buf.frame_mut(), quote.l4_at + icmp::SECOND_WORD, id);
}

/// Reads the packet that an ICMP error quotes (its IP header stands 8 bytes into the message).
pub fn read(frame: &[u8], ip: &Ip) -> Option<Quote> {
    read_at(frame, ip.l4_at + icmp::LEN, ip.end)
}

/// Reads a perhaps incomplete IP packet that starts at `at` and ends, as far as it is there, at `end`.
pub fn read_at(frame: &[u8], at: usize, end: usize) -> Option<Quote> {
    let packet = frame.get(at..end)?;
    let (src, dst, proto, header, later, dont_fragment) = match packet.first()? >> 4 {
        4 => {
            let header = Ipv4HeaderSlice::from_slice(packet).ok()?;
            let later = u16::from(header.fragments_offset()) != 0;
            let (src, dst) = (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()));
            (src, dst, header.protocol().0, header.slice().len(), later, header.dont_fragment())
        }
        6 => {
            let header = Ipv6HeaderSlice::from_slice(packet).ok()?;
            let extension::Upper { proto, at, fragment, .. } = extension::upper(packet)?;
            let (src, dst) = (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()));
            (src, dst, proto, at, fragment == Fragment::Later, true)
        }
        _ => return None,
    };
    let both = packet.get(header..header + 4).filter(|_| !later);
    let ports = both.map(|both| (be16(both, ports::SRC), be16(both, ports::DST)));
    Some(Quote { at, l4_at: at + header, src, dst, proto: Proto(proto), dont_fragment, ports })
}

/// Replaces one end of the quoted packet; its IP checksum is made anew, its L4 checksum left as it is.
///
/// The ICMP checksum must be set afterwards.
pub fn set_end(buf: &mut PacketBuf, quote: &Quote, end: End, to: Endpoint) {
    let source = end == End::Source;
    let frame = buf.frame_mut();
    match to.addr {
        IpAddr::V4(addr) => {
            put(frame, quote.at + if source { ipv4::SRC } else { ipv4::DST }, &addr.octets());
            let header = quote.at..quote.at + usize::from(frame[quote.at] & 0xf) * 4;
            set_header_checksum(&mut frame[header]);
        }
        IpAddr::V6(addr) => {
            put(frame, quote.at + if source { ipv6::SRC } else { ipv6::DST }, &addr.octets());
        }
    }
    if quote.ports.is_some() && quote.proto.has_ports() {
        put16(frame, quote.l4_at + if source { ports::SRC } else { ports::DST }, to.port);
    }
}
