//! Guests that will never leave a loop: instruction by instruction they come back to where they were.
//!
//! A guest is followed for some instructions by single steps. If it comes back to an earlier state, and nothing but the
//! guest could have changed that, it will do the same for ever. What makes this a proof:
//!
//! - each instruction is one whose effect follows from registers, memory and the port it reads
//!   ([`crate::inspect::plain_instruction`]), so none that reads a clock, for example;
//! - all registers are the same again, and so are all bytes that were written;
//! - the ports that were read belong to devices that change by accesses of the guest alone, and those are the same again;
//!   nobody types in a test;
//! - no disk has anything under way, and KVM writes nothing to the guest's memory by itself;
//! - there is one processor, and nothing can interrupt it: the flag never changes on the way, so interrupts are off, or no
//!   source is programmed.
//!
//! Everything else is left to `--timeout`: guests that count or compute, that wait for a timer that runs, ring 3, several
//! processors, and KVM's own interrupt controllers.
//!
//! Steps are slow, so the guest is followed again only after ten times as long as the last time has taken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::hang;
use crate::arch::Registers;
use crate::arch::flags::{RFLAGS_IF, RFLAGS_RF, RFLAGS_TF};
use crate::coverage::CoverageBreakpoints;
use crate::inspect::plain_instruction::{PlainInstruction, TouchedPorts};
use crate::kvm::{GuestDebug, HostError};
use crate::machine::board::IdleDevice;
use crate::machine::{CpuId, Event, Machine, RunState};
use crate::settings::IrqchipMode;

/// How long a test runs before its guest is followed for the first time.
const FIRST: Duration = Duration::from_millis(10);
/// How much longer than it was followed a guest runs freely before it is followed again.
const SHARE: u32 = 10;
/// Instructions that a guest is followed the first time; then twice as many, and so on.
const FIRST_LENGTH: u32 = 128;
/// Most instructions that a guest is followed.
const LONGEST: u32 = 4096;
/// How often a step may end with nothing done: some hosts report a stop before the instruction.
const MOST_IDLE_STEPS: u32 = 16;
/// DR7: the bits that enable a breakpoint (Intel SDM volume 3B, "Debug Control Register (DR7)").
const DR7_ENABLED: u64 = 0xFF;
/// The bit of KVM's model-specific registers by which the guest has it write to memory: the clock in its old and its new
/// place, asynchronous page faults, stolen time, and the end of interrupts (Documentation/virt/kvm/x86/msr.rst).
const KVM_WRITES: [u32; 5] = [0x12, 0x4B56_4D01, 0x4B56_4D02, 0x4B56_4D03, 0x4B56_4D04];

/// What following a guest has shown.
pub(super) enum Followed {
    /// It will never leave its loop, for this reason.
    Endless(String),
    /// Nothing.
    Unknown,
    /// This has happened on the way, and is to be handled as if the guest had run freely.
    Event(Event),
}

/// When a guest is followed next, and how far.
pub(super) struct LoopSearch {
    next: Instant,
    length: u32,
}

impl LoopSearch {
    /// For a test that begins now.
    pub(super) fn new() -> LoopSearch {
        LoopSearch { next: Instant::now() + FIRST, length: FIRST_LENGTH }
    }

    /// Follows the stopped guest, if it is time to. Breakpoints of `coverage` are noted on the way.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not give the registers or cannot step.
    pub(super) fn look(
        &mut self,
        machine: &mut Machine,
        coverage: Option<&mut CoverageBreakpoints>,
    ) -> Result<Followed, HostError> {
        let began = Instant::now();
        if began < self.next || !changes_by_guest_alone(machine)? {
            return Ok(Followed::Unknown);
        }
        let before = *machine.cpu(CpuId::BOOT).guest_debug();
        // Some hosts execute one more instruction behind an access to a port: it may be a breakpoint of coverage.
        let step = GuestDebug { single_step: true, block_interrupts: true, ..before };
        machine.cpu_mut(CpuId::BOOT).set_guest_debug(step)?;
        let followed = follow(machine, self.length, coverage);
        // An end may have left nothing to set.
        if !matches!(followed, Ok(Followed::Event(Event::End(_)))) {
            machine.cpu_mut(CpuId::BOOT).set_guest_debug(before)?;
        }
        self.length = (self.length * 2).min(LONGEST);
        self.next = Instant::now() + began.elapsed() * SHARE;
        followed
    }
}

/// True if nothing but the guest's own processor changes anything.
fn changes_by_guest_alone(machine: &Machine) -> Result<bool, HostError> {
    let cpu = machine.cpu(CpuId::BOOT);
    if machine.cpu_ids().count() > 1
        || machine.irqchip() != IrqchipMode::User
        || cpu.run_state() != RunState::Running
        || !machine.disks_are_idle()
    {
        return Ok(false);
    }
    let registers = cpu.registers()?;
    let board = machine.board();
    let can_wake = hang::can_wake_without_user(board);
    let is_undisturbed = match registers.general.rflags & RFLAGS_IF {
        0 => !can_wake || !board.may_interrupt_without_flag(),
        _ => !can_wake && !machine.interrupt_pending(CpuId::BOOT),
    };
    // A step would take the debug exceptions of the guest's own.
    let debugs_itself =
        registers.general.rflags & RFLAGS_TF != 0 || cpu.vcpu().debug_registers()?.dr7 & DR7_ENABLED != 0;
    Ok(is_undisturbed && registers.ring() == 0 && !debugs_itself)
}

