//! The events that move a conn's state: a packet from the client or from the server, where replies are seen or not.
//!
//! Never knows a protocol.

/// The sender of a packet, as the state machine distinguishes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// From the client, and replies are seen too.
    Input,
    /// From the real server.
    Output,
    /// From the client, and replies are not seen (direct routing, tunnel).
    InputOnly,
}
