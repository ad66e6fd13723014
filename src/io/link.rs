//! One TAP or TUN, read and written frame by frame.
//!
//! Never looks into a frame, never blocks, never changes the device: `Device` opened it and set it up.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::{error, fmt};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::link_config::{LinkFacts, Offloads};
use crate::base::DropReason;
use crate::wire::{Framing, PacketBuf, header_end};

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
    file: File,
    facts: LinkFacts,
    framing: Framing,
}

impl Link {
    /// A descriptor of a device that was set up, with what is true of it.
    pub fn new(fd: OwnedFd, facts: LinkFacts) -> Link {
        Link { file: File::from(fd), framing: facts.framing(), facts }
    }

    /// The device's name, the kernel's choice included.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Largest IP packet in bytes.
    pub fn mtu(&self) -> u16 {
        self.facts.mtu
    }

    /// What the kernel agreed to.
    pub fn offloads(&self) -> Offloads {
        self.facts.offloads
    }

    /// Reads the next frame into `buf`. After `Frame`, read again until `Empty`: events come on edges only.
    pub fn read(&mut self, buf: &mut PacketBuf) -> io::Result<ReadOutcome> {
        loop {
            return match self.file.read(buf.read_area(self.framing)) {
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
        let written = self.file.write(ready.frame()).map_err(|error| WriteError::of(&error))?;
        debug_assert_eq!(written, ready.len());
        Ok(())
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
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
