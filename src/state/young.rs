//! What is kept beside conns that have just begun, two numbers each, in a ring of few places: most of it is over long before it
//! would be worth a line of the journal. Whose place another one takes goes there.
//!
//! Never knows what the numbers mean, but for the conn's slot in the upper half of the first one. A second one of 0 is no entry.

/// Places of the ring.
const PLACES: usize = 240;

/// Numbers that it takes.
pub(super) const LEN: usize = 2 * PLACES;

/// Two numbers about a conn.
pub type Young = [u64; 2];

/// Where the next one goes.
#[derive(Default)]
pub(super) struct Ring(usize);

impl Ring {
    /// Puts one into the ring; the slot of the one whose place it takes.
    pub(super) fn put(&mut self, numbers: &mut [u64], [place, check]: Young) -> Option<u32> {
        let at = 2 * self.0;
        self.0 = (self.0 + 1) % PLACES;
        let before = (numbers[at + 1] != 0).then(|| slot_of(numbers[at]));
        // A process that dies in between leaves none.
        numbers[at + 1] = 0;
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        numbers[at] = place;
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        numbers[at + 1] = check;
        before
    }

    /// Takes the one of a slot out. The latest are looked at first.
    pub(super) fn take(&self, numbers: &mut [u64], slot: u32) {
        let places = (0..PLACES).map(|back| (self.0 + PLACES - 1 - back) % PLACES);
        let found = places.map(|place| 2 * place).find(|at| numbers[at + 1] != 0 && slot_of(numbers[*at]) == slot);
        if let Some(at) = found {
            numbers[at + 1] = 0;
        }
    }
}

/// All that there are.
pub(super) fn all(numbers: &[u64]) -> impl Iterator<Item = Young> {
    numbers.as_chunks().0.iter().copied().filter(|[_, check]| *check != 0)
}

/// The slot of the conn.
pub(super) fn slot_of(place: u64) -> u32 {
    (place >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_unless_it_was_taken_out() {
        let (mut ring, mut numbers) = (Ring::default(), [0; LEN]);
        let young = |slot: u64| [slot << 32 | 7, slot + 1];
        for slot in 0..PLACES as u64 {
            assert_eq!(ring.put(&mut numbers, young(slot)), None);
        }
        assert_eq!(all(&numbers).count(), PLACES);
        for slot in [1, PLACES as u32 - 1, 1, 9999] {
            ring.take(&mut numbers, slot);
        }
        assert_eq!(all(&numbers).count(), PLACES - 2);
        assert_eq!([1000, 1001, 1002].map(|slot| ring.put(&mut numbers, young(slot))), [Some(0), None, Some(2)]);
        assert_eq!(all(&numbers).next(), Some(young(1000)));
        // The latest of a slot is its own.
        ring.put(&mut numbers, young(1001));
        ring.take(&mut numbers, 1001);
        assert_eq!(all(&numbers).filter(|one| *one == young(1001)).count(), 1);
    }
}
