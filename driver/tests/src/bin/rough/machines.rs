// SPDX-License-Identifier: MIT OR GPL-2.0
//! Random machines: memory, code, registers, events and debug settings as no sane program sets them, run for a moment.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use driver_tests::Random;
use kvm_bindings::{kvm_segment, kvm_sregs};

use crate::kvm::{self, Mapping, SET_GUEST_DEBUG, SET_REGS, SET_SREGS, Vcpu, Vm, request};
use crate::signals;

/// Pages of memory of a machine.
const PAGES: u64 = 64;
/// A machine ends after this many exits,
const EXITS: usize = 30;
/// or ticks of the timer.
const TICKS: u64 = 3;

/// Instructions that end in the driver, or should (AMD64 APM volume 2, 15.9).
const TELLING: &[&[u8]] = &[
    &[0x0F, 0x01, 0xD8],             // VMRUN
    &[0x0F, 0x01, 0xD9],             // VMMCALL
    &[0x0F, 0x01, 0xDA],             // VMLOAD
    &[0x0F, 0x01, 0xDB],             // VMSAVE
    &[0x0F, 0x01, 0xDC],             // STGI
    &[0x0F, 0x01, 0xDD],             // CLGI
    &[0x0F, 0x01, 0xDE],             // SKINIT
    &[0x0F, 0x01, 0xDF],             // INVLPGA
    &[0x0F, 0x01, 0xC8],             // MONITOR
    &[0x0F, 0x01, 0xC9],             // MWAIT
    &[0x0F, 0x01, 0xD1],             // XSETBV
    &[0x0F, 0x01, 0xF8],             // SWAPGS
    &[0x0F, 0x01, 0xF9],             // RDTSCP
    &[0x0F, 0x20, 0xC0],             // MOV from CR0
    &[0x0F, 0x22, 0xC0],             // MOV to CR0
    &[0x0F, 0x22, 0xD8],             // MOV to CR3
    &[0x0F, 0x22, 0xE0],             // MOV to CR4
    &[0x44, 0x0F, 0x22, 0xC0],       // MOV to CR8
    &[0x0F, 0x23, 0xF8],             // MOV to DR7
    &[0x0F, 0x21, 0xF0],             // MOV from DR6
    &[0x0F, 0x30],                   // WRMSR
    &[0x0F, 0x32],                   // RDMSR
    &[0x0F, 0x33],                   // RDPMC
    &[0x0F, 0xA2],                   // CPUID
    &[0x0F, 0x31],                   // RDTSC
    &[0x0F, 0x08],                   // INVD
    &[0x0F, 0x09],                   // WBINVD
    &[0x0F, 0x05],                   // SYSCALL
    &[0x0F, 0x07],                   // SYSRET
    &[0x0F, 0xAA],                   // RSM
    &[0x0F, 0x06],                   // CLTS
    &[0x0F, 0x0B],                   // UD2
    &[0xF3, 0x6C],                   // REP INSB
    &[0xF3, 0x6F],                   // REP OUTSD
    &[0xF3, 0xA4],                   // REP MOVSB
    &[0xF3, 0x90],                   // PAUSE
    &[0xCC],                         // INT3
    &[0xCE],                         // INTO
    &[0xCD, 0x02],                   // INT 2
    &[0xCF],                         // IRET
    &[0xF1],                         // ICEBP
    &[0xF4],                         // HLT
    &[0xFB],                         // STI
    &[0x9D],                         // POPF
    &[0x17],                         // POP SS
    &[0x8E, 0xD0],                   // MOV to SS
    &[0xE4, 0x60],                   // IN
    &[0xE7, 0x80],                   // OUT
    &[0xEF],                         // OUT to DX
    &[0xA3, 0xF0, 0xFF, 0xFF, 0xFF], // MOV to a far address
    &[0x0F, 0xC7, 0x0F],             // CMPXCHG8B
    &[0xEB, 0xFE],                   // JMP to itself
];

/// MSRs that matter to a driver, as guests and user space name them; not EFER, see [`spare_qemu`].
const MSRS: &[u32] = &[
    0x10,
    0x1B,
    0x174,
    0x175,
    0x176,
    0x1D9,
    0x277,
    0x48,
    0x49,
    0xDA0,
    0xC000_0081,
    0xC000_0082,
    0xC000_0084,
    0xC000_0100,
    0xC000_0101,
    0xC000_0102,
    0xC000_0103,
    0xC001_0114,
    0xC001_0117,
    0xC001_011F,
    0x4B56_4D00,
];

/// Exit reasons and errors of KVM_RUN, counted.
pub type Exits = BTreeMap<String, usize>;

