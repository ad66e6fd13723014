//! Where the frames of a lab's director leave, kept for a look at them.

use super::packet::Packet;
use crate::base::{DropReason, LinkId, Mac};
use crate::router::Egress;
use crate::wire::{PacketBuf, Vnet};

/// A frame that left, with its virtio header.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// The link it left by.
    pub link: LinkId,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// The virtio header.
    pub vnet: Vnet,
}

impl Frame {
    /// The station it is sent to.
    pub fn to(&self) -> Mac {
        Mac(self.bytes[..6].try_into().unwrap())
    }

    /// The IP packet's bytes.
    pub fn ip(&self) -> &[u8] {
        &self.bytes[14..]
    }

    /// What the IP packet carries: the bytes behind its header.
    pub fn behind_ip(&self) -> &[u8] {
        &self.ip()[Packet::header_len(self.ip())..]
    }

    /// The packet, read by etherparse.
    pub fn packet(&self) -> Packet {
        Packet::read(self.ip())
    }

    /// The packet inside the packet: what an ICMP error quotes, or what an IPIP tunnel carries.
    pub fn inner(&self) -> Packet {
        Packet::read(&self.packet().payload)
    }
}

/// The other end of every link of a director.
#[derive(Default)]
pub struct Wire {
    sent: Vec<Frame>,
    /// How many frames left so far.
    pub frames: u64,
    /// Refuses all frames for this reason.
    pub refuses: Option<DropReason>,
}

impl Wire {
    /// The frames that left since the last call.
    pub fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }
}

impl Egress for Wire {
    fn transmit(&mut self, link: LinkId, frame: &mut PacketBuf) -> Result<(), DropReason> {
        if let Some(reason) = self.refuses {
            return Err(reason);
        }
        self.frames += 1;
        self.sent.push(Frame { link, bytes: frame.frame().to_vec(), vnet: frame.vnet });
        Ok(())
    }
}
