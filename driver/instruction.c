// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What handlers of exits share: the instruction at RIP, guest memory by linear address, and the end of an
 * instruction that is carried out here. AMD APM volume 2, chapters 1.2 and 4.5 (segmentation), 8.2 (exceptions),
 * 15.7.1 (state at an intercept).
 */
#include <linux/mm.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>
#include "yakvm.h"

/* ---- small helpers ---- */

/* The linear address of the next instruction. */
u64 vcpu_pc(struct vcpu *vcpu)
{
	return vcpu->vmcb->save.cs.base + vcpu->regs.rip;
}

u32 code_bits(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;

	if (!(save->cr0 & X86_CR0_PE) || vcpu->regs.rflags & X86_EFLAGS_VM)
		return 16;
	if (save->efer & EFER_LMA && save->cs.attrib & SVM_SELECTOR_L_MASK)
		return 64;
	return save->cs.attrib & SVM_SELECTOR_DB_MASK ? 32 : 16;
}

void vcpu_queue_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
	vcpu->exception.pending = true;
	vcpu->exception.vector = vector;
	vcpu->exception.has_error = has_error && vcpu->vmcb->save.cr0 & X86_CR0_PE;
	vcpu->exception.error = error;
}

int raise(struct vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
	vcpu_queue_exception(vcpu, vector, has_error, error);
	return 1;
}

int raise_gp(struct vcpu *vcpu)
{
	return raise(vcpu, GP_VECTOR, true, 0);
}

int exit_debug(struct vcpu *vcpu, u32 exception, u64 dr6)
{
	struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;

	vcpu->run->exit_reason = KVM_EXIT_DEBUG;
	arch->exception = exception;
	arch->pc = vcpu_pc(vcpu);
	arch->dr6 = dr6;
	arch->dr7 = vcpu->vmcb->save.dr7;
	return 0;
}

/* KVM_INTERNAL_ERROR_EMULATION: the instruction's bytes, then what the processor said about the exit. */
int exit_emulation(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	struct kvm_run *run = vcpu->run;
	u64 data[8] = { KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES };

	((u8 *)&data[1])[0] = fetch(vcpu, (u8 *)&data[1] + 1);
	data[3] = control->exit_code;
	data[4] = control->exit_info_1;
	data[5] = control->exit_info_2;
	data[6] = control->exit_int_info;
	data[7] = control->exit_int_info_err;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->internal.ndata = ARRAY_SIZE(data);
	memcpy(run->internal.data, data, sizeof(data));
	return 0;
}

int exit_error(struct vcpu *vcpu, u32 suberror)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	run->internal.ndata = 4;
	run->internal.data[0] = control->exit_int_info;
	run->internal.data[1] = control->exit_code;
	run->internal.data[2] = control->exit_info_1;
	run->internal.data[3] = control->exit_info_2;
	return 0;
}

/* ---- guest memory by linear address ---- */

/* Copies; 0, or an error after it has queued the exception, or -ENOENT: this is not (only) memory. */
int copy_linear(struct vcpu *vcpu, u64 linear, void *data, u32 count, u32 access, bool write)
{
	struct yakvm_walk walk;
	u32 now;
	int error;

	if (vcpu->vmcb->save.cpl == 3)
		access |= YAKVM_WALK_USER;
	for (; count; count -= now, linear += now, data += now) {
		now = min_t(u32, count, PAGE_SIZE - offset_in_page(linear));
		error = vcpu_translate(vcpu, linear, access, &walk);
		if (error == -EFAULT && !(access & YAKVM_WALK_FETCH)) {
			vcpu->vmcb->save.cr2 = linear;
			vcpu_queue_exception(vcpu, PF_VECTOR, true, walk.error_code);
		}
		if (error == -EINVAL && !(access & YAKVM_WALK_FETCH))
			vcpu_queue_exception(vcpu, GP_VECTOR, true, 0);
		if (!error)
			error = memory_copy(vcpu->vm, walk.gpa, data, now, write);
		if (error)
			return error;
	}
	return 0;
}

/* Reads the instruction at RIP; returns how many bytes there are, at most 15. */
u32 fetch(struct vcpu *vcpu, u8 bytes[15])
{
	u64 pc = vcpu_pc(vcpu);
	u32 first = min_t(u32, 15, PAGE_SIZE - offset_in_page(pc));

	if (copy_linear(vcpu, pc, bytes, first, YAKVM_WALK_FETCH, false))
		return 0;
	if (first < 15 && copy_linear(vcpu, pc + first, bytes + first, 15 - first, YAKVM_WALK_FETCH, false))
		return first;
	return 15;
}

/* ---- the end of an instruction that was carried out here ---- */

/* The single-step trap, which the processor has not raised. */
int finish(struct vcpu *vcpu)
{
	u64 traps = vcpu->traps;
	bool step = vcpu->debug.control & KVM_GUESTDBG_SINGLESTEP;

	vcpu->traps = 0;
	vcpu->vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
	vcpu->regs.rflags &= ~X86_EFLAGS_RF;
	if (step || vcpu->regs.rflags & X86_EFLAGS_TF)
		traps |= DR_STEP;
	if (step || (traps & ~(u64)DR_STEP && vcpu->debug.control & KVM_GUESTDBG_USE_HW_BP))
		return exit_debug(vcpu, DB_VECTOR, DR6_RESERVED | traps);
	if (!traps)
		return 1;
	vcpu->dr6 |= traps;
	return raise(vcpu, DB_VECTOR, false, 0);
}

int finish_at(struct vcpu *vcpu, u64 rip)
{
	vcpu->regs.rip = code_bits(vcpu) == 64 ? rip : (u32)rip;
	return finish(vcpu);
}

static bool is_prefix(u8 byte, u32 bits)
{
	switch (byte) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:	/* segments */
	case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
		return true;
	default:
		return bits == 64 && (byte & 0xf0) == 0x40;			/* REX */
	}
}

/* Steps over an instruction whose opcode and operands have this length, without prefixes. */
int skip(struct vcpu *vcpu, u32 length)
{
	u8 bytes[15];
	u32 count, prefixes = 0;

	if (boot_cpu_has(X86_FEATURE_NRIPS) && vcpu->vmcb->control.next_rip)
		return finish_at(vcpu, vcpu->vmcb->control.next_rip);
	count = fetch(vcpu, bytes);
	while (prefixes < count && is_prefix(bytes[prefixes], code_bits(vcpu)))
		prefixes++;
	return finish_at(vcpu, vcpu->regs.rip + prefixes + length);
}

/* MOV to or from a control or debug register: *reg is the general register; the length, or 0. */
u32 special_move(struct vcpu *vcpu, u64 **reg)
{
	u8 bytes[15], rex = 0;
	u32 count = fetch(vcpu, bytes), i = 0;

	for (; i < count && is_prefix(bytes[i], code_bits(vcpu)); i++)
		rex = (bytes[i] & 0xf0) == 0x40 ? bytes[i] : 0;
	if (i + 3 > count)
		return 0;
	*reg = &vcpu->regs.gpr[(bytes[i + 2] & 7) + (rex & 1 ? 8 : 0)];
	return i + 3;
}
