//! This program's version.
//!
//! Never known at compile time to those who ask: it is read from memory, so that a test can make another version of a copy of
//! the program by changing bytes.

/// As in Cargo.toml.
pub fn version() -> &'static str {
    std::hint::black_box(env!("CARGO_PKG_VERSION"))
}
