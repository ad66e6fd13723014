//! Application helpers: FTP's data conns, SIP's calls and their media, the PROXY protocol's headers, TOA; SYN cookies.
//!
//! They read payloads, and change what must be changed there. Never choose a server.

mod expected;
mod ftp;
mod ftp_commands;
mod ftp_data;
mod passage;
mod proxy;
mod proxy_edit;
mod proxy_header;
mod proxy_own;
mod session;
mod sip;
mod sip_media;
mod sip_message;
mod sip_registration;
mod sip_stream;
mod sip_tcp;
mod syn_cookie;
mod toa;
mod told;

pub use ftp::{Ftp, FtpControl};
pub use passage::Passage;
pub use proxy::{Ahead, Proxy, Waiting};
pub use proxy_header::ProxyHeader;
pub use sip::{call_of, message as sip_message};
pub use sip_tcp::{SipConn, SipTcp};
pub use syn_cookie::{Cookies, offered};
pub use toa::{Toa, ToaOption};
pub use told::Helped;
