// SPDX-License-Identifier: MIT OR GPL-2.0
//! Memory slots and the log of written pages.

use std::path::Path;

use kvm_bindings::{
    KVM_CAP_NR_MEMSLOTS, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_dirty_log,
    kvm_userspace_memory_region,
};

use super::{Check, ensure, equal, fails_with};
use crate::guest::{DATA, MEMORY, MMIO, Machine, code, map};
use crate::kvm::{CHECK_EXTENSION, Errno, Exit, GET_DIRTY_LOG, Memory, SET_USER_MEMORY_REGION};

const PAGE: u64 = 4096;

/// A guest that writes RAX to [RBX], reports RBX, and begins anew; changed registers give each round its place.
fn writer(device: &Path) -> Result<Machine, String> {
    Machine::long(device, code!(64: "1: mov %rax, (%rbx)", "out %al, $0xE0", "jmp 1b"))
}

/// A guest that reads [RBX] to RAX and reports AL.
fn reader(device: &Path) -> Result<Machine, String> {
    Machine::long(device, code!(64: "1: mov (%rbx), %rax", "out %al, $0xE0", "jmp 1b"))
}

/// Lets the guest of [`writer`] write to this address.
fn write_to(machine: &mut Machine, address: u64, value: u64) -> Result<(), String> {
    machine.set(|regs| (regs.rbx, regs.rax) = (address, value))?;
    machine.expect_out(0xE0).map(drop)
}

/// The log of a slot of at most 64 pages.
fn log_of(machine: &Machine, slot: u32) -> Result<u64, Errno> {
    let mut bits = 0_u64;
    let mut log = kvm_dirty_log { slot, ..Default::default() };
    log.__bindgen_anon_1.dirty_bitmap = (&raw mut bits).cast();
    machine.vm.with(GET_DIRTY_LOG, &mut log)?;
    Ok(bits)
}

/// A slot with a log at 1 GiB minus 2 MiB, where the guest has 64 pages.
const LOGGED: u64 = (1 << 30) - (2 << 20);
const LOGGED_PAGES: u64 = 64;

