/* Lets Debian's user-mode-linux (6.1) run on processors whose FPU state is larger than it knows.
 *
 * The guest saves and restores its processes' FPU state by ptrace, in a buffer of 2696 bytes: enough up to AVX-512. Where
 * the host has more (AMX), the host's kernel hands out the beginning but takes back only the whole, and the guest's first
 * process dies of SIGSEGV. Preloaded into linux.uml, this completes what the guest hands back with what is there, marked
 * as unused. Changes nothing where the guest's buffer is large enough. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NT_X86_XSTATE_SET = 0x202, XSAVE_HEADER = 512, GUEST_KNOWS = 0x2ff };

static long set_xstate(pid_t pid, const struct iovec *given) {
    static char state[64 * 1024] __attribute__((aligned(64)));
    struct iovec whole = {state, sizeof state};
    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE_SET, &whole) != 0) return -1;
    if (whole.iov_len <= given->iov_len) return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE_SET, given);
    memcpy(state, given->iov_base, given->iov_len);
    uint64_t in_use;
    memcpy(&in_use, state + XSAVE_HEADER, sizeof in_use);
    in_use &= GUEST_KNOWS;
    memcpy(state + XSAVE_HEADER, &in_use, sizeof in_use);
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE_SET, &whole);
}

long ptrace(enum __ptrace_request request, ...) {
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *addr = va_arg(list, void *);
    void *data = va_arg(list, void *);
    va_end(list);
    if (request == PTRACE_SETREGSET && (uintptr_t)addr == NT_X86_XSTATE_SET) return set_xstate(pid, data);
    if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, pid, addr, data);
    /* The system call stores the word; the C library's function returns it. */
    long word = 0;
    if (syscall(SYS_ptrace, request, pid, addr, &word) < 0) return -1;
    errno = 0;
    return word;
}
