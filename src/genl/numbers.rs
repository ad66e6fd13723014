//! The numbers of `linux/netlink.h`, `linux/genetlink.h` and `linux/ip_vs.h` that a program and a kernel share.

pub use crate::wire::netlink::flag;

/// A message's kind.
pub mod kind {
    #[cfg(test)]
    pub use crate::wire::netlink::kind::DONE;
    #[cfg(any(test, feature = "testing"))]
    pub use crate::wire::netlink::kind::ERROR;

    /// Below this a kind is netlink's own and no question.
    pub const FIRST_OF_FAMILIES: u16 = 0x10;
    /// The controller of generic netlink.
    pub const CONTROLLER: u16 = 0x10;
    /// IPVS, as the controller tells it: the largest number that generic netlink gives, the last one a kernel uses.
    pub const IPVS: u16 = 1023;
}

/// The controller's commands and attributes.
pub mod ctrl {
    pub const NEW_FAMILY: u8 = 1;
    pub const GET_FAMILY: u8 = 3;
    pub const VERSION: u8 = 2;
    pub const FAMILY_ID: u16 = 1;
    pub const FAMILY_NAME: u16 = 2;
    pub const FAMILY_VERSION: u16 = 3;
    pub const HEADER_SIZE: u16 = 4;
    pub const MAX_ATTRIBUTE: u16 = 5;
    pub const OPERATIONS: u16 = 6;
    pub const OPERATION_ID: u16 = 1;
    pub const OPERATION_FLAGS: u16 = 2;
    /// An operation that needs CAP_NET_ADMIN.
    pub const ADMIN: u32 = 0x01;
    /// An operation on one thing.
    pub const DOES: u32 = 0x02;
    /// An operation that lists.
    pub const DUMPS: u32 = 0x04;
    /// Its attributes are checked.
    pub const CHECKS: u32 = 0x08;
}

/// Name and version of the family.
pub const FAMILY: &str = "IPVS";
pub const FAMILY_VERSION: u8 = 1;
/// 1.2.1
pub const IPVS_VERSION: u32 = 0x01_02_01;
/// Buckets of the kernel's table of conns, unless it was told otherwise.
pub const CONN_TABLE: u32 = 4096;

/// Commands of IPVS.
pub mod cmd {
    pub const NEW_SERVICE: u8 = 1;
    pub const SET_SERVICE: u8 = 2;
    pub const DEL_SERVICE: u8 = 3;
    pub const GET_SERVICE: u8 = 4;
    pub const NEW_DEST: u8 = 5;
    pub const SET_DEST: u8 = 6;
    pub const DEL_DEST: u8 = 7;
    pub const GET_DEST: u8 = 8;
    pub const NEW_DAEMON: u8 = 9;
    pub const DEL_DAEMON: u8 = 10;
    pub const GET_DAEMON: u8 = 11;
    pub const SET_CONFIG: u8 = 12;
    pub const GET_CONFIG: u8 = 13;
    pub const SET_INFO: u8 = 14;
    pub const GET_INFO: u8 = 15;
    pub const ZERO: u8 = 16;
    pub const FLUSH: u8 = 17;
}

/// Attributes of a message of IPVS.
pub mod top {
    pub const SERVICE: u16 = 1;
    pub const DEST: u16 = 2;
    pub const DAEMON: u16 = 3;
    pub const TIMEOUT_TCP: u16 = 4;
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    pub const TIMEOUT_UDP: u16 = 6;
    pub const MAX: u16 = 6;
}

/// Attributes of the answer to GET_INFO.
pub mod info {
    pub const VERSION: u16 = 1;
    pub const CONN_TABLE: u16 = 2;
}

/// Attributes of a service.
pub mod svc {
    pub const FAMILY: u16 = 1;
    pub const PROTOCOL: u16 = 2;
    pub const ADDR: u16 = 3;
    pub const PORT: u16 = 4;
    pub const FWMARK: u16 = 5;
    pub const SCHEDULER: u16 = 6;
    pub const FLAGS: u16 = 7;
    pub const TIMEOUT: u16 = 8;
    pub const NETMASK: u16 = 9;
    pub const STATS: u16 = 10;
    pub const ENGINE: u16 = 11;
    pub const STATS64: u16 = 12;
}

/// Bits of a service's flags.
pub mod svc_flag {
    pub const PERSISTENT: u32 = 0x01;
    /// The kernel's own: the service is in its table.
    pub const HASHED: u32 = 0x02;
    pub const ONE_PACKET: u32 = 0x04;
    /// The first of three bits for the scheduler.
    pub const SCHEDULER_SHIFT: u32 = 3;
}

/// Attributes of a destination.
pub mod dest {
    pub const ADDR: u16 = 1;
    pub const PORT: u16 = 2;
    pub const METHOD: u16 = 3;
    pub const WEIGHT: u16 = 4;
    pub const UPPER: u16 = 5;
    pub const LOWER: u16 = 6;
    pub const ACTIVE: u16 = 7;
    pub const INACTIVE: u16 = 8;
    pub const PERSISTENT: u16 = 9;
    pub const STATS: u16 = 10;
    pub const FAMILY: u16 = 11;
    pub const STATS64: u16 = 12;
    pub const TUNNEL: u16 = 13;
    pub const TUNNEL_PORT: u16 = 14;
    pub const TUNNEL_FLAGS: u16 = 15;
}

/// Forwarding methods; the low three bits of their attribute.
pub mod method {
    pub const MASK: u32 = 0x07;
    pub const NAT: u32 = 0;
    pub const TUNNEL: u32 = 2;
    pub const DIRECT: u32 = 3;
    /// The kernel has none; the number that DPVS gives it.
    pub const FULL_NAT: u32 = 5;
}

/// Kinds of tunnels and their flags.
pub mod tunnel {
    pub const IPIP: u8 = 0;
    pub const GUE: u8 = 1;
    pub const GRE: u8 = 2;
    pub const CHECKSUM: u16 = 0x01;
    pub const REMOTE_CHECKSUM: u16 = 0x02;
}

/// Attributes of a synchronisation daemon.
pub mod daemon {
    pub const STATE: u16 = 1;
    pub const INTERFACE: u16 = 2;
    pub const SYNC_ID: u16 = 3;
    pub const MAX_LENGTH: u16 = 4;
    pub const GROUP: u16 = 5;
    pub const GROUP6: u16 = 6;
    pub const PORT: u16 = 7;
    pub const TTL: u16 = 8;
    pub const MASTER: u32 = 1;
    pub const BACKUP: u32 = 2;
}

/// Address families as sockets number them.
pub mod family {
    pub const V4: u16 = 2;
    pub const V6: u16 = 10;
}
