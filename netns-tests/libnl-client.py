#!/usr/bin/env python3
"""usage: libnl-client.py TIMES

Asks IPVS so often for its configuration, through libnl and one socket, while a timer interrupts its calls. libnl numbers its
questions and refuses an answer to another one than the last: one that is answered twice ends it. Prints how often it was
interrupted."""
import ctypes
import signal
import sys

NLM_F_ACK = 4
IPVS_CMD_GET_CONFIG = 13

nl, genl = ctypes.CDLL("libnl-3.so.200"), ctypes.CDLL("libnl-genl-3.so.200")
for function in (nl.nl_socket_alloc, nl.nlmsg_alloc, genl.genlmsg_put):
    function.restype = ctypes.c_void_p
nl.nl_geterror.restype = ctypes.c_char_p


def done(code, what):
    if code < 0:
        sys.exit(f"{what}: {nl.nl_geterror(code).decode()}")
    return code


socket = ctypes.c_void_p(nl.nl_socket_alloc())
done(genl.genl_connect(socket), "connect")
family = done(genl.genl_ctrl_resolve(socket, b"IPVS"), "the family IPVS")
interrupted = 0


def interrupt(*_):
    global interrupted
    interrupted += 1


signal.signal(signal.SIGALRM, interrupt)
signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for _ in range(int(sys.argv[1])):
    message = ctypes.c_void_p(nl.nlmsg_alloc())
    genl.genlmsg_put(message, 0, 0, family, 0, NLM_F_ACK, IPVS_CMD_GET_CONFIG, 1)
    done(nl.nl_send_auto(socket, message), "send")
    nl.nlmsg_free(message)
    done(nl.nl_wait_for_ack(socket), "the answer")
signal.setitimer(signal.ITIMER_REAL, 0)
print(interrupted)
