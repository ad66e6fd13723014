//! Bytes to values and values to bytes: the only layer where IPv4 and IPv6 differ.
//!
//! Total and pure: no input panics, nothing is read but the buffer. Never decides where a packet goes.

pub mod arp;
mod attributes;
mod buf;
mod carried;
pub mod checksum;
pub mod decap;
mod edit;
pub mod encap;
mod ethernet;
pub mod extension;
pub(crate) mod field;
mod fragment;
pub mod icmp;
pub mod igmp;
pub mod ip;
pub mod listener;
pub mod ndp;
pub mod netlink;
mod offer;
mod offload;
pub mod options;
mod packet;
mod parse;
mod piece;
pub mod quote;
mod reassembly;
mod segment;
pub mod tcp;
pub mod tcp_option;
pub mod translate;
pub mod translate_error;
pub mod udp;
mod vnet;
pub mod vrrp;

pub use buf::{Framing, PacketBuf};
pub use carried::Packet;
pub use edit::{
    End, decrement_ttl, finish_checksum, finish_inner_checksum, set_address, set_echo_id, set_endpoint, set_endpoints,
};
pub use ethernet::{macs, set_macs};
pub use field::ETH_LEN;
pub use fragment::Fragments;
pub use ip::ip_packet;
pub use offer::Offer;
pub use offload::header_end;
pub use packet::{Fragment, Ip, L4, TcpFlags};
pub use parse::{Parsed, parse, parse_into};
pub use reassembly::{Abandoned, Joined, Reassembly};
pub use segment::Segments;
pub use vnet::{Gso, UdpTunnel, VNET_LEN, Vnet, VnetHeader};
