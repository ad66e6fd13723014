//! The only system calls: the TAP, netlink, signals, the clock, random keys.
//!
//! Never decides what happens to a packet. `unsafe` stands in `bpf`, `sys`, `seccomp` and `refused`, and nowhere else.

#[allow(dead_code, unused_imports)]
pub mod bpf;
#[cfg(any(test, feature = "whole"))]
mod channel;
#[cfg(any(test, feature = "whole"))]
mod clock;
mod console;
mod control;
mod databases;
mod device;
#[allow(dead_code)]
mod fast;
mod fast_answers;
mod fast_path;
#[cfg(any(test, feature = "whole"))]
mod files;
mod host_watch;
#[cfg(any(test, feature = "whole"))]
mod link;
#[cfg(any(test, feature = "whole"))]
mod link_config;
mod link_error;
mod log_sink;
mod mapped;
mod memory;
pub mod netlink;
mod notify;
mod probe;
mod process;
mod programs;
mod refused;
mod rights;
mod sandbox;
pub mod seccomp;
mod signals;
mod stack_guard;
#[cfg(any(test, feature = "whole"))]
pub mod sys;
pub mod sysctl;
#[cfg(all(feature = "tls", any(test, feature = "whole")))]
mod tls;
#[cfg(all(not(feature = "tls"), any(test, feature = "whole")))]
#[path = "no_tls.rs"]
mod tls;
pub mod tun;

// Packets pass these: they are in the crate of the packet path.
#[cfg(not(any(test, feature = "whole")))]
pub use tapvs_core::io::sys;
#[cfg(not(any(test, feature = "whole")))]
use tapvs_core::io::{channel, clock, files, link, link_config, tls};

pub use channel::Channel;
#[cfg(any(test, feature = "testing", feature = "whole"))]
pub use clock::since_1970;
pub use clock::{Clock, boot_id, monotonic_micros, monotonic_millis, random_u64};
pub use console::{print_error, print_out};
pub use control::{Connection, DIRECTORY, Listener, SocketError, VARIABLE, default_socket, own_uid, sockets_here};
pub use databases::{hosts_database, services_database};
pub use device::{Device, LinkChange, check_name};
#[allow(unused_imports)]
pub use fast::FastMaps;
pub use fast_answers::AnswerMaps;
pub use fast_path::{FastFacts, FastKernel, FastProgram};
pub use files::{let_inherit, open as open_to_read, read_through, read_to_string};
pub use host_watch::{HostChange, HostWatch};
pub use link::Link;
#[cfg(any(test, feature = "testing", feature = "whole"))]
pub use link::ReadOutcome;
pub use link_config::{LinkConfig, LinkFacts};
pub use link_error::LinkError;
pub use link_error::WithErrno;
pub use log_sink::{lost_lines, start_log, write_lines};
pub use mapped::Memory;
pub use memory::{BYTES_A_CONN, learn_host, room_for_conns};
pub use netlink::{LinkInfo, LinkKind, Netlink};
pub use notify::{NOTIFY_VARIABLES, Notify};
pub use probe::{ProbeSocket, is_servers};
pub use process::{PROCESSORS, Processors, hurry, set_name, use_large_pages};
pub use programs::{Ended, Program, Programs};
pub use rights::{Sandbox, User, give_up_all, keep_few, with_rights_over_others};
pub use sandbox::enclose_worker;
pub use signals::{Signal, Signals};
pub use sys::{end_when_closed, inherited};
pub use tls::{TlsConfig, TlsSession};
