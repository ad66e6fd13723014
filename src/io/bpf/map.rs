//! Maps: keys and values of fixed lengths that programs in the kernel read and write.
//!
//! They are changed by their descriptors, which takes no right. Never knows what they hold.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Attributes, command, is_unknown};

/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: u32 = 1;
/// `BPF_F_MMAPABLE` (Linux 5.5)
const MAPPABLE: u32 = 1 << 10;
/// `BPF_NOEXIST`
const ONLY_NEW: u64 = 1;

/// Kinds of map (`enum bpf_map_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapKind {
    /// Any keys; memory is taken as elements come.
    Hash,
    /// The keys are numbers of four bytes, and every element is there from the beginning.
    Array,
    /// The same, and processes may have it as memory of theirs, where the kernel can do that.
    Memory,
    /// The keys are a number of bits and as many bits at least; the longest that a packet begins with is found.
    Trie,
}

impl MapKind {
    /// Its number, and what it is made with.
    fn attributes(self) -> [u32; 2] {
        match self {
            MapKind::Hash => [1, NO_PREALLOC],
            MapKind::Array => [2, 0],
            MapKind::Memory => [2, MAPPABLE],
            MapKind::Trie => [11, NO_PREALLOC],
        }
    }
}

/// A map, by its descriptor.
pub struct Map {
    fd: OwnedFd,
    key_len: usize,
    value_len: usize,
}

