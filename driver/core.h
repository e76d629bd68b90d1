/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What core/ (Rust, pure functions) offers to the C files. AMD APM volume 2, chapters 4 and 5
 * (segments, paging) and 15 (SVM); volume 3 (instructions).
 *
 * Every function reads its arguments, writes its results and touches nothing else: no locks, no
 * allocation, no user memory. All may be called in any context. Errors are negative errno values.
 */
#ifndef YAKVM_CORE_H
#define YAKVM_CORE_H

#include <linux/kvm.h>
#include <linux/types.h>

/* ---- core/src/decode.rs: how many bytes an instruction accesses ---- */

struct yakvm_insn {
	u8 size;		/* of an operand in memory, bytes */
	u8 flags;		/* YAKVM_* below */
	u8 segment;		/* of string instructions, that of rSI: 0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS */
	u8 address_size;	/* 2, 4 or 8 bytes */
};

#define YAKVM_MODIFIES		1	/* the operand is read before it is written */
#define YAKVM_COMPARES		2	/* CMPS */
#define YAKVM_REPEATS		4	/* a string instruction with a repeat prefix */
#define YAKVM_PUSHES_FLAGS	8
#define YAKVM_POPS_FLAGS	16

/*
 * Decodes what starts at bytes, of which count (0-15) are valid; bits is 16, 32 or 64 (CS.L, CS.D).
 * 0, or -EINVAL if it is no instruction that core knows. Only for instructions that access memory.
 */
int yakvm_decode(const u8 bytes[15], u32 count, u32 bits, struct yakvm_insn *insn);

/* ---- core/src/segment.rs: segments in the VMCB ---- */

struct yakvm_vmcb_segment {
	u16 selector;
	u16 attributes;
	u32 limit;
	u64 base;
};

/* In the order of the VMCB's save area. */
enum yakvm_segment_name {
	YAKVM_ES, YAKVM_CS, YAKVM_SS, YAKVM_DS, YAKVM_FS, YAKVM_GS,
	YAKVM_GDTR, YAKVM_LDTR, YAKVM_IDTR, YAKVM_TR,
};

/* The VMCB's CPL is ss.dpl, which the caller stores. */
void yakvm_segment_to_vmcb(const struct kvm_segment *segment, struct yakvm_vmcb_segment *vmcb);
void yakvm_segment_from_vmcb(const struct yakvm_vmcb_segment *vmcb, u32 name, u8 cpl,
			     struct kvm_segment *segment);

/* ---- core/src/control.rs: states that the processor has ---- */

/* What a guest may set, from its CPUID. */
struct yakvm_limits {
	u64 cr4;
	u64 efer;		/* without SVME, which only the VMCB's value has */
	u32 physical_bits;
	u32 reserved;
};

/* From the leaves 1, 7.0, 80000001h and 80000008h that KVM_SET_CPUID2 gave (zeros if it did not). */
void yakvm_limits(u32 leaf1_ecx, u32 leaf7_ebx, u32 leaf7_ecx, u32 extended1_ecx, u32 extended1_edx,
		  u32 extended8_eax, struct yakvm_limits *limits);

/* 0, or -EINVAL for a state that KVM_SET_SREGS refuses or VMRUN cannot enter. */
int yakvm_check_sregs(const struct kvm_sregs *sregs, const struct yakvm_limits *limits);

/* 0, or -EINVAL where XSETBV raises #GP: supported is the set of states the guest may enable. */
int yakvm_check_xcr0(u64 xcr0, u64 supported);

/* The value that DR6 or DR7 has after a move (fixed bits set), or -EINVAL for bits above 31. */
int yakvm_check_dr(u32 number, u64 *value);

/* ---- core/src/processor.rs ---- */

/* Whether the processor can run guests: `features` of YAKVM_HAS_SVM and so on; vm_cr is MSR VM_CR. */
#define YAKVM_HAS_SVM	(1 << 0)
#define YAKVM_HAS_NPT	(1 << 1)
#define YAKVM_ENCRYPTS	(1 << 2)	/* the host encrypts its memory */
enum { YAKVM_NO_SVM = 1, YAKVM_NO_NPT, YAKVM_ENCRYPTED, YAKVM_SWITCHED_OFF };	/* 0: it can */
u32 yakvm_obstacle(u32 features, u64 vm_cr);

/* ---- core/src/cpuid.rs ---- */

struct yakvm_cpuid_leaf {
	u32 leaf;
	u32 index;
	u32 indexed;		/* KVM_CPUID_FLAG_SIGNIFCANT_INDEX applies */
};

/* The n-th leaf that KVM_GET_SUPPORTED_CPUID lists: true and *leaf, or false after the last one. */
bool yakvm_cpuid_leaf(u32 n, struct yakvm_cpuid_leaf *leaf);

