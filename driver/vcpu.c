// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The state of a vCPU, and the ioctls that read and write it. AMD APM volume 2, appendix B (the VMCB holds
 * most of it), chapter 14.1 (state after reset), 13.1 (debug registers).
 */
#include <linux/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/msr.h>
#include <asm/trapnr.h>
#include <asm/tsc.h>
#include "yakvm.h"

/* The registers of the VMCB's save area are 16 bytes apart, in the order of enum yakvm_segment_name. */
static struct yakvm_vmcb_segment *vmcb_segment(struct vcpu *vcpu, u32 name)
{
	BUILD_BUG_ON(sizeof(struct yakvm_vmcb_segment) != sizeof(struct vmcb_seg));
	return (struct yakvm_vmcb_segment *)&vcpu->vmcb->save.es + name;
}

/* ---- creation ---- */

static void set_segment(struct vcpu *vcpu, u32 name, u16 selector, u64 base, u8 type, u8 s)
{
	struct kvm_segment segment = {
		.selector = selector, .base = base, .limit = 0xffff, .type = type, .s = s, .present = 1,
	};

	yakvm_segment_to_vmcb(&segment, vmcb_segment(vcpu, name));
}

/* What ends the guest: what belongs to the host, and what is emulated. */
static void set_intercepts(struct vcpu *vcpu)
{
	static const u8 bits[] = {
		INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_SMI, INTERCEPT_INIT, INTERCEPT_SHUTDOWN,
		INTERCEPT_IOIO_PROT, INTERCEPT_MSR_PROT, INTERCEPT_CPUID, INTERCEPT_HLT, INTERCEPT_RDPMC,
		INTERCEPT_INVD, INTERCEPT_WBINVD, INTERCEPT_MONITOR, INTERCEPT_MWAIT, INTERCEPT_XSETBV,
		INTERCEPT_RDTSCP, INTERCEPT_RDPRU, INTERCEPT_CR8_WRITE,
		/* There is no SVM in the guest. */
		INTERCEPT_VMRUN, INTERCEPT_VMMCALL, INTERCEPT_VMLOAD, INTERCEPT_VMSAVE, INTERCEPT_STGI,
		INTERCEPT_CLGI, INTERCEPT_SKINIT, INTERCEPT_INVLPGA,
		/* A guest that raises #AC or #DB while it is delivered would never be interrupted. */
		INTERCEPT_EXCEPTION_OFFSET + AC_VECTOR, INTERCEPT_EXCEPTION_OFFSET + DB_VECTOR,
		INTERCEPT_EXCEPTION_OFFSET + MC_VECTOR,
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bits); i++)
		vmcb_intercept(vcpu, bits[i], true);
	vcpu->vmcb->control.intercepts[INTERCEPT_DR] = ~0;
}

static void reset(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	struct yakvm_msr msr;
	u32 name, n;

	set_intercepts(vcpu);
	set_limits(vcpu);
	control->iopm_base_pa = __pa(port_bitmap);
	control->msrpm_base_pa = __pa(msr_bitmap);
	control->int_ctl = V_INTR_MASKING_MASK;
	control->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	control->nested_cr3 = vcpu->vm->nested_cr3;
	control->tsc_offset = vcpu->vm->tsc_offset;

	for (name = YAKVM_ES; name <= YAKVM_GS; name++)
		set_segment(vcpu, name, 0, 0, 3, 1);
	set_segment(vcpu, YAKVM_CS, 0xf000, 0xffff0000, 0xb, 1);
	set_segment(vcpu, YAKVM_LDTR, 0, 0, 2, 0);
	set_segment(vcpu, YAKVM_TR, 0, 0, 3, 0);
	save->gdtr.limit = 0xffff;
	save->idtr.limit = 0xffff;
	save->cr0 = X86_CR0_NW | X86_CR0_CD | X86_CR0_ET;
	save->efer = EFER_SVME;
	for (n = 0; yakvm_msr_at(n, &msr); n++)
		if (msr.kind == YAKVM_MSR_VALUE && msr.vmcb_offset)
			*(u64 *)((void *)vcpu->vmcb + msr.vmcb_offset) = msr.reset;
		else if (n < YAKVM_MSR_COUNT)
			vcpu->msrs[n] = msr.reset;
	vcpu->apic_base = 0xfee00000 | MSR_IA32_APICBASE_ENABLE;
	if (vcpu->id == vcpu->vm->boot_cpu)
		vcpu->apic_base |= MSR_IA32_APICBASE_BSP;

	vcpu->regs.rip = 0xfff0;
	vcpu->regs.rflags = X86_EFLAGS_FIXED;
	vcpu->regs.gpr[RDX] = 0x600;
	vcpu->dr6 = DR6_RESERVED;
	vcpu->dr7 = 0x400;
	vcpu->xcr0 = XFEATURE_MASK_FP;
	vcpu->running_on = -1;
	vcpu->last_cpu = -1;
}

