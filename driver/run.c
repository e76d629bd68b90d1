// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * KVM_RUN: into the guest and back. AMD APM volume 2, chapters 15.5 and 15.6 (VMRUN and #VMEXIT), 15.16 (ASIDs).
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

/* Whether DR6 in the guest is not the guest's. */
static bool owns_dr6(struct vcpu *vcpu)
{
	return vcpu->debug.control & DEBUGGING || vcpu->nmi_step || vcpu->window.open;
}

static void load_debug_registers(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	bool breakpoints = vcpu->debug.control & KVM_GUESTDBG_USE_HW_BP;
	__u64 *db = breakpoints ? vcpu->debug.arch.debugreg : vcpu->db;

	save->dr6 = owns_dr6(vcpu) ? DR6_RESERVED : vcpu->dr6;
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
	if (host_xss)
		wrmsrl(MSR_IA32_XSS, 0);

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
	if (host_xss)
		wrmsrl(MSR_IA32_XSS, host_xss);
	write_pkru(pkru);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	if (!owns_dr6(vcpu))
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

/* An instruction that has begun with a device is not left in the middle. */
static bool interrupted(struct vcpu *vcpu)
{
	return vcpu->window.open ? fatal_signal_pending(current) : signal_pending(current);
}

/* Into the guest once, and what has come of it. */
static int trip(struct vcpu *vcpu)
{
	struct svm_cpu *cpu;
	int number, result;

	if (interrupted(vcpu)) {
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
	if (interrupted(vcpu) || need_resched()) {
		WRITE_ONCE(vcpu->running_on, -1);
		local_irq_enable();
		return 1;
	}
	if (vcpu->window.open)
		window_enter(vcpu);
	else
		inject(vcpu);
	choose_asid(vcpu, cpu, number);
	enter(vcpu, cpu);
	WRITE_ONCE(vcpu->running_on, -1);
	local_irq_enable();	/* an interrupt that has ended the guest is taken here */

	if (vcpu->window.open)
		return window_exit(vcpu);
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
	int result;

	if (cr8 > 15)
		return -EINVAL;
	vcpu->vmcb->control.int_ctl = (vcpu->vmcb->control.int_ctl & ~V_TPR_MASK) | cr8;
	result = complete_pending(vcpu);
	while (result > 0 && vcpu->window.open)
		result = trip(vcpu);
	if (result <= 0)
		return result;
	if (READ_ONCE(run->immediate_exit))
		return -EINTR;

	run->exit_reason = KVM_EXIT_UNKNOWN;
	/* Once: a handler that the instruction has entered is not stepped, whatever exits it causes. */
	vcpu->stepping = vcpu->debug.control & KVM_GUESTDBG_SINGLESTEP && !(vcpu->regs.rflags & X86_EFLAGS_TF);
	if (vcpu->stepping)
		vcpu->regs.rflags |= X86_EFLAGS_TF;
	vcpu->pushes_flags = false;
	vmcb_intercept(vcpu, INTERCEPT_PUSHF, vcpu->stepping);
	do {
		if (READ_ONCE(run->request_interrupt_window) && interruptible(vcpu)) {
			run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			result = 0;
			break;
		}
		result = trip(vcpu);
	} while (result > 0);
	if (vcpu->stepping)
		vcpu->regs.rflags &= ~X86_EFLAGS_TF;
	vcpu->stepping = false;
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
