//! The kinds of sections of a file, with their keys.
//!
//! Never reads a section.

/// A kind of section: how it is named, and every key that it may have.
pub struct Kind {
    /// As it is written, like `[[link]]`; empty for the top of the file.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
}

/// Two lists of keys as one of `N`.
pub const fn both<const N: usize>(one: &[&'static str], other: &[&'static str]) -> [&'static str; N] {
    let mut keys = [""; N];
    let mut index = 0;
    while index < N {
        keys[index] = if index < one.len() { one[index] } else { other[index - one.len()] };
        index += 1;
    }
    keys
}