struct vcpu *vcpu_create(struct vm *vm, u32 id)
{
	static atomic64_t serial;
	struct vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);

	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->serial = atomic64_inc_return(&serial);
	mutex_init(&vcpu->mutex);
	vcpu->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	vcpu->port_data = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	vcpu->vmcb = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vcpu->run || !vcpu->port_data || !vcpu->vmcb || !fpu_alloc_guest_fpstate(&vcpu->fpu)) {
		vcpu_destroy(vcpu);
		return ERR_PTR(-ENOMEM);
	}
	reset(vcpu);
	return vcpu;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	if (vcpu->fpu.fpstate)
		fpu_free_guest_fpstate(&vcpu->fpu);
	free_page((unsigned long)vcpu->run);
	free_page((unsigned long)vcpu->port_data);
	free_page((unsigned long)vcpu->vmcb);
	window_free(&vcpu->window);
	kvfree(vcpu->cpuid);
	kfree(vcpu);
}

/* ---- registers ---- */

/* struct kvm_regs begins with the general registers, in this order, and ends with RIP and RFLAGS. */
static const u8 regs_order[16] = { RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, 8, 9, 10, 11, 12, 13, 14, 15 };

static void get_regs(struct vcpu *vcpu, struct kvm_regs *regs)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(regs_order); i++)
		(&regs->rax)[i] = vcpu->regs.gpr[regs_order[i]];
	regs->rip = vcpu->regs.rip;
	regs->rflags = vcpu->regs.rflags;
}

static void set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(regs_order); i++)
		vcpu->regs.gpr[regs_order[i]] = (&regs->rax)[i];
	vcpu->regs.rip = regs->rip;
	vcpu->regs.rflags = regs->rflags | X86_EFLAGS_FIXED;
	vcpu->exception.pending = false;
}

/* Where a segment is in struct kvm_sregs, by enum yakvm_segment_name; the two tables are no segments there. */
static struct kvm_segment *sregs_segment(struct kvm_sregs *sregs, u32 name)
{
	switch (name) {
	case YAKVM_ES: return &sregs->es;
	case YAKVM_CS: return &sregs->cs;
	case YAKVM_SS: return &sregs->ss;
	case YAKVM_DS: return &sregs->ds;
	case YAKVM_FS: return &sregs->fs;
	case YAKVM_GS: return &sregs->gs;
	case YAKVM_LDTR: return &sregs->ldt;
	case YAKVM_TR: return &sregs->tr;
	default: return NULL;
	}
}

void vcpu_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	u32 name;

	memset(sregs, 0, sizeof(*sregs));
	for (name = YAKVM_ES; name <= YAKVM_TR; name++)
		if (sregs_segment(sregs, name))
			yakvm_segment_from_vmcb(vmcb_segment(vcpu, name), name, save->cpl,
						sregs_segment(sregs, name));
	sregs->gdt.base = save->gdtr.base;
	sregs->gdt.limit = save->gdtr.limit;
	sregs->idt.base = save->idtr.base;
	sregs->idt.limit = save->idtr.limit;
	sregs->cr0 = save->cr0;
	sregs->cr2 = save->cr2;
	sregs->cr3 = save->cr3;
	sregs->cr4 = save->cr4;
	sregs->cr8 = vcpu->vmcb->control.int_ctl & V_TPR_MASK;
	sregs->efer = save->efer & ~EFER_SVME;
	sregs->apic_base = vcpu->apic_base;
	if (vcpu->interrupt.injected && !vcpu->interrupt.soft)
		__set_bit(vcpu->interrupt.vector, (unsigned long *)sregs->interrupt_bitmap);
}

