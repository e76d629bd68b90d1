// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * KVM_RUN: into the guest, and what to do about each exit. AMD APM volume 2, chapters 15.5-15.6 (VMRUN and
 * #VMEXIT), 15.7-15.14 (intercepts), 15.16 (ASIDs), 15.20 (event injection), 15.21 (interrupts), and
 * appendix C (exit codes).
 *
 * An exit handler returns 1 (go on), 0 (user space has something to do: run->exit_reason) or an error.
 * An instruction that exits to user space is completed by the next KVM_RUN (complete_pending); until then
 * registers and RIP are those before it.
 */
#include <linux/context_tracking.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/io.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/pkru.h>
#include <asm/trapnr.h>
#include "yakvm.h"

#define DEBUGGING	(KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP)
#define DR6_BD		BIT_ULL(13)	/* chapter 13.1.1.3: a MOV to or from a debug register */
#define DR7_GD		BIT_ULL(13)	/* raises #DB */
#define PF_WRITE	BIT_ULL(1)	/* EXITINFO1 of a nested page fault, chapter 15.25.6 */
#define PF_TABLE	BIT_ULL(33)	/* the guest's page tables themselves */

/* ---- small helpers ---- */

/* The linear address of the next instruction. */
u64 vcpu_pc(struct vcpu *vcpu)
{
	return vcpu->vmcb->save.cs.base + vcpu->regs.rip;
}

static u32 code_bits(struct vcpu *vcpu)
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

static int raise(struct vcpu *vcpu, u8 vector, bool has_error, u32 error)
{
	vcpu_queue_exception(vcpu, vector, has_error, error);
	return 1;
}

static int raise_gp(struct vcpu *vcpu)
{
	return raise(vcpu, GP_VECTOR, true, 0);
}

static int exit_debug(struct vcpu *vcpu, u32 exception, u64 dr6)
{
	struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;

	vcpu->run->exit_reason = KVM_EXIT_DEBUG;
	arch->exception = exception;
	arch->pc = vcpu_pc(vcpu);
	arch->dr6 = dr6;
	arch->dr7 = vcpu->vmcb->save.dr7;
	return 0;
}

static u32 fetch(struct vcpu *vcpu, u8 bytes[15]);

/* KVM_INTERNAL_ERROR_EMULATION: the instruction's bytes, then what the processor said about the exit. */
static int exit_emulation(struct vcpu *vcpu)
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

static int exit_error(struct vcpu *vcpu, u32 suberror)
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
static int copy_linear(struct vcpu *vcpu, u64 linear, void *data, u32 count, u32 access, bool write)
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
static u32 fetch(struct vcpu *vcpu, u8 bytes[15])
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
static int finish(struct vcpu *vcpu)
{
	vcpu->vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
	if (vcpu->debug.control & KVM_GUESTDBG_SINGLESTEP)
		return exit_debug(vcpu, DB_VECTOR, DR6_RESERVED | DR_STEP);
	if (vcpu->regs.rflags & X86_EFLAGS_TF) {
		vcpu->dr6 |= DR_STEP;
		return raise(vcpu, DB_VECTOR, false, 0);
	}
	return 1;
}

static int finish_at(struct vcpu *vcpu, u64 rip)
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
static int skip(struct vcpu *vcpu, u32 length)
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
static u32 special_move(struct vcpu *vcpu, u64 **reg)
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

static int handle_io(struct vcpu *vcpu)
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

static int handle_npf(struct vcpu *vcpu)
{
	u64 info = vcpu->vmcb->control.exit_info_1;
	int result = memory_fault(vcpu->vm, vcpu->vmcb->control.exit_info_2, info & PF_WRITE);

	if (result)
		return result;
	return info & PF_TABLE ? exit_emulation(vcpu) : mmio(vcpu);
}

/* Completes what the last KVM_RUN has left to user space. */
static int complete_pending(struct vcpu *vcpu)
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

/* ---- other exits ---- */

static int handle_cpuid(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	u32 leaf = gpr[RAX], index = gpr[RCX];
	struct kvm_cpuid_entry2 none = {}, *entry = vcpu_cpuid(vcpu, leaf, index) ?: &none;

	gpr[RAX] = entry->eax;
	gpr[RBX] = entry->ebx;
	gpr[RCX] = entry->ecx;
	gpr[RDX] = entry->edx;
	/* What depends on the guest's state: OSXSAVE, and the size of what XSAVE writes. */
	if (leaf == 1) {
		gpr[RCX] &= ~BIT_ULL(27);
		if (vcpu->vmcb->save.cr4 & X86_CR4_OSXSAVE)
			gpr[RCX] |= BIT_ULL(27);
	}
	if (leaf == 0xd && index == 0 && entry != &none)
		gpr[RBX] = vcpu->xcr0 & XFEATURE_MASK_YMM ? 832 : 576;
	return skip(vcpu, 2);
}

