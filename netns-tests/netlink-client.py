"""A program of IPVS that owes nothing to libnl: raw netlink sockets, and every way to receive from them.

usage: netlink-client.py VIP PORT -- a director without services runs, and this program runs under `tapvs exec`.
Prints one line a check; what fails says what it got.
"""
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

GENERIC = 16
REQUEST, MULTI, ACK, DUMP = 1, 2, 4, 0x300
ERROR, DONE = 2, 3
NEW_SERVICE, DEL_SERVICE, GET_SERVICE, NEW_DEST, GET_DEST, GET_INFO, ZERO, FLUSH = 1, 3, 4, 5, 8, 15, 16, 17
VIP, PORT = sys.argv[1], int(sys.argv[2])


def attribute(kind, value):
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def message(kind, flags, command, attributes=b"", seq=1, pid=0, version=1):
    length = 20 + len(attributes)
    return struct.pack("=IHHII", length, kind, flags | REQUEST, seq, pid) + bytes([command, version, 0, 0]) + attributes


def messages(data):
    while len(data) >= 16:
        length, kind, flags, seq, pid = struct.unpack_from("=IHHII", data)
        assert 16 <= length <= len(data), f"a message of {length} bytes in {len(data)}"
        yield kind, flags, seq, pid, data[16:length]
        data = data[(length + 3) & ~3 :]


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def service(port):
    name = struct.pack("=H", socket.AF_INET), struct.pack("=H", socket.IPPROTO_TCP)
    address = socket.inet_aton(VIP) + bytes(12)
    inner = attribute(1, name[0]) + attribute(2, name[1]) + attribute(3, address) + attribute(4, struct.pack("!H", port))
    return inner


def named(port):
    return attribute(1, service(port))


def whole(port):
    return attribute(
        1,
        service(port)
        + attribute(6, b"rr\0")
        + attribute(7, struct.pack("=II", 0, 0xFFFFFFFF))
        + attribute(8, struct.pack("=I", 0))
        + attribute(9, b"\xff\xff\xff\xff"),
    )


def netlink(kind=socket.SOCK_RAW):
    link = socket.socket(socket.AF_NETLINK, kind, GENERIC)
    link.bind((0, 0))
    return link


def family(link):
    link.send(message(GENERIC, 0, 3, attribute(2, b"IPVS\0")))
    data, _, _, sender = link.recvmsg(8192)
    assert sender[0] == 0, f"the sender is {sender}"
    [(kind, _, _, pid, payload)] = messages(data)
    assert (kind, pid) == (GENERIC, link.getsockname()[0]), (kind, pid)
    assert attributes(payload[4:])[2] == b"IPVS\0"
    return struct.unpack("=H", attributes(payload[4:])[1])[0]


def verdict(data):
    [(kind, _, _, _, payload)] = messages(data)
    assert kind == ERROR, kind
    return -struct.unpack_from("=i", payload)[0]


def listed(link, room=65536):
    link.send(message(IPVS, DUMP, GET_SERVICE))
    count, datagrams = 0, 0
    while True:
        data = link.recv(room)
        datagrams += 1
        for kind, *_ in messages(data):
            if kind == DONE:
                return count, datagrams
            assert kind == IPVS, kind
            count += 1


def check(what):
    print("ok", what, flush=True)


link = netlink()
IPVS = family(link)
assert link.getsockname()[0] == os.getpid(), "the first socket's port id is the process's number"
assert netlink().getsockname()[0] != os.getpid()
check("the family is found")

# ---- several messages in one send, each with its own answer --------------------------------------------------------
link.send(b"".join(message(IPVS, ACK, NEW_SERVICE, whole(PORT + n), seq=n) for n in range(200)))
answers = [next(messages(link.recv(4096)))[2] for _ in range(200)]
assert answers == list(range(200)), answers
check("several messages in one send")
link.send(message(IPVS, ACK, NEW_SERVICE, whole(PORT)))
assert verdict(link.recv(4096)) == errno.EEXIST
link.send(message(IPVS, 0, DEL_SERVICE, named(PORT + 1000)))
assert verdict(link.recv(4096)) == errno.ESRCH
link.send(message(IPVS, DUMP, ZERO))
assert verdict(link.recv(4096)) == errno.EOPNOTSUPP
check("errors by the kernel's numbers")

# ---- lists are cut to the reader's buffer ---------------------------------------------------------------------------
count, many = listed(netlink(), 4096)
assert count == 200 and many > 10, (count, many)
count, few = listed(link, 65536)
assert count == 200 and few < 6, (count, few)
check("lists cut to the buffer")

# ---- looking first, too small a buffer -------------------------------------------------------------------------------
link.send(message(IPVS, 0, GET_INFO))
size = link.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
data, _, flags, _ = link.recvmsg(size)
assert len(data) == size and not flags & socket.MSG_TRUNC, (size, len(data))
assert attributes(next(messages(data))[4][4:])[1] == struct.pack("=I", 0x010201)
link.send(message(IPVS, 0, GET_INFO))
data, _, flags, _ = link.recvmsg(10)
assert len(data) == 10 and flags & socket.MSG_TRUNC, (len(data), flags)
check("MSG_PEEK, MSG_TRUNC and buffers that are too small")

