// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Memory-mapped I/O. AMD APM volume 2, chapters 15.25.6 (nested page faults) and 13.1.4 (single-step).
 *
 * The guest has touched a page that is no memory. The processor itself carries the instruction out, in a
 * single step, with a window in the place of the device: a page of ours. What user space answers to reads is
 * put there before the step, what the instruction writes is taken from there after it. Only this vCPU has
 * the window: it steps on a copy of the nested page tables that lead there. The processor says where an
 * instruction accesses memory, core/ how many bytes.
 *
 * The step is repeated as often as it finds another access: pages of the window are readable after an access
 * that reads, and writable after one that writes.
 */
#include <linux/mm.h>
#include <asm/debugreg.h>
#include <asm/io.h>
#include <asm/trapnr.h>
#include "yakvm.h"

/* Exceptions with an error code: chapter 8.2. */
#define HAS_ERROR	(BIT(DF_VECTOR) | BIT(TS_VECTOR) | BIT(NP_VECTOR) | BIT(SS_VECTOR) | BIT(GP_VECTOR) | \
			 BIT(PF_VECTOR) | BIT(AC_VECTOR))
#define MMIO_BYTES	8u	/* of one exit to user space */

/* ---- pages ---- */

static u8 *place(struct vcpu *vcpu, const struct access *access)
{
	return vcpu->window.pages[access->page].data + offset_in_page(access->gpa);
}

/* The window's page for a frame, or -ENOENT. */
static int find_page(struct window *window, u64 frame)
{
	u32 i;

	for (i = 0; i < window->page_count; i++)
		if (window->pages[i].frame == frame)
			return i;
	return -ENOENT;
}

/* One more page, which has the contents of memory that can only be read; or -ENOSPC. */
static int add_page(struct vcpu *vcpu, u64 frame)
{
	struct window *window = &vcpu->window;
	struct window_page *page = &window->pages[window->page_count];

	if (window->page_count == WINDOW_PAGES)
		return -ENOSPC;
	page->frame = frame;
	page->writable = false;
	memset(page->data, 0, PAGE_SIZE);
	page->memory = !memory_copy(vcpu->vm, frame << PAGE_SHIFT, page->data, PAGE_SIZE, false);
	return window->page_count++;
}

/* Memory for the window, once for each vCPU that needs one. */
static int allocate(struct window *window)
{
	u32 i;

	for (i = 0; i < WINDOW_TABLES; i++) {
		window->tables[i] = window->tables[i] ?: (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!window->tables[i])
			return -ENOMEM;
	}
	for (i = 0; i < WINDOW_PAGES; i++) {
		window->pages[i].data = window->pages[i].data ?: (u8 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!window->pages[i].data)
			return -ENOMEM;
	}
	return 0;
}

void window_free(struct window *window)
{
	u32 i;

	for (i = 0; i < WINDOW_TABLES; i++)
		free_page((unsigned long)window->tables[i]);
	for (i = 0; i < WINDOW_PAGES; i++)
		free_page((unsigned long)window->pages[i].data);
}

/* The instruction is over, or abandoned. */
void window_close(struct vcpu *vcpu)
{
	struct window *window = &vcpu->window;

	window->open = window->over = window->probed = false;
	window->page_count = window->access_count = 0;
	window->probe = NULL;
}

/* ---- accesses ---- */

/* The access at this address. A new one ends with its page: the rest is an access to the next page. */
static struct access *find_access(struct vcpu *vcpu, u64 gpa, u32 page)
{
	struct window *window = &vcpu->window;
	struct access *access = window->accesses;

	for (; access < window->accesses + window->access_count; access++)
		if (access->gpa == gpa)
			return access;
	if (window->access_count == WINDOW_ACCESSES)
		return NULL;
	*access = (struct access) {
		.gpa = gpa, .page = page, .size = min_t(u64, window->insn.size, PAGE_SIZE - offset_in_page(gpa)),
	};
	/* The rest of the access before, which its page has cut off. */
	if (window->access_count && !offset_in_page(gpa) && access[-1].size < window->insn.size)
		access->size = window->insn.size - access[-1].size;
	window->access_count++;
	return access;
}

/* CMPS reads both operands. If they share a page, reading the first one would open it for the second. */
static int find_second_operand(struct vcpu *vcpu, u32 page)
{
	struct yakvm_walk walk;
	struct access *access;
	u32 i;

	for (i = 0; i < 2; i++) {
		u64 linear = string_address(vcpu, &vcpu->window.insn, i ? RDI : RSI);

		if (vcpu_translate(vcpu, linear, 0, &walk) || walk.gpa >> PAGE_SHIFT != vcpu->window.pages[page].frame)
			continue;
		access = find_access(vcpu, walk.gpa, page);
		if (!access)
			return -ENOSPC;
		access->reads = true;
	}
	return 0;
}

