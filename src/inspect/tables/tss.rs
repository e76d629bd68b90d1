//! The task state segment.
//!
//! Manual: Intel SDM volume 3A, "Task-State Segment (TSS)", "16-Bit Task-State Segment (TSS)" and "Task Management in
//! 64-bit Mode"; volume 1, "I/O Permission Bit Map".

use std::fmt;

use serde::Serialize;

use super::is_writable;
use crate::arch::Registers;
use crate::arch::paging::Paging;
use crate::inspect::hex;
use crate::inspect::names::{Names, place};
use crate::inspect::translate::read_virtual;
use crate::inspect::values::load;
use crate::memory::GuestMemory;

/// Type of a 32-bit or 64-bit task state segment, without the busy bit.
const TSS: u8 = 9;
/// Type of a 16-bit one.
const TSS_16: u8 = 1;
/// The busy bit.
const BUSY: u8 = 2;
/// Offsets in the 64-bit format.
const RSP0: u64 = 4;
const IST1: u64 = 36;
/// Offset of the I/O map base in the formats of 32 and 64 bits.
const IO_MAP: u64 = 102;
/// Ports that a complete bitmap covers, in bytes.
const WHOLE_BITMAP: u32 = 8192;

/// The task state segment that TR holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TssView {
    /// What TR holds: its selector.
    #[serde(serialize_with = "hex::hex")]
    pub selector: u16,
    /// Linear address.
    #[serde(serialize_with = "hex::hex")]
    pub base: u64,
    /// Offset of its last byte.
    #[serde(serialize_with = "hex::hex")]
    pub limit: u32,
    /// Width of its format in bits: 16, 32 or 64; 0 if TR holds none.
    pub width: u8,
    /// The stacks it names.
    pub stacks: Vec<TaskStack>,
    /// The I/O permission bitmap, in words; empty in the 16-bit format.
    pub io_bitmap: String,
    /// What is wrong with the segment itself.
    pub notes: Vec<String>,
}

/// A stack in a task state segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStack {
    /// `RSP0`, `IST1`, `ESP0`.
    pub name: String,
    /// The stack's selector; `None` in the 64-bit format.
    #[serde(serialize_with = "hex::optional")]
    pub selector: Option<u16>,
    /// The stack pointer; 0 if it is not set.
    #[serde(serialize_with = "hex::hex")]
    pub pointer: u64,
    /// `pointer` with the symbol it lies in.
    pub place: String,
    /// What is wrong with it.
    pub notes: Vec<String>,
}

/// The stack pointer of an entry of the interrupt stack table, 1 to 7, in long mode; `None` if there is none.
pub(super) fn stack_of_ist(memory: &GuestMemory, registers: &Registers, ist: u8) -> Option<u64> {
    let offset = IST1 + 8 * u64::from(ist.checked_sub(1)?);
    let task = registers.system.tr;
    let fits = task.unusable == 0 && offset + 7 <= u64::from(task.limit);
    fits.then(|| load(memory, registers, task.base.wrapping_add(offset), 8)).flatten()
}

impl TssView {
    /// Decodes the task state segment of a CPU.
    pub fn of(memory: &GuestMemory, registers: &Registers, names: &dyn Names) -> TssView {
        let task = registers.system.tr;
        let is_loaded = task.unusable == 0 && task.present == 1;
        let width = match (is_loaded, task.type_ & !BUSY, registers.mode().is_long()) {
            (true, TSS, true) => 64,
            (true, TSS, false) => 32,
            (true, TSS_16, _) => 16,
            _ => 0,
        };
        let mut view = TssView {
            selector: task.selector,
            base: task.base,
            limit: task.limit,
            width,
            stacks: Vec::new(),
            io_bitmap: String::new(),
            notes: Vec::new(),
        };
        if width == 0 || task.selector & !3 == 0 {
            view.width = 0;
            return view;
        }
        let names_and_offsets: Vec<(String, u64)> = match width {
            64 => (0..3)
                .map(|ring| (format!("RSP{ring}"), RSP0 + 8 * ring))
                .chain((1..8).map(|ist| (format!("IST{ist}"), IST1 + 8 * (ist - 1))))
                .collect(),
            32 => (0..3).map(|ring| (format!("ESP{ring}"), 4 + 8 * ring)).collect(),
            _ => (0..3).map(|ring| (format!("SP{ring}"), 2 + 4 * ring)).collect(),
        };
        let size = width / 8;
        for (name, offset) in names_and_offsets {
            if offset + u64::from(size) > u64::from(task.limit) + 1 {
                view.notes
                    .push(format!("it is too short for {name}; a limit of 0x67 has room for all stacks"));
                break;
            }
            let at = task.base.wrapping_add(offset);
            let Some(pointer) = load(memory, registers, at, size) else {
                view.notes.push(format!("nothing is mapped at {at:#x}"));
                break;
            };
            let selector = match width {
                64 => None,
                _ => load(memory, registers, at.wrapping_add(size.into()), 2).map(|value| value as u16),
            };
            let mut stack =
                TaskStack { name, selector, pointer, place: place(names, pointer), notes: Vec::new() };
            if width == 64 {
                check_stack(memory, registers, &mut stack);
            }
            view.stacks.push(stack);
        }
        if width > 16 {
            view.io_bitmap = io_bitmap(memory, registers);
        }
        view
    }
}

