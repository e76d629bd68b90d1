//! Memory accesses of an instruction, checked as the processor checks them, without a change.
//!
//! Manual: Intel SDM volume 3A, "Protected-Mode Memory Management", "Paging" and "Alignment".

use iced_x86::{
    EncodingKind, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpAccess, OpKind, Register,
    UsedMemory,
};

use super::{AccessKind, AddressMeaning, Diagnosis, PageState, RaisedException, vector};
use crate::arch::flags::{CR0_AM, CR0_WP, CR4_SMAP, CR4_SMEP, RFLAGS_AC};
use crate::arch::paging::{Access, PageFault, Paging};
use crate::arch::{Mode, PAGE_SIZE, Registers};
use crate::inspect::operands::{register_value, segment};
use crate::memory::GuestMemory;

/// Bits of a page fault's error code (Intel SDM volume 3A, "Page-Fault Exceptions").
const PROTECTION: u32 = 1 << 0;
const USER: u32 = 1 << 2;
const RESERVED: u32 = 1 << 3;

/// Pages above a faulting address that are searched for the stack it may belong to.
const STACK_PAGES: u64 = 16;

/// The exception that the first faulting memory operand of `instruction` raises, explicit or not.
pub(super) fn operands(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
) -> Option<RaisedException> {
    let mut factory = InstructionInfoFactory::new();
    let used: Vec<UsedMemory> = factory.info(instruction).used_memory().to_vec();
    used.iter().find_map(|used| operand(memory, registers, instruction, used))
}

fn operand(
    memory: &GuestMemory,
    registers: &Registers,
    instruction: &Instruction,
    used: &UsedMemory,
) -> Option<RaisedException> {
    let access = match used.access() {
        OpAccess::Read | OpAccess::CondRead => AccessKind::Read,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
            AccessKind::Write
        }
        OpAccess::None | OpAccess::NoMemAccess => return None,
    };
    if !is_accessed(registers, instruction) {
        return None;
    }
    let offset = used.virtual_address(0, |register, _, _| match register.is_segment_register() {
        true => Some(0),
        false => register_value(register, registers),
    })?;
    let size = used.memory_size().size().max(1) as u64;
    let on_stack = used.segment() == Register::SS;
    let address = match linear(registers, used.segment(), offset, size, access) {
        Ok(address) => address,
        Err(diagnosis) => return Some(segment_fault(on_stack, diagnosis)),
    };
    let by_stack_pointer = match used.base().full_register() {
        Register::RSP => true,
        // Without frame pointers RBP may hold anything.
        Register::RBP => registers.general.rbp.wrapping_sub(registers.general.rsp) < STACK_PAGES * PAGE_SIZE,
        _ => false,
    };
    if let Some(alignment) = alignment(instruction, size)
        && !address.is_multiple_of(alignment)
    {
        // Compilers rely on the alignment that the ABI gives the stack at a call.
        let off_by_half = by_stack_pointer && alignment == 16 && address % 16 == 8;
        let diagnosis = Diagnosis::Misaligned { address, alignment, on_stack: off_by_half };
        return Some(segment_fault(on_stack, diagnosis));
    }
    pages(memory, registers, address, size, access, by_stack_pointer)
}

/// False if `instruction` may leave its memory operand alone, or accesses memory elsewhere.
fn is_accessed(registers: &Registers, instruction: &Instruction) -> bool {
    use Mnemonic::*;
    let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    match instruction.mnemonic() {
        _ if repeated && instruction.is_string_instruction() => {
            // The count has the width of the addresses.
            let mask = (0..instruction.op_count()).find_map(|n| match instruction.op_kind(n) {
                OpKind::MemorySegSI | OpKind::MemorySegDI | OpKind::MemoryESDI => Some(0xFFFF),
                OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI => Some(0xFFFF_FFFF),
                _ => None,
            });
            registers.general.rcx & mask.unwrap_or(u64::MAX) != 0
        }
        // A bit number in a register reaches beyond the operand.
        Bt | Bts | Btr | Btc => instruction.op1_kind() != OpKind::Register,
        // Elements that the mask leaves out raise nothing.
        Maskmovq | Maskmovdqu | Vmaskmovdqu | Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq => false,
        _ => !instruction.has_op_mask(),
    }
}

