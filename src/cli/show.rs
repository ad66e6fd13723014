//! What a command shows: once, or again each second.
//!
//! Never asks a director itself.

use std::io::{self, Write};
use std::time::Duration;

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
