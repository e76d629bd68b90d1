//! The registers of a vCPU as plain numbers, for boot, reports and debuggers.

use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};

use super::bits::{CR0_PE, EFER_LMA, RFLAGS_VM};

/// General, control and segment registers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Registers {
    /// General-purpose registers, RIP and RFLAGS.
    pub general: kvm_regs,
    /// Segments, descriptor tables, control registers, EFER.
    pub system: kvm_sregs,
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

    /// The ring the vCPU is in, 0 to 3: what CS selects does not tell in real mode and in virtual-8086
    /// mode (Intel SDM volume 3A, "Privilege Levels").
    pub fn ring(&self) -> u8 {
        if self.system.cr0 & CR0_PE == 0 {
            0
        } else if self.system.efer & EFER_LMA == 0 && self.general.rflags & RFLAGS_VM != 0 {
            3
        } else {
            // KVM keeps the current ring there, also where SS is null.
            self.system.ss.dpl & 3
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
    pub fn segments(&self) -> [(&'static str, kvm_segment); 6] {
        let s = &self.system;
        [("CS", s.cs), ("DS", s.ds), ("ES", s.es), ("FS", s.fs), ("GS", s.gs), ("SS", s.ss)]
    }

    /// Descriptor table registers with their names.
    pub fn tables(&self) -> [(&'static str, kvm_dtable); 2] {
        [("GDT", self.system.gdt), ("IDT", self.system.idt)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_of_real_mode_says_nothing_about_the_ring() {
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
