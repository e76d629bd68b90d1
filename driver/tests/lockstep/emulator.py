# SPDX-License-Identifier: MIT OR GPL-2.0
"""The independent emulator of the lockstep check: one processor of Unicorn, one instruction at a time.

A program sees this physical memory, on the emulator and on the device (src/bin/lockstep/device.rs):

    0x00000 - 0x00fff   a hole: accesses are MMIO
    0x01000 - 0x9ffff   memory
    0xa0000 - 0xaffff   a hole: accesses are MMIO

Reads of a port answer the last value written to any port plus one, reads of MMIO the last value written
to MMIO minus one.
"""

from unicorn import (UC_ARCH_X86, UC_HOOK_INSN, UC_HOOK_INTR, UC_HOOK_MEM_READ, UC_HOOK_MEM_WRITE, UC_MEM_WRITE,
                     UC_MODE_16, UC_MODE_64, Uc, UcError)
from unicorn import x86_const as x86

HOLES = (range(0, 0x1000), range(0xA0000, 0xB0000))
# Flags that programs may have: CF PF AF ZF SF IF DF OF, and bit 1, which is always set.
FLAGS = 0xED7
# In the order of struct kvm_regs.
NAMES = ("RAX RBX RCX RDX RSI RDI RSP RBP R8 R9 R10 R11 R12 R13 R14 R15 RIP EFLAGS").split()
# A string instruction with a repeat prefix is stepped as one.
MOST_REPETITIONS = 64
IN, OUT, MMIO_READ, MMIO_WRITE = range(4)


def masked(value, size):
    return value & ((1 << 8 * size) - 1)


class Step:
    """What one instruction did: the registers after it, its accesses to memory and to the bus, in order."""

    def __init__(self):
        self.registers = []
        self.opcode = b""
        self.writes = []
        self.bus = []


class Emulator:
    """`bits` is 16 (real mode; `segments` has the selectors of CS DS ES SS FS GS) or 64 (flat, ring 0)."""

    def __init__(self, bits, segments=None):
        self.bits = bits
        self.segments = segments
        self.uc = Uc(UC_ARCH_X86, UC_MODE_16 if bits == 16 else UC_MODE_64)
        self.uc.mem_map(0, 0x110000)
        names = NAMES if bits == 64 else ["E" + name[1:] if name != "EFLAGS" else name
                                          for name in NAMES if not name[1:].isdigit()]
        self.ids = [getattr(x86, "UC_X86_REG_" + name) for name in names]
        self.port = 0
        self.mmio = 0
        # Ranges of linear addresses that may be read and written.
        self.allowed = ()
        self.writable = ()
        if segments:
            for name, selector in zip("CS DS ES SS FS GS".split(), segments):
                self.uc.reg_write(getattr(x86, "UC_X86_REG_" + name), selector)
        self.base = segments[0] << 4 if segments else 0
        self.uc.hook_add(UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, self._access)
        self.uc.hook_add(UC_HOOK_INSN, self._in, None, 1, 0, x86.UC_X86_INS_IN)
        self.uc.hook_add(UC_HOOK_INSN, self._out, None, 1, 0, x86.UC_X86_INS_OUT)
        self.uc.hook_add(UC_HOOK_INTR, self._exception)
        self.step_taken = Step()
        self.undo = []
        self.refused = None

    def write(self, address, data):
        self.uc.mem_write(address, bytes(data))
        self.uc.ctl_remove_cache(address, address + len(data))

    def read(self, address, size):
        return bytes(self.uc.mem_read(address, size))

    def registers(self):
        """The registers of struct kvm_regs; RIP is the offset in CS."""
        values = [self.uc.reg_read(register) for register in self.ids]
        if self.bits == 16:
            # Unicorn has the linear address there.
            values[8] = (values[8] - self.base) & 0xFFFF
            values = values[:8] + [0] * 8 + values[8:]
        return values

    def set_registers(self, values):
        if self.bits == 16:
            values = values[:8] + values[16:]
        for register, value in zip(self.ids, values):
            self.uc.reg_write(register, value)

    def _refuse(self, why):
        self.refused = why
        self.uc.emu_stop()

    def _access(self, uc, kind, address, size, value, _data):
        is_write = kind == UC_MEM_WRITE
        if not any(address in range_ and address + size <= range_.stop
                   for range_ in (self.writable if is_write else self.allowed)):
            return self._refuse(f"accesses {address:#x}")
        if any(address in hole for hole in HOLES):
            if is_write:
                self.mmio = masked(value, size)
                self.step_taken.bus.append((MMIO_WRITE, size, address, self.mmio))
            else:
                answer = masked(self.mmio - 1, size)
                uc.mem_write(address, answer.to_bytes(size, "little"))
                self.step_taken.bus.append((MMIO_READ, size, address, answer))
        elif is_write:
            self.undo.append((address, self.read(address, size)))
            self.step_taken.writes.append((address, size, masked(value, size)))

    def _in(self, _uc, port, size, _data):
        answer = masked(self.port + 1, size)
        self.step_taken.bus.append((IN, size, port, answer))
        return answer

    def _out(self, _uc, port, size, value, _data):
        self.port = masked(value, size)
        self.step_taken.bus.append((OUT, size, port, self.port))

    def _exception(self, _uc, vector, _data):
        self._refuse(f"raises exception {vector}")

    def step(self):
        """Executes one instruction. None, with nothing changed, if a program must not do what it does."""
        before = self.uc.context_save()
        old = self.port, self.mmio
        start = self.registers()
        self.step_taken = Step()
        self.undo = []
        self.refused = None
        try:
            for _ in range(MOST_REPETITIONS):
                self.uc.emu_start(self.base + start[16], 0xFFFFFFFFFFFF, count=1)
                after = self.registers()
                if self.refused or after[16] != start[16]:
                    break
            else:
                self.refused = "does not end"
        except UcError as error:
            self.refused = str(error)
        if not self.refused and after[17] & ~FLAGS:
            self.refused = "sets flags"
        if self.refused:
            for address, data in reversed(self.undo):
                self.uc.mem_write(address, data)
            self.uc.context_restore(before)
            self.port, self.mmio = old
            return None
        self.step_taken.registers = after
        self.step_taken.opcode = self.read(self.base + start[16], 1)
        return self.step_taken
