//! What the operator configured, as a list of entries that survives the process: added to one by one, and written anew into
//! the other half of the memory when one half is full.
//!
//! Never understands an entry. An entry that was not finished is none; one that was, and is damaged, makes all unusable.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::Array;

/// Generation and check of a half, before its entries.
const HEAD: usize = 16;
/// Length and check of an entry, before its text.
const ENTRY: usize = 8;

/// Both halves.
pub struct Journal {
    halves: [Array<u8>; 2],
    active: usize,
    generation: u64,
    /// Where the next entry goes.
    at: usize,
}

/// An entry does not say what its check says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damaged;

impl Journal {
    /// The journal that is in this memory, and its entries; an empty one if there was none.
    pub fn open<T: DeserializeOwned>(halves: [Array<u8>; 2]) -> Result<(Journal, Vec<T>), Damaged> {
        let generations = [generation(&halves[0])?, generation(&halves[1])?];
        let active = usize::from(generations[1] > generations[0]);
        let mut journal = Journal { halves, active, generation: generations[active], at: HEAD };
        let mut entries = Vec::new();
        while journal.generation > 0
            && let Some(text) = journal.next()?
        {
            entries.push(serde_json::from_slice(text).map_err(|_| Damaged)?);
            journal.at += room(text.len());
        }
        Ok((journal, entries))
    }

    /// The text at `at`, if an entry was finished there.
    fn next(&self) -> Result<Option<&[u8]>, Damaged> {
        let Some(head) = self.halves[self.active].get(self.at..self.at + ENTRY) else { return Ok(None) };
        let [len, check] = [number(head, 0) as usize, number(head, 4) as usize];
        if len == 0 {
            // The length is written last.
            return Ok(None);
        }
        let from = self.at + ENTRY;
        let text = self.halves[self.active].get(from..from.saturating_add(len)).ok_or(Damaged)?;
        if self.check(self.at, text) as usize == check { Ok(Some(text)) } else { Err(Damaged) }
    }

    /// Entries belong to their place and generation: what an earlier one left behind is not taken for one.
    fn check(&self, at: usize, text: &[u8]) -> u32 {
        crc32c::crc32c_append(
            crc32c::crc32c(&[self.generation.to_le_bytes(), (at as u64).to_le_bytes()].concat()),
            text,
        )
    }

    /// Adds an entry; false if there is no room.
    pub fn add(&mut self, entry: &impl Serialize) -> bool {
        let Ok(text) = serde_json::to_vec(entry) else { return false };
        let (at, end) = (self.at, self.at + room(text.len()));
        // The next entry's length must be there too, and 0.
        if end + ENTRY > self.halves[self.active].len() || !self.halves[self.active].commit(end + ENTRY) {
            return false;
        }
        let check = self.check(at, &text).to_le_bytes();
        let half = &mut self.halves[self.active];
        half[end..end + ENTRY].fill(0);
        half[at + ENTRY..at + ENTRY + text.len()].copy_from_slice(&text);
        half[at + 4..at + ENTRY].copy_from_slice(&check);
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        half[at..at + 4].copy_from_slice(&(text.len() as u32).to_le_bytes());
        self.at = end;
        true
    }

    /// Replaces all entries by these; false, and nothing has changed, if there is no room.
    pub fn replace(&mut self, entries: impl IntoIterator<Item = impl Serialize>) -> bool {
        let before = (self.active, self.generation, self.at);
        (self.active, self.generation, self.at) = (1 - self.active, self.generation + 1, HEAD);
        let room = self.halves[self.active].commit(HEAD + ENTRY);
        if room {
            // Invalid until all is there.
            self.halves[self.active][..HEAD + ENTRY].fill(0);
        }
        if !room || !entries.into_iter().all(|entry| self.add(&entry)) {
            (self.active, self.generation, self.at) = before;
            return false;
        }
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        let head = head_of(self.generation);
        self.halves[self.active][..HEAD].copy_from_slice(&head);
        true
    }
}

/// Bytes that an entry of this length takes.
fn room(len: usize) -> usize {
    ENTRY + len.next_multiple_of(8)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn head_of(generation: u64) -> [u8; HEAD] {
    let bytes = generation.to_le_bytes();
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&bytes);
    head[8..].copy_from_slice(&u64::from(crc32c::crc32c(&bytes)).to_le_bytes());
    head
}

/// The generation of a half; 0 if it was never finished.
fn generation(half: &[u8]) -> Result<u64, Damaged> {
    let head = half.get(..HEAD).ok_or(Damaged)?;
    let generation = u64::from_le_bytes(head[..8].try_into().map_err(|_| Damaged)?);
    match head {
        [0, 0, 0, 0, 0, 0, 0, 0, rest @ ..] if rest == [0; 8] => Ok(0),
        // A half that was being written: the other one is whole.
        _ if head != head_of(generation) => Ok(0),
        _ => Ok(generation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    fn copy(of: &Journal) -> [Array<u8>; 2] {
        [0, 1].map(|half| {
            let mut array = Array::zeroed(of.halves[half].len());
            array.copy_from_slice(&of.halves[half]);
            array
        })
    }

    #[test]
    fn entries_come_back_in_their_order() {
        let (mut journal, none) = Journal::open::<String>([0, 1].map(|_| Array::zeroed(4096))).unwrap();
        assert_eq!(none, Vec::<String>::new());
        assert!(journal.replace(["first"]));
        let mut known = vec!["first".to_owned()];
        for number in 0..1000 {
            let entry = format!("entry {number}");
            if !journal.add(&entry) {
                known = known.split_off(known.len() / 2);
                assert!(journal.replace(&known) && journal.add(&entry));
            }
            known.push(entry);
            if number % 10 == 0 {
                assert_eq!(Journal::open::<String>(copy(&journal)).map(|(_, entries)| entries), Ok(known.clone()));
            }
        }
    }

    #[test]
    fn damage_is_seen_or_costs_nothing_but_the_end() {
        let (mut journal, _) = Journal::open::<String>([0, 1].map(|_| Array::zeroed(1024))).unwrap();
        let known: Vec<String> = (0..20).map(|number| format!("entry {number}")).collect();
        assert!(journal.replace(&known));
        let mut rng = Rng::seeded(3);
        for _ in 0..5_000 {
            let mut halves = copy(&journal);
            let place = rng.below(600) as usize;
            halves[1][place] ^= 1 << rng.below(8);
            if let Ok((_, entries)) = Journal::open::<String>(halves) {
                assert!(known.starts_with(&entries), "{entries:?}");
            }
        }
    }
}
