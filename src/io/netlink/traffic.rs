//! A program at the egress of a device, as a filter of `clsact`.
//!
//! Only a filter of that handle and priority is touched; others are somebody else's.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{NEW, Netlink};
use crate::wire::netlink::flag;

/// Length of `struct tcmsg`.
const TRAFFIC_HEADER: usize = 20;
/// `TC_H_CLSACT`, and its end for packets that leave (`linux/pkt_sched.h`).
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
/// Of the one filter that is ours: rather late, behind those of others.
const FILTER_PRIORITY: u32 = 0x7a70;
/// Attributes of a filter that is a program (`linux/pkt_cls.h`).
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

impl Netlink {
    /// Puts a program at the egress of a device, as a filter of `clsact` that returns what becomes of a packet.
    pub fn set_egress_filter(&mut self, index: u32, program: BorrowedFd) -> io::Result<()> {
        let clsact = traffic_header(index, CLSACT, 0);
        let made = self.tell((libc::RTM_NEWQDISC, NEW), &clsact, |writer| writer.put_text(libc::TCA_KIND, "clsact"));
        // Somebody may have made it already, for filters of theirs.
        made.or_else(|error| if error.raw_os_error() == Some(libc::EEXIST) { Ok(()) } else { Err(error) })?;
        let fd = program.as_raw_fd().cast_unsigned();
        self.tell((libc::RTM_NEWTFILTER, flag::ACK | flag::CREATE), &egress_filter(index), |writer| {
            writer.put_text(libc::TCA_KIND, "bpf");
            writer.nest(libc::TCA_OPTIONS, |writer| {
                writer.put_word(TCA_BPF_FD, fd);
                writer.put_text(TCA_BPF_NAME, "tapvs");
                writer.put_word(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
            });
        })
    }

    /// Takes such a filter away.
    pub fn remove_egress_filter(&mut self, index: u32) -> io::Result<()> {
        self.tell((libc::RTM_DELTFILTER, flag::ACK), &egress_filter(index), |writer| {
            writer.put_text(libc::TCA_KIND, "bpf");
        })
    }
}

/// The only filter with that handle and priority.
fn egress_filter(index: u32) -> [u8; TRAFFIC_HEADER] {
    traffic_header(index, CLSACT_EGRESS, FILTER_PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be()))
}

/// `struct tcmsg`; of a filter, `info` has its priority and protocol.
fn traffic_header(index: u32, parent: u32, info: u32) -> [u8; TRAFFIC_HEADER] {
    let mut header = [0; TRAFFIC_HEADER];
    let handle = if info == 0 { 0xffff_0000 } else { 1_u32 };
    for (place, word) in [index, handle, parent, info].into_iter().enumerate() {
        header[4 + 4 * place..8 + 4 * place].copy_from_slice(&word.to_ne_bytes());
    }
    header
}
