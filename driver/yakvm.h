/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the C files share. AMD64 Architecture Programmer's Manual volume 2 (24593), chapter 15 (SVM) and
 * appendix B (layout of the VMCB); the Linux kernel's Documentation/virt/kvm/api.rst for the ioctls.
 *
 * Locks, in the order in which they are taken: vm->mutex (slots, creation of vCPUs), vcpu->mutex (all of
 * a vCPU), vm->copies, vm->lock (nested page tables and the look-up of slots; never held across user memory).
 */
#ifndef YAKVM_H
#define YAKVM_H

#include <linux/kvm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rwsem.h>
#include <linux/signal.h>
#include <linux/spinlock.h>
#include <asm/fpu/types.h>
#include <asm/svm.h>
#include "core.h"

/* Newer kernels mark the fields of kvm_run that user space may change at any time. */
#ifdef HINT_UNSAFE_IN_KVM
#define immediate_exit HINT_UNSAFE_IN_KVM(immediate_exit)
#endif

#define MAX_VCPUS	64
#define MAX_SLOTS	512
#define MAX_CPUID	256
#define DEBUGGING	(KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP)
#define DR7_GD		BIT_ULL(13)	/* a MOV to or from a debug register raises #DB; chapter 13.1.1.4 */
#define PF_WRITE	BIT_ULL(1)	/* EXITINFO1 of a nested page fault; chapter 15.25.6 */
#define MMAP_SIZE	(2 * PAGE_SIZE)	/* struct kvm_run, then the data of port I/O */

/* The general registers in their order, R8 to R15 follow. */
enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

struct registers {
	u64 gpr[16], rip, rflags;
};

/* A range of guest-physical memory: `pages` from `frame` are the process's memory at `address`. */
struct slot {
	u64 frame, pages, address;
	u32 flags;			/* KVM_MEM_* */
	bool any_dirty;			/* a bit may be set in dirty */
	unsigned long *dirty, *spare;	/* a bit per page; GET_DIRTY_LOG exchanges the two */
};

/* KVM_X86_SET_MSR_FILTER: a clear bit means that the access is refused. */
struct msr_range {
	u32 flags, base, count;
	unsigned long *allowed;
};

struct vm {
	refcount_t users;		/* its file and those of its vCPUs */
	struct mm_struct *mm;		/* the process that created it, and the only one to use it */
	struct mmu_notifier notifier;
	struct mutex mutex;
	struct rw_semaphore copies;	/* from and to guest memory: they may sleep, so not under `lock` */
	struct vcpu *vcpus[MAX_VCPUS];	/* by id; they live as long as the VM */
	u32 boot_cpu;
	u32 msr_exits;			/* KVM_MSR_EXIT_REASON_*: user space answers for such MSRs */
	u64 tsc_offset;			/* of new vCPUs: their TSC starts when the VM does */

	spinlock_t lock;
	bool msr_default_deny;
	struct msr_range msr_ranges[KVM_MSR_FILTER_MAX_RANGES];
	struct slot *slots[MAX_SLOTS];
	u32 slot_end;			/* no slot has this number or a higher one */
	u64 *npt;			/* the nested page tables from level 4 on */
	u64 *npt_level5;		/* above it, if the host has five levels, or NULL */
	u64 nested_cr3;			/* physical address of the root */
	u64 changes;			/* grows when a look-up of memory may have become wrong */
	u32 invalidating;		/* MMU notifications under way */
	atomic64_t flushes;		/* grows when translations must be forgotten */
};

/* An instruction that has exited to user space and is completed by the next KVM_RUN. */
enum pending { NOTHING, PORT_IN, PORT_OUT, STRING_IN, STRING_OUT, MMIO, MSR_READ, MSR_WRITE };

#define WINDOW_PAGES	2
#define WINDOW_ACCESSES	4
#define WINDOW_TABLES	(1 + 3 * WINDOW_PAGES + 1)

