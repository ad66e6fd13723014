//! The calls that receive a datagram: where it goes, and what else the program is told of it.
//!
//! `read`, `readv`, `recvfrom`, `recvmsg` and `recvmmsg` differ only in where their arguments lie.

use std::time::Instant;

use nix::errno::Errno;

use super::memory::{Memory, Parts};
use crate::io::seccomp::Call;

/// Of `struct msghdr`, in longs: the name, its length, the buffers, how many, control data, its length, flags.
const HEADER_LONGS: usize = 7;
const NAME_LENGTH: u64 = 8;
const CONTROL_LENGTH: u64 = 40;
const FLAGS: u64 = 48;
/// Of `struct mmsghdr`: behind its header, what was received.
const RECEIVED: u64 = 56;
/// `struct sockaddr_nl` of the kernel: its port id is 0.
const KERNEL: [u8; 12] = [libc::AF_NETLINK as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A call that receives.
pub struct Receive {
    memory: Memory,
    /// Where the bytes go: address and room.
    buffers: Vec<(u64, u64)>,
    flags: i32,
    /// Where the sender's address goes, its room, and where its length goes.
    name: Option<(u64, u32, u64)>,
    /// The header that the kernel would write to.
    header: Option<u64>,
    /// One message of several that there is room for.
    is_first_of_many: bool,
}

/// A call that waits for something to read.
pub struct Waiting {
    /// The call.
    pub call: Call,
    /// What it receives into.
    pub receive: Receive,
    /// It fails then.
    pub until: Option<Instant>,
}

impl Receive {
    /// Reads the arguments of such a call; `None` for any other call.
    pub fn read(call: &Call) -> Option<Result<Receive, Errno>> {
        let memory = Memory::of(call.thread);
        let plain =
            |buffers, flags| Receive { memory, buffers, flags, name: None, header: None, is_first_of_many: false };
        let [_, second, third, fourth, fifth, sixth] = call.args;
        Some(match call.number {
            libc::SYS_read => Ok(plain(vec![(second, third)], 0)),
            libc::SYS_readv => memory.buffers(second, third).map(|buffers| plain(buffers, 0)),
            libc::SYS_recvfrom => name_of_recvfrom(memory, fifth, sixth)
                .map(|name| Receive { name, ..plain(vec![(second, third)], fourth as i32) }),
            libc::SYS_recvmsg => Receive::message(memory, second, third as i32),
            libc::SYS_recvmmsg if third == 0 => Err(Errno::EINVAL),
            libc::SYS_recvmmsg => {
                Receive::message(memory, second, fourth as i32).map(|first| Receive { is_first_of_many: true, ..first })
            }
            _ => return None,
        })
    }

    fn message(memory: Memory, header: u64, flags: i32) -> Result<Receive, Errno> {
        let [name, name_length, buffer, count, ..] = memory.read_longs::<HEADER_LONGS>(header)?;
        let name = (name != 0).then_some((name, name_length as u32, header + NAME_LENGTH));
        let buffers = memory.buffers(buffer, count)?;
        Ok(Receive { memory, buffers, flags, name, header: Some(header), is_first_of_many: false })
    }

    /// The program does not want to wait.
    pub fn is_impatient(&self) -> bool {
        self.flags & libc::MSG_DONTWAIT != 0
    }

    /// The datagram stays for the next call.
    pub fn only_looks(&self) -> bool {
        self.flags & libc::MSG_PEEK != 0
    }

    /// Room for bytes.
    pub fn room(&self) -> usize {
        self.buffers.iter().fold(0, |room: u64, (_, len)| room.saturating_add(*len)) as usize
    }

    /// Hands a datagram over; what the call returns.
    pub fn deliver(&self, datagram: &[u8]) -> Result<i64, Errno> {
        let mut parts = Parts::default();
        let mut rest = datagram;
        for (at, room) in &self.buffers {
            let (now, later) = rest.split_at(rest.len().min(*room as usize));
            parts.put(*at, now);
            rest = later;
        }
        if let Some((at, room, length_at)) = self.name {
            parts.put(at, &KERNEL[..KERNEL.len().min(room as usize)]);
            parts.put(length_at, &(KERNEL.len() as u32).to_ne_bytes());
        }
        let copied = datagram.len() - rest.len();
        let told = if self.flags & libc::MSG_TRUNC != 0 { datagram.len() } else { copied };
        if let Some(header) = self.header {
            let flags = if rest.is_empty() { 0 } else { libc::MSG_TRUNC };
            parts.put(header + CONTROL_LENGTH, &0_u64.to_ne_bytes());
            parts.put(header + FLAGS, &flags.to_ne_bytes());
            if self.is_first_of_many {
                parts.put(header + RECEIVED, &(told as u32).to_ne_bytes());
            }
        }
        self.memory.write(&parts)?;
        Ok(if self.is_first_of_many { 1 } else { told as i64 })
    }
}

fn name_of_recvfrom(memory: Memory, name: u64, length_at: u64) -> Result<Option<(u64, u32, u64)>, Errno> {
    if name == 0 {
        return Ok(None);
    }
    Ok(Some((name, memory.read_word(length_at)?, length_at)))
}
