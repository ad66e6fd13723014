//! Settings that are one of some words.
//!
//! Never says what a word brings about: that is its setting's help.

use super::field::{Field, Value};

/// What a setting takes that is one of some words.
macro_rules! words {
    ($kind:ident: $($variant:ident = $word:literal),+) => {
        impl $kind {
            pub(super) const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl Field for $kind {
            fn show(&self) -> String {
                match self {
                    $($kind::$variant => $word.to_owned(),)+
                }
            }

            fn put(&mut self, value: Value) {
                match value {
                    $(Value::Text(text) if text == $word => *self = $kind::$variant,)+
                    _ => {}
                }
            }
        }
    };
}

/// What becomes of a TCP segment in the middle of a conn that is not known, if it is for a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// The director's own stack answers it with a reset, as the kernel's does.
    Reset,
    /// It is dropped in silence.
    Drop,
    /// It opens the conn.
    Adopt,
}

/// Whether the kernel forwards established flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fast {
    /// Where it can.
    Auto,
    /// It must be able to.
    On,
    /// Never.
    Off,
}

/// What the sender of a packet is told for which there is no local port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoLocalPort {
    /// A reset, if it is a segment; otherwise the same as by ICMP.
    Reset,
    /// That the port is unreachable.
    Icmp,
    /// Nothing.
    Drop,
}

/// What becomes of a header of the PROXY protocol that a client sends itself, where the director puts one in front of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientHeader {
    /// It is not looked for: the server gets it as the stream's first bytes, behind the director's.
    Data,
    /// It takes the place of the director's.
    Pass,
    /// The director's takes its place.
    Replace,
    /// The conn is reset.
    Refuse,
}

/// Which datagrams of a flow carry a header of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datagrams {
    /// All.
    Each,
    /// Those that come before the server's first answer.
    UntilAnswered,
}

words!(ClientHeader: Data = "data", Pass = "pass", Replace = "replace", Refuse = "refuse");
words!(NoLocalPort: Reset = "reset", Icmp = "icmp", Drop = "drop");
words!(Datagrams: Each = "each", UntilAnswered = "until-answered");
words!(Unknown: Reset = "reset", Drop = "drop", Adopt = "adopt");
words!(Fast: Auto = "auto", On = "on", Off = "off");
