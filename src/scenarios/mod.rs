//! Conversations with the whole director: frames in, exact frames out, exact counters.
//!
//! One file per behaviour. The packets are built by another hand than the director's (etherparse), so that both cannot
//! be wrong in the same way.

mod batches;
mod bypass;
mod checks;
mod discovery;
mod doors;
mod drops;
mod extensions;
mod families;
mod fast;
mod fast_model;
mod fast_workers;
mod ftp;
mod ftp_fullnat;
mod icmp;
mod keep_alive;
mod kernel_cookies;
mod kernel_devices;
mod kernel_program;
mod kernel_reasons;
mod kernel_rewriting;
mod leaving_servers;
mod limits;
mod memberships;
mod methods;
mod neighbours;
mod outbound;
mod own_addresses;
mod own_probes;
mod persistence;
mod proxy;
mod proxy_own;
mod proxy_udp;
mod quotas;
mod refusals;
mod rewriting;
mod room;
mod scheduling;
mod sctp;
mod sequences;
mod sip;
mod sip_tcp;
mod steps;
mod superframes_in_tunnels;
mod syn_proxy;
mod syn_proxy_model;
mod sync;
mod tcp_lifecycle;
mod time;
mod toa;
mod tunnels;
mod unknown;
mod vrrp;
mod vrrp_conns;
mod vrrp_tracks;

/// A client, behind the router.
const CLIENT: &str = "192.0.2.7:4000";
/// The virtual service of most labs.
const VIP: &str = "198.51.100.1:80";
/// Its servers.
const RS1: &str = "10.0.0.21:8080";
const RS2: &str = "10.0.0.22:8080";
/// A local address for FULL-NAT.
const LIP: &str = "10.0.0.30";
/// The same of IPv6.
const CLIENT6: &str = "[2001:db8:c::7]:4000";
const VIP6: &str = "[2001:db8:51::1]:80";
const RS6: &str = "[2001:db8::21]:8080";
