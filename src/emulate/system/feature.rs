//! Processor features that the guest's CPUID reports.
//!
//! Manual: Intel SDM volume 2A, CPUID; AMD APM volume 3, "CPUID Feature Flags".

use crate::emulate::cpu::Cpu;
use crate::emulate::exception::{EmulationError, Exception};

/// A bit of a CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    leaf: u32,
    subleaf: u32,
    register: usize,
    bit: u32,
}

const fn feature(leaf: u32, subleaf: u32, register: usize, bit: u32) -> Feature {
    Feature { leaf, subleaf, register, bit }
}

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

pub(super) const MONITOR: Feature = feature(1, 0, ECX, 3);
pub(super) const VMX: Feature = feature(1, 0, ECX, 5);
pub(super) const SMX: Feature = feature(1, 0, ECX, 6);
pub(super) const XSAVE: Feature = feature(1, 0, ECX, 26);
pub(super) const SGX: Feature = feature(7, 0, EBX, 2);
pub(super) const INVPCID: Feature = feature(7, 0, EBX, 10);
pub(super) const RTM: Feature = feature(7, 0, EBX, 11);
pub(super) const SMAP: Feature = feature(7, 0, EBX, 20);
pub(super) const CLWB: Feature = feature(7, 0, EBX, 24);
pub(super) const PROTECTION_KEYS: Feature = feature(7, 0, ECX, 3);
pub(super) const WAITPKG: Feature = feature(7, 0, ECX, 5);
pub(super) const SHADOW_STACK: Feature = feature(7, 0, ECX, 7);
pub(super) const RDPID: Feature = feature(7, 0, ECX, 22);
pub(super) const MOVDIR64B: Feature = feature(7, 0, ECX, 28);
pub(super) const ENQCMD: Feature = feature(7, 0, ECX, 29);
pub(super) const USER_INTERRUPTS: Feature = feature(7, 0, EDX, 5);
pub(super) const SERIALIZE: Feature = feature(7, 0, EDX, 14);
pub(super) const LOAD_TRACKING: Feature = feature(7, 0, EDX, 16);
pub(super) const PCONFIG: Feature = feature(7, 0, EDX, 18);
pub(super) const HRESET: Feature = feature(7, 1, EAX, 22);
pub(super) const XSAVEOPT: Feature = feature(0xD, 1, EAX, 0);
pub(super) const XSAVEC: Feature = feature(0xD, 1, EAX, 1);
pub(super) const XGETBV_1: Feature = feature(0xD, 1, EAX, 2);
pub(super) const XSAVES: Feature = feature(0xD, 1, EAX, 3);
pub(super) const PTWRITE: Feature = feature(0x14, 0, EBX, 4);
pub(super) const SVM: Feature = feature(0x8000_0001, 0, ECX, 2);
pub(super) const MONITORX: Feature = feature(0x8000_0001, 0, ECX, 29);
pub(super) const RDTSCP: Feature = feature(0x8000_0001, 0, EDX, 27);
pub(super) const AMD_3DNOW_EXTENSIONS: Feature = feature(0x8000_0001, 0, EDX, 30);
pub(super) const AMD_3DNOW: Feature = feature(0x8000_0001, 0, EDX, 31);
pub(super) const CLZERO: Feature = feature(0x8000_0008, 0, EBX, 0);
pub(super) const INVLPGB: Feature = feature(0x8000_0008, 0, EBX, 3);
pub(super) const RDPRU: Feature = feature(0x8000_0008, 0, EBX, 4);
pub(super) const MCOMMIT: Feature = feature(0x8000_0008, 0, EBX, 8);
pub(super) const NESTED_PAGING_PROTECTION: Feature = feature(0x8000_001F, 0, EAX, 4);

impl Cpu<'_> {
    /// True if CPUID lists the feature.
    pub(super) fn has(&self, feature: Feature) -> bool {
        self.state.cpuid(feature.leaf, feature.subleaf)[feature.register] >> feature.bit & 1 != 0
    }

    /// # Errors
    ///
    /// #UD unless CPUID lists the feature.
    pub(super) fn needs(&self, feature: Feature) -> Result<(), EmulationError> {
        if self.has(feature) { Ok(()) } else { Err(Exception::UNDEFINED.into()) }
    }
}
