//! The host's databases of names, as text.
//!
//! Never reads anything into them; one that is not there is empty.

use std::fs::read_to_string;

/// Addresses and their names.
pub fn hosts_database() -> String {
    read_to_string("/etc/hosts").unwrap_or_default()
}

/// Ports and their names.
pub fn services_database() -> String {
    read_to_string("/etc/services").unwrap_or_default()
}
