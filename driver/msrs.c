// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * MSRs and CPUID of a vCPU; core/ has the policy. AMD APM volume 2, chapter 3.2 and appendix A (MSRs); volume 3,
 * appendix D (CPUID).
 */
#include <linux/mm.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include <asm/tsc.h>
#include "yakvm.h"

/* What the guest may set depends on its CPUID. */
void set_limits(struct vcpu *vcpu)
{
	static const struct kvm_cpuid_entry2 none;
	const struct kvm_cpuid_entry2 *leaf1 = vcpu_cpuid(vcpu, 1, 0) ?: &none;
	const struct kvm_cpuid_entry2 *leaf7 = vcpu_cpuid(vcpu, 7, 0) ?: &none;
	const struct kvm_cpuid_entry2 *extended1 = vcpu_cpuid(vcpu, 0x80000001, 0) ?: &none;
	const struct kvm_cpuid_entry2 *extended8 = vcpu_cpuid(vcpu, 0x80000008, 0) ?: &none;

	yakvm_limits(leaf1->ecx, leaf7->ebx, leaf7->ecx, extended1->ecx, extended1->edx, extended8->eax,
		     &vcpu->limits);
}

static u64 *msr_place(struct vcpu *vcpu, const struct yakvm_msr *msr, u32 position)
{
	return msr->vmcb_offset ? (u64 *)((void *)vcpu->vmcb + msr->vmcb_offset) : &vcpu->msrs[position];
}

int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *value)
{
	struct yakvm_msr msr;
	int position = yakvm_msr_find(index, &msr);

	/* The interrupt controller is user space's, and so is this value. */
	if (index == MSR_IA32_APICBASE) {
		*value = vcpu->apic_base;
		return 0;
	}
	if (position < 0)
		return position;
	switch (msr.kind) {
	case YAKVM_MSR_FIXED:
		*value = msr.reset;
		break;
	case YAKVM_MSR_TSC:
		*value = rdtsc() + vcpu->vmcb->control.tsc_offset;
		break;
	case YAKVM_MSR_EFER:
		*value = vcpu->vmcb->save.efer & ~EFER_SVME;
		break;
	default:
		*value = *msr_place(vcpu, &msr, position);
	}
	return 0;
}

int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 value, bool from_guest)
{
	struct yakvm_msr msr;
	int position = yakvm_msr_find(index, &msr);
	u64 before;
	int error;

	if (index == MSR_IA32_APICBASE) {
		if (value & 0x2ff || value >> vcpu->limits.physical_bits)
			return -EINVAL;
		vcpu->apic_base = value;
		return 0;
	}
	if (position < 0)
		return position;
	vcpu_get_msr(vcpu, index, &before);
	error = yakvm_msr_check(index, &value, before, vcpu->vmcb->save.cr0, &vcpu->limits, from_guest);
	if (error)
		return error;
	switch (msr.kind) {
	case YAKVM_MSR_FIXED:
		break;
	case YAKVM_MSR_TSC:
		vcpu->vmcb->control.tsc_offset = value - rdtsc();
		break;
	case YAKVM_MSR_EFER:
		vcpu->vmcb->save.efer = value | EFER_SVME;
		vcpu->flush = true;
		break;
	default:
		*msr_place(vcpu, &msr, position) = value;
	}
	return 0;
}

/* KVM_GET_MSRS and KVM_SET_MSRS: the number of MSRs up to the first that fails. */
int access_msrs(struct vcpu *vcpu, struct kvm_msrs __user *user, bool write)
{
	struct kvm_msr_entry entry;
	u32 count, n;

	if (get_user(count, &user->nmsrs))
		return -EFAULT;
	if (count >= 256)
		return -E2BIG;
	for (n = 0; n < count; n++) {
		if (copy_from_user(&entry, &user->entries[n], sizeof(entry)))
			return -EFAULT;
		if (write ? vcpu_set_msr(vcpu, entry.index, entry.data, false)
			  : vcpu_get_msr(vcpu, entry.index, &entry.data))
			break;
		if (!write && copy_to_user(&user->entries[n], &entry, sizeof(entry)))
			return -EFAULT;
	}
	return n;
}

struct kvm_cpuid_entry2 *vcpu_cpuid(struct vcpu *vcpu, u32 leaf, u32 index)
{
	struct kvm_cpuid_entry2 *entry;

	for (entry = vcpu->cpuid; entry < vcpu->cpuid + vcpu->cpuid_count; entry++)
		if (entry->function == leaf &&
		    (entry->index == index || !(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return entry;
	return NULL;
}

int set_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 __user *user)
{
	struct kvm_cpuid_entry2 *entries;
	u32 count;

	if (get_user(count, &user->nent))
		return -EFAULT;
	if (count > MAX_CPUID)
		return -E2BIG;
	entries = vmemdup_user(user->entries, array_size(count, sizeof(*entries)));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	kvfree(vcpu->cpuid);
	vcpu->cpuid = entries;
	vcpu->cpuid_count = count;
	set_limits(vcpu);
	return 0;
}

int get_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 __user *user)
{
	u32 size;

	if (get_user(size, &user->nent))
		return -EFAULT;
	if (size < vcpu->cpuid_count)
		return -E2BIG;
	if (copy_to_user(user->entries, vcpu->cpuid, vcpu->cpuid_count * sizeof(*vcpu->cpuid)))
		return -EFAULT;
	return put_user(vcpu->cpuid_count, &user->nent);
}
