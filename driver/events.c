// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Exceptions, interrupts and NMIs that the guest starts with. AMD APM volume 2, chapters 15.20 (event injection)
 * and 15.21 (interrupts).
 */
#include <asm/trapnr.h>
#include "yakvm.h"

static bool in_shadow(struct vcpu *vcpu)
{
	return vcpu->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK;
}

static bool takes_interrupts(struct vcpu *vcpu)
{
	return vcpu->regs.rflags & X86_EFLAGS_IF && !in_shadow(vcpu);
}

/* Whether the guest takes one more interrupt now. */
bool interruptible(struct vcpu *vcpu)
{
	return takes_interrupts(vcpu) && !vcpu->interrupt.injected &&
	       !vcpu->exception.injected && !vcpu->exception.pending && !vcpu->nmi.injected &&
	       !vcpu->window.open;
}

/* What the processor does at an exception of its own: chapter 3.1.6 (RF in the frame of a fault), 13.1.1.4 (GD). */
static void prepare_frame(struct vcpu *vcpu)
{
	if (vcpu->exception.vector == DB_VECTOR)
		vcpu->dr7 &= ~DR7_GD;
	else if (vcpu->exception.vector != BP_VECTOR)
		vcpu->regs.rflags |= X86_EFLAGS_RF;
}

/* Chooses the event that the guest starts with. */
void inject(struct vcpu *vcpu)
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
		if (vcpu->exception.pending)
			prepare_frame(vcpu);
		/* An interrupt that was given before the exception came waits until the handler allows it. */
		vcpu->interrupt.held = vcpu->interrupt.injected;
	} else if (vcpu->nmi.injected) {
		control->event_inj = X86_TRAP_NMI | SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_NMI;
		vcpu->interrupt.held = vcpu->interrupt.injected;
		vcpu->nmi.masked = true;
		vcpu->nmi.leaving = false;
		vmcb_intercept(vcpu, INTERCEPT_IRET, true);
	} else if (vcpu->interrupt.injected && (!vcpu->interrupt.held || takes_interrupts(vcpu))) {
		vcpu->interrupt.held = false;
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
	if (vcpu->interrupt.held || (READ_ONCE(vcpu->run->request_interrupt_window) && !interruptible(vcpu)))
		control->int_ctl |= V_IRQ_MASK | V_IGN_TPR_MASK;
	vmcb_intercept(vcpu, INTERCEPT_VINTR, control->int_ctl & V_IRQ_MASK);
}

/* After the exit: the event is delivered, unless the exit has cut its delivery short. */
void delivered(struct vcpu *vcpu)
{
	u32 info = vcpu->vmcb->control.exit_int_info, injected = vcpu->vmcb->control.event_inj;

	if (vcpu->exception.injected || vcpu->exception.pending) {
		vcpu->exception.injected = vcpu->exception.pending = false;
	} else if (vcpu->nmi.injected) {
		vcpu->nmi.injected = false;
	} else if (!vcpu->interrupt.held) {
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
