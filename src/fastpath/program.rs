//! The program as the kernel gets it: instructions, which name maps and constants by numbers, and the sizes of the maps.
//!
//! `scripts/fastpath` makes the instructions of `program.c`.

use super::{abi, proxied};
use crate::conn::CLIENT_PLACES;

/// The name under which the kernel lists it.
pub const NAME: &str = "tapvs_fast";

/// Instructions; nothing on a machine of the other byte order, for which they are not made.
pub const CODE: &[u8] = if cfg!(target_endian = "little") { include_bytes!("program.bin") } else { &[] };

const NUMBERS: u64 = 0x7a70_7673_0000_0000;
/// Stands for the map of entries.
pub const FLOWS: u64 = NUMBERS + 1;
/// Stands for the map of neighbours.
pub const NEIGHBOURS: u64 = NUMBERS + 2;
/// Stands for the map of stations.
pub const STATIONS: u64 = NUMBERS + 3;
/// Stands for the map of totals.
pub const TOTALS: u64 = NUMBERS + 4;
/// Stands for the number of the link that the program is for.
pub const LINK: u64 = NUMBERS + 5;
/// Stands for what the link carries: 0 Ethernet, 1 bare packets.
pub const MEDIUM: u64 = NUMBERS + 6;
/// Stands for the map of services whose SYNs are answered.
pub const PROXIED: u64 = NUMBERS + 7;
/// Stands for the map of ways back to clients.
pub const REACHES: u64 = NUMBERS + 8;
/// Stands for the map of clients that have conns.
pub const CLIENTS: u64 = NUMBERS + 9;
/// Stands for whether SYNs are answered at all: 0 no, 1 yes.
pub const ANSWERS: u64 = NUMBERS + 10;

/// Links that a director has at most.
pub const LINKS: u32 = 256;

/// Lengths of keys and values.
pub type Lengths = (usize, usize);
/// Of the map of entries.
pub const OF_FLOWS: Lengths = (abi::KEY_LEN, abi::ENTRY_LEN);
/// Of the map of neighbours, an array.
pub const OF_NEIGHBOURS: Lengths = (4, abi::NEIGHBOUR_LEN);
/// Of the map of stations, an array.
pub const OF_STATIONS: Lengths = (4, abi::STATION_LEN);
/// Of the map of totals, an array of one element.
pub const OF_TOTALS: Lengths = (4, abi::TOTALS_LEN);
/// Of the map of services.
pub const OF_PROXIED: Lengths = (abi::KEY_LEN, proxied::PROXIED_LEN);
/// Of the map of ways back, a trie.
pub const OF_REACHES: Lengths = (proxied::PREFIX_LEN, proxied::REACH_LEN);
/// Elements of the map of clients.
pub const CLIENT_ELEMENTS: u32 = (CLIENT_PLACES / OF_CLIENTS.1) as u32;
/// Of the map of clients, an array of eight places in each element.
pub const OF_CLIENTS: Lengths = (4, 8);
