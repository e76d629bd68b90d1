// SPDX-License-Identifier: MIT OR GPL-2.0
//! Requests that are wrong.

use kvm_bindings::{kvm_regs, kvm_sregs, kvm_userspace_memory_region};

use super::{Check, ensure, fails_with};
use crate::guest::{Machine, code};
use crate::kvm::{
    CREATE_VM, Exit, File, GET_CPUID2, GET_DEBUGREGS, GET_DIRTY_LOG, GET_FPU, GET_MP_STATE,
    GET_MSR_INDEX_LIST, GET_MSRS, GET_REGS, GET_SREGS, GET_SUPPORTED_CPUID, GET_VCPU_EVENTS, GET_XCRS,
    GET_XSAVE, INTERRUPT, RUN, SET_CPUID2, SET_DEBUGREGS, SET_FPU, SET_GUEST_DEBUG, SET_IDENTITY_MAP_ADDR,
    SET_MP_STATE, SET_MSRS, SET_REGS, SET_SIGNAL_MASK, SET_SREGS, SET_TSS_ADDR, SET_USER_MEMORY_REGION,
    SET_VCPU_EVENTS, SET_XCRS, SET_XSAVE, TRANSLATE, io, last_error, read, write,
};

fn halting(device: &std::path::Path) -> Result<Machine, String> {
    Machine::long(device, code!(64: "1: hlt", "jmp 1b"))
}

