//! Settings of the director; names and defaults are those of the kernel's sysctls where it has them.
//!
//! Values only.

use crate::sched;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Conns the flow table holds.
    pub max_flows: usize,
    /// What schedulers read.
    pub sched: sched::Settings,
    /// `pmtu_disc`: tunnel packets carry the inner DF and clients are told what does not fit.
    pub pmtu_disc: bool,
    /// `sloppy_tcp`: any TCP segment but a reset may open a conn.
    pub sloppy_tcp: bool,
    /// `sloppy_sctp`: any SCTP packet but an abort may open a conn.
    pub sloppy_sctp: bool,
    /// `conn_reuse_mode`: a SYN on a closed conn is scheduled anew.
    pub conn_reuse_mode: u32,
    /// `expire_nodest_conn`: packets of a removed dest's conns end the conn.
    pub expire_nodest_conn: bool,
    /// ICMP errors per second that the director sends (`icmp_msgs_per_sec`); 0: no limit.
    pub icmp_rate: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_flows: 65_536,
            sched: sched::Settings::default(),
            pmtu_disc: true,
            sloppy_tcp: false,
            sloppy_sctp: false,
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            icmp_rate: 1000,
        }
    }
}
