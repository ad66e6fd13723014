//! One laboratory for scenarios, the replay of recordings, fuzz targets and benches: a director whose links end in a
//! `Wire`, a clock that is moved by hand, and packets that etherparse builds and reads.
//!
//! Never part of the program: nothing outside tests may use it (`scripts/layers`), and it may panic, as tests do.

pub mod fast;
pub mod fuzz;
mod kernel;
mod kernel_program;
mod lab;
pub mod load;
mod packet;
mod packet_read;
mod shadow;
pub mod taps;
mod wire;

pub use kernel::KernelModel;
pub use kernel_program::without_outer_id;
pub use lab::{DIRECTOR, LINK, Lab, ROUTER, expect, link, mac_of};
pub use packet::{Kind, Packet, endpoint, with_options};
pub use shadow::Shadow;
pub use wire::{Frame, Wire};

/// Bytes written in hex, with or without blanks.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