/* The read of a step to come, or the write of one that is over. */
static int exit_mmio(struct vcpu *vcpu, struct access *access)
{
	struct kvm_run *run = vcpu->run;
	bool write = vcpu->window.over;

	vcpu->pending = MMIO;
	vcpu->pending_rip = vcpu_pc(vcpu);
	vcpu->window.access = access;
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = access->gpa + access->done;
	run->mmio.len = min(MMIO_BYTES, access->size - access->done);
	run->mmio.is_write = write;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	if (write)
		memcpy(run->mmio.data, place(vcpu, access) + access->done, run->mmio.len);
	return 0;
}

/* What comes next: user space reads, then the step, then user space writes, then the next instruction. */
static int next(struct vcpu *vcpu)
{
	struct window *window = &vcpu->window;
	struct access *access;

	for (access = window->accesses; access < window->accesses + window->access_count; access++) {
		if (!(window->over ? access->writes : access->reads) || access->done == access->size)
			continue;
		/* User space may have put memory there when it answered the read. */
		if (!window->over || memory_copy(vcpu->vm, access->gpa, place(vcpu, access), access->size, true))
			return exit_mmio(vcpu, access);
	}
	if (window->over) {
		window_close(vcpu);
		return finish(vcpu);
	}
	window->open = true;
	return 1;
}

/* User space has answered, or taken what was written. */
int window_resume(struct vcpu *vcpu)
{
	struct access *access = vcpu->window.access;
	u32 count = min(MMIO_BYTES, access->size - access->done);

	if (!vcpu->window.over)
		memcpy(place(vcpu, access) + access->done, vcpu->run->mmio.data, count);
	access->done += count;
	return next(vcpu);
}

/* The guest has touched what is no memory: with this instruction, or once more in its step. */
int window_fault(struct vcpu *vcpu, u64 gpa, bool write)
{
	struct window *window = &vcpu->window;
	struct access *access;
	bool modifies;
	u8 bytes[15];
	int page;

	/* The processor was pushing an event's frame: there is no instruction to repeat. */
	if (vcpu->vmcb->control.exit_int_info & SVM_EXITINTINFO_VALID)
		return exit_error(vcpu, KVM_INTERNAL_ERROR_DELIVERY_EV);
	if (!window->page_count) {
		if (allocate(window))
			return -ENOMEM;
		if (yakvm_decode(bytes, fetch(vcpu, bytes), code_bits(vcpu), &window->insn))
			return exit_emulation(vcpu);
	}
	modifies = window->insn.flags & YAKVM_MODIFIES;
	page = find_page(window, gpa >> PAGE_SHIFT);
	if (page < 0)
		page = add_page(vcpu, gpa >> PAGE_SHIFT);
	access = page < 0 ? NULL : find_access(vcpu, gpa, page);
	/* The trap flag in what PUSHF pushes is taken out in one piece. */
	if (!access || (window->insn.flags & YAKVM_PUSHES_FLAGS && access->size != window->insn.size))
		goto refuse;
	if (!window->pages[page].memory && (!write || modifies))
		access->reads = true;
	if (write || modifies) {
		access->writes = true;
		window->pages[page].writable = true;
		/* Perhaps the end of an operand that begins on the page before: how long is it? */
		if (!offset_in_page(gpa) && access->size > 1 && !modifies)
			window->probe = access;
	}
	if (window->insn.flags & YAKVM_COMPARES && find_second_operand(vcpu, page))
		goto refuse;
	return next(vcpu);
refuse:
	window_close(vcpu);
	return exit_emulation(vcpu);
}

/* ---- the step ---- */

/* Other processors change entries meanwhile: each is copied as a whole, which memcpy does not promise. */
static void copy_table(u64 *to, const u64 *from)
{
	unsigned long count = PTRS_PER_PTE;

	asm volatile("rep movsq" : "+D" (to), "+S" (from), "+c" (count) : : "memory");
}

/* The VM's nested page tables with the window in them; tables[0] is the root, or the last one if it has five levels. */
static u64 build_tables(struct vcpu *vcpu)
{
	struct window *window = &vcpu->window;
	u64 *table, *entry, **unused = window->tables;
	u32 i, level;

	copy_table(*unused++, vcpu->vm->npt);
	for (i = 0; i < window->page_count; i++) {
		struct window_page *page = &window->pages[i];
		u64 gpa = page->frame << PAGE_SHIFT;

		/* Each table on the way is copied; those of the first page once more for the second one. */
		table = window->tables[0];
		for (level = 4; level > 1; level--) {
			entry = &table[yakvm_npt_index(gpa, level)];
			table = *unused++;
			if (*entry)
				copy_table(table, __va(yakvm_npt_address(*entry)));
			else
				memset(table, 0, PAGE_SIZE);
			*entry = yakvm_npt_table(__pa(table));
		}
		table[yakvm_npt_index(gpa, 1)] = yakvm_npt_page(__pa(page->data), page->writable, false);
	}
	if (!vcpu->vm->npt_level5)
		return __pa(window->tables[0]);
	window->tables[WINDOW_TABLES - 1][0] = yakvm_npt_table(__pa(window->tables[0]));
	return __pa(window->tables[WINDOW_TABLES - 1]);
}