static bool msr_allowed(struct vm *vm, u32 index, u32 access)
{
	bool allowed;
	u32 i;

	spin_lock(&vm->lock);
	allowed = !vm->msr_default_deny;
	for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		struct msr_range *range = &vm->msr_ranges[i];

		if (index - range->base < range->count && range->flags & access) {
			allowed = test_bit(index - range->base, range->allowed);
			break;
		}
	}
	spin_unlock(&vm->lock);
	return allowed;
}

/* An access that fails here may be user space's: local APICs are its own, and x2APIC registers with them. */
static int refuse_msr(struct vcpu *vcpu, u32 index, u64 value, bool write, u32 reason)
{
	struct kvm_run *run = vcpu->run;

	if (!(READ_ONCE(vcpu->vm->msr_exits) & reason))
		return raise_gp(vcpu);
	vcpu->pending = write ? MSR_WRITE : MSR_READ;
	vcpu->pending_rip = vcpu_pc(vcpu);
	run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	run->msr.error = 0;
	run->msr.reason = reason;
	run->msr.index = index;
	run->msr.data = value;
	return 0;
}

static int handle_msr(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr, value = (u32)gpr[RAX] | gpr[RDX] << 32;
	bool write = vcpu->vmcb->control.exit_info_1;
	u32 index = gpr[RCX];
	int error;

	if (!msr_allowed(vcpu->vm, index, write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ))
		return refuse_msr(vcpu, index, value, write, KVM_MSR_EXIT_REASON_FILTER);
	error = write ? vcpu_set_msr(vcpu, index, value, true) : vcpu_get_msr(vcpu, index, &value);
	if (error)
		return refuse_msr(vcpu, index, value, write, error == -ENOENT && index >> 8 != 8 ?
				  KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL);
	if (!write) {
		gpr[RAX] = (u32)value;
		gpr[RDX] = value >> 32;
	}
	return skip(vcpu, 2);
}

/* TSC_AUX is not in the VMCB, so that RDTSCP would read the host's. */
static int handle_rdtscp(struct vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *features = vcpu_cpuid(vcpu, 0x80000001, 0);
	u64 *gpr = vcpu->regs.gpr, tsc, aux;

	if (!features || !(features->edx & BIT(27)))
		return raise(vcpu, UD_VECTOR, false, 0);
	vcpu_get_msr(vcpu, MSR_IA32_TSC, &tsc);
	vcpu_get_msr(vcpu, MSR_TSC_AUX, &aux);
	gpr[RAX] = (u32)tsc;
	gpr[RDX] = tsc >> 32;
	gpr[RCX] = aux;
	return skip(vcpu, 3);
}

static int handle_xsetbv(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr, value = (u32)gpr[RAX] | gpr[RDX] << 32;

	if (vcpu->vmcb->save.cpl || (u32)gpr[RCX] || yakvm_check_xcr0(value, guest_xcr0))
		return raise_gp(vcpu);
	vcpu->xcr0 = value;
	return skip(vcpu, 3);
}

/* MOV from and to debug registers: chapter 13.1.1. The guest's are never in the processor while it changes them. */
static int handle_dr(struct vcpu *vcpu, u32 number, bool write)
{
	u64 *reg, *dr;
	u32 length = special_move(vcpu, &reg);

	if (number == 4 || number == 5) {
		if (vcpu->vmcb->save.cr4 & X86_CR4_DE)
			return raise(vcpu, UD_VECTOR, false, 0);
		number += 2;
	}
	if (vcpu->vmcb->save.cpl)
		return raise_gp(vcpu);
	if (vcpu->dr7 & DR7_GD) {
		vcpu->dr7 &= ~DR7_GD;
		vcpu->dr6 |= DR6_BD;
		return raise(vcpu, DB_VECTOR, false, 0);
	}
	if (!length)
		return exit_emulation(vcpu);
	dr = number == 7 ? &vcpu->dr7 : number == 6 ? &vcpu->dr6 : &vcpu->db[number];
	if (write) {
		u64 value = code_bits(vcpu) == 64 ? *reg : (u32)*reg;

		if (number >= 6 && yakvm_check_dr(number, &value))
			return raise_gp(vcpu);
		*dr = value;
	} else {
		*reg = *dr;
	}
	return finish_at(vcpu, vcpu->regs.rip + length);
}

