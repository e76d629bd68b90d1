// SPDX-License-Identifier: MIT OR GPL-2.0
//! Reading and writing a vCPU's state, and states that no processor has.

use kvm_bindings::{
    kvm_cpuid_entry2, kvm_fpu, kvm_msr_entry, kvm_segment, kvm_sregs, kvm_translation, kvm_xcrs, kvm_xsave,
};

use super::{Check, ensure, equal, fails_with};
use crate::Outcome;
use crate::guest::{CODE, DATA, LEAVES, Machine, Mode, code, supported_cpuid};
use crate::kvm::{
    Exit, GET_CPUID2, GET_FPU, GET_MSR_INDEX_LIST, GET_MSRS, GET_XCRS, GET_XSAVE, List, SET_CPUID2, SET_FPU,
    SET_MSRS, SET_XCRS, SET_XSAVE, TRANSLATE,
};

/// A list of model-specific registers.
type Msrs = List<kvm_msr_entry, 16>;

fn entry(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry { index, data, ..Default::default() }
}

/// Writes model-specific registers, all of them.
pub fn set_msrs(machine: &Machine, values: &[(u32, u64)]) -> Outcome {
    let entries: Vec<_> = values.iter().map(|(index, data)| entry(*index, *data)).collect();
    let set = machine.vcpu.file.with(SET_MSRS, &mut Msrs::of(&entries))?;
    equal("MSRs written", set as usize, values.len())
}

/// A model-specific register.
pub fn msr(machine: &Machine, index: u32) -> Result<u64, String> {
    let mut list = Msrs::of(&[entry(index, 0)]);
    let read = machine.vcpu.file.with(GET_MSRS, &mut list)?;
    if read == 1 { Ok(list.entries[0].data) } else { Err(format!("MSR {index:#x} cannot be read")) }
}

fn halting(device: &std::path::Path) -> Result<Machine, String> {
    Machine::long(device, code!(64: "1: hlt", "jmp 1b"))
}

/// The state after `change` must be refused, and the one before it must still run.
fn refused(device: &std::path::Path, what: &str, mode: Mode, change: fn(&mut kvm_sregs)) -> Outcome {
    let code = match mode {
        Mode::Real => code!(16: "hlt"),
        _ => code!(64: "hlt"),
    };
    let mut machine = Machine::new(device, mode, code)?;
    let mut sregs = machine.vcpu.sregs()?;
    change(&mut sregs);
    fails_with(what, machine.vcpu.set_sregs(&sregs), libc::EINVAL)?;
    machine.expect(Exit::Halt)
}

