//! Where the control socket of an instance lies.
//!
//! Never listens itself.

use std::path::{Path, PathBuf};

use crate::io::{Listener, SocketError, VARIABLE, default_socket};

/// Opens the socket that was asked for, or the one that follows from the name. Where nobody has asked for any, an
/// instance that may not write there runs without.
pub fn open(name: Option<&str>, path: Option<&Path>, first_link: &str) -> Result<Option<Listener>, SocketError> {
    if let Some(bad) = name.filter(|name| !is_name(name)) {
        return Err(SocketError::BadName(bad.to_owned()));
    }
    let asked = path.map(Path::to_owned).or_else(|| name.map(default_socket));
    let asked = asked.or_else(|| std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    let is_asked = asked.is_some();
    match Listener::open(&asked.unwrap_or_else(|| default_socket(first_link))) {
        Ok(listener) => {
            log::info!("control socket {}", listener.path().display());
            Ok(Some(listener))
        }
        Err(error @ SocketError::Refused(..)) if !is_asked => {
            log::warn!(
                "{error}; runs without, and cannot be changed while it runs (--socket PATH names another place)"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(fits)
}
