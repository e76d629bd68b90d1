//! The sentences about an exception and its delivery.

use std::fmt::Write;

use super::delivery::{DeliveryFailure, DeliveryProblem};
use super::{AccessKind, AddressMeaning, Diagnosis, PageState, RaisedException, SelectorProblem};
use crate::arch::error_code;
use crate::arch::exceptions::{names, short_name as name};
use crate::emulate::FloatingPointException;

impl From<FloatingPointException> for RaisedException {
    fn from(exception: FloatingPointException) -> RaisedException {
        let FloatingPointException { vector, flags, x87_instruction } = exception;
        let x87_instruction = (vector == super::vector::X87).then_some(x87_instruction);
        let diagnosis = Diagnosis::FloatingPoint { flags, x87_instruction };
        RaisedException { vector, error_code: None, diagnosis }
    }
}

impl RaisedException {
    /// `page fault, #PF (vector 14, error code 0x2: not present, write, supervisor): a write to 0x8, where nothing is
    /// mapped`, without a full stop. `ring` is named unless it is 0.
    pub fn sentence(&self, ring: u8) -> String {
        let vector = self.vector;
        let is_own = match self.diagnosis {
            // `int 13` is no general protection fault.
            Diagnosis::SoftwareInterrupt => matches!(vector, 1 | 3 | 4),
            Diagnosis::Interrupt => vector == super::vector::NMI,
            _ => true,
        };
        let mut text = match (names(vector), &self.diagnosis) {
            (Some((long, short)), _) if is_own => format!("{long}, {short} (vector {vector}"),
            (_, Diagnosis::SoftwareInterrupt) => format!("software interrupt {vector:#x} (vector {vector}"),
            (_, Diagnosis::Interrupt) => format!("interrupt {vector:#x} (vector {vector}"),
            _ => format!("exception {vector:#x} (vector {vector}"),
        };
        if let Some(code) = self.error_code {
            // Writing to a String cannot fail.
            let _ = write!(text, ", error code {code:#x}");
            if let Some(decoded) = error_code::decoded(vector, code) {
                let _ = write!(text, ": {decoded}");
            }
        }
        text.push(')');
        if ring > 0 {
            let _ = write!(text, " in ring {ring}");
        }
        if let Some(why) = self.diagnosis.sentence() {
            let _ = write!(text, ": {why}");
        }
        text
    }

    /// The exception that the instruction has raised: itself, or the one that could not be delivered.
    pub fn first(&self) -> &RaisedException {
        match &self.diagnosis {
            Diagnosis::Undelivered(Some(first)) => first,
            _ => self,
        }
    }

    /// The address of the write that raised a page fault.
    pub fn written_address(&self) -> Option<u64> {
        match self.first().diagnosis {
            Diagnosis::Page { address, access: AccessKind::Write, .. } => Some(address),
            _ => None,
        }
    }

    /// True if it is known as a stack overflow.
    pub fn is_stack_overflow(&self) -> bool {
        matches!(self.first().diagnosis, Diagnosis::Page { meaning: AddressMeaning::StackOverflow, .. })
    }

    /// True if the place itself is wrong, and not what the instruction there does: the code that led there is
    /// of more interest.
    pub fn is_about_the_place(&self) -> bool {
        matches!(
            self.first().diagnosis,
            Diagnosis::Page { access: AccessKind::Fetch, .. }
                | Diagnosis::NotCanonical { access: AccessKind::Fetch, .. }
        )
    }
}

