//! A guest file becomes memory contents and the state of the first vCPU.
//!
//! Nothing in here needs `/dev/kvm`: the result is [`BootState`], plain numbers that the machine
//! gives to its vCPU.

use std::path::PathBuf;

/// Selector of the 64-bit ring-0 code segment a guest starts in.
pub const CODE_SELECTOR: u16 = 0x08;

/// Selector of the task state segment.
pub const TASK_SELECTOR: u16 = 0x18;

/// Size of the boot stack in bytes.
pub const STACK_SIZE: u64 = 64 << 10;

/// What the user can choose about booting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootOptions {
    /// Unmap page 0, enforce segment permissions, guard the boot stack.
    pub strict: bool,
    /// Command line handed to the guest.
    pub command_line: String,
    /// Files handed to the guest, each with its command line.
    pub modules: Vec<(PathBuf, String)>,
}

/// Base and limit of a descriptor table or of the task state segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Address of the first byte.
    pub base: u64,
    /// Offset of the last byte.
    pub limit: u16,
}

/// The first vCPU at the guest's first instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootState {
    /// RIP.
    pub entry: u64,
    /// RSP, 16-byte aligned.
    pub stack_top: u64,
    /// CR3: guest-physical address of the PML4.
    pub page_tables: u64,
    /// GDTR.
    pub gdt: Table,
    /// IDTR.
    pub idt: Table,
    /// The task state segment TR is loaded with.
    pub tss: Table,
    /// RDI and RBX: guest-physical address of the PVH `hvm_start_info`.
    pub info: u64,
}
