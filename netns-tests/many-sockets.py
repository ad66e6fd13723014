#!/usr/bin/env python3
"""usage: many-sockets.py

Opens and closes sockets of generic netlink, one after the other, in a process that has loaded libnl: each has to be as a new one,
whatever else the process does with its descriptors. Prints the name of each case that holds, and how many sockets had the
number of the one before."""
import ctypes
import fcntl
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import threading

ctypes.CDLL("libnl-3.so.200")
libc = ctypes.CDLL(None, use_errno=True)
GENERIC, GET_FAMILY = 16, 3
numbers = iter(range(1, 1 << 30))


def new():
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC)


def question(seq):
    name = b"IPVS\0"
    attribute = struct.pack("=HH", 4 + len(name), 2) + name + bytes(-len(name) % 4)
    body = struct.pack("=BBH", GET_FAMILY, 1, 0) + attribute
    return struct.pack("=IHHII", 16 + len(body), 16, 1, seq, 0) + body


def ask(it):
    seq = next(numbers)
    it.sendmsg([question(seq)])
    return seq


def hears(it, seq):
    answer = it.recv(65536)
    heard = struct.unpack_from("=I", answer, 8)[0]
    assert heard == seq, f"an answer to question {heard}, not to {seq}"


def works(it):
    hears(it, ask(it))
    assert is_silent(it.fileno()), "something else was heard"
    assert it.getsockname()[0] != 0


def is_silent(fd):
    with socket.socket(fileno=os.dup(fd)) as it:
        try:
            it.recv(10, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
    return False


def one_after_the_other(times=20):
    """The numbers that they had."""
    had = []
    for _ in range(times):
        with new() as it:
            hears(it, ask(it))
            had.append(it.fileno())
    return had


def is_open(fd):
    return os.path.exists(f"/proc/self/fd/{fd}")


def stays():
    """The number of a socket that was closed and stays."""
    # Where other programs begin all the time it takes some tries.
    for _ in range(1000):
        fd = one_after_the_other()[-1]
        if is_open(fd):
            return fd
    raise AssertionError("the case is not tried: nothing stays")


def child(do):
    """What a child returns whose parent waits for it."""
    pid = os.fork()
    if pid == 0:
        try:
            do()
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "in a child"


def several_at_a_time():
    stays()
    all_of_them = [new() for _ in range(5)]
    assert len({it.fileno() for it in all_of_them}) == 5
    asked = [ask(it) for it in all_of_them]
    for it, seq in zip(all_of_them, asked):
        hears(it, seq)
    fds = [it.fileno() for it in all_of_them]
    for it in all_of_them:
        it.close()
    assert sum(map(is_open, fds)) <= 1, "more than one stays"


def unread_answers():
    stays()
    for _ in range(3):
        it = new()
        for _ in range(10):
            ask(it)
        it.close()
    with new() as it:
        assert is_silent(it.fileno())
        works(it)


def a_duplicate():
    stays()
    it = new()
    other = os.dup(it.fileno())
    it.close()
    with new() as it:
        ask(it)
        assert is_silent(other), "two sockets are one"
    os.close(other)


def a_fork_while_it_is_open():
    stays()
    (waits, go), (said, say), it = os.pipe(), os.pipe(), new()
    pid = os.fork()
    if pid == 0:
        os.read(waits, 1)
        silent = is_silent(it.fileno())
        seq = ask(it)
        hears(it, seq)
        os.write(say, b"y" if silent else b"n")
        os._exit(0)
    it.close()
    with new() as another:
        seq = ask(another)
        os.write(go, b"x")
        os.close(say)
        assert os.read(said, 1) == b"y", "two processes' sockets are one"
        os.waitpid(pid, 0)
        hears(another, seq)
    for fd in (waits, go, said):
        os.close(fd)


def a_fork_while_it_stays():
    stays()

    def in_child():
        one_after_the_other()
        for fd in range(3, 1024):
            try:
                os.close(fd)
            except OSError:
                pass
        one_after_the_other()

    child(in_child)
    with new() as it:
        works(it)


def another_file_of_its_number_while_it_stays():
    fd = stays()
    reads, writes = os.pipe()
    os.dup2(writes, fd)
    with new() as it:
        assert it.fileno() != fd, "it has replaced a file"
        works(it)
    os.write(fd, b"x")
    os.close(writes)
    os.close(fd)
    assert (os.read(reads, 9), os.read(reads, 9)) == (b"x", b""), "a file that was closed is open"
    os.close(reads)


def another_file_of_its_number_while_it_is_open():
    stays()
    it = new()
    reads, writes = os.pipe()
    os.dup2(writes, it.fileno())
    os.close(writes)
    it.close()
    assert os.read(reads, 9) == b"", "a file that was closed is open"
    os.close(reads)


def a_range_is_closed():
    fd = stays()
    assert libc.close_range(fd, fd, 0) == 0
    assert not is_open(fd)
    one_after_the_other()
    it = new()
    assert libc.close_range(it.fileno(), it.fileno(), 0) == 0
    it.detach()
    one_after_the_other()


def closed_twice():
    fd = stays()
    for _ in range(2):
        try:
            os.close(fd)
        except OSError:
            pass
    assert not is_open(fd)
    one_after_the_other()


def used_after_it_was_closed():
    fd = stays()
    try:
        # It asks for the socket's name.
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC, fileno=fd).detach()
    except OSError as error:
        assert error.errno == 9, error
    else:
        raise AssertionError("a closed socket is used")


