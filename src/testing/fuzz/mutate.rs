//! Changing inputs: bytes, pieces, numbers, and crossings of two of them.

use crate::base::Rng;

/// No input grows beyond this.
const LONGEST: usize = 16 * 1024;
/// Values at the edges of fields.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX];

/// One of the inputs with a few changes.
pub fn changed(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let any = |rng: &mut Rng| &inputs[rng.below(inputs.len() as u64) as usize];
    let mut bytes = any(rng).clone();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        match rng.below(10) {
            0 | 1 => set(&mut bytes, at, |_| rng.next_u64() as u8),
            2 => set(&mut bytes, at, |byte| byte ^ 1 << rng.below(8)),
            3 => edge(&mut bytes, at, rng),
            4 => bytes.insert(at, rng.next_u64() as u8),
            5 => _ = bytes.drain(at..end(&bytes, at, rng)),
            6 => repeat(&mut bytes, at, rng),
            7 => number(&mut bytes, at, rng),
            8 => cross(&mut bytes, at, any(rng), rng),
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn set(bytes: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
}

/// The end of a piece that begins there, mostly a short one.
fn end(bytes: &[u8], at: usize, rng: &mut Rng) -> usize {
    let longest = [4, 4, 16, 64, LONGEST as u64][rng.below(5) as usize];
    bytes.len().min(at + rng.below(longest) as usize)
}

fn edge(bytes: &mut [u8], at: usize, rng: &mut Rng) {
    let value = EDGES[rng.below(EDGES.len() as u64) as usize].to_be_bytes();
    let width = 1 << rng.below(4);
    let places = bytes.iter_mut().skip(at).zip(&value[8 - width..]);
    places.for_each(|(byte, value)| *byte = *value);
}

fn repeat(bytes: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let piece = bytes[at..end(bytes, at, rng)].to_vec();
    for _ in 0..1 + rng.below(3) {
        bytes.splice(at..at, piece.iter().copied());
    }
}

/// A number that is written in digits becomes another one.
fn number(bytes: &mut Vec<u8>, from: usize, rng: &mut Rng) {
    let Some(at) = bytes.iter().skip(from).position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = match rng.below(3) {
        0 => EDGES[rng.below(EDGES.len() as u64) as usize],
        1 => rng.below(300),
        _ => rng.next_u64() >> rng.below(64),
    };
    bytes.splice(at..at + digits, value.to_string().into_bytes());
}

fn cross(bytes: &mut Vec<u8>, at: usize, other: &[u8], rng: &mut Rng) {
    let from = rng.below(other.len() as u64 + 1) as usize;
    let piece = &other[from..end(other, from, rng)];
    let until = if rng.below(2) == 0 { at } else { bytes.len().min(at + piece.len()) };
    bytes.splice(at..until, piece.iter().copied());
}
