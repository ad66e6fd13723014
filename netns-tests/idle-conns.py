#!/usr/bin/env python3
"""usage: idle-conns.py INTERFACE MAC SOURCE DESTINATION PORT COUNT [RATE]

Sends COUNT UDP datagrams from as many ports and addresses (SOURCE is an IPv4 net, like 172.16.0.0) to that MAC: each opens a
conn at the director that is there. At most RATE a second; prints how many a second they were.
"""

import socket
import struct
import sys
import time

interface, mac, source, destination, port, count = sys.argv[1:7]
rate = int(sys.argv[7]) if len(sys.argv) > 7 else 0
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((interface, 0))
ethernet = bytes.fromhex(mac.replace(":", "")) + wire.getsockname()[4] + b"\x08\x00"
first = int.from_bytes(socket.inet_aton(source), "big")
to = socket.inet_aton(destination)
PORTS = 60000
began = time.monotonic()
for number in range(int(count)):
    if rate and number % 20 == 0:
        time.sleep(max(0, began + number / rate - time.monotonic()))
    client = struct.pack("!I", first + 1 + number // PORTS)
    words = struct.unpack("!10H", struct.pack("!BBHHHBBH", 0x45, 0, 29, 0, 0x4000, 64, 17, 0) + client + to)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = struct.pack("!BBHHHBBH", 0x45, 0, 29, 0, 0x4000, 64, 17, total) + client + to
    wire.send(ethernet + header + struct.pack("!HHHH", 1024 + number % PORTS, int(port), 9, 0) + b"x")
if rate:
    print(round(int(count) / (time.monotonic() - began)))
