//! tapvs: a Linux Virtual Server director in user space.
//!
//! The packet's path is one line: `io::link` reads a frame, `wire` parses it, the `director` decides
//! with `conn`, `service`, `sched`, `forward` and `router`, and `io::link` writes it. Everything but `io` and
//! `daemon` is free of clocks, sockets and randomness: time, seed and frames come in as arguments.

// They panic where nobody reads: `io::print_out`, `io::print_error` and the log do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]
// No other crate measures these.
#![allow(clippy::len_without_is_empty)]

#[cfg(any(test, feature = "whole"))]
mod alg;
#[cfg(any(test, feature = "whole"))]
mod base;
pub mod cli;
mod config;
#[cfg(any(test, feature = "whole"))]
mod conn;
mod control;
mod daemon;
#[cfg(any(test, feature = "whole"))]
mod director;
mod exec;
#[cfg(any(test, feature = "whole"))]
#[allow(dead_code, unused_imports)]
mod fastpath;
#[cfg(any(test, feature = "whole"))]
mod flows;
#[cfg(any(test, feature = "whole"))]
mod forward;
mod genl;
mod health;
mod io;
mod ipvsadm;
mod keeper;
#[cfg(any(test, feature = "whole"))]
mod outbound;
mod realserver;
#[cfg(any(test, feature = "whole"))]
mod router;
#[cfg(any(test, feature = "whole"))]
mod sched;
#[cfg(any(test, feature = "whole"))]
mod service;
#[cfg(any(test, feature = "whole"))]
mod settings;
#[cfg(any(test, feature = "whole"))]
mod stack;
mod state;
#[cfg(any(test, feature = "whole"))]
mod sync;
#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(any(test, feature = "whole"))]
mod vrrp;
#[cfg(any(test, feature = "whole"))]
mod wire;
#[cfg(any(test, feature = "whole"))]
mod wires;

// Some are used by tests alone.
#[cfg(not(any(test, feature = "whole")))]
#[allow(unused_imports)]
use tapvs_core::{
    alg, base, conn, director, fastpath, flows, forward, outbound, router, sched, service, settings, stack, sync, vrrp,
    wire, wires,
};

#[cfg(test)]
mod scenarios;

pub use base::version;
pub use config::RunArgs;
pub use exec::ExecArgs;
pub use io::{print_error, print_out, start_log};
pub use ipvsadm::option_names;
pub use realserver::RealserverArgs;

/// Runs a director, under a keeper unless it is the keeper's; the exit status.
pub fn run(args: RunArgs) -> Result<u8, String> {
    if keeper::is_worker() { daemon::run(args).map(|()| 0) } else { keeper::run(&args) }
}

/// The rooms, for the tools, benches and tests that look inside.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod inside {
    pub mod base {
        pub use crate::base::*;
    }
    pub mod conn {
        pub use crate::conn::*;
    }
    pub mod config {
        pub use crate::config::*;
    }
    pub mod daemon {
        pub use crate::daemon::*;
    }
    pub mod director {
        pub use crate::director::*;
    }
    pub mod fastpath {
        pub use crate::fastpath::*;
    }
    pub mod io {
        pub use crate::io::*;
    }
    pub mod ipvsadm {
        pub use crate::ipvsadm::*;
    }
    pub mod router {
        pub use crate::router::*;
    }
    pub mod sched {
        pub use crate::sched::*;
    }
    pub mod service {
        pub use crate::service::*;
    }
    pub mod state {
        pub use crate::state::*;
    }
    pub mod testing {
        pub use crate::testing::*;
    }
    pub mod wire {
        pub use crate::wire::*;
    }
}
