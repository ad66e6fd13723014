#!/usr/bin/env python3
"""usage: without-bpf.py COMMAND ERROR PROGRAM ARGUMENT...

Runs a program as under a kernel that does not do a command of bpf(2): a filter answers it with an error, like EINVAL.
COMMAND is its number in enum bpf_cmd, 28 for a link of TCX; 5 loads a program.
"""

import errno
import sys

# What it imports lies in the checkout.
sys.dont_write_bytecode = True
from seccomp_filter import ALLOW, FAIL, FIRST_ARGUMENT, JUMP_IF_EQUAL, LOAD, NUMBER, RETURN, run_behind

SYS_BPF = 321

program = [
    (LOAD, 0, 0, NUMBER),
    (JUMP_IF_EQUAL, 0, 3, SYS_BPF),
    (LOAD, 0, 0, FIRST_ARGUMENT),
    (JUMP_IF_EQUAL, 0, 1, int(sys.argv[1])),
    (RETURN, 0, 0, FAIL | getattr(errno, sys.argv[2])),
    (RETURN, 0, 0, ALLOW),
]
run_behind(program, sys.argv[3:])