pub const CHECKS: &[Check] = &[
    ("requests that do not exist are refused as by KVM", |device| {
        let machine = halting(device)?;
        for number in [0x77, 0xFE] {
            fails_with("on the device", machine.device.request(io(number), 0), libc::EINVAL)?;
            fails_with("on the machine", machine.vm.request(io(number), 0), libc::ENOTTY)?;
            fails_with("on the vCPU", machine.vcpu.file.request(io(number), 0), libc::EINVAL)?;
        }
        // Of another kind: TCGETS.
        fails_with("TCGETS on the vCPU", machine.vcpu.file.request(0x5401, 0), libc::EINVAL)
    }),
    ("requests on the wrong kind of file are refused", |device| {
        let machine = halting(device)?;
        fails_with("KVM_RUN on the device", machine.device.request(RUN, 0), libc::EINVAL)?;
        fails_with("KVM_RUN on the machine", machine.vm.request(RUN, 0), libc::ENOTTY)?;
        let mut region = kvm_userspace_memory_region::default();
        let region = machine.vcpu.file.with(SET_USER_MEMORY_REGION, &mut region);
        fails_with("a slot on the vCPU", region, libc::EINVAL)
    }),
    ("structures of another size are refused", |device| {
        let machine = halting(device)?;
        let mut room = [0_u64; 64];
        let larger = read(0x81, size_of::<kvm_regs>() + 8);
        fails_with("KVM_GET_REGS", machine.vcpu.file.with(larger, &mut room), libc::EINVAL)?;
        let smaller = write(0x84, size_of::<kvm_sregs>() - 8);
        fails_with("KVM_SET_SREGS", machine.vcpu.file.with(smaller, &mut room), libc::EINVAL)
    }),
    ("KVM_RUN refuses an argument", |device| {
        fails_with("KVM_RUN", halting(device)?.vcpu.file.request(RUN, 1), libc::EINVAL)
    }),
    ("structures at addresses that are not mapped are EFAULT", |device| {
        let machine = halting(device)?;
        // In the last page below the kernel's half, which no process has, and in the kernel's.
        for address in [0x10, 0xFFFF_8000_0000_0000] {
            for request in [GET_MSR_INDEX_LIST, GET_SUPPORTED_CPUID] {
                let result = machine.device.request(request, address);
                fails_with(&format!("{request:#x} of the device"), result, libc::EFAULT)?;
            }
            for request in [SET_USER_MEMORY_REGION, GET_DIRTY_LOG] {
                let result = machine.vm.request(request, address);
                fails_with(&format!("{request:#x} of the machine"), result, libc::EFAULT)?;
            }
            for request in [
                GET_REGS,
                SET_REGS,
                GET_SREGS,
                SET_SREGS,
                TRANSLATE,
                INTERRUPT,
                GET_MSRS,
                SET_MSRS,
                SET_SIGNAL_MASK,
                GET_FPU,
                SET_FPU,
                SET_CPUID2,
                GET_CPUID2,
                GET_MP_STATE,
                SET_MP_STATE,
                SET_GUEST_DEBUG,
                GET_VCPU_EVENTS,
                SET_VCPU_EVENTS,
                GET_DEBUGREGS,
                SET_DEBUGREGS,
                GET_XSAVE,
                SET_XSAVE,
                GET_XCRS,
                SET_XCRS,
            ] {
                let result = machine.vcpu.file.request(request, address);
                fails_with(&format!("{request:#x} of the vCPU"), result, libc::EFAULT)?;
            }
        }
        Ok(())
    }),
    ("Intel's two addresses are accepted", |device| {
        // Before there are vCPUs.
        let vm = File::open(device)?.create(CREATE_VM, 0)?;
        vm.request(SET_TSS_ADDR, 0xFFFB_D000)?;
        Ok(vm.set(SET_IDENTITY_MAP_ADDR, &0xFFFB_C000_u64)?)
    }),
    ("another process cannot use the files", |device| {
        let mut machine = halting(device)?;
        // SAFETY: this process has one thread, so that the child can go on like it.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = |result| matches!(result, Err(error) if error == crate::kvm::Errno(libc::EIO));
            let run = refused(machine.vcpu.file.request(RUN, 0));
            let regs = refused(machine.vcpu.file.get::<kvm_regs>(GET_REGS).map(|_| 0));
            let slot = refused(machine.vm.request(SET_USER_MEMORY_REGION, 0));
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(run) | i32::from(regs) << 1 | i32::from(slot) << 2) }
        }
        let mut status = 0;
        // SAFETY: the child is this process's own.
        unsafe { libc::waitpid(child, &mut status, 0) };
        super::equal("refused run, registers, slot", libc::WEXITSTATUS(status), 7)?;
        machine.expect(Exit::Halt)
    }),
    ("kvm_run is the same in all mappings, and ends where it ends", |device| {
        let mut machine = halting(device)?;
        let size = machine.device.request(crate::kvm::GET_VCPU_MMAP_SIZE, 0)? as usize;
        // SAFETY: a new mapping where the kernel finds room.
        let second = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ,
                libc::MAP_SHARED,
                machine.vcpu.file.number(),
                0,
            )
        };
        if second == libc::MAP_FAILED {
            return Err(format!("a second mapping: {}", last_error()));
        }
        machine.expect(Exit::Halt)?;
        // SAFETY: the mapping has this size, and the field is at offset 8.
        let reason = unsafe { second.cast::<u32>().add(2).read_volatile() };
        super::equal("exit_reason", reason, kvm_bindings::KVM_EXIT_HLT)?;
        // SAFETY: a new mapping; it is not accessed.
        let beyond = unsafe {
            let access = libc::PROT_READ;
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                access,
                libc::MAP_SHARED,
                machine.vcpu.file.number(),
                1 << 20,
            )
        };
        if beyond == libc::MAP_FAILED {
            return Ok(());
        }
        // SAFETY: the child ends by a signal when it reads, or tells by its status that it could.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the mapping exists; whether there is memory is the question.
            unsafe {
                beyond.cast::<u8>().read_volatile();
                libc::_exit(0)
            }
        }
        let mut status = 0;
        // SAFETY: the child is this process's own.
        unsafe { libc::waitpid(child, &mut status, 0) };
        ensure(
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS,
            "1 MiB behind its start there is something",
        )
    }),
];
