//! The conns that have entries, by their ids.
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
        self.list.push(member);
    }

    /// Takes one out.
    pub fn take(&mut self, id: ConnId) -> Option<Member> {
        let place = self.by_id.remove(&id)?;
        let member = self.list.swap_remove(place as usize);
        if let Some(moved) = self.list.get(place as usize) {
            self.by_id.insert(moved.id, place);
        }
        Some(member)
    }

    /// At most so many of those below a place, which is where to go on with those that are left. Whoever was there when the
    /// first part was taken is in one of the parts, for what `take` moves comes from above.
    pub fn part(&mut self, below: usize, most: usize) -> (usize, &mut [Member]) {
        let end = below.min(self.list.len());
        let start = end.saturating_sub(most);
        (start, &mut self.list[start..end])
    }

    /// All, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Endpoint, Proto};

    fn member(number: u16) -> Member {
        Member {
            id: ConnId(u32::from(number)),
            dest: DestId(0),
            key: Key { proto: Proto::TCP, endpoint: Endpoint::new([10, 0, 0, 1].into(), number) },
            second: None,
            hops: [0; 2],
            counted: Default::default(),
        }
    }

    #[test]
    fn each_is_found_whoever_has_gone() {
        let mut members = Members::default();
        (0..100).for_each(|number| members.add(member(number)));
        for number in (0..100).step_by(7) {
            assert_eq!(members.take(ConnId(number)).map(|member| member.id), Some(ConnId(number)));
            assert!(members.take(ConnId(number)).is_none());
        }
        assert_eq!((members.len(), members.iter().count()), (85, 85));
        for number in 0..100 {
            assert_eq!(members.take(ConnId(number)).is_some(), number % 7 != 0, "{number}");
        }
    }

    #[test]
    fn parts_have_all_that_stay_whoever_comes_and_goes_meanwhile() {
        let mut members = Members::default();
        (0..1000).for_each(|number| members.add(member(number)));
        let (mut below, mut seen, mut gone) = (usize::MAX, Vec::new(), Vec::new());
        for turn in 0.. {
            let part;
            (below, part) = members.part(below, 64);
            seen.extend(part.iter().map(|member| member.id.0));
            if below == 0 {
                break;
            }
            for number in (0..20).map(|step| (turn * 331 + step * 47) % 1000) {
                gone.extend(members.take(ConnId(number)).map(|member| member.id.0));
            }
            (0..turn % 5).for_each(|step| members.add(member((2000 + turn * 10 + step) as u16)));
        }
        for number in (0..1000).filter(|number| !gone.contains(number)) {
            assert!(seen.contains(&number), "{number} was in no part");
        }
        assert!(gone.len() > 200, "{} have gone", gone.len());
    }
}
