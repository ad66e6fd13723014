//! The neighbour that a route goes by, as it is written.
//!
//! Never looks for its link.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::router::is_link_local;

/// A neighbour that a route goes by: an address, and for a link-local one perhaps its link (`fe80::1%tap0`, RFC 4007 11.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Address.
    pub addr: IpAddr,
    /// Name of the link, where the address alone does not tell.
    pub link: Option<String>,
}

impl FromStr for Hop {
    type Err = String;

    fn from_str(text: &str) -> Result<Hop, String> {
        let (addr, link) = match text.split_once('%') {
            Some((addr, link)) => (addr, Some(link.to_owned())),
            None => (text, None),
        };
        let addr = addr.parse().map_err(|_| "not an address, like 10.0.0.1; names are not resolved".to_owned())?;
        match link {
            Some(_) if !is_link_local(addr) => {
                Err(format!("{addr} is no link-local address; leave out % and the link"))
            }
            link => Ok(Hop { addr, link }),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            Some(link) => write!(f, "{}%{link}", self.addr),
            None => self.addr.fmt(f),
        }
    }
}
