//! Bytes to values and values to bytes: the only layer where IPv4 and IPv6 differ.
//!
//! Total and pure: no input panics, nothing is read but the buffer. Never decides where a packet goes.

pub mod arp;
mod buf;
pub mod checksum;
pub mod decap;
mod edit;
pub mod encap;
pub mod extension;
mod fragment;
pub mod icmp;
pub mod ndp;
mod offload;
pub mod options;
mod parse;
mod reassembly;
mod segment;

pub mod sync;
pub mod tcp;
pub mod translate;
pub mod udp;
mod vnet;

pub use buf::{Framing, HEADROOM, PacketBuf};
pub use edit::{End, decrement_ttl, finish_checksum, finish_inner_checksum, set_address, set_endpoint, set_macs};
pub use fragment::Fragments;
pub use offload::header_end;
pub use parse::{ETH_LEN, Fragment, Ip, L4, Parsed, TcpFlags, ip_packet, macs, parse};
pub use reassembly::{Abandoned, Joined, Reassembly};
pub use segment::Segments;
pub use vnet::{Gso, UdpTunnel, VNET_LEN, Vnet, VnetHeader};
