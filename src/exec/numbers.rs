//! The numbers that the program's netlink sockets have among its files: the filter tells the sockets by them.
//!
//! They lie below the program's limit of open files and above what it opens itself.

use std::ops::Range;

use nix::sys::resource::{Resource, getrlimit};

/// So many sockets of each kind at a time.
const SOCKETS: u32 = 100;
/// The lowest number that one may have: the program's own files come from below.
const LOWEST: u32 = 128;
/// `select` knows no higher numbers than 1023, and programs are used to a limit of 1024.
const HIGHEST: u32 = 1000;

/// How the program receives what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By calls that are answered here, with the kernel's address as the sender's.
    Answered,
    /// By itself, from its end of the pair; the sender's address is as long as the kernel's, of another family.
    Direct,
}

/// The numbers of both kinds of sockets.
#[derive(Clone, Debug)]
pub struct Numbers {
    start: u32,
    /// The number that each kind is given next.
    next: [u32; 2],
}

impl Numbers {
    /// Below the limit of open files. An error is a sentence.
    pub fn below_limit() -> Result<Numbers, String> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|errno| format!("limit of open files: {errno}"))?;
        let end = u32::try_from(limit).unwrap_or(HIGHEST).min(HIGHEST);
        let start = end.saturating_sub(2 * SOCKETS);
        if start < LOWEST {
            let least = LOWEST + 2 * SOCKETS;
            return Err(format!(
                "the limit of open files is {limit}, too few for the program's netlink sockets; raise it to {least} or more (ulimit -n)"
            ));
        }
        Ok(Numbers::from(start))
    }

    /// From this one on.
    pub(super) fn from(start: u32) -> Numbers {
        Numbers { start, next: [start, start + SOCKETS] }
    }

    /// Those of sockets whose receiving calls are answered here.
    pub fn answered(&self) -> Range<u32> {
        self.start..self.start + SOCKETS
    }

    /// Those of sockets that receive by themselves.
    pub fn direct(&self) -> Range<u32> {
        self.answered().end..self.all().end
    }

    /// All of them.
    pub fn all(&self) -> Range<u32> {
        self.start..self.start + 2 * SOCKETS
    }

    /// The next one in turn that is free, so that a number is not used again at once.
    pub fn take(&mut self, way: Way, mut is_free: impl FnMut(u32) -> bool) -> Option<u32> {
        let Range { start, end } = match way {
            Way::Answered => self.answered(),
            Way::Direct => self.direct(),
        };
        let next = &mut self.next[way as usize];
        let number = (*next..end).chain(start..*next).find(|number| is_free(*number))?;
        *next = if number + 1 < end { number + 1 } else { start };
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_numbers_below_the_limit_of_open_files() {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let all = Numbers::below_limit().unwrap().all();
        assert!(u64::from(all.end) <= limit && all.start >= LOWEST);
    }

    #[test]
    fn numbers_go_round_and_each_kind_has_its_own() {
        let mut numbers = Numbers::from(800);
        let taken: Vec<u32> = (0..110).filter_map(|_| numbers.take(Way::Direct, |_| true)).collect();
        assert_eq!(taken, (900..1000).chain(900..910).collect::<Vec<u32>>());
        assert_eq!(numbers.take(Way::Answered, |_| true), Some(800));
        assert_eq!(numbers.take(Way::Answered, |number| number == 800), Some(800));
        assert_eq!(numbers.take(Way::Answered, |number| number > 899), None);
    }
}
