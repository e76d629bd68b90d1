// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The module: SVM on and off, /dev/yakvm, the ioctls of the device and of a VM. AMD APM volume 2,
 * chapter 15.4 (enabling SVM), 15.30 (the MSRs VM_CR and VM_HSAVE_PA).
 *
 * SVM is on while there is a VM, on every CPU that is online. EFER.SVME also keeps us and kvm_amd apart:
 * who finds it set by the other refuses.
 */
#include <linux/anon_inodes.h>
#include <linux/cc_platform.h>
#include <linux/cpu.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/sched/mm.h>
#include <linux/syscore_ops.h>
#include <linux/uaccess.h>
#include <asm/fpu/xcr.h>
#include <asm/io.h>
#include <asm/msr.h>
#include <asm/tsc.h>
#include "yakvm.h"

struct svm_cpu __percpu *cpus;
u32 asid_count;
u64 host_xcr0, guest_xcr0;
void *port_bitmap, *msr_bitmap;

#define PORT_BITMAP_ORDER	2	/* 12 KiB are used */
#define MSR_BITMAP_ORDER	1	/* 8 KiB */

/* ---- SVM on and off ---- */

/* Order: the lock of CPU hotplug, then this one. */
static DEFINE_MUTEX(svm_mutex);
static u32 svm_users;
static bool svm_stopped;	/* the machine shuts down */

static void svm_on(void *failed)
{
	struct svm_cpu *cpu = this_cpu_ptr(cpus);
	u64 efer;

	if (cpu->on)
		return;
	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		atomic_inc(failed);
		return;
	}
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(cpu->host_save));
	/* The first vCPU here starts a new round, which flushes what another hypervisor may have left. */
	cpu->next_asid = asid_count;
	cpu->asid_round++;
	cpu->last_vcpu = 0;
	cpu->on = true;
}

