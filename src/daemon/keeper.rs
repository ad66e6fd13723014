//! The keeper as its worker sees it: told what it is to do on the host, and the worker ends when it does.
//!
//! Never waits for it.

use std::collections::VecDeque;
use std::io::ErrorKind;

use crate::io::Channel;
use crate::keeper::messages::{ToKeeper, encode};

/// The other end, and what it has not been told yet.
pub(super) struct Keeper {
    pub(super) channel: Channel,
    unsent: VecDeque<Vec<u8>>,
}

impl Keeper {
    pub(super) fn new(channel: Channel) -> Keeper {
        Keeper { channel, unsent: VecDeque::new() }
    }

    pub(super) fn tell(&mut self, message: &ToKeeper) {
        self.unsent.push_back(encode(message));
        self.send();
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self) {
        while let Some(message) = self.unsent.front() {
            match self.channel.send(message, None) {
                Ok(()) => _ = self.unsent.pop_front(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It has ended, which the loop sees.
                Err(_) => return self.unsent.clear(),
            }
        }
    }

    /// True if something waits for room.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what it says; false if it has ended.
    pub(super) fn is_there(&self) -> bool {
        loop {
            match self.channel.receive() {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