/* An access to memory-mapped I/O, within a page. */
struct access {
	u64 gpa;
	u32 page;		/* of the window */
	u32 size, done;		/* bytes; those that user space has answered or taken */
	bool reads, writes;
};

/* An instruction that accesses memory-mapped I/O (window.c). */
struct window {
	bool open;		/* the next entry is its step */
	bool over;		/* the step is done */
	struct yakvm_insn insn;
	struct registers before;
	u32 page_count, access_count;
	struct window_page {
		u64 frame;
		u8 *data;
		bool writable;
		bool memory;	/* there is read-only memory */
	} pages[WINDOW_PAGES];
	struct access accesses[WINDOW_ACCESSES];
	struct access *access;	/* that user space answers */
	struct access *probe;	/* whose size two steps find out */
	bool probed;		/* the first of them is done: what is in `first` */
	u8 first[16];
	u64 *tables[WINDOW_TABLES];
	u64 trap_flag;		/* RFLAGS.TF outside of the step */
	u32 intercepts;
};

struct vcpu {
	struct vm *vm;
	u32 id;
	struct mutex mutex;
	u64 serial;			/* unlike that of any other vCPU ever */
	struct kvm_run *run;		/* shared with user space, which may write at any time */
	void *port_data;		/* the page behind it */
	struct vmcb *vmcb;
	struct registers regs;		/* RAX, RSP, RIP and RFLAGS: copied from and to the VMCB at each exit */
	struct fpu_guest fpu;
	u64 xcr0, apic_base;
	u64 msrs[YAKVM_MSR_COUNT];	/* those that are not in the VMCB */
	struct yakvm_limits limits;	/* from CPUID */
	u32 cpuid_count;
	struct kvm_cpuid_entry2 *cpuid;
	sigset_t sigset;
	bool sigset_active;

	/* Debug registers 0-3, 6 and 7 of the guest; those in use while a debugger has breakpoints. */
	u64 db[4], dr6, dr7;
	struct kvm_guest_debug debug;
	bool stepping;			/* RFLAGS.TF is the debugger's */
	bool pushes_flags;		/* the instruction that is stepped is a PUSHF */
	u64 traps;			/* DR6 of a trap after the instruction that is being completed */

	/* Events, in the order of their injection. `injected`: cut short, to be delivered again. */
	struct { bool injected, pending, has_error; u8 vector; u32 error; } exception;
	struct { bool injected, masked, leaving; u8 pending; u64 iret; } nmi;
	struct { bool injected, soft, held; u8 vector; } interrupt;
	bool nmi_step;			/* TF is set until one instruction is over */

	enum pending pending;
	u64 pending_rip;		/* linear address of the instruction; another one: it was abandoned */
	struct yakvm_insn insn;		/* INS or OUTS */
	u64 next_rip;			/* after port I/O */
	u32 size, count;		/* of the elements of port I/O */
	struct window window;

	int running_on;			/* CPU, or -1 outside of the guest */
	int last_cpu;			/* CPU whose ASID it has */
	u64 asid_round, flushed;
	bool flush;			/* its translations are out of date */
};

/* Whether what INTERCEPT_* names ends the guest. */
static inline void vmcb_intercept(struct vcpu *vcpu, u32 bit, bool on)
{
	if (on)
		vcpu->vmcb->control.intercepts[bit / 32] |= BIT(bit % 32);
	else
		vcpu->vmcb->control.intercepts[bit / 32] &= ~BIT(bit % 32);
}

/* Of each CPU: whether SVM is on by us, and the ASIDs (0 is the host's). */
struct svm_cpu {
	bool on;
	u32 next_asid;
	u64 asid_round;
	u64 last_vcpu;			/* its serial */
	struct page *host_save;		/* for VMRUN itself (MSR VM_HSAVE_PA) */
	struct page *host_state;	/* for VMSAVE and VMLOAD */
};

