// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Guest memory: slots, nested page tables, dirty log. AMD APM volume 2, chapter 15.25 (nested paging) and
 * 5.3 (format of the tables).
 *
 * Guest memory is memory of the process. Nothing is pinned: a page is looked up when the guest
 * first touches it (memory_fault), and the kernel notifies us before it takes a page away (notifier).
 * The dirty log works by write protection: the first write to a page after GET_DIRTY_LOG faults.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <asm/io.h>
#include "yakvm.h"

#define PRESENT		BIT_ULL(0)
#define WRITABLE	BIT_ULL(1)
#define NPT_LEVELS	4
#define GUEST_FRAMES	BIT_ULL(48 - PAGE_SHIFT)	/* what four levels reach */

static struct slot *slot_of(struct vm *vm, u64 frame)
{
	struct slot *slot;
	u32 i;

	lockdep_assert_held(&vm->lock);
	for (i = 0; i < vm->slot_end; i++) {
		slot = vm->slots[i];
		if (slot && frame - slot->frame < slot->pages)
			return slot;
	}
	return NULL;
}

/* ---- nested page tables ---- */

/* The lowest level's entry for a frame. Missing tables are taken from `spare`; without it: NULL. */
static u64 *npt_entry(struct vm *vm, u64 frame, u64 **spare)
{
	u64 *table = vm->npt, *entry;
	u32 level;

	for (level = NPT_LEVELS; level > 1; level--) {
		entry = &table[yakvm_npt_index(frame << PAGE_SHIFT, level)];
		if (!(*entry & PRESENT)) {
			if (!spare)
				return NULL;
			WRITE_ONCE(*entry, yakvm_npt_table(__pa(spare[level - 2])));
			spare[level - 2] = NULL;
		}
		table = __va(yakvm_npt_address(*entry));
	}
	return &table[yakvm_npt_index(frame << PAGE_SHIFT, 1)];
}

/* Clears `bits` in the entries of the frames first to last. */
static void npt_clear(u64 *table, u32 level, u64 first, u64 last, u64 bits)
{
	u64 frames = yakvm_npt_size(level) >> PAGE_SHIFT, frame, next, *entry;

	for (frame = first; frame <= last; frame = next) {
		next = (frame & ~(frames - 1)) + frames;
		entry = &table[yakvm_npt_index(frame << PAGE_SHIFT, level)];
		if (!(*entry & PRESENT))
			continue;
		if (level > 1) {
			npt_clear(__va(yakvm_npt_address(*entry)), level - 1, frame, min(last, next - 1), bits);
			continue;
		}
		if (*entry & bits & WRITABLE)
			SetPageDirty(pfn_to_page(yakvm_npt_address(*entry) >> PAGE_SHIFT));
		WRITE_ONCE(*entry, *entry & ~bits);
	}
}

static void npt_free(u64 *table, u32 level)
{
	u32 i;

	for (i = 0; level > 1 && i < PTRS_PER_PTE; i++)
		if (table[i] & PRESENT)
			npt_free(__va(yakvm_npt_address(table[i])), level - 1);
	free_page((unsigned long)table);
}

static void left_guest(void *unused)
{
}

/*
 * Makes all vCPUs forget their translations. Afterwards none uses an old one: those in the guest have
 * left it, and all see `flushes` before they enter (run.c has the other half of this handshake).
 */
static void npt_flush(struct vm *vm)
{
	u32 i;

	lockdep_assert_held(&vm->lock);
	atomic64_inc(&vm->flushes);
	smp_mb();
	for (i = 0; i < MAX_VCPUS; i++) {
		struct vcpu *vcpu = READ_ONCE(vm->vcpus[i]);
		int cpu = vcpu ? READ_ONCE(vcpu->running_on) : -1;

		if (cpu >= 0)
			smp_call_function_single(cpu, left_guest, NULL, true);
	}
}

static void npt_change(struct vm *vm, u64 first, u64 last, u64 bits)
{
	npt_clear(vm->npt, NPT_LEVELS, first, last, bits);
	npt_flush(vm);
}

