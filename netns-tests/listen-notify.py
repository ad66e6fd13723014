#!/usr/bin/env python3
"""usage: listen-notify.py ADDRESS

Plays the service manager of sd_notify(3) at a path, or at a name behind '@': prints each datagram as a line, its own lines
parted by '|'.
"""

import socket
import sys

address = sys.argv[1]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("\0" + address[1:] if address.startswith("@") else address)
print("listening", flush=True)
while True:
    print(manager.recv(4096).decode().replace("\n", "|"), flush=True)
