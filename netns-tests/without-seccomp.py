#!/usr/bin/env python3
"""usage: without-seccomp.py PROGRAM ARGUMENT...

Runs a program as under a kernel without seccomp, and without capset where CAPSET=no is set: a filter answers the calls
that would set another one with EINVAL, and capset with EPERM.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_PRCTL, SYS_CAPSET, SYS_SECCOMP = 157, 126, 317
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16
ALLOW, FAIL = 0x7FFF0000, 0x00050000

refused_capset = SYS_CAPSET if os.environ.get("CAPSET") == "no" else 0xFFFFFFFF
program = [
    (LOAD, 0, 0, NUMBER),
    (JUMP_IF_EQUAL, 0, 1, refused_capset),
    (RETURN, 0, 0, FAIL | errno.EPERM),
    (JUMP_IF_EQUAL, 3, 0, SYS_SECCOMP),
    (JUMP_IF_EQUAL, 0, 3, SYS_PRCTL),
    (LOAD, 0, 0, FIRST_ARGUMENT),
    (JUMP_IF_EQUAL, 0, 1, PR_SET_SECCOMP),
    (RETURN, 0, 0, FAIL | errno.EINVAL),
    (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
