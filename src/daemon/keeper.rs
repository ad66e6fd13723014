//! The keeper as its worker sees it: told what it is to do on the host, heard about links; the worker ends when it does.
//!
//! Never waits for it but at the start, for a file of the state or for its turn.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use crate::base::version;
use crate::io::Channel;
use crate::keeper::messages::{ToKeeper, ToWorker, VirtualRouter, decode, encode};

/// The other end, and what it has not been told yet.
pub(super) struct Keeper {
    pub(super) channel: Channel,
    unsent: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    /// What it said before its answer, and has not been heeded yet.
    heard: VecDeque<ToWorker>,
}

impl Keeper {
    pub(super) fn new(channel: Channel) -> Keeper {
        Keeper { channel, unsent: VecDeque::new(), heard: VecDeque::new() }
    }

    pub(super) fn tell(&mut self, message: &ToKeeper) {
        self.unsent.push_back((encode(message), None));
        self.send();
    }

    /// Hands it a client that asks for an upgrade.
    pub(super) fn pass_on(&mut self, client: OwnedFd) {
        self.unsent.push_back((encode(&ToKeeper::Upgrade), Some(client)));
        self.send();
    }

    /// Says that this worker can do the work of the one beside it, and waits for its turn: the virtual routers that are
    /// active then. `None` if the keeper has ended.
    pub(super) fn wait_for_turn(&mut self) -> Option<Vec<VirtualRouter>> {
        self.channel.send(&encode(&ToKeeper::Prepared(version().to_owned())), None).ok()?;
        loop {
            let (bytes, _) = self.channel.wait().ok()??;
            match decode(&bytes) {
                Some(ToWorker::Begin(active)) => return Some(active),
                // A keeper of another version may say what is not known here.
                word => self.heard.extend(word),
            }
        }
    }

    /// Has the state set aside; another file for it, if there can be one.
    pub(super) fn set_aside(&mut self, why: &str) -> Option<File> {
        self.channel.send(&encode(&ToKeeper::SetAside(why.to_owned())), None).ok()?;
        loop {
            let (bytes, file) = self.channel.wait().ok()??;
            match decode(&bytes)? {
                ToWorker::State => return file.map(File::from),
                word => self.heard.push_back(word),
            }
        }
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self) {
        while let Some((message, fd)) = self.unsent.front() {
            match self.channel.send(message, fd.as_ref().map(AsFd::as_fd)) {
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

    /// Reads what it says; `Err` if it has ended.
    pub(super) fn next_word(&mut self) -> Result<Option<ToWorker>, Ended> {
        if let Some(word) = self.heard.pop_front() {
            return Ok(Some(word));
        }
        loop {
            match self.channel.receive() {
                Ok(Some((bytes, _))) => match decode(&bytes) {
                    Some(word) => return Ok(Some(word)),
                    None => log::warn!("the keeper has said what is not understood"),
                },
                Ok(None) => return Err(Ended),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(Ended),
            }
        }
    }
}

/// The keeper has ended.
pub(super) struct Ended;