static int set_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	u32 name, vector;
	int error;

	error = yakvm_check_sregs(sregs, &vcpu->limits);
	if (!error)
		error = vcpu_set_msr(vcpu, MSR_IA32_APICBASE, sregs->apic_base, false);
	if (error)
		return -EINVAL;
	for (name = YAKVM_ES; name <= YAKVM_TR; name++)
		if (sregs_segment(sregs, name))
			yakvm_segment_to_vmcb(sregs_segment(sregs, name), vmcb_segment(vcpu, name));
	save->cpl = sregs->ss.dpl & 3;
	save->gdtr.base = sregs->gdt.base;
	save->gdtr.limit = sregs->gdt.limit;
	save->idtr.base = sregs->idt.base;
	save->idtr.limit = sregs->idt.limit;
	save->cr0 = sregs->cr0 | X86_CR0_ET;
	save->cr2 = sregs->cr2;
	save->cr3 = sregs->cr3;
	save->cr4 = sregs->cr4;
	save->efer = sregs->efer | EFER_SVME;
	vcpu->vmcb->control.int_ctl &= ~V_TPR_MASK;
	vcpu->vmcb->control.int_ctl |= sregs->cr8 & V_TPR_MASK;
	vcpu->flush = true;
	vector = find_first_bit((unsigned long *)sregs->interrupt_bitmap, KVM_NR_INTERRUPTS);
	if (vector < KVM_NR_INTERRUPTS) {
		vcpu->interrupt.injected = true;
		vcpu->interrupt.soft = false;
		vcpu->interrupt.vector = vector;
	}
	return 0;
}

/* ---- debugging and events ---- */

static void get_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs)
{
	memset(regs, 0, sizeof(*regs));
	memcpy(regs->db, vcpu->db, sizeof(regs->db));
	regs->dr6 = vcpu->dr6;
	regs->dr7 = vcpu->dr7;
}

static int set_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs)
{
	if (regs->flags || yakvm_check_dr(6, &regs->dr6) || yakvm_check_dr(7, &regs->dr7))
		return -EINVAL;
	memcpy(vcpu->db, regs->db, sizeof(regs->db));
	vcpu->dr6 = regs->dr6;
	vcpu->dr7 = regs->dr7;
	return 0;
}

static int set_guest_debug(struct vcpu *vcpu, const struct kvm_guest_debug *debug)
{
	u32 inject = debug->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP);

	if (inject) {
		if (vcpu->exception.pending || vcpu->exception.injected)
			return -EBUSY;
		vcpu_queue_exception(vcpu, inject & KVM_GUESTDBG_INJECT_DB ? DB_VECTOR : BP_VECTOR, false, 0);
	}
	vcpu->debug = *debug;
	if (!(debug->control & KVM_GUESTDBG_ENABLE))
		vcpu->debug.control = 0;
	vmcb_intercept(vcpu, INTERCEPT_EXCEPTION_OFFSET + BP_VECTOR, vcpu->debug.control & KVM_GUESTDBG_USE_SW_BP);
	return 0;
}

static void get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events)
{
	memset(events, 0, sizeof(*events));
	events->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	events->exception.injected = vcpu->exception.injected || vcpu->exception.pending;
	events->exception.pending = vcpu->exception.pending;
	events->exception.nr = vcpu->exception.vector;
	events->exception.has_error_code = vcpu->exception.has_error;
	events->exception.error_code = vcpu->exception.error;
	events->interrupt.injected = vcpu->interrupt.injected && !vcpu->interrupt.soft;
	events->interrupt.nr = vcpu->interrupt.vector;
	if (vcpu->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK)
		events->interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI;
	events->nmi.injected = vcpu->nmi.injected;
	events->nmi.pending = vcpu->nmi.pending;
	events->nmi.masked = vcpu->nmi.masked;
}

