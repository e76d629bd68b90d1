// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Port I/O and memory-mapped I/O, whose other side is user space. AMD APM volume 2, chapters 15.10 (IOIO
 * intercept) and 15.25.6 (nested page faults).
 *
 * An instruction that exits to user space is completed by the next KVM_RUN (complete_pending); until then
 * registers and RIP are those before it.
 */
#include <linux/mm.h>
#include <asm/trapnr.h>
#include "yakvm.h"

#define PF_WRITE	BIT_ULL(1)	/* EXITINFO1 of a nested page fault, chapter 15.25.6 */
#define PF_TABLE	BIT_ULL(33)	/* the guest's page tables themselves */

/* ---- port I/O: chapter 15.10 ---- */

static int exit_io(struct vcpu *vcpu, enum pending pending, u32 info, u32 size, u32 count)
{
	struct kvm_run *run = vcpu->run;

	vcpu->pending = pending;
	vcpu->pending_rip = vcpu_pc(vcpu);
	vcpu->count = count;
	vcpu->size = size;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = info & SVM_IOIO_TYPE_MASK ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = info >> 16;
	run->io.count = count;
	run->io.data_offset = PAGE_SIZE;
	return 0;
}

static u64 operand(struct vcpu *vcpu, bool destination)
{
	u32 segment = destination ? vcpu->insn.destination_segment : vcpu->insn.segment;
	u32 bits = code_bits(vcpu);
	u64 base = (&vcpu->vmcb->save.es)[segment].base;

	if (bits == 64)
		return (segment < YAKVM_FS ? 0 : base) + yakvm_offset(&vcpu->insn, &vcpu->regs, destination);
	return (u32)(base + yakvm_offset(&vcpu->insn, &vcpu->regs, destination));
}

static bool decode(struct vcpu *vcpu)
{
	u8 bytes[15];
	u32 count = fetch(vcpu, bytes);

	return !yakvm_decode(bytes, count, code_bits(vcpu), &vcpu->insn);
}

static int string_io(struct vcpu *vcpu, u32 info)
{
	bool in = info & SVM_IOIO_TYPE_MASK;
	u32 size, count;
	u64 linear;
	int error;

	if (!decode(vcpu) || !(vcpu->insn.access & (YAKVM_PORT_IN | YAKVM_PORT_OUT)))
		return exit_emulation(vcpu);
	size = vcpu->insn.memory_size;
	linear = operand(vcpu, false);
	count = yakvm_elements(&vcpu->insn, &vcpu->regs, linear, PAGE_SIZE / size);
	if (!count) {
		yakvm_advance(&vcpu->insn, &vcpu->regs, 0);
		return finish(vcpu);
	}
	/* A page fault comes before the port is touched: INS reads what it will overwrite. */
	error = copy_linear(vcpu, linear, vcpu->port_data, size * count, in ? YAKVM_WALK_WRITE : 0, false);
	if (error)
		return vcpu->exception.pending ? 1 : exit_emulation(vcpu);
	return exit_io(vcpu, in ? STRING_IN : STRING_OUT, info, size, count);
}

