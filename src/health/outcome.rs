//! What came of one probe: success, failure of the server, failure of this host, or the words of an agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::service::Share;

/// The longest text that is kept of a reason, in bytes.
const LONGEST: usize = 160;

/// How far a probe came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The connection is made.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The request is on its way and the answer awaited.
    Answer,
    /// The answer's body.
    Body,
    /// A program runs.
    Run,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Answer => "answer",
            Stage::Body => "body",
            Stage::Run => "run",
        })
    }
}

/// Why a probe failed, and at which stage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// How far the probe came.
    pub stage: Stage,
    /// One line, printable, of bounded length.
    pub what: String,
}

impl Reason {
    /// What a server says is escaped and cut: the text goes to logs and terminals.
    pub fn new(stage: Stage, what: impl AsRef<str>) -> Reason {
        let mut text = String::new();
        for part in what.as_ref().chars().map(|letter| match letter {
            ' '..='~' => letter.to_string(),
            other => other.escape_default().to_string(),
        }) {
            if text.len() + part.len() > LONGEST {
                text += "...";
                break;
            }
            text += &part;
        }
        Reason { stage, what: text }
    }

    /// The deadline of the probe has passed.
    pub fn timeout(stage: Stage) -> Reason {
        Reason::new(stage, "timeout")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.what)
    }
}

/// What came of one probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The server is well.
    Passed,
    /// The server is well, and this is its share of the weight (exit codes of a dynamic program).
    PassedAt(Share),
    /// The server failed.
    Failed(Reason),
    /// This host failed, the server is not to blame: no file descriptor, no route, no memory.
    Local(Reason),
    /// The words of an agent.
    Agent(Agent),
}

/// What an agent wants of the administrator's part; independent of the verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentAdmin {
    /// Serves.
    #[default]
    Ready,
    /// No new conns; those there are go on.
    Drain,
    /// Out of service.
    Maint,
}

/// The words of one line of an agent; what it does not mention does not change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Agent {
    /// `75%`, `weight:75%`, `weight:30`
    pub share: Option<Share>,
    /// `ready`, `drain`, `maint`
    pub admin: Option<AgentAdmin>,
    /// `up`, or why it is down.
    pub verdict: Option<Result<(), Reason>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_printable_and_short() {
        let reason = Reason::new(Stage::Answer, format!("\x1b[31m\n{}", "x".repeat(10_000)));
        assert!(reason.what.starts_with("\\u{1b}[31m\\nxxx"), "{}", reason.what);
        assert!(reason.what.len() <= LONGEST + 3);
        assert_eq!(Reason::timeout(Stage::Tls).to_string(), "tls: timeout");
    }
}
