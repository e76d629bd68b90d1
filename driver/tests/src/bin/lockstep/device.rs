// SPDX-License-Identifier: MIT OR GPL-2.0
//! A virtual machine of the device under test, which executes one instruction at a time.

use std::ffi::CString;
use std::io;

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, kvm_guest_debug, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use crate::cases::{Access, Case, Registers};

/// Physical memory of programs; below and above it accesses are MMIO (lockstep/emulator.py).
pub const MEMORY: std::ops::Range<usize> = 0x1000..0xA0000;
/// In 64-bit mode the page tables are here: identical addresses for the first GiB.
pub const TABLES: std::ops::Range<usize> = 0x1000..0x4000;

/// How one step of the device ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// After an instruction.
    Step,
    /// KVM cannot execute the instruction (KVM_EXIT_INTERNAL_ERROR).
    Refused,
    /// HLT.
    Halt,
    /// Any other exit, in words.
    Unexpected(String),
}

/// The device's virtual machine.
#[derive(Debug)]
pub struct Device {
    vcpu: VcpuFd,
    // The vCPU needs them for as long as it exists.
    _vm: VmFd,
    _kvm: Kvm,
    memory: *mut u8,
    reset_sregs: kvm_sregs,
    port: u64,
    mmio: u64,
}

impl Device {
    /// Opens the device at `path`.
    pub fn new(path: &str) -> io::Result<Device> {
        let path = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
        let kvm = Kvm::new_with_path(path)?;
        let vm = kvm.create_vm()?;
        // SAFETY: a new private mapping; the result is checked.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                MEMORY.end,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let region = kvm_userspace_memory_region {
            guest_phys_addr: MEMORY.start as u64,
            memory_size: MEMORY.len() as u64,
            userspace_addr: memory as u64 + MEMORY.start as u64,
            ..Default::default()
        };
        // SAFETY: the mapping is never unmapped.
        unsafe { vm.set_user_memory_region(region)? };
        let vcpu = vm.create_vcpu(0)?;
        if let Ok(cpuid) = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES) {
            vcpu.set_cpuid2(&cpuid)?;
        }
        let reset_sregs = vcpu.get_sregs()?;
        Ok(Device { vcpu, _vm: vm, _kvm: kvm, memory: memory.cast(), reset_sregs, port: 0, mmio: 0 })
    }

    /// The memory of the guest, from physical address 0. The vCPU does not run while it is borrowed.
    pub fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this size and lives as long as the process; the vCPU runs only in methods that
        // borrow `self` mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory, MEMORY.end) }
    }

    /// The state before the first step of a program.
    pub fn load(&mut self, case: &Case) -> io::Result<()> {
        let memory = self.memory();
        memory[MEMORY].fill(0);
        for (address, bytes) in &case.regions {
            memory[*address as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        (self.port, self.mmio) = (0, 0);
        let sregs = if case.bits == 16 { self.real_mode(&case.selectors) } else { self.long_mode() };
        self.vcpu.set_sregs(&sregs)?;
        self.set_registers(&case.registers)
    }

    fn real_mode(&self, selectors: &[u16; 6]) -> kvm_sregs {
        let mut sregs = self.reset_sregs;
        let [cs, ds, es, ss, fs, gs] = *selectors;
        let segments = [
            (&mut sregs.cs, cs),
            (&mut sregs.ds, ds),
            (&mut sregs.es, es),
            (&mut sregs.ss, ss),
            (&mut sregs.fs, fs),
            (&mut sregs.gs, gs),
        ];
        for (segment, selector) in segments {
            segment.selector = selector;
            segment.base = u64::from(selector) << 4;
            segment.limit = 0xFFFF;
        }
        sregs
    }

    fn long_mode(&mut self) -> kvm_sregs {
        let entry = |memory: &mut [u8], at: usize, value: u64| {
            memory[at..][..8].copy_from_slice(&value.to_le_bytes());
        };
        let memory = self.memory();
        // Present and writable; the last level has pages of 2 MiB.
        entry(memory, 0x1000, 0x2003);
        entry(memory, 0x2000, 0x3003);
        for page in 0..512 {
            entry(memory, 0x3000 + page * 8, (page as u64) << 21 | 0x83);
        }
        let mut sregs = self.reset_sregs;
        let flat = kvm_segment { limit: 0xFFFF_FFFF, present: 1, s: 1, g: 1, ..Default::default() };
        sregs.cs = kvm_segment { selector: 8, type_: 11, l: 1, ..flat };
        let data = kvm_segment { selector: 16, type_: 3, db: 1, ..flat };
        (sregs.ds, sregs.es, sregs.ss, sregs.fs, sregs.gs) = (data, data, data, data, data);
        // PE, ET, NE, PG; PAE; LME and LMA.
        (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (0x8000_0031, 0x1000, 0x20, 0x500);
        (sregs.idt.limit, sregs.gdt.limit) = (0, 0);
        sregs
    }

    /// The registers.
    pub fn registers(&self) -> io::Result<Registers> {
        let r = self.vcpu.get_regs()?;
        Ok([
            r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
            r.r14, r.r15, r.rip, r.rflags,
        ])
    }

    /// Sets the registers.
    pub fn set_registers(&self, registers: &Registers) -> io::Result<()> {
        let [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags] =
            *registers;
        let registers = kvm_regs {
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rsp,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rip,
            rflags,
        };
        Ok(self.vcpu.set_regs(&registers)?)
    }

    /// Later reads answer as after these accesses.
    pub fn answer_after(&mut self, bus: &[Access]) {
        for access in bus {
            match access.kind {
                1 => self.port = access.value,
                3 => self.mmio = access.value,
                _ => {}
            }
        }
    }

    /// Executes one instruction, or without `single` until HLT, and appends its accesses to `bus`.
    pub fn step(&mut self, single: bool, bus: &mut Vec<Access>) -> io::Result<Stop> {
        let control = if single { KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP } else { 0 };
        self.vcpu.set_guest_debug(&kvm_guest_debug { control, ..Default::default() })?;
        let before = bus.len();
        let stop = loop {
            // An instruction that has exited is completed by the next entry. This one goes no further.
            self.vcpu.set_kvm_immediate_exit(u8::from(single && bus.len() > before));
            // SAFETY: `io` is the member of the union that is valid at KVM_EXIT_IO, and only then used.
            let size = |vcpu: &mut VcpuFd| unsafe { vcpu.get_kvm_run().__bindgen_anon_1.io.size };
            match self.vcpu.run() {
                Ok(VcpuExit::Debug(_)) => break Stop::Step,
                Ok(VcpuExit::Hlt) => break Stop::Halt,
                Ok(VcpuExit::MmioRead(address, data)) => {
                    let value = masked(self.mmio.wrapping_sub(1), data.len());
                    data.copy_from_slice(&value.to_le_bytes()[..data.len()]);
                    bus.push(Access { kind: 2, size: data.len() as u8, address: address as u32, value });
                }
                Ok(VcpuExit::MmioWrite(address, data)) => {
                    self.mmio = number(data);
                    bus.push(Access {
                        kind: 3,
                        size: data.len() as u8,
                        address: address as u32,
                        value: self.mmio,
                    });
                }
                Ok(VcpuExit::IoIn(port, data)) => {
                    let (data, length) = (data.as_mut_ptr(), data.len());
                    let size = size(&mut self.vcpu);
                    // SAFETY: kvm-ioctls has checked that these bytes are in the vCPU's mapping, which nothing else
                    // touches before the next entry.
                    let data = unsafe { std::slice::from_raw_parts_mut(data, length) };
                    for element in data.chunks_exact_mut(usize::from(size.max(1))) {
                        let value = masked(self.port + 1, element.len());
                        element.copy_from_slice(&value.to_le_bytes()[..element.len()]);
                        bus.push(Access { kind: 0, size, address: u32::from(port), value });
                    }
                }
                Ok(VcpuExit::IoOut(port, data)) => {
                    let data = data.to_vec();
                    let size = size(&mut self.vcpu);
                    for element in data.chunks_exact(usize::from(size.max(1))) {
                        self.port = number(element);
                        bus.push(Access { kind: 1, size, address: u32::from(port), value: self.port });
                    }
                }
                Ok(VcpuExit::InternalError) => break Stop::Refused,
                Ok(VcpuExit::Intr) => break Stop::Step,
                Ok(other) => break Stop::Unexpected(format!("{other:?}")),
                Err(error) if error.errno() == libc::EINTR => break Stop::Step,
                Err(error) => break Stop::Unexpected(format!("KVM_RUN: {error}")),
            }
        };
        self.vcpu.set_kvm_immediate_exit(0);
        Ok(stop)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn masked(value: u64, size: usize) -> u64 {
    if size >= 8 { value } else { value & ((1 << (8 * size)) - 1) }
}
