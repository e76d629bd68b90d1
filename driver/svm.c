// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * SVM on and off. AMD APM volume 2, chapters 15.4 (enabling SVM), 15.30 (the MSRs VM_CR and VM_HSAVE_PA), 15.10.1 and
 * 15.11 (the bitmaps of ports and MSRs).
 *
 * SVM is on while there is a VM, on every CPU that is online. EFER.SVME also keeps us and kvm_amd apart:
 * who finds it set by the other refuses.
 */
#include <linux/cc_platform.h>
#include <linux/cpu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/syscore_ops.h>
#include <asm/fpu/xcr.h>
#include <asm/io.h>
#include <asm/msr.h>
#include "yakvm.h"

struct svm_cpu __percpu *cpus;
u32 asid_count;
u64 host_xcr0, guest_xcr0, host_xss;
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

/* ---- the pages and bitmaps of all VMs ---- */

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
	static const char *const obstacles[] = {
		[YAKVM_NO_SVM] = "this processor has no AMD-V (SVM)",
		[YAKVM_NO_NPT] = "this processor has no nested paging (NPT)",
		[YAKVM_ENCRYPTED] = "the host encrypts its memory, which this driver does not know: boot with mem_encrypt=off",
		[YAKVM_SWITCHED_OFF] = "SVM is off in the firmware (MSR VM_CR); switch it on in the firmware's settings",
	};
	u64 vm_cr;
	u32 features, obstacle;

	features = boot_cpu_has(X86_FEATURE_SVM) ? YAKVM_HAS_SVM : 0;
	features |= boot_cpu_has(X86_FEATURE_NPT) ? YAKVM_HAS_NPT : 0;
	features |= cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT) ? YAKVM_ENCRYPTS : 0;
	if (rdmsrl_safe(MSR_VM_CR, &vm_cr))
		vm_cr = 0;
	obstacle = yakvm_obstacle(features, vm_cr);
	if (!obstacle)
		return 0;
	pr_err("yakvm: %s\n", obstacles[obstacle]);
	return -EOPNOTSUPP;
}

/* ---- with the module ---- */

static enum cpuhp_state hotplug;

int __init svm_init(void)
{
	int error = check_processor();

	if (error)
		return error;
	asid_count = cpuid_ebx(0x8000000a);
	host_xcr0 = boot_cpu_has(X86_FEATURE_OSXSAVE) ? xgetbv(XCR_XFEATURE_ENABLED_MASK) : 0;
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, host_xss);
	guest_xcr0 = host_xcr0 & (XFEATURE_MASK_FPSSE | XFEATURE_MASK_YMM);
	error = allocate_pages();
	if (error)
		return error;
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "yakvm:online", online_cpu, offline_cpu);
	if (error < 0) {
		free_pages_of_module();
		return error;
	}
	hotplug = error;
	register_syscore_ops(&syscore_ops);
	register_reboot_notifier(&reboot_notifier);
	return 0;
}

/* Without `__exit`: the module's start calls it, too, when the device cannot be registered. */
void svm_exit(void)
{
	unregister_reboot_notifier(&reboot_notifier);
	unregister_syscore_ops(&syscore_ops);
	cpuhp_remove_state(hotplug);
	free_pages_of_module();
}
