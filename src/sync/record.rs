//! What directors tell each other of one conn, and its bytes in messages of version 1.
//!
//! ```text
//! record    type | protocol | length(2) | flags(4) | state(2) | cport vport dport(6)
//!           | mark(4) | timeout(4) | client virtual real | options: type, length, value
//! ```
//! All numbers in network order. Bytes only.

use std::net::IpAddr;

use crate::alg::Helped;
use crate::base::{Endpoint, Family, Proto, Tuple};
use crate::flows::Join;

/// Bytes of a record before its addresses.
const FIXED: usize = 24;
const TYPE_V6: u8 = 1;
const ENGINE_DATA: u8 = 2;
const ENGINE_NAME: u8 = 3;
/// Options of this director's own; a kernel gets none of them.
const LOCAL: u8 = 0x21;
const SHIFT: u8 = 0x22;
const JOIN: u8 = 0x23;
const JOIN_LEN: usize = 14;
const UNDER: u8 = 0x24;
/// The first of those that say what helpers know; directors before this one passed over these and `UNDER`.
const HELPED: u8 = 0x28;
const HELPERS: u8 = 4;
const OPTIONAL: u8 = 0x40;

/// One conn or template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Protocol; 0 for templates of mark services.
    pub proto: Proto,
    /// The kernel's conn flags.
    pub flags: u32,
    /// State number of its protocol.
    pub state: u16,
    /// Client.
    pub client: Endpoint,
    /// What the client addresses.
    pub virt: Endpoint,
    /// Real server.
    pub real: Endpoint,
    /// Mark of its packets.
    pub mark: u32,
    /// Seconds that the conn lives after a packet.
    pub timeout: u32,
    /// Persistence engine and its data.
    pub engine: Option<(&'a str, &'a [u8])>,
    /// What FULL-NAT has besides, which only directors of this kind are told.
    pub full_nat: Option<FullNat>,
    /// What is between the ends of a conn whose handshake a director has made.
    pub join: Option<Join>,
    /// Of a conn that was made without a packet of its own.
    pub under: Option<Under>,
    /// What helpers know of it.
    pub helped: Helped,
}

/// What a conn has that was made without a packet of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Under {
    /// One of its ends will open it; no packet belongs to others.
    pub announced: bool,
    /// The conn that controls it, as its client's packets carry it.
    pub control: Option<Tuple>,
}

/// What a conn of FULL-NAT has besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FullNat {
    /// Where its packets to the real server come from.
    pub local: Endpoint,
    /// By how much its sequence numbers are moved.
    pub shift: u32,
}

impl Under {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.announced)];
        if let Some(Tuple { proto, src, dst }) = self.control {
            bytes.push(proto.0);
            [src, dst].iter().for_each(|end| bytes.extend_from_slice(&end.port.to_be_bytes()));
            [src, dst].iter().for_each(|end| write_address(end.addr, &mut bytes));
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Under> {
        let (announced, control) = bytes.split_first()?;
        let announced = *announced != 0;
        let [proto, a, b, c, d, addresses @ ..] = control else {
            return control.is_empty().then_some(Under { announced, control: None });
        };
        let (client, virt) = addresses.split_at(addresses.len() / 2);
        let src = Endpoint::new(address(client)?, u16::from_be_bytes([*a, *b]));
        let dst = Endpoint::new(address(virt)?, u16::from_be_bytes([*c, *d]));
        Some(Under { announced, control: Some(Tuple { proto: Proto(*proto), src, dst }) })
    }
}

impl Record<'_> {
    /// True for what a kernel would not read.
    pub(super) fn has_more(&self) -> bool {
        self.under.is_some() || !self.helped.is_nothing()
    }

    /// Of conns that were made without a packet, and of those that helpers read.
    #[inline(never)]
    fn write_rare(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, bytes: &[u8]| {
            out.extend_from_slice(&[kind | OPTIONAL, bytes.len() as u8]);
            out.extend_from_slice(bytes);
        };
        if let Some(under) = &self.under {
            put(UNDER, &under.bytes());
        }
        self.helped.each(&mut |helper, bytes| put(HELPED + helper, bytes));
    }

    /// True for a conn between families.
    pub(super) fn crosses(&self) -> bool {
        Family::of(self.client.addr) != Family::of(self.real.addr)
    }

    /// Appends the record.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let kind = if Family::of(self.client.addr) == Family::V6 { TYPE_V6 } else { 0 };
        let from = out.len();
        out.extend_from_slice(&[kind, self.proto.0, 0, 0]);
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.state.to_be_bytes());
        for end in [self.client, self.virt, self.real] {
            out.extend_from_slice(&end.port.to_be_bytes());
        }
        out.extend_from_slice(&self.mark.to_be_bytes());
        out.extend_from_slice(&self.timeout.to_be_bytes());
        for end in [self.client, self.virt, self.real] {
            write_address(end.addr, out);
        }
        if let Some((name, data)) = self.engine {
            out.extend_from_slice(&[ENGINE_DATA, data.len() as u8]);
            out.extend_from_slice(data);
            out.extend_from_slice(&[ENGINE_NAME, name.len() as u8]);
            out.extend_from_slice(name.as_bytes());
        }
        if let Some(FullNat { local, shift }) = self.full_nat {
            out.extend_from_slice(&[LOCAL, 2 + Family::of(local.addr).bits() / 8]);
            out.extend_from_slice(&local.port.to_be_bytes());
            write_address(local.addr, out);
            out.extend_from_slice(&[SHIFT, 4]);
            out.extend_from_slice(&shift.to_be_bytes());
        }
        if let Some(join) = self.join {
            out.extend_from_slice(&[JOIN, JOIN_LEN as u8]);
            for number in [join.back, join.client_clock, join.server_clock] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(&[join.client_window as u8, join.server_window as u8]);
        }
        if self.has_more() {
            self.write_rare(out);
        }
        // The upper four bits are the record's version, 0.
        let len = (out.len() - from) as u16 & 0xfff;
        out[from + 2..from + 4].copy_from_slice(&len.to_be_bytes());
    }
}

