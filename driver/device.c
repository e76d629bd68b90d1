// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The module: /dev/yakvm, the files of VMs and vCPUs, the ioctls of the device and of a VM. The Linux kernel's
 * Documentation/virt/kvm/api.rst; AMD APM volume 2, chapter 15.4 (what svm.c does for the first VM).
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <asm/msr.h>
#include "yakvm.h"

/* ---- files ---- */

static const struct file_operations vm_operations, vcpu_operations;

static void free_ranges(struct msr_range *ranges)
{
	u32 i;

	for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
		kfree(ranges[i].allowed);
}

void vm_put(struct vm *vm)
{
	u32 i;

	if (!refcount_dec_and_test(&vm->users))
		return;
	memory_destroy(vm);
	for (i = 0; i < MAX_VCPUS; i++)
		if (vm->vcpus[i])
			vcpu_destroy(vm->vcpus[i]);
	free_ranges(vm->msr_ranges);
	kfree(vm);
	svm_release();
}

static int create_vm(unsigned long type)
{
	struct vm *vm;
	int result;

	if (type)
		return -EINVAL;
	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return -ENOMEM;
	refcount_set(&vm->users, 1);
	vm->tsc_offset = -rdtsc();
	result = svm_acquire();
	if (result)
		goto no_svm;
	result = memory_init(vm);
	if (result)
		goto no_memory;
	result = anon_inode_getfd("yakvm-vm", &vm_operations, vm, O_RDWR | O_CLOEXEC);
	if (result < 0)
		vm_put(vm);
	return result;
no_memory:
	svm_release();
no_svm:
	kfree(vm);
	return result;
}

static int vm_release(struct inode *inode, struct file *file)
{
	vm_put(file->private_data);
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	vm_put(((struct vcpu *)file->private_data)->vm);
	return 0;
}

static int create_vcpu(struct vm *vm, unsigned long id)
{
	struct vcpu *vcpu;
	int result;

	if (id >= MAX_VCPUS)
		return -EINVAL;
	mutex_lock(&vm->mutex);
	if (vm->vcpus[id]) {
		result = -EEXIST;
		goto out;
	}
	vcpu = vcpu_create(vm, id);
	if (IS_ERR(vcpu)) {
		result = PTR_ERR(vcpu);
		goto out;
	}
	refcount_inc(&vm->users);
	smp_store_release(&vm->vcpus[id], vcpu);
	result = anon_inode_getfd("yakvm-vcpu", &vcpu_operations, vcpu, O_RDWR | O_CLOEXEC);
	if (result < 0) {
		/* npt_flush() looks at the list without this lock: once more under the other one. */
		spin_lock(&vm->lock);
		vm->vcpus[id] = NULL;
		spin_unlock(&vm->lock);
		vcpu_destroy(vcpu);
		refcount_dec(&vm->users);
	}
out:
	mutex_unlock(&vm->mutex);
	return result;
}

/* ---- ioctls ---- */

/* KVM_X86_SET_MSR_FILTER, for the MSRs whose accesses exit (not those of allow_msrs()). */
static int set_msr_filter(struct vm *vm, const struct kvm_msr_filter *filter)
{
	struct msr_range ranges[KVM_MSR_FILTER_MAX_RANGES] = {};
	u32 i;

	if (filter->flags & ~KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		const struct kvm_msr_filter_range *range = &filter->ranges[i];

		if (!range->nmsrs)
			continue;
		if (range->flags & ~(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE) || !range->flags ||
		    range->nmsrs > 8 * KVM_MSR_FILTER_MAX_BITMAP_SIZE) {
			free_ranges(ranges);
			return -EINVAL;
		}
		ranges[i].allowed = memdup_user(range->bitmap, BITS_TO_LONGS(range->nmsrs) * sizeof(long));
		if (IS_ERR(ranges[i].allowed)) {
			int error = PTR_ERR(ranges[i].allowed);

			ranges[i].allowed = NULL;
			free_ranges(ranges);
			return error;
		}
		ranges[i].flags = range->flags;
		ranges[i].base = range->base;
		ranges[i].count = range->nmsrs;
	}
	spin_lock(&vm->lock);
	for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++)
		swap(vm->msr_ranges[i], ranges[i]);
	vm->msr_default_deny = filter->flags & KVM_MSR_FILTER_DEFAULT_DENY;
	spin_unlock(&vm->lock);
	free_ranges(ranges);
	return 0;
}

