//! Recordings as files: finding them, reading their lines, and what a replay came to.
//!
//! Never interprets an event.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lab::Lab;

/// What a replay of one case came to.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Group and case.
    pub name: String,
    /// The first thing that is not as recorded.
    pub difference: Option<String>,
    /// Packets of which the recording tells the server.
    pub decisions: usize,
    /// Of these, how many went there.
    pub decisions_right: usize,
    /// Frames that the program of the fast path has taken.
    pub by_program: usize,
}

impl Outcome {
    /// Keeps the first difference; `at` says where.
    pub fn note(&mut self, at: impl std::fmt::Display, checked: Result<(), String>) {
        if let (None, Err(text)) = (&self.difference, checked) {
            self.difference = Some(format!("{at}: {text}"));
        }
    }

    /// What the program of the fast path has done in this lab.
    pub fn note_program(&mut self, lab: &Lab) {
        self.by_program = lab.taken;
        self.note("fast path", lab.otherwise.clone().map_or(Ok(()), Err));
    }
}

/// The entries of a directory by name.
pub fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let listing = std::fs::read_dir(dir).map_err(|error| format!("{}: cannot be read: {error}", dir.display()))?;
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// File name without its ending.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The lines of a recording.
pub fn read(path: &Path) -> Result<Vec<Value>, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let parse = |(number, line)| {
        serde_json::from_str(line).map_err(|error| format!("{name}:{}: not JSON: {error}", number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// A string member; empty if there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The strings of a list member.
pub fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = value[key].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Fails with both sides if they are not the same.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, recorded: T) -> Result<(), String> {
    if ours == recorded { Ok(()) } else { Err(format!("{what} is {ours:?}, recorded {recorded:?}")) }
}
