//! Order in lists that no packet waits for.
//!
//! The sort of the standard library is some five kilobytes of code for each type of element. Here it sorts places, for all
//! types with the same code, and the elements follow.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Sorts a list; what is equal stays in its order.
pub fn sort_by<T>(list: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let order = places(list.len(), &|a, b| compare(&list[a], &list[b]));
    let mut left: Vec<Option<T>> = std::mem::take(list).into_iter().map(Some).collect();
    list.extend(order.into_iter().filter_map(|place| left[place].take()));
}

/// The same by the elements' own order.
pub fn sort<T: Ord>(list: &mut Vec<T>) {
    sort_by(list, T::cmp);
}

/// These pairs by their keys, of which the last of each counts. `collect` would sort them first.
pub fn map_of<K: Ord, V>(pairs: impl Iterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    pairs.for_each(|(key, value)| drop(map.insert(key, value)));
    map
}

/// Places in the order of what is there.
fn places(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn lists_are_sorted_as_the_standard_library_does_it() {
        let mut rng = Rng::seeded(7);
        for len in 0..200 {
            let mut list: Vec<(u32, usize)> = (0..len).map(|place| (rng.below(20) as u32, place)).collect();
            let mut wanted = list.clone();
            sort_by(&mut list, |a, b| a.0.cmp(&b.0));
            wanted.sort_by_key(|pair| pair.0);
            assert_eq!(list, wanted);
            let mut names: Vec<String> = list.iter().map(|pair| format!("{pair:?}")).collect();
            let mut wanted = names.clone();
            sort(&mut names);
            wanted.sort();
            assert_eq!(names, wanted);
        }
    }
}