static int enable_cap(struct vm *vm, const struct kvm_enable_cap *cap)
{
	u64 all = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;

	if (cap->flags || cap->cap != KVM_CAP_X86_USER_SPACE_MSR || cap->args[0] & ~all)
		return -EINVAL;
	WRITE_ONCE(vm->msr_exits, cap->args[0]);
	return 0;
}

static int check_extension(unsigned long extension)
{
	switch (extension) {
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
	case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_NOP_IO_DELAY:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_USER_NMI:
	case KVM_CAP_SET_GUEST_DEBUG:
	case KVM_CAP_VCPU_EVENTS:
	case KVM_CAP_DEBUGREGS:
	case KVM_CAP_XSAVE:
	case KVM_CAP_XCRS:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_SET_BOOT_CPU_ID:
	case KVM_CAP_INTERNAL_ERROR_DATA:
	case KVM_CAP_GET_TSC_KHZ:
	case KVM_CAP_ENABLE_CAP_VM:
	case KVM_CAP_X86_USER_SPACE_MSR:
	case KVM_CAP_X86_MSR_FILTER:
		return 1;
	case KVM_CAP_NR_VCPUS:
		return min_t(int, num_online_cpus(), MAX_VCPUS);
	case KVM_CAP_MAX_VCPUS:
	case KVM_CAP_MAX_VCPU_ID:
		return MAX_VCPUS;
	case KVM_CAP_NR_MEMSLOTS:
		return MAX_SLOTS;
	case KVM_CAP_SET_GUEST_DEBUG2:
		return KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP |
		       KVM_GUESTDBG_USE_HW_BP;
	default:
		return 0;
	}
}

/* KVM_GET_SUPPORTED_CPUID: the processor's own leaves, cut down to what the guest can have. */
static int supported_cpuid(struct kvm_cpuid2 __user *user)
{
	struct kvm_cpuid_entry2 entry;
	struct yakvm_cpuid_leaf leaf;
	u32 size, n, regs[4];

	if (get_user(size, &user->nent))
		return -EFAULT;
	for (n = 0; yakvm_cpuid_leaf(n, &leaf); n++) {
		if (n >= size)
			return -E2BIG;
		cpuid_count(leaf.leaf, leaf.index, &regs[0], &regs[1], &regs[2], &regs[3]);
		yakvm_cpuid_supported(leaf.leaf, leaf.index, guest_xcr0, regs);
		entry = (struct kvm_cpuid_entry2) {
			.function = leaf.leaf, .index = leaf.index,
			.flags = leaf.indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = regs[0], .ebx = regs[1], .ecx = regs[2], .edx = regs[3],
		};
		if (copy_to_user(&user->entries[n], &entry, sizeof(entry)))
			return -EFAULT;
	}
	return put_user(n, &user->nent);
}

static int msr_index_list(struct kvm_msr_list __user *user)
{
	struct yakvm_msr msr;
	u32 size, n, count = 0;

	if (get_user(size, &user->nmsrs))
		return -EFAULT;
	for (n = 0; yakvm_msr_at(n, &msr); n++) {
		if (!(msr.flags & YAKVM_MSR_LISTED))
			continue;
		if (count < size && put_user(msr.index, &user->indices[count]))
			return -EFAULT;
		count++;
	}
	if (put_user(count, &user->nmsrs))
		return -EFAULT;
	return size < count ? -E2BIG : 0;
}

static long device_ioctl(struct file *file, unsigned int number, unsigned long argument)
{
	switch (number) {
	case KVM_GET_API_VERSION:
		return argument ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return create_vm(argument);
	case KVM_CHECK_EXTENSION:
		return check_extension(argument);
	case KVM_GET_VCPU_MMAP_SIZE:
		return argument ? -EINVAL : MMAP_SIZE;
	case KVM_GET_SUPPORTED_CPUID:
		return supported_cpuid((void __user *)argument);
	case KVM_GET_MSR_INDEX_LIST:
		return msr_index_list((void __user *)argument);
	default:
		return -EINVAL;
	}
}