fn write_address(addr: IpAddr, out: &mut Vec<u8>) {
    match addr {
        IpAddr::V4(addr) => out.extend_from_slice(&addr.octets()),
        IpAddr::V6(addr) => out.extend_from_slice(&addr.octets()),
    }
}

/// A record at the start of `bytes`, and its length.
pub(super) fn record(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    read(bytes, |family| family)
}

/// The same of a conn between families.
pub(super) fn crossed(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    read(bytes, Family::other)
}

/// A record whose server is of the family that this makes of the client's.
fn read(bytes: &[u8], server: fn(Family) -> Family) -> Option<(Record<'_>, usize)> {
    let fixed = bytes.first_chunk::<FIXED>()?;
    let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (version, len) = (half(2) >> 12, usize::from(half(2) & 0xfff));
    let family = if fixed[0] & TYPE_V6 != 0 { Family::V6 } else { Family::V4 };
    let [size, size_of_server] = [family, server(family)].map(|family| usize::from(family.bits()) / 8);
    let body = bytes.get(FIXED..len)?;
    let (addresses, options) = body.split_at_checked(2 * size + size_of_server)?;
    if version != 0 {
        return None;
    }
    let (client, rest) = addresses.split_at(size);
    let (virt, real) = rest.split_at(size);
    let Options { engine, full_nat, join, under, helped } = read_options(options)?;
    let record = Record {
        proto: Proto(fixed[1]),
        flags: word(4),
        state: half(8),
        client: Endpoint::new(address(client)?, half(10)),
        virt: Endpoint::new(address(virt)?, half(12)),
        real: Endpoint::new(address(real)?, half(14)),
        mark: word(16),
        timeout: word(20),
        engine,
        full_nat,
        join,
        under,
        helped,
    };
    Some((record, len))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// What the options of a record say.
struct Options<'a> {
    engine: Option<(&'a str, &'a [u8])>,
    full_nat: Option<FullNat>,
    join: Option<Join>,
    under: Option<Under>,
    helped: Helped,
}

/// The options of a record. Sequence numbers of helpers are not kept, optional options that are unknown here are skipped,
/// other unknown ones make the record invalid.
fn read_options(mut options: &[u8]) -> Option<Options<'_>> {
    const SEQUENCES: u8 = 1;
    let (mut name, mut data, mut local, mut shift, mut join) = (None, None, None, None, None);
    let (mut under, mut helped) = (None, Helped::default());
    while let [kind, len, rest @ ..] = options {
        let (value, after) = rest.split_at_checked(usize::from(*len))?;
        match kind & !OPTIONAL {
            SEQUENCES if value.len() == 24 => {}
            ENGINE_DATA if !value.is_empty() => data = Some(value),
            ENGINE_NAME if (1..=16).contains(&value.len()) => name = std::str::from_utf8(value).ok(),
            LOCAL => {
                let ([high, low], addr) = value.split_first_chunk()?;
                local = Some(Endpoint::new(address(addr)?, u16::from_be_bytes([*high, *low])));
            }
            SHIFT => shift = Some(u32::from_be_bytes(value.try_into().ok()?)),
            UNDER => under = Some(Under::read(value)?),
            helper @ HELPED.. if helper - HELPED < HELPERS => helped.read(helper - HELPED, value)?,
            JOIN => join = Some(join_of(value.try_into().ok()?)?),
            _ if kind & OPTIONAL != 0 => {}
            _ => return None,
        }
        options = after;
    }
    let full_nat = local.zip(shift).map(|(local, shift)| FullNat { local, shift });
    options.is_empty().then_some(Options { engine: name.zip(data), full_nat, join, under, helped })
}

/// Shifts of windows are of at most 14 bits (RFC 7323 2.3).
fn join_of(bytes: &[u8; JOIN_LEN]) -> Option<Join> {
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let [client_window, server_window] = [bytes[12] as i8, bytes[13] as i8];
    let join = Join { back: word(0), client_clock: word(4), server_clock: word(8), client_window, server_window };
    [client_window, server_window].iter().all(|bits| (-14..=14).contains(bits)).then_some(join)
}
