//! A crash as a value: what stopped the guest, where, and the state around it.
//!
//! [`CrashReport::capture`] reads everything from the stopped machine once. The message for the user
//! ([`super::report`]) and the dump in the log ([`super::dump`]) are made from the report alone, so a report
//! can be built by hand, compared and serialised.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};
use serde::Serialize;

use super::disassembly::{self, LONGEST_INSTRUCTION};
use super::translate::read_virtual;
use super::values::load;
use crate::arch::Registers;
use crate::arch::gate::{GateEntry, MAX_GATE_SIZE};
use crate::arch::paging::Paging;
use crate::boot::Symbol;
use crate::emulate::Obstacle;
use crate::machine::{Machine, Outcome};
use crate::memory::GuestMemory;

/// Where a processor starts after a reset: the registers of some hosts say this after a triple
/// fault.
const RESET_VECTOR: u64 = 0xFFF0;
/// Exception vectors.
const EXCEPTIONS: u8 = 32;
/// Most frames of a backtrace.
const MOST_FRAMES: usize = 32;

/// What stopped a guest before it ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Cause {
    /// An exception that could not be delivered, nor the double fault that followed.
    TripleFault,
    /// KVM does not execute the instruction.
    Refused {
        /// KVM's sub-reason (`KVM_EXIT_INTERNAL_ERROR`).
        suberror: u32,
        /// Why it was not emulated either; `None` if that was not tried.
        obstacle: Option<Obstacle>,
    },
    /// The processor did not accept the guest's state.
    EntryFailed {
        /// The hardware's reason.
        reason: u64,
    },
    /// KVM stopped for a reason that is never asked for.
    Unexpected {
        /// KVM's exit reason.
        reason: u32,
    },
    /// `--timeout` ran out.
    TimedOut,
    /// The guest reset the machine, with `--no-reboot`.
    Reset,
}

/// A guest that was stopped before it ended by itself.
#[derive(Clone, Debug, Serialize)]
pub struct CrashReport {
    /// What stopped it.
    pub cause: Cause,
    /// The CPU that the rest is about, from 0.
    pub cpu: u8,
    /// Its registers; `None` if the host does not give them.
    pub registers: Option<Registers>,
    /// The next instruction; `None` where the registers do not say which that is.
    pub place: Option<Place>,
    /// CR2 after a triple fault, else the address of the next instruction, through the guest's page tables;
    /// `None` without either.
    pub walk: Option<PageWalk>,
    /// A gate for an exception is present in the IDT.
    pub has_idt: bool,
    /// Callers by frame pointers, the innermost first; empty where there are none.
    pub frames: Vec<Frame>,
    /// Events that wait for the guest.
    pub pending: Option<String>,
    /// The last value written to the POST port.
    pub post_code: Option<u8>,
}

/// An instruction in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its linear address.
    pub address: u64,
    /// The function or label it belongs to, and the distance from there.
    pub symbol: Option<Symbol>,
    /// Width of code here: 16, 32 or 64.
    pub bitness: u32,
    /// The bytes there, at most 15 and as far as they are mapped.
    pub code: Vec<u8>,
    /// In Intel syntax; `None` if the bytes are no instruction.
    pub instruction: Option<String>,
    /// Its explicit operands.
    pub operands: Vec<OperandValue>,
}

/// An operand of an instruction before it is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum OperandValue {
    /// A general or segment register.
    Register {
        /// Its name in lower case.
        name: String,
        /// Its value; `None` for registers that the report does not have.
        value: Option<u64>,
    },
    /// Memory.
    Memory {
        /// Linear address; `None` if it cannot be computed from the registers of the report.
        address: Option<u64>,
        /// Size of the access in bytes, 0 if it is none.
        size: usize,
    },
    /// A constant.
    Immediate(u64),
    /// The target of a jump or call.
    Target(u64),
}

/// A linear address through the guest's page tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PageWalk {
    /// The linear address.
    pub address: u64,
    /// The entries used, from the root on; where nothing is mapped, the last one is the reason.
    pub entries: Vec<WalkedEntry>,
    /// The guest-physical address; `None` if nothing is mapped.
    pub physical: Option<u64>,
}

