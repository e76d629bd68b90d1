// SPDX-License-Identifier: MIT OR GPL-2.0
//! Random ioctls on all three kinds of file descriptors.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use driver_tests::Random;

use crate::kvm::{self, Mapping, Vm, request};
use crate::processes;
use crate::signals;

/// A process makes so many calls, with one machine.
const PER_PROCESS: usize = 10_000;

/// Makes `count` calls, in processes of their own: what the kernel writes by a random argument is theirs. Returns how
/// many calls succeeded and how many processes did not end by themselves.
pub fn round(path: &str, random: &mut Random, count: usize) -> io::Result<(usize, usize)> {
    let (mut successes, mut killed) = (0, 0);
    for _ in 0..count.div_ceil(PER_PROCESS) {
        let shared = Mapping::of(4096, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, std::ptr::null_mut())?;
        let seed = random.bits();
        let child = processes::fork(|| {
            let counter = shared.start.cast::<u64>();
            calls(path, &mut Random::new(seed), counter).map_or(1, |()| 0)
        })?;
        match child.wait()? {
            0 => {}
            status if status < 0 => killed += 1,
            _ => return Err(io::Error::other("a process could not make its machine")),
        }
        successes += shared.number(0) as usize;
    }
    Ok((successes, killed))
}

fn calls(path: &str, random: &mut Random, successes: *mut u64) -> io::Result<()> {
    let device = kvm::open(path)?;
    let vm = Vm::new(path)?;
    let mut vcpu = vm.vcpu(0)?;
    let mut buffer = Mapping::new(0x1_0000)?;
    let read_only = Mapping::new(0x1000)?;
    // SAFETY: the mapping's own page.
    unsafe { libc::mprotect(read_only.start.cast(), read_only.length, libc::PROT_READ) };
    let memory = Mapping::new(0x1_0000)?;
    vm.slot(0, 0, 0, memory.start as u64, memory.length as u64)?;
    signals::every(500);
    for call in 0..PER_PROCESS {
        if call % 8 == 0 {
            random.fill(&mut buffer.bytes()[..512]);
        }
        if random.once_in(2) {
            // Small numbers pass more checks.
            buffer.bytes()[..8].copy_from_slice(&(random.below(4)).to_le_bytes());
        }
        let fd: RawFd = random.of(&[device.as_raw_fd(), vm.fd.as_raw_fd(), vcpu.fd.as_raw_fd()]);
        let number = random.below(0x100);
        let request = match random.below(8) {
            0 => random.bits() & 0xFFFF_FFFF,
            1 => request(random.below(4), number, random.below(0x4000) as usize),
            2 => request(random.below(4), number, random.of(&[0, 4, 8, 16, 24, 32, 64, 72, 144])),
            _ => random.of(KNOWN),
        };
        // Its memory may be more than there is.
        if request == kvm::SET_USER_MEMORY_REGION {
            let region = &mut buffer.bytes()[..32];
            region[4..8].copy_from_slice(&(random.below(8) as u32).to_le_bytes());
            region[8..16].copy_from_slice(&(random.below(0x100) << 12).to_le_bytes());
            region[16..24].copy_from_slice(&(random.below(0x20) << 12).to_le_bytes());
            region[24..32].copy_from_slice(&(memory.start as u64).to_le_bytes());
        }
        let end = buffer.start as u64 + buffer.length as u64;
        let argument = match random.below(10) {
            0 => 0,
            1 => random.bits(),
            2 => random.below(0x1000),
            3 => 0xFFFF_8000_0000_0000 | random.bits() >> 17,
            4 => end - random.below(64),
            5 => read_only.start as u64,
            _ => buffer.start as u64,
        };
        if request == kvm::RUN {
            vcpu.kvm_run().immediate_exit = random.below(2) as u8;
        }
        if let Ok(result) = kvm::ioctl(fd, request, argument) {
            // SAFETY: the caller's page.
            unsafe { *successes += 1 };
            let makes_file = matches!(request & 0xFFFF, 0xAE01 | 0xAE41 | 0xAECE | 0xAE47);
            if makes_file && result > 2 {
                // SAFETY: the call has just made it.
                unsafe { libc::close(result) };
            }
        }
    }
    signals::every(0);
    Ok(())
}

/// Calls that KVM has on x86 (linux/kvm.h). Left out are those that need much time or memory by design.
const KNOWN: &[u64] = &[
    kvm::GET_API_VERSION,
    kvm::CREATE_VM,
    kvm::GET_MSR_INDEX_LIST,
    kvm::CHECK_EXTENSION,
    kvm::GET_VCPU_MMAP_SIZE,
    kvm::GET_SUPPORTED_CPUID,
    kvm::GET_EMULATED_CPUID,
    kvm::CREATE_VCPU,
    kvm::GET_DIRTY_LOG,
    kvm::SET_USER_MEMORY_REGION,
    kvm::SET_TSS_ADDR,
    kvm::SET_IDENTITY_MAP_ADDR,
    kvm::SET_BOOT_CPU_ID,
    kvm::RUN,
    kvm::GET_REGS,
    kvm::SET_REGS,
    kvm::GET_SREGS,
    kvm::SET_SREGS,
    kvm::TRANSLATE,
    kvm::INTERRUPT,
    kvm::GET_MSRS,
    kvm::SET_MSRS,
    kvm::SET_SIGNAL_MASK,
    kvm::GET_FPU,
    kvm::SET_FPU,
    kvm::SET_CPUID2,
    kvm::GET_CPUID2,
    kvm::GET_MP_STATE,
    kvm::SET_MP_STATE,
    kvm::NMI,
    kvm::SET_GUEST_DEBUG,
    kvm::GET_VCPU_EVENTS,
    kvm::SET_VCPU_EVENTS,
    kvm::GET_DEBUGREGS,
    kvm::SET_DEBUGREGS,
    kvm::ENABLE_CAP,
    kvm::GET_XSAVE,
    kvm::SET_XSAVE,
    kvm::GET_XCRS,
    kvm::SET_XCRS,
    0x2900, // the original yakvm's calls
    0x2910,
    0x2911,
    0x2920,
    0x2921,
    0x2922,
];
