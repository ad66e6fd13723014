//! The system calls that a worker and a keeper may make (seccomp, by the crate seccompiler).
//!
//! A worker has a list of what it needs: another call is refused with EPERM and said once, and one that no part of the
//! program or its libraries has a reason for ends the process, after it was named (`refused`). A keeper, and the programs
//! that it runs, are refused what changes the kernel or looks into other processes.

use std::collections::BTreeMap;
use std::io;

use libc::{
    F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, PROT_EXEC, SIGABRT, SIGBUS, SIGSEGV, SOCK_DGRAM, SOCK_STREAM,
};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};

use super::bpf::ELEMENTS;
use super::refused;
use crate::base::map_of;

/// What a worker calls whatever the arguments are.
const WORKERS: [i64; 60] = [
    // Frames, sockets, descriptors.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // The file of the state, and those that the keeper opens.
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_msync,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // The clock and the random source, where they are not read without a call.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    // Threads, a panic, the end.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What a keeper and programs of checks have no reason to call: they change the kernel, other processes or their own
/// surroundings.
const KERNELS: [i64; 46] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Has all threads of this process, a worker, make no other calls than it needs. Takes no rights: no_new_privs is set.
pub fn enclose_worker() -> io::Result<()> {
    refused::say_what_is_refused()?;
    apply(|| workers(std::process::id())?.try_into())
}

/// Has this process, a keeper, and the programs that it starts, keep away from the kernel.
pub fn enclose_keeper() -> io::Result<()> {
    apply(|| {
        let mut rules: Rules = map_of(KERNELS.into_iter().map(|call| (call, Vec::new())));
        // A worker inherits this filter, and changes elements of maps.
        let others = ELEMENTS.map(|command| condition(0, SeccompCmpOp::Ne, command));
        rules.insert(libc::SYS_bpf, vec![rule(others)?]);
        filter(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))?.try_into()
    })
}

