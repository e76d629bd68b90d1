//! Bits of control registers, EFER, RFLAGS and DR6.
//!
//! Manual: Intel SDM volume 3A, "Control Registers" and "System Flags and Fields in the EFLAGS Register";
//! volume 3B, "Debug Status Register (DR6)"; volume 4, "IA32_EFER".

/// CR0.PE: protected mode.
pub const CR0_PE: u64 = 1 << 0;
/// CR0.MP: `wait` looks at CR0.TS.
pub const CR0_MP: u64 = 1 << 1;
/// CR0.EM: there is no x87.
pub const CR0_EM: u64 = 1 << 2;
/// CR0.TS: the task was switched; x87 and vector instructions raise #NM.
pub const CR0_TS: u64 = 1 << 3;
/// CR0.NE: x87 errors are exceptions.
pub const CR0_NE: u64 = 1 << 5;
/// CR0.WP: write protection of read-only pages in supervisor mode.
pub const CR0_WP: u64 = 1 << 16;
/// CR0.AM: alignment is checked in ring 3 where RFLAGS.AC is set.
pub const CR0_AM: u64 = 1 << 18;
/// CR0.PG: paging.
pub const CR0_PG: u64 = 1 << 31;
/// CR4.VME: extensions of virtual-8086 mode.
pub const CR4_VME: u64 = 1 << 0;
/// CR4.TSD: `rdtsc` is for ring 0.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4.PSE: 4 MiB pages in 32-bit paging.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE: PAE paging.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.OSFXSR: SSE is switched on.
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4.OSXMMEXCPT: SSE errors raise #XM.
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// CR4.LA57: 57-bit linear addresses.
pub const CR4_LA57: u64 = 1 << 12;
/// CR4.OSXSAVE: `xsave`, and the registers that XCR0 switches on.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.SMEP: supervisor code is not fetched from user pages.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4.SMAP: supervisor data is not accessed in user pages.
pub const CR4_SMAP: u64 = 1 << 21;
/// CR4.CET: control-flow enforcement.
pub const CR4_CET: u64 = 1 << 23;
/// EFER.LME: long mode is wanted.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA: long mode is active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE: pages may forbid execution.
pub const EFER_NXE: u64 = 1 << 11;
/// RFLAGS.CF: carry.
pub const RFLAGS_CF: u64 = 1;
/// RFLAGS.ZF: zero.
pub const RFLAGS_ZF: u64 = 1 << 6;
/// RFLAGS.TF: an exception after each instruction.
pub const RFLAGS_TF: u64 = 1 << 8;
/// RFLAGS.IF: interrupts are let in.
pub const RFLAGS_IF: u64 = 1 << 9;
/// RFLAGS.RF: the next instruction raises no exception for its breakpoint.
pub const RFLAGS_RF: u64 = 1 << 16;
/// RFLAGS.VM: virtual-8086 mode.
pub const RFLAGS_VM: u64 = 1 << 17;
/// RFLAGS.AC: alignment check; access to user pages in spite of SMAP.
pub const RFLAGS_AC: u64 = 1 << 18;
/// DR6: a bit for each debug register that has matched.
pub const DR6_MATCHES: u64 = 0xF;
/// DR6.BS: the exception is that of a step, by the trap flag.
pub const DR6_BS: u64 = 1 << 14;