/* svm.c */
extern struct svm_cpu __percpu *cpus;
extern u32 asid_count;
extern u64 host_xcr0, guest_xcr0;	/* the host's own; the states that a guest may enable */
extern u64 host_xss;		/* the host's supervisor states, which XSAVES in the guest must not reach */
extern void *port_bitmap, *msr_bitmap;
int svm_init(void);
void svm_exit(void);
int svm_acquire(void);
void svm_release(void);

/* device.c */
void vm_put(struct vm *vm);

/* memory.c */
int memory_init(struct vm *vm);
void memory_destroy(struct vm *vm);
int memory_set_slot(struct vm *vm, const struct kvm_userspace_memory_region *region);
int memory_dirty_log(struct vm *vm, const struct kvm_dirty_log *log);
int memory_fault(struct vm *vm, u64 gpa, bool write);
int memory_copy(struct vm *vm, u64 gpa, void *data, u32 count, bool write);

/* vcpu.c */
struct vcpu *vcpu_create(struct vm *vm, u32 id);
void vcpu_destroy(struct vcpu *vcpu);
long vcpu_ioctl(struct vcpu *vcpu, unsigned int number, unsigned long argument);
void vcpu_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs);
int vcpu_translate(struct vcpu *vcpu, u64 linear, u32 access, struct yakvm_walk *walk);

/* msrs.c */
struct kvm_cpuid_entry2 *vcpu_cpuid(struct vcpu *vcpu, u32 leaf, u32 index);
int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *value);
int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 value, bool from_guest);
void set_limits(struct vcpu *vcpu);
int access_msrs(struct vcpu *vcpu, struct kvm_msrs __user *user, bool write);
int set_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 __user *user);
int get_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 __user *user);

/* fpu.c */
void get_fpu(struct vcpu *vcpu, struct kvm_fpu *fpu);
int set_fpu(struct vcpu *vcpu, const struct kvm_fpu *fpu);
int get_xsave(struct vcpu *vcpu, struct kvm_xsave __user *user);
int set_xsave(struct vcpu *vcpu, struct kvm_xsave __user *user);
int set_xcrs(struct vcpu *vcpu, const struct kvm_xcrs *xcrs);

/* run.c */
int vcpu_run(struct vcpu *vcpu);

/* exits.c */
int handle_exit(struct vcpu *vcpu);

/* io.c */
u64 string_address(struct vcpu *vcpu, const struct yakvm_insn *insn, u32 reg);
int handle_io(struct vcpu *vcpu);
int handle_npf(struct vcpu *vcpu);
int complete_pending(struct vcpu *vcpu);

/* window.c */
int window_fault(struct vcpu *vcpu, u64 gpa, bool write);
int window_resume(struct vcpu *vcpu);
void window_enter(struct vcpu *vcpu);
int window_exit(struct vcpu *vcpu);
void window_close(struct vcpu *vcpu);
void window_free(struct window *window);

/* events.c */
bool interruptible(struct vcpu *vcpu);
void inject(struct vcpu *vcpu);
void delivered(struct vcpu *vcpu);

/* instruction.c */
u64 vcpu_pc(struct vcpu *vcpu);
u32 code_bits(struct vcpu *vcpu);
void vcpu_queue_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error);
int raise(struct vcpu *vcpu, u8 vector, bool has_error, u32 error);
int raise_gp(struct vcpu *vcpu);
int exit_debug(struct vcpu *vcpu, u32 exception, u64 dr6);
int exit_emulation(struct vcpu *vcpu);
int exit_error(struct vcpu *vcpu, u32 suberror);
int copy_linear(struct vcpu *vcpu, u64 linear, void *data, u32 count, u32 access, bool write);
u32 fetch(struct vcpu *vcpu, u8 bytes[15]);
int finish(struct vcpu *vcpu);
int finish_at(struct vcpu *vcpu, u64 rip);
int skip(struct vcpu *vcpu, u32 length);
u32 special_move(struct vcpu *vcpu, u64 **reg);

/* enter.S */
void yakvm_enter(u64 guest, u64 *registers, u64 host);

#endif
