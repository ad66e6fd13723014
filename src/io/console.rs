//! What commands print. A reader that has seen enough (`| head`) is no error; a full disk is one, and no panic.

use std::io::{self, ErrorKind, Write};

/// Prints to stdout; the error is a sentence.
pub fn print_out(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("cannot write to stdout: {error}")),
        _ => Ok(()),
    }
}

/// Prints a line, or several, to stderr. Where that is gone there is nobody to tell.
pub fn print_error(text: &str) {
    _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