/*
 * Masks the processor's answer regs (EAX EBX ECX EDX) to leaf/index down to what a guest may see.
 * xcr0 is the set of states that guests may enable.
 */
void yakvm_cpuid_supported(u32 leaf, u32 index, u64 xcr0, u32 regs[4]);

/* ---- core/src/msr.rs ---- */

struct yakvm_msr {
	u32 index;
	u16 vmcb_offset;	/* of its value in the VMCB (from its first byte), or 0: kept by the driver */
	u8 kind;		/* enum yakvm_msr_kind */
	u8 flags;		/* YAKVM_MSR_LISTED, YAKVM_MSR_PASSED */
	u64 reset;		/* value after reset */
};

enum yakvm_msr_kind {
	YAKVM_MSR_VALUE,	/* checked (yakvm_msr_check) and stored */
	YAKVM_MSR_FIXED,	/* reads as reset; writes are ignored */
	YAKVM_MSR_TSC,		/* TSC: the VMCB's TSC_OFFSET */
	YAKVM_MSR_EFER,		/* EFER: the VMCB's value has SVME in addition */
};

#define YAKVM_MSR_LISTED	1	/* KVM_GET_MSR_INDEX_LIST has it */
#define YAKVM_MSR_PASSED	2	/* the guest reads and writes it without an exit */

#define YAKVM_MSR_COUNT 32	/* at most: for an array of the driver's values, by position */

/* The n-th MSR: true and *msr, or false after the last one. */
bool yakvm_msr_at(u32 n, struct yakvm_msr *msr);

/* Its position (and *msr), or -ENOENT: the guest's access raises #GP. */
int yakvm_msr_find(u32 index, struct yakvm_msr *msr);

/*
 * Whether value can be written: 0 and the value to store in *value, or -EINVAL (#GP in the guest).
 * before is the present value; from_guest: WRMSR rather than KVM_SET_MSRS; cr0 is for EFER's rules.
 * TSC_AUX is among the MSRs: intercept RDTSCP, or load it around VMRUN.
 */
int yakvm_msr_check(u32 index, u64 *value, u64 before, u64 cr0, const struct yakvm_limits *limits,
		    bool from_guest);

/* ---- core/src/paging.rs: the guest's page tables and the nested ones ---- */

#define YAKVM_WALK_WRITE	2	/* the bits of a page fault's error code */
#define YAKVM_WALK_USER		4
#define YAKVM_WALK_FETCH	16

struct yakvm_walk {
	u64 gpa;		/* of the entry to read; at the end, of the operand */
	u32 entry_size;		/* 4 or 8 bytes to read there, 0 at the end */
	u32 error_code;		/* of the page fault, when yakvm_walk_step returned -EFAULT */
	/* What to translate, and the guest's registers: set by the caller. */
	u64 linear, cr0, cr3, cr4, efer, rflags;
	u32 access;		/* YAKVM_WALK_* */
	u32 physical_bits;
	/* */
	u64 allowed;
	u32 level, writable;
};

/*
 * Starts to translate walk.linear: 0, or -EINVAL if it is not canonical (#GP, #SS). While walk.entry_size
 * is not 0, read the entry at walk.gpa and give it to yakvm_walk_step: 0, or -EFAULT if the access raises
 * #PF(walk.error_code). The accessed and dirty bits are left alone.
 */
int yakvm_walk_begin(struct yakvm_walk *walk);
int yakvm_walk_step(struct yakvm_walk *walk, u64 entry);

/* The nested tables have four levels, 4 (the root) to 1. Entries as in long mode, user bit set. */
u32 yakvm_npt_index(u64 gpa, u32 level);
u64 yakvm_npt_size(u32 level);			/* bytes that one entry of this level maps */
u64 yakvm_npt_table(u64 pa);			/* an entry that points to a table */
u64 yakvm_npt_page(u64 pa, bool writable, bool large);
u64 yakvm_npt_address(u64 entry);		/* of the table or page */

/* The same sizes as in core: its tests compare the fields as well. */
_Static_assert(sizeof(struct yakvm_insn) == 4, "struct yakvm_insn");
_Static_assert(sizeof(struct yakvm_vmcb_segment) == 16, "struct yakvm_vmcb_segment");
_Static_assert(sizeof(struct yakvm_limits) == 24, "struct yakvm_limits");
_Static_assert(sizeof(struct yakvm_cpuid_leaf) == 12, "struct yakvm_cpuid_leaf");
_Static_assert(sizeof(struct yakvm_msr) == 16, "struct yakvm_msr");
_Static_assert(sizeof(struct yakvm_walk) == 88, "struct yakvm_walk");
_Static_assert(sizeof(struct kvm_sregs) == 312, "struct kvm_sregs");

#endif