/// #AC: an operand of `instruction` whose address is no multiple of its size, in ring 3, where that is checked
/// (Intel SDM volume 3A, "Interrupt 17—Alignment Check Exception"). Vectors are left out: processors differ.
pub(super) fn alignment_check(registers: &Registers, instruction: &Instruction) -> Option<RaisedException> {
    let is_checked = registers.system.cr0 & CR0_AM != 0 && registers.general.rflags & RFLAGS_AC != 0;
    if registers.ring() != 3 || !is_checked || !is_accessed(registers, instruction) {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    factory.info(instruction).used_memory().iter().find_map(|used| {
        let alignment = match used.memory_size() {
            MemorySize::UInt16 | MemorySize::Int16 => 2,
            MemorySize::UInt32 | MemorySize::Int32 => 4,
            MemorySize::UInt64 | MemorySize::Int64 => 8,
            _ => return None,
        };
        if matches!(used.access(), OpAccess::None | OpAccess::NoMemAccess) {
            return None;
        }
        let offset = used.virtual_address(0, |register, _, _| match register.is_segment_register() {
            true => Some(0),
            false => register_value(register, registers),
        })?;
        let address = linear(registers, used.segment(), offset, alignment, AccessKind::Read).ok()?;
        (!address.is_multiple_of(alignment)).then_some(RaisedException {
            vector: vector::ALIGNMENT,
            error_code: Some(0),
            diagnosis: Diagnosis::AlignmentCheck { address, alignment },
        })
    })
}

/// #GP, or #SS for the stack segment; alignment is always #GP.
fn segment_fault(on_stack: bool, diagnosis: Diagnosis) -> RaisedException {
    let stack = on_stack && !matches!(diagnosis, Diagnosis::Misaligned { .. });
    let vector = if stack { vector::STACK } else { vector::PROTECTION };
    RaisedException { vector, error_code: Some(0), diagnosis }
}

/// The linear address of `size` bytes at `offset` of a segment.
fn linear(
    registers: &Registers,
    register: Register,
    offset: u64,
    size: u64,
    access: AccessKind,
) -> Result<u64, Diagnosis> {
    let segment = segment(register, registers).unwrap_or_default();
    let last = offset.wrapping_add(size - 1);
    if registers.mode() == Mode::SixtyFourBit {
        let base = if matches!(register, Register::FS | Register::GS) { segment.base } else { 0 };
        let address = base.wrapping_add(offset);
        return if is_canonical(registers, address) && is_canonical(registers, base.wrapping_add(last)) {
            Ok(address)
        } else {
            Err(Diagnosis::NotCanonical { address, access })
        };
    }
    let is_usable = registers.mode() == Mode::Real || (segment.unusable == 0 && segment.present == 1);
    let grows_down = segment.type_ & 0b1100 == 0b0100;
    if !is_usable || (!grows_down && (last < offset || last > segment.limit.into())) {
        return Err(Diagnosis::OutsideSegment { offset, access });
    }
    Ok(segment.base.wrapping_add(offset) & u64::from(u32::MAX))
}

/// True if `address` can be used at all in this mode.
pub(super) fn is_canonical(registers: &Registers, address: u64) -> bool {
    Paging::new(registers, Paging::WIDEST).is_canonical(address)
}

/// The page fault of an access to `size` bytes at a linear address.
pub(super) fn pages(
    memory: &GuestMemory,
    registers: &Registers,
    address: u64,
    size: u64,
    access: AccessKind,
    by_stack_pointer: bool,
) -> Option<RaisedException> {
    let first = page(memory, registers, address, access, by_stack_pointer);
    let last =
        address.checked_add(size - 1).map(|last| last & !(PAGE_SIZE - 1)).filter(|last| *last > address);
    first.or_else(|| page(memory, registers, last?, access, by_stack_pointer))
}

fn page(
    memory: &GuestMemory,
    registers: &Registers,
    address: u64,
    kind: AccessKind,
    by_stack_pointer: bool,
) -> Option<RaisedException> {
    let access = Access {
        write: kind == AccessKind::Write,
        fetch: kind == AccessKind::Fetch,
        user: registers.ring() == 3,
        implicit: false,
    };
    let PageFault { code } = Paging::new(registers, Paging::WIDEST).check(memory, address, access).err()?;
    let page = page_state(memory, registers, address, access, code);
    let meaning = match page {
        // RSP in the first page is a null pointer, or a stack that has grown down to 0.
        PageState::Unmapped if by_stack_pointer && address < PAGE_SIZE => AddressMeaning::NoStack,
        PageState::Unmapped if address < PAGE_SIZE => AddressMeaning::NullPointer,
        PageState::Unmapped if by_stack_pointer && kind != AccessKind::Fetch => {
            let is_above = is_above_memory(memory, registers, address);
            match (is_below_memory(memory, registers, address), kind == AccessKind::Read && is_above) {
                (true, false) => AddressMeaning::StackOverflow,
                (false, true) => AddressMeaning::StackUnderflow,
                (false, false) => AddressMeaning::NoStack,
                // Memory on both sides: either end of a stack may be there.
                (true, true) => AddressMeaning::Unknown,
            }
        }
        _ => AddressMeaning::Unknown,
    };
    let diagnosis = Diagnosis::Page { address, access: kind, page, meaning };
    Some(RaisedException { vector: vector::PAGE_FAULT, error_code: Some(code), diagnosis })
}

fn page_state(
    memory: &GuestMemory,
    registers: &Registers,
    address: u64,
    access: Access,
    code: u32,
) -> PageState {
    if code & RESERVED != 0 {
        return PageState::ReservedBit;
    }
    let Ok(mapping) = Paging::new(registers, Paging::WIDEST).find(memory, address) else {
        return PageState::Unmapped;
    };
    if code & PROTECTION == 0 {
        return PageState::Unmapped;
    }
    let (rights, system) = (mapping.rights, &registers.system);
    let smep_or_smap = if access.fetch { CR4_SMEP } else { CR4_SMAP };
    if code & USER != 0 && !rights.user {
        PageState::Supervisor
    } else if access.fetch && !rights.execute {
        PageState::NotExecutable
    } else if access.write && !rights.write && (access.user || system.cr0 & CR0_WP != 0) {
        PageState::ReadOnly
    } else if !access.user && rights.user && system.cr4 & smep_or_smap != 0 {
        PageState::User
    } else {
        PageState::ReadOnly
    }
}

/// True if memory is mapped within [`STACK_PAGES`] above `address`: a stack grows downwards from there.
fn is_below_memory(memory: &GuestMemory, registers: &Registers, address: u64) -> bool {
    let paging = Paging::new(registers, Paging::WIDEST);
    let page = address & !(PAGE_SIZE - 1);
    (1..=STACK_PAGES)
        .filter_map(|pages| page.checked_add(pages * PAGE_SIZE))
        .any(|above| paging.find(memory, above).is_ok_and(|mapping| mapping.rights.write))
}

/// True if writable memory is mapped in the page below `address`: a stack ends there.
fn is_above_memory(memory: &GuestMemory, registers: &Registers, address: u64) -> bool {
    let below = (address & !(PAGE_SIZE - 1)).checked_sub(PAGE_SIZE);
    let paging = Paging::new(registers, Paging::WIDEST);
    below.is_some_and(|below| paging.find(memory, below).is_ok_and(|mapping| mapping.rights.write))
}

/// The alignment that the memory operand of `instruction` must have; `None` if any address will do. Legacy SSE
/// instructions align operands of 16 bytes unless they are made for unaligned ones (Intel SDM volume 1,
/// "Memory Alignment").
fn alignment(instruction: &Instruction, size: u64) -> Option<u64> {
    use Mnemonic::*;
    match instruction.mnemonic() {
        Vmovaps | Vmovapd | Vmovdqa | Vmovdqa32 | Vmovdqa64 | Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa => {
            Some(size)
        }
        Cmpxchg16b | Fxsave | Fxsave64 | Fxrstor | Fxrstor64 => Some(16),
        Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64 | Xsaves | Xsaves64 | Xrstor
        | Xrstor64 | Xrstors | Xrstors64 => Some(64),
        Movups | Movupd | Movdqu | Lddqu | Maskmovdqu | Pcmpestri | Pcmpestrm | Pcmpistri | Pcmpistrm => None,
        _ => {
            let legacy = instruction.encoding() == EncodingKind::Legacy;
            let vector = (0..instruction.op_count()).any(|n| instruction.op_register(n).is_xmm());
            (legacy && vector && size == 16).then_some(16)
        }
    }
}
