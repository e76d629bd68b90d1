//! The functions that a stopped guest is in, the innermost first.
//!
//! From each function to its caller by the first of these that applies: call frame information; for a function that
//! returns by `iret`, its instructions; a function that has set up no frame yet; the frame pointer. A handler's caller
//! is what it has interrupted. Functions that a compiler has inlined are frames of their own. All of it is read from
//! memory that may hold anything, so it is bounded, and a wrong step can only end in wrong frames.

use std::fmt;

use serde::Serialize;

use super::disassembly::{self, Decoded, LONGEST_INSTRUCTION};
use super::interrupt_frame::InterruptFrame;
use super::translate::read_virtual;
use super::values::load;
use super::{prologue, return_path};
use crate::arch::Registers;
use crate::boot::{Caller, FrameRegisters, SourceFunction, SourcePlace, Symbol};
use crate::machine::Machine;
use crate::memory::GuestMemory;

/// Most frames of a backtrace.
const MOST_FRAMES: usize = 64;
/// Most functions of a handler that are looked at for a way back.
const MOST_HANDLER_FRAMES: usize = 16;
/// Longest usual call, in bytes: `call [rip+disp32]` with a prefix.
const LONGEST_CALL: u64 = 8;
/// Most stack slots that are searched for an interrupt frame, where a handler takes its stack pointer from elsewhere.
const MOST_SLOTS: u64 = 64;

/// A function in a backtrace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Its next instruction: in a caller, the return address.
    pub address: u64,
    /// The function or label it belongs to.
    pub symbol: Option<Symbol>,
    /// The line of the instruction: in a caller, that of the call.
    pub source: Option<SourcePlace>,
    /// The name of the function, if that is inlined into the function of the next frame.
    pub inlined: Option<String>,
    /// It has called nothing: an interrupt or exception has led to the frame before.
    pub interrupted: bool,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)?;
        match (&self.inlined, &self.symbol) {
            (Some(name), _) => write!(f, " ({name}, inlined)")?,
            (None, Some(symbol)) => write!(f, " ({symbol})")?,
            (None, None) => {}
        }
        if let Some(source) = &self.source {
            write!(f, " at {source}")?;
        }
        if self.interrupted {
            f.write_str(", interrupted here")?;
        }
        Ok(())
    }
}

/// What is known about a guest's code.
pub trait CodeInformation {
    /// The symbol that an address lies in.
    fn symbol_at(&self, address: u64) -> Option<Symbol>;

    /// The functions of the instruction at an address, each inlined into the next one.
    fn functions_at(&self, address: u64) -> Vec<SourceFunction>;

    /// The registers in the caller; see [`DebugInfo::caller`](crate::boot::DebugInfo::caller).
    fn caller(
        &self,
        address: u64,
        registers: &FrameRegisters,
        load: &dyn Fn(u64, u8) -> Option<u64>,
    ) -> Option<Caller>;
}

impl CodeInformation for Machine {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        Machine::symbol_at(self, address)
    }

    fn functions_at(&self, address: u64) -> Vec<SourceFunction> {
        Machine::functions_at(self, address)
    }

    fn caller(
        &self,
        address: u64,
        registers: &FrameRegisters,
        load: &dyn Fn(u64, u8) -> Option<u64>,
    ) -> Option<Caller> {
        Machine::caller(self, address, registers, load)
    }
}

/// The functions that a guest is in, which has stopped with `registers`: the first frame is the place itself. Of 16-bit
/// code no callers are known.
pub fn backtrace(code: &dyn CodeInformation, memory: &GuestMemory, registers: &Registers) -> Vec<Frame> {
    let address = registers.next_instruction();
    let mut frames = Vec::new();
    let first = Position { address, is_exact: true, registers: frame_registers(registers) };
    if registers.bitness() == 16 {
        add_frames(code, &first, false, &mut frames);
        return frames;
    }
    let stack = Stack { code, memory, registers };
    let mut next = Some((first, false));
    while let Some((position, interrupted)) = next
        && frames.len() < MOST_FRAMES
    {
        add_frames(code, &position, interrupted, &mut frames);
        next = stack.caller(&position);
    }
    frames.truncate(MOST_FRAMES);
    frames
}

