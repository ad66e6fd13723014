//! Where something was said, in a file or by a flag, and what is wrong there.
//!
//! Never knows what was said.

use std::fmt;
use std::sync::Arc;

/// Where something was said, and what: `--server 10.0.0.21:8080`, `/etc/tapvs.toml:14:11: server "10.0.0.21:8080"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The place in a file; a flag has none.
    pub position: Option<Position>,
    /// The flag or key; may be empty.
    pub what: String,
    /// The value as it was written; may be empty.
    pub value: String,
}

/// A place in a file; lines and columns count from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// The file's name as it was given.
    pub source: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column, where it is known.
    pub column: Option<u32>,
}

impl Place {
    /// A flag, perhaps with its value.
    pub fn flag(flag: &str, value: impl fmt::Display) -> Place {
        Place { position: None, what: flag.to_owned(), value: value.to_string() }
    }

    /// The same place, called otherwise.
    pub fn named(self, what: String) -> Place {
        Place { what, ..self }
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Place {
        Place { position: Some(position), what: String::new(), value: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        if let Some(Position { source, line, column }) = &self.position {
            write!(f, "{source}:{line}")?;
            column.map_or(Ok(()), |column| write!(f, ":{column}"))?;
            before = ": ";
        }
        for word in [&self.what, &self.value].into_iter().filter(|word| !word.is_empty()) {
            write!(f, "{before}{word}")?;
            before = " ";
        }
        Ok(())
    }
}

/// A value and where it was said.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// What was read.
    pub value: T,
    /// Where it stood.
    pub place: Place,
}

impl<T> At<T> {
    /// The same place, another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), place: self.place }
    }
}

/// What is wrong, a sentence a line; none is good news.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(pub Vec<String>);

impl Problems {
    /// One more problem.
    pub fn add(&mut self, place: &Place, what: impl fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    /// All together, or `done` if there are none.
    pub fn none_or<T>(self, done: T) -> Result<T, Problems> {
        if self.0.is_empty() { Ok(done) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