/* ---- the process's memory changes ---- */

static int invalidate_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct vm *vm = container_of(notifier, struct vm, notifier);
	u32 i;

	spin_lock(&vm->lock);
	vm->invalidating++;
	for (i = 0; i < vm->slot_end; i++) {
		struct slot *slot = vm->slots[i];
		u64 start, end;

		if (!slot)
			continue;
		start = max_t(u64, range->start, slot->address);
		end = min_t(u64, range->end, slot->address + (slot->pages << PAGE_SHIFT));
		if (start < end)
			npt_change(vm, slot->frame + ((start - slot->address) >> PAGE_SHIFT),
				   slot->frame + ((end - 1 - slot->address) >> PAGE_SHIFT), ~0ULL);
	}
	spin_unlock(&vm->lock);
	return 0;
}

static void invalidate_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct vm *vm = container_of(notifier, struct vm, notifier);

	spin_lock(&vm->lock);
	vm->changes++;
	vm->invalidating--;
	spin_unlock(&vm->lock);
}

static void mm_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct vm *vm = container_of(notifier, struct vm, notifier);

	spin_lock(&vm->lock);
	vm->changes++;
	npt_change(vm, 0, GUEST_FRAMES - 1, ~0ULL);
	spin_unlock(&vm->lock);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = invalidate_start,
	.invalidate_range_end = invalidate_end,
	.release = mm_release,
};

/* ---- slots ---- */

static void slot_free(struct slot *slot)
{
	if (slot) {
		kvfree(slot->dirty);
		kvfree(slot->spare);
	}
	kfree(slot);
}

static size_t log_bytes(const struct slot *slot)
{
	return BITS_TO_LONGS(slot->pages) * sizeof(long);
}

