// SPDX-License-Identifier: MIT OR GPL-2.0
//! Whether a processor can run guests: AMD APM volume 2, sections 15.4 (SVM, and who may switch it off) and
//! 15.25.1 (nested paging).

/// CPUID 8000_0001 ECX: the processor has SVM.
pub const HAS_SVM: u32 = 1 << 0;
/// CPUID 8000_000A EDX: it has nested paging.
pub const HAS_NPT: u32 = 1 << 1;
/// The host encrypts its memory (SME): addresses of pages have one more bit.
pub const ENCRYPTS: u32 = 1 << 2;

/// MSR VM_CR, bit SVMDIS: EFER.SVME cannot be set.
const VM_CR_SVMDIS: u64 = 1 << 4;

/// Why the driver cannot use the processor.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// It can.
    None,
    /// No AMD-V.
    NoSvm,
    /// No nested paging.
    NoNpt,
    /// The host's memory is encrypted.
    Encrypted,
    /// The firmware has switched SVM off.
    SwitchedOff,
}

/// What is in the way, of `HAS_SVM`, `HAS_NPT` and `ENCRYPTS` in `features` and the value of MSR VM_CR (0 if
/// the processor has no such MSR).
#[unsafe(no_mangle)]
pub extern "C" fn yakvm_obstacle(features: u32, vm_cr: u64) -> Obstacle {
    if features & HAS_SVM == 0 {
        Obstacle::NoSvm
    } else if features & HAS_NPT == 0 {
        Obstacle::NoNpt
    } else if features & ENCRYPTS != 0 {
        Obstacle::Encrypted
    } else if vm_cr & VM_CR_SVMDIS != 0 {
        Obstacle::SwitchedOff
    } else {
        Obstacle::None
    }
}