/* User space has the interrupt controller and wants to know when the task priority falls. */
static int handle_cr8_write(struct vcpu *vcpu)
{
	u32 before = vcpu->vmcb->control.int_ctl & V_TPR_MASK, length;
	u64 *reg;
	int result;

	length = special_move(vcpu, &reg);
	if (!length)
		return exit_emulation(vcpu);
	if (vcpu->vmcb->save.cpl || *reg > 15)
		return raise_gp(vcpu);
	vcpu->vmcb->control.int_ctl = (vcpu->vmcb->control.int_ctl & ~V_TPR_MASK) | *reg;
	result = finish_at(vcpu, vcpu->regs.rip + length);
	if (result == 1 && (vcpu->vmcb->control.int_ctl & V_TPR_MASK) < before) {
		vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
		return 0;
	}
	return result;
}

/* A PUSHF under the debugger's single step has pushed TF as well. */
static void hide_step(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	u64 top = vcpu->regs.gpr[RSP];
	u8 flags;

	if (code_bits(vcpu) != 64)
		top = (u32)save->ss.base + (save->ss.attrib & SVM_SELECTOR_DB_MASK ? (u32)top : (u16)top);
	if (!copy_linear(vcpu, top + 1, &flags, 1, 0, false)) {
		flags &= ~(X86_EFLAGS_TF >> 8);
		copy_linear(vcpu, top + 1, &flags, 1, YAKVM_WALK_WRITE, true);
	}
}

static int handle_db(struct vcpu *vcpu)
{
	u64 dr6 = vcpu->vmcb->save.dr6;

	/* The trap after the one instruction that an NMI had to wait for. */
	if (vcpu->nmi_step) {
		if (!(dr6 & DR_TRAP_BITS))
			return 1;
		dr6 &= ~(u64)DR_STEP;
		vcpu->dr6 |= dr6;
	}
	if (vcpu->pushes_flags)
		hide_step(vcpu);
	if (vcpu->debug.control & DEBUGGING)
		return exit_debug(vcpu, DB_VECTOR, dr6);
	return raise(vcpu, DB_VECTOR, false, 0);
}

static int handle_exit(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	struct kvm_run *run = vcpu->run;
	u32 code = control->exit_code;
	int result;

	switch (code) {
	case SVM_EXIT_INTR:		/* the host has handled it since */
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
	case SVM_EXIT_VINTR:		/* the window is open: vcpu_run looks */
		return 1;
	case SVM_EXIT_EXCP_BASE + MC_VECTOR:	/* enter() has called its handler */
		return 1;
	case SVM_EXIT_EXCP_BASE + AC_VECTOR:
		return raise(vcpu, AC_VECTOR, true, 0);
	case SVM_EXIT_EXCP_BASE + BP_VECTOR:
		return exit_debug(vcpu, BP_VECTOR, 0);
	case SVM_EXIT_EXCP_BASE + DB_VECTOR:
		return handle_db(vcpu);
	case SVM_EXIT_NPF:
		return handle_npf(vcpu);
	case SVM_EXIT_IOIO:
		return handle_io(vcpu);
	case SVM_EXIT_MSR:
		return handle_msr(vcpu);
	case SVM_EXIT_CPUID:
		return handle_cpuid(vcpu);
	case SVM_EXIT_HLT:
		result = skip(vcpu, 1);
		if (result >= 0)
			run->exit_reason = KVM_EXIT_HLT;
		return min(result, 0);
	case SVM_EXIT_SHUTDOWN:		/* registers are left as they are, for a post-mortem */
		run->exit_reason = KVM_EXIT_SHUTDOWN;
		return 0;
	case SVM_EXIT_PUSHF:		/* intercepted while TF is the debugger's: handle_db() corrects it */
		vmcb_intercept(vcpu, INTERCEPT_PUSHF, false);
		vcpu->pushes_flags = true;
		return 1;
	case SVM_EXIT_IRET:		/* NMIs stay blocked until it is complete */
		vmcb_intercept(vcpu, INTERCEPT_IRET, false);
		vcpu->nmi.leaving = true;
		vcpu->nmi.iret = vcpu_pc(vcpu);
		return 1;
	case SVM_EXIT_XSETBV:
		return handle_xsetbv(vcpu);
	case SVM_EXIT_RDTSCP:
		return handle_rdtscp(vcpu);
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_READ_DR7:
		return handle_dr(vcpu, code - SVM_EXIT_READ_DR0, false);
	case SVM_EXIT_WRITE_DR0 ... SVM_EXIT_WRITE_DR7:
		return handle_dr(vcpu, code - SVM_EXIT_WRITE_DR0, true);
	case SVM_EXIT_WRITE_CR8:
		return handle_cr8_write(vcpu);
	case SVM_EXIT_INVD:
	case SVM_EXIT_WBINVD:		/* memory is coherent */
		return skip(vcpu, 2);
	case SVM_EXIT_MONITOR:
	case SVM_EXIT_MWAIT:
		return skip(vcpu, 3);
	case SVM_EXIT_RDPMC:
		return raise_gp(vcpu);
	case SVM_EXIT_VMMCALL:		/* as KVM answers a hypercall that it does not know */
		vcpu->regs.gpr[RAX] = -1000;
		return skip(vcpu, 3);
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_RDPRU:
		return raise(vcpu, UD_VECTOR, false, 0);
	case (u32)SVM_EXIT_ERR:		/* VMRUN has refused the state */
		run->exit_reason = KVM_EXIT_FAIL_ENTRY;
		run->fail_entry.hardware_entry_failure_reason = code;
		run->fail_entry.cpu = vcpu->last_cpu;
		return 0;
	default:
		return exit_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
	}
}

