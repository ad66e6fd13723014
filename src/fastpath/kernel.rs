//! The kernel's side as the director sees it: maps that it changes by their keys.
//!
//! A trait, so that the core makes no system calls and tests have a kernel of their own.

use super::abi::{Entry, Key, Neighbour, Proxied, Reach, Station, Totals};
use crate::base::{Array, LinkId, Prefix};

/// Entries that may be read at a time, at least.
pub const READ_AT_ONCE: usize = 4096;

/// Why an entry was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAdded {
    /// Another one has the key.
    Exists,
    /// There is no room.
    Full,
    /// The kernel says something else.
    Refused,
}

/// Maps that the program reads, and in which it counts.
pub trait Kernel {
    /// Adds an entry whose key is not there.
    fn add(&mut self, key: &Key, entry: &Entry) -> Result<(), NotAdded>;

    /// Takes an entry away; what it was at last, with all that was counted. `None` if there was none.
    fn take(&mut self, key: &Key) -> Option<Entry>;

    /// An entry with what was counted until now.
    fn get(&mut self, key: &Key) -> Option<Entry>;

    /// Calls `each` with entries from a place on, at most `READ_AT_ONCE`; where to go on, if there may be more.
    fn read(&mut self, place: Option<u32>, each: &mut dyn FnMut(Key, Entry)) -> Option<u32>;

    /// Puts a next hop into its place.
    fn set_neighbour(&mut self, place: u32, neighbour: &Neighbour);

    /// Says who the director is on a link.
    fn set_station(&mut self, link: LinkId, station: &Station);

    /// The number of a link's device.
    fn device(&self, link: LinkId) -> u32;

    /// Why packets were left to the director.
    fn totals(&self) -> Totals;

    /// Places in which clients with conns are counted, without which no SYN may be answered; `None` if the kernel has none.
    fn clients(&mut self) -> Option<Array<u8>>;

    /// SYNs to an endpoint are answered from now on; false if the kernel does not take it.
    fn answer(&mut self, key: &Key, proxied: &Proxied) -> bool;

    /// They are the director's from now on.
    fn leave_syns(&mut self, key: &Key);

    /// All SYNs are the director's from now on, and no way back to clients is known.
    fn leave_all_syns(&mut self);

    /// How many SYNs to an endpoint were answered since `answer`.
    fn answered_of(&self, key: &Key) -> u64;

    /// How many SYNs were answered at all.
    fn answered(&self) -> u64;

    /// The way back to clients of a prefix; `None`: that of the shorter prefix around it. False if the kernel does not take it.
    fn set_reach(&mut self, to: &Prefix, reach: Option<Reach>) -> bool;

    /// How the program came to the devices, for people.
    fn words(&self) -> &str;
}
