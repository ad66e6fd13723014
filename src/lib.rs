//! tapvs: a Linux Virtual Server director in user space.
//!
//! The packet's path is one line: `io::link` reads a frame, `wire` parses it, the `director` decides
//! with `conn`, `service`, `sched`, `forward` and `router`, and `io::link` writes it. Everything but `io` and
//! `daemon` is free of clocks, sockets and randomness: time, seed and frames come in as arguments.

// They panic where nobody reads: `io::print_out`, `io::print_error` and the log do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod alg;
pub mod base;
pub mod cli;
pub mod config;
pub mod conn;
pub mod control;
pub mod daemon;
pub mod director;
pub mod exec;
pub mod flows;
pub mod forward;
pub mod genl;
pub mod health;
pub mod io;
pub mod ipvsadm;
pub mod keeper;
pub mod realserver;
pub mod router;
pub mod sched;
pub mod service;
pub mod settings;
pub mod stack;
pub mod state;
pub mod sync;
#[doc(hidden)]
pub mod testing;
pub mod wire;

#[cfg(test)]
mod scenarios;
