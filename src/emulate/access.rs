//! Memory as an instruction sees it: through segments and paging, RAM or device.
//!
//! An operand is first located as a [`Span`], which raises every possible exception. Reading and writing a
//! span cannot fail, so that an instruction takes effect completely or not at all.
//!
//! Manual: Intel SDM volume 3A, "Protected-Mode Memory Management" and "Segment and Page-Level
//! Protection".

use crate::arch::SegmentRegister;
use iced_x86::{Instruction, OpKind, Register};

use super::cpu::{Cpu, Mode};
use super::exception::{EmulationError, Exception};
use super::{LONGEST_INSTRUCTION, Obstacle};
use crate::arch::PAGE_SIZE;
use crate::arch::paging::{Access, Paging};

/// Segment type: code.
const CODE: u8 = 1 << 3;
/// Type of a data segment: grows downwards.
const EXPAND_DOWN: u8 = 1 << 2;
/// Type of a data segment: writable; of a code segment: readable.
const WRITABLE_OR_READABLE: u8 = 1 << 1;

/// Longest span in bytes: no operand is longer than the largest `xsave` area.
pub(super) const LONGEST: usize = 4096;

/// A range of memory that has been checked for access, in at most two pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first: u64,
    first_length: usize,
    second: u64,
    length: usize,
}

