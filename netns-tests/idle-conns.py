#!/usr/bin/env python3
"""usage: idle-conns.py INTERFACE MAC SOURCE DESTINATION PORT COUNT [RATE]

Sends COUNT UDP datagrams from as many ports and addresses (SOURCE is a net, like 172.16.0.0 or 2001:db8:f::) to that MAC: each
opens a conn at the director that is there. At most RATE a second; prints how many a second they were.
"""

import ipaddress
import socket
import struct
import sys
import time

interface, mac, source, destination, port, count = sys.argv[1:7]
rate = int(sys.argv[7]) if len(sys.argv) > 7 else 0
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((interface, 0))
first, to = ipaddress.ip_address(source), ipaddress.ip_address(destination).packed
six = first.version == 6
ethernet = bytes.fromhex(mac.replace(":", "")) + wire.getsockname()[4] + (b"\x86\xdd" if six else b"\x08\x00")
PORTS = 60000


def checksum(data):
    """Of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def header_of(client):
    if six:
        return struct.pack("!IHBB", 6 << 28, 9, 17, 64) + client + to
    begin = struct.pack("!BBHHHBB", 0x45, 0, 29, 0, 0x4000, 64, 17)
    return begin + struct.pack("!H", checksum(begin + b"\0\0" + client + to)) + client + to


began = time.monotonic()
for number in range(int(count)):
    if rate and number % 20 == 0:
        time.sleep(max(0, began + number / rate - time.monotonic()))
    if number % PORTS == 0:
        client = (first + 1 + number // PORTS).packed
        header = header_of(client)
        pseudo = client + to + struct.pack("!HH", 17, 9)
    ports = struct.pack("!HHH", 1024 + number % PORTS, int(port), 9)
    # IPv6 knows no datagram without a checksum.
    total = checksum(pseudo + ports + b"x\0") or 0xFFFF if six else 0
    wire.send(ethernet + header + ports + struct.pack("!H", total) + b"x")
if rate:
    print(round(int(count) / (time.monotonic() - began)))
