#!/usr/bin/env python3
"""usage: segments.py FAMILY CLIENT-NS CLIENT SERVER-NS SERVER VIP PORT WAY

Both ends of TCP conns through a director, segment by segment, without a TCP of their own: what one end sends must come to the
other with the numbers that it knows, to the last option, window and reset. WAY is nat, fullnat, toa or proxy-v2, or one of
these with `+syn-proxy`. The namespaces must drop what comes to the ports in use, or their kernels would answer. Prints the
number of segments that came as they had to.
"""

import ctypes
import itertools
import os
import random
import socket
import struct
import sys
import time

FAMILY, CLIENT_NS, CLIENT, SERVER_NS, SERVER, VIP, PORT, WAY = sys.argv[1:]
FAMILY, PORT = int(FAMILY), int(PORT)
WAY, BY_PROXY = WAY.removesuffix("+syn-proxy"), WAY.endswith("+syn-proxy")
AF = socket.AF_INET6 if FAMILY == 6 else socket.AF_INET
HEADER = {6: 52, 4: 28}[FAMILY] if WAY == "proxy-v2" else 0
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MSS, SCALE, SACK_OK, SACK, STAMPS, TOA = 2, 3, 4, 5, 8, 254
count = 0


def enter(name):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as file:
        if libc.setns(file.fileno(), 0) != 0:
            sys.exit(f"cannot enter {name}: {os.strerror(ctypes.get_errno())}")


def packed(address):
    return socket.inet_pton(AF, address)


