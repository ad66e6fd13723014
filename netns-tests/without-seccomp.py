#!/usr/bin/env python3
"""usage: without-seccomp.py PROGRAM ARGUMENT...

Runs a program as under a kernel without seccomp, and without capset where CAPSET=no is set: a filter answers the calls
that would set another one with EINVAL, and capset with EPERM.
"""

import errno
import os
import sys

# What it imports lies in the checkout.
sys.dont_write_bytecode = True
from seccomp_filter import ALLOW, FAIL, FIRST_ARGUMENT, JUMP_IF_EQUAL, LOAD, NUMBER, PR_SET_SECCOMP, RETURN, run_behind

SYS_PRCTL, SYS_CAPSET, SYS_SECCOMP = 157, 126, 317

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
run_behind(program, sys.argv[1:])
