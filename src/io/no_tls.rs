//! In place of TLS in a program that was built without it: nothing can be made of these types.

use std::convert::Infallible;
use std::io;
use std::path::Path;

/// Never made.
#[derive(Clone, Debug)]
pub struct TlsConfig(Infallible);

impl TlsConfig {
    /// Says what is missing.
    pub fn new(_: Option<&impl AsRef<Path>>) -> Result<TlsConfig, String> {
        Err("this tapvs was built without TLS; use one built with the feature 'tls', or a check of kind tcp".into())
    }

    /// Cannot be called.
    pub fn session(&self, _: &str) -> Result<TlsSession, String> {
        match self.0 {}
    }
}

/// Never made.
#[derive(Debug)]
pub struct TlsSession(Infallible);

impl TlsSession {
    /// Cannot be called.
    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn receive(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), String> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn say(&mut self, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn send_into(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
        match self.0 {}
    }
}
