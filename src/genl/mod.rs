//! IPVS as programs of the kernel's know it: the family `IPVS` of generic netlink, version 1.2.1.
//!
//! Bytes in, `Command` and questions to a director, bytes out. Never touches a socket; `exec` carries the bytes.

mod answer;
mod family;
mod inbox;
mod listed;
pub(crate) mod numbers;
mod question;
mod refusal;
mod server;
mod unsaid;

pub use crate::wire::netlink::Message;
#[cfg(any(test, feature = "testing"))]
pub use crate::wire::netlink::{Address, Writer};
#[cfg(test)]
pub use inbox::List;
pub use inbox::{Answer, Inbox};
pub use listed::listed;
pub use server::{Absent, Director, Outcome, Sender, Server};
pub use unsaid::{keep_unsaid, keep_unsaid_of_service};
