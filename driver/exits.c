// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * What to do about each exit. AMD APM volume 2, chapters 15.7 to 15.14 (intercepts) and appendix C (exit codes).
 *
 * A handler returns 1 (go on), 0 (user space has something to do: run->exit_reason) or an error.
 */
#include <linux/mm.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/trapnr.h>
#include "yakvm.h"

#define DR6_BD		BIT_ULL(13)	/* chapter 13.1.1.3: a MOV to or from a debug register */

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

int handle_exit(struct vcpu *vcpu)
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
		if (result == 1 && vcpu->interrupt.held && vcpu->regs.rflags & X86_EFLAGS_IF)
			return 1;
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