# ---- parts of a buffer, recv, recvfrom, read, readv ------------------------------------------------------------------
link.send(message(IPVS, ACK, FLUSH))
parts = [bytearray(16), bytearray(4), bytearray(100)]
got = link.recvmsg_into(parts)[0]
assert got == 36 and struct.unpack("=i", parts[1])[0] == 0, got
link.send(message(IPVS, ACK, FLUSH))
data, sender = link.recvfrom(100)
assert verdict(data) == 0 and sender == (0, 0), sender
link.send(message(IPVS, ACK, FLUSH))
assert verdict(os.read(link.fileno(), 100)) == 0
link.send(message(IPVS, ACK, FLUSH))
assert os.readv(link.fileno(), parts) == 36
os.write(link.fileno(), message(IPVS, ACK, FLUSH))
assert verdict(link.recv(100)) == 0
check("every call that receives")

# ---- nothing there: not waiting, waiting so long, poll, epoll --------------------------------------------------------
def fails(call, wanted):
    try:
        call()
    except OSError as error:
        assert error.errno == wanted, error
    else:
        raise AssertionError("it received something")


fails(lambda: link.recv(100, socket.MSG_DONTWAIT), errno.EAGAIN)
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, 50_000))
began = time.monotonic()
fails(lambda: link.recv(100), errno.EAGAIN)
assert time.monotonic() - began >= 0.05
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, 0))
flags = fcntl.fcntl(link, fcntl.F_GETFL)
fcntl.fcntl(link, fcntl.F_SETFL, flags | os.O_NONBLOCK)
fails(lambda: os.read(link.fileno(), 100), errno.EAGAIN)
fcntl.fcntl(link, fcntl.F_SETFL, flags)
check("EAGAIN where a socket does not wait, or not longer")

poll, epoll = select.poll(), select.epoll()
poll.register(link, select.POLLIN)
epoll.register(link, select.EPOLLIN | select.EPOLLET)
for _ in range(3):
    assert poll.poll(0) == [] and epoll.poll(0) == []
    link.send(message(IPVS, ACK, FLUSH) * 2)
    assert poll.poll(5000) == [(link.fileno(), select.POLLIN)]
    assert [event for _, event in epoll.poll(5)] == [select.EPOLLIN]
    assert verdict(link.recv(100)) == 0 and poll.poll(0) != []
    assert verdict(link.recv(100)) == 0 and poll.poll(0) == []
check("poll and epoll")

# ---- threads, children, a signal while waiting -----------------------------------------------------------------------
heard = []
waiting = threading.Thread(target=lambda: heard.append(verdict(link.recv(100))))
waiting.start()
time.sleep(0.1)
link.send(message(IPVS, ACK, FLUSH))
waiting.join(5)
assert heard == [0], heard


def busy(number):
    own = netlink()
    for turn in range(50):
        own.send(message(IPVS, ACK, NEW_SERVICE, whole(20000 + number * 100 + turn)))
        assert verdict(own.recv(4096)) == 0
    own.close()


threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
child = os.fork()
if child == 0:
    # The socket that it has inherited, and one of its own.
    link.send(message(IPVS, ACK, NEW_SERVICE, whole(30000)))
    assert verdict(link.recv(4096)) == 0
    busy(9)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
[thread.join() for thread in threads]
assert listed(netlink())[0] == 251
check("threads and children")

interrupted = []
signal.signal(signal.SIGALRM, lambda *_: interrupted.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.1)
signal.siginterrupt(signal.SIGALRM, False)
timer = threading.Timer(0.3, lambda: link.send(message(IPVS, ACK, FLUSH)))
timer.start()
assert verdict(link.recv(100)) == 0 and interrupted == [1], interrupted
check("a signal while it waits")

# ---- many sockets, one after the other and at a time -----------------------------------------------------------------
for _ in range(300):
    own = netlink(socket.SOCK_DGRAM)
    own.send(message(IPVS, ACK, ZERO))
    assert verdict(own.recv(100)) == 0
    own.close()
held = [netlink() for _ in range(60)]
assert len({own.getsockname()[0] for own in held}) == 60
[own.close() for own in held]
check("many sockets")

# ---- what a socket says of itself, and other families ------------------------------------------------------------------
assert link.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_NETLINK
assert link.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_RAW
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
link.setsockopt(270, 11, 1)  # NETLINK_EXT_ACK
link.send(message(GENERIC, DUMP, 3))
names, done = [], False
while not done:
    for kind, _, _, pid, payload in messages(link.recv(65536)):
        assert pid == link.getsockname()[0]
        done |= kind == DONE
        if kind == GENERIC:
            names.append(attributes(payload[4:])[2])
assert names.count(b"IPVS\0") == 1 and b"nlctrl\0" in names, names
check("the kernel's own families")

# ---- bytes that are no message, or half of one -----------------------------------------------------------------------
link.send(b"\x01\x02\x03")
link.send(struct.pack("=IHHII", 4000, IPVS, REQUEST | ACK, 1, 0))
link.send(message(IPVS, ACK, NEW_SERVICE, attribute(1, attribute(1, b"\x02"))))
assert verdict(link.recv(4096)) == errno.EINVAL
link.send(struct.pack("=IHHII", 16, IPVS, REQUEST, 1, 0))
assert verdict(link.recv(4096)) == errno.EINVAL
fails(lambda: link.recv(100, socket.MSG_DONTWAIT), errno.EAGAIN)
check("nonsense")

link.send(message(IPVS, ACK, NEW_SERVICE, whole(PORT)))
assert verdict(link.recv(4096)) == 0
