// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The x87 and vector registers, which the kernel keeps for us (struct fpu_guest). AMD APM volume 2, chapter 11
 * (FXSAVE, XSAVE, XCR0).
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/fpu/api.h>
#include "yakvm.h"

/* KVM_GET_FPU and KVM_SET_FPU: the part of the state that FXSAVE has. */
void get_fpu(struct vcpu *vcpu, struct kvm_fpu *fpu)
{
	struct fxregs_state *image = &vcpu->fpu.fpstate->regs.fxsave;

	memset(fpu, 0, sizeof(*fpu));
	memcpy(fpu->fpr, image->st_space, sizeof(fpu->fpr));
	memcpy(fpu->xmm, image->xmm_space, sizeof(fpu->xmm));
	fpu->fcw = image->cwd;
	fpu->fsw = image->swd;
	fpu->ftwx = image->twd;
	fpu->last_opcode = image->fop;
	fpu->last_ip = image->rip;
	fpu->last_dp = image->rdp;
	fpu->mxcsr = image->mxcsr;
}

int set_fpu(struct vcpu *vcpu, const struct kvm_fpu *fpu)
{
	struct fxregs_state *image = &vcpu->fpu.fpstate->regs.fxsave;

	/* A reserved bit would raise #GP when the kernel loads the state. */
	if (fpu->mxcsr & ~0xffff)
		return -EINVAL;
	memcpy(image->st_space, fpu->fpr, sizeof(fpu->fpr));
	memcpy(image->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	image->cwd = fpu->fcw;
	image->swd = fpu->fsw;
	image->twd = fpu->ftwx;
	image->fop = fpu->last_opcode;
	image->rip = fpu->last_ip;
	image->rdp = fpu->last_dp;
	image->mxcsr = fpu->mxcsr;
	if (boot_cpu_has(X86_FEATURE_XSAVE))
		vcpu->fpu.fpstate->regs.xsave.header.xfeatures |= XFEATURE_MASK_FPSSE;
	return 0;
}

int get_xsave(struct vcpu *vcpu, struct kvm_xsave __user *user)
{
	void *image = kzalloc(sizeof(struct kvm_xsave), GFP_KERNEL);
	int error = -ENOMEM;

	if (image) {
		fpu_copy_guest_fpstate_to_uabi(&vcpu->fpu, image, sizeof(struct kvm_xsave), guest_xcr0, 0);
		error = copy_to_user(user, image, sizeof(struct kvm_xsave)) ? -EFAULT : 0;
	}
	kfree(image);
	return error;
}

int set_xsave(struct vcpu *vcpu, struct kvm_xsave __user *user)
{
	void *image = memdup_user(user, sizeof(struct kvm_xsave));
	int error;
	u32 pkru;

	if (IS_ERR(image))
		return PTR_ERR(image);
	error = fpu_copy_uabi_to_guest_fpstate(&vcpu->fpu, image, guest_xcr0, &pkru);
	kfree(image);
	return error;
}

int set_xcrs(struct vcpu *vcpu, const struct kvm_xcrs *xcrs)
{
	u32 i;

	if (xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
		return -EINVAL;
	for (i = 0; i < xcrs->nr_xcrs; i++)
		if (xcrs->xcrs[i].xcr == 0) {
			if (yakvm_check_xcr0(xcrs->xcrs[i].value, guest_xcr0))
				return -EINVAL;
			vcpu->xcr0 = xcrs->xcrs[i].value;
			break;
		}
	return 0;
}
