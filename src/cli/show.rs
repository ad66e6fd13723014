//! What a command shows: once, or again each second.
//!
//! Never asks a director itself.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::io::print_out;

/// How a command shows something.
#[derive(Clone, Copy)]
pub(super) struct Show {
    /// Again each second, until the reader has gone.
    pub watch: bool,
    /// As JSON, for programs.
    pub json: bool,
}

impl Show {
    /// Prints what `text` says.
    pub(super) fn print(self, mut text: impl FnMut() -> Result<String, String>) -> Result<(), String> {
        loop {
            let text = text()?;
            if !self.watch {
                return print_out(&text);
            }
            let page = if self.json { text } else { format!("\x1b[H\x1b[J{text}") };
            let mut out = io::stdout().lock();
            if out.write_all(page.as_bytes()).and_then(|()| out.flush()).is_err() {
                // The reader has gone.
                return Ok(());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// As JSON, each value in a line of its own. serde_json writes that too, by compiling all that can be told once more: what
/// it writes without blanks is set in lines here.
pub(super) fn json(told: &impl Serialize) -> Result<String, String> {
    let flat = serde_json::to_string(told).map_err(|error| error.to_string())?;
    Ok(in_lines(&flat) + "\n")
}

fn in_lines(flat: &str) -> String {
    let (mut text, mut depth, mut quoted, mut escaped) = (String::with_capacity(2 * flat.len()), 0, false, false);
    let begin_line = |text: &mut String, depth: usize| {
        text.push('\n');
        (0..depth).for_each(|_| text.push_str("  "));
    };
    let mut letters = flat.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            _ if quoted => {
                quoted = escaped || letter != '"';
                escaped = letter == '\\' && !escaped;
                text.push(letter);
            }
            '{' | '[' => {
                text.push(letter);
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                    continue;
                }
                depth += 1;
                begin_line(&mut text, depth);
            }
            '}' | ']' => {
                depth -= 1;
                begin_line(&mut text, depth);
                text.push(letter);
            }
            ',' => {
                text.push(letter);
                begin_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            letter => {
                quoted = letter == '"';
                text.push(letter);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_serde_json() {
        for flat in [
            "[]",
            "{}",
            "7",
            r#"{"a":[],"b":{},"c":[1,-2.5,null,true],"d":{"e":[[],{"f":"g"}]}}"#,
            r#"["{\"a\":[1,2]}","\\","\\\"",", : [","\u001b ü",""]"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(flat).unwrap();
            assert_eq!(in_lines(flat), serde_json::to_string_pretty(&value).unwrap(), "{flat}");
            assert_eq!(json(&value).unwrap(), in_lines(flat) + "\n");
        }
    }
}
