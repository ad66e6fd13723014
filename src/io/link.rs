//! One TAP or TUN: opened or adopted, put on its bridge, read and written frame by frame, and put back as it was.
//!
//! Never looks into a frame. Never blocks. What it changed on the host, it undoes when dropped.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::{error, fmt};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::link_setup::{self, Undo};
use super::{LinkError, sys};
use crate::base::{DropReason, Mac, Medium};
use crate::wire::{Framing, PacketBuf, header_end};

/// What the operator wants of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkConfig {
    /// The device's name; one that exists is adopted and left in place. `None`: the kernel chooses.
    pub tap: Option<String>,
    /// The bridge to become a port of; `None` leaves that to the operator.
    pub bridge: Option<String>,
    /// Largest IP packet; `None` takes the bridge's.
    pub mtu: Option<u16>,
    /// Whether to accept superframes and unfinished checksums from the kernel.
    pub offload: bool,
    /// The director's own MAC on this link; never the TAP's. Zero without Ethernet.
    pub mac: Mac,
    /// A TAP or a TUN.
    pub medium: Medium,
}

/// What the kernel agreed to leave to us, and we may leave to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// Unfinished L4 checksums.
    pub checksum: bool,
    /// TCP superframes.
    pub tso: bool,
    /// UDP superframes.
    pub uso: bool,
    /// Superframes inside UDP tunnels.
    pub tunnel: bool,
}

impl Offloads {
    /// From the mask that `TUNSETOFFLOAD` accepted.
    pub(super) fn from_mask(mask: u32) -> Offloads {
        let has = |bits: u32| mask & bits == bits;
        Offloads {
            checksum: has(sys::offload::CSUM),
            tso: has(sys::offload::TSO4 | sys::offload::TSO6),
            uso: has(sys::offload::USO4 | sys::offload::USO6),
            tunnel: has(sys::offload::UDP_TUNNEL | sys::offload::UDP_TUNNEL_CSUM),
        }
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.checksum, "checksum"), (self.tso, "tso"), (self.uso, "uso"), (self.tunnel, "tunnel")];
        let granted: Vec<_> = names.into_iter().filter(|(granted, _)| *granted).map(|(_, name)| name).collect();
        f.pad(&if granted.is_empty() { "none".to_owned() } else { granted.join(" ") })
    }
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// A frame; it is in the buffer.
    Frame,
    /// Nothing more for now; the next frame raises a new event.
    Empty,
    /// The device was deleted: every later read says so too, so take it out of the loop.
    Gone,
}

/// Why a frame was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// No memory or no room in the kernel right now.
    Busy,
    /// The link is down; it may come up again.
    Down,
    /// The device was deleted.
    Gone,
    /// The kernel took frame or virtio header for invalid: a defect of ours. With the error number.
    Refused(i32),
}

impl WriteError {
    /// The name in the ledger.
    pub fn drop_reason(self) -> DropReason {
        match self {
            WriteError::Busy => DropReason::DeviceBusy,
            WriteError::Down | WriteError::Gone => DropReason::DeviceDown,
            WriteError::Refused(_) => DropReason::DeviceRefused,
        }
    }

    fn of(error: &io::Error) -> WriteError {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOMEM | libc::ENOBUFS | libc::EINTR) => WriteError::Busy,
            Some(libc::EIO | libc::ENETDOWN) => WriteError::Down,
            Some(libc::EBADFD) => WriteError::Gone,
            Some(code) => WriteError::Refused(code),
            None => WriteError::Refused(0),
        }
    }
}

impl From<WriteError> for DropReason {
    fn from(error: WriteError) -> DropReason {
        error.drop_reason()
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Busy => f.write_str("the kernel has no room for the frame"),
            WriteError::Down => f.write_str("the link is down"),
            WriteError::Gone => f.write_str("the device was deleted"),
            WriteError::Refused(code) => write!(f, "the kernel refused the frame (error {code})"),
        }
    }
}

impl error::Error for WriteError {}

/// An open TAP or TUN.
pub struct Link {
    pub(super) device: tun::Device,
    pub(super) name: String,
    pub(super) mtu: u16,
    pub(super) tap_mac: Mac,
    /// How frames are handed over.
    pub(super) framing: Framing,
    pub(super) offloads: Offloads,
    /// What to put back, in the order it was changed.
    pub(super) undo: Vec<Undo>,
    /// Addresses that the host was told to route here.
    pub(super) attracted: HashSet<IpAddr>,
}

impl Link {
    /// Opens (or adopts) the device, puts it on its bridge and takes it up.
    pub fn open(config: &LinkConfig) -> Result<Link, LinkError> {
        link_setup::open(config)
    }

    /// The TAP's name, the kernel's choice included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Largest IP packet in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The TAP netdev's own MAC, which is the host's and never ours.
    pub fn tap_mac(&self) -> Mac {
        self.tap_mac
    }

    /// What the kernel agreed to.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Has the host route an address to a TUN, or no more; a TAP's neighbours ask.
    pub fn attract(&mut self, addr: IpAddr, here: bool) {
        link_setup::attract(self, addr, here);
    }

    /// Reads the next frame into `buf`. After `Frame`, read again until `Empty`: events come on edges only.
    pub fn read(&mut self, buf: &mut PacketBuf) -> io::Result<ReadOutcome> {
        loop {
            return match self.device.read(buf.read_area(self.framing)) {
                Ok(count) => {
                    // A frame without a single byte is left to the parser, which drops it by name.
                    buf.filled(count, self.framing);
                    Ok(ReadOutcome::Frame)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(ReadOutcome::Empty),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => Ok(ReadOutcome::Gone),
                Err(error) => Err(error),
            };
        }
    }

    /// Readies the frame in `buf` to be written.
    #[inline]
    pub fn enclose(&self, buf: &mut PacketBuf) {
        buf.enclose(self.framing, header_end(buf));
    }

    /// Writes a frame that was made ready.
    pub fn write(&mut self, ready: &PacketBuf) -> Result<(), WriteError> {
        // One buffer, one write: a TAP takes a frame per call, whole or not at all.
        let written = self.device.write(ready.frame()).map_err(|error| WriteError::of(&error))?;
        debug_assert_eq!(written, ready.len());
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        link_setup::undo(self);
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

/// Register for `READABLE` only: a TAP is always writable.
impl Source for Link {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_print_as_the_words_of_the_manual() {
        for (mask, words) in [
            (0x1ef, "checksum tso uso tunnel"),
            (0x18f, "checksum tso tunnel"),
            (0x6f, "checksum tso uso"),
            (0x0f, "checksum tso"),
            (0x07, "checksum tso"),
            (0x01, "checksum"),
            (0, "none"),
        ] {
            assert_eq!(Offloads::from_mask(mask).to_string(), words);
        }
    }

    #[test]
    fn every_write_error_has_its_place_in_the_ledger() {
        let reason = |code| WriteError::of(&io::Error::from_raw_os_error(code)).drop_reason();
        for code in [libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS] {
            assert_eq!(reason(code), DropReason::DeviceBusy);
        }
        for code in [libc::EIO, libc::ENETDOWN, libc::EBADFD] {
            assert_eq!(reason(code), DropReason::DeviceDown);
        }
        for code in [libc::EINVAL, libc::EFAULT, libc::EMSGSIZE] {
            assert_eq!(reason(code), DropReason::DeviceRefused);
        }
    }
}
