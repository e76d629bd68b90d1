// SPDX-License-Identifier: MIT OR GPL-2.0
//! Guests of a few instructions: their memory and first registers.
//!
//! Each vector of the IDT and of the real-mode vector table has a handler of its own, which writes AL to the port with
//! the vector's number and returns. So an exception or interrupt exits as [`Exit::Out`] with a port below 256; guests
//! use port 0xE0 and those from 256 on.

use std::path::Path;

use kvm_bindings::{kvm_cpuid_entry2, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};

use crate::kvm::{
    CREATE_VM, Exit, File, GET_SUPPORTED_CPUID, List, Memory, SET_CPUID2, SET_USER_MEMORY_REGION, Vcpu,
};

/// Size of guest memory.
pub const MEMORY: u64 = 4 << 20;
/// Where the code is.
pub const CODE: u64 = 0x1_0000;
/// Top of the stack in ring 0.
pub const STACK: u64 = 0x3_0000;
/// Top of the stack in ring 3.
pub const STACK_3: u64 = 0x4_0000;
/// Free memory.
pub const DATA: u64 = 0x5_0000;
/// Addresses where the guest has no memory; mapped like the others.
pub const MMIO: u64 = 0x1000_0000;

const GDT: u64 = 0x1000;
const TSS: u64 = 0x1800;
const IDT: u64 = 0x2000;
/// Four-level tables of 2 MiB pages for the first GiB.
pub const PML4: u64 = 0x4000;
const PDPT: u64 = 0x5000;
const PD: u64 = 0x6000;
const PD_32: u64 = 0x7000;
const PDPT_PAE: u64 = 0x8000;
const HANDLERS: u64 = 0xA000;
const HANDLERS_16: u64 = 0xB000;

/// Selectors.
pub const CODE_64: u16 = 0x08;
const DATA_0: u16 = 0x10;
const DATA_3: u16 = 0x1B;
const CODE_3: u16 = 0x23;
pub const CODE_32: u16 = 0x28;
const TASK: u16 = 0x30;

/// The mode of the first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real mode.
    Real,
    /// 32-bit protected mode without paging.
    Protected,
    /// The same with 4 MiB pages.
    Paging32,
    /// The same with PAE.
    Pae,
    /// Long mode, ring 0.
    Long,
    /// Long mode, ring 3.
    Long3,
}

/// The machine code of a guest, from lines of assembly (AT&T syntax) for 16, 32 or 64 bits.
macro_rules! code {
    ($bits:literal: $($line:literal),+ $(,)?) => {{
        let (start, length): (*const u8, usize);
        // SAFETY: what is executed loads an address and a number; the lines only become bytes of a read-only section.
        unsafe {
            core::arch::asm!(
                ".pushsection .rodata.guests, \"a\", @progbits",
                ".set DATA, 0x50000",
                ".set MMIO, 0x10000000",
                concat!(".code", $bits),
                ".balign 16",
                "22:",
                $($line,)+
                "23:",
                ".code64",
                ".popsection",
                "leaq 22b(%rip), {start}",
                "movq $(23b - 22b), {length}",
                start = lateout(reg) start,
                length = lateout(reg) length,
                options(att_syntax, pure, nomem, nostack, preserves_flags),
            );
            core::slice::from_raw_parts(start, length)
        }
    }};
}
pub(crate) use code;

/// A virtual machine with one vCPU.
pub struct Machine {
    /// The device.
    pub device: File,
    /// The virtual machine.
    pub vm: File,
    /// Its vCPU.
    pub vcpu: Vcpu,
    /// Its memory, in slot 0 at address 0.
    pub memory: Memory,
}

impl Machine {
    /// A guest of this code.
    pub fn new(device: &Path, mode: Mode, code: &[u8]) -> Result<Machine, String> {
        let device = File::open(device)?;
        let vm = device.create(CREATE_VM, 0)?;
        let memory = Memory::new(MEMORY as usize);
        fill(&memory, code);
        map(&vm, 0, 0, &memory, 0, MEMORY, 0)?;
        let vcpu = Vcpu::new(&device, &vm, 0)?;
        vcpu.file.with(SET_CPUID2, &mut *supported_cpuid(&device)?)?;
        let (regs, sregs) = start(mode, vcpu.sregs()?);
        vcpu.set_sregs(&sregs)?;
        vcpu.set_regs(&regs)?;
        Ok(Machine { device, vm, vcpu, memory })
    }

    /// A guest of this code in real mode.
    pub fn real(device: &Path, code: &[u8]) -> Result<Machine, String> {
        Machine::new(device, Mode::Real, code)
    }

    /// A guest of this code in long mode, ring 0.
    pub fn long(device: &Path, code: &[u8]) -> Result<Machine, String> {
        Machine::new(device, Mode::Long, code)
    }

    /// Runs to the next exit, which must be this one.
    pub fn expect(&mut self, exit: Exit) -> Result<(), String> {
        let found = self.vcpu.run()?;
        if found == exit { Ok(()) } else { Err(self.instead(&found, &format!("{exit:?}"))) }
    }

    /// Runs to the next exit, which must be an `out` to this port; the first element.
    pub fn expect_out(&mut self, port: u16) -> Result<u64, String> {
        match self.vcpu.run()? {
            Exit::Out { port: found, size, data } if found == port => {
                let mut bytes = [0; 8];
                bytes[..usize::from(size)].copy_from_slice(&data[..usize::from(size)]);
                Ok(u64::from_le_bytes(bytes))
            }
            other => Err(self.instead(&other, &format!("out to {port:#x}"))),
        }
    }

