//! Putting fragments together (RFC 791 3.2, RFC 8200 4.5), in any order, within bounded memory and time.
//! Memory is charged as it is held, and no source takes all of it.
//!
//! Overlapping fragments end the whole datagram (RFC 5722, and the kernel for IPv4 too): they are how filters are
//! deceived. An exact repetition is ignored. Never gives out a datagram with a hole; never grows past its bounds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::PacketBuf;
use super::field::{ETH_LEN, ipv4, put, put16};
use super::ip::set_length;
use super::packet::{Fragment, Ip};
use super::piece::{Key, Piece, take_apart};
use crate::base::{Family, FastHash, Instant};

/// How long the pieces of a datagram are kept (the kernel's `ipfrag_time`).
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of all incomplete datagrams together (the kernel's `ipfrag_high_thresh`).
const MOST_BYTES: usize = 4 << 20;
/// Incomplete datagrams.
const MOST_DATAGRAMS: usize = 1024;
/// One source may have this part of either.
const SHARES: usize = 4;
/// What a fragment is charged besides its bytes: its allocation and its place in the list.
const PART_COST: usize = 64;
const LARGEST_PACKET: usize = 65_535;

/// What became of one fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joined {
    /// It waits for others.
    Kept,
    /// The buffer now holds the whole datagram, made of this one and so many that waited.
    Whole(u32),
    /// It is not used: a repetition, or it contradicts the others, of which so many are given up with it.
    Refused(u32),
}

/// A datagram whose time is over, or that made room for another.
#[derive(Debug)]
pub struct Abandoned {
    /// How many of its fragments waited.
    pub pieces: u32,
    /// Its first fragment from the IP header on, if that had come: its sender may be told.
    pub first: Option<Vec<u8>>,
}

struct Datagram {
    key: Key,
    /// Ethernet and IP headers of the first fragment; empty until it comes.
    headers: Vec<u8>,
    /// The data so far in order of their offsets; none overlaps another.
    parts: Vec<Part>,
    /// Bytes of all parts.
    held: usize,
    length: Option<usize>,
    /// The largest fragment, and the largest with DF, as IP packets.
    largest: usize,
    largest_df: usize,
    due: Instant,
}

struct Part {
    from: usize,
    data: Vec<u8>,
}

impl Part {
    fn to(&self) -> usize {
        self.from + self.data.len()
    }
}

/// What a source has in here.
#[derive(Clone, Copy, Default)]
struct Share {
    datagrams: usize,
    bytes: usize,
}

/// All incomplete datagrams.
#[derive(Default)]
pub struct Reassembly {
    open: Vec<Datagram>,
    bytes: usize,
    shares: HashMap<IpAddr, Share, FastHash>,
    /// The source of the newest fragment: no other can have more than its share.
    newest: Option<IpAddr>,
}

impl Reassembly {
    /// True for what `join` takes: a fragment, or an IPv6 packet that carries a fragment header for nothing.
    #[inline]
    pub fn is_piece(frame: &[u8], ip: &Ip) -> bool {
        ip.fragment != Fragment::Whole || (ip.has_extensions() && take_apart(frame, ip).is_some())
    }

    /// Adds a fragment. Its checksum state must be complete.
    pub fn join(&mut self, buf: &mut PacketBuf, ip: &Ip, now: Instant) -> Joined {
        let Some(piece) = take_apart(buf.frame(), ip) else { return Joined::Refused(0) };
        let index = self.open.iter().position(|datagram| datagram.key == piece.key).unwrap_or_else(|| {
            self.open.push(Datagram::new(piece.key, now + PATIENCE));
            self.charge(piece.key.src, |share| share.datagrams += 1);
            self.open.len() - 1
        });
        self.newest = Some(piece.key.src);
        let datagram = &mut self.open[index];
        let before = datagram.cost();
        let fits = datagram.accept(&piece, buf.frame(), ip);
        let (grown, complete) = (datagram.cost() - before, datagram.is_complete());
        self.bytes += grown;
        self.charge(piece.key.src, |share| share.bytes += grown);
        match fits {
            Fit::Repeated => Joined::Refused(0),
            Fit::Contradicts => Joined::Refused(self.take_out(index).pieces()),
            Fit::Accepted if !complete => Joined::Kept,
            Fit::Accepted => {
                let datagram = self.take_out(index);
                // This fragment did not wait.
                let others = datagram.pieces() - 1;
                if datagram.headers.len() - ETH_LEN + datagram.held > LARGEST_PACKET {
                    return Joined::Refused(others);
                }
                datagram.write(buf);
                Joined::Whole(others)
            }
        }
    }