impl Cpu<'_> {
    /// Fills `bytes` with the code at RIP, as far as it can be fetched; at least one byte.
    ///
    /// # Errors
    ///
    /// The exception that the fetch of the first byte raises, and [`Obstacle::NoCode`].
    pub fn fetch(&mut self, bytes: &mut [u8]) -> Result<usize, EmulationError> {
        let linear = self.registers.next_instruction();
        let access = Access { fetch: true, user: self.ring() == 3, ..Access::default() };
        let paging = self.paging();
        let mut done = 0;
        while done < bytes.len() {
            let at = self.wrap(linear.wrapping_add(done as u64));
            let physical = match paging.translate(self.memory, at, access) {
                Ok(physical) => physical,
                Err(fault) if done == 0 => return Err(Exception::page_fault(at, fault).into()),
                Err(_) => break,
            };
            let count = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(bytes.len() - done);
            if !self.memory.read_bytes(physical, &mut bytes[done..done + count]) {
                break;
            }
            done += count;
        }
        if done == 0 { Err(Obstacle::NoCode.into()) } else { Ok(done) }
    }

    /// Why an instruction has no byte behind the first `count`, which [`Cpu::fetch`] has read.
    pub fn fetch_error(&self, count: usize) -> EmulationError {
        if count >= LONGEST_INSTRUCTION {
            return Exception::protection(0).into();
        }
        let at = self.wrap(self.registers.next_instruction().wrapping_add(count as u64));
        let access = Access { fetch: true, user: self.ring() == 3, ..Access::default() };
        match self.paging().translate(self.memory, at, access) {
            Ok(_) => Obstacle::NoCode.into(),
            Err(fault) => Exception::page_fault(at, fault).into(),
        }
    }

    /// The memory operand of `instruction`, `length` bytes long (at most [`LONGEST`]).
    ///
    /// # Errors
    ///
    /// The exception that a read access raises; with `write`, also those of a write access.
    pub fn operand(
        &mut self,
        instruction: &Instruction,
        length: usize,
        write: bool,
    ) -> Result<Span, EmulationError> {
        let (segment, offset) = self.effective_address(instruction)?;
        self.locate(segment, offset, length, write)
    }

    /// Segment register and offset of the memory operand of `instruction`.
    ///
    /// # Errors
    ///
    /// [`Obstacle::NotAllowed`] if it has no explicit memory operand.
    pub fn effective_address(&self, instruction: &Instruction) -> Result<(Register, u64), EmulationError> {
        let operand = (0..instruction.op_count()).find(|&n| instruction.op_kind(n) == OpKind::Memory);
        let offset = operand.and_then(|operand| {
            instruction.try_virtual_address(operand, 0, |register, _, _| {
                // The base is added after the segment's limits have been checked.
                if register.is_segment_register() { Some(0) } else { self.general(register) }
            })
        });
        Ok((instruction.memory_segment(), offset.ok_or(Obstacle::NotAllowed)?))
    }

    /// `length` bytes at `offset` of `segment`, checked for a read and, with `write`, for a write.
    pub fn locate(
        &mut self,
        segment: Register,
        offset: u64,
        length: usize,
        write: bool,
    ) -> Result<Span, EmulationError> {
        let linear = self.linear(segment, offset, length, write)?;
        let access = Access { write, user: self.ring() == 3, ..Access::default() };
        self.span(linear, length, access)
    }

    /// The linear address of `length` bytes at `offset` of `segment`.
    ///
    /// # Errors
    ///
    /// The exception that the segment raises.
    pub fn linear(
        &self,
        segment: Register,
        offset: u64,
        length: usize,
        write: bool,
    ) -> Result<u64, EmulationError> {
        let fault = |code| match segment {
            Register::SS => Exception::stack(code),
            _ => Exception::protection(code),
        };
        let descriptor = self.segment(segment);
        if self.mode() == Mode::SixtyFourBit {
            let base = match segment {
                Register::FS | Register::GS => descriptor.base,
                _ => 0,
            };
            let linear = base.wrapping_add(offset);
            let last = linear.wrapping_add(length.saturating_sub(1) as u64);
            let paging = self.paging();
            if !paging.is_canonical(linear) || !paging.is_canonical(last) {
                return Err(fault(0).into());
            }
            return Ok(linear);
        }
        let last = offset.wrapping_add(length.saturating_sub(1) as u64);
        if !self.permits(&descriptor, offset, last, write) {
            return Err(fault(0).into());
        }
        Ok(self.wrap(descriptor.base.wrapping_add(offset)))
    }

    /// True if a segment permits an access outside of 64-bit mode.
    pub fn permits(&self, segment: &SegmentRegister, first: u64, last: u64, write: bool) -> bool {
        if !matches!(self.mode(), Mode::Real | Mode::Virtual8086) {
            let usable = segment.unusable == 0 && segment.present == 1;
            let code = segment.type_ & CODE != 0;
            let open = if write {
                !code && segment.type_ & WRITABLE_OR_READABLE != 0
            } else {
                !code || segment.type_ & WRITABLE_OR_READABLE != 0
            };
            if !usable || !open {
                return false;
            }
        }
        let limit = u64::from(segment.limit);
        if segment.type_ & (CODE | EXPAND_DOWN) == EXPAND_DOWN {
            let top = if segment.db == 1 { u64::from(u32::MAX) } else { 0xFFFF };
            return first > limit && first <= last && last <= top;
        }
        first <= last && last <= limit
    }

    /// `length` bytes at a linear address, whatever segment it came from.
    ///
    /// # Errors
    ///
    /// The page fault that an access of this kind raises.
    pub fn span(&mut self, linear: u64, length: usize, access: Access) -> Result<Span, EmulationError> {
        if length > LONGEST {
            return Err(Obstacle::NotAllowed.into());
        }
        let paging = self.paging();
        let first = self.page(&paging, linear, access)?;
        let first_length = ((PAGE_SIZE - linear % PAGE_SIZE) as usize).min(length);
        let second = if first_length < length {
            let next = linear.wrapping_add(first_length as u64);
            let next = if access.implicit { self.wrap_system(next) } else { self.wrap(next) };
            self.page(&paging, next, access)?
        } else {
            0
        };
        Ok(Span { first, first_length, second, length })
    }

    fn page(&self, paging: &Paging, linear: u64, access: Access) -> Result<u64, Exception> {
        paging.translate(self.memory, linear, access).map_err(|fault| Exception::page_fault(linear, fault))
    }

    /// Fills `bytes`, which must be as long as the span, from it.
    pub fn read(&mut self, span: Span, bytes: &mut [u8]) {
        debug_assert_eq!(span.length, bytes.len());
        let (first, second) = bytes.split_at_mut(span.first_length.min(bytes.len()));
        self.read_physical(span.first, first);
        self.read_physical(span.second, second);
    }

    /// Writes `bytes`, which must be as long as the span, to it.
    pub fn write(&mut self, span: Span, bytes: &[u8]) {
        debug_assert_eq!(span.length, bytes.len());
        let (first, second) = bytes.split_at(span.first_length.min(bytes.len()));
        self.write_physical(span.first, first);
        self.write_physical(span.second, second);
    }

    fn read_physical(&mut self, address: u64, bytes: &mut [u8]) {
        if self.memory.read_bytes(address, bytes) {
            self.bus.ram_accessed(address, bytes.len(), false);
            return;
        }
        for (at, chunk) in device_accesses(address, bytes.len()) {
            let value = self.bus.read(address + at as u64, chunk as u8);
            bytes[at..at + chunk].copy_from_slice(&value.to_le_bytes()[..chunk]);
        }
    }

    fn write_physical(&mut self, address: u64, bytes: &[u8]) {
        if self.memory.is_ram(address, bytes.len() as u64) {
            self.bus.ram_accessed(address, bytes.len(), true);
        }
        if self.memory.write_bytes(address, bytes) {
            return;
        }
        for (at, chunk) in device_accesses(address, bytes.len()) {
            let mut value = [0; 8];
            value[..chunk].copy_from_slice(&bytes[at..at + chunk]);
            self.bus.write(address + at as u64, chunk as u8, u64::from_le_bytes(value));
        }
    }

    /// Linear addresses have 32 bits outside of 64-bit mode.
    pub fn wrap(&self, linear: u64) -> u64 {
        if self.mode() == Mode::SixtyFourBit { linear } else { linear & u64::from(u32::MAX) }
    }

    /// Addresses of descriptor tables and task state segments have 64 bits in both halves of long
    /// mode.
    pub fn wrap_system(&self, linear: u64) -> u64 {
        if self.long_mode_active() { linear } else { linear & u64::from(u32::MAX) }
    }

    /// The contents of a segment register.
    pub fn segment(&self, register: Register) -> SegmentRegister {
        let system = &self.registers.system;
        match register {
            Register::CS => system.cs,
            Register::SS => system.ss,
            Register::ES => system.es,
            Register::FS => system.fs,
            Register::GS => system.gs,
            _ => system.ds,
        }
    }
}

/// Offsets and sizes of the accesses of up to eight bytes into which a device access is split.
fn device_accesses(address: u64, length: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = length - done;
        if left == 0 {
            return None;
        }
        let aligned = 1 << (address + done as u64).trailing_zeros().min(3);
        let chunk = if left >= 8 { 8 } else { aligned.min(1 << left.ilog2()) };
        done += chunk;
        Some((done - chunk, chunk))
    })
}