/// An entry of a page table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalkedEntry {
    /// Level of its table: 1 is the last.
    pub level: u32,
    /// Guest-physical address.
    pub address: u64,
    /// What it holds; `None` if it does not lie in RAM.
    pub value: Option<u64>,
}

/// A caller in a backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// The return address.
    pub address: u64,
    /// The function or label it belongs to.
    pub symbol: Option<Symbol>,
}

impl Cause {
    /// The cause of `outcome`; `None` if the guest ended by itself, or there is no guest to look at.
    pub fn of(outcome: &Outcome) -> Option<Cause> {
        Some(match outcome {
            Outcome::TripleFault => Cause::TripleFault,
            Outcome::Refused(refusal, obstacle) => {
                Cause::Refused { suberror: refusal.suberror, obstacle: *obstacle }
            }
            Outcome::EntryFailed(reason) => Cause::EntryFailed { reason: *reason },
            Outcome::Unexpected(reason) => Cause::Unexpected { reason: *reason },
            Outcome::TimedOut => Cause::TimedOut,
            Outcome::Reset => Cause::Reset,
            _ => return None,
        })
    }
}

impl CrashReport {
    /// Reads the state of `machine`, whose run has ended with `outcome`; `None` if [`Cause::of`] is.
    pub fn capture(machine: &Machine, outcome: &Outcome) -> Option<CrashReport> {
        let cause = Cause::of(outcome)?;
        let id = machine.current_cpu();
        let cpu = machine.cpu(id);
        let mut report = CrashReport {
            cause,
            cpu: id.number(),
            registers: cpu.registers().ok(),
            place: None,
            walk: None,
            has_idt: false,
            frames: Vec::new(),
            pending: cpu.vcpu().pending_events().ok().flatten(),
            post_code: machine.board().post_code(),
        };
        if let Some(registers) = report.registers
            && !report.registers_are_reset()
        {
            report.look(machine, &registers);
        }
        Some(report)
    }

    /// True if the host has reset the registers after a triple fault, so that they say nothing about it.
    pub fn registers_are_reset(&self) -> bool {
        self.cause == Cause::TripleFault
            && self.registers.is_some_and(|registers| {
                registers.general.rip == RESET_VECTOR && registers.system.cr0 & 1 == 0
            })
    }

    /// Adds what lies in memory.
    fn look(&mut self, machine: &Machine, registers: &Registers) {
        let memory = machine.memory();
        let symbol = |address| machine.symbol_at(address);
        let address = registers.next_instruction();
        let mut code = vec![0; LONGEST_INSTRUCTION];
        let count = read_virtual(memory, registers, address, &mut code);
        code.truncate(count);
        let bitness = registers.bitness();
        self.place = Some(Place {
            address,
            symbol: symbol(address),
            bitness,
            instruction: disassembly::instruction(&code, bitness, address),
            operands: operands(&code, registers),
            code,
        });
        let fault = Some(registers.system.cr2).filter(|cr2| self.cause == Cause::TripleFault && *cr2 != 0);
        self.walk = Some(walk(memory, registers, fault.unwrap_or(address)));
        self.has_idt = has_idt(memory, registers);
        self.frames = return_addresses(memory, registers)
            // The call is before its return address, which may belong to the next function.
            .into_iter()
            .map(|address| Frame { address, symbol: symbol(address.wrapping_sub(1)).map(after_call) })
            .collect();
    }
}

/// The symbol of a return address, which was looked up by the byte before it.
fn after_call(symbol: Symbol) -> Symbol {
    Symbol { offset: symbol.offset.wrapping_add(1), ..symbol }
}

/// True if the IDT has a gate that is present for any of the exceptions.
fn has_idt(memory: &GuestMemory, registers: &Registers) -> bool {
    (0..EXCEPTIONS).any(|vector| {
        let Some(entry) = GateEntry::of(registers, vector) else { return false };
        let mut bytes = [0; MAX_GATE_SIZE];
        read_virtual(memory, registers, entry.address, &mut bytes[..entry.size()]) == entry.size()
            && entry.decode(bytes).is_some_and(|gate| gate.is_present)
    })
}