static int set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
	if (events->flags & ~(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			      KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM))
		return -EINVAL;
	if ((events->exception.injected || events->exception.pending) &&
	    (events->exception.nr > 31 || events->exception.nr == X86_TRAP_NMI))
		return -EINVAL;
	if (events->flags & KVM_VCPUEVENT_VALID_SMM && events->smi.smm)
		return -EINVAL;
	vcpu->exception.injected = events->exception.injected;
	vcpu->exception.pending = false;
	vcpu->exception.vector = events->exception.nr;
	vcpu->exception.has_error = events->exception.has_error_code;
	vcpu->exception.error = events->exception.error_code;
	vcpu->interrupt.injected = events->interrupt.injected;
	vcpu->interrupt.held = false;
	vcpu->interrupt.soft = events->interrupt.soft;
	vcpu->interrupt.vector = events->interrupt.nr;
	if (events->flags & KVM_VCPUEVENT_VALID_SHADOW) {
		vcpu->vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
		if (events->interrupt.shadow)
			vcpu->vmcb->control.int_state |= SVM_INTERRUPT_SHADOW_MASK;
	}
	vcpu->nmi.injected = events->nmi.injected;
	if (events->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		vcpu->nmi.pending = min_t(u8, events->nmi.pending, 2);
	vcpu->nmi.masked = events->nmi.masked;
	vcpu->nmi.leaving = false;
	vmcb_intercept(vcpu, INTERCEPT_IRET, vcpu->nmi.masked);
	return 0;
}

static int set_sigmask(struct vcpu *vcpu, struct kvm_signal_mask __user *user)
{
	u32 length;

	vcpu->sigset_active = false;
	if (!user)
		return 0;
	if (get_user(length, &user->len))
		return -EFAULT;
	if (length != sizeof(sigset_t))
		return -EINVAL;
	if (copy_from_user(&vcpu->sigset, user->sigset, sizeof(sigset_t)))
		return -EFAULT;
	sigdelsetmask(&vcpu->sigset, sigmask(SIGKILL) | sigmask(SIGSTOP));
	vcpu->sigset_active = true;
	return 0;
}

/* ---- address translation ---- */

/* Walks the guest's page tables. -EFAULT: the access raises #PF(walk.error_code); -EINVAL: #GP. */
int vcpu_translate(struct vcpu *vcpu, u64 linear, u32 access, struct yakvm_walk *walk)
{
	struct vmcb_save_area *save = &vcpu->vmcb->save;
	u64 entry;
	int error;

	*walk = (struct yakvm_walk) {
		.linear = linear, .cr0 = save->cr0, .cr3 = save->cr3, .cr4 = save->cr4, .efer = save->efer,
		.rflags = vcpu->regs.rflags, .access = access, .physical_bits = vcpu->limits.physical_bits,
	};
	error = yakvm_walk_begin(walk);
	while (!error && walk->entry_size) {
		/* A table outside of memory has no entries. */
		entry = 0;
		memory_copy(vcpu->vm, walk->gpa, &entry, walk->entry_size, false);
		error = yakvm_walk_step(walk, entry);
	}
	return error;
}

static void translate(struct vcpu *vcpu, struct kvm_translation *translation)
{
	struct yakvm_walk walk;

	translation->valid = !vcpu_translate(vcpu, translation->linear_address, 0, &walk);
	translation->physical_address = translation->valid ? walk.gpa : ~0ULL;
	translation->writeable = 1;
	translation->usermode = 0;
}

/* ---- the ioctls ---- */

