//! Which system calls are notified: a seccomp filter, as instructions of classic BPF.
//!
//! It sees numbers only. A fixed range of descriptors tells the sockets that are answered here from all other files, so
//! that a call on anything else costs a comparison or two, and most calls not even that: the kernel knows that they are
//! always allowed. What libnl receives is not notified, but what it sends: it wakes the supervisor and is woken on one processor.
//! Nor is what a process makes of one of its sockets, unless that keeps the next one from being the same.

use std::ops::Range;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    SECCOMP_RET_USER_NOTIF, sock_filter,
};

use super::numbers::Numbers;

/// Options of the old interface of IPVS (`IP_VS_SO_*`).
const OLD_OPTIONS: Range<u32> = 1152..1200;

/// The call returns 0, and nothing happens.
const DONE: u32 = SECCOMP_RET_ERRNO;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// Calls that are answered here when they are about one of our sockets that does not receive by itself.
const RECEIVING: &[i64] = &[libc::SYS_read, libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_readv, libc::SYS_recvmmsg];

/// Calls that are answered here when they are about any of our sockets.
const ANSWERED: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_dup,
    libc::SYS_dup3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
];

/// The filter, for sockets that have these numbers.
pub fn filter(numbers: &Numbers) -> Vec<sock_filter> {
    let ours = &numbers.all();
    let mut filter = vec![load(4)];
    // Programs of another architecture, whose calls have other numbers, are left alone.
    filter.extend([jump(BPF_JEQ, ARCHITECTURE, 1, 0), allow(), load(0)]);
    for call in RECEIVING {
        filter.extend(case(*call, &notify_if(0, &numbers.answered())));
    }
    for call in [libc::SYS_sendmsg, libc::SYS_close] {
        filter.extend(case(call, &notify_if(0, &numbers.direct())));
    }
    filter.extend(case(libc::SYS_epoll_ctl, &notify_if(2, &numbers.direct())));
    for call in ANSWERED {
        filter.extend(case(*call, &notify_if(0, ours)));
    }
    filter.extend(case(libc::SYS_bind, &bind(numbers)));
    filter.extend(case(libc::SYS_fcntl, &of_descriptors(numbers)));
    filter.extend(case(libc::SYS_ioctl, &changing(numbers)));
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

fn notify_if(argument: u32, ours: &Range<u32>) -> Vec<sock_filter> {
    vec![load_argument(argument), jump(BPF_JGE, ours.start, 0, 2), jump(BPF_JGE, ours.end, 1, 0), notify(), allow()]
}

/// libnl asks for its address afterwards, so that its sockets are bound without a word.
fn bind(numbers: &Numbers) -> Vec<sock_filter> {
    let (answered, end) = (numbers.answered(), numbers.all().end);
    vec![
        load_argument(0),
        jump(BPF_JGE, answered.start, 0, 4),
        jump(BPF_JGE, answered.end, 1, 0),
        notify(),
        jump(BPF_JGE, end, 1, 0),
        instruction(BPF_RET | BPF_K, 0, 0, DONE),
        allow(),
    ]
}

/// `fcntl` that makes a descriptor, or changes one of libnl, which is then not as a new one; any other one is about what ours
/// have as any socket has it.
fn of_descriptors(numbers: &Numbers) -> Vec<sock_filter> {
    let mut block = vec![
        load_argument(1),
        jump(BPF_JEQ, libc::F_DUPFD as u32, 8, 0),
        jump(BPF_JEQ, libc::F_DUPFD_CLOEXEC as u32, 7, 0),
        jump(BPF_JEQ, libc::F_SETFL as u32, 1, 0),
        jump(BPF_JEQ, libc::F_SETFD as u32, 0, 4),
    ];
    block.extend(notify_if(0, &numbers.direct()));
    block.extend(notify_if(0, &numbers.all()));
    block
}

/// `ioctl` that changes one.
fn changing(numbers: &Numbers) -> Vec<sock_filter> {
    let mut block = vec![
        load_argument(1),
        jump(BPF_JEQ, libc::FIONBIO as u32, 2, 0),
        jump(BPF_JEQ, libc::FIOASYNC as u32, 1, 0),
        jump(BPF_JEQ, libc::FIONCLEX as u32, 0, 4),
    ];
    block.extend(notify_if(0, &numbers.direct()));
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
    block.extend(notify_if(0, ours));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel does with the filter: the verdict for a call.
    fn verdict(architecture: u32, call: i64, args: [u64; 6]) -> u32 {
        let mut data = [0_u8; 64];
        data[..4].copy_from_slice(&(call as u32).to_ne_bytes());
        data[4..8].copy_from_slice(&architecture.to_ne_bytes());
        data[16..].copy_from_slice(args.map(u64::to_ne_bytes).as_flattened());
        let (filter, mut at, mut word) = (filter(&Numbers::from(800)), 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter[at];
            let jump = |met: bool| at + 1 + usize::from(if met { jt } else { jf });
            at = match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    word = u32::from_ne_bytes(*data[k as usize..].first_chunk().unwrap());
                    at + 1
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => jump(word == k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => jump(word >= k),
                _ => return k,
            };
        }
    }

    fn is_notified(call: i64, args: &[i64]) -> bool {
        let mut all = [0; 6];
        all.iter_mut().zip(args).for_each(|(to, from)| *to = *from as u64);
        verdict(ARCHITECTURE, call, all) == SECCOMP_RET_USER_NOTIF
    }

    #[test]
    fn calls_on_our_sockets_are_notified_and_no_others() {
        for call in ANSWERED {
            assert!([800, 850, 900, 999].into_iter().all(|fd| is_notified(*call, &[fd])), "{call}");
            assert!(![-1, 0, 3, 799, 1000, 1 << 40].into_iter().any(|fd| is_notified(*call, &[fd])), "{call}");
        }
        for call in RECEIVING {
            assert!([800, 820, 899].into_iter().all(|fd| is_notified(*call, &[fd])), "{call}");
            assert!(![-1, 0, 3, 799, 900, 999, 1000].into_iter().any(|fd| is_notified(*call, &[fd])), "{call}");
        }
        let bind = |fd| verdict(ARCHITECTURE, libc::SYS_bind, [fd, 0, 0, 0, 0, 0]);
        assert_eq!([800, 899].map(bind), [SECCOMP_RET_USER_NOTIF; 2]);
        assert_eq!([900, 999].map(bind), [DONE; 2]);
        assert_eq!([3, 799, 1000, u64::MAX].map(bind), [SECCOMP_RET_ALLOW; 4]);
        assert!([900, 999].into_iter().all(|fd| is_notified(libc::SYS_sendmsg, &[fd])));
        assert!(![3, 800, 899, 1000].into_iter().any(|fd| is_notified(libc::SYS_sendmsg, &[fd])));
        assert!([900, 999].into_iter().all(|fd| is_notified(libc::SYS_close, &[fd])));
        assert!(![3, 800, 899, 1000].into_iter().any(|fd| is_notified(libc::SYS_close, &[fd])));
        assert!([900, 999].into_iter().all(|fd| is_notified(libc::SYS_epoll_ctl, &[3, 1, fd])));
        assert!(![3, 899, 1000].into_iter().any(|fd| is_notified(libc::SYS_epoll_ctl, &[900, 1, fd])));
        for call in [libc::SYS_write, libc::SYS_sendto, libc::SYS_poll, libc::SYS_epoll_wait] {
            assert!(!is_notified(call, &[900]), "{call}");
        }
    }

    #[test]
    fn only_sockets_of_generic_netlink_are_notified() {
        let (raw, dgram) = (i64::from(libc::SOCK_RAW | libc::SOCK_CLOEXEC), i64::from(libc::SOCK_DGRAM));
        let (netlink, generic) = (i64::from(libc::AF_NETLINK), i64::from(libc::NETLINK_GENERIC));
        assert!(is_notified(libc::SYS_socket, &[netlink, raw, generic]));
        assert!(is_notified(libc::SYS_socket, &[netlink, dgram, generic]));
        assert!(!is_notified(libc::SYS_socket, &[netlink, raw, i64::from(libc::NETLINK_ROUTE)]));
        assert!(!is_notified(libc::SYS_socket, &[i64::from(libc::AF_INET), raw, generic]));
    }

    #[test]
    fn options_of_ours_are_notified_but_for_sizes_of_buffers_and_the_old_interface_everywhere() {
        let [socket, netlink, ip] = [libc::SOL_SOCKET, libc::SOL_NETLINK, libc::SOL_IP].map(i64::from);
        for call in [libc::SYS_setsockopt, libc::SYS_getsockopt] {
            assert!(is_notified(call, &[900, socket, libc::SO_RCVTIMEO.into()]));
            assert!(is_notified(call, &[900, socket, libc::SO_TYPE.into()]));
            assert!(is_notified(call, &[900, netlink, 1]));
            assert!(!is_notified(call, &[900, socket, libc::SO_RCVBUF.into()]));
            assert!(!is_notified(call, &[900, socket, libc::SO_SNDBUF.into()]));
            assert!(!is_notified(call, &[5, socket, libc::SO_RCVTIMEO.into()]));
            assert!(!is_notified(call, &[5, netlink, 1]));
            assert!(is_notified(call, &[5, ip, 1152]) && is_notified(call, &[5, ip, 1160]));
            assert!(!is_notified(call, &[5, ip, 1]) && !is_notified(call, &[5, ip, 1200]));
        }
        for change in [libc::FIONCLEX, libc::FIONBIO, libc::FIOASYNC] {
            let changes = |fd| is_notified(libc::SYS_ioctl, &[fd, change as i64]);
            assert_eq!([900, 800, 3].map(changes), [true, false, false]);
        }
        assert!(!is_notified(libc::SYS_ioctl, &[900, libc::FIONREAD as i64]));
        let fcntl = |fd, command: i32| is_notified(libc::SYS_fcntl, &[fd, command.into()]);
        assert!([800, 900].into_iter().all(|fd| fcntl(fd, libc::F_DUPFD) && fcntl(fd, libc::F_DUPFD_CLOEXEC)));
        for change in [libc::F_SETFD, libc::F_SETFL] {
            assert_eq!([900, 800, 5].map(|fd| fcntl(fd, change)), [true, false, false]);
        }
        assert!(!fcntl(900, libc::F_GETFL) && !fcntl(900, libc::F_GETFD) && !fcntl(5, libc::F_DUPFD));
    }

    #[test]
    fn programs_of_another_architecture_are_left_alone() {
        let args = [800, 0, 0, 0, 0, 0];
        assert_eq!(verdict(ARCHITECTURE, libc::SYS_recvmsg, args), SECCOMP_RET_USER_NOTIF);
        assert_eq!(verdict(0x4000_0003, libc::SYS_recvmsg, args), SECCOMP_RET_ALLOW);
    }
}
