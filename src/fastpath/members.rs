//! The conns that have entries: by their ids and by their keys.
//!
//! Never knows what an entry says.

use std::collections::HashMap;

use super::abi::{Counters, Key};
use crate::base::{ConnId, DestId, FastHash};

/// A conn with its entries.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The conn.
    pub id: ConnId,
    /// Its dest.
    pub dest: DestId,
    /// By what its entry is found.
    pub key: Key,
    /// The key of a second entry, which has the replies.
    pub second: Option<Key>,
    /// Places of its next hops: towards the server and towards the client; 0 for none.
    pub hops: [u32; 2],
    /// What was counted already, of requests and of replies.
    pub counted: [Counters; 2],
}

/// All of them, one beside the other.
#[derive(Default)]
pub struct Members {
    list: Vec<Member>,
    by_id: HashMap<ConnId, u32, FastHash>,
    /// Strangers choose their endpoints.
    by_key: HashMap<Key, u32>,
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// One more.
    pub fn add(&mut self, member: Member) {
        let place = self.list.len() as u32;
        self.by_id.insert(member.id, place);
        self.keys_of(&member).for_each(|key| _ = self.by_key.insert(key, place));
        self.list.push(member);
    }

    /// Takes one out.
    pub fn take(&mut self, id: ConnId) -> Option<Member> {
        let place = self.by_id.remove(&id)?;
        let member = self.list.swap_remove(place as usize);
        self.keys_of(&member).for_each(|key| _ = self.by_key.remove(&key));
        if let Some(moved) = self.list.get(place as usize).copied() {
            self.by_id.insert(moved.id, place);
            self.keys_of(&moved).for_each(|key| _ = self.by_key.insert(key, place));
        }
        Some(member)
    }

    /// The one whose entry has this key.
    pub fn of_key(&mut self, key: &Key) -> Option<&mut Member> {
        let place = *self.by_key.get(key)?;
        self.list.get_mut(place as usize)
    }

    /// All, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    fn keys_of(&self, member: &Member) -> impl Iterator<Item = Key> + use<> {
        std::iter::once(member.key).chain(member.second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Endpoint, Proto};

    fn member(number: u16, second: bool) -> Member {
        let key = |port| Key { proto: Proto::TCP, endpoint: Endpoint::new([10, 0, 0, 1].into(), port) };
        Member {
            id: ConnId(u32::from(number)),
            dest: DestId(0),
            key: key(number),
            second: second.then(|| key(number + 1000)),
            hops: [0; 2],
            counted: Default::default(),
        }
    }

    #[test]
    fn each_is_found_by_id_and_keys_whoever_has_gone() {
        let mut members = Members::default();
        (0..100).for_each(|number| members.add(member(number, number % 3 == 0)));
        for number in (0..100).step_by(7) {
            assert_eq!(members.take(ConnId(number)).map(|member| member.id), Some(ConnId(number)));
            assert!(members.take(ConnId(number)).is_none());
        }
        for number in 0..100 {
            let Member { id, key, second, .. } = member(number, number % 3 == 0);
            let is_there = number % 7 != 0;
            for key in std::iter::once(key).chain(second) {
                assert_eq!(members.of_key(&key).map(|member| member.id), is_there.then_some(id));
            }
        }
        assert_eq!((members.len(), members.iter().count()), (85, 85));
    }
}
