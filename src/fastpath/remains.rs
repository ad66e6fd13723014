//! Entries that another process has left in the kernel: taken away in parts, those of a conn together.
//!
//! Never makes an entry, and never decides whose conn it was.

use super::abi::{Counters, Entry, Key, Method};
use super::kernel::Kernel;

/// The entries of a conn, which are not in the kernel any more.
pub struct Left {
    /// The key of the entry: the client, unless only the replies of FULL-NAT are left.
    pub key: Key,
    /// The entry, with what was counted.
    pub entry: Entry,
    /// That of the replies, if the conn is of FULL-NAT.
    pub second: Option<Entry>,
}

impl Left {
    /// What was counted of requests and of replies.
    pub fn counted(&self) -> [Counters; 2] {
        let Entry { request, reply, .. } = self.entry;
        let replies = self.second.map_or(reply.counters, |second| reply.counters.and(&second.reply.counters));
        [request.counters, replies]
    }
}

/// Those that are still there.
#[derive(Default)]
pub struct Remains {
    /// Read, and not taken away yet.
    keys: Vec<Key>,
    reading: Reading,
}

#[derive(Default)]
enum Reading {
    #[default]
    Over,
    From(Option<u32>),
}

impl Remains {
    /// Whatever the kernel has now.
    pub fn all() -> Remains {
        Remains { keys: Vec::new(), reading: Reading::From(None) }
    }

    /// True if there are none.
    pub fn are_gone(&self) -> bool {
        self.keys.is_empty() && matches!(self.reading, Reading::Over)
    }

    /// Takes some away: `most` looks at keys.
    pub fn take(&mut self, most: usize, kernel: &mut dyn Kernel) -> Vec<Left> {
        let mut taken = Vec::new();
        for _ in 0..most {
            if self.keys.is_empty() {
                let Reading::From(place) = self.reading else { break };
                let next = kernel.read(place, &mut |key, _| self.keys.push(key));
                self.reading = next.map_or(Reading::Over, |place| Reading::From(Some(place)));
            }
            // The second entry of a conn went with the first.
            if let Some(key) = self.keys.pop()
                && let Some(entry) = kernel.take(&key)
            {
                taken.push(with_the_other(key, entry, kernel));
            }
        }
        taken
    }
}

/// In FULL-NAT each of two entries names the key of the other.
fn with_the_other(key: Key, entry: Entry, kernel: &mut dyn Kernel) -> Left {
    let other_key = Key { endpoint: entry.other, ..key };
    let other = if entry.method == Method::Nat && other_key != key { kernel.take(&other_key) } else { None };
    match other {
        Some(other) if entry.request.neighbour == 0 => Left { key: other_key, entry: other, second: Some(entry) },
        second => Left { key, entry, second },
    }
}