static long vm_ioctl(struct file *file, unsigned int number, unsigned long argument)
{
	struct vm *vm = file->private_data;
	struct kvm_userspace_memory_region region;
	struct kvm_msr_filter filter;
	struct kvm_enable_cap cap;
	struct kvm_dirty_log log;

	if (vm->mm != current->mm)
		return -EIO;
	switch (number) {
	case KVM_CHECK_EXTENSION:
		return check_extension(argument);
	case KVM_CREATE_VCPU:
		return create_vcpu(vm, argument);
	case KVM_SET_USER_MEMORY_REGION:
		if (copy_from_user(&region, (void __user *)argument, sizeof(region)))
			return -EFAULT;
		return memory_set_slot(vm, &region);
	case KVM_GET_DIRTY_LOG:
		if (copy_from_user(&log, (void __user *)argument, sizeof(log)))
			return -EFAULT;
		return memory_dirty_log(vm, &log);
	case KVM_X86_SET_MSR_FILTER:
		if (copy_from_user(&filter, (void __user *)argument, sizeof(filter)))
			return -EFAULT;
		return set_msr_filter(vm, &filter);
	case KVM_ENABLE_CAP:
		if (copy_from_user(&cap, (void __user *)argument, sizeof(cap)))
			return -EFAULT;
		return enable_cap(vm, &cap);
	case KVM_SET_TSS_ADDR:		/* Intel's processors need these two pages */
		return argument > 0xffffd000 ? -EINVAL : 0;
	case KVM_SET_IDENTITY_MAP_ADDR:
		return 0;
	case KVM_SET_BOOT_CPU_ID:
		/* Too late once there are vCPUs, as in KVM. */
		mutex_lock(&vm->mutex);
		for (region.slot = 0; region.slot < MAX_VCPUS && !vm->vcpus[region.slot]; region.slot++)
			;
		if (region.slot == MAX_VCPUS)
			vm->boot_cpu = argument;
		mutex_unlock(&vm->mutex);
		return region.slot == MAX_VCPUS ? 0 : -EBUSY;
	default:
		return -ENOTTY;
	}
}

static long vcpu_file_ioctl(struct file *file, unsigned int number, unsigned long argument)
{
	struct vcpu *vcpu = file->private_data;
	long result;

	if (vcpu->vm->mm != current->mm)
		return -EIO;
	if (_IOC_TYPE(number) != KVMIO)
		return -EINVAL;
	if (mutex_lock_killable(&vcpu->mutex))
		return -EINTR;
	result = vcpu_ioctl(vcpu, number, argument);
	mutex_unlock(&vcpu->mutex);
	return result;
}

static vm_fault_t vcpu_page(struct vm_fault *fault)
{
	struct vcpu *vcpu = fault->vma->vm_file->private_data;

	if (fault->pgoff >= MMAP_SIZE / PAGE_SIZE)
		return VM_FAULT_SIGBUS;
	fault->page = virt_to_page(fault->pgoff ? vcpu->port_data : (void *)vcpu->run);
	get_page(fault->page);
	return 0;
}

static const struct vm_operations_struct vcpu_pages = { .fault = vcpu_page };

static int vcpu_mmap(struct file *file, struct vm_area_struct *area)
{
	area->vm_ops = &vcpu_pages;
	return 0;
}

static const struct file_operations vm_operations = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.llseek = noop_llseek,
};

static const struct file_operations vcpu_operations = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_file_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.llseek = noop_llseek,
};

/* Only root: a guest can keep a CPU busy, and this driver has not seen ten years of attacks. */
static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "yakvm",
	.mode = 0600,
	.fops = &device_operations,
};

/* ---- the module ---- */

static int __init yakvm_init(void)
{
	int error = svm_init();

	if (error)
		return error;
	error = misc_register(&device);
	if (error)
		svm_exit();
	return error;
}

static void __exit yakvm_exit(void)
{
	misc_deregister(&device);
	svm_exit();
}

module_init(yakvm_init);
module_exit(yakvm_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Virtual machines with AMD-V, by the ioctls of KVM");