/* Before VMRUN, with interrupts off: a copy of the tables becomes old like translations in the TLB (npt_flush). */
void window_enter(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	struct window *window = &vcpu->window;

	control->nested_cr3 = build_tables(vcpu);
	vcpu->flush = true;
	/* No event comes between, and no exception is delivered with our trap flag in its frame. */
	control->event_inj = 0;
	control->int_ctl &= ~V_IRQ_INJECTION_BITS_MASK;
	window->intercepts = control->intercepts[INTERCEPT_EXCEPTION];
	control->intercepts[INTERCEPT_EXCEPTION] = ~0;
	if (!window->probed)
		window->before = vcpu->regs;
	window->trap_flag = vcpu->regs.rflags & X86_EFLAGS_TF;
	vcpu->regs.rflags |= X86_EFLAGS_TF;
}

static void restore_trap_flag(struct vcpu *vcpu)
{
	vcpu->regs.rflags = (vcpu->regs.rflags & ~(u64)X86_EFLAGS_TF) | vcpu->window.trap_flag;
}

/* The instruction is carried out, and its writes are in the window. */
static int step_over(struct vcpu *vcpu)
{
	struct window *window = &vcpu->window;
	struct access *access = window->probe;
	u8 *data = access ? place(vcpu, access) : NULL;
	u32 i;

	/* Once more, on other bytes: those that it writes are the same both times. */
	if (access && !window->probed) {
		memcpy(window->first, data, sizeof(window->first));
		for (i = 0; i < sizeof(window->first); i++)
			data[i] = ~data[i];
		vcpu->regs = window->before;
		restore_trap_flag(vcpu);
		window->probed = window->open = true;
		return 1;
	}
	if (access) {
		for (i = 0; i < access->size && data[i] == window->first[i]; i++)
			;
		access->size = i;
	}
	if (!(window->insn.flags & YAKVM_POPS_FLAGS))
		restore_trap_flag(vcpu);
	window->over = true;
	vcpu->traps = vcpu->vmcb->save.dr6 & DR_TRAP_BITS;
	for (access = window->accesses; access < window->accesses + window->access_count; access++) {
		access->done = 0;
		/* The trap flag that was pushed is ours. */
		if (window->insn.flags & YAKVM_PUSHES_FLAGS && access->size == window->insn.size &&
		    (vcpu->stepping || !window->trap_flag))
			place(vcpu, access)[1] &= ~(X86_EFLAGS_TF >> 8);
	}
	return next(vcpu);
}

/* A page of the window is the window's, whatever is there by now. */
static int step_fault(struct vcpu *vcpu)
{
	u64 gpa = vcpu->vmcb->control.exit_info_2;

	if (find_page(&vcpu->window, gpa >> PAGE_SHIFT) < 0)
		return handle_npf(vcpu);
	return window_fault(vcpu, gpa, vcpu->vmcb->control.exit_info_1 & PF_WRITE);
}

/* After the exit. */
int window_exit(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &vcpu->vmcb->control;
	u32 code = control->exit_code, vector = code - SVM_EXIT_EXCP_BASE;
	struct window *window = &vcpu->window;
	int result;

	control->nested_cr3 = vcpu->vm->nested_cr3;
	control->intercepts[INTERCEPT_EXCEPTION] = window->intercepts;
	vcpu->flush = true;
	window->open = false;
	if (vector == DB_VECTOR && vcpu->vmcb->save.dr6 & DR_STEP)
		return step_over(vcpu);
	/* Other code has come in the instruction's place, and has left the step without a trap (SYSCALL, INT n). */
	if (!(vcpu->regs.rflags & X86_EFLAGS_TF))
		window_close(vcpu);
	else
		restore_trap_flag(vcpu);
	switch (code) {
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
		window->open = window->page_count;
		return 1;
	case SVM_EXIT_NPF:
		result = step_fault(vcpu);
		window->open = result == 1 && window->page_count;
		if (result <= 0 && vcpu->pending != MMIO)
			window_close(vcpu);
		return result;
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_EXCP_BASE + 31:
		if (vector == DB_VECTOR || vector == MC_VECTOR)
			break;
		window_close(vcpu);
		if (vector == PF_VECTOR)
			vcpu->vmcb->save.cr2 = control->exit_info_2;
		return raise(vcpu, vector, BIT(vector) & HAS_ERROR, control->exit_info_1);
	}
	window_close(vcpu);
	return handle_exit(vcpu);
}
