//! Application helpers: FTP's data conns, SIP's Call-IDs, the PROXY protocol's headers, TOA.
//!
//! They read payloads, and change what must be changed there. Never choose a server.

mod beside;
mod ftp;
mod ftp_commands;
mod ftp_data;
mod proxy;
mod proxy_header;
mod sip;
mod toa;

pub use ftp::{Ftp, FtpControl};
pub use proxy::{Ahead, Proxy, ProxyHeader};
pub use sip::call_of;
pub use toa::{Toa, ToaOption};
