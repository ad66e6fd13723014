//! What other directors are told of what helpers keep beside a TCP conn, so that they can go on with it.
//!
//! ```text
//! FTP      mode(1) | server's shift(12) | client's shift(12) | mode answered(1), 255: none | by which number(4)
//! PROXY    number of the first byte(4) | cut(4) | bits(1) | unique id(8)
//! TOA      number of the first byte(4) | bits(1)
//! SIP      of client and server each: pieces(1) | next(4) | longer(4) | unread(4) | each piece: number(4) | length(4) | longer(4)
//! ```
//! All numbers in network order. Bytes only.

use super::ftp::FtpControl;
use super::ftp_commands::Mode;
use super::proxy_header::{HandshakeEnd, ProxyHeader};
use super::sip_stream::{Piece, Stream};
use super::sip_tcp::SipConn;
use super::toa::ToaOption;
use crate::forward::SequenceShift;
use crate::service::command::ClientAddress;

const MODES: [Mode; 4] = [Mode::Active, Mode::Passive, Mode::ExtendedPassive, Mode::PassiveByExtended];
const NO_MODE: u8 = u8::MAX;
// Of a PROXY header.
const VERSION_2: u8 = 1;
const OPEN: u8 = 2;
const THERE: u8 = 4;
const UNIQUE: u8 = 8;
// Of a TOA option.
const MISSING: u8 = 1;
const ENDED: u8 = 2;
const STRIPS: u8 = 4;

/// What helpers know of a conn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Helped {
    /// Of a control conn.
    pub ftp: Option<FtpControl>,
    /// A header on its way.
    pub proxy: Option<ProxyHeader>,
    /// An option that goes with segments.
    pub toa: Option<ToaOption>,
    /// What is under way of a conn of SIP.
    pub sip: Option<SipConn>,
}

impl Helped {
    /// True if helpers know nothing of it.
    pub fn is_nothing(&self) -> bool {
        self.ftp.is_none() && self.proxy.is_none() && self.toa.is_none() && self.sip.is_none()
    }

    /// In parts, each with the helper's number.
    pub fn each(&self, put: &mut dyn FnMut(u8, &[u8])) {
        if let Some(control) = &self.ftp {
            put(0, &of_ftp(control));
        }
        if let Some(header) = &self.proxy {
            put(1, &of_proxy(header));
        }
        if let Some(option) = &self.toa {
            put(2, &of_toa(option));
        }
        if let Some(conn) = &self.sip {
            put(3, &conn.bytes(PIECES));
        }
    }

