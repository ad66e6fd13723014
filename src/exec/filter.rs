//! Which system calls are notified: a seccomp filter, as instructions of classic BPF.
//!
//! It sees numbers only. A fixed range of descriptors tells the sockets that are answered here from all other files, so
//! that a call on anything else costs a comparison or two, and most calls not even that: the kernel knows that they are
//! always allowed.

use std::ops::Range;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF,
    sock_filter,
};

/// Options of the old interface of IPVS (`IP_VS_SO_*`).
const OLD_OPTIONS: Range<u32> = 1152..1200;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// Calls that are answered here when they are about one of our sockets.
const ANSWERED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_readv,
    libc::SYS_recvmmsg,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_dup,
    libc::SYS_dup3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
];

/// The filter, for sockets that have a number in this range.
pub fn filter(ours: &Range<u32>) -> Vec<sock_filter> {
    let mut filter = vec![load(4)];
    // Programs of another architecture, whose calls have other numbers, are left alone.
    filter.extend([jump(BPF_JEQ, ARCHITECTURE, 1, 0), allow(), load(0)]);
    for call in ANSWERED {
        filter.extend(case(*call, &notify_if_ours(ours)));
    }
    filter.extend(case(libc::SYS_fcntl, &duplicates(ours)));
    filter.extend(case(libc::SYS_socket, &generic_netlink()));
    filter.extend(case(libc::SYS_setsockopt, &options(ours)));
    filter.extend(case(libc::SYS_getsockopt, &options(ours)));
    filter.push(allow());
    filter
}

/// The call's number is in the accumulator, and still is if the call is another one; a block ends with a verdict.
fn case(call: i64, block: &[sock_filter]) -> Vec<sock_filter> {
    let mut case = vec![jump(BPF_JEQ, call as u32, 0, block.len() as u8)];
    case.extend(block);
    case
}

fn notify_if_ours(ours: &Range<u32>) -> Vec<sock_filter> {
    vec![
        load_argument(0),
        jump(BPF_JGE, ours.start, 0, 2),
        jump(BPF_JGE, ours.end, 1, 0),
        notify(),
        allow(),
    ]
}

/// `fcntl` that makes a descriptor; any other one is about flags, which ours have as any socket has them.
fn duplicates(ours: &Range<u32>) -> Vec<sock_filter> {
    let mut block = vec![
        load_argument(1),
        jump(BPF_JEQ, libc::F_DUPFD as u32, 2, 0),
        jump(BPF_JEQ, libc::F_DUPFD_CLOEXEC as u32, 1, 0),
        allow(),
    ];
    block.extend(notify_if_ours(ours));
    block
}

fn generic_netlink() -> Vec<sock_filter> {
    vec![
        load_argument(0),
        jump(BPF_JEQ, libc::AF_NETLINK as u32, 0, 3),
        load_argument(2),
        jump(BPF_JEQ, libc::NETLINK_GENERIC as u32, 0, 1),
        notify(),
        allow(),
    ]
}

/// Sizes of buffers are set as those of any socket. The old interface of IPVS is noticed on any socket.
fn options(ours: &Range<u32>) -> Vec<sock_filter> {
    let mut block = vec![
        load_argument(1),
        jump(BPF_JEQ, libc::SOL_SOCKET as u32, 6, 0),
        jump(BPF_JEQ, libc::SOL_IP as u32, 0, 9),
        load_argument(2),
        jump(BPF_JGE, OLD_OPTIONS.start, 0, 2),
        jump(BPF_JGE, OLD_OPTIONS.end, 1, 0),
        notify(),
        allow(),
        load_argument(2),
        jump(BPF_JGE, libc::SO_SNDBUF as u32, 0, 2),
        jump(BPF_JGE, libc::SO_RCVBUF as u32 + 1, 1, 0),
        allow(),
    ];
    block.extend(notify_if_ours(ours));
    block
}

fn load_argument(index: u32) -> sock_filter {
    let low = if cfg!(target_endian = "little") { 0 } else { 4 };
    load(16 + 8 * index + low)
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(BPF_JMP | condition | BPF_K, if_true, if_false, value)
}

fn notify() -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF)
}

fn allow() -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}