/// Runs `count` random machines; what they ended with is counted in `exits`.
pub fn round(path: &str, random: &mut Random, count: usize, exits: &mut Exits) -> io::Result<()> {
    (0..count).try_for_each(|_| machine(path, random, exits))
}

fn machine(path: &str, random: &mut Random, exits: &mut Exits) -> io::Result<()> {
    let vm = Vm::new(path)?;
    let mut memory = Mapping::new((PAGES as usize) << 12)?;
    fill(memory.bytes(), random);
    for slot in 0..1 + random.below(3) as u32 {
        let pages = 1 + random.below(PAGES / 2);
        let guest = if slot == 0 { 0 } else { random.below(0x2000) << 12 };
        let host = memory.start as u64 + (random.below(PAGES / 2) << 12);
        let flags = random.of(&[0, 0, 0, 1, 2, 3]);
        // Overlapping ones are refused.
        let _ = vm.slot(slot, flags, guest, host, pages << 12);
    }
    let mut vcpus = Vec::new();
    for number in 0..1 + u64::from(random.once_in(8)) {
        vcpus.push(vm.vcpu(number)?);
    }
    // Not before: a signal may interrupt the making of a machine, too.
    signals::every(1000);
    let result = vcpus.iter_mut().try_for_each(|vcpu| {
        let fd = vcpu.fd.as_raw_fd();
        registers(fd, random)?;
        for _ in 0..random.below(8) {
            unusual(fd, random);
        }
        run(vcpu, random, exits);
        Ok(())
    });
    signals::every(0);
    result
}

fn fill(memory: &mut [u8], random: &mut Random) {
    if random.once_in(4) {
        return random.fill(memory);
    }
    // Code of telling instructions, page tables, and descriptors, one kind for a page.
    for page in memory.chunks_mut(0x1000) {
        match random.below(4) {
            0 => random.fill(page),
            1 => {
                for entry in page.chunks_mut(8) {
                    let bits = random.of(&[0x3, 0x7, 0x67, 0x83, 0xE7, 0x8000_0000_0000_0007, 0x1F]);
                    entry.copy_from_slice(&(random.below(0x120) << 12 | bits).to_le_bytes());
                }
            }
            _ => {
                let mut at = 0;
                while at + 8 < page.len() {
                    let code = random.of(TELLING);
                    page[at..at + code.len()].copy_from_slice(code);
                    at += code.len();
                    if random.once_in(2) {
                        let length = random.below(4) as usize;
                        random.fill(&mut page[at..at + length]);
                        at += length;
                    }
                }
            }
        }
    }
}

fn registers(fd: RawFd, random: &mut Random) -> io::Result<()> {
    let mut sregs = kvm_sregs::default();
    kvm::ioctl_with(fd, kvm::GET_SREGS, &mut sregs)?;
    let (cr0, cr4, efer, l) = random.of(&[
        (0x10, 0, 0, 0),
        (0x11, 0, 0, 0),
        (0x8000_0011, 0x10, 0, 0),
        (0x8000_0031, 0x20, 0x500, 1),
    ]);
    (sregs.cr0, sregs.cr4, sregs.efer, sregs.cr3) = (cr0, cr4, efer, random.below(0x100) << 12);
    if cr0 & 1 != 0 {
        let flat = kvm_segment { limit: !0, present: 1, s: 1, g: 1, db: 1 - l, ..Default::default() };
        let dpl = random.of(&[0, 0, 3]);
        sregs.cs = kvm_segment { selector: 8 | u16::from(dpl), type_: 11, l, dpl, ..flat };
        let data = kvm_segment { selector: 16 | u16::from(dpl), type_: 3, db: 1, dpl, ..flat };
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
    } else {
        (sregs.cs.base, sregs.cs.selector) = (0x1000, 0x100);
    }
    if random.once_in(3) {
        spoil(&mut sregs, random);
    }
    spare_qemu(&mut sregs);
    // Impossible states are refused, or not.
    let _ = kvm::ioctl_with(fd, SET_SREGS, &mut sregs);
    let mut regs = [0u64; 18];
    for register in &mut regs {
        *register = random.of(&[random.clone().below(0x10_0000), random.clone().bits(), 0, 0x1000]);
        random.bits();
    }
    regs[16] = if random.once_in(10) { random.bits() } else { random.below(0x1_0000) };
    regs[17] = if random.once_in(3) { random.bits() } else { 2 | random.below(2) << 9 };
    let _ = kvm::ioctl_with(fd, SET_REGS, &mut regs);
    Ok(())
}

/// QEMU (at least 7.2) does not restore the host's CR0 if the guest has EFER.LME without CR4.PAE when it exits: its
/// `cpu_x86_update_cr0` returns early. The machine of the lab then hangs, whatever the driver does.
fn spare_qemu(sregs: &mut kvm_sregs) {
    if sregs.cr4 & 0x20 == 0 {
        sregs.efer &= !0x100;
    }
}

