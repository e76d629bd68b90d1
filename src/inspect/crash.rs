//! A crash as a value: what stopped the guest, where, and the state around it.
//!
//! [`CrashReport::capture`] reads everything from the stopped machine once. The message for the user
//! ([`super::report`]) and the dump in the log ([`super::dump`]) are made from the report alone, so a report
//! can be built by hand, compared and serialised.

use serde::Serialize;

pub use super::backtrace::Frame;
use super::backtrace::{backtrace, caller_frame, is_behind_call};
use super::disassembly::{self, LONGEST_INSTRUCTION};
use super::events::EventList;
use super::fault::code::{self, CodeFinding};
use super::fault::delivery::{self, DeliveryFailure};
use super::fault::stack::{self, KnownStack, StackFinding, Surroundings};
use super::fault::{self, Diagnosis, RaisedException, vector};
use super::fault_loop::{self, FaultLoop};
pub use super::operands::OperandValue;
use super::operands::operands;
use super::source_text::SourceFiles;
use super::translate::read_virtual;
use super::values::load;
use crate::arch::flags::DR6_BS;
use crate::arch::paging::Paging;
use crate::arch::{PAGE_SIZE, Registers};
use crate::boot::{SourcePlace, Symbol, boot_stack};
use crate::emulate::{Obstacle, floating_point_exception};
use crate::kvm::probe::{SYSTEM_CALLS, SystemCalls};
use crate::machine::board::InterruptSource;
use crate::machine::{CpuId, Machine, Outcome, RescuedException, RunState};
use crate::memory::GuestMemory;

/// Where a processor starts after a reset: the registers of some hosts say this after a triple
/// fault.
const RESET_VECTOR: u64 = 0xFFF0;
/// Where `syscall` leads (Intel SDM volume 4, "IA32_LSTAR").
const LSTAR: u32 = 0xC000_0082;
/// Events in a report, lines of them.
const MOST_EVENTS: usize = 8;

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
    /// Nothing: the user has stopped it, or a breakpoint.
    Stopped,
}

/// A guest that was stopped before it ended by itself.
#[derive(Clone, Debug, Serialize)]
pub struct CrashReport {
    /// What stopped it.
    pub cause: Cause,
    /// The CPU that the rest is about, from 0.
    pub cpu: u8,
    /// How many CPUs the machine has.
    pub cpu_count: usize,
    /// What the other CPUs are doing, a line each.
    pub other_cpus: Vec<String>,
    /// Its registers; `None` if the host does not give them.
    pub registers: Option<Registers>,
    /// The next instruction; `None` where the registers do not say which that is.
    pub place: Option<Place>,
    /// CR2 after a triple fault, else the address of the next instruction, through the guest's page tables;
    /// `None` without either.
    pub walk: Option<PageWalk>,
    /// The exception that began a triple fault, as the processor has recorded it; `None` if nothing has.
    pub rescued: Option<RescuedException>,
    /// After a triple fault, the exception that began it; `None` where the state does not show it.
    pub exception: Option<RaisedException>,
    /// Why it could not be delivered; `None` where the tables do not show it.
    pub delivery: Option<DeliveryFailure>,
    /// Why the double fault that followed could not be delivered.
    pub double_fault: Option<DeliveryFailure>,
    /// The return address at RSP, behind a call, where the place of the crash itself is no code of the guest.
    pub caller: Option<Frame>,
    /// What RIP points to, after a triple fault, where it is no code.
    pub code: Option<CodeFinding>,
    /// What RSP and the descriptor tables show about the stack, after a triple fault.
    pub stack: Option<StackFinding>,
    /// The crash is in ring 3, in the kernel's entry for `syscall`, on a host whose `syscall` stays in ring 3.
    pub syscall_stays_in_ring_3: bool,
    /// If the guest waits in `hlt` with interrupts on: the devices that have an interrupt line.
    pub waits_for: Option<Vec<InterruptSource>>,
    /// At a time-out, an exception that seems to be raised again and again.
    pub fault_loop: Option<FaultLoop>,
    /// The functions that the CPU is in, the innermost first, which begins at the place itself.
    pub frames: Vec<Frame>,
    /// Events that wait for the guest.
    pub pending: Option<String>,
    /// The last value written to the POST port.
    pub post_code: Option<u8>,
    /// What happened last.
    pub events: EventList,
}

/// An instruction in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its linear address.
    pub address: u64,
    /// The function or label it belongs to, and the distance from there.
    pub symbol: Option<Symbol>,
    /// Its source line.
    pub source: Option<SourcePlace>,
    /// The text of that line, if the file can be read.
    pub source_text: Option<String>,
    /// Width of code here: 16, 32 or 64.
    pub bitness: u32,
    /// The bytes there, at most 15 and as far as they are mapped.
    pub code: Vec<u8>,
    /// In Intel syntax; `None` if the bytes are no instruction.
    pub instruction: Option<String>,
    /// Its explicit operands.
    pub operands: Vec<OperandValue>,
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