/* ---- events: chapters 15.20 and 15.21 ---- */

static bool in_shadow(struct vcpu *vcpu)
{
	return vcpu->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK;
}

/* Whether the guest takes an interrupt now. */
static bool interruptible(struct vcpu *vcpu)
{
	return vcpu->regs.rflags & X86_EFLAGS_IF && !in_shadow(vcpu) && !vcpu->interrupt.injected &&
	       !vcpu->exception.injected && !vcpu->exception.pending && !vcpu->nmi.injected;
}

/* Chooses the event that the guest starts with. */
static void inject(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	bool nmi_waits;

	control->event_inj = 0;
	nmi_waits = vcpu->nmi.pending && !(vcpu->debug.control & KVM_GUESTDBG_BLOCKIRQ);
	if (nmi_waits && !vcpu->nmi.masked && !in_shadow(vcpu) && !vcpu->exception.injected &&
	    !vcpu->exception.pending && !vcpu->nmi.injected && !vcpu->interrupt.injected) {
		vcpu->nmi.pending--;
		vcpu->nmi.injected = true;
	}
	if (vcpu->exception.injected || vcpu->exception.pending) {
		control->event_inj = vcpu->exception.vector | SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_EXEPT;
		if (vcpu->exception.has_error)
			control->event_inj |= SVM_EVTINJ_VALID_ERR;
		control->event_inj_err = vcpu->exception.error;
	} else if (vcpu->nmi.injected) {
		control->event_inj = X86_TRAP_NMI | SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_NMI;
		vcpu->nmi.masked = true;
		vcpu->nmi.leaving = false;
		vmcb_intercept(vcpu, INTERCEPT_IRET, true);
	} else if (vcpu->interrupt.injected) {
		control->event_inj = vcpu->interrupt.vector | SVM_EVTINJ_VALID |
				     (vcpu->interrupt.soft ? SVM_EVTINJ_TYPE_SOFT : SVM_EVTINJ_TYPE_INTR);
	} else if (nmi_waits && (in_shadow(vcpu) || vcpu->nmi.leaving) &&
		   !(vcpu->regs.rflags & X86_EFLAGS_TF)) {
		/* One instruction more: its trap tells us. */
		vcpu->nmi_step = true;
		vcpu->regs.rflags |= X86_EFLAGS_TF;
	}

	/* A virtual interrupt is never taken: it is intercepted as soon as the guest could take it. */
	control->int_ctl &= ~V_IRQ_INJECTION_BITS_MASK;
	if (READ_ONCE(vcpu->run->request_interrupt_window) && !interruptible(vcpu))
		control->int_ctl |= V_IRQ_MASK | V_IGN_TPR_MASK;
	vmcb_intercept(vcpu, INTERCEPT_VINTR, control->int_ctl & V_IRQ_MASK);
}