def flags():
    for change in (
        lambda it: it.setblocking(False),
        lambda it: it.set_inheritable(True),
        lambda it: fcntl.fcntl(it.fileno(), fcntl.F_SETFD, 0),
        lambda it: it.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, 1000)),
    ):
        stays()
        it = new()
        change(it)
        it.close()
        with new() as it:
            assert it.gettimeout() is None and not it.get_inheritable()
            assert not fcntl.fcntl(it.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
            assert it.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == bytes(16)
            works(it)
    stays()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, GENERIC) as it:
        assert fcntl.fcntl(it.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK


def an_epoll():
    stays()
    epoll = select.epoll()
    for _ in range(3):
        it = new()
        epoll.register(it.fileno(), select.EPOLLIN)
        ask(it)
        assert len(epoll.poll(10)) == 1
        it.close()
        assert not epoll.poll(0), "a closed socket has events"
    epoll.close()


def threads():
    wrong = []

    def in_thread():
        try:
            one_after_the_other(100)
        except BaseException as error:
            wrong.append(error)

    all_of_them = [threading.Thread(target=in_thread) for _ in range(4)]
    for it in all_of_them:
        it.start()
    for it in all_of_them:
        it.join()
    assert not wrong, wrong


def signals():
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    one_after_the_other(500)
    signal.setitimer(signal.ITIMER_REAL, 0)


def all_descriptors_in_use():
    stays()
    fds = []
    try:
        while True:
            fds.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        assert error.errno == 24, error
    one_after_the_other(3)
    for fd in fds:
        assert stat.S_ISCHR(os.fstat(fd).st_mode), f"descriptor {fd} was replaced"
        os.close(fd)


def no_room_below_the_limit():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    stays()
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    one_after_the_other(3)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def another_program():
    stays()
    os.execv(sys.executable, [sys.executable, __file__, "after"])


CASES = [
    several_at_a_time,
    unread_answers,
    a_duplicate,
    a_fork_while_it_is_open,
    a_fork_while_it_stays,
    another_file_of_its_number_while_it_stays,
    another_file_of_its_number_while_it_is_open,
    a_range_is_closed,
    closed_twice,
    used_after_it_was_closed,
    flags,
    an_epoll,
    threads,
    signals,
    all_descriptors_in_use,
    no_room_below_the_limit,
]
if sys.argv[1:] == ["after"]:
    left = [fd for fd in os.listdir("/proc/self/fd") if int(fd) >= 800]
    assert not left, f"another program has {left}"
    one_after_the_other()
    print("another_program")
else:
    assert not is_open(one_after_the_other(3)[-1]), "a few sockets leave one"
    had = one_after_the_other(100)
    print("kept", sum(one == other for one, other in zip(had, had[1:])))
    for case in CASES:
        case()
        print(case.__name__, flush=True)
    another_program()
