/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * Into the guest and back. AMD APM volume 2, chapter 15.5 (VMRUN), 15.5.2 (VMSAVE and VMLOAD), 15.17
 * (global interrupt flag).
 *
 * One routine, because GS is the guest's between the two VMLOADs: no C code can run there. While GIF is
 * clear no interrupt or NMI arrives here; one that arrives in the guest ends the guest, and is
 * taken after STGI (NMI) or when the caller enables interrupts.
 */
#include <linux/linkage.h>
#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>

#ifndef VM_CLEAR_CPU_BUFFERS
#define VM_CLEAR_CPU_BUFFERS
#endif

/*
 * void yakvm_enter(u64 guest, u64 *registers, u64 host): guest and host are the physical addresses of the
 * VMCB and of a page for the host's state; registers are RAX (unused: it is in the VMCB), RCX, RDX, RBX,
 * RSP (unused), RBP, RSI, RDI, R8-R15. Interrupts are disabled before and after.
 */
	.text
SYM_FUNC_START(yakvm_enter)
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdx			/* host */
	push	%rsi			/* registers */

	clgi
	mov	%rdx, %rax
	vmsave	%rax			/* FS, GS, TR, LDTR and the MSRs of SYSCALL and SYSENTER */
	mov	%rdi, %rax
	vmload	%rax

	mov	1*8(%rsi), %rcx
	mov	2*8(%rsi), %rdx
	mov	3*8(%rsi), %rbx
	mov	5*8(%rsi), %rbp
	mov	7*8(%rsi), %rdi
	mov	8*8(%rsi), %r8
	mov	9*8(%rsi), %r9
	mov	10*8(%rsi), %r10
	mov	11*8(%rsi), %r11
	mov	12*8(%rsi), %r12
	mov	13*8(%rsi), %r13
	mov	14*8(%rsi), %r14
	mov	15*8(%rsi), %r15
	mov	6*8(%rsi), %rsi
	VM_CLEAR_CPU_BUFFERS		/* nothing of the host's is left in them */

	sti				/* V_INTR_MASKING: the host's IF decides about interrupts in the guest */
	vmrun	%rax
	cli

	vmsave	%rax			/* RAX and RSP are the host's again */
	pop	%rax			/* registers */
	mov	%rcx, 1*8(%rax)
	mov	%rdx, 2*8(%rax)
	mov	%rbx, 3*8(%rax)
	mov	%rbp, 5*8(%rax)
	mov	%rsi, 6*8(%rax)
	mov	%rdi, 7*8(%rax)
	mov	%r8, 8*8(%rax)
	mov	%r9, 9*8(%rax)
	mov	%r10, 10*8(%rax)
	mov	%r11, 11*8(%rax)
	mov	%r12, 12*8(%rax)
	mov	%r13, 13*8(%rax)
	mov	%r14, 14*8(%rax)
	mov	%r15, 15*8(%rax)
	pop	%rax			/* host */
	vmload	%rax

	/* The guest trains no branch of the host: before the first return. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
	UNTRAIN_RET
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
	ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT
#endif
	/* Nor does the kernel speculate with its values. */
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebx, %ebx
	xor	%ebp, %ebp
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
	stgi

	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	RET
SYM_FUNC_END(yakvm_enter)
