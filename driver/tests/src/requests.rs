// SPDX-License-Identifier: MIT OR GPL-2.0
//! The numbers of KVM's ioctls, by their names in linux/kvm.h without `KVM_`.
#![allow(missing_docs, reason = "Documentation/virt/kvm/api.rst describes each under this name")]

use kvm_bindings::{
    kvm_debugregs, kvm_dirty_log, kvm_enable_cap, kvm_fpu, kvm_guest_debug, kvm_interrupt, kvm_mp_state,
    kvm_regs, kvm_sregs, kvm_translation, kvm_userspace_memory_region, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};

/// An ioctl of KVM, as `_IO` and its relatives make it: `direction` is 0, 1 (to the kernel), 2 (from it) or 3, and `size`
/// that of the structure.
pub const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | 0xAE << 8 | number
}

/// One without a structure.
pub const fn io(number: u64) -> u64 {
    request(0, number, 0)
}

/// One that reads a structure of `size` bytes from the kernel.
pub const fn read(number: u64, size: usize) -> u64 {
    request(2, number, size)
}

/// One that writes it to the kernel.
pub const fn write(number: u64, size: usize) -> u64 {
    request(1, number, size)
}

/// One that does both.
pub const fn exchange(number: u64, size: usize) -> u64 {
    request(3, number, size)
}

pub const GET_API_VERSION: u64 = io(0x00);
pub const CREATE_VM: u64 = io(0x01);
pub const GET_MSR_INDEX_LIST: u64 = exchange(0x02, 4);
pub const CHECK_EXTENSION: u64 = io(0x03);
pub const GET_VCPU_MMAP_SIZE: u64 = io(0x04);
pub const GET_SUPPORTED_CPUID: u64 = exchange(0x05, 8);
pub const GET_EMULATED_CPUID: u64 = exchange(0x09, 8);
pub const CREATE_VCPU: u64 = io(0x41);
pub const GET_DIRTY_LOG: u64 = write(0x42, size_of::<kvm_dirty_log>());
pub const SET_USER_MEMORY_REGION: u64 = write(0x46, size_of::<kvm_userspace_memory_region>());
pub const SET_TSS_ADDR: u64 = io(0x47);
pub const SET_IDENTITY_MAP_ADDR: u64 = write(0x48, 8);
pub const SET_BOOT_CPU_ID: u64 = io(0x78);
pub const RUN: u64 = io(0x80);
pub const GET_REGS: u64 = read(0x81, size_of::<kvm_regs>());
pub const SET_REGS: u64 = write(0x82, size_of::<kvm_regs>());
pub const GET_SREGS: u64 = read(0x83, size_of::<kvm_sregs>());
pub const SET_SREGS: u64 = write(0x84, size_of::<kvm_sregs>());
pub const TRANSLATE: u64 = exchange(0x85, size_of::<kvm_translation>());
pub const INTERRUPT: u64 = write(0x86, size_of::<kvm_interrupt>());
pub const GET_MSRS: u64 = exchange(0x88, 8);
pub const SET_MSRS: u64 = write(0x89, 8);
pub const SET_SIGNAL_MASK: u64 = write(0x8B, 4);
pub const GET_FPU: u64 = read(0x8C, size_of::<kvm_fpu>());
pub const SET_FPU: u64 = write(0x8D, size_of::<kvm_fpu>());
pub const SET_CPUID2: u64 = write(0x90, 8);
pub const GET_CPUID2: u64 = exchange(0x91, 8);
pub const GET_MP_STATE: u64 = read(0x98, size_of::<kvm_mp_state>());
pub const SET_MP_STATE: u64 = write(0x99, size_of::<kvm_mp_state>());
pub const NMI: u64 = io(0x9A);
pub const SET_GUEST_DEBUG: u64 = write(0x9B, size_of::<kvm_guest_debug>());
pub const GET_VCPU_EVENTS: u64 = read(0x9F, size_of::<kvm_vcpu_events>());
pub const SET_VCPU_EVENTS: u64 = write(0xA0, size_of::<kvm_vcpu_events>());
pub const GET_DEBUGREGS: u64 = read(0xA1, size_of::<kvm_debugregs>());
pub const SET_DEBUGREGS: u64 = write(0xA2, size_of::<kvm_debugregs>());
pub const ENABLE_CAP: u64 = write(0xA3, size_of::<kvm_enable_cap>());
pub const GET_XSAVE: u64 = read(0xA4, size_of::<kvm_xsave>());
pub const SET_XSAVE: u64 = write(0xA5, size_of::<kvm_xsave>());
pub const GET_XCRS: u64 = read(0xA6, size_of::<kvm_xcrs>());
pub const SET_XCRS: u64 = write(0xA7, size_of::<kvm_xcrs>());