    /// Reads a part; `None` if it is none.
    pub fn read(&mut self, helper: u8, bytes: &[u8]) -> Option<()> {
        match helper {
            0 => self.ftp = Some(ftp(bytes.try_into().ok()?)?),
            1 => self.proxy = Some(proxy(bytes.try_into().ok()?)),
            2 => self.toa = Some(toa(bytes.try_into().ok()?)),
            3 => self.sip = Some(SipConn::of_bytes(bytes)?),
            _ => return None,
        }
        Some(())
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn number(mode: Mode) -> u8 {
    MODES.iter().position(|one| *one == mode).map_or(NO_MODE, |at| at as u8)
}

fn of_ftp(control: &FtpControl) -> Vec<u8> {
    let (answered, mode) = control.answered.map_or((0, NO_MODE), |(sequence, mode)| (sequence, number(mode)));
    let mut bytes = vec![number(control.mode)];
    put_words(control.shift.words(), &mut bytes);
    put_words(control.client_shift.words(), &mut bytes);
    bytes.push(mode);
    bytes.extend_from_slice(&answered.to_be_bytes());
    bytes
}

fn ftp(bytes: &[u8; 30]) -> Option<FtpControl> {
    let shift = |at: usize| SequenceShift::of_words([at, at + 4, at + 8].map(|at| word(bytes, at)));
    let mode = |byte: u8| MODES.get(usize::from(byte)).copied();
    let answered = mode(bytes[25]).map(|mode| (word(bytes, 26), mode));
    Some(FtpControl {
        mode: mode(bytes[0])?,
        shift: shift(1),
        client_shift: shift(13),
        answered,
        ..FtpControl::default()
    })
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

fn of_proxy(header: &ProxyHeader) -> Vec<u8> {
    let version = bit(header.version == ClientAddress::ProxyV2, VERSION_2);
    let bits = version | bit(header.is_open, OPEN) | bit(header.is_there, THERE) | bit(header.id.is_some(), UNIQUE);
    let mut bytes = [header.first.to_be_bytes(), header.cut.to_be_bytes()].concat();
    bytes.push(bits);
    bytes.extend_from_slice(&header.id.unwrap_or(0).to_be_bytes());
    bytes
}

fn proxy(bytes: &[u8; 17]) -> ProxyHeader {
    let has = |bit| bytes[8] & bit != 0;
    let id = u64::from(word(bytes, 9)) << 32 | u64::from(word(bytes, 13));
    ProxyHeader {
        first: word(bytes, 0),
        version: if has(VERSION_2) { ClientAddress::ProxyV2 } else { ClientAddress::ProxyV1 },
        is_open: has(OPEN),
        is_there: has(THERE),
        cut: word(bytes, 4),
        id: has(UNIQUE).then_some(id),
        end: HandshakeEnd::default(),
    }
}

fn of_toa(option: &ToaOption) -> Vec<u8> {
    let bits = bit(option.missing, MISSING) | bit(option.ended, ENDED) | bit(option.strips, STRIPS);
    let [a, b, c, d] = option.first.to_be_bytes();
    vec![a, b, c, d, bits]
}

fn toa(bytes: &[u8; 5]) -> ToaOption {
    let has = |bit| bytes[4] & bit != 0;
    ToaOption { first: word(bytes, 0), missing: has(MISSING), ended: has(ENDED), strips: has(STRIPS) }
}

/// As much as an option of a record has room for: what comes behind is new to whoever hears it.
const PIECES: usize = 8;
/// A piece that went on as it was.
const SAME: u32 = 1 << 31;
const STREAM: usize = 13;
const PIECE: usize = 12;

impl SipConn {
    /// As bytes, with so many pieces of each direction at most.
    pub fn bytes(&self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_stream(&self.client, most, &mut bytes);
        put_stream(&self.server, most, &mut bytes);
        bytes
    }

    /// From such bytes.
    pub fn of_bytes(bytes: &[u8]) -> Option<SipConn> {
        let (client, rest) = stream(bytes)?;
        let (server, rest) = stream(rest)?;
        rest.is_empty().then_some(SipConn { client, server })
    }
}

#[inline(never)]
fn put_stream(stream: &Stream, most: usize, bytes: &mut Vec<u8>) {
    let pieces = &stream.under_way[..stream.under_way.len().min(most)];
    let next = match pieces.last() {
        Some(last) if pieces.len() == most => last.at.wrapping_add(last.len),
        _ => stream.next.unwrap_or(0),
    };
    // Bit 7: a first byte has come.
    bytes.push(pieces.len() as u8 | bit(stream.next.is_some(), 128));
    put_words([next, stream.longer as u32, stream.unread], bytes);
    for piece in pieces {
        put_words([piece.at, piece.len, piece.longer.map_or(SAME, |longer| longer as u32)], bytes);
    }
}

#[inline(never)]
fn put_words(words: [u32; 3], bytes: &mut Vec<u8>) {
    for word in words {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
}

/// A stream at the beginning, and what follows.
#[inline(never)]
fn stream(bytes: &[u8]) -> Option<(Stream, &[u8])> {
    let count = usize::from(bytes.first()? & 127);
    let (bytes, rest) = bytes.split_at_checked(STREAM + count * PIECE)?;
    let piece = |bytes: &[u8]| {
        let longer = Some(word(bytes, 8)).filter(|longer| *longer != SAME).map(|longer| longer as i32);
        Piece { at: word(bytes, 0), len: word(bytes, 4), longer }
    };
    let next = (bytes[0] & 128 != 0).then_some(word(bytes, 1));
    let mut stream = Stream { next, longer: word(bytes, 5) as i32, unread: word(bytes, 9), ..Stream::default() };
    stream.under_way = bytes[STREAM..].chunks_exact(PIECE).map(piece).collect();
    Some((stream, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_and_nothing_else() {
        let shift = SequenceShift::of_words([9, 5, u32::MAX]);
        for mode in MODES {
            for answered in [None, Some((u32::MAX, mode))] {
                let ftp = FtpControl { mode, shift, client_shift: shift, answered, ..FtpControl::default() };
                for (id, bits) in [(None, false), (Some(u64::MAX - 7), true)] {
                    let version = if bits { ClientAddress::ProxyV2 } else { ClientAddress::ProxyV1 };
                    let proxy = ProxyHeader {
                        first: 7,
                        version,
                        is_open: bits,
                        is_there: !bits,
                        cut: 3,
                        id,
                        end: HandshakeEnd::default(),
                    };
                    let toa = ToaOption { first: 8, missing: bits, ended: !bits, strips: bits };
                    let piece = |at, longer| Piece { at, len: 500, longer };
                    let under_way = [piece(u32::MAX - 99, Some(-7)), piece(400, None), piece(900, Some(0))];
                    let client = Stream {
                        next: Some(1400),
                        longer: -9,
                        unread: 3,
                        under_way: under_way.into(),
                        ..Stream::default()
                    };
                    let sip = Some(SipConn { client, server: Stream::default() });
                    let told = Helped { ftp: Some(ftp), proxy: Some(proxy), toa: Some(toa), sip };
                    let mut heard = Helped::default();
                    told.each(&mut |helper, bytes| {
                        assert!(helper == 3 || heard.read(helper, &bytes[1..]).is_none());
                        heard.read(helper, bytes).unwrap();
                    });
                    assert_eq!(heard, told);
                }
            }
        }
        Helped::default().each(&mut |_, _| panic!("nothing is known"));
        assert!(Helped::default().is_nothing());
        assert_eq!((Helped::default().read(3, &[]), Helped::default().read(4, &[])), (None, None));
        assert_eq!(Helped::default().read(0, &[9; 30]), None, "no such mode");
    }
}
