//! The registers of a vCPU as plain numbers, for boot, reports and debuggers.
//!
//! Manual: Intel SDM volume 3A, "System Architecture Overview".

use serde::{Deserialize, Serialize};

use super::Mode;
use super::flags::CR0_PE;

/// General-purpose registers, RIP and RFLAGS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GeneralRegisters {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// A segment register with its hidden part (Intel SDM volume 3A, "Segment Registers"). Flags are 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRegister {
    /// Linear address of the segment's first byte.
    pub base: u64,
    /// Offset of its last byte, whatever its granularity.
    pub limit: u32,
    /// What the guest loaded.
    pub selector: u16,
    /// Type, 0 to 15.
    pub type_: u8,
    /// P: the segment is present.
    pub present: u8,
    /// Descriptor privilege level, 0 to 3.
    pub dpl: u8,
    /// D/B: 32-bit code or stack.
    pub db: u8,
    /// S: code or data, not a system segment.
    pub s: u8,
    /// L: 64-bit code.
    pub l: u8,
    /// G: the descriptor counts pages.
    pub g: u8,
    /// AVL: for the guest's use.
    pub avl: u8,
    /// The register holds no segment.
    pub unusable: u8,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

/// Segments, descriptor tables, control registers and EFER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SystemRegisters {
    pub cs: SegmentRegister,
    pub ds: SegmentRegister,
    pub es: SegmentRegister,
    pub fs: SegmentRegister,
    pub gs: SegmentRegister,
    pub ss: SegmentRegister,
    pub tr: SegmentRegister,
    pub ldt: SegmentRegister,
    pub gdt: TableRegister,
    pub idt: TableRegister,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub efer: u64,
    /// IA32_APIC_BASE.
    pub apic_base: u64,
    /// The interrupt that waits to be injected, as a bit of 256.
    pub interrupt_bitmap: [u64; 4],
}

/// x87, vector and other extended registers in the standard (not compacted) format of `xsave`, as
/// KVM_GET_XSAVE returns them (Intel SDM volume 1, "Standard Format of XSAVE Area").
pub type ExtendedRegisters = [u8; 4096];

/// The debug registers (Intel SDM volume 3B, "Debug Registers").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugRegisters {
    /// DR0 to DR3: linear addresses of breakpoints.
    pub addresses: [u64; 4],
    /// DR6: what has matched.
    pub dr6: u64,
    /// DR7: which breakpoints are enabled, and for what.
    pub dr7: u64,
}

/// General, control and segment registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers {
    /// General-purpose registers, RIP and RFLAGS.
    pub general: GeneralRegisters,
    /// Segments, descriptor tables, control registers, EFER.
    pub system: SystemRegisters,
}

impl Registers {
    /// Linear address of the next instruction. In 64-bit mode the base of CS is ignored (Intel SDM
    /// volume 3A, "Segmentation in IA-32e Mode").
    pub fn next_instruction(&self) -> u64 {
        let cs = self.system.cs;
        let base = if cs.l == 1 { 0 } else { cs.base };
        base.wrapping_add(self.general.rip)
    }

    /// Width of code addresses and operands in the mode the vCPU is in: 16, 32 or 64.
    pub fn bitness(&self) -> u32 {
        let cs = self.system.cs;
        let protected = self.system.cr0 & CR0_PE != 0;
        match (protected, cs.l, cs.db) {
            (true, 1, _) => 64,
            (true, _, 1) => 32,
            _ => 16,
        }
    }

    /// Linear address of the top of the stack (Intel SDM volume 1, "Procedure Stack").
    pub fn top_of_stack(&self) -> u64 {
        let (sp, ss) = (self.general.rsp, &self.system.ss);
        match self.bitness() {
            64 => sp,
            _ if ss.db == 0 => ss.base.wrapping_add(sp & 0xFFFF),
            _ => ss.base.wrapping_add(sp & 0xFFFF_FFFF),
        }
    }

    /// The ring (current privilege level) the vCPU is in, 0 to 3. It cannot be taken from the CS selector,
    /// which is no ring in real mode and in virtual-8086 mode (Intel SDM volume 3A, "Privilege Levels").
    pub fn ring(&self) -> u8 {
        match self.mode() {
            Mode::Real => 0,
            Mode::Virtual8086 => 3,
            // KVM keeps the current ring there, also where SS is null.
            _ => self.system.ss.dpl & 3,
        }
    }

    /// General-purpose registers with their names, in the order manuals list them.
    pub fn named(&self) -> [(&'static str, u64); 18] {
        let g = &self.general;
        [
            ("RAX", g.rax),
            ("RBX", g.rbx),
            ("RCX", g.rcx),
            ("RDX", g.rdx),
            ("RSI", g.rsi),
            ("RDI", g.rdi),
            ("RBP", g.rbp),
            ("RSP", g.rsp),
            ("R8", g.r8),
            ("R9", g.r9),
            ("R10", g.r10),
            ("R11", g.r11),
            ("R12", g.r12),
            ("R13", g.r13),
            ("R14", g.r14),
            ("R15", g.r15),
            ("RIP", g.rip),
            ("RFLAGS", g.rflags),
        ]
    }

    /// Control registers and EFER with their names.
    pub fn control(&self) -> [(&'static str, u64); 5] {
        let s = &self.system;
        [("CR4", s.cr4), ("CR3", s.cr3), ("CR2", s.cr2), ("CR0", s.cr0), ("EFER", s.efer)]
    }

    /// Segment registers with their names.
    pub fn segments(&self) -> [(&'static str, SegmentRegister); 6] {
        let s = &self.system;
        [("CS", s.cs), ("DS", s.ds), ("ES", s.es), ("FS", s.fs), ("GS", s.gs), ("SS", s.ss)]
    }

    /// Descriptor table registers with their names.
    pub fn tables(&self) -> [(&'static str, TableRegister); 2] {
        [("GDT", self.system.gdt), ("IDT", self.system.idt)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::{EFER_LMA, RFLAGS_VM};
    use super::*;

    #[test]
    fn the_ring_does_not_follow_from_the_cs_selector() {
        let mut registers = Registers::default();
        registers.system.cs.selector = 0x0FFF;
        registers.system.ss.dpl = 3;
        assert_eq!(registers.ring(), 0);
        registers.system.cr0 = CR0_PE;
        assert_eq!(registers.ring(), 3);
        registers.system.ss.dpl = 0;
        assert_eq!(registers.ring(), 0);
        registers.system.cs.selector = 0x1000;
        registers.general.rflags = RFLAGS_VM;
        assert_eq!(registers.ring(), 3, "virtual-8086 mode");
        registers.system.efer = EFER_LMA;
        assert_eq!(registers.ring(), 0, "there is none in long mode");
    }
}