def checksum(src, dst, segment):
    pseudo = packed(src) + packed(dst) + struct.pack("!II", len(segment), 6)
    data = pseudo + segment + b"\0" * (len(segment) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def written(options):
    out = b""
    for kind, value in options:
        out += bytes([kind]) if kind == 1 else bytes([kind, 2 + len(value)]) + value
    return out + b"\1" * (-len(out) % 4)


def read(options):
    found = []
    while options and options[0] != 0:
        if options[0] == 1:
            options = options[1:]
            continue
        found.append((options[0], options[2 : options[1]]))
        options = options[options[1] :]
    return found


class Segment:
    def __init__(self, src, dst, data):
        self.src, self.dst = src, dst
        self.sport, self.dport, self.seq, self.ack, offset, self.flags, self.window = struct.unpack("!HHIIBBH", data[:16])
        header = (offset >> 4) * 4
        self.options, self.data = dict(read(data[20:header])), data[header:]
        self.is_sound = checksum(src, dst, data) == 0

    def __repr__(self):
        flags = "".join(letter for bit, letter in enumerate("FSRPA") if self.flags & 1 << bit)
        return f"{flags} seq {self.seq} ack {self.ack} win {self.window} {self.options} {len(self.data)} bytes"


class End:
    """One end, in its namespace."""

    def __init__(self, namespace, address):
        enter(namespace)
        self.address, self.name = address, namespace.rsplit("-", 1)[1]
        self.out = socket.socket(AF, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self.out.bind((address, 0))
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.wire.bind(("eth0", 0))

    def send(self, ports, to, flags, seq, ack=0, window=1000, options=(), data=b""):
        options = written(options)
        header = struct.pack("!HHIIBBHHH", *ports, seq % 2**32, ack % 2**32, (20 + len(options)) // 4 << 4, flags, window, 0, 0)
        segment = header + options + data
        sum = checksum(self.address, to, segment)
        self.out.sendto(segment[:16] + struct.pack("!H", sum) + segment[18:], (to, 0))

    def receive(self, port):
        """The next segment to that port of this end."""
        until = time.monotonic() + 20
        while (left := until - time.monotonic()) > 0:
            self.wire.settimeout(left)
            try:
                packet, where = self.wire.recvfrom(65536)
            except TimeoutError:
                break
            segment = self.parse(packet)
            if where[2] != socket.PACKET_OUTGOING and segment and segment.dst == self.address and segment.dport == port:
                return segment
        sys.exit(f"{self.name}: nothing came")

    def parse(self, packet):
        if FAMILY == 4 and packet[0] >> 4 == 4 and packet[9] == 6:
            at, end = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
            ends = packet[12:16], packet[16:20]
        elif FAMILY == 6 and packet[0] >> 4 == 6 and packet[6] == 6:
            at, end = 40, 40 + int.from_bytes(packet[4:6], "big")
            ends = packet[8:24], packet[24:40]
        else:
            return None
        return Segment(*(socket.inet_ntop(AF, end) for end in ends), packet[at:end])


def check(what, segment, **wanted):
    """The segment that has come is the one that was sent, in this end's numbers."""
    global count
    wanted = {name: value % 2**32 if name in ("seq", "ack") else value for name, value in wanted.items()}
    found = {name: getattr(segment, name) for name in wanted}
    if found != wanted or not segment.is_sound:
        sys.exit(f"{WAY}, {what}: got {segment}, sound {segment.is_sound}; wanted {wanted}")
    count += 1


def edges(*numbers):
    return struct.pack(f"!{len(numbers)}I", *(number % 2**32 for number in numbers))


class Conn:
    """A conn through the director. Numbers of the client's stream count from its first byte, those of the server's too."""

    def __init__(self, client, server, port, isn, server_isn):
        self.client, self.server, self.port = client, server, port
        self.isn, self.server_isn = isn, server_isn
        self.clock, self.server_clock = random.getrandbits(32), random.getrandbits(32)
        self.has_stamps = self.keeps_stamps = False
        self.back = self.scaled = 0
        self.is_told = HEADER == 0 and WAY != "toa"

    def up(self, flags, seq, ack=0, **more):
        self.client.send((self.port, PORT), VIP, flags, seq, ack, **more)
        return lambda: self.server.receive(PORT)

    def down(self, flags, seq, ack=0, **more):
        self.server.send((PORT, self.peer[1]), self.peer[0], flags, seq, ack, **more)
        return lambda: self.client.receive(self.port)

    def mine(self, number):
        """A place in the client's stream as the client writes it, and as its server does."""
        return self.isn + 1 + number

    def theirs(self, number):
        return self.base + HEADER + number

    def said(self, number):
        """A place in the server's stream, as the server writes it, and as the client does."""
        return self.server_isn + 1 + number

    def heard(self, number):
        return self.server_isn + 1 + number + self.back

    def stamps(self, of_client):
        return struct.pack("!II", *((self.clock, self.server_clock) if of_client else (self.server_clock, self.clock)))

    def open(self):
        options = [(MSS, struct.pack("!H", 1400)), (SACK_OK, b""), (STAMPS, struct.pack("!II", self.clock, 0)), (SCALE, b"\7")]
        syn = self.up(SYN, self.isn, options=options, window=64000)
        if BY_PROXY:
            cookie = self.client.receive(self.port)
            check("the cookie", cookie, flags=SYN | ACK, ack=self.isn + 1, window=0)
            check("its clock", cookie, options={**cookie.options, STAMPS: cookie.options[STAMPS][:4] + struct.pack("!I", self.clock)})
            told = cookie.options[STAMPS][:4]
            opened = self.up(ACK, self.isn + 1, cookie.seq + 1, options=[(STAMPS, struct.pack("!I", self.clock) + told)], window=500)
            self.scaled = cookie.options[SCALE][0]
        first = syn()
        check("the SYN", first, flags=SYN, window=65535 if BY_PROXY else 64000)
        assert first.options[SCALE] == b"\7" and first.options[SACK_OK] == b"", first
        assert 1300 < struct.unpack("!H", first.options[MSS])[0] <= 1400, first
        self.keeps_stamps = STAMPS in first.options
        assert self.keeps_stamps == (WAY == "nat" or BY_PROXY), first
        self.peer, self.base = (first.src, first.sport), first.seq + 1
        assert WAY != "nat" or (first.src, first.seq) == (CLIENT, self.isn), first
        answer = [(MSS, struct.pack("!H", 1300)), (SACK_OK, b""), (SCALE, b"\11")]
        if self.keeps_stamps:
            answer.append((STAMPS, struct.pack("!I", self.server_clock) + first.options[STAMPS][:4]))
        came = self.down(SYN | ACK, self.server_isn, self.base, options=answer, window=65000)
        if BY_PROXY:
            check("the director's acknowledgement", self.server.receive(PORT), flags=ACK, ack=self.server_isn + 1)
            self.back = (cookie.seq - self.server_isn) % 2**32
            update = came()
            check("the window at last", update, flags=ACK, seq=cookie.seq + 1, ack=self.isn + 1)
            assert update.window << self.scaled <= 65000 < (update.window + 2) << self.scaled, update
            return
        came = came()
        check("the SYN+ACK", came, flags=SYN | ACK, seq=self.server_isn, ack=self.isn + 1, window=65000)
        assert came.options[SCALE] == b"\11" and came.options[SACK_OK] == b"", came
        assert (STAMPS in came.options) == self.keeps_stamps, came
        room = struct.unpack("!H", came.options[MSS])[0]
        assert room == 1300 - ({4: 8, 6: 20}[FAMILY] if WAY == "toa" else 0), came
        self.told(self.up(ACK, self.mine(0), self.heard(0), window=500)(), "the handshake's acknowledgement", 0, b"")

    def told(self, segment, what, number, data, ack=0, flags=ACK, window=500):
        """A segment of the client at its server, with what tells of the client in front."""
        if WAY == "toa" and not self.is_told:
            toa = struct.pack("!H", self.port) + packed(CLIENT)
            assert segment.options.pop(TOA, None) == toa and number >= 0, segment
        if HEADER and not self.is_told and number == 0:
            assert segment.data[:12] == b"\r\n\r\n\0\r\nQUIT\n" and packed(CLIENT) == segment.data[16 : 16 + len(packed(CLIENT))], segment
            check(what, segment, seq=self.theirs(-HEADER), ack=self.said(ack), flags=flags, data=segment.data[:HEADER] + data, window=window)
            return
        assert TOA not in segment.options, segment
        check(what, segment, seq=self.theirs(number), ack=self.said(ack), flags=flags, data=data, window=window)

    def told_window(self, window):
        """A window of the server as its client reads it."""
        return min(window << 9 >> self.scaled, 65535) if BY_PROXY else window


def exchange(conn):
    """Data both ways, past the place where numbers wrap, and past the packets after which the kernel forwards."""
    sent = got = 0
    for turn in range(16):
        data = bytes(random.randbytes(turn * 7 + 1))
        conn.told(conn.up(ACK | PSH, conn.mine(sent), conn.heard(got), data=data, window=500)(), f"data {turn}", sent, data, got, ACK | PSH)
        if not conn.is_told and HEADER:
            # Of the header alone, and of a part of it, nothing is the client's.
            for part in (5, HEADER):
                came = conn.down(ACK, conn.said(got), conn.base + part, window=300)()
                check("an acknowledgement of the header", came, ack=conn.mine(0), seq=conn.heard(got))
        sent += len(data)
        answer = bytes(random.randbytes(turn * 5 + 3))
        came = conn.down(ACK | PSH, conn.said(got), conn.theirs(sent), data=answer, window=300 + turn)()
        window = conn.told_window(300 + turn)
        check(f"answer {turn}", came, seq=conn.heard(got), ack=conn.mine(sent), data=answer, window=window, flags=ACK | PSH)
        conn.is_told = True
        got += len(answer)
    return sent, got


def selective(conn, sent, got):
    """Blocks of selective acknowledgements (RFC 2018), one to four, beside other options, and across the wrap."""
    for blocks, lead in itertools.product(range(1, 5), ([], [(1, b"")], [(1, b""), (1, b"")])):
        places = [place for block in range(blocks) for place in (100 * block + 10, 100 * block + 60)]
        own = edges(*(conn.theirs(sent + place) for place in places))
        came = conn.down(ACK, conn.said(got), conn.theirs(sent), options=[*lead, (SACK, own)], window=300)()
        check("the server's blocks", came, ack=conn.mine(sent), options={SACK: edges(*(conn.mine(sent + place) for place in places))})
        seen = edges(*(conn.heard(got + place) for place in places))
        came = conn.up(ACK, conn.mine(sent), conn.heard(got), options=[*lead, (SACK, seen)], window=500)()
        wanted = {SACK: edges(*(conn.said(got + place) for place in places))}
        check("the client's blocks", came, ack=conn.said(got), seq=conn.theirs(sent), options=wanted)
    # What was received twice (RFC 2883) lies before what is acknowledged.
    own = edges(conn.theirs(sent - 20), conn.theirs(sent - 10), conn.theirs(sent + 5), conn.theirs(sent + 9))
    came = conn.down(ACK, conn.said(got), conn.theirs(sent), options=[(1, b""), (1, b""), (SACK, own)], window=300)()
    wanted = edges(conn.mine(sent - 20), conn.mine(sent - 10), conn.mine(sent + 5), conn.mine(sent + 9))
    check("a block of what came twice", came, options={SACK: wanted})


def windows(conn, sent, got):
    """Windows are each end's own: closed, probed, opened again."""
    for window in (0, 1, 127, 128, 65535):
        came = conn.down(ACK, conn.said(got), conn.theirs(sent), window=window)()
        check("the server's window", came, window=conn.told_window(window), ack=conn.mine(sent))
        came = conn.up(ACK, conn.mine(sent), conn.heard(got), window=window)()
        check("the client's window", came, window=window, ack=conn.said(got))
    # A probe is a byte that the other end has already (RFC 9293 3.8.6.1, 3.8.4).
    came = conn.up(ACK, conn.mine(sent - 1), conn.heard(got), data=b"p", window=500)()
    check("a probe of the client", came, seq=conn.theirs(sent - 1), data=b"p")
    came = conn.down(ACK, conn.said(got - 1), conn.theirs(sent), data=b"q", window=300)()
    check("a probe of the server", came, seq=conn.heard(got - 1), data=b"q")


def finish(conn, sent, got, how):
    if how == "client":
        check("the client's reset", conn.up(RST, conn.mine(sent), window=0)(), flags=RST, seq=conn.theirs(sent))
    elif how == "client, acknowledging":
        came = conn.up(RST | ACK, conn.mine(sent), conn.heard(got), window=0)()
        check("the client's reset", came, flags=RST | ACK, seq=conn.theirs(sent), ack=conn.said(got))
    elif how == "server":
        check("the server's reset", conn.down(RST, conn.said(got), window=0)(), flags=RST, seq=conn.heard(got))
    elif how == "server, acknowledging":
        came = conn.down(RST | ACK, conn.said(got), conn.theirs(sent), window=0)()
        check("the server's reset", came, flags=RST | ACK, seq=conn.heard(got), ack=conn.mine(sent))
    else:
        check("the client's end", conn.up(FIN | ACK, conn.mine(sent), conn.heard(got))(), flags=FIN | ACK, seq=conn.theirs(sent))
        came = conn.down(FIN | ACK, conn.said(got), conn.theirs(sent + 1))()
        check("the server's end", came, flags=FIN | ACK, seq=conn.heard(got), ack=conn.mine(sent + 1))
        last = conn.up(ACK, conn.mine(sent + 1), conn.heard(got + 1))()
        check("the last acknowledgement", last, flags=ACK, seq=conn.theirs(sent + 1), ack=conn.said(got + 1))


def main():
    client, server = End(CLIENT_NS, CLIENT), End(SERVER_NS, SERVER)
    random.seed(7)
    ends = ("client", "client, acknowledging", "server", "server, acknowledging", "both")
    # Numbers that wrap soon, both ways; and others.
    for port, (how, isn) in enumerate(itertools.product(ends, (2**32 - 40, 7)), 20000):
        conn = Conn(client, server, port, isn, 2**32 - 30 if isn > 7 else random.getrandbits(32))
        conn.open()
        sent, got = exchange(conn)
        selective(conn, sent, got)
        windows(conn, sent, got)
        finish(conn, sent, got, how)
    # A server that refuses.
    conn = Conn(client, server, 21000, 2**32 - 1, 0)
    if not BY_PROXY:
        first = conn.up(SYN, conn.isn, window=64000)()
        conn.peer = first.src, first.sport
        check("a refusal", conn.down(RST | ACK, 0, first.seq + 1, window=0)(), flags=RST | ACK, seq=0, ack=conn.isn + 1)
    print(count)


main()
