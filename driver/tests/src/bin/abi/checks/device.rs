// SPDX-License-Identifier: MIT OR GPL-2.0
//! The device itself.

use kvm_bindings::{
    KVM_CAP_DEBUGREGS, KVM_CAP_EXT_CPUID, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_MAX_VCPUS, KVM_CAP_MP_STATE,
    KVM_CAP_NR_MEMSLOTS, KVM_CAP_READONLY_MEM, KVM_CAP_SET_GUEST_DEBUG, KVM_CAP_SYNC_MMU,
    KVM_CAP_USER_MEMORY, KVM_CAP_USER_NMI, KVM_CAP_VCPU_EVENTS, KVM_CAP_XCRS, KVM_CAP_XSAVE,
    kvm_cpuid_entry2, kvm_run,
};

use super::{Check, ensure, equal, fails_with};
use crate::guest::{LEAVES, Machine, code, supported_cpuid};
use crate::kvm::{
    CHECK_EXTENSION, CREATE_VM, Errno, Exit, File, GET_API_VERSION, GET_MSR_INDEX_LIST, GET_SUPPORTED_CPUID,
    GET_VCPU_MMAP_SIZE, List, Vcpu,
};

pub const CHECKS: &[Check] = &[
    ("the version of the interface is 12", |device| {
        equal("version", File::open(device)?.request(GET_API_VERSION, 0)?, 12)
    }),
    ("requests without an argument refuse one", |device| {
        let device = File::open(device)?;
        fails_with("KVM_GET_API_VERSION", device.request(GET_API_VERSION, 1), libc::EINVAL)?;
        fails_with("KVM_GET_VCPU_MMAP_SIZE", device.request(GET_VCPU_MMAP_SIZE, 1), libc::EINVAL)
    }),
    ("the extensions that it has are reported, by device and machine", |device| {
        let device = File::open(device)?;
        let vm = device.create(CREATE_VM, 0)?;
        for extension in [
            KVM_CAP_USER_MEMORY,
            KVM_CAP_READONLY_MEM,
            KVM_CAP_SYNC_MMU,
            KVM_CAP_EXT_CPUID,
            KVM_CAP_MP_STATE,
            KVM_CAP_USER_NMI,
            KVM_CAP_SET_GUEST_DEBUG,
            KVM_CAP_VCPU_EVENTS,
            KVM_CAP_DEBUGREGS,
            KVM_CAP_XSAVE,
            KVM_CAP_XCRS,
            KVM_CAP_IMMEDIATE_EXIT,
        ] {
            for file in [&device, &vm] {
                let answer = file.request(CHECK_EXTENSION, extension.into())?;
                ensure(answer > 0, format!("extension {extension}: {answer}"))?;
            }
        }
        Ok(())
    }),
    ("an extension that does not exist is 0", |device| {
        equal("extension 4095", File::open(device)?.request(CHECK_EXTENSION, 4095)?, 0)
    }),
    ("there are at least 4 vCPUs and 32 slots", |device| {
        let device = File::open(device)?;
        let vcpus = device.request(CHECK_EXTENSION, KVM_CAP_MAX_VCPUS.into())?;
        let slots = device.request(CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS.into())?;
        ensure(vcpus >= 4 && slots >= 32, format!("{vcpus} and {slots}"))
    }),
    ("kvm_run is whole pages, and has room for the data of ports", |device| {
        let size = File::open(device)?.request(GET_VCPU_MMAP_SIZE, 0)? as usize;
        ensure(size.is_multiple_of(4096) && size > size_of::<kvm_run>().max(4096), format!("{size} bytes"))
    }),
    ("MSRs are listed, and E2BIG has their number", |device| {
        let device = File::open(device)?;
        let mut short = [0_u32; 1];
        fails_with("no room", device.with(GET_MSR_INDEX_LIST, &mut short), libc::E2BIG)?;
        let mut list = [0_u32; 1024];
        list[0] = 1023;
        device.with(GET_MSR_INDEX_LIST, &mut list)?;
        equal("number", list[0], short[0])?;
        let listed = &list[1..=list[0] as usize];
        // TSC, SYSENTER_CS, STAR, LSTAR, FMASK, kernel GS base.
        for index in [0x10, 0x174, 0xC000_0081, 0xC000_0082, 0xC000_0084, 0xC000_0102] {
            ensure(listed.contains(&index), format!("{index:#x} is not listed"))?;
        }
        Ok(())
    }),
    ("CPUID leaves are listed, with long mode and the vendor", |device| {
        let list = supported_cpuid(&File::open(device)?)?;
        let leaf = |function| list.used().iter().find(|entry| entry.function == function);
        ensure(leaf(0).is_some_and(|leaf| leaf.ebx == 0x6874_7541), "leaf 0 is not AuthenticAMD")?;
        // FPU, TSC, MSR, PAE, CX8, SSE, SSE2.
        ensure(leaf(1).is_some_and(|leaf| leaf.edx & 0x600_0171 == 0x600_0171), "leaf 1")?;
        ensure(leaf(0x8000_0001).is_some_and(|leaf| leaf.edx & 1 << 29 != 0), "no long mode")
    }),
    ("CPUID leaves in too short a list are E2BIG", |device| {
        let mut list = List::<kvm_cpuid_entry2, 2>::of(&[Default::default(); 2]);
        fails_with("two leaves", File::open(device)?.with(GET_SUPPORTED_CPUID, &mut list), libc::E2BIG)
    }),
    ("the guest has no AMD-V of its own that nobody emulates", |device| {
        // Whoever offers SVM must be able to nest; no device here is asked to.
        let list = supported_cpuid(&File::open(device)?)?;
        ensure(list.count as usize <= LEAVES && list.count > 4, format!("{} leaves", list.count))
    }),
    ("a type of machine that does not exist is refused", |device| {
        fails_with("type 0xFFFF", File::open(device)?.create(CREATE_VM, 0xFFFF), libc::EINVAL)
    }),
    ("40 machines run one after another", |device| {
        for number in 0..40 {
            let mut machine = Machine::long(device, code!(64: "hlt"))?;
            machine.expect(Exit::Halt).map_err(|reason| format!("machine {number}: {reason}"))?;
        }
        Ok(())
    }),
    ("24 machines with a vCPU each run by turns", |device| {
        let mut machines = Vec::new();
        for _ in 0..24 {
            machines.push(Machine::long(device, code!(64: "1: inc %rax", "out %al, $0xE0", "jmp 1b"))?);
        }
        for round in 1..=3 {
            for machine in &mut machines {
                equal("RAX", machine.expect_out(0xE0)?, round)?;
            }
        }
        Ok(())
    }),
    ("a vCPU lives on when the machine's file is closed", |device| {
        let Machine { device, vm, mut vcpu, memory } =
            Machine::long(device, code!(64: "out %al, $0xE0", "hlt"))?;
        drop(vm);
        drop(device);
        ensure(matches!(vcpu.run()?, Exit::Out { .. }), "no out")?;
        ensure(vcpu.run()? == Exit::Halt, "no halt")?;
        drop(memory);
        Ok(())
    }),
    ("a vCPU number is used once, and has a limit", |device| {
        let machine = Machine::long(device, code!(64: "hlt"))?;
        let again = |number| Vcpu::new(&machine.device, &machine.vm, number).map(drop);
        fails_with("0 again", again(0), libc::EEXIST)?;
        fails_with("1 << 30", again(1 << 30), libc::EINVAL)?;
        again(1).map_err(|Errno(error)| format!("vCPU 1: error {error}"))
    }),
];
