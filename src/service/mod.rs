//! What the operator configured: virtual services, their dests, marks and statistics.
//!
//! Never sees a packet's bytes; turns a tuple into a service and a service into a dest.

pub mod command;
