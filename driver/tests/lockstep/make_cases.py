#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR GPL-2.0
"""Writes programs, and what the emulator does at each of their steps, for the lockstep program:

    make_cases.py SEED COUNT LENGTH FILE [PROGRAM.bin...]

COUNT random programs of each kind, of LENGTH steps, from the seeds SEED, SEED + 1 and so on, after the given
programs, whose names begin with `real-` or `long-`. src/bin/lockstep/cases.rs describes the file.
"""

import os
import struct
import sys

from programs import SEGMENTS, Program

MAGIC = b"LOCKSTP1"
STEPS_OF_WRITTEN = 100000


def encoded(program):
    name = program.name.encode()
    out = [struct.pack("<QBB", program.seed, program.bits, len(name)), name,
           struct.pack("<6H", *(program.segments or (0,) * 6)), struct.pack("<18Q", *program.first),
           struct.pack("<I", len(program.regions))]
    for address, data in program.regions:
        out += [struct.pack("<II", address, len(data)), data]
    out.append(struct.pack("<I", len(program.steps)))
    for step in program.steps:
        out.append(struct.pack("<18QHH", *step.registers, len(step.writes), len(step.bus)))
        for address, size, value in step.writes:
            out.append(struct.pack("<IB", address, size) + value.to_bytes(8, "little"))
        for kind, size, address, value in step.bus:
            out.append(struct.pack("<BBIQ", kind, size, address, value))
    return b"".join(out)


def main():
    seed, count, length = (int(argument) for argument in sys.argv[1:4])
    programs = []
    for path in sys.argv[5:]:
        name = os.path.basename(path).removesuffix(".bin")
        with open(path, "rb") as file:
            programs.append(Program(0, 16 if name.startswith("real-") else 64, STEPS_OF_WRITTEN, file.read(), name))
    for number in range(seed, seed + count):
        programs += [Program(number, bits, length) for bits in (16, 64)]
    with open(sys.argv[4], "wb") as file:
        file.write(MAGIC + struct.pack("<I", len(programs)))
        for program in programs:
            file.write(encoded(program))
    print(f"{len(programs)} programs, {sum(len(program.steps) for program in programs)} instructions", file=sys.stderr)


main()