impl TaskStack {
    fn is_set(&self) -> bool {
        self.pointer != 0 || self.selector.is_some_and(|selector| selector != 0)
    }
}

/// Notes what is wrong with a stack of the 64-bit format that is set.
fn check_stack(memory: &GuestMemory, registers: &Registers, stack: &mut TaskStack) {
    let rsp = stack.pointer;
    if rsp == 0 {
        return;
    }
    if !Paging::new(registers, Paging::WIDEST).is_canonical(rsp) {
        stack.notes.push("it is not canonical: the switch to it raises #SS".to_owned());
    } else if !is_writable(memory, registers, rsp.wrapping_sub(1)) {
        stack.notes.push("nothing writable is mapped below it: the first push is a double fault".to_owned());
    }
    if !rsp.is_multiple_of(16) {
        stack.notes.push(
            "it is no multiple of 16: the processor aligns the frame, code that restores it may not"
                .to_owned(),
        );
    }
}

/// What the I/O permission bitmap allows ring 3.
fn io_bitmap(memory: &GuestMemory, registers: &Registers) -> String {
    let task = registers.system.tr;
    let Some(base) = load(memory, registers, task.base.wrapping_add(IO_MAP), 2).map(|base| base as u32)
    else {
        return "cannot be read".to_owned();
    };
    if base > task.limit {
        return format!("none (base {base:#x} is beyond the limit): ring 3 may use no port");
    }
    let length = (task.limit - base).min(WHOLE_BITMAP) as usize;
    let mut bits = vec![0xFF; length];
    let read = read_virtual(memory, registers, task.base.wrapping_add(base.into()), &mut bits);
    bits.truncate(read);
    let open: usize = bits.iter().map(|byte| byte.count_zeros() as usize).sum();
    let first = bits.iter().position(|byte| *byte != 0xFF);
    let first = first.map(|at| 8 * at + bits[at].trailing_ones() as usize);
    match first {
        Some(port) => format!("base {base:#x}, {open} ports open to ring 3, the first {port:#x}"),
        None => format!("base {base:#x}, no port open to ring 3"),
    }
}

impl fmt::Display for TssView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.width == 0 {
            return writeln!(f, "TR holds no task state segment (selector {:#x})", self.selector);
        }
        writeln!(
            f,
            "{}-bit TSS at {:#x}, limit {:#x}, selector {:#x}",
            self.width, self.base, self.limit, self.selector
        )?;
        super::write_notes(f, &self.notes)?;
        let (set, unset): (Vec<_>, Vec<_>) = self.stacks.iter().partition(|stack| stack.is_set());
        for stack in set {
            match stack.selector {
                None => writeln!(f, "{}: {}", stack.name, stack.place)?,
                Some(selector) => writeln!(f, "{}: {selector:#x}:{}", stack.name, stack.place)?,
            }
            super::write_notes(f, &stack.notes)?;
        }
        if !unset.is_empty() {
            let unset: Vec<&str> = unset.iter().map(|stack| stack.name.as_str()).collect();
            writeln!(f, "not set: {}", unset.join(" "))?;
        }
        if self.io_bitmap.is_empty() { Ok(()) } else { writeln!(f, "I/O bitmap: {}", self.io_bitmap) }
    }
}