fn apply(program: impl FnOnce() -> Result<BpfProgram, BackendError>) -> io::Result<()> {
    let program = program().map_err(io::Error::other)?;
    apply_filter_all_threads(&program).map_err(io::Error::other)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn filter(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<SeccompFilter, BackendError> {
    SeccompFilter::new(rules, others, these, TargetArch::try_from(std::env::consts::ARCH)?)
}

fn workers(own: u32) -> Result<SeccompFilter, BackendError> {
    let is = |argument: u8, value: i32| condition(argument, Eq, value as u32);
    let (inet, inet6) = (libc::AF_INET, libc::AF_INET6);
    let socket = |family, kind| rule([is(0, family), condition(1, MaskedEq(0xf), kind as u32)]);
    let runs_nothing = || rule([condition(2, MaskedEq(PROT_EXEC as u64), 0)]);
    let mut rules: Rules = map_of(WORKERS.into_iter().map(|call| (call, Vec::new())));
    rules.extend([
        (
            libc::SYS_socket,
            [(inet, SOCK_STREAM), (inet, SOCK_DGRAM), (inet6, SOCK_STREAM), (inet6, SOCK_DGRAM)]
                .map(|(family, kind)| socket(family, kind))
                .into_iter()
                .collect::<Result<_, _>>()?,
        ),
        (libc::SYS_mmap, vec![runs_nothing()?]),
        (libc::SYS_mprotect, vec![runs_nothing()?]),
        (libc::SYS_ioctl, vec![rule([condition(1, Eq, libc::FIONBIO as u32)])?]),
        (
            libc::SYS_fcntl,
            [F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC]
                .map(|command| rule([is(1, command)]))
                .into_iter()
                .collect::<Result<_, _>>()?,
        ),
        (libc::SYS_prctl, vec![rule([is(0, libc::PR_SET_NAME)])?]),
        // Elements of maps whose descriptors the keeper has given.
        (
            libc::SYS_bpf,
            ELEMENTS.map(|command| rule([condition(0, Eq, command)])).into_iter().collect::<Result<_, _>>()?,
        ),
        // Of the calling thread.
        (libc::SYS_sched_setaffinity, vec![rule([is(0, 0)])?]),
        // An abort, and what the standard library does about a stack that is full.
        (libc::SYS_tgkill, vec![rule([condition(0, Eq, own), is(2, SIGABRT)])?]),
        (
            libc::SYS_rt_sigaction,
            [SIGABRT, SIGBUS, SIGSEGV].map(|signal| rule([is(0, signal)])).into_iter().collect::<Result<_, _>>()?,
        ),
    ]);
    filter(rules, SeccompAction::Trap, SeccompAction::Allow)
}

fn rule<const N: usize>(conditions: [Result<SeccompCondition, BackendError>; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}

fn condition(argument: u8, op: SeccompCmpOp, value: u32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, op, u64::from(value))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Names the deed that a second process of these tests is to do.
    const DEED: &str = "TAPVS_TEST_DEED";

    /// Does the deed that the environment names, enclosed; the exit status says what came of it.
    #[test]
    fn a_deed_of_another_process() {
        let Ok(deed) = std::env::var(DEED) else { return };
        let enclosed = if deed.starts_with("keeper") { enclose_keeper() } else { enclose_worker() };
        enclosed.unwrap();
        let came = match deed.as_str() {
            "open" => std::fs::File::open("/etc/passwd").map(drop),
            "socket" => std::os::unix::net::UnixStream::connect("/nowhere").map(drop),
            "thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
            "run" => nix::unistd::execv(c"/bin/true", &[c"/bin/true"]).map(drop).map_err(Into::into),
            "work" => work(),
            "panic" => std::process::abort(),
            "keeper mount" => nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS).map_err(Into::into),
            "keeper run" => Command::new("/bin/true").status().map(drop),
            _ => Err(io::Error::other("no such deed")),
        };
        let code = came.map_or_else(|error| error.raw_os_error().unwrap_or(255), |()| 0);
        std::process::exit(code);
    }

    /// What a worker does all day.
    fn work() -> io::Result<()> {
        let server = std::net::TcpStream::connect("127.0.0.1:1");
        assert_eq!(server.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let poll = mio::Poll::new()?;
        mio::Waker::new(poll.registry(), mio::Token(0))?.wake()?;
        assert!(vec![1_u8; 64 << 20].iter().all(|byte| *byte == 1));
        super::super::clock::random_u64().map(drop)
    }

    /// How a process ended that did it, and what it said.
    fn done(deed: &str) -> (std::process::ExitStatus, String) {
        let own = std::env::current_exe().unwrap();
        let test = ["--exact", "io::sandbox::tests::a_deed_of_another_process", "--nocapture", "--test-threads=1"];
        let output = Command::new(own).args(test).env(DEED, deed).output().unwrap();
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn a_worker_is_refused_what_it_does_not_need_and_says_so() {
        let (status, said) = done("open");
        assert_eq!(status.code(), Some(libc::EPERM), "{status} {said}");
        assert!(said.contains("system call that its sandbox refuses: openat"), "{said}");
        let (status, said) = done("socket");
        assert_eq!(status.code(), Some(libc::EPERM), "{status} {said}");
        assert!(said.contains("refuses: socket"), "{said}");
    }

    #[test]
    fn a_worker_that_starts_anything_ends() {
        let (status, said) = done("run");
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status} {said}");
        assert!(said.contains("refuses: execve; it ends"), "{said}");
        // The C library blocks all signals before it makes a thread: nobody can name the call.
        assert_eq!(done("thread").0.signal(), Some(libc::SIGSYS));
    }

    #[test]
    fn a_worker_works_and_a_panic_is_one() {
        let (status, said) = done("work");
        assert_eq!((status.code(), said.contains("refuses")), (Some(0), false), "{status} {said}");
        let (status, said) = done("panic");
        assert_eq!((status.signal(), said.contains("refuses")), (Some(libc::SIGABRT), false), "{said}");
    }

    #[test]
    fn a_keeper_runs_programs_and_leaves_the_kernel_alone() {
        assert_eq!(done("keeper run").0.code(), Some(0));
        assert_eq!(done("keeper mount").0.code(), Some(libc::EPERM));
    }
}
