//! The datagram of a `sendmsg`, out of the program's memory.
//!
//! It lies in three places, each named by the one before: a header, a list of buffers, the bytes. libnl sends from the
//! same places again and again, so all three are read at once where they were last time. That holds where the header and
//! the list say so; otherwise they are followed.

use nix::errno::Errno;

use super::memory::Memory;
use super::socket::LARGEST_DATAGRAM;
use crate::io::seccomp::Call;

/// Where datagrams lay that were sent last: libnl sends the question for a family's number from another place than others.
#[derive(Default)]
pub struct Sent {
    known: [Place; 2],
    /// The one that is forgotten next.
    oldest: usize,
}

/// Header, list and bytes of a datagram in one buffer.
#[derive(Clone, Copy, Default)]
struct Place {
    header: u64,
    list: u64,
    bytes: u64,
    len: usize,
}

impl Sent {
    /// The datagram. Who it is for is not asked: a socket of netlink has one other side here.
    pub fn read(&mut self, call: &Call) -> Result<Vec<u8>, Errno> {
        let (memory, header) = (Memory::of(call.thread), call.args[1]);
        let known = self.known.iter().position(|place| place.header == header);
        if let Some(sent) = known.and_then(|index| self.known[index].read(memory)) {
            return Ok(sent);
        }
        let [_, _, list, count] = memory.read_longs(header)?;
        let buffers = memory.buffers(list, count)?;
        let sent = gather(memory, &buffers)?;
        if let [(bytes, _)] = buffers[..] {
            let index = known.unwrap_or(self.oldest);
            self.known[index] = Place { header, list, bytes, len: sent.len() };
            self.oldest = 1 - index;
        }
        Ok(sent)
    }
}

impl Place {
    /// What lies here, if it is a datagram as the last one was: the start of a `struct msghdr` (the name, its length, the
    /// list, how many), a `struct iovec`, bytes.
    fn read(&self, memory: Memory) -> Option<Vec<u8>> {
        let (mut header, mut list, mut sent) = ([[0; 8]; 4], [[0; 8]; 2], vec![0; self.len]);
        let [header_at, list_at] = [&mut header[..], &mut list[..]].map(<[[u8; 8]]>::as_flattened_mut);
        memory.read_all([(self.header, header_at), (self.list, list_at), (self.bytes, &mut sent)]).ok()?;
        let said = [header[2], header[3], list[0], list[1]].map(u64::from_ne_bytes);
        (said == [self.list, 1, self.bytes, self.len as u64]).then_some(sent)
    }
}

fn gather(memory: Memory, buffers: &[(u64, u64)]) -> Result<Vec<u8>, Errno> {
    let len = buffers.iter().fold(0, |len: u64, (_, part)| len.saturating_add(*part)) as usize;
    if len > LARGEST_DATAGRAM {
        return Err(Errno::EMSGSIZE);
    }
    let mut sent = vec![0; len];
    let mut rest = &mut sent[..];
    for (at, len) in buffers {
        let (part, others) = rest.split_at_mut(*len as usize);
        memory.read(*at, part)?;
        rest = others;
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `sendmsg` of this process, and the memory that it names.
    struct Sending {
        bytes: Vec<u8>,
        list: Box<[u64; 2]>,
        header: Box<[u64; 4]>,
    }

    impl Sending {
        fn of(bytes: &[u8]) -> Sending {
            let bytes = bytes.to_vec();
            let list = Box::new([bytes.as_ptr() as u64, bytes.len() as u64]);
            let header = Box::new([0, 0, list.as_ptr() as u64, 1]);
            Sending { bytes, list, header }
        }

        fn call(&self) -> Call {
            let args = [900, self.header.as_ptr() as u64, 0, 0, 0, 0];
            Call { id: 1, thread: std::process::id(), number: libc::SYS_sendmsg, at: 0, args }
        }
    }

    #[test]
    fn what_lies_where_it_lay_is_read_and_what_does_not_is_followed() {
        let mut sent = Sent::default();
        let mut sending = Sending::of(b"first question");
        assert_eq!(sent.read(&sending.call()).unwrap(), b"first question");
        sending.bytes.copy_from_slice(b"other question");
        assert_eq!(sent.read(&sending.call()).unwrap(), b"other question", "of the same length at the same place");

        sending.list[1] = 5;
        assert_eq!(sent.read(&sending.call()).unwrap(), b"other", "shorter");
        sending.list[1] = 14;
        assert_eq!(sent.read(&sending.call()).unwrap(), b"other question", "longer");
        let elsewhere = b"another place".to_vec();
        *sending.list = [elsewhere.as_ptr() as u64, 13];
        assert_eq!(sent.read(&sending.call()).unwrap(), elsewhere, "its bytes lie elsewhere");
        let list = Box::new([sending.bytes.as_ptr() as u64, 14]);
        sending.header[2] = list.as_ptr() as u64;
        assert_eq!(sent.read(&sending.call()).unwrap(), b"other question", "its list lies elsewhere");
        let two = Box::new([list[0], 5, list[0] + 5, 9]);
        (sending.header[2], sending.header[3]) = (two.as_ptr() as u64, 2);
        assert_eq!(sent.read(&sending.call()).unwrap(), b"other question", "in two buffers");
        sending.header[3] = 0;
        assert_eq!(sent.read(&sending.call()).unwrap(), b"", "in none");
        sending.header[2] = 8;
        sending.header[3] = 1;
        assert_eq!(sent.read(&sending.call()), Err(Errno::EFAULT));
    }

    #[test]
    fn two_places_in_turn_are_both_known() {
        let (mut sent, sendings) = (Sent::default(), [b"a family?", b"a server?"].map(|bytes| Sending::of(bytes)));
        for _ in 0..3 {
            for sending in &sendings {
                assert_eq!(sent.read(&sending.call()).unwrap(), sending.bytes);
            }
        }
        for sending in &sendings {
            assert!(sent.known.iter().any(|place| place.header == sending.header.as_ptr() as u64));
        }
    }
}
