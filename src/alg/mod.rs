//! Application helpers: FTP's data conns, SIP's Call-IDs, the PROXY protocol's headers, TOA; SYN cookies.
//!
//! They read payloads, and change what must be changed there. Never choose a server.

mod ftp;
mod ftp_commands;
mod ftp_data;
mod proxy;
mod proxy_header;
mod sip;
mod syn_cookie;
mod toa;

pub use ftp::{Ftp, FtpControl};
pub use proxy::{Ahead, Proxy, ProxyHeader};
pub use sip::call_of;
pub use syn_cookie::{Cookies, offered};
pub use toa::{Toa, ToaOption};