/// What became of a batch: so many of its first elements were done; then the kernel refused one.
pub type Done = Result<(), (usize, io::Error)>;

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Map {
    /// Makes a map; needs CAP_BPF (before Linux 5.8 CAP_SYS_ADMIN).
    pub fn create(kind: MapKind, name: &str, (key_len, value_len): (usize, usize), elements: u32) -> io::Result<Map> {
        let [number, flags] = kind.attributes();
        let attributes = Attributes::new()
            .word(0, number)
            .word(4, key_len as u32)
            .word(8, value_len as u32)
            .word(12, elements)
            .word(16, flags)
            .bytes(28, &name.as_bytes()[..name.len().min(15)]);
        match attributes.descriptor(command::MAP_CREATE) {
            Ok(fd) => Ok(Map { fd, key_len, value_len }),
            Err(_) if kind == MapKind::Memory => Map::create(MapKind::Array, name, (key_len, value_len), elements),
            Err(error) => Err(error),
        }
    }

    /// A map that another process has made, with keys and values of these lengths.
    pub fn inherited(fd: OwnedFd, (key_len, value_len): (usize, usize)) -> Map {
        Map { fd, key_len, value_len }
    }

    /// Bytes of a key and of a value.
    pub fn lengths(&self) -> (usize, usize) {
        (self.key_len, self.value_len)
    }

    /// Sets the value of a key, which is made if it is not there; `E2BIG` if there is no room.
    pub fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.update(key, value, 0)
    }

    /// Adds a key; `EEXIST` if it is there, `E2BIG` if there is no room.
    pub fn add(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.update(key, value, ONLY_NEW)
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
        self.check(key.len() == self.key_len && value.len() == self.value_len)?;
        self.element(key).reads(16, value).long(24, flags).call(command::UPDATE).map(drop)
    }

    /// Reads the value of a key; false if there is none.
    pub fn get(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.check(key.len() == self.key_len && value.len() == self.value_len)?;
        found(self.element(key).writes(16, value).call(command::LOOKUP))
    }

    /// Takes a key away and reads the value that it had last; false if there was none. Of a hash only.
    pub fn take(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.check(key.len() == self.key_len && value.len() == self.value_len)?;
        match found(self.element(key).writes(16, value).call(command::LOOKUP_AND_DELETE)) {
            // Before Linux 5.14 only in two steps: what is counted in between is lost.
            Err(error) if is_unknown(&error) => Ok(self.get(key, value)? && self.remove(key)?),
            done => done,
        }
    }

    /// Takes a key away; false if there was none.
    pub fn remove(&self, key: &[u8]) -> io::Result<bool> {
        self.check(key.len() == self.key_len)?;
        found(self.element(key).call(command::DELETE))
    }

    /// Takes all keys away, one after the other. Of any kind but arrays.
    pub fn clear(&self) -> io::Result<()> {
        let mut key = vec![0; self.key_len];
        while found(Attributes::new().fd(0, &self.fd).writes(16, &mut key).call(command::NEXT_KEY))? {
            self.remove(&key)?;
        }
        Ok(())
    }

    /// Adds or sets many keys at once; keys and values are one behind the other.
    pub fn set_all(&self, keys: &[u8], values: &[u8]) -> Done {
        let count = keys.len() / self.key_len;
        self.check(keys.len() == count * self.key_len && values.len() == count * self.value_len)
            .map_err(|error| (0, error))?;
        self.batch(command::UPDATE_BATCH, self.many(keys, count).reads(24, values), |at| {
            let (key, value) = (at * self.key_len, at * self.value_len);
            self.set(&keys[key..key + self.key_len], &values[value..value + self.value_len])
        })
    }

    /// Takes many keys away at once; keys that are not there do not matter.
    pub fn remove_all(&self, keys: &[u8]) -> Done {
        let count = keys.len() / self.key_len;
        self.check(keys.len() == count * self.key_len).map_err(|error| (0, error))?;
        let key = |at: usize| &keys[at * self.key_len..(at + 1) * self.key_len];
        let mut from = 0;
        while from < count {
            let rest = &keys[from * self.key_len..];
            let attributes = self.many(rest, count - from);
            match self.batch(command::DELETE_BATCH, attributes, |at| self.remove(key(from + at)).map(drop)) {
                Ok(()) => return Ok(()),
                Err((done, error)) if error.raw_os_error() == Some(libc::ENOENT) => from += done + 1,
                Err((done, error)) => return Err((from + done, error)),
            }
        }
        Ok(())
    }

    /// Reads elements from a place on, as many as the slices hold, whole buckets at a time; returns how many, and where to
    /// go on, if there may be more. `None` is the first place. Elements that come and go meanwhile may be missed. Of a
    /// hash only; `ENOSPC` if one bucket has more elements than the slices hold.
    pub fn read_from(
        &self,
        place: Option<u32>,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<(usize, Option<u32>)> {
        let room = (keys.len() / self.key_len).min(values.len() / self.value_len);
        let from = place.unwrap_or(0).to_ne_bytes();
        let mut next = [0; 4];
        let mut attributes = Attributes::new()
            .writes(8, &mut next)
            .writes(16, keys)
            .writes(24, values)
            .word(32, room as u32)
            .fd(36, &self.fd);
        if place.is_some() {
            attributes = attributes.reads(0, &from);
        }
        match attributes.call(command::LOOKUP_BATCH) {
            Ok(_) => Ok((attributes.word_at(32) as usize, Some(u32::from_ne_bytes(next)))),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((attributes.word_at(32) as usize, None)),
            Err(error) => Err(error),
        }
    }

    fn element(&self, key: &[u8]) -> Attributes {
        Attributes::new().fd(0, &self.fd).reads(8, key)
    }

    fn many(&self, keys: &[u8], count: usize) -> Attributes {
        Attributes::new().reads(16, keys).word(32, count as u32).fd(36, &self.fd)
    }

    /// One call for all, or on a kernel without such calls (before Linux 5.6) one for each.
    fn batch(&self, command: u32, mut attributes: Attributes, each: impl Fn(usize) -> io::Result<()>) -> Done {
        let count = attributes.word_at(32) as usize;
        if count == 0 {
            return Ok(());
        }
        match attributes.call(command) {
            Ok(_) => Ok(()),
            Err(error) if is_unknown(&error) => (0..count).try_for_each(|at| each(at).map_err(|error| (at, error))),
            Err(error) => Err((attributes.word_at(32) as usize, error)),
        }
    }

    fn check(&self, fits: bool) -> io::Result<()> {
        if fits { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