pub const CHECKS: &[Check] = &[
    ("general registers read as they were written", |device| {
        let machine = halting(device)?;
        machine.set(|regs| (regs.rax, regs.r15, regs.rsp, regs.rflags) = (1, u64::MAX, 77, 0x246))?;
        let regs = machine.vcpu.regs()?;
        ensure((regs.rax, regs.r15, regs.rsp, regs.rflags) == (1, u64::MAX, 77, 0x246), format!("{regs:x?}"))
    }),
    ("bit 1 of RFLAGS is always set", |device| {
        let machine = halting(device)?;
        machine.set(|regs| regs.rflags = 0)?;
        equal("RFLAGS", machine.vcpu.regs()?.rflags, 2)
    }),
    ("segments and system registers read as they were written", |device| {
        let machine = halting(device)?;
        let mut sregs = machine.vcpu.sregs()?;
        sregs.fs.base = 0xFFFF_8000_1234_5000;
        sregs.gs.base = 0x1000;
        sregs.gs.limit = 0xFFF;
        sregs.gs.g = 0;
        sregs.gs.avl = 1;
        sregs.cr2 = 0x1234_5678;
        sregs.cr8 = 3;
        sregs.idt.limit = 0x7FF;
        sregs.ldt = kvm_segment {
            base: 0x6000,
            limit: 0xF,
            selector: 0x38,
            type_: 2,
            present: 1,
            ..Default::default()
        };
        machine.vcpu.set_sregs(&sregs)?;
        let found = machine.vcpu.sregs()?;
        for (name, found, wanted) in [
            ("CS", found.cs, sregs.cs),
            ("SS", found.ss, sregs.ss),
            ("FS", found.fs, sregs.fs),
            ("GS", found.gs, sregs.gs),
            ("TR", found.tr, sregs.tr),
            ("LDTR", found.ldt, sregs.ldt),
        ] {
            ensure(found == wanted, format!("{name}: {found:x?}, not {wanted:x?}"))?;
        }
        let system = |it: &kvm_sregs| [it.cr0, it.cr2, it.cr3, it.cr4, it.cr8, it.efer, it.idt.limit.into()];
        ensure(system(&found) == system(&sregs), format!("{:x?}, not {:x?}", system(&found), system(&sregs)))
    }),
    ("an unusable segment stays unusable", |device| {
        let mut machine = halting(device)?;
        let mut sregs = machine.vcpu.sregs()?;
        sregs.es = kvm_segment { unusable: 1, ..Default::default() };
        machine.vcpu.set_sregs(&sregs)?;
        machine.expect(Exit::Halt)?;
        equal("unusable", machine.vcpu.sregs()?.es.unusable, 1)
    }),
    ("x87 and SSE registers: KVM_SET_FPU, the guest, KVM_GET_FPU", |device| {
        let code = code!(64: "mov $DATA, %ebx", "movdqu %xmm5, (%rbx)", "movdqu 16(%rbx), %xmm6", "hlt");
        let mut machine = Machine::long(device, code)?;
        let mut fpu: kvm_fpu = machine.vcpu.file.get(GET_FPU)?;
        fpu.xmm[5] = [0x5A; 16];
        fpu.fpr[2] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 0, 0, 0, 0];
        machine.vcpu.file.set(SET_FPU, &fpu)?;
        machine.memory.put_u64(DATA + 16, 0x77);
        machine.expect(Exit::Halt)?;
        equal("XMM5 in the guest", machine.memory.u64(DATA), 0x5A5A_5A5A_5A5A_5A5A)?;
        let found: kvm_fpu = machine.vcpu.file.get(GET_FPU)?;
        equal("XMM6", found.xmm[6][0], 0x77)?;
        equal("ST(2)", found.fpr[2][9], 10)
    }),
    ("the same by KVM_GET_XSAVE and KVM_SET_XSAVE", |device| {
        let code = code!(64: "mov $DATA, %ebx", "movdqu %xmm5, (%rbx)", "movdqu 16(%rbx), %xmm6", "hlt");
        let mut machine = Machine::long(device, code)?;
        let mut area: kvm_xsave = machine.vcpu.file.get(GET_XSAVE)?;
        // XMM5 is at byte 160 + 5 * 16; XSTATE_BV at byte 512 says that there is one.
        area.region[60] = 0x5A5A_5A5A;
        area.region[61] = 0x5B5B_5B5B;
        area.region[6] = 0x1F80;
        area.region[128] |= 3;
        machine.vcpu.file.set(SET_XSAVE, &area)?;
        machine.memory.put_u64(DATA + 16, 0x77);
        machine.expect(Exit::Halt)?;
        equal("XMM5 in the guest", machine.memory.u64(DATA), 0x5B5B_5B5B_5A5A_5A5A)?;
        let found: kvm_xsave = machine.vcpu.file.get(GET_XSAVE)?;
        equal("XMM6", found.region[64], 0x77)
    }),
    ("reserved bits of MXCSR and XSTATE_BV are refused", |device| {
        let machine = halting(device)?;
        let area: kvm_xsave = machine.vcpu.file.get(GET_XSAVE)?;
        let mut wrong: kvm_xsave = machine.vcpu.file.get(GET_XSAVE)?;
        wrong.region[6] = u32::MAX;
        wrong.region[128] |= 3;
        let is_refused = |area: &mut kvm_xsave| machine.vcpu.file.with(SET_XSAVE, area);
        fails_with("MXCSR", is_refused(&mut wrong), libc::EINVAL)?;
        wrong.region = area.region;
        wrong.region[129] = 0x4000_0000;
        fails_with("XSTATE_BV", is_refused(&mut wrong), libc::EINVAL)
    }),
    ("XCR0 has its value after a reset, and refuses impossible ones", |device| {
        let machine = halting(device)?;
        let mut xcrs: kvm_xcrs = machine.vcpu.file.get(GET_XCRS)?;
        equal("number", xcrs.nr_xcrs, 1)?;
        equal("XCR0", xcrs.xcrs[0].value, 1)?;
        machine.vcpu.file.set(SET_XCRS, &xcrs)?;
        xcrs.xcrs[0].value = 0;
        fails_with("0", machine.vcpu.file.set(SET_XCRS, &xcrs), libc::EINVAL)?;
        xcrs.xcrs[0].value = 5;
        fails_with("5: AVX without SSE", machine.vcpu.file.set(SET_XCRS, &xcrs), libc::EINVAL)
    }),
    ("xgetbv and xsetbv, where CPUID offers them", |device| {
        let code = code!(64: "mov %cr4, %rax", "or $0x40000, %eax", "mov %rax, %cr4", "xor %ecx, %ecx",
            "mov $3, %eax", "xor %edx, %edx", "xsetbv", "xor %eax, %eax", "xgetbv", "out %al, $0xE0",
            "xor %eax, %eax", "xsetbv");
        let mut machine = Machine::long(device, code)?;
        let leaves = supported_cpuid(&machine.device)?;
        if leaves.used().iter().any(|leaf| leaf.function == 1 && leaf.ecx & 1 << 26 == 0) {
            return Ok(());
        }
        equal("AL", machine.expect_out(0xE0)?, 3)?;
        equal("XCR0", machine.vcpu.file.get::<kvm_xcrs>(GET_XCRS)?.xcrs[0].value, 3)?;
        // Zero is #GP.
        machine.expect_out(13).map(drop)
    }),
    ("several MSRs at once, up to one that does not exist", |device| {
        let machine = halting(device)?;
        let mut list =
            Msrs::of(&[entry(0xC000_0081, 0), entry(0x174, 0), entry(0x1234_5678, 0), entry(0x175, 0)]);
        equal("read", machine.vcpu.file.with(GET_MSRS, &mut list)?, 2)?;
        let mut list = Msrs::of(&[entry(0x174, 0x10), entry(0x1234_5678, 0), entry(0x175, 0x99)]);
        equal("written", machine.vcpu.file.with(SET_MSRS, &mut list)?, 1)?;
        equal("SYSENTER_CS", msr(&machine, 0x174)?, 0x10)
    }),
    ("every listed MSR can be read, and what is read written", |device| {
        let machine = halting(device)?;
        let mut list = [0_u32; 1024];
        list[0] = 1023;
        machine.device.with(GET_MSR_INDEX_LIST, &mut list)?;
        // KVM lists some that depend on more than the processor; these are what guests need.
        for index in [
            0x10,
            0x174,
            0x175,
            0x176,
            0x277,
            0xC000_0081,
            0xC000_0082,
            0xC000_0083,
            0xC000_0084,
            0xC000_0102,
        ] {
            ensure(list[1..=list[0] as usize].contains(&index), format!("{index:#x} is not listed"))?;
            let value = msr(&machine, index)?;
            set_msrs(&machine, &[(index, value)])
                .map_err(|_| format!("{index:#x} does not take {value:#x}"))?;
        }
        Ok(())
    }),
    ("too many MSRs are E2BIG", |device| {
        let machine = halting(device)?;
        let mut list = Msrs::of(&[entry(0x10, 0)]);
        list.count = 1 << 20;
        fails_with("2^20", machine.vcpu.file.with(GET_MSRS, &mut list), libc::E2BIG)
    }),
    ("KVM_GET_CPUID2 has what KVM_SET_CPUID2 has set", |device| {
        let machine = halting(device)?;
        let leaves = supported_cpuid(&machine.device)?;
        let mut found = Box::new(List::<kvm_cpuid_entry2, LEAVES>::of(&[Default::default(); LEAVES]));
        machine.vcpu.file.with(GET_CPUID2, &mut *found)?;
        // Not the number: KVM returned the room in older kernels.
        let last = leaves.count as usize - 1;
        equal("vendor", found.entries[0].ebx, leaves.entries[0].ebx)?;
        equal("last leaf", found.entries[last].function, leaves.entries[last].function)?;
        let mut short = List::<kvm_cpuid_entry2, 1>::of(&[Default::default()]);
        fails_with("no room", machine.vcpu.file.with(GET_CPUID2, &mut short), libc::E2BIG)?;
        let mut many = List::<kvm_cpuid_entry2, 1>::of(&[Default::default()]);
        many.count = 1 << 20;
        fails_with("2^20 leaves", machine.vcpu.file.with(SET_CPUID2, &mut many), libc::E2BIG)
    }),
    ("KVM_TRANSLATE walks the guest's tables", |device| {
        let machine = halting(device)?;
        let translate = |linear_address| -> Result<kvm_translation, String> {
            let mut translation = kvm_translation { linear_address, ..Default::default() };
            machine.vcpu.file.with(TRANSLATE, &mut translation)?;
            Ok(translation)
        };
        let found = translate(CODE + 0x123)?;
        equal("valid", found.valid, 1)?;
        equal("physical", found.physical_address, CODE + 0x123)?;
        equal("valid at 4 GiB", translate(1 << 32)?.valid, 0)
    }),
    ("KVM_TRANSLATE without paging is the address itself", |device| {
        let machine = Machine::real(device, code!(16: "hlt"))?;
        let mut translation = kvm_translation { linear_address: 0x12345, ..Default::default() };
        machine.vcpu.file.with(TRANSLATE, &mut translation)?;
        equal("physical", translation.physical_address, 0x12345)?;
        equal("valid", translation.valid, 1)
    }),
    ("paging without protected mode is refused", |device| {
        refused(device, "CR0 with PG and without PE", Mode::Real, |sregs| sregs.cr0 |= 1 << 31)
    }),
    ("long mode without PAE is refused", |device| {
        refused(device, "EFER.LMA without CR4.PAE", Mode::Long, |sregs| sregs.cr4 &= !0x20)
    }),
    ("reserved bits of CR4, EFER and CR3 are refused", |device| {
        refused(device, "CR4", Mode::Long, |sregs| sregs.cr4 |= 1 << 30)?;
        refused(device, "EFER", Mode::Long, |sregs| sregs.efer |= 1 << 40)?;
        refused(device, "CR3", Mode::Long, |sregs| sregs.cr3 |= 1 << 60)
    }),
    ("the upper half of CR0, and NW without CD are refused", |device| {
        refused(device, "CR0", Mode::Long, |sregs| sregs.cr0 |= 1 << 40)?;
        refused(device, "NW", Mode::Long, |sregs| sregs.cr0 = sregs.cr0 & !(1 << 30) | 1 << 29)
    }),
    ("a code segment of both 32 and 64 bits is refused", |device| {
        refused(device, "CS.L and CS.D", Mode::Long, |sregs| sregs.cs.db = 1)
    }),
    ("EFER without paging does not run long mode", |device| {
        refused(device, "LMA without PG", Mode::Long, |sregs| sregs.cr0 &= !(1 << 31))
    }),
];