    fn charge(&mut self, source: IpAddr, change: impl FnOnce(&mut Share)) {
        change(self.shares.entry(source).or_default());
    }

    fn take_out(&mut self, index: usize) -> Datagram {
        let datagram = self.open.swap_remove(index);
        let (source, cost) = (datagram.key.src, datagram.cost());
        self.bytes -= cost;
        let share = self.shares.entry(source).or_default();
        share.datagrams -= 1;
        share.bytes -= cost;
        if share.datagrams == 0 {
            self.shares.remove(&source);
        }
        datagram
    }

    /// A datagram that is to make room: the oldest of a source that has more than its share or, when all together are too
    /// much, of the source that has most.
    pub fn evict(&mut self) -> Option<Abandoned> {
        let source = match self.bytes > MOST_BYTES || self.open.len() > MOST_DATAGRAMS {
            true => *self.shares.iter().max_by_key(|(_, share)| (share.bytes, share.datagrams))?.0,
            false => self.newest.filter(|source| self.has_too_much(source))?,
        };
        let of_source = self.open.iter().enumerate().filter(|(_, datagram)| datagram.key.src == source);
        let (index, _) = of_source.min_by_key(|(_, datagram)| datagram.due)?;
        Some(self.take_out(index).abandon())
    }

    fn has_too_much(&self, source: &IpAddr) -> bool {
        let share = self.shares.get(source).copied().unwrap_or_default();
        share.bytes > MOST_BYTES / SHARES || share.datagrams > MOST_DATAGRAMS / SHARES
    }

    /// A datagram whose time is over.
    pub fn expire(&mut self, now: Instant) -> Option<Abandoned> {
        let index = self.open.iter().position(|datagram| datagram.due <= now)?;
        Some(self.take_out(index).abandon())
    }

    /// When `expire` has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.open.iter().map(|datagram| datagram.due).min()
    }
}

enum Fit {
    Accepted,
    Repeated,
    Contradicts,
}

impl Datagram {
    fn new(key: Key, due: Instant) -> Datagram {
        let (headers, parts) = (Vec::new(), Vec::new());
        Datagram { key, headers, parts, held: 0, length: None, largest: 0, largest_df: 0, due }
    }

    /// What it is charged: what it holds, and what each fragment costs besides.
    fn cost(&self) -> usize {
        self.held + self.headers.len() + self.parts.len() * PART_COST
    }

    fn pieces(&self) -> u32 {
        self.parts.len() as u32
    }

    fn accept(&mut self, piece: &Piece, frame: &[u8], ip: &Ip) -> Fit {
        let (from, to) = (piece.from, piece.to);
        let sound = to > from && (piece.last || (to - from) % 8 == 0) && to <= LARGEST_PACKET;
        let beyond = self.length.is_some_and(|length| to > length || (piece.last && to != length));
        let cuts_off = piece.last && self.parts.last().is_some_and(|part| part.to() > to);
        if !sound || beyond || cuts_off {
            return Fit::Contradicts;
        }
        let data = &frame[piece.data_at..ip.end];
        let place = self.parts.partition_point(|part| part.to() <= from);
        if self.parts.get(place).is_some_and(|part| part.from < to) {
            return if self.has(place, from, data) { Fit::Repeated } else { Fit::Contradicts };
        }
        if piece.last {
            self.length = Some(to);
        }
        self.parts.insert(place, Part { from, data: data.to_vec() });
        self.held += data.len();
        if from == 0 {
            self.headers = frame[..piece.header_end].to_vec();
            let (at, protocol) = piece.next_header;
            self.headers[at] = protocol;
        }
        self.largest = self.largest.max(ip.total_len());
        if ip.dont_fragment {
            self.largest_df = self.largest_df.max(ip.total_len());
        }
        Fit::Accepted
    }