long vcpu_ioctl(struct vcpu *vcpu, unsigned int number, unsigned long argument)
{
	void __user *user = (void __user *)argument;
	size_t size = _IOC_SIZE(number);
	union {
		struct kvm_regs regs;
		struct kvm_sregs sregs;
		struct kvm_fpu fpu;
		struct kvm_xcrs xcrs;
		struct kvm_debugregs debugregs;
		struct kvm_guest_debug debug;
		struct kvm_vcpu_events events;
		struct kvm_mp_state mp_state;
		struct kvm_interrupt interrupt;
		struct kvm_translation translation;
	} *data;
	long result = 0;

	/* First those without a plain struct. */
	switch (number) {
	case KVM_RUN:
		return argument ? -EINVAL : vcpu_run(vcpu);
	case KVM_NMI:
		vcpu->nmi.pending = min(vcpu->nmi.pending + 1, vcpu->nmi.masked ? 1 : 2);
		return 0;
	case KVM_GET_TSC_KHZ:		/* the guest's time stamp counter runs at the host's rate */
		return tsc_khz;
	case KVM_GET_MSRS:
		return access_msrs(vcpu, user, false);
	case KVM_SET_MSRS:
		return access_msrs(vcpu, user, true);
	case KVM_SET_CPUID2:
		return set_cpuid(vcpu, user);
	case KVM_GET_CPUID2:
		return get_cpuid(vcpu, user);
	case KVM_GET_XSAVE:
		return get_xsave(vcpu, user);
	case KVM_SET_XSAVE:
		return set_xsave(vcpu, user);
	case KVM_SET_SIGNAL_MASK:
		return set_sigmask(vcpu, user);
	}
	if (size > sizeof(*data))
		return -EINVAL;
	data = kzalloc(sizeof(*data), GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	if (_IOC_DIR(number) & _IOC_WRITE && copy_from_user(data, user, size)) {
		kfree(data);
		return -EFAULT;
	}
	switch (number) {
	case KVM_GET_REGS:
		get_regs(vcpu, &data->regs);
		break;
	case KVM_SET_REGS:
		set_regs(vcpu, &data->regs);
		break;
	case KVM_GET_SREGS:
		vcpu_get_sregs(vcpu, &data->sregs);
		break;
	case KVM_SET_SREGS:
		result = set_sregs(vcpu, &data->sregs);
		break;
	case KVM_GET_FPU:
		get_fpu(vcpu, &data->fpu);
		break;
	case KVM_SET_FPU:
		result = set_fpu(vcpu, &data->fpu);
		break;
	case KVM_GET_XCRS:
		data->xcrs = (struct kvm_xcrs) { .nr_xcrs = 1, .xcrs[0].value = vcpu->xcr0 };
		break;
	case KVM_SET_XCRS:
		result = set_xcrs(vcpu, &data->xcrs);
		break;
	case KVM_GET_DEBUGREGS:
		get_debugregs(vcpu, &data->debugregs);
		break;
	case KVM_SET_DEBUGREGS:
		result = set_debugregs(vcpu, &data->debugregs);
		break;
	case KVM_SET_GUEST_DEBUG:
		result = set_guest_debug(vcpu, &data->debug);
		break;
	case KVM_GET_VCPU_EVENTS:
		get_events(vcpu, &data->events);
		break;
	case KVM_SET_VCPU_EVENTS:
		result = set_events(vcpu, &data->events);
		break;
	case KVM_GET_MP_STATE:
		data->mp_state.mp_state = KVM_MP_STATE_RUNNABLE;
		break;
	case KVM_SET_MP_STATE:
		/* A halted vCPU is user space's affair, as in KVM without its own interrupt controller. */
		result = data->mp_state.mp_state == KVM_MP_STATE_RUNNABLE ? 0 : -EINVAL;
		break;
	case KVM_INTERRUPT:
		if (data->interrupt.irq >= KVM_NR_INTERRUPTS) {
			result = -EINVAL;
			break;
		}
		vcpu->interrupt.injected = true;
		vcpu->interrupt.soft = false;
		vcpu->interrupt.vector = data->interrupt.irq;
		break;
	case KVM_TRANSLATE:
		translate(vcpu, &data->translation);
		break;
	default:
		result = -EINVAL;
	}
	if (!result && _IOC_DIR(number) & _IOC_READ && copy_to_user(user, data, size))
		result = -EFAULT;
	kfree(data);
	return result;
}
