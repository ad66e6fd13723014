//! A part of a change of the configuration: on what it acts, how much it may do between two packets, and how it went.
//!
//! Never decides what comes next.

use super::checks::Checks;
use crate::base::Instant;
use crate::config::rules_of;
use crate::control::protocol::Reply;
use crate::director::Director;
use crate::service::command::{Command, Refused};
use crate::state::State;

/// Commands carried out between two packets; each may fill a table of its scheduler anew.
pub(super) const COMMANDS_A_TURN: usize = 64;
/// Services and dests removed, reset or copied between two packets.
pub(super) const LOOKED_AT_A_TURN: usize = 512;

/// What is changed.
pub(super) struct Changed<'a> {
    pub(super) director: &'a mut Director,
    pub(super) checks: &'a mut Checks,
    /// Where each change is written down.
    pub(super) state: Option<&'a mut State>,
}

impl Changed<'_> {
    /// Carries out a command; it is written down before anyone is told that it was.
    pub(super) fn apply(&mut self, command: &Command, now: Instant) -> Result<(), Refused> {
        self.director.apply(command, now)?;
        self.note(command);
        Ok(())
    }

    /// Writes down a command that was carried out.
    pub(super) fn note(&mut self, command: &Command) {
        if let Some(state) = &mut self.state {
            state.note(command, self.director, || rules_of(self.director));
        }
    }
}

/// How far it has come.
pub(super) enum Progress {
    /// There is more to do at once.
    More,
    /// Another thread has to answer first.
    Waits,
    /// The end, with what is said to the client.
    Done(Reply),
}