/// The registers of the 64-bit code that was interrupted last, as far as they are known, if the guest is in a handler from which a straight way leads back to it.
pub(super) fn interrupted(
    code: &dyn CodeInformation,
    memory: &GuestMemory,
    registers: &Registers,
) -> Option<Registers> {
    if registers.bitness() != 64 {
        return None;
    }
    let stack = Stack { code, memory, registers };
    let load = |address, size| stack.load(address, size);
    let fetch = |address, bytes: &mut [u8]| read_virtual(memory, registers, address, bytes);
    let address = registers.next_instruction();
    let mut position = Position { address, is_exact: true, registers: frame_registers(registers) };
    for _ in 0..MOST_HANDLER_FRAMES {
        return_path::follow(position.address, &position.registers, &fetch, &load)?;
        let (caller, was_interrupted) = stack.caller(&position)?;
        if was_interrupted {
            return Some(with_frame(registers, &caller));
        }
        position = caller;
    }
    None
}

/// `registers` with those that are known of a frame.
fn with_frame(registers: &Registers, position: &Position) -> Registers {
    let mut found = *registers;
    let general = &mut found.general;
    let known = [
        &mut general.rax,
        &mut general.rdx,
        &mut general.rcx,
        &mut general.rbx,
        &mut general.rsi,
        &mut general.rdi,
        &mut general.rbp,
        &mut general.rsp,
        &mut general.r8,
        &mut general.r9,
        &mut general.r10,
        &mut general.r11,
        &mut general.r12,
        &mut general.r13,
        &mut general.r14,
        &mut general.r15,
    ];
    for (register, value) in known.into_iter().zip(position.registers.general) {
        *register = value.unwrap_or(*register);
    }
    general.rip = position.address;
    found
}

/// The frame of the instruction at `address`.
pub(super) fn frame(code: &dyn CodeInformation, address: u64) -> Frame {
    let registers = FrameRegisters { general: [None; 16], width: 8 };
    let mut frames = Vec::new();
    add_frames(code, &Position { address, is_exact: true, registers }, false, &mut frames);
    frames.into_iter().next().unwrap_or_default()
}

/// The frame of a return address whose instruction before is a call.
pub fn caller_frame(code: &dyn CodeInformation, address: u64) -> Frame {
    let registers = FrameRegisters { general: [None; 16], width: 8 };
    let mut frames = Vec::new();
    add_frames(code, &Position { address, is_exact: false, registers }, false, &mut frames);
    frames.into_iter().next().unwrap_or_default()
}

/// True if the instruction before `address` is a call.
pub fn is_behind_call(memory: &GuestMemory, registers: &Registers, address: u64) -> bool {
    call_before(memory, registers, address).is_some()
}

/// The instruction before `address`, if it is a call.
fn call_before(memory: &GuestMemory, registers: &Registers, address: u64) -> Option<Decoded> {
    let bitness = registers.bitness();
    let base = registers.next_instruction().wrapping_sub(registers.general.rip);
    (2..=LONGEST_CALL).find_map(|length| {
        let start = address.wrapping_sub(length);
        let mut code = [0; LONGEST_INSTRUCTION];
        let count = read_virtual(memory, registers, start, &mut code);
        // Calls are relative to the instruction pointer, which counts from the base of CS.
        disassembly::decode(&code[..count], bitness, start.wrapping_sub(base))
            .filter(|decoded| decoded.length as u64 == length && decoded.is_call)
    })
}

/// A function in the middle of its work.
struct Position {
    address: u64,
    /// The instruction at the address is executed next; else the one before is a call.
    is_exact: bool,
    registers: FrameRegisters,
}

impl Position {
    /// An address that belongs to the function: the call is before its return address, which may belong to the next
    /// function.
    fn inside(&self) -> u64 {
        if self.is_exact { self.address } else { self.address.wrapping_sub(1) }
    }
}