    /// The message for an exit that is not `wanted`.
    pub fn instead(&self, found: &Exit, wanted: &str) -> String {
        let rip = self.vcpu.regs().map_or(0, |regs| regs.rip);
        format!("{found:?} at {rip:#x}, not {wanted}")
    }

    /// Changes the general registers.
    pub fn set(&self, change: impl FnOnce(&mut kvm_regs)) -> Result<(), String> {
        let mut regs = self.vcpu.regs()?;
        change(&mut regs);
        Ok(self.vcpu.set_regs(&regs)?)
    }
}

/// Maps `size` bytes of memory from `offset` on at `gpa`.
pub fn map(
    vm: &File,
    slot: u32,
    gpa: u64,
    memory: &Memory,
    offset: u64,
    size: u64,
    flags: u32,
) -> Result<(), crate::kvm::Errno> {
    let region = kvm_userspace_memory_region {
        slot,
        flags,
        guest_phys_addr: gpa,
        memory_size: size,
        userspace_addr: memory.address() + offset,
    };
    vm.set(SET_USER_MEMORY_REGION, &region)
}

/// Most leaves that a device lists.
pub const LEAVES: usize = 256;

/// The leaves that guests can have.
pub fn supported_cpuid(device: &File) -> Result<Box<List<kvm_cpuid_entry2, LEAVES>>, String> {
    let mut list = Box::new(List::<kvm_cpuid_entry2, LEAVES>::of(&[Default::default(); LEAVES]));
    device.with(GET_SUPPORTED_CPUID, &mut *list)?;
    Ok(list)
}

/// Descriptor tables, page tables, handlers and the code.
fn fill(memory: &Memory, code: &[u8]) {
    let descriptors: [u64; 7] = [
        0,
        0x00AF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00AF_FB00_0000_FFFF,
        0x00CF_9B00_0000_FFFF,
        0x0000_8B00_0000_0067 | TSS << 16,
    ];
    for (number, descriptor) in (0..).zip(descriptors) {
        memory.put_u64(GDT + 8 * number, descriptor);
    }
    memory.put_u64(TSS + 4, STACK);
    for vector in 0..256 {
        let (at, at_16) = (HANDLERS + 16 * vector, HANDLERS_16 + 16 * vector);
        memory.put_u64(IDT + 16 * vector, 0xEE00_0000_0000 | u64::from(CODE_64) << 16 | at);
        memory.put(4 * vector, &(at_16 as u32).to_le_bytes());
        // out %al, $vector; iretq, iret
        memory.put(at, &[0xE6, vector as u8, 0x48, 0xCF]);
        memory.put(at_16, &[0xE6, vector as u8, 0xCF]);
    }
    memory.put_u64(PML4, PDPT | 0x27);
    memory.put_u64(PDPT, PD | 0x27);
    memory.put_u64(PDPT_PAE, PD | 1);
    for page in 0..512 {
        memory.put_u64(PD + 8 * page, page << 21 | 0xE7);
    }
    for page in 0..256_u32 {
        memory.put(PD_32 + 4 * u64::from(page), &(page << 22 | 0xE7).to_le_bytes());
    }
    memory.put(CODE, code);
}

/// The registers for the first instruction, from those after a reset.
fn start(mode: Mode, mut sregs: kvm_sregs) -> (kvm_regs, kvm_sregs) {
    let mut regs = kvm_regs { rip: CODE, rsp: STACK, rflags: 2, ..Default::default() };
    if mode == Mode::Real {
        (sregs.cs.selector, sregs.cs.base) = ((CODE >> 4) as u16, CODE);
        (regs.rip, regs.rsp) = (0, 0x9000);
        return (regs, sregs);
    }
    let flat = |selector: u16, type_: u8| kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl: (selector & 3) as u8,
        s: 1,
        g: 1,
        db: 1,
        ..Default::default()
    };
    let long = matches!(mode, Mode::Long | Mode::Long3);
    let (code, data) = match mode {
        Mode::Long => (CODE_64, DATA_0),
        Mode::Long3 => (CODE_3, DATA_3),
        _ => (CODE_32, DATA_0),
    };
    if mode == Mode::Long3 {
        regs.rsp = STACK_3;
    }
    sregs.cs = flat(code, 0b1011);
    (sregs.cs.l, sregs.cs.db) = (u8::from(long), u8::from(!long));
    let data = flat(data, 0b0011);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.ldt = kvm_segment { unusable: 1, ..Default::default() };
    sregs.tr = kvm_segment {
        base: TSS,
        limit: 0x67,
        selector: TASK,
        type_: 0b1011,
        present: 1,
        ..Default::default()
    };
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 0x3F);
    (sregs.idt.base, sregs.idt.limit) = if long { (IDT, 0xFFF) } else { (0, 0) };
    let (paging, cr3, cr4) = match mode {
        Mode::Real | Mode::Protected => (0, 0, 0),
        Mode::Paging32 => (1 << 31, PD_32, 0x10),
        Mode::Pae => (1 << 31, PDPT_PAE, 0x20),
        Mode::Long | Mode::Long3 => (1 << 31, PML4, 0x20),
    };
    sregs.cr0 = 0x33 | paging;
    sregs.cr3 = cr3;
    // SSE.
    sregs.cr4 = cr4 | 0x600;
    sregs.efer = if long { 0x501 } else { 0 };
    (regs, sregs)
}