/* After the exit: the event is delivered, unless the exit has cut its delivery short. */
static void delivered(struct vcpu *vcpu)
{
	u32 info = vcpu->vmcb->control.exit_int_info, injected = vcpu->vmcb->control.event_inj;

	if (vcpu->exception.injected || vcpu->exception.pending) {
		vcpu->exception.injected = vcpu->exception.pending = false;
	} else if (vcpu->nmi.injected) {
		vcpu->nmi.injected = false;
	} else if (vcpu->interrupt.injected) {
		vcpu->interrupt.injected = false;
	}
	vcpu->vmcb->control.event_inj = 0;
	if (vcpu->nmi.leaving && vcpu->nmi.iret != vcpu_pc(vcpu))
		vcpu->nmi.masked = vcpu->nmi.leaving = false;
	/* VMRUN itself has failed. */
	if (vcpu->vmcb->control.exit_code == (u32)SVM_EXIT_ERR)
		info = injected;
	if (!(info & SVM_EXITINTINFO_VALID))
		return;
	switch (info & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_NMI:
		vcpu->nmi.injected = true;
		break;
	case SVM_EXITINTINFO_TYPE_EXEPT:
		vcpu->exception.vector = info & SVM_EXITINTINFO_VEC_MASK;
		/* INT3 and INTO are executed again: RIP is still theirs. */
		if (vcpu->exception.vector == BP_VECTOR || vcpu->exception.vector == OF_VECTOR)
			break;
		vcpu->exception.injected = true;
		vcpu->exception.has_error = info & SVM_EXITINTINFO_VALID_ERR;
		vcpu->exception.error = vcpu->vmcb->control.exit_int_info_err;
		break;
	case SVM_EXITINTINFO_TYPE_INTR:
		vcpu->interrupt.injected = true;
		vcpu->interrupt.soft = false;
		vcpu->interrupt.vector = info & SVM_EXITINTINFO_VEC_MASK;
		break;
	default:			/* INT n is executed again, too */
		break;
	}
}

/* ---- into the guest ---- */

/* An ASID of its own on this CPU; a new one is how translations are forgotten. Chapter 15.16. */
static void choose_asid(struct vcpu *vcpu, struct svm_cpu *cpu, int number)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	u64 flushes = atomic64_read(&vcpu->vm->flushes);

	control->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	if (cpu->last_vcpu != vcpu->serial) {
		/* Branches that another guest has trained. */
		indirect_branch_prediction_barrier();
		cpu->last_vcpu = vcpu->serial;
	}
	if (vcpu->last_cpu == number && vcpu->asid_round == cpu->asid_round && vcpu->flushed == flushes &&
	    !vcpu->flush)
		return;
	if (cpu->next_asid >= asid_count) {
		cpu->next_asid = 1;
		cpu->asid_round++;
		control->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	}
	control->asid = cpu->next_asid++;
	vcpu->asid_round = cpu->asid_round;
	vcpu->last_cpu = number;
	vcpu->flushed = flushes;
	vcpu->flush = false;
}

static void load_debug_registers(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	bool breakpoints = vcpu->debug.control & KVM_GUESTDBG_USE_HW_BP;
	__u64 *db = breakpoints ? vcpu->debug.arch.debugreg : vcpu->db;

	save->dr6 = vcpu->debug.control & DEBUGGING || vcpu->nmi_step ? DR6_RESERVED : vcpu->dr6;
	save->dr7 = breakpoints ? (u32)vcpu->debug.arch.debugreg[7] | 0x400 : vcpu->dr7;
	if (breakpoints)
		save->dr7 &= ~DR7_GD;
	if (hw_breakpoint_active())
		set_debugreg(0, 7);
	/* VMRUN loads DR6 and DR7 only. */
	if (save->dr7 & DR_GLOBAL_ENABLE_MASK || save->dr7 & DR_LOCAL_ENABLE_MASK) {
		set_debugreg(db[0], 0);
		set_debugreg(db[1], 1);
		set_debugreg(db[2], 2);
		set_debugreg(db[3], 3);
	}
}