/// Adds the function of a position, after those that are inlined into it.
fn add_frames(code: &dyn CodeInformation, position: &Position, interrupted: bool, frames: &mut Vec<Frame>) {
    let inside = position.inside();
    let symbol = code.symbol_at(inside).map(|symbol| Symbol {
        offset: symbol.offset.wrapping_add(position.address.wrapping_sub(inside)),
        ..symbol
    });
    let mut functions = code.functions_at(inside);
    let function = functions.pop();
    let first = frames.len();
    for inlined in functions {
        let name = inlined.name.unwrap_or_else(|| "a function".to_owned());
        let (address, source) = (position.address, inlined.place);
        frames.push(Frame { address, symbol: None, source, inlined: Some(name), interrupted: false });
    }
    frames.push(Frame {
        address: position.address,
        symbol,
        source: function.and_then(|function| function.place),
        inlined: None,
        interrupted: false,
    });
    frames[first].interrupted = interrupted;
}

/// The registers of the innermost function.
fn frame_registers(registers: &Registers) -> FrameRegisters {
    let general = &registers.general;
    let (rax, rbx, rcx, rdx) = (general.rax, general.rbx, general.rcx, general.rdx);
    let (rsi, rdi, rbp, rsp) = (general.rsi, general.rdi, general.rbp, general.rsp);
    let mut values = [None; 16];
    let numbered = match registers.bitness() {
        64 => [rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp],
        _ => [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi],
    };
    for (value, register) in values.iter_mut().zip(numbered) {
        *value = Some(register);
    }
    if registers.bitness() == 64 {
        let upper = [
            general.r8,
            general.r9,
            general.r10,
            general.r11,
            general.r12,
            general.r13,
            general.r14,
            general.r15,
        ];
        for (value, register) in values[8..].iter_mut().zip(upper) {
            *value = Some(register);
        }
    }
    FrameRegisters { general: values, width: if registers.bitness() == 64 { 8 } else { 4 } }
}

/// What callers are looked for in.
struct Stack<'a> {
    code: &'a dyn CodeInformation,
    memory: &'a GuestMemory,
    registers: &'a Registers,
}

