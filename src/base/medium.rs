//! What a link carries: frames between stations, or bare packets.

/// The two kinds of device that a director can own the far end of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Medium {
    /// Ethernet frames (a TAP): there are neighbours, with MACs that are asked for.
    #[default]
    Ethernet,
    /// IP packets (a TUN): the host's stack is at the other end and routes whatever comes.
    Ip,
}

impl Medium {
    /// What the device is called.
    pub fn device(self) -> &'static str {
        match self {
            Medium::Ethernet => "TAP",
            Medium::Ip => "TUN",
        }
    }
}