/// Sets some bits of a structure at random.
fn spoil<T>(structure: &mut T, random: &mut Random) {
    // SAFETY: the structures here are plain numbers, for which all bits are valid.
    let bytes =
        unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(structure).cast::<u8>(), size_of::<T>()) };
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = if random.once_in(2) { random.bits() as u8 } else { bytes[at] ^ 1 << random.below(8) };
    }
}

/// A state ioctl with a state that a vCPU might have, spoilt.
fn unusual(fd: RawFd, random: &mut Random) {
    let mut buffer = [0u8; 4096];
    // The numbers of a GET ioctl and its SET, and their size.
    let pairs: [(u64, u64, usize); 6] = [
        (0x81, 0x82, 144),  // REGS
        (0x8C, 0x8D, 416),  // FPU
        (0x9F, 0xA0, 64),   // VCPU_EVENTS
        (0xA1, 0xA2, 128),  // DEBUGREGS
        (0xA4, 0xA5, 4096), // XSAVE
        (0xA6, 0xA7, 392),  // XCRS
    ];
    match random.below(7) {
        0 => {
            let mut sregs = kvm_sregs::default();
            if kvm::ioctl_with(fd, kvm::GET_SREGS, &mut sregs).is_ok() {
                spoil(&mut sregs, random);
                spare_qemu(&mut sregs);
                let _ = kvm::ioctl_with(fd, SET_SREGS, &mut sregs);
            }
        }
        1 | 6 => {
            let (get, set, size) = random.of(&pairs);
            if kvm::ioctl_with(fd, request(2, get, size), &mut buffer).is_ok() {
                let mut part = [0u8; 64];
                let at = random.below((size / 64).max(1) as u64) as usize * 64;
                part.copy_from_slice(&buffer[at..at + 64]);
                spoil(&mut part, random);
                buffer[at..at + 64].copy_from_slice(&part);
                let _ = kvm::ioctl_with(fd, request(1, set, size), &mut buffer);
            }
        }
        2 => {
            let _ = kvm::ioctl(fd, kvm::NMI, 0);
            let mut vector = if random.once_in(4) { random.bits() as u32 } else { random.below(256) as u32 };
            let _ = kvm::ioctl_with(fd, kvm::INTERRUPT, &mut vector);
        }
        3 => {
            random.fill(&mut buffer[..72]);
            let control =
                1 | random.of(&[0u32, 2, 2, 0x1_0000, 0x2_0000, 0x3_0002, 0x4_0000, 0x8_0000, 0x10_0002]);
            buffer[..8].copy_from_slice(&u64::from(control).to_le_bytes());
            let _ = kvm::ioctl_with(fd, SET_GUEST_DEBUG, &mut buffer);
        }
        4 => {
            // struct kvm_msrs with one entry.
            buffer[..4].copy_from_slice(&1u32.to_le_bytes());
            buffer[8..12].copy_from_slice(&random.of(MSRS).to_le_bytes());
            let value = random.of(&[random.clone().bits(), 0, 1, 0xD01]);
            buffer[16..24].copy_from_slice(&value.to_le_bytes());
            let _ = kvm::ioctl_with(fd, kvm::SET_MSRS, &mut buffer);
        }
        _ => {
            let mut state = random.below(6) as u32;
            let _ = kvm::ioctl_with(fd, kvm::SET_MP_STATE, &mut state);
        }
    }
}

fn run(vcpu: &mut Vcpu, random: &mut Random, exits: &mut Exits) {
    let end = signals::ticks() + TICKS;
    let mut last = String::new();
    for _ in 0..EXITS {
        let how = match vcpu.enter() {
            Ok(reason) => format!("exit {reason}"),
            Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(0)),
        };
        *exits.entry(how.clone()).or_default() += 1;
        // It makes no progress: something else is tried.
        if how == last {
            unusual(vcpu.fd.as_raw_fd(), random);
            if random.once_in(3) {
                return;
            }
        }
        last = how;
        if signals::ticks() >= end {
            return;
        }
        // What user space answers: anything.
        let data = random.below(0x1000) as usize;
        if random.once_in(2) && data + 8 < vcpu.run.length - 0x1000 {
            random.fill(&mut vcpu.run.bytes()[0x1000 + data..][..8]);
        }
        if random.once_in(4) {
            unusual(vcpu.fd.as_raw_fd(), random);
        }
        if random.once_in(4) {
            vcpu.kvm_run().request_interrupt_window = random.below(2) as u8;
            vcpu.kvm_run().cr8 = random.bits();
        }
    }
}
