// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Port I/O, whose other side is user space, and instructions that user space helps to complete. AMD APM volume 2,
 * chapters 15.10 (IOIO intercept) and 15.25.6 (nested page faults).
 *
 * An instruction that exits to user space is completed by the next KVM_RUN (complete_pending); until then
 * registers and RIP are those before it, or behind it at a write to memory-mapped I/O.
 */
#include <linux/mm.h>
#include "yakvm.h"

#define PF_FETCH	BIT_ULL(4)
#define PF_TABLE	BIT_ULL(33)	/* the guest's page tables themselves */

/* ---- port I/O: chapter 15.10 ---- */

static int exit_io(struct vcpu *vcpu, enum pending pending, u32 info, u32 count)
{
	struct kvm_run *run = vcpu->run;

	vcpu->pending = pending;
	vcpu->pending_rip = vcpu_pc(vcpu);
	vcpu->count = count;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = info & SVM_IOIO_TYPE_MASK ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = vcpu->size;
	run->io.port = info >> 16;
	run->io.count = count;
	run->io.data_offset = PAGE_SIZE;
	return 0;
}

/* ---- string I/O: volume 3, INS and OUTS ---- */

static u64 address_mask(const struct yakvm_insn *insn)
{
	return ~0ULL >> (64 - 8 * insn->address_size);
}

/* The linear address that a string instruction has in rSI or rDI. */
u64 string_address(struct vcpu *vcpu, const struct yakvm_insn *insn, u32 reg)
{
	u32 segment = reg == RDI ? YAKVM_ES : insn->segment;
	u64 base = (&vcpu->vmcb->save.es)[segment].base, offset = vcpu->regs.gpr[reg] & address_mask(insn);

	if (code_bits(vcpu) != 64)
		return (u32)(base + offset);
	return segment < YAKVM_FS ? offset : base + offset;
}

/* Adds to an address register: 32 bits clear the upper half, 16 bits leave it. */
static void add_register(struct vcpu *vcpu, u32 reg, u64 amount)
{
	u64 mask = address_mask(&vcpu->insn), kept = mask == 0xffff ? ~mask : 0;

	vcpu->regs.gpr[reg] = (vcpu->regs.gpr[reg] & kept) | ((vcpu->regs.gpr[reg] + amount) & mask);
}

/* Counts the elements that were moved. RIP stays until rCX is 0. */
static int string_advance(struct vcpu *vcpu, u32 reg, u32 count)
{
	u64 distance = vcpu->size * count;

	if (count)
		add_register(vcpu, reg, vcpu->regs.rflags & X86_EFLAGS_DF ? -distance : distance);
	if (count && vcpu->insn.flags & YAKVM_REPEATS) {
		add_register(vcpu, RCX, -(u64)count);
		if (vcpu->regs.gpr[RCX] & address_mask(&vcpu->insn))
			return finish(vcpu);
	}
	return finish_at(vcpu, vcpu->next_rip);
}

static int string_io(struct vcpu *vcpu, u32 info)
{
	bool in = info & SVM_IOIO_TYPE_MASK;
	u64 linear, count = 1;
	u8 bytes[15];
	int error;

	if (yakvm_decode(bytes, fetch(vcpu, bytes), code_bits(vcpu), &vcpu->insn))
		return exit_emulation(vcpu);
	linear = string_address(vcpu, &vcpu->insn, in ? RDI : RSI);
	if (vcpu->insn.flags & YAKVM_REPEATS)
		count = vcpu->regs.gpr[RCX] & address_mask(&vcpu->insn);
	if (!count)
		return string_advance(vcpu, RDI, 0);
	/* As many as are in the page; one if it is not whole there, or if they go downwards. */
	count = min_t(u64, count, (PAGE_SIZE - offset_in_page(linear)) / vcpu->size);
	if (!count || vcpu->regs.rflags & X86_EFLAGS_DF)
		count = 1;
	/* A page fault comes before the port is touched: INS reads what it will overwrite. */
	error = copy_linear(vcpu, linear, vcpu->port_data, vcpu->size * count, in ? YAKVM_WALK_WRITE : 0, false);
	if (error)
		return vcpu->exception.pending ? 1 : exit_emulation(vcpu);
	return exit_io(vcpu, in ? STRING_IN : STRING_OUT, info, count);
}

int handle_io(struct vcpu *vcpu)
{
	u32 info = vcpu->vmcb->control.exit_info_1;
	bool in = info & SVM_IOIO_TYPE_MASK;

	vcpu->size = (info & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT;
	vcpu->next_rip = vcpu->vmcb->control.exit_info_2;
	if (info & SVM_IOIO_STR_MASK)
		return string_io(vcpu, info);
	if (!in)
		memcpy(vcpu->port_data, &vcpu->regs.gpr[RAX], vcpu->size);
	return exit_io(vcpu, in ? PORT_IN : PORT_OUT, info, 1);
}

/* ---- memory: chapter 15.25.6 ---- */

int handle_npf(struct vcpu *vcpu)
{
	u64 info = vcpu->vmcb->control.exit_info_1;
	int result = memory_fault(vcpu->vm, vcpu->vmcb->control.exit_info_2, info & PF_WRITE);

	if (result)
		return result;
	if (info & (PF_TABLE | PF_FETCH) || vcpu->vmcb->control.exit_info_2 >> 48)
		return exit_emulation(vcpu);
	return window_fault(vcpu, vcpu->vmcb->control.exit_info_2, info & PF_WRITE);
}

/* Completes what the last KVM_RUN has left to user space. */
int complete_pending(struct vcpu *vcpu)
{
	enum pending pending = vcpu->pending;
	u64 value;
	int error;

	vcpu->pending = NOTHING;
	/* User space has moved RIP: the instruction is abandoned. */
	if (vcpu->pending_rip != vcpu_pc(vcpu)) {
		window_close(vcpu);
		vcpu->traps = 0;
		return 1;
	}
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
		error = copy_linear(vcpu, string_address(vcpu, &vcpu->insn, RDI), vcpu->port_data,
				    vcpu->size * vcpu->count, YAKVM_WALK_WRITE, true);
		if (error)
			return vcpu->exception.pending ? 1 : error;
		return string_advance(vcpu, RDI, vcpu->count);
	case STRING_OUT:
		return string_advance(vcpu, RSI, vcpu->count);
	case MMIO:
		return window_resume(vcpu);
	case MSR_READ:
	case MSR_WRITE:
		if (vcpu->run->msr.error)
			return raise_gp(vcpu);
		if (pending == MSR_READ) {
			value = READ_ONCE(vcpu->run->msr.data);
			vcpu->regs.gpr[RAX] = (u32)value;
			vcpu->regs.gpr[RDX] = value >> 32;
		}
		return skip(vcpu, 2);
	default:
		return 1;
	}
}