/// True if the host has reset these registers after a triple fault.
pub fn registers_are_reset(registers: &Registers) -> bool {
    registers.general.rip == RESET_VECTOR && registers.system.cr0 & 1 == 0
}

impl Cause {
    /// The cause of `outcome`; `None` if the guest ended by itself, or there is no guest to look at.
    pub fn of(outcome: &Outcome) -> Option<Cause> {
        Some(match outcome {
            Outcome::TripleFault(_) => Cause::TripleFault,
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
        let cpu = cpu_of(machine, &cause);
        let rescued = match outcome {
            Outcome::TripleFault(rescued) => *rescued,
            _ => None,
        };
        Some(CrashReport::read(machine, cause, cpu, rescued))
    }

    /// Reads the state of `machine`, which `cause` has stopped, as the CPU `id` sees it.
    pub fn of_cpu(machine: &Machine, cause: Cause, id: CpuId) -> CrashReport {
        CrashReport::read(machine, cause, id, None)
    }

    fn read(machine: &Machine, cause: Cause, id: CpuId, rescued: Option<RescuedException>) -> CrashReport {
        let cpu = machine.cpu(id);
        let mut report = CrashReport {
            cause,
            cpu: id.number(),
            cpu_count: machine.cpu_ids().count(),
            other_cpus: machine
                .cpu_ids()
                .filter(|other| *other != id)
                .map(|cpu| doing(machine, cpu))
                .collect(),
            registers: cpu.registers().ok(),
            place: None,
            walk: None,
            rescued,
            exception: None,
            delivery: None,
            double_fault: None,
            caller: None,
            code: None,
            stack: None,
            syscall_stays_in_ring_3: false,
            waits_for: cpu.is_halted().then(|| {
                let copy = machine.board_with_copies().ok().flatten();
                copy.as_ref().unwrap_or(machine.board()).interrupt_sources()
            }),
            fault_loop: None,
            frames: Vec::new(),
            pending: cpu.vcpu().pending_events().ok().flatten(),
            post_code: machine.board().post_code(),
            events: EventList::of(machine, MOST_EVENTS + 1).before_the_end(MOST_EVENTS),
        };
        if let Some(registers) = report.registers
            && !report.registers_are_reset()
        {
            report.look(machine, &registers);
        }
        report
    }

    /// True if the host has reset the registers after a triple fault, so that they say nothing about it.
    pub fn registers_are_reset(&self) -> bool {
        self.cause == Cause::TripleFault && self.registers.as_ref().is_some_and(registers_are_reset)
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
            source: None,
            source_text: None,
            bitness,
            instruction: disassembly::instruction(&code, bitness, address),
            operands: operands(&code, registers),
            code,
        });
        let fault = Some(registers.system.cr2).filter(|cr2| self.cause == Cause::TripleFault && *cr2 != 0);
        self.walk = Some(walk(memory, registers, fault.unwrap_or(address)));
        if self.cause == Cause::TripleFault {
            self.diagnose(machine, registers);
        } else if self.cause == Cause::TimedOut && self.waits_for.is_none() {
            self.fault_loop = fault_loop::find(machine, memory, registers);
        }
        self.frames = backtrace(machine, memory, registers);
        if let (Some(place), Some(frame)) = (&mut self.place, self.frames.first()) {
            place.source.clone_from(&frame.source);
            place.source_text = frame.source.as_ref().and_then(|source| SourceFiles::default().line(source));
        }
    }

    /// Finds the exception behind a triple fault.
    fn diagnose(&mut self, machine: &Machine, registers: &Registers) {
        let memory = machine.memory();
        let Some(place) = &self.place else { return };
        let failure = |vector| delivery::failure(memory, registers, vector);
        // Compilers fill the space before a function with `int3`, too.
        let starts_function = place.symbol.as_ref().is_some_and(|symbol| symbol.offset == 0);
        let vcpu = machine.cpu(CpuId::new(self.cpu)).vcpu();
        let floating = || floating_point_exception(vcpu, memory).ok().flatten().map(RaisedException::from);
        self.exception = fault::find(memory, registers, &place.code, &floating).filter(|exception| {
            exception.diagnosis != Diagnosis::BreakpointBefore
                || (!starts_function && failure(vector::BREAKPOINT).is_some())
        });
        // Of two explanations, DR6 says which one it was.
        let stepped = vcpu.dr6().is_ok_and(|dr6| dr6 & DR6_BS != 0) && failure(vector::DEBUG).is_some();
        if self.exception.is_none() || stepped {
            self.exception = fault::trap(memory, registers).or(self.exception.take());
        }
        if let Some(recorded) = self.rescued {
            let found = self.exception.take().into_iter().chain(fault::trap(memory, registers));
            self.exception = Some(fault::explain(memory, registers, recorded, found));
        }
        self.double_fault = failure(vector::DOUBLE_FAULT);
        self.delivery = match &self.exception {
            Some(exception) => failure(exception.first().vector),
            // Which gate was used is unknown, unless there are none.
            None => self.double_fault.filter(|_| !delivery::has_gates(memory, registers)),
        };
        let stacks = known_stacks(machine, registers);
        self.stack = stack::examine(
            memory,
            registers,
            self.exception.as_ref().and_then(RaisedException::written_address),
            &Surroundings {
                stacks: &stacks,
                contents: &|address| machine.contents_at(address),
                symbol: &|address| machine.symbol_at(address),
            },
        );
        let lost = self.exception.as_ref().is_some_and(RaisedException::is_about_the_place);
        if !lost {
            self.code = code::examine(&place.code, machine.contents_at(place.address));
        }
        if lost || self.code.is_some() || place.symbol.is_none() {
            let caller = return_address_at_rsp(memory, registers);
            self.caller = caller.map(|address| caller_frame(machine, address));
        }
        self.syscall_stays_in_ring_3 = registers.ring() == 3
            && is_system_call_entry(machine, CpuId::new(self.cpu), place.address)
            && syscall_stays(machine);
    }
}