    /// True if these bytes are there already, in the parts from the one at `place` on, without a gap.
    fn has(&self, place: usize, from: usize, data: &[u8]) -> bool {
        let (mut from, mut data) = (from, data);
        for part in &self.parts[place..] {
            let Some(there) = from.checked_sub(part.from).and_then(|skip| part.data.get(skip..)) else { return false };
            let both = there.len().min(data.len());
            if there[..both] != data[..both] {
                return false;
            }
            (from, data) = (from + both, &data[both..]);
            if data.is_empty() {
                return true;
            }
        }
        false
    }

    /// Parts do not overlap, so that nothing is missing when they have as many bytes as there are.
    fn is_complete(&self) -> bool {
        self.length == Some(self.held) && !self.parts.is_empty()
    }

    /// The whole packet; it is to be cut again no larger than it came.
    fn write(&self, buf: &mut PacketBuf) {
        let at = self.headers.len();
        let frame = buf.reset(at + self.held);
        put(frame, 0, &self.headers);
        self.parts.iter().for_each(|part| put(frame, at + part.from, &part.data));
        let (packet, family) = (&mut frame[ETH_LEN..], Family::of(self.key.dst));
        if family == Family::V4 {
            put16(packet, ipv4::FRAGMENT, if self.largest_df == self.largest { ipv4::DONT_FRAGMENT } else { 0 });
        }
        set_length(packet, family, at - ETH_LEN);
        // A single piece had a fragment header for nothing, and is not cut again.
        buf.cut = (self.parts.len() > 1).then_some(self.largest as u16);
        if self.parts.len() > 1 {
            buf.parts.extend(self.parts.iter().map(|part| part.data.len() as u16));
        }
    }