/// Follows the guest for `length` instructions at most.
fn follow(
    machine: &mut Machine,
    length: u32,
    mut coverage: Option<&mut CoverageBreakpoints>,
) -> Result<Followed, HostError> {
    let mut start: Option<Registers> = None;
    let mut trail = Trail::default();
    let (mut done, mut idle) = (0, 0);
    while done < length {
        let registers = comparable(machine.cpu(CpuId::BOOT).registers()?);
        let start = start.get_or_insert(registers);
        if done > 0 && registers == *start && trail.leads_back(machine) {
            return is_endless(machine, done, &trail);
        }
        if let Some(coverage) = &mut coverage {
            coverage.note_next(machine, &registers);
        }
        let Some(instruction) = PlainInstruction::next(machine.memory(), &registers) else {
            return Ok(Followed::Unknown);
        };
        if !trail.goes_on(machine, &instruction) {
            return Ok(Followed::Unknown);
        }
        machine.cpu(CpuId::BOOT).renew_guest_debug();
        match machine.step_instruction(CpuId::BOOT, registers.general.rip, false) {
            // The instruction is executed by the next step.
            None | Some(Event::Attention) => {}
            Some(event) => return Ok(Followed::Event(event)),
        }
        let after = comparable(machine.cpu(CpuId::BOOT).registers()?);
        if after == registers && !instruction.is_endless {
            idle += 1;
            if idle > MOST_IDLE_STEPS {
                return Ok(Followed::Unknown);
            }
        } else if instruction.may_lead_to(after.general.rip) {
            (done, idle) = (done + 1, 0);
        } else {
            return Ok(Followed::Unknown);
        }
    }
    Ok(Followed::Unknown)
}

/// The registers without the flag that a debugger's stop may set.
fn comparable(mut registers: Registers) -> Registers {
    registers.general.rflags &= !RFLAGS_RF;
    registers
}

/// The guest is where it was `instructions` ago.
fn is_endless(machine: &Machine, instructions: u32, trail: &Trail) -> Result<Followed, HostError> {
    // An interrupt may have been on its way when the first step took it back.
    let flag = machine.cpu(CpuId::BOOT).registers()?.general.rflags & RFLAGS_IF;
    if flag != 0 && machine.interrupt_pending(CpuId::BOOT) {
        return Ok(Followed::Unknown);
    }
    for msr in KVM_WRITES {
        if machine.cpu(CpuId::BOOT).vcpu().msr(msr)?.unwrap_or(0) & 1 != 0 {
            return Ok(Followed::Unknown);
        }
    }
    Ok(Followed::Endless(format!(
        "the guest loops for ever{}. After {instructions} instruction{} its registers and its memory are as they were{}; \
         nothing can interrupt it.",
        hang::place(machine),
        if instructions == 1 { "" } else { "s" },
        trail.description(),
    )))
}

/// What the guest has touched since it is followed.
#[derive(Default)]
struct Trail {
    /// The bytes of RAM that may have been written, by guest-physical address, as they were before.
    bytes: BTreeMap<u64, u8>,
    /// The devices whose ports were read, by port, as they were before.
    devices: BTreeMap<u16, IdleDevice>,
}

impl Trail {
    /// Keeps what `instruction` is about to touch; false if it may depend on more than the guest.
    fn goes_on(&mut self, machine: &Machine, instruction: &PlainInstruction) -> bool {
        for touched in instruction.memory.iter().filter(|touched| touched.write) {
            for address in touched.physical..touched.physical + touched.length as u64 {
                let mut byte = [0];
                if machine.memory().read(address, &mut byte).is_err() {
                    return false;
                }
                self.bytes.entry(address).or_insert(byte[0]);
            }
        }
        instruction.ports.is_none_or(|ports| self.uses(machine, ports))
    }

    fn uses(&mut self, machine: &Machine, ports: TouchedPorts) -> bool {
        let board = machine.board();
        (0..ports.count).all(|number| {
            let port = ports.first.wrapping_add(number);
            if ports.write {
                return board.is_delay_port(port);
            }
            let Some(device) = board.idle_device(port) else { return false };
            self.devices.entry(port).or_insert(device);
            true
        })
    }

    /// True if everything that was touched is as it was.
    fn leads_back(&self, machine: &Machine) -> bool {
        let is_same = |(address, before): (&u64, &u8)| {
            let mut byte = [0];
            machine.memory().read(*address, &mut byte).is_ok() && byte[0] == *before
        };
        let devices = &self.devices;
        self.bytes.iter().all(is_same)
            && devices
                .iter()
                .all(|(port, before)| machine.board().idle_device(*port).as_ref() == Some(before))
    }

    /// The ports that were read, as a part of a sentence.
    fn description(&self) -> String {
        let names = |(port, device): (&u16, &IdleDevice)| format!("{port:#x} ({})", device.name());
        let ports: Vec<String> = self.devices.iter().map(names).collect();
        match &ports[..] {
            [] => String::new(),
            [port] => format!(", and so is what port {port} reads as"),
            ports => format!(", and so is what the ports {} read as", ports.join(", ")),
        }
    }
}
