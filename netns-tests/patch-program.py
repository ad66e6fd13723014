#!/usr/bin/env python3
"""usage: patch-program.py FROM TO version OLD NEW | hangs | dies

Makes another program of a copy: with another version of the same length, or one that hangs or dies where it begins.
"""

import os
import struct
import sys


def entry_offset(image):
    """Where in the file the first instruction lies (elf(5), 64 bits)."""
    entry, headers = struct.unpack_from("<QQ", image, 24)
    size, count = struct.unpack_from("<HH", image, 54)
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", image, headers + number * size)
        if kind == 1 and address <= entry < address + length:
            return entry - address + offset
    raise SystemExit("no segment holds the entry")


def main(source, target, how, *versions):
    with open(source, "rb") as file:
        image = bytearray(file.read())
    if how == "version":
        old, new = (version.encode() for version in versions)
        assert len(old) == len(new) and old in image
        image = image.replace(old, new)
    else:
        # jmp to itself, or ud2.
        code = {"hangs": b"\xeb\xfe", "dies": b"\x0f\x0b"}[how]
        at = entry_offset(image)
        image[at : at + len(code)] = code
    with open(target, "wb") as file:
        file.write(image)
    os.chmod(target, 0o755)


main(*sys.argv[1:])
