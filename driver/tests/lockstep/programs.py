# SPDX-License-Identifier: MIT OR GPL-2.0
"""Random programs of integer instructions: each is chosen in the state in which the one before it has left the
emulator, so that its accesses stay in the program's memory and it raises no exception."""

import random

from assembler import (AX, BP, BX, CX, DI, DX, IN_KVM_REGS, PAIRS, SI, SP, Memory, encode, memory16, memory_sib)
from emulator import Emulator, masked

CODE, DATA, STACK = 0x10000, 0x20000, 0x40000
MMIO = 0xA0000
# Selectors of CS DS ES SS FS GS in 16-bit programs. Each segment is 64 KiB.
SEGMENTS = (0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0xA000)
FILLED = 0x400
HLT, STI, NOP = b"\xf4", b"\xfb", b"\x90"
# RBP holds nothing in a 16-bit loop but the count, R15 in a 64-bit one.
PREFIX_OF = {"ES": b"\x26", "CS": b"\x2e", "SS": b"\x36", "DS": b"\x3e", "FS": b"\x64", "GS": b"\x65"}
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
         0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF)


class Program:
    """One program: its first state, `first`, the contents of memory, `regions`, and the steps of the emulator.

    With `code`, which ends with HLT, it is a given program; else a random one of about `length` steps.
    """

    def __init__(self, seed, bits, length, code=None, name="random"):
        self.seed, self.bits, self.name = seed, bits, name
        self.random = random.Random(seed * 2 + (bits == 64))
        self.sizes = (1, 2, 4) if bits == 16 else (1, 2, 4, 8)
        self.segments = SEGMENTS if bits == 16 else None
        self.emulator = Emulator(bits, self.segments)
        self.steps = []
        self.written = code is not None
        # The offset behind the last instruction, and the count and begin of the loop that is being written.
        self.origin = 0 if bits == 16 else CODE
        self.end = self.origin
        self.loop = None
        self.queue = []
        self._set_up()
        if self.written:
            self.emulator.write(CODE, code)
            self.end += len(code)
        while len(self.steps) < length and self._advance():
            pass
        # A debugger may not stop behind STI.
        while not self.written and self.steps and self.steps[-1].opcode == STI:
            self.steps.pop()
        # What the program has become, so that it can be run from its first state.
        self.regions[0] = (CODE, self.emulator.read(CODE, self.end - self.origin) + HLT)

    def _set_up(self):
        segment = 0x10000
        low = [range(CODE, CODE + 0x10000)]
        if self.bits == 16:
            self.data = [DATA, 0x30000, 0x50000]
            writable = [range(start, start + segment) for start in (*self.data, STACK, MMIO)]
        else:
            self.data = [DATA]
            writable = [range(DATA, DATA + 0x4000), range(STACK, STACK + 0x4000), range(MMIO, MMIO + segment)]
        if self.written:
            writable.append(range(0, 0x1000))
        self.emulator.writable, self.emulator.allowed = writable, low + writable
        self.regions = [(CODE, b"")]
        for start in (*self.data, STACK + 0x2000):
            self.regions.append((start, self.random.randbytes(FILLED)))
        for start, data in self.regions[1:]:
            self.emulator.write(start, data)
        registers = [self.value(8 if self.bits == 64 else 4) for _ in range(16)]
        if self.bits == 16:
            registers[8:] = [0] * 8
        registers[6] = 0x2200 + (STACK if self.bits == 64 else 0)
        registers += [self.origin, 0x202 if self.random.random() < 0.3 else 2]
        self.emulator.set_registers(registers)
        self.first = self.emulator.registers()

    def _advance(self):
        """One more step. False at the end of the program."""
        at = self.emulator.registers()[16]
        if at != self.end:
            if self.emulator.read(CODE + at - self.origin, 1) == HLT:
                return False
            step = self.emulator.step()
            if not step or not self.origin <= step.registers[16] <= self.end:
                if self.written:
                    raise SystemExit(f"{self.name}: step {len(self.steps)} {self.emulator.refused}")
                return False
            self.steps.append(step)
            return True
        for _ in range(0 if self.written else 100):
            registers = self.emulator.registers()
            code = self.queue.pop(0) if self.queue else self.instruction(registers)
            if not code:
                continue
            if isinstance(code, list):
                self.queue = code[1:]
                code = code[0]
            address = CODE + self.end - self.origin
            self.emulator.write(address, code)
            step = self.emulator.step()
            target = step.registers[16] if step else 0
            # Behind it, or in what a template has emitted with it.
            if step and self.origin <= target <= self.end + len(code):
                self.end += len(code)
                self.steps.append(step)
                return True
            self.queue = []
            if step:
                return False
        return False

    # Values and operands.

    def value(self, size):
        choice = self.random.random()
        if choice < 0.3:
            return masked(self.random.choice(EDGES), size)
        if choice < 0.5:
            return self.random.randrange(32)
        return self.random.getrandbits(8 * size)

    def register(self, written=True):
        """A register that an instruction may write to, or only read."""
        while True:
            register = self.random.randrange(16 if self.bits == 64 else 8)
            if written and (register == SP or self.loop and register == self.counter()):
                continue
            return register

    def counter(self):
        return 15 if self.bits == 64 else BP

    def byte_register(self):
        """A register of one byte, and whether it takes a REX prefix: AH to BH have none."""
        while True:
            register = self.random.randrange(16 if self.bits == 64 else 8)
            rex = self.bits == 64 and self.random.random() < 0.5
            if rex and register in (SP, self.counter()) or register == 15:
                continue
            return register, rex or register > 7

    def operand_registers(self, size, written=True):
        if size == 1:
            return self.byte_register()
        return self.register(written), False

    def target(self, size):
        """An address in a data segment, and the segment's name."""
        if self.random.random() < 0.1:
            return MMIO + self.random.randrange(0, 0x800), "GS"
        at = self.random.choice([*range(len(self.data)), 0])
        offset = self.random.randrange(FILLED - size)
        return self.data[at] + offset, ("DS", "ES", "FS")[at]

    def memory(self, size, registers):
        """A memory operand, or code that sets a register for it."""
        target, segment = self.target(size)
        if self.bits == 16:
            offset = target & 0xFFFF
            wide = not self.loop and self.random.random() < 0.25
            if wide:
                base, index = self.random.randrange(8), self.random.choice((None, AX, CX, DX, BX, SI, DI))
                default = "SS" if base in (SP, BP) else "DS"
                prefixes = b"\x67" + (PREFIX_OF[segment] if segment != default else b"")
                return memory_sib(base, index, self.random.randrange(4), registers, offset, 32, prefixes)
            rm = self.random.randrange(8)
            default = "SS" if BP in PAIRS[rm] else "DS"
            return memory16(rm, registers, offset, PREFIX_OF[segment] if segment != default else b"")
        if self.random.random() < 0.15:
            return Memory(0, 5, b"", relative=target)
        wide = self.random.random() < 0.8
        base, index = self.random.randrange(16), self.random.choice((None, *range(4), *range(5, 16)))
        if wide and self.random.random() < 0.6:
            # A register that reaches the target, if there is one.
            near = [r for r in range(16) if registers[IN_KVM_REGS[r]] < 1 << 30]
            base, index = self.random.choice(near or [SP]), self.random.choice([None, None, *near])
            index = None if index == SP else index
        values = registers if wide else [masked(value, 4) for value in registers]
        found = memory_sib(base, index, self.random.randrange(4), values, target, 64 if wide else 32,
                           b"" if wide else b"\x67")
        if found or not wide:
            return found
        register = self.register()
        near = target + self.random.randrange(-0x1000, 0x1000)
        return bytes([0x48 | register >> 3, 0xB8 | register & 7]) + near.to_bytes(8, "little")

    def immediate(self, size):
        return masked(self.value(size), min(size, 4)).to_bytes(min(size, 4), "little")

    def modrm(self, size, opcode, reg, registers, memory, immediate=b"", lock=False, written=True):
        """An instruction with a register or memory operand."""
        rex = False
        if memory:
            operand = self.memory(8 if size == 8 else 4, registers)
            if not isinstance(operand, Memory):
                return operand
        else:
            operand, rex = self.operand_registers(size, written)
            lock = False
        return encode(self.bits, size, opcode, reg, operand, immediate, b"\xf0" if lock else b"", self.end, rex)

    # Instructions.

    def instruction(self, registers):
        """Code of one instruction, or of several as a list; None for another try."""
        kinds = (self.alu, self.alu, self.alu_immediate, self.unary, self.shift, self.double_shift, self.bits_of,
                 self.scan, self.move, self.move, self.extend, self.exchange, self.conditional, self.stack, self.stack,
                 self.no_operands, self.string, self.port, self.multiply, self.branch, self.load, self.divide,
                 self.begin_or_end_loop)
        return self.random.choice(kinds)(registers)

    def size(self):
        return self.random.choice(self.sizes)

    def coin(self, chance=0.5):
        return self.random.random() < chance

    def either(self, size, byte_opcode):
        """The opcode for one byte, or the one after it for more."""
        return bytes([byte_opcode + (size > 1)])

    def alu(self, registers):
        size, operation = self.size(), self.random.randrange(8)
        to_register = self.coin()
        reg = self.register(written=to_register) if size > 1 else self.random.randrange(4)
        memory = self.coin()
        lock = memory and not to_register and operation != 7 and self.coin(0.2)
        return self.modrm(size, self.either(size, operation << 3 | to_register << 1), reg, registers, memory, lock=lock)

    def alu_immediate(self, registers):
        size, operation = self.size(), self.random.randrange(8)
        if self.coin(0.1):
            # TEST.
            return self.modrm(size, self.either(size, 0xF6), 0, registers, self.coin(), self.immediate(size))
        if size > 1 and self.coin():
            return self.modrm(size, b"\x83", operation, registers, self.coin(), self.immediate(1))
        return self.modrm(size, self.either(size, 0x80), operation, registers, self.coin(), self.immediate(size))

    def unary(self, registers):
        size = self.size()
        opcode, reg = self.random.choice(((0xF6, 2), (0xF6, 3), (0xFE, 0), (0xFE, 1)))
        # Unicorn 2.0.1 has wrong flags after LOCK NEG.
        lock = reg < 2 and self.coin(0.2)
        return self.modrm(size, self.either(size, opcode), reg, registers, self.coin(), lock=lock)

    def shift(self, registers):
        size, operation = self.size(), self.random.choice((0, 1, 2, 3, 4, 5, 7))
        base = self.random.choice((0xC0, 0xD0, 0xD2))
        count = bytes([self.random.randrange(256)]) if base == 0xC0 else b""
        return self.modrm(size, self.either(size, base), operation, registers, self.coin(), count)

    def double_shift(self, registers):
        size = self.random.choice(self.sizes[1:])
        by_cl = self.coin()
        limit = 16 if size == 2 else 32
        # A count above the size has an undefined result.
        if by_cl and (self.loop or registers[IN_KVM_REGS[CX]] & 31 >= limit):
            return None
        opcode = bytes([0x0F, self.random.choice((0xA4, 0xAC)) + by_cl])
        count = b"" if by_cl else bytes([self.random.randrange(limit)])
        # Unicorn 2.0.1 has wrong flags if the other operand is in memory.
        return self.modrm(size, opcode, self.register(False), registers, False, count)

    def bits_of(self, registers):
        size, operation = self.random.choice(self.sizes[1:]), self.random.randrange(4, 8)
        if self.coin():
            return self.modrm(size, b"\x0f\xba", operation, registers, self.coin(), self.immediate(1))
        # A bit of memory may be far from the operand, in real mode outside the segment.
        memory = self.bits == 64 and self.coin(0.2)
        return self.modrm(size, bytes([0x0F, 0xA3 + (operation - 4) * 8]), self.register(False), registers, memory)

    def scan(self, registers):
        size, source = self.random.choice(self.sizes[1:]), self.register(False)
        # The result for zero is undefined.
        if self.loop or not masked(registers[IN_KVM_REGS[source]], size):
            return None
        return encode(self.bits, size, bytes([0x0F, self.random.choice((0xBC, 0xBD))]), self.register(), source)

    def move(self, registers):
        size = self.size()
        choice = self.random.random()
        if choice < 0.2:
            return self.modrm(size, self.either(size, 0xC6), 0, registers, self.coin(0.8), self.immediate(size))
        if choice < 0.3 and size > 1:
            memory = self.memory(size, registers)
            return encode(self.bits, size, b"\x8d", self.register(), memory, at=self.end) if isinstance(memory, Memory) else memory
        to_register = self.coin()
        reg = self.register(written=to_register) if size > 1 else self.random.randrange(4)
        return self.modrm(size, self.either(size, 0x88 | to_register << 1), reg, registers, self.coin(0.8))

    def load(self, registers):
        """MOV of an immediate to a register; some have small values, which reach memory and repeat little."""
        register = self.register()
        size = self.random.choice(self.sizes[1:])
        value = self.random.randrange(64) if self.coin() else self.value(size)
        prefix = b"\x66" if size == (4 if self.bits == 16 else 2) else b""
        rex = 0x40 | (size == 8) << 3 | register >> 3
        return prefix + (bytes([rex]) if rex > 0x40 else b"") + bytes([0xB8 | register & 7]) + value.to_bytes(size, "little")

    def extend(self, registers):
        size = self.random.choice(self.sizes[1:])
        if self.bits == 64 and self.coin(0.2):
            return self.modrm(8, b"\x63", self.register(), registers, self.coin(), written=False)
        opcode = self.random.choice((0xB6, 0xBE)) + (size > 2 and self.coin())
        return self.modrm(size, bytes([0x0F, opcode]), self.register(), registers, True)

    def exchange(self, registers):
        size, choice = self.size(), self.random.random()
        reg = self.register() if size > 1 else self.random.randrange(4)
        if choice < 0.3:
            return self.modrm(size, self.either(size, 0x86), reg, registers, self.coin(), lock=self.coin(0.1))
        if choice < 0.6:
            return self.modrm(size, b"\x0f" + self.either(size, 0xC0), reg, registers, self.coin(), lock=self.coin(0.3))
        if choice < 0.85:
            # Unicorn 2.0.1 writes to the upper half of a 32-bit register that it does not exchange.
            memory = self.coin() or size == 4
            return self.modrm(size, b"\x0f" + self.either(size, 0xB0), reg, registers, memory, lock=self.coin(0.3))
        if choice < 0.95 or self.loop:
            wide = self.random.choice(self.sizes[2:])
            register = self.register()
            prefix = b"\x66" if self.bits == 16 else bytes([0x40 | (wide == 8) << 3 | register >> 3])
            return prefix + bytes([0x0F, 0xC8 | register & 7])
        return self.modrm(4 if self.bits == 64 else 2, b"\x0f\xc7", 1, registers, True, lock=self.coin())

    def conditional(self, registers):
        condition = self.random.randrange(16)
        if self.coin():
            return self.modrm(1, bytes([0x0F, 0x90 | condition]), 0, registers, self.coin())
        size = self.random.choice(self.sizes[1:])
        return self.modrm(size, bytes([0x0F, 0x40 | condition]), self.register(), registers, self.coin(), written=False)

    def multiply(self, registers):
        size, choice = self.size(), self.random.random()
        if choice < 0.5 or size == 1:
            return self.modrm(size, self.either(size, 0xF6), self.random.choice((4, 5)), registers, self.coin())
        if choice < 0.75:
            return self.modrm(size, b"\x0f\xaf", self.register(), registers, self.coin(), written=False)
        short = self.coin()
        return self.modrm(size, b"\x6b" if short else b"\x69", self.register(), registers, self.coin(),
                          self.immediate(1 if short else size), written=False)

    def divide(self, registers):
        """A division that most likely has a result: the upper half of the dividend is cleared."""
        size = self.random.choice(self.sizes[1:])
        clear = encode(self.bits, size, b"\x31", DX, DX)
        divide = self.modrm(size, b"\xf7", self.random.choice((6, 6, 7)), registers, self.coin())
        return [clear, divide] if isinstance(divide, bytes) else divide

    def stack(self, registers):
        choice = self.random.randrange(12)
        prefix = b"\x66" if self.coin(0.2) else b""
        if choice < 3:
            register = self.register(False)
            return prefix + (b"\x41" if register > 7 else b"") + bytes([0x50 | register & 7])
        if choice < 6:
            register = self.register()
            return prefix + (b"\x41" if register > 7 else b"") + bytes([0x58 | register & 7])
        if choice == 6:
            return b"\x6a" + self.immediate(1)
        if choice == 7:
            return b"\x68" + self.immediate(2 if self.bits == 16 else 4)
        if choice == 8:
            return [b"\x9c", b"\x9d"] if self.coin() else b"\x9c"
        if choice == 9:
            return self.modrm(2 if self.bits == 16 else 4, b"\xff", 6, registers, True)
        if choice == 10:
            return self.modrm(2 if self.bits == 16 else 4, b"\x8f", 0, registers, True)
        if self.loop:
            return None
        if self.bits == 16 and self.coin():
            return prefix + self.random.choice((b"\x60", b"\x61"))
        return [b"\xc8" + bytes([self.random.randrange(32), 0, 0]), b"\xc9"]

    def no_operands(self, registers):
        choices = [b"\x90", b"\x98", b"\x99", b"\xf5", b"\xf8", b"\xf9", b"\xfc", b"\xfc", b"\xfd", b"\x9e", b"\x9f",
                   b"\xfa", [STI, NOP], b"\x66\x98", b"\x66\x99"]
        if self.bits == 16:
            base = bytes([self.random.randrange(1, 256)])
            choices += [b"\x27", b"\x2f", b"\x37", b"\x3f", b"\xd4" + base, b"\xd5" + base, b"\x06", b"\x1e", b"\x16",
                        b"\x0e"]
        else:
            choices += [b"\x48\x98", b"\x48\x99"]
        return self.random.choice(choices)

    def string(self, registers):
        """A string instruction, after what its registers need."""
        size = self.random.choice(self.sizes)
        code = []
        operation = self.random.choice((0xA4, 0xA6, 0xAA, 0xAC, 0xAE, 0x6C, 0x6E))
        ports = operation < 0x70
        size = min(size, 4) if ports else size
        for register, start in ((SI, self.data[0]), (DI, self.data[-1 if self.bits == 64 else 1])):
            if registers[IN_KVM_REGS[register]] - (start if self.bits == 64 else 0) not in range(0x100, 0x1000):
                offset = (start if self.bits == 64 else 0) + self.random.randrange(0x180, 0x280)
                code.append(self._move_word(register, offset))
        if ports:
            code.append(self._move_word(DX, self.random.randrange(0x100)))
        repeat = self.random.choice((b"", b"\xf3", b"\xf2")) if operation & 0xF6 == 0xA6 or operation == 0xAE else \
            self.random.choice((b"", b"\xf3"))
        if repeat and masked(registers[IN_KVM_REGS[CX]], self.bits // 8) > 30:
            code.append(self._move_word(CX, self.random.randrange(20)))
        prefix = b"\x66" if size == (4 if self.bits == 16 else 2) else b""
        code.append(repeat + prefix + (b"\x48" if size == 8 else b"") + self.either(size, operation))
        return code

    def _move_word(self, register, value):
        return bytes([0xB8 | register]) + value.to_bytes(2 if self.bits == 16 else 4, "little")

    def port(self, registers):
        prefix = b"\x66" if self.coin(0.3) else b""
        if self.coin():
            return prefix + bytes([self.random.choice((0xE4, 0xE5, 0xE6, 0xE7)), self.random.randrange(256)])
        move = self._move_word(DX, self.random.randrange(0x10000))
        return [move, prefix + bytes([self.random.choice((0xEC, 0xED, 0xEE, 0xEF))])]

    def branch(self, registers):
        """A jump or a call forward over padding, and subroutines."""
        skipped = self.random.randrange(6)
        choice = self.random.randrange(5)
        condition = self.random.randrange(16)
        near = (self.random.randrange(0, 6)).to_bytes(2 if self.bits == 16 else 4, "little")
        padding = b"\x90" * near[0]
        if choice == 0:
            return bytes([0x70 | condition, skipped]) + b"\x90" * skipped
        if choice == 1:
            return bytes([0x0F, 0x80 | condition]) + near + padding
        if choice == 2:
            return self.random.choice((b"\xe9", b"\xe8")) + near + padding
        if choice == 3:
            # LOOPNE, LOOPE, LOOP, JCXZ.
            return None if self.loop else bytes([0xE0 + self.random.randrange(4), skipped]) + b"\x90" * skipped
        # A jump over a subroutine, then a call of it.
        body = encode(self.bits, 2, b"\x01", self.register(False), self.register()) + b"\xc3"
        call = b"\xe8" + masked(-len(body) - (3 if self.bits == 16 else 5), 2 if self.bits == 16 else 4).to_bytes(
            2 if self.bits == 16 else 4, "little")
        return [bytes([0xEB, len(body)]) + body, call]

    def begin_or_end_loop(self, registers):
        counter = self.counter()
        if self.loop is None:
            load = (b"\x41" if counter > 7 else b"") + bytes([0xB8 | counter & 7]) + self.random.randrange(2, 6).to_bytes(
                2 if self.bits == 16 else 4, "little")
            self.loop = self.end + len(load)
            return load
        begin, self.loop = self.loop, None
        decrement = encode(self.bits, 2 if self.bits == 16 else 4, b"\xff", 1, counter)
        displacement = begin - (self.end + len(decrement) + 2)
        if displacement < -128:
            return None
        return [decrement, bytes([0x75, displacement & 0xFF])]
