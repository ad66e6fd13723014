//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! Never answers by itself; builds and reads.

use std::net::Ipv4Addr;

use super::PacketBuf;
use super::parse::ETH_LEN;
use crate::base::{DropReason, Mac};

const ARP_LEN: usize = 28;
const HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An ARP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Request or reply.
    pub op: ArpOp,
    /// Who speaks.
    pub sender: (Mac, Ipv4Addr),
    /// Whom it is about.
    pub target: (Mac, Ipv4Addr),
}

/// ARP operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOp {
    /// "Who has target?"
    Request,
    /// "Sender is at."
    Reply,
}

/// Reads the message behind an Ethernet header.
pub fn parse(bytes: &[u8]) -> Result<Arp, DropReason> {
    let bytes: &[u8; ARP_LEN] = bytes.first_chunk().ok_or(DropReason::Malformed)?;
    if bytes[..6] != HEADER {
        return Err(DropReason::Arp);
    }
    let op = match u16::from_be_bytes([bytes[6], bytes[7]]) {
        1 => ArpOp::Request,
        2 => ArpOp::Reply,
        _ => return Err(DropReason::Arp),
    };
    let party = |at: usize| {
        let mut mac = [0; 6];
        mac.copy_from_slice(&bytes[at..at + 6]);
        (Mac(mac), Ipv4Addr::new(bytes[at + 6], bytes[at + 7], bytes[at + 8], bytes[at + 9]))
    };
    Ok(Arp { op, sender: party(8), target: party(18) })
}

/// Writes a frame that carries `arp` to the station `to`.
pub fn build(buf: &mut PacketBuf, to: Mac, arp: &Arp) {
    let frame = buf.reset(ETH_LEN + ARP_LEN);
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&arp.sender.0.0);
    frame[12..14].copy_from_slice(&0x0806u16.to_be_bytes());
    let body = &mut frame[ETH_LEN..];
    body[..6].copy_from_slice(&HEADER);
    body[7] = match arp.op {
        ArpOp::Request => 1,
        ArpOp::Reply => 2,
    };
    for (at, (mac, addr)) in [(8, arp.sender), (18, arp.target)] {
        body[at..at + 6].copy_from_slice(&mac.0);
        body[at + 6..at + 10].copy_from_slice(&addr.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Parsed, parse as parse_frame};

    #[test]
    fn what_is_built_is_what_is_parsed() {
        let arp = Arp {
            op: ArpOp::Reply,
            sender: (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 2)),
            target: (Mac([2, 0, 0, 0, 0, 9]), Ipv4Addr::new(10, 0, 0, 9)),
        };
        let mut buf = PacketBuf::new();
        build(&mut buf, arp.target.0, &arp);
        let Ok(Parsed::Arp(seen)) = parse_frame(&buf) else { panic!("not ARP") };
        assert_eq!(seen, arp);
    }

    #[test]
    fn other_hardware_or_protocols_are_not_ours() {
        let mut bytes = [0; 28];
        bytes[..6].copy_from_slice(&HEADER);
        bytes[7] = 3;
        assert_eq!(parse(&bytes), Err(DropReason::Arp));
        bytes[7] = 1;
        bytes[1] = 6;
        assert_eq!(parse(&bytes), Err(DropReason::Arp));
        assert_eq!(parse(&bytes[..27]), Err(DropReason::Malformed));
    }
}