static int slot_check(struct vm *vm, const struct kvm_userspace_memory_region *region, struct slot *old)
{
	u64 first = region->guest_phys_addr >> PAGE_SHIFT, pages = region->memory_size >> PAGE_SHIFT;
	u32 i;

	if (region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if (!PAGE_ALIGNED(region->guest_phys_addr) || !PAGE_ALIGNED(region->memory_size) ||
	    !PAGE_ALIGNED(region->userspace_addr))
		return -EINVAL;
	if (first >= GUEST_FRAMES || pages > GUEST_FRAMES - first)
		return -EINVAL;
	if (!pages)
		return old ? 0 : -EINVAL;
	if (!access_ok((void __user *)region->userspace_addr, region->memory_size) || pages > INT_MAX)
		return -EINVAL;
	if (old && (old->pages != pages || old->address != region->userspace_addr ||
		    ((old->flags ^ region->flags) & KVM_MEM_READONLY)))
		return -EINVAL;
	for (i = 0; i < vm->slot_end; i++) {
		struct slot *other = vm->slots[i];

		if (other && other != old && first < other->frame + other->pages && other->frame < first + pages)
			return -EEXIST;
	}
	return 0;
}

/* KVM_SET_USER_MEMORY_REGION. */
int memory_set_slot(struct vm *vm, const struct kvm_userspace_memory_region *region)
{
	struct slot *old, *new = NULL;
	bool logging = region->flags & KVM_MEM_LOG_DIRTY_PAGES;
	int error;

	if (region->slot >= MAX_SLOTS)
		return -EINVAL;
	mutex_lock(&vm->mutex);
	old = vm->slots[region->slot];
	error = slot_check(vm, region, old);
	if (error)
		goto out;
	if (region->memory_size) {
		error = -ENOMEM;
		new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
		if (!new)
			goto out;
		new->frame = region->guest_phys_addr >> PAGE_SHIFT;
		new->pages = region->memory_size >> PAGE_SHIFT;
		new->address = region->userspace_addr;
		new->flags = region->flags;
		/* The log of a slot that stays where it is goes on. */
		if (logging && old && old->dirty && old->frame == new->frame) {
			slot_free(new);
			error = 0;
			goto out;
		}
		if (logging) {
			new->dirty = kvzalloc(log_bytes(new), GFP_KERNEL_ACCOUNT);
			new->spare = kvzalloc(log_bytes(new), GFP_KERNEL_ACCOUNT);
			if (!new->dirty || !new->spare) {
				slot_free(new);
				goto out;
			}
		}
		error = 0;
	}

	spin_lock(&vm->lock);
	vm->slots[region->slot] = new;
	if (new)
		vm->slot_end = max(vm->slot_end, region->slot + 1);
	while (vm->slot_end && !vm->slots[vm->slot_end - 1])
		vm->slot_end--;
	vm->changes++;
	/* A slot that stays where it is keeps its translations; with a log they become read-only. */
	if (old && (!new || old->frame != new->frame))
		npt_change(vm, old->frame, old->frame + old->pages - 1, ~0ULL);
	else if (old && logging)
		npt_change(vm, old->frame, old->frame + old->pages - 1, WRITABLE);
	spin_unlock(&vm->lock);
	/* Copies from and to the old slot end before the caller may use its memory otherwise. */
	down_write(&vm->copies);
	up_write(&vm->copies);
	slot_free(old);
out:
	mutex_unlock(&vm->mutex);
	return error;
}

static void mark_dirty(struct slot *slot, u64 frame)
{
	if (slot && slot->dirty) {
		__set_bit(frame - slot->frame, slot->dirty);
		slot->any_dirty = true;
	}
}

/* KVM_GET_DIRTY_LOG: the pages that were written since the last time. A clean slot costs no walk. */
int memory_dirty_log(struct vm *vm, const struct kvm_dirty_log *log)
{
	struct slot *slot;
	u64 bit, *entry;
	bool protect = false;
	int error = -ENOENT;

	if (log->slot >= MAX_SLOTS)
		return -EINVAL;
	mutex_lock(&vm->mutex);
	slot = vm->slots[log->slot];
	if (!slot || !slot->dirty)
		goto out;
	error = 0;
	if (!READ_ONCE(slot->any_dirty)) {
		if (clear_user(log->dirty_bitmap, log_bytes(slot)))
			error = -EFAULT;
		goto out;
	}
	spin_lock(&vm->lock);
	swap(slot->dirty, slot->spare);
	slot->any_dirty = false;
	for_each_set_bit(bit, slot->spare, slot->pages) {
		entry = npt_entry(vm, slot->frame + bit, NULL);
		if (entry && *entry & WRITABLE) {
			npt_clear(vm->npt, NPT_LEVELS, slot->frame + bit, slot->frame + bit, WRITABLE);
			protect = true;
		}
	}
	if (protect)
		npt_flush(vm);
	spin_unlock(&vm->lock);
	if (copy_to_user(log->dirty_bitmap, slot->spare, log_bytes(slot)))
		error = -EFAULT;
	memset(slot->spare, 0, log_bytes(slot));
out:
	mutex_unlock(&vm->mutex);
	return error;
}

/* ---- accesses ---- */

/* Tables for one more page, allocated where sleeping is allowed. */
static int spare_tables(u64 **spare)
{
	int i;

	for (i = 0; i < NPT_LEVELS - 1; i++) {
		spare[i] = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!spare[i])
			return -ENOMEM;
	}
	return 0;
}

/*
 * The guest has touched a page without a translation. 1: it can go on; 0: this is no memory (or
 * read-only memory and a write), so the access is the user's; an error otherwise.
 */