/// The CPU that a report is about: the one that has stopped the guest. At a time-out that may be any, so it is one
/// that executes instructions, if there is one.
fn cpu_of(machine: &Machine, cause: &Cause) -> CpuId {
    let current = machine.current_cpu();
    let runs = |cpu: &CpuId| machine.cpu(*cpu).run_state() == RunState::Running;
    if *cause != Cause::TimedOut || runs(&current) {
        return current;
    }
    machine.cpu_ids().find(runs).unwrap_or(current)
}

/// What a CPU is doing, in a line.
fn doing(machine: &Machine, id: CpuId) -> String {
    let cpu = machine.cpu(id);
    let state = match cpu.run_state() {
        RunState::Running => "runs",
        RunState::WaitForSipi => return format!("{id} waits for a start-up interrupt"),
        RunState::Halted => "waits in hlt",
        RunState::HaltedForGood => "has halted with interrupts off",
        RunState::WaitForDisk => "waits for a disk",
    };
    let Ok(registers) = cpu.registers() else { return format!("{id} {state}") };
    let address = registers.next_instruction();
    match machine.symbol_at(address) {
        Some(symbol) => format!("{id} {state} at {address:#x} ({symbol})"),
        None => format!("{id} {state} at {address:#x}"),
    }
}

/// True if `address` belongs to the code that `syscall` enters.
fn is_system_call_entry(machine: &Machine, cpu: CpuId, address: u64) -> bool {
    let entry = machine.cpu(cpu).vcpu().msr(LSTAR);
    let Ok(Some(entry @ 1..)) = entry else { return false };
    let name = |address| machine.symbol_at(address).map(|symbol| symbol.name);
    match name(entry) {
        Some(function) => name(address) == Some(function),
        None => address.wrapping_sub(entry) < PAGE_SIZE,
    }
}

/// True if `syscall` does not enter ring 0 on this host.
fn syscall_stays(machine: &Machine) -> bool {
    matches!(SYSTEM_CALLS.get(machine.kvm()), Ok(SystemCalls::StayInRing3))
}

/// The stacks whose bounds are known: the boot stack, and those that the guest file names.
fn known_stacks(machine: &Machine, registers: &Registers) -> Vec<KnownStack> {
    let boot = boot_stack(machine.memory(), registers.general.rsp);
    let boot = boot.map(|range| KnownStack { name: Some("the boot stack".to_owned()), range });
    let named = machine.named_stacks().into_iter().map(|stack| KnownStack {
        name: stack.name.map(|name| format!("`{name}`, the lowest address of a stack")),
        range: stack.range,
    });
    boot.into_iter().chain(named).collect()
}

/// The return address at RSP, if the instruction before it is a call.
fn return_address_at_rsp(memory: &GuestMemory, registers: &Registers) -> Option<u64> {
    let size = (registers.bitness() / 8) as u8;
    load(memory, registers, registers.general.rsp, size)
        .filter(|address| is_behind_call(memory, registers, *address))
}

fn walk(memory: &GuestMemory, registers: &Registers, address: u64) -> PageWalk {
    let mut entries = Vec::new();
    let found = Paging::new(registers, Paging::WIDEST).walk(memory, address, &mut |entry| {
        entries.push(WalkedEntry { level: entry.level, address: entry.address, value: entry.value });
    });
    PageWalk { address, entries, physical: found.ok().map(|mapping| mapping.physical) }
}

#[cfg(any(test, fuzzing))]
#[path = "crash/fuzzing.rs"]
pub mod fuzzing;
#[cfg(test)]
#[path = "crash_test.rs"]
mod tests;