    fn abandon(self) -> Abandoned {
        let pieces = self.pieces();
        let first = self.parts.into_iter().next().filter(|part| part.from == 0);
        let first = first.map(|part| [&self.headers[ETH_LEN..], &part.data].concat());
        Abandoned { pieces, first }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::base::{Proto, Rng};
    use crate::wire::ip::{Header, ip_header};
    use crate::wire::{Fragments, ip_packet};

    fn datagram(len: usize, id: u16) -> PacketBuf {
        let mut buf = PacketBuf::new();
        let frame = buf.reset(ETH_LEN + 20 + len);
        for (index, byte) in frame[ETH_LEN + 20..].iter_mut().enumerate() {
            *byte = (index * 7 % 251) as u8;
        }
        let (src, dst) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));
        let fields = Header { src, dst, proto: Proto::UDP, ttl: 64, tos: 0, id, dont_fragment: false };
        ip_header(frame, &fields);
        buf
    }

    fn cut(whole: &PacketBuf, mtu: usize) -> Vec<Vec<u8>> {
        let ip = ip_packet(whole.frame()).unwrap();
        let mut fragments = Fragments::new(whole, &ip, mtu, 0).unwrap();
        let mut out = PacketBuf::new();
        std::iter::from_fn(|| fragments.next_into(whole, &ip, &mut out).then(|| out.frame().to_vec())).collect()
    }

    fn join(reassembly: &mut Reassembly, frame: &[u8], now: Instant) -> (Joined, PacketBuf) {
        let mut buf = PacketBuf::new();
        buf.set(frame);
        let ip = ip_packet(frame).unwrap();
        (reassembly.join(&mut buf, &ip, now), buf)
    }

    #[test]
    fn pieces_in_any_order_and_repeated_give_the_whole_again() {
        let mut rng = Rng::seeded(3);
        let mut reassembly = Reassembly::default();
        for round in 0..500 {
            let whole = datagram(100 + rng.below(9000) as usize, round);
            let mut pieces = cut(&whole, 68 + rng.below(1400) as usize);
            if pieces.len() < 2 {
                continue;
            }
            for index in 0..pieces.len() {
                let other = rng.below(pieces.len() as u64) as usize;
                pieces.swap(index, other);
            }
            let largest = pieces.iter().map(|piece| piece.len() - ETH_LEN).max().unwrap() as u16;
            let (last, first) = pieces.split_last().unwrap();
            for piece in first {
                assert_eq!(join(&mut reassembly, piece, Instant(0)).0, Joined::Kept);
                assert_eq!(join(&mut reassembly, piece, Instant(0)).0, Joined::Refused(0), "a repetition");
            }
            let (done, buf) = join(&mut reassembly, last, Instant(0));
            assert_eq!(done, Joined::Whole(first.len() as u32));
            assert_eq!((buf.frame(), buf.cut), (whole.frame(), Some(largest)));
            assert!(reassembly.next_due().is_none() && reassembly.bytes == 0);
        }
    }

    #[test]
    fn an_overlap_ends_the_datagram() {
        let mut reassembly = Reassembly::default();
        let whole = datagram(3000, 7);
        let (coarse, fine) = (cut(&whole, 1020), cut(&whole, 520));
        assert_eq!(join(&mut reassembly, &fine[1], Instant(0)).0, Joined::Kept);
        assert_eq!(join(&mut reassembly, &coarse[0], Instant(0)).0, Joined::Refused(1));
        let mut other = fine[1].clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(join(&mut reassembly, &fine[1], Instant(0)).0, Joined::Kept);
        assert_eq!(join(&mut reassembly, &other, Instant(0)).0, Joined::Refused(1), "other bytes in the same place");
        assert!(reassembly.next_due().is_none());
    }

    #[test]
    fn incomplete_datagrams_end_in_time_and_the_oldest_makes_room() {
        let mut reassembly = Reassembly::default();
        for id in 0..=MOST_DATAGRAMS as u16 {
            assert!(reassembly.evict().is_none());
            let source = id as usize % (2 * SHARES);
            join(&mut reassembly, &fragment(source as u8, id, 0), Instant(u64::from(id)));
        }
        let evicted = reassembly.evict().unwrap();
        assert_eq!((evicted.pieces, evicted.first.is_some()), (1, true));
        assert!(reassembly.evict().is_none());
        assert_eq!(reassembly.next_due(), Some(Instant(30_001)));
        assert!(reassembly.expire(Instant(30_000)).is_none());
        assert!(reassembly.expire(Instant(30_001)).is_some());
    }

    /// A fragment of 8 bytes at `offset`, with others to come.
    fn fragment(source: u8, id: u16, offset: u16) -> Vec<u8> {
        let mut frame = cut(&datagram(100, id), 28)[0].clone();
        frame[ETH_LEN + ipv4::SRC + 3] = source;
        put16(&mut frame, ETH_LEN + ipv4::FRAGMENT, ipv4::MORE_FRAGMENTS | (offset / 8));
        set_length(&mut frame[ETH_LEN..], Family::V4, ipv4::LEN);
        frame
    }

    #[test]
    fn a_lone_fragment_costs_what_it_holds_wherever_it_is() {
        let mut reassembly = Reassembly::default();
        for id in 0..64 {
            assert_eq!(join(&mut reassembly, &fragment(1, id, 65_000), Instant(0)).0, Joined::Kept);
        }
        assert_eq!(reassembly.bytes, 64 * (8 + PART_COST));
        assert!(reassembly.evict().is_none());
    }

    #[test]
    fn a_source_takes_its_share_and_leaves_others_theirs() {
        let mut reassembly = Reassembly::default();
        let victim = cut(&datagram(100, 9), 60);
        join(&mut reassembly, &victim[0], Instant(0));
        // One source, many datagrams; one source, one datagram of many fragments after another.
        for (source, id, offset) in
            (0..5000).map(|n| (66, n, 0)).chain((0..40_000).map(|n| (67, n / 8000, n % 8000 * 8)))
        {
            join(&mut reassembly, &fragment(source, id, offset), Instant(1));
            while reassembly.evict().is_some() {}
            assert!(reassembly.bytes <= 2 * MOST_BYTES / SHARES + 200 && reassembly.open.len() <= MOST_DATAGRAMS / 2);
        }
        for rest in &victim[1..victim.len() - 1] {
            assert_eq!(join(&mut reassembly, rest, Instant(2)).0, Joined::Kept);
        }
        let (done, _) = join(&mut reassembly, victim.last().unwrap(), Instant(2));
        assert_eq!(done, Joined::Whole(victim.len() as u32 - 1), "another source's datagram is still there");
        while reassembly.expire(Instant(60_000)).is_some() {}
        assert!(reassembly.bytes == 0 && reassembly.shares.is_empty());
    }
}
