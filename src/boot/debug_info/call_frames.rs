//! The caller of a function, by its call frame information (`.eh_frame` or `.debug_frame`).
//!
//! Manual: DWARF 5, section 6.4 "Call Frame Information"; System V ABI for AMD64, "DWARF Register Number Mapping".

use std::rc::Rc;

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, EhFrame, EvaluationResult, FrameDescriptionEntry, Register,
    RegisterRule, UnwindContext, UnwindExpression, UnwindSection, Value,
};

use super::reader::{BoundedReader, Budget};
use super::sections::DebugSections;

/// General registers of a processor in 64-bit mode; fewer in other modes.
const REGISTERS: usize = 16;
/// Most operations of an expression.
const MOST_OPERATIONS: u32 = 10_000;

/// The registers of a function in the middle of a call, by the numbers that DWARF gives them; `None` is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameRegisters {
    /// The general registers.
    pub general: [Option<u64>; REGISTERS],
    /// Bytes of an address: 8, or 4 in 32-bit code.
    pub width: u8,
}

impl FrameRegisters {
    /// Number of the stack pointer.
    pub fn stack_pointer_number(&self) -> usize {
        if self.width == 8 { 7 } else { 4 }
    }

    /// Number of the frame pointer.
    pub fn frame_pointer_number(&self) -> usize {
        if self.width == 8 { 6 } else { 5 }
    }

    /// The stack pointer.
    pub fn stack_pointer(&self) -> Option<u64> {
        self.general[self.stack_pointer_number()]
    }

    /// The frame pointer.
    pub fn frame_pointer(&self) -> Option<u64> {
        self.general[self.frame_pointer_number()]
    }

    /// Number of the return address in tables.
    fn return_address_number(&self) -> u16 {
        if self.width == 8 { 16 } else { 8 }
    }

    fn get(&self, register: Register) -> Option<u64> {
        self.general.get(usize::from(register.0)).copied().flatten()
    }
}

/// What a function returns to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The return address; `None` for a function that nothing has called.
    pub address: Option<u64>,
    /// The registers after the return.
    pub registers: FrameRegisters,
    /// The function was not called, but interrupted: the address is that of the next instruction, and the one before is
    /// no call (augmentation `S`).
    pub was_interrupted: bool,
}

/// The call frame information of a file.
pub(super) struct CallFrames {
    eh_frame: EhFrame<BoundedReader>,
    debug_frame: DebugFrame<BoundedReader>,
    bases: BaseAddresses,
}

impl CallFrames {
    /// Takes it from `sections`.
    pub fn new(sections: &mut DebugSections, budget: &Rc<Budget>) -> CallFrames {
        let (eh, debug) = (sections.take(".eh_frame"), sections.take(".debug_frame"));
        let bases = BaseAddresses::default().set_eh_frame(eh.address);
        let mut eh_frame = EhFrame::from(BoundedReader::new(eh.bytes, budget));
        let mut debug_frame = DebugFrame::from(BoundedReader::new(debug.bytes, budget));
        eh_frame.set_address_size(sections.address_size);
        debug_frame.set_address_size(sections.address_size);
        CallFrames { eh_frame, debug_frame, bases }
    }

    /// See [`DebugInfo::caller`](super::DebugInfo::caller).
    pub fn caller(
        &self,
        address: u64,
        registers: &FrameRegisters,
        load: &dyn Fn(u64, u8) -> Option<u64>,
    ) -> Option<Caller> {
        let unwind = Unwind { bases: &self.bases, registers, load };
        unwind.by(&self.eh_frame, address).or_else(|| unwind.by(&self.debug_frame, address))
    }
}

/// One step from a function to its caller.
struct Unwind<'a> {
    bases: &'a BaseAddresses,
    registers: &'a FrameRegisters,
    load: &'a dyn Fn(u64, u8) -> Option<u64>,
}

impl Unwind<'_> {
    fn by<S: UnwindSection<BoundedReader>>(&self, section: &S, address: u64) -> Option<Caller> {
        let found = section.fde_for_address(self.bases, address, S::cie_from_offset);
        let entry: FrameDescriptionEntry<BoundedReader> = found.ok()?;
        let mut context = UnwindContext::new();
        let row = entry.unwind_info_for_address(section, self.bases, &mut context, address).ok()?;
        let cie = entry.cie();
        let evaluate = |expression: &UnwindExpression<usize>, start: Option<u64>| {
            self.evaluate(expression.get(section).ok()?, cie.encoding(), start)
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.truncated(self.registers.get(*register)?.wrapping_add_signed(*offset))
            }
            CfaRule::Expression(expression) => evaluate(expression, None)?,
        };
        let read = |at: u64| (self.load)(self.truncated(at), self.registers.width);
        let before = |number: u16| match row.register(Register(number)) {
            Some(RegisterRule::Offset(offset)) => read(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(register)) => self.registers.get(register),
            Some(RegisterRule::Expression(expression)) => evaluate(&expression, Some(cfa)).and_then(read),
            Some(RegisterRule::ValExpression(expression)) => evaluate(&expression, Some(cfa)),
            Some(RegisterRule::Constant(value)) => Some(value),
            // Without a rule a register keeps its value; that the ABI allows a function to change it does not matter
            // to who looks for callers.
            Some(RegisterRule::SameValue) | None => self.registers.get(Register(number)),
            Some(RegisterRule::Undefined | RegisterRule::Architectural) => None,
        };
        let mut registers = self.registers.clone();
        for (number, value) in (0..).zip(&mut registers.general) {
            *value = before(number);
        }
        let stack_pointer = registers.stack_pointer_number();
        if row.register(Register(stack_pointer as u16)).is_none() {
            registers.general[stack_pointer] = Some(cfa);
        }
        let address = match cie.return_address_register().0 {
            number if number == self.registers.return_address_number() => before(number),
            _ => return None,
        };
        Some(Caller { address, registers, was_interrupted: cie.is_signal_trampoline() })
    }

    /// An address of this width.
    fn truncated(&self, address: u64) -> u64 {
        if self.registers.width == 8 { address } else { address & 0xFFFF_FFFF }
    }

    /// The value of an expression, which begins with `start` on its stack.
    fn evaluate(
        &self,
        expression: gimli::Expression<BoundedReader>,
        encoding: gimli::Encoding,
        start: Option<u64>,
    ) -> Option<u64> {
        let mut evaluation = expression.evaluation(encoding);
        evaluation.set_max_iterations(MOST_OPERATIONS);
        if let Some(start) = start {
            evaluation.set_initial_value(start);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.registers.get(register)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    evaluation.resume_with_memory(Value::Generic((self.load)(address, size)?)).ok()?
                }
                _ => return None,
            };
        }
        evaluation.value_result()?.to_u64(u64::MAX).ok()
    }
}
