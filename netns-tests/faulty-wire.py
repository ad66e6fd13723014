#!/usr/bin/env python3
"""usage: faulty-wire.py LEFT RIGHT PORT...

A wire between two interfaces on which one segment of each conn to one of the TCP ports comes to harm: it is dropped, sent
twice, overtaken by the next one of its direction, or late. The conns of a port go in turn through all combinations of harm,
direction and the first five segments (40); all else passes. IPv4 and IPv6 without extension headers.
"""

import heapq
import itertools
import select
import socket
import sys
import time

LATE = 0.4
COMBINATIONS = [(harm, way, place) for harm in ("drop", "double", "swap", "delay") for way in (0, 1) for place in range(5)]

sides = []
for name in sys.argv[1:3]:
    side = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    side.bind((name, 0))
    sides.append(side)
ports = {int(port) for port in sys.argv[3:]}

conns = {}
counts = dict.fromkeys(ports, 0)
late = []
order = itertools.count()


class Conn:
    def __init__(self, fate):
        self.fate = fate
        self.seen = [0, 0]
        self.held = None


def conn_of(frame):
    """The conn of a segment, and whether it goes to the port."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == 6:
        at, ends = 14 + (frame[14] & 15) * 4, (frame[26:30], frame[30:34])
    elif kind == b"\x86\xdd" and frame[20] == 6:
        at, ends = 54, (frame[22:38], frame[38:54])
    else:
        return None
    source, destination = (int.from_bytes(frame[at + place : at + place + 2], "big") for place in (0, 2))
    for way, port, client in ((0, destination, (ends[0], source)), (1, source, (ends[1], destination))):
        if port in ports:
            if (port, client) not in conns:
                conns[port, client] = Conn(COMBINATIONS[counts[port] % len(COMBINATIONS)])
                counts[port] += 1
            return conns[port, client], way
    return None


def send_later(conn, out, frame):
    heapq.heappush(late, (time.monotonic() + LATE, next(order), conn, out, frame))


def send(out, frame):
    try:
        out.send(frame)
    except OSError:
        pass  # The interface is going.


def carry(frame, out):
    found = conn_of(frame)
    if found is None:
        return send(out, frame)
    conn, way = found
    harm, direction, place = conn.fate
    number = conn.seen[way]
    conn.seen[way] += 1
    if way == direction and number == place:
        if harm == "swap":
            conn.held = frame
        if harm in ("swap", "delay"):
            return send_later(conn, out, frame)
        return [send(out, frame) for _ in range(0 if harm == "drop" else 2)]
    send(out, frame)
    if way == direction and conn.held is not None:
        send(out, conn.held)
        conn.held = None


while True:
    wait = max(0, late[0][0] - time.monotonic()) if late else None
    for side in select.select(sides, [], [], wait)[0]:
        frame, address = side.recvfrom(65536)
        if address[2] != socket.PACKET_OUTGOING:
            carry(frame, sides[1 - sides.index(side)])
    while late and late[0][0] <= time.monotonic():
        _, _, conn, out, frame = heapq.heappop(late)
        if conn.fate[0] == "delay" or conn.held is frame:
            conn.held = None
            send(out, frame)