pub const CHECKS: &[Check] = &[
    ("the guest reads and writes memory of the process", |device| {
        let mut machine = writer(device)?;
        write_to(&mut machine, DATA, 0x1122_3344_5566_7788)?;
        equal("memory", machine.memory.u64(DATA), 0x1122_3344_5566_7788)?;
        let mut machine = reader(device)?;
        machine.memory.put_u64(DATA, 0x99);
        machine.set(|regs| regs.rbx = DATA)?;
        equal("AL", machine.expect_out(0xE0)?, 0x99)?;
        machine.memory.put_u64(DATA, 0x77);
        equal("AL, after the process has written", machine.expect_out(0xE0)?, 0x77)
    }),
    ("slots do not overlap", |device| {
        let machine = writer(device)?;
        let other = Memory::new(0x2000);
        fails_with("inside", map(&machine.vm, 1, 0x1000, &other, 0, 0x1000, 0), libc::EEXIST)?;
        fails_with("at the end", map(&machine.vm, 1, MEMORY - PAGE, &other, 0, 0x2000, 0), libc::EEXIST)?;
        Ok(map(&machine.vm, 1, MEMORY, &other, 0, 0x2000, 0)?)
    }),
    ("slots are whole pages", |device| {
        let machine = writer(device)?;
        let other = Memory::new(0x3000);
        fails_with("guest", map(&machine.vm, 1, MEMORY + 1, &other, 0, PAGE, 0), libc::EINVAL)?;
        fails_with("size", map(&machine.vm, 1, MEMORY, &other, 0, PAGE + 1, 0), libc::EINVAL)?;
        fails_with("process", map(&machine.vm, 1, MEMORY, &other, 1, PAGE, 0), libc::EINVAL)
    }),
    ("a slot ends below the end of all addresses", |device| {
        let machine = writer(device)?;
        let other = Memory::new(0x2000);
        let at = 0_u64.wrapping_sub(PAGE);
        fails_with("guest", map(&machine.vm, 1, at, &other, 0, 2 * PAGE, 0), libc::EINVAL)?;
        let mut region = kvm_userspace_memory_region {
            slot: 1,
            guest_phys_addr: MEMORY,
            memory_size: PAGE,
            userspace_addr: 1 << 63,
            ..Default::default()
        };
        fails_with("the kernel's memory", machine.vm.with(SET_USER_MEMORY_REGION, &mut region), libc::EINVAL)
    }),
    ("numbers of slots, flags and new empty slots are checked", |device| {
        let machine = writer(device)?;
        let other = Memory::new(0x1000);
        let slots = machine.device.request(CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS.into())?;
        fails_with("number", map(&machine.vm, slots as u32, MEMORY, &other, 0, PAGE, 0), libc::EINVAL)?;
        fails_with("flag 31", map(&machine.vm, 1, MEMORY, &other, 0, PAGE, 1 << 31), libc::EINVAL)?;
        fails_with("empty", map(&machine.vm, 1, MEMORY, &other, 0, 0, 0), libc::EINVAL)
    }),
    ("a slot does not change its size or its memory", |device| {
        let machine = writer(device)?;
        fails_with("size", map(&machine.vm, 0, 0, &machine.memory, 0, MEMORY - PAGE, 0), libc::EINVAL)?;
        let other = Memory::new(MEMORY as usize);
        fails_with("memory", map(&machine.vm, 0, 0, &other, 0, MEMORY, 0), libc::EINVAL)
    }),
    ("a slot that is removed is memory that is not there", |device| {
        let mut machine = reader(device)?;
        let other = Memory::new(0x1000);
        other.put_u64(0, 0x55);
        map(&machine.vm, 1, MEMORY, &other, 0, PAGE, 0)?;
        machine.set(|regs| regs.rbx = MEMORY)?;
        equal("AL", machine.expect_out(0xE0)?, 0x55)?;
        map(&machine.vm, 1, MEMORY, &other, 0, 0, 0)?;
        machine.expect(Exit::Read { gpa: MEMORY, size: 8 })
    }),
    ("a slot moves", |device| {
        let mut machine = reader(device)?;
        let other = Memory::new(0x1000);
        other.put_u64(0, 0x55);
        map(&machine.vm, 1, MEMORY, &other, 0, PAGE, 0)?;
        machine.set(|regs| regs.rbx = MEMORY)?;
        machine.expect_out(0xE0)?;
        map(&machine.vm, 1, MMIO, &other, 0, PAGE, 0)?;
        machine.set(|regs| regs.rbx = MMIO)?;
        equal("AL", machine.expect_out(0xE0)?, 0x55)?;
        machine.set(|regs| regs.rbx = MEMORY)?;
        machine.expect(Exit::Read { gpa: MEMORY, size: 8 })
    }),
    ("read-only memory is read, and writes exit without an effect", |device| {
        let mut machine = writer(device)?;
        let other = Memory::new(0x1000);
        other.put_u64(8, 0x55);
        map(&machine.vm, 1, MEMORY, &other, 0, PAGE, KVM_MEM_READONLY)?;
        machine.set(|regs| (regs.rbx, regs.rax) = (MEMORY + 8, 0x0102_0304_0506_0708))?;
        machine.expect(Exit::Write { gpa: MEMORY + 8, data: vec![8, 7, 6, 5, 4, 3, 2, 1] })?;
        machine.expect_out(0xE0)?;
        equal("memory", other.u64(8), 0x55)?;
        let mut machine = reader(device)?;
        map(&machine.vm, 1, MEMORY, &other, 0, PAGE, KVM_MEM_READONLY)?;
        machine.set(|regs| regs.rbx = MEMORY + 8)?;
        equal("AL", machine.expect_out(0xE0)?, 0x55)
    }),
    ("memory becomes read-only and writable again", |device| {
        let mut machine = writer(device)?;
        let other = Memory::new(0x1000);
        for round in 1..=2 {
            map(&machine.vm, 1, MEMORY, &other, 0, PAGE, 0)?;
            write_to(&mut machine, MEMORY, round)?;
            equal("memory", other.u64(0), round)?;
            // KVM changes this flag only of slots that are created anew.
            map(&machine.vm, 1, MEMORY, &other, 0, 0, 0)?;
            map(&machine.vm, 1, MEMORY, &other, 0, PAGE, KVM_MEM_READONLY)?;
            ensure(matches!(machine.vcpu.run()?, Exit::Write { gpa: MEMORY, .. }), "written")?;
            machine.expect_out(0xE0)?;
            map(&machine.vm, 1, MEMORY, &other, 0, 0, 0)?;
        }
        Ok(())
    }),
    ("the log has the written pages, once", |device| {
        let mut machine = writer(device)?;
        let other = Memory::new((LOGGED_PAGES * PAGE) as usize);
        map(&machine.vm, 1, LOGGED, &other, 0, LOGGED_PAGES * PAGE, KVM_MEM_LOG_DIRTY_PAGES)?;
        equal("at first", log_of(&machine, 1)?, 0)?;
        for page in [3, 40, 3] {
            write_to(&mut machine, LOGGED + page * PAGE, 7)?;
        }
        equal("after writes", log_of(&machine, 1)?, 1 << 3 | 1 << 40)?;
        equal("again", log_of(&machine, 1)?, 0)?;
        write_to(&mut machine, LOGGED + 3 * PAGE, 7)?;
        equal("after another write", log_of(&machine, 1)?, 1 << 3)
    }),
    ("reads are not logged, and a write over two pages is both", |device| {
        let mut machine = reader(device)?;
        let other = Memory::new((LOGGED_PAGES * PAGE) as usize);
        map(&machine.vm, 1, LOGGED, &other, 0, LOGGED_PAGES * PAGE, KVM_MEM_LOG_DIRTY_PAGES)?;
        machine.set(|regs| regs.rbx = LOGGED)?;
        machine.expect_out(0xE0)?;
        equal("after a read", log_of(&machine, 1)?, 0)?;
        let mut machine = writer(device)?;
        map(&machine.vm, 1, LOGGED, &other, 0, LOGGED_PAGES * PAGE, KVM_MEM_LOG_DIRTY_PAGES)?;
        write_to(&mut machine, LOGGED + 2 * PAGE - 4, u64::MAX)?;
        equal("after a write", log_of(&machine, 1)?, 1 << 1 | 1 << 2)?;
        equal("memory", other.u64(2 * PAGE - 4), u64::MAX)
    }),
    ("a log is switched on later, and off", |device| {
        let mut machine = writer(device)?;
        let other = Memory::new((LOGGED_PAGES * PAGE) as usize);
        let slot =
            |machine: &Machine, flags| map(&machine.vm, 1, LOGGED, &other, 0, LOGGED_PAGES * PAGE, flags);
        slot(&machine, 0)?;
        write_to(&mut machine, LOGGED, 1)?;
        fails_with("without a log", log_of(&machine, 1), libc::ENOENT)?;
        slot(&machine, KVM_MEM_LOG_DIRTY_PAGES)?;
        write_to(&mut machine, LOGGED + PAGE, 1)?;
        write_to(&mut machine, LOGGED, 2)?;
        equal("log", log_of(&machine, 1)? & 3, 3)?;
        slot(&machine, 0)?;
        fails_with("off", log_of(&machine, 1), libc::ENOENT)?;
        write_to(&mut machine, LOGGED, 3)?;
        equal("memory", other.u64(0), 3)
    }),
    ("the log of a slot that is not there is refused", |device| {
        let machine = writer(device)?;
        fails_with("slot 9", log_of(&machine, 9), libc::ENOENT)?;
        fails_with("slot 1 << 20", log_of(&machine, 1 << 20), libc::EINVAL)
    }),
    ("memory that the process gives back reads as zeros", |device| {
        let mut machine = reader(device)?;
        machine.memory.put_u64(DATA, 0x66);
        machine.set(|regs| regs.rbx = DATA)?;
        equal("AL", machine.expect_out(0xE0)?, 0x66)?;
        machine.memory.discard(DATA, PAGE);
        equal("AL, afterwards", machine.expect_out(0xE0)?, 0)?;
        machine.memory.put_u64(DATA, 0x44);
        equal("AL, written anew", machine.expect_out(0xE0)?, 0x44)
    }),
    ("memory that the process has not is a failure with EFAULT", |device| {
        let mut machine = writer(device)?;
        let other = Memory::new(0x1000);
        map(&machine.vm, 1, MEMORY, &other, 0, PAGE, 0)?;
        drop(other);
        machine.set(|regs| regs.rbx = MEMORY)?;
        fails_with("KVM_RUN", machine.vcpu.run(), libc::EFAULT)
    }),
    ("a slot of 256 GiB costs no memory", |device| {
        let machine = writer(device)?;
        // Reserved addresses without memory.
        let size = 1_u64 << 38;
        let (access, kind) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: a new mapping where the kernel finds room.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size as usize, access, kind, -1, 0) };
        ensure(start != libc::MAP_FAILED, "no addresses")?;
        let region = kvm_userspace_memory_region {
            slot: 1,
            guest_phys_addr: 1 << 32,
            memory_size: size,
            userspace_addr: start as u64,
            ..Default::default()
        };
        Ok(machine.vm.set(SET_USER_MEMORY_REGION, &region)?)
    }),
    ("the process's own copy of a page is what the guest sees (COW)", |device| {
        let mut machine = reader(device)?;
        machine.set(|regs| regs.rbx = DATA)?;
        // A page that was only read is the page of zeros, until somebody writes.
        equal("AL", machine.expect_out(0xE0)?, 0)?;
        machine.memory.put_u64(DATA, 0x33);
        equal("AL, written", machine.expect_out(0xE0)?, 0x33)
    }),
];