impl Diagnosis {
    fn sentence(&self) -> Option<String> {
        Some(match self {
            Diagnosis::InvalidOpcode | Diagnosis::SoftwareInterrupt | Diagnosis::Unexplained => return None,
            Diagnosis::Undelivered(None) => "another exception could not be delivered".to_owned(),
            Diagnosis::Undelivered(Some(first)) => format!("{}, could not be delivered", first.sentence(0)),
            Diagnosis::Interrupt => "sent by a device or a processor".to_owned(),
            Diagnosis::NotEnabled(bit) => (*bit).to_owned(),
            Diagnosis::BreakpointBefore => "`int3` is the instruction before".to_owned(),
            Diagnosis::DivisionByZero => "a division by zero".to_owned(),
            Diagnosis::QuotientTooLarge => "the quotient does not fit into its register".to_owned(),
            Diagnosis::Privileged => "only ring 0 may execute this instruction".to_owned(),
            Diagnosis::NotCanonical { address, access } => {
                format!("{} {address:#x}, which is not a canonical address", access.phrase())
            }
            Diagnosis::OutsideSegment { offset, access } => {
                format!("{} offset {offset:#x}, which its segment does not allow", access.phrase())
            }
            Diagnosis::Misaligned { address, alignment, on_stack } => {
                let mut text = format!("the operand at {address:#x} is not aligned to {alignment} bytes");
                if *on_stack {
                    text.push_str(
                        ": the stack is off by 8 bytes, as in a function that was entered by a jump, not by a call",
                    );
                }
                text
            }
            Diagnosis::ErrorCodeLeft { code, address } => format!(
                "the frame that `iretq` pops begins with an error code, {code:#x}, which the handler must remove \
                 first (`add rsp, 8`) to return to {address:#x}"
            ),
            Diagnosis::AlignmentCheck { address, alignment } => format!(
                "the operand at {address:#x} is not aligned to {alignment} bytes, and CR0.AM and RFLAGS.AC are set"
            ),
            Diagnosis::FloatingPoint { flags, x87_instruction } => {
                let reasons = floating_point_reasons(*flags);
                match x87_instruction {
                    None => format!("{reasons}, which MXCSR does not mask"),
                    Some(0) => format!("{reasons} in an earlier x87 instruction, which FCW does not mask"),
                    Some(at) => {
                        format!("{reasons} in the x87 instruction at {at:#x}, which FCW does not mask")
                    }
                }
            }
            Diagnosis::TrapFlag => "RFLAGS.TF is set, so the instruction before has raised it".to_owned(),
            Diagnosis::Selector { selector, problem } => problem.sentence(*selector),
            Diagnosis::RegisterValue => "the processor does not accept the register or its value".to_owned(),
            Diagnosis::Page { address, access, page, meaning } => {
                let access = match meaning {
                    AddressMeaning::NewPageTables | AddressMeaning::AfterZeros => {
                        "the next instruction is at"
                    }
                    _ => access.phrase(),
                };
                let mut text = format!("{access} {address:#x}, {}", page.phrase());
                text.push_str(match meaning {
                    AddressMeaning::NullPointer => ": a null pointer",
                    AddressMeaning::StackOverflow => ", below the stack: a stack overflow",
                    AddressMeaning::StackUnderflow => ", above the stack: more was popped than pushed",
                    AddressMeaning::NoStack => ": RSP does not point to a stack",
                    AddressMeaning::NewPageTables => {
                        ": the instruction before has changed the paging, and the new page tables do not map the code"
                    }
                    AddressMeaning::AfterZeros => "; the bytes before it are zeros, which execute as `add [rax], al`",
                    AddressMeaning::Unknown => "",
                });
                text
            }
        })
    }
}

/// The reasons of a floating-point exception, bits 0 to 5 of MXCSR (Intel SDM volume 1, "SIMD Floating-Point
/// Exception Conditions").
fn floating_point_reasons(flags: u8) -> String {
    const REASONS: [&str; 6] = [
        "an invalid operation",
        "a denormal operand",
        "a division by zero",
        "an overflow",
        "an underflow",
        "an inexact result",
    ];
    let reasons = REASONS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    let reasons: Vec<&str> = reasons.map(|(_, reason)| *reason).collect();
    if reasons.is_empty() { "an exception".to_owned() } else { reasons.join(" and ") }
}