/* One VMRUN, with interrupts off. */
static void enter(struct vcpu *vcpu, struct svm_cpu *cpu)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	u32 pkru = read_pkru();

	save->rax = vcpu->regs.gpr[RAX];
	save->rsp = vcpu->regs.gpr[RSP];
	save->rip = vcpu->regs.rip;
	save->rflags = vcpu->regs.rflags;
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	load_debug_registers(vcpu);
	/* Whatever CR4.OSXSAVE is: the guest may set it and read XCR0 without an exit. */
	if (vcpu->xcr0 != host_xcr0 && host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, vcpu->xcr0);

	context_tracking_guest_enter();
	yakvm_enter(__pa(vcpu->vmcb), vcpu->regs.gpr, page_to_phys(cpu->host_state));
	context_tracking_guest_exit();
	/* A machine check is this CPU's. */
	if (vcpu->vmcb->control.exit_code == SVM_EXIT_EXCP_BASE + MC_VECTOR)
		asm volatile("int $18");

	/* QEMU does not intercept XSETBV: the guest may have changed it. */
	if (host_xcr0)
		vcpu->xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (vcpu->xcr0 != host_xcr0 && host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
	write_pkru(pkru);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	if (!(vcpu->debug.control & DEBUGGING) && !vcpu->nmi_step)
		vcpu->dr6 = save->dr6;
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
	vcpu->regs.gpr[RAX] = save->rax;
	vcpu->regs.gpr[RSP] = save->rsp;
	vcpu->regs.rip = save->rip;
	vcpu->regs.rflags = save->rflags;
}

/* Into the guest once, and what has come of it. */
static int trip(struct vcpu *vcpu)
{
	struct svm_cpu *cpu;
	int number, result;

	if (signal_pending(current)) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		return -EINTR;
	}
	cond_resched();

	local_irq_disable();
	number = smp_processor_id();
	cpu = this_cpu_ptr(cpus);
	if (!cpu->on) {
		local_irq_enable();
		return -EIO;	/* the machine shuts down */
	}
	/* The other half of npt_flush(): from here on it waits for us, or we see its flush. */
	WRITE_ONCE(vcpu->running_on, number);
	smp_mb();
	if (signal_pending(current) || need_resched()) {
		WRITE_ONCE(vcpu->running_on, -1);
		local_irq_enable();
		return 1;
	}
	choose_asid(vcpu, cpu, number);
	inject(vcpu);
	enter(vcpu, cpu);
	WRITE_ONCE(vcpu->running_on, -1);
	local_irq_enable();	/* an interrupt that has ended the guest is taken here */

	if (vcpu->nmi_step)
		vcpu->regs.rflags &= ~X86_EFLAGS_TF;
	delivered(vcpu);
	result = handle_exit(vcpu);
	vcpu->nmi_step = false;
	return result;
}

static int run_loop(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u64 cr8 = READ_ONCE(run->cr8);
	bool stepping;
	int result;

	if (cr8 > 15)
		return -EINVAL;
	vcpu->vmcb->control.int_ctl = (vcpu->vmcb->control.int_ctl & ~V_TPR_MASK) | cr8;
	result = complete_pending(vcpu);
	if (result <= 0)
		return result;
	if (READ_ONCE(run->immediate_exit))
		return -EINTR;

	run->exit_reason = KVM_EXIT_UNKNOWN;
	/* Once: a handler that the instruction has entered is not stepped, whatever exits it causes. */
	stepping = vcpu->debug.control & KVM_GUESTDBG_SINGLESTEP && !(vcpu->regs.rflags & X86_EFLAGS_TF);
	if (stepping)
		vcpu->regs.rflags |= X86_EFLAGS_TF;
	vcpu->pushes_flags = false;
	vmcb_intercept(vcpu, INTERCEPT_PUSHF, stepping);
	do {
		if (READ_ONCE(run->request_interrupt_window) && interruptible(vcpu)) {
			run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			result = 0;
			break;
		}
		result = trip(vcpu);
	} while (result > 0);
	if (stepping)
		vcpu->regs.rflags &= ~X86_EFLAGS_TF;
	return result;
}

/* KVM_RUN. */
int vcpu_run(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int result;

	if (vcpu->sigset_active)
		sigprocmask(SIG_SETMASK, &vcpu->sigset, &current->real_blocked);
	fpu_swap_kvm_fpstate(&vcpu->fpu, true);
	result = run_loop(vcpu);
	fpu_swap_kvm_fpstate(&vcpu->fpu, false);
	if (vcpu->sigset_active) {
		sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
		sigemptyset(&current->real_blocked);
	}

	run->if_flag = !!(vcpu->regs.rflags & X86_EFLAGS_IF);
	run->flags = 0;
	run->cr8 = vcpu->vmcb->control.int_ctl & V_TPR_MASK;
	run->apic_base = vcpu->apic_base;
	run->ready_for_interrupt_injection = interruptible(vcpu);
	return result;
}