impl Stack<'_> {
    fn load(&self, address: u64, size: u8) -> Option<u64> {
        load(self.memory, self.registers, address, size)
    }

    /// The function that `position` returns to, and whether it was interrupted; `None` at the end.
    fn caller(&self, position: &Position) -> Option<(Position, bool)> {
        let load = |address, size| self.load(address, size);
        if let Some(caller) = self.code.caller(position.inside(), &position.registers, &load) {
            return self.by_call_frame(position, caller);
        }
        if position.is_exact
            && let Some(caller) = self.at_entry(position)
        {
            return Some((caller, false));
        }
        let fetch = |address, bytes: &mut [u8]| read_virtual(self.memory, self.registers, address, bytes);
        let path = return_path::follow(position.address, &position.registers, &fetch, &load);
        if let Some(path) = path {
            if path.is_handler {
                return self.interrupted(position, path.registers);
            }
            if position.is_exact
                && let Some(caller) = self.returned(path.registers)
            {
                return Some((caller, false));
            }
        }
        self.before_frame(position).or_else(|| self.by_frame_pointer(position))
    }

    /// The caller that is on top of the stack, if what stands before the return address is a call to this function: it
    /// has no frame. After a jump to what is no code, any call is.
    fn at_entry(&self, position: &Position) -> Option<Position> {
        let top = self.load(position.registers.stack_pointer()?, position.registers.width)?;
        let call = call_before(self.memory, self.registers, top)?;
        let symbol = self.code.symbol_at(position.address);
        let start = symbol.map(|symbol| position.address.wrapping_sub(symbol.offset));
        let base = self.registers.next_instruction().wrapping_sub(self.registers.general.rip);
        let is_this = match (start, call.target) {
            (None, _) => true,
            (Some(start), Some(target)) => base.wrapping_add(target) == start,
            (Some(start), None) => start == position.address,
        };
        if is_this { self.returned(position.registers.clone()) } else { None }
    }

    /// The caller that call frame information leads to.
    fn by_call_frame(&self, position: &Position, caller: Caller) -> Option<(Position, bool)> {
        let Caller { address, registers, was_interrupted } = caller;
        let width = u64::from(registers.width);
        // A handler that is written in C: the frame is where its return address would be, or behind an error code.
        let end = registers.stack_pointer()?;
        let frames = [end.wrapping_sub(width), end];
        if let Some(found) = frames.into_iter().find_map(|at| self.frame_at(at)) {
            return self.at_frame(found, registers);
        }
        let address = address.filter(|address| *address != 0)?;
        self.load(if was_interrupted { address } else { address.wrapping_sub(1) }, 1)?;
        // The stack of an interrupted function may be elsewhere.
        let goes_up = registers.stack_pointer() > position.registers.stack_pointer();
        (was_interrupted || goes_up)
            .then_some((Position { address, is_exact: was_interrupted, registers }, was_interrupted))
    }

    fn frame_at(&self, address: u64) -> Option<InterruptFrame> {
        let width = if self.registers.bitness() == 64 { 8 } else { 4 };
        InterruptFrame::at(address, width, 0, &|address, size| self.load(address, size))
    }

    /// The function that the handler at `position` has interrupted; `registers` are those before its `iret`.
    fn interrupted(&self, position: &Position, registers: FrameRegisters) -> Option<(Position, bool)> {
        let found = match registers.stack_pointer() {
            Some(address) => self.frame_at(address),
            None => {
                let (start, width) = (position.registers.stack_pointer()?, u64::from(registers.width));
                (0..MOST_SLOTS).find_map(|slot| self.frame_at(start.checked_add(slot * width)?))
            }
        };
        self.at_frame(found?, registers)
    }

    fn at_frame(&self, frame: InterruptFrame, mut registers: FrameRegisters) -> Option<(Position, bool)> {
        registers.general[registers.stack_pointer_number()] = Some(frame.stack_pointer);
        Some((Position { address: frame.address, is_exact: true, registers }, true))
    }

    /// The caller of a function that has `registers` before its `ret`, if that returns behind a call.
    fn returned(&self, mut registers: FrameRegisters) -> Option<Position> {
        let top = registers.stack_pointer()?;
        let address = self.load(top, registers.width)?;
        if !is_behind_call(self.memory, self.registers, address) {
            return None;
        }
        registers.general[registers.stack_pointer_number()] = Some(top.wrapping_add(registers.width.into()));
        Some(Position { address, is_exact: false, registers })
    }

    /// The caller of a function that has set up no frame yet, or has removed it.
    fn before_frame(&self, position: &Position) -> Option<(Position, bool)> {
        if !position.is_exact {
            return None;
        }
        let mut registers = position.registers.clone();
        let (start, width) = (registers.stack_pointer()?, registers.width);
        let load = |address, size| self.load(address, size);
        let (slots, address) = prologue::return_address(position.address, start, width, &load)?;
        let top = start.wrapping_add(slots * u64::from(width));
        if let Some(frame) = self.frame_at(top) {
            return self.at_frame(frame, registers);
        }
        registers.general[registers.stack_pointer_number()] = Some(top.wrapping_add(width.into()));
        Some((Position { address, is_exact: false, registers }, false))
    }

    /// The caller by the frame pointer, which points to the caller's; the return address lies above it.
    fn by_frame_pointer(&self, position: &Position) -> Option<(Position, bool)> {
        let mut registers = position.registers.clone();
        let (frame, width) = (registers.frame_pointer().filter(|frame| *frame != 0)?, registers.width);
        let above = frame.checked_add(width.into())?;
        let caller = self.load(frame, width)?;
        let address = self.load(above, width).filter(|address| *address != 0)?;
        // A chain of frames goes upwards.
        registers.general[registers.frame_pointer_number()] = Some(caller).filter(|caller| *caller > frame);
        if let Some(found) =
            [above, above.wrapping_add(width.into())].into_iter().find_map(|at| self.frame_at(at))
        {
            // What was interrupted may have its stack anywhere.
            registers.general[registers.frame_pointer_number()] = Some(caller);
            return self.at_frame(found, registers);
        }
        // Without frame pointers RBP may hold anything: a return address leads to mapped memory.
        self.load(address, 1)?;
        registers.general[registers.stack_pointer_number()] = above.checked_add(width.into());
        Some((Position { address, is_exact: false, registers }, false))
    }
}

#[cfg(test)]
#[path = "backtrace_test.rs"]
mod tests;