fn walk(memory: &GuestMemory, registers: &Registers, address: u64) -> PageWalk {
    let mut entries = Vec::new();
    let found = Paging::new(registers, Paging::WIDEST).walk(memory, address, &mut |entry| {
        entries.push(WalkedEntry { level: entry.level, address: entry.address, value: entry.value });
    });
    PageWalk { address, entries, physical: found.ok().map(|mapping| mapping.physical) }
}

/// Return addresses of a stack whose functions keep frame pointers: RBP points to the caller's RBP, and the
/// return address lies above it. Ends where that does not go upwards, or is not mapped.
pub fn return_addresses(memory: &GuestMemory, registers: &Registers) -> Vec<u64> {
    let size: u8 = match registers.bitness() {
        64 => 8,
        32 => 4,
        _ => return Vec::new(),
    };
    let (mut frame, mut addresses) = (registers.general.rbp, Vec::new());
    while frame != 0 && addresses.len() < MOST_FRAMES {
        let Some(above) = frame.checked_add(size.into()) else { break };
        let Some(caller) = load(memory, registers, frame, size) else { break };
        let Some(address) = load(memory, registers, above, size).filter(|address| *address != 0) else {
            break;
        };
        // Without frame pointers RBP may hold anything: a return address leads to mapped memory.
        if load(memory, registers, address, 1).is_none() {
            break;
        }
        addresses.push(address);
        if caller <= frame {
            break;
        }
        frame = caller;
    }
    addresses
}

/// The explicit operands of the instruction that `code` begins with.
fn operands(code: &[u8], registers: &Registers) -> Vec<OperandValue> {
    let address = registers.next_instruction();
    let instruction = Decoder::with_ip(registers.bitness(), code, address, DecoderOptions::NONE).decode();
    if instruction.is_invalid() {
        return Vec::new();
    }
    (0..instruction.op_count()).map(|operand| describe(&instruction, operand, registers)).collect()
}

fn describe(instruction: &Instruction, operand: u32, registers: &Registers) -> OperandValue {
    match instruction.op_kind(operand) {
        OpKind::Register => {
            let register = instruction.op_register(operand);
            let name = format!("{register:?}").to_lowercase();
            OperandValue::Register { name, value: register_value(register, registers) }
        }
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            OperandValue::Target(instruction.near_branch_target())
        }
        kind => match instruction.try_immediate(operand) {
            Ok(value) => OperandValue::Immediate(value),
            Err(_) if matches!(kind, OpKind::FarBranch16 | OpKind::FarBranch32) => {
                OperandValue::Target(u64::from(instruction.far_branch32()))
            }
            Err(_) => OperandValue::Memory {
                address: instruction.virtual_address(operand, 0, |register, _, _| {
                    if register.is_segment_register() {
                        segment_base(register, registers)
                    } else {
                        register_value(register, registers)
                    }
                }),
                size: instruction.memory_size().size(),
            },
        },
    }
}

fn segment_base(register: Register, registers: &Registers) -> Option<u64> {
    let name = format!("{register:?}");
    registers.segments().into_iter().find(|(other, _)| *other == name).map(|(_, segment)| segment.base)
}

/// The value of a general, instruction pointer or segment register.
fn register_value(register: Register, registers: &Registers) -> Option<u64> {
    let name = format!("{:?}", register.full_register());
    let full = registers.named().into_iter().find(|(other, _)| *other == name).map(|(_, value)| value);
    let high_byte = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    match full {
        Some(value) if high_byte => Some(value >> 8 & 0xFF),
        Some(value) => Some(value & u64::MAX >> (64 - 8 * register.size().clamp(1, 8))),
        None => registers
            .segments()
            .into_iter()
            .find(|(other, _)| *other == name)
            .map(|(_, segment)| segment.selector.into()),
    }
}

#[cfg(test)]
#[path = "crash_test.rs"]
mod tests;