int handle_io(struct vcpu *vcpu)
{
	u32 info = vcpu->vmcb->control.exit_info_1, size = (info & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT;

	if (info & SVM_IOIO_STR_MASK)
		return string_io(vcpu, info);
	vcpu->next_rip = vcpu->vmcb->control.exit_info_2;
	if (!(info & SVM_IOIO_TYPE_MASK))
		memcpy(vcpu->port_data, &vcpu->regs.gpr[RAX], size);
	return exit_io(vcpu, info & SVM_IOIO_TYPE_MASK ? PORT_IN : PORT_OUT, info, size, 1);
}

/* ---- MMIO ---- */

static int exit_mmio(struct vcpu *vcpu, enum pending pending, u64 gpa, const void *data)
{
	struct kvm_run *run = vcpu->run;

	vcpu->pending = pending;
	vcpu->pending_rip = vcpu_pc(vcpu);
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = gpa;
	run->mmio.len = vcpu->insn.memory_size;
	run->mmio.is_write = pending == MMIO_WRITE;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	if (data)
		memcpy(run->mmio.data, data, vcpu->insn.memory_size);
	return 0;
}

/* The second half, with what was read: carries the instruction out and writes. */
static int mmio_execute(struct vcpu *vcpu, u64 memory)
{
	struct yakvm_registers after = vcpu->regs;
	u64 result = yakvm_execute(&vcpu->insn, &after, memory), linear;
	struct yakvm_walk walk;
	int error;

	/* A division that has no result. */
	if (after.rip == vcpu->regs.rip && !(vcpu->insn.access & YAKVM_STRING))
		return raise(vcpu, DE_VECTOR, false, 0);
	vcpu->memory = memory;
	if (vcpu->insn.access & YAKVM_WRITES) {
		linear = operand(vcpu, vcpu->insn.access & YAKVM_COPIES);
		error = copy_linear(vcpu, linear, &result, vcpu->insn.memory_size, YAKVM_WALK_WRITE, true);
		if (error && vcpu->exception.pending)
			return 1;
		if (error == -ENOENT && !vcpu_translate(vcpu, linear, 0, &walk))
			return exit_mmio(vcpu, MMIO_WRITE, walk.gpa, &result);
		if (error)
			return error;
	}
	vcpu->regs = after;
	return finish(vcpu);
}

/* The first half: an access to what is no memory. Each part of the instruction may be memory or not. */
static int mmio(struct vcpu *vcpu)
{
	struct yakvm_walk walk;
	u64 memory = 0, linear;
	int error;

	/* The processor was pushing an event's frame: it cannot be asked to do it in pieces. */
	if (vcpu->vmcb->control.exit_int_info & SVM_EXITINTINFO_VALID)
		return exit_error(vcpu, KVM_INTERNAL_ERROR_DELIVERY_EV);
	if (!decode(vcpu) || vcpu->insn.access & (YAKVM_PORT_IN | YAKVM_PORT_OUT))
		return exit_emulation(vcpu);
	if (vcpu->insn.access & YAKVM_READS) {
		linear = operand(vcpu, false);
		error = copy_linear(vcpu, linear, &memory, vcpu->insn.memory_size, 0, false);
		if (error && vcpu->exception.pending)
			return 1;
		if (error == -ENOENT && !vcpu_translate(vcpu, linear, 0, &walk))
			return exit_mmio(vcpu, MMIO_READ, walk.gpa, NULL);
		if (error)
			return error;
	}
	return mmio_execute(vcpu, memory);
}

int handle_npf(struct vcpu *vcpu)
{
	u64 info = vcpu->vmcb->control.exit_info_1;
	int result = memory_fault(vcpu->vm, vcpu->vmcb->control.exit_info_2, info & PF_WRITE);

	if (result)
		return result;
	return info & PF_TABLE ? exit_emulation(vcpu) : mmio(vcpu);
}

/* Completes what the last KVM_RUN has left to user space. */
int complete_pending(struct vcpu *vcpu)
{
	enum pending pending = vcpu->pending;
	u64 memory = 0;
	int error;

	vcpu->pending = NOTHING;
	/* User space has moved RIP: the instruction is abandoned. */
	if (pending == NOTHING || vcpu->pending_rip != vcpu_pc(vcpu))
		return 1;
	switch (pending) {
	case PORT_IN:
		/* Four bytes clear the upper half of RAX, fewer leave the rest of it. */
		if (vcpu->size == 4)
			vcpu->regs.gpr[RAX] = 0;
		memcpy(&vcpu->regs.gpr[RAX], vcpu->port_data, vcpu->size);
		fallthrough;
	case PORT_OUT:
		return finish_at(vcpu, vcpu->next_rip);
	case STRING_IN:
		error = copy_linear(vcpu, operand(vcpu, false), vcpu->port_data, vcpu->size * vcpu->count,
				    YAKVM_WALK_WRITE, true);
		if (error)
			return vcpu->exception.pending ? 1 : error;
		fallthrough;
	case STRING_OUT:
		yakvm_advance(&vcpu->insn, &vcpu->regs, vcpu->count);
		return finish(vcpu);
	case MMIO_READ:
		memcpy(&memory, vcpu->run->mmio.data, vcpu->insn.memory_size);
		return mmio_execute(vcpu, memory);
	case MMIO_WRITE:
		yakvm_execute(&vcpu->insn, &vcpu->regs, vcpu->memory);
		return finish(vcpu);
	case MSR_READ:
	case MSR_WRITE:
		if (vcpu->run->msr.error)
			return raise_gp(vcpu);
		if (pending == MSR_READ) {
			memory = READ_ONCE(vcpu->run->msr.data);
			vcpu->regs.gpr[RAX] = (u32)memory;
			vcpu->regs.gpr[RDX] = memory >> 32;
		}
		return skip(vcpu, 2);
	default:
		return 1;
	}
}
