//! Two servers in turn, clients by their port, and who serves them.
//!
//! What several files of rules need; never a test itself.

use std::time::Duration;

use super::VIP;
use crate::testing::{Lab, Packet};

/// A service by rr with servers .21 and .22; the latter, added last, has the first turn.
pub const NAT: &str = "-A -t 198.51.100.1:80 -s rr\n-a -t 198.51.100.1:80 -r 10.0.0.21:8080 -m\n-a -t 198.51.100.1:80 -r 10.0.0.22:8080 -m\n";

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn syn_from(port: u16) -> Packet {
    Packet::tcp(&format!("192.0.2.7:{port}"), VIP, "S")
}

/// Where the only frame went: the real server's last byte.
pub fn served_by(lab: &mut Lab, packet: &Packet) -> u8 {
    let sent = lab.client(packet);
    assert_eq!(sent.len(), 1, "{packet:?}");
    sent[0].to().0[5]
}

/// A whole handshake; the server's last byte.
pub fn establish(lab: &mut Lab, port: u16) -> u8 {
    let server = served_by(lab, &syn_from(port));
    let (rs, client) = (format!("10.0.0.{server}:8080"), format!("192.0.2.7:{port}"));
    lab.real(&Packet::tcp(&rs, &client, "SA"));
    lab.client(&Packet::tcp(&client, VIP, "A"));
    server
}
