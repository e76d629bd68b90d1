//! The breakpoints for coverage in the memory of a machine.
//!
//! Each is a byte in place of the first one of a block, at the guest-physical address where the block has been loaded:
//! the guest may map it where it wants. When it stops the guest, the guest's byte is put back for good. Memory knows the
//! bytes ([`GuestMemory::insert_breakpoint`]), so that other readers get those of the guest.
//!
//! `hlt` is inserted where the host does not exit for `int3`, or exits only outside of real mode.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::copied_code::copied_block;
use super::covered_code::{Block, COMPARED, CoveredCode};
use crate::arch::{PAGE_SIZE, Registers};
use crate::inspect::translate::{read_virtual, translate};
use crate::kvm::probe::{SOFTWARE_BREAKPOINTS, SoftwareBreakpoints};
use crate::kvm::{DebugStop, GuestDebug, HostError};
use crate::machine::{CpuId, Event, Machine};
use crate::memory::GuestMemory;
use crate::settings::IrqchipMode;
use crate::supervisor::breakpoint_bytes::Opcode;
use crate::supervisor::lookahead::{self, Kind};

/// The breakpoints of a machine.
#[derive(Debug)]
pub struct CoverageBreakpoints {
    code: Arc<CoveredCode>,
    opcode: Opcode,
    /// Blocks that have a breakpoint, by the guest-physical address of their first byte.
    places: BTreeMap<u64, usize>,
    /// Lengths of all blocks that have had one, by that address.
    loaded: BTreeMap<u64, u64>,
}

impl CoverageBreakpoints {
    /// Inserts the breakpoints into a machine with the guest `code`, which has not executed an instruction yet.
    ///
    /// # Errors
    ///
    /// [`HostError`] if breakpoints do not work on this host, with this machine.
    pub fn new(code: Arc<CoveredCode>, machine: &mut Machine) -> Result<CoverageBreakpoints, HostError> {
        let int3 = SOFTWARE_BREAKPOINTS.ring0.get(machine.kvm())?;
        let in_kernel = machine.irqchip() == IrqchipMode::Kernel;
        let opcode = match int3 {
            SoftwareBreakpoints::DebugExit => Opcode::Int3,
            SoftwareBreakpoints::Refused if in_kernel => Opcode::Int3,
            _ if in_kernel => {
                let reason = "this host does not exit for `int3`; coverage needs --irqchip user here";
                return Err(HostError::because("insert breakpoints", reason));
            }
            _ => Opcode::Halt,
        };
        let (places, loaded) = (BTreeMap::new(), BTreeMap::new());
        let mut breakpoints = CoverageBreakpoints { code, opcode, places, loaded };
        breakpoints.insert(machine)?;
        Ok(breakpoints)
    }

    /// Inserts the breakpoints of all blocks that have not been run, where memory holds what the guest file has: at the
    /// guest's first instruction, and after [`Self::remove`].
    ///
    /// # Errors
    ///
    /// [`HostError`] with the host's reason.
    pub fn insert(&mut self, machine: &mut Machine) -> Result<(), HostError> {
        for cpu in machine.cpu_ids() {
            machine.cpu_mut(cpu).set_guest_debug(GuestDebug {
                software_breakpoints: self.opcode == Opcode::Int3,
                halts: self.opcode == Opcode::Halt,
                ..GuestDebug::default()
            })?;
        }
        self.places.clear();
        let (registers, bias) = (machine.cpu(CpuId::BOOT).registers()?, machine.symbols().bias());
        let memory = machine.memory();
        for (number, block) in self.code.wanted() {
            let Some(place) = place(memory, &registers, bias, block) else { continue };
            if memory.insert_breakpoint(place, self.opcode as u8) {
                block.watch();
                self.places.insert(place, number);
                self.loaded.insert(place, block.length);
            }
        }
        Ok(())
    }

    /// Takes all breakpoints out of memory.
    pub fn remove(&mut self, memory: &GuestMemory) {
        self.places.clear();
        memory.remove_breakpoints();
    }

    /// Memory is that of a snapshot without breakpoints: inserts those again that are still to be hit.
    ///
    /// # Errors
    ///
    /// [`HostError`] with the host's reason.
    pub fn renew(&mut self, machine: &mut Machine) -> Result<(), HostError> {
        if self.places.is_empty() {
            return self.insert(machine);
        }
        let (code, memory) = (&self.code, machine.memory());
        self.places.retain(|place, block| {
            let has_run = code.blocks[*block].has_run();
            if has_run {
                memory.remove_breakpoint(*place);
            }
            !has_run
        });
        memory.renew_breakpoints();
        Ok(())
    }

    /// The current CPU has stopped with [`Event::Debug`]. Notes the block whose breakpoint that was, or has the CPU carry
    /// out its own instruction; an event that results from it.
    ///
    /// # Errors
    ///
    /// [`HostError`] with the host's reason.
    pub fn stopped(&mut self, machine: &mut Machine, stop: &DebugStop) -> Result<Option<Event>, HostError> {
        let cpu = machine.current_cpu();
        let registers = machine.cpu(cpu).registers()?;
        let pc = registers.next_instruction();
        if self.note_next(machine, &registers) {
            return Ok(None);
        }
        let Some(at) = translate(machine.memory(), &registers, pc) else { return Ok(None) };
        if stop.exception != DebugStop::BREAKPOINT {
            return Ok(None);
        }
        if !self.is_loaded(at)
            && let Some(block) = copied_block(&self.code, machine.memory(), at, self.opcode as u8)
        {
            if machine.memory().write(at, &self.code.blocks[block].code[..1]).is_ok() {
                self.code.stopped_at(block);
            }
            return Ok(None);
        }
        let mut bytes = [0; 8];
        let count = read_virtual(machine.memory(), &registers, pc, &mut bytes);
        Ok(match lookahead::kind(&bytes[..count], registers.bitness()) {
            Kind::Halt => machine.step_halt(cpu),
            Kind::Interrupt => machine.emulate_instruction(cpu),
            // Another CPU has been here in the meantime.
            _ => None,
        })
    }

    /// A CPU with these registers is about to execute its next instruction, perhaps by a step: if a breakpoint is there, it
    /// is removed, and its block counts as run. False if there is none.
    pub fn note_next(&mut self, machine: &Machine, registers: &Registers) -> bool {
        let Some(at) = translate(machine.memory(), registers, registers.next_instruction()) else {
            return false;
        };
        let Some(block) = self.places.remove(&at) else { return false };
        machine.memory().remove_breakpoint(at);
        self.code.stopped_at(block);
        true
    }

    /// True if the guest-physical address `at` lies in code that was loaded with the guest.
    fn is_loaded(&self, at: u64) -> bool {
        self.loaded.range(..=at).next_back().is_some_and(|(start, length)| at - start < *length)
    }
}

/// The guest-physical address of a block in a guest that has not been started: where its page tables have it, or where the
/// file's program headers put it. `None` if neither has the block's code.
fn place(memory: &GuestMemory, registers: &Registers, bias: u64, block: &Block) -> Option<u64> {
    let mapped = translate(memory, registers, block.address.wrapping_add(bias));
    let loaded = block.physical_address.wrapping_add(bias);
    let has_code = |at: &u64| {
        let in_page = (PAGE_SIZE - at % PAGE_SIZE) as usize;
        let expected = &block.code[..block.code.len().min(in_page)];
        let mut found = [0; COMPARED];
        let found = &mut found[..expected.len()];
        memory.read_original(*at, found).is_ok() && found == expected
    };
    mapped.into_iter().chain([loaded]).find(has_code)
}