int memory_fault(struct vm *vm, u64 gpa, bool write)
{
	u64 frame = gpa >> PAGE_SHIFT, address, changes, *spare[NPT_LEVELS - 1] = {};
	bool writable, logged, have_tables;
	struct slot *slot;
	struct page *page;
	int result, i;

	spin_lock(&vm->lock);
	changes = vm->changes;
	slot = slot_of(vm, frame);
	if (!slot || (write && slot->flags & KVM_MEM_READONLY)) {
		spin_unlock(&vm->lock);
		return 0;
	}
	address = slot->address + ((frame - slot->frame) << PAGE_SHIFT);
	writable = !(slot->flags & KVM_MEM_READONLY);
	logged = slot->dirty;
	have_tables = npt_entry(vm, frame, NULL);
	spin_unlock(&vm->lock);

	/* Writable at once if that costs nothing; a page that is only read stays the shared page of zeros. */
	writable = writable && (write || !logged);
	if (!writable || !get_user_page_fast_only(address, FOLL_WRITE, &page)) {
		writable = write;
		result = get_user_pages_fast(address, 1, write ? FOLL_WRITE : 0, &page);
		if (result != 1)
			return result < 0 ? result : -EFAULT;
	}
	result = have_tables ? 0 : spare_tables(spare);
	if (result)
		goto out;

	spin_lock(&vm->lock);
	/* If anything has changed since the look-up, the guest just tries again. */
	if (!vm->invalidating && vm->changes == changes) {
		u64 *entry = npt_entry(vm, frame, have_tables ? NULL : spare);

		/* Nobody frees tables of a living VM, so they are still there. */
		if (!(*entry & WRITABLE))
			WRITE_ONCE(*entry, yakvm_npt_page(page_to_phys(page), writable, false));
		if (writable)
			mark_dirty(slot_of(vm, frame), frame);
	}
	spin_unlock(&vm->lock);
	result = 1;
out:
	put_page(page);
	for (i = 0; i < NPT_LEVELS - 1; i++)
		free_page((unsigned long)spare[i]);
	return result;
}

static int copy(struct vm *vm, u64 gpa, void *data, u32 count, bool write)
{
	u64 frame = gpa >> PAGE_SHIFT;
	void __user *address;
	struct slot *slot;

	spin_lock(&vm->lock);
	slot = slot_of(vm, frame);
	if (!slot || (write && slot->flags & KVM_MEM_READONLY)) {
		spin_unlock(&vm->lock);
		return -ENOENT;
	}
	address = (void __user *)(slot->address + gpa - (slot->frame << PAGE_SHIFT));
	spin_unlock(&vm->lock);
	if (write ? copy_to_user(address, data, count) : copy_from_user(data, address, count))
		return -EFAULT;
	if (write) {
		spin_lock(&vm->lock);
		mark_dirty(slot_of(vm, frame), frame);
		spin_unlock(&vm->lock);
	}
	return 0;
}

/* Copies from or to guest memory, not across a page. -ENOENT: there is none, or it is read-only. */
int memory_copy(struct vm *vm, u64 gpa, void *data, u32 count, bool write)
{
	int error;

	down_read(&vm->copies);
	error = copy(vm, gpa, data, count, write);
	up_read(&vm->copies);
	return error;
}

int memory_init(struct vm *vm)
{
	int error;

	spin_lock_init(&vm->lock);
	mutex_init(&vm->mutex);
	init_rwsem(&vm->copies);
	vm->npt = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vm->npt)
		return -ENOMEM;
	vm->nested_cr3 = __pa(vm->npt);
	/* The nested tables have as many levels as the host's. */
	if (pgtable_l5_enabled()) {
		vm->npt_level5 = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!vm->npt_level5) {
			free_page((unsigned long)vm->npt);
			return -ENOMEM;
		}
		vm->npt_level5[0] = yakvm_npt_table(vm->nested_cr3);
		vm->nested_cr3 = __pa(vm->npt_level5);
	}
	vm->mm = current->mm;
	vm->notifier.ops = &notifier_ops;
	error = mmu_notifier_register(&vm->notifier, vm->mm);
	if (error) {
		free_page((unsigned long)vm->npt_level5);
		free_page((unsigned long)vm->npt);
	}
	return error;
}

/* The last user is gone: no vCPU runs. */
void memory_destroy(struct vm *vm)
{
	u32 i;

	/* Calls mm_release, unless the process has ended already. */
	mmu_notifier_unregister(&vm->notifier, vm->mm);
	for (i = 0; i < MAX_SLOTS; i++)
		slot_free(vm->slots[i]);
	npt_free(vm->npt, NPT_LEVELS);
	free_page((unsigned long)vm->npt_level5);
}
