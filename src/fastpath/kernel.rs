//! The kernel's side as the director sees it: maps that it changes by their keys.
//!
//! A trait, so that the core makes no system calls and tests have a kernel of their own.

use super::abi::{Entry, Key, Neighbour, Station, Totals};
use crate::base::LinkId;

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

    /// How the program came to the devices, for people.
    fn words(&self) -> &str;
}
