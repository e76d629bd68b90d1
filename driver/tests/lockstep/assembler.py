# SPDX-License-Identifier: MIT OR GPL-2.0
"""Encodes instructions from their opcode and operands (AMD64 Architecture Programmer's Manual, volume 3, chapter 1).

Registers are numbered as in encodings: AX CX DX BX SP BP SI DI, then R8 to R15.
"""

from emulator import masked

AX, CX, DX, BX, SP, BP, SI, DI = range(8)
# The place of each register of an encoding in struct kvm_regs.
IN_KVM_REGS = (0, 2, 3, 1, 6, 7, 4, 5) + tuple(range(8, 16))
# The base and index registers of the 16-bit forms of ModRM.
PAIRS = ((BX, SI), (BX, DI), (BP, SI), (BP, DI), (SI,), (DI,), (BP,), (BX,))


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Memory:
    """A memory operand: its ModRM byte without the register field, what follows it, and its prefixes."""

    def __init__(self, mod, rm, tail, rex=0, prefixes=b"", relative=None):
        self.mod, self.rm, self.tail, self.rex, self.prefixes = mod, rm, tail, rex, prefixes
        # The address of an operand relative to RIP, which depends on the length of the instruction.
        self.relative = relative


def displaced(displacement, bits, force):
    """The mod field and the bytes of a displacement: none, 8 bits, or `bits` of them."""
    if displacement == 0 and not force:
        return 0, b""
    if -128 <= displacement < 128:
        return 1, (displacement & 0xFF).to_bytes(1, "little")
    return 2, masked(displacement, bits // 8).to_bytes(bits // 8, "little")


def memory16(rm, values, target, prefixes):
    """A 16-bit form: the displacement makes the address `target`, an offset in the segment."""
    base = sum(values[IN_KVM_REGS[register]] for register in PAIRS[rm])
    mod, tail = displaced(signed(target - base, 16), 16, rm == 6)
    return Memory(mod, rm, tail, 0, prefixes)


def memory_sib(base, index, scale, values, target, bits, prefixes=b""):
    """A form with 32-bit or 64-bit registers, or None if no displacement reaches the target."""
    address = values[IN_KVM_REGS[base]]
    if index is not None:
        address += values[IN_KVM_REGS[index]] << scale
    displacement = signed(target - address, bits)
    if not -(1 << 31) <= displacement < 1 << 31:
        return None
    mod, tail = displaced(displacement, 32, base & 7 == BP)
    rex = (base >> 3) | ((index or 0) >> 3) << 1
    if index is None and base & 7 != SP:
        return Memory(mod, base & 7, tail, rex, prefixes)
    sib = scale << 6 | (4 if index is None else index & 7) << 3 | base & 7
    return Memory(mod, 4, bytes([sib]) + tail, rex, prefixes)


def encode(bits, size, opcode, reg, operand, immediate=b"", prefixes=b"", at=0, byte_rex=False):
    """An instruction with a ModRM byte, at the offset `at`.

    `size` is that of the operands, 1 to 8 bytes; `operand` is a register or a Memory; `byte_rex` makes
    registers 4 to 7 of one byte SPL to DIL instead of AH to BH.
    """
    is_memory = isinstance(operand, Memory)
    rex = (reg >> 3) << 2 | (operand.rex if is_memory else operand >> 3)
    if is_memory:
        prefixes += operand.prefixes
    if size == 8:
        rex |= 8
    elif size in (2, 4) and size != (2 if bits == 16 else 4):
        prefixes += b"\x66"
    head = prefixes + (bytes([0x40 | rex]) if rex or (byte_rex and bits == 64) else b"") + opcode
    if not is_memory:
        return head + bytes([0xC0 | (reg & 7) << 3 | operand & 7]) + immediate
    head += bytes([operand.mod << 6 | (reg & 7) << 3 | operand.rm])
    tail = operand.tail
    if operand.relative is not None:
        after = at + len(head) + 4 + len(immediate)
        tail = masked(operand.relative - after, 4).to_bytes(4, "little")
    return head + tail + immediate
