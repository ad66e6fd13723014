//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! Never answers by itself; builds and reads.

use std::net::Ipv4Addr;

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice};

use super::PacketBuf;
use super::field::{ETH_LEN, ethernet, put, put16};
use crate::base::{DropReason, Mac};

/// An ARP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Request or reply.
    pub op: ArpOp,
    /// MAC and address of the station that sent it.
    pub sender: (Mac, Ipv4Addr),
    /// MAC and address that a request asks for or a reply is for.
    pub target: (Mac, Ipv4Addr),
}

/// ARP operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOp {
    /// Asks for the target's MAC.
    Request,
    /// Gives the sender's MAC.
    Reply,
}

/// Reads the message behind an Ethernet header.
pub fn parse(bytes: &[u8]) -> Result<Arp, DropReason> {
    let slice = ArpPacketSlice::from_slice(bytes).map_err(|_| DropReason::Malformed)?;
    let packet = slice.to_packet().try_eth_ipv4().map_err(|_| DropReason::Arp)?;
    let op = match packet.operation {
        ArpOperation::REQUEST => ArpOp::Request,
        ArpOperation::REPLY => ArpOp::Reply,
        ArpOperation(_) => return Err(DropReason::Arp),
    };
    let sender = (Mac(packet.sender_mac), packet.sender_ipv4_addr());
    Ok(Arp { op, sender, target: (Mac(packet.target_mac), packet.target_ipv4_addr()) })
}

/// Writes a frame that carries `arp` to the station `to`.
pub fn build(buf: &mut PacketBuf, to: Mac, arp: &Arp) {
    let message = ArpEthIpv4Packet {
        operation: match arp.op {
            ArpOp::Request => ArpOperation::REQUEST,
            ArpOp::Reply => ArpOperation::REPLY,
        },
        sender_mac: arp.sender.0.0,
        sender_ipv4: arp.sender.1.octets(),
        target_mac: arp.target.0.0,
        target_ipv4: arp.target.1.octets(),
    };
    let body = message.to_bytes();
    let frame = buf.reset(ETH_LEN + body.len());
    put(frame, ethernet::DST, &to.0);
    put(frame, ethernet::SRC, &arp.sender.0.0);
    put16(frame, ethernet::ETHERTYPE, ethernet::ARP);
    put(frame, ETH_LEN, &body);
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
        bytes[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        bytes[7] = 3;
        assert_eq!(parse(&bytes), Err(DropReason::Arp));
        bytes[7] = 1;
        bytes[1] = 6;
        assert_eq!(parse(&bytes), Err(DropReason::Arp));
        assert_eq!(parse(&bytes[..27]), Err(DropReason::Malformed));
    }
}
