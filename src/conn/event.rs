//! What moves a conn's state: a packet, by its sender and by what of the conn is seen here.
//!
//! Never knows a protocol.

/// Who sent a packet, as the state machine sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// From the client, and replies are seen too.
    Input,
    /// From the real server.
    Output,
    /// From the client, and replies are not seen (direct routing, tunnel).
    InputOnly,
}