static void svm_off(void *unused)
{
	struct svm_cpu *cpu = this_cpu_ptr(cpus);
	u64 efer;

	if (!cpu->on)
		return;
	cpu->on = false;
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

/* For each VM. -EBUSY: another hypervisor has SVM on some CPU. */
int svm_acquire(void)
{
	atomic_t failed = ATOMIC_INIT(0);

	cpus_read_lock();
	mutex_lock(&svm_mutex);
	if (svm_stopped)
		atomic_inc(&failed);
	else if (!svm_users)
		on_each_cpu(svm_on, &failed, 1);
	if (!atomic_read(&failed))
		svm_users++;
	else if (!svm_users)
		on_each_cpu(svm_off, NULL, 1);
	mutex_unlock(&svm_mutex);
	cpus_read_unlock();
	return atomic_read(&failed) ? -EBUSY : 0;
}

void svm_release(void)
{
	cpus_read_lock();
	mutex_lock(&svm_mutex);
	if (!--svm_users)
		on_each_cpu(svm_off, NULL, 1);
	mutex_unlock(&svm_mutex);
	cpus_read_unlock();
}

/* A CPU comes online: before the scheduler gives it tasks. */
static int online_cpu(unsigned int number)
{
	atomic_t failed = ATOMIC_INIT(0);

	mutex_lock(&svm_mutex);
	if (svm_users && !svm_stopped) {
		local_irq_disable();
		svm_on(&failed);
		local_irq_enable();
	}
	mutex_unlock(&svm_mutex);
	return atomic_read(&failed) ? -EBUSY : 0;
}

static int offline_cpu(unsigned int number)
{
	mutex_lock(&svm_mutex);
	local_irq_disable();
	svm_off(NULL);
	local_irq_enable();
	mutex_unlock(&svm_mutex);
	return 0;
}

/* Since 6.12.117 these functions have an argument (Kbuild looks). */
#ifdef SYSCORE_HAS_CONTEXT
#define SYSCORE_ARGUMENT	void *unused
#else
#define SYSCORE_ARGUMENT	void
#endif

/* Suspend: one CPU is left, interrupts are off, tasks are frozen. */
static int svm_suspend(SYSCORE_ARGUMENT)
{
	svm_off(NULL);
	return 0;
}

static void svm_resume(SYSCORE_ARGUMENT)
{
	atomic_t failed = ATOMIC_INIT(0);

	if (svm_users)
		svm_on(&failed);
}

#ifdef SYSCORE_HAS_CONTEXT
static const struct syscore_ops syscore_operations = { .suspend = svm_suspend, .resume = svm_resume };
static struct syscore syscore_ops = { .ops = &syscore_operations };
#define register_syscore_ops register_syscore
#define unregister_syscore_ops unregister_syscore
#else
static struct syscore_ops syscore_ops = { .suspend = svm_suspend, .resume = svm_resume };
#endif

/* Reboot and kexec: the next kernel or firmware must not find SVM on. From here on vcpu_run() refuses. */
static int svm_reboot(struct notifier_block *block, unsigned long event, void *data)
{
	mutex_lock(&svm_mutex);
	svm_stopped = true;
	on_each_cpu(svm_off, NULL, 1);
	mutex_unlock(&svm_mutex);
	return NOTIFY_OK;
}

static struct notifier_block reboot_notifier = { .notifier_call = svm_reboot };

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

/* A set bit: the access exits. The MSRs whose value the processor keeps in the VMCB need not. */
static void allow_msrs(void)
{
	static const u32 ranges[] = { 0, 0xc0000000, 0xc0010000 };
	struct yakvm_msr msr;
	u32 n, i;

	for (n = 0; yakvm_msr_at(n, &msr); n++)
		for (i = 0; i < ARRAY_SIZE(ranges); i++)
			if (msr.flags & YAKVM_MSR_PASSED && msr.index - ranges[i] < 0x2000) {
				u32 bit = i * 0x4000 + (msr.index - ranges[i]) * 2;

				__clear_bit(bit, msr_bitmap);
				__clear_bit(bit + 1, msr_bitmap);
			}
}

static void free_pages_of_module(void)
{
	int i;

	for_each_possible_cpu(i) {
		struct svm_cpu *cpu = per_cpu_ptr(cpus, i);

		if (cpu->host_save)
			__free_page(cpu->host_save);
		if (cpu->host_state)
			__free_page(cpu->host_state);
	}
	free_percpu(cpus);
	free_pages((unsigned long)port_bitmap, PORT_BITMAP_ORDER);
	free_pages((unsigned long)msr_bitmap, MSR_BITMAP_ORDER);
}

static int allocate_pages(void)
{
	int i;

	cpus = alloc_percpu(struct svm_cpu);
	if (!cpus)
		return -ENOMEM;
	port_bitmap = (void *)__get_free_pages(GFP_KERNEL, PORT_BITMAP_ORDER);
	msr_bitmap = (void *)__get_free_pages(GFP_KERNEL, MSR_BITMAP_ORDER);
	if (!port_bitmap || !msr_bitmap)
		goto failed;
	memset(port_bitmap, 0xff, PAGE_SIZE << PORT_BITMAP_ORDER);
	memset(msr_bitmap, 0xff, PAGE_SIZE << MSR_BITMAP_ORDER);
	allow_msrs();
	for_each_possible_cpu(i) {
		struct svm_cpu *cpu = per_cpu_ptr(cpus, i);

		cpu->host_save = alloc_pages_node(cpu_to_node(i), GFP_KERNEL | __GFP_ZERO, 0);
		cpu->host_state = alloc_pages_node(cpu_to_node(i), GFP_KERNEL | __GFP_ZERO, 0);
		if (!cpu->host_save || !cpu->host_state)
			goto failed;
	}
	return 0;
failed:
	free_pages_of_module();
	return -ENOMEM;
}

static int check_processor(void)
{
	u64 vm_cr;

	if (!boot_cpu_has(X86_FEATURE_SVM)) {
		pr_err("yakvm: this processor has no AMD-V (SVM)\n");
		return -EOPNOTSUPP;
	}
	if (!boot_cpu_has(X86_FEATURE_NPT)) {
		pr_err("yakvm: this processor has no nested paging (NPT)\n");
		return -EOPNOTSUPP;
	}
	if (cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT)) {
		pr_err("yakvm: the host encrypts its memory, which this driver does not know: boot with mem_encrypt=off\n");
		return -EOPNOTSUPP;
	}
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && vm_cr & SVM_VM_CR_SVM_DIS_MASK) {
		pr_err("yakvm: SVM is off in the firmware (MSR VM_CR); switch it on in the firmware's settings\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static enum cpuhp_state hotplug;

static int __init yakvm_init(void)
{
	int error = check_processor();

	if (error)
		return error;
	asid_count = cpuid_ebx(0x8000000a);
	host_xcr0 = boot_cpu_has(X86_FEATURE_OSXSAVE) ? xgetbv(XCR_XFEATURE_ENABLED_MASK) : 0;
	guest_xcr0 = host_xcr0 & (XFEATURE_MASK_FPSSE | XFEATURE_MASK_YMM);
	error = allocate_pages();
	if (error)
		return error;
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "yakvm:online", online_cpu, offline_cpu);
	if (error < 0)
		goto no_hotplug;
	hotplug = error;
	register_syscore_ops(&syscore_ops);
	register_reboot_notifier(&reboot_notifier);
	error = misc_register(&device);
	if (!error)
		return 0;
	unregister_reboot_notifier(&reboot_notifier);
	unregister_syscore_ops(&syscore_ops);
	cpuhp_remove_state(hotplug);
no_hotplug:
	free_pages_of_module();
	return error;
}

static void __exit yakvm_exit(void)
{
	misc_deregister(&device);
	unregister_reboot_notifier(&reboot_notifier);
	unregister_syscore_ops(&syscore_ops);
	cpuhp_remove_state(hotplug);
	free_pages_of_module();
}

module_init(yakvm_init);
module_exit(yakvm_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Virtual machines with AMD-V, by the ioctls of KVM");