impl AccessKind {
    fn phrase(self) -> &'static str {
        match self {
            AccessKind::Read => "a read of",
            AccessKind::Write => "a write to",
            AccessKind::Fetch => "a jump to",
        }
    }
}

impl PageState {
    fn phrase(self) -> &'static str {
        match self {
            PageState::Unmapped => "where nothing is mapped",
            PageState::ReservedBit => "in whose page tables a reserved bit is set",
            PageState::ReadOnly => "a read-only page",
            PageState::NotExecutable => "a page of data, which is not executable",
            PageState::Supervisor => "a page that only the supervisor may access",
            PageState::User => "a page of ring 3, which SMEP or SMAP closes to ring 0",
        }
    }
}

impl SelectorProblem {
    pub(super) fn sentence(self, selector: u16) -> String {
        match self {
            SelectorProblem::Null => format!("selector {selector:#x} is null"),
            SelectorProblem::BeyondLimit { ldt: true, limit: 0 } => {
                format!("selector {selector:#x} is one of the LDT, and none is loaded")
            }
            SelectorProblem::BeyondLimit { limit, ldt } => format!(
                "selector {selector:#x} lies beyond the limit of the {}, {limit:#x}",
                if ldt { "LDT" } else { "GDT" }
            ),
            SelectorProblem::NotPresent => format!("the segment of selector {selector:#x} is not present"),
            SelectorProblem::WrongType => {
                format!("the descriptor of selector {selector:#x} has a type or ring that does not fit")
            }
        }
    }
}

impl DeliveryFailure {
    /// Why the event could not be delivered, without a full stop; `second` is the failure of the double fault.
    pub fn sentence(&self, second: Option<&DeliveryFailure>) -> String {
        if self.problem == DeliveryProblem::NoTable {
            return "No usable IDT is loaded, so the first exception ends the machine".to_owned();
        }
        let mut text = format!("The IDT is loaded, but {}", self.clause());
        if let Some(second) = second.filter(|second| second.vector != self.vector) {
            text.push_str(&match self.problem == second.problem {
                true => format!("; the same holds for the double fault, {}", name(second.vector)),
                false => format!("; for the double fault, {}", second.clause()),
            });
        }
        text
    }

    fn clause(&self) -> String {
        let name = name(self.vector);
        match self.problem {
            DeliveryProblem::NoTable => format!("it has no gate for {name}"),
            DeliveryProblem::BeyondLimit { limit } => {
                format!("its limit {limit:#x} ends before the gate for {name}")
            }
            DeliveryProblem::Unmapped { address } => {
                format!("the gate for {name} at {address:#x} does not lie in mapped memory")
            }
            DeliveryProblem::NotPresent => format!("the gate for {name} is not present"),
            DeliveryProblem::WrongType => format!("the gate for {name} is no interrupt or trap gate"),
            DeliveryProblem::Segment { selector, problem } => {
                format!("the gate for {name} cannot be used: {}", problem.sentence(selector))
            }
            DeliveryProblem::Handler { address } => {
                format!("the handler of {name} at {address:#x} has no canonical address")
            }
            DeliveryProblem::NoTaskState => {
                format!("the handler of {name} needs a stack from the task state segment, and TR holds none")
            }
            DeliveryProblem::StackSegment { selector, problem } => {
                format!(
                    "the handler of {name} has no stack: of the task state segment, {}",
                    problem.sentence(selector)
                )
            }
            DeliveryProblem::StackLimit { esp, limit } => format!(
                "{name} could not be pushed on its stack: ESP is {esp:#x}, and the limit of the stack segment is \
                 {limit:#x}"
            ),
            DeliveryProblem::Stack { rsp, from_task_state, overflow } => {
                let source = if from_task_state { "the task state segment's stack" } else { "RSP" };
                let why = if overflow { ": a stack overflow" } else { "" };
                format!(
                    "{name} could not be pushed on its stack: {source} is {rsp:#x}, where nothing writable is \
                     mapped{why}"
                )
            }
        }
    }
}
