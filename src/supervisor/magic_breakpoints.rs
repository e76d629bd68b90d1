//! Stops that the guest itself asks for with `--magic-break`: Bochs' magic breakpoint `xchg bx, bx`, and its port
//! 0x8A00.
//!
//! The instruction does not exit, so it gets a breakpoint wherever the guest file has it in its code. Where the
//! guest reaches one, and memory still has the instruction there, it counts as executed, as it changes nothing, and
//! the guest stops behind it: going on leads past it. Between debuggers such a guest is under console control.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::run_control::{Advance, Stop, Supervisor};
use crate::arch::Registers;
use crate::devices::debugger_port;
use crate::inspect::code_search::{self, BYTES, Sought};
use crate::inspect::translate::translate;
use crate::kvm::HostError;

/// Magic breakpoints that stop the guest. Each without a debug register costs a walk through the guest's page tables
/// whenever the guest goes on.
const MOST: usize = 1024;

/// Where the guest file has magic breakpoints.
#[derive(Debug, Default)]
pub(crate) struct MagicBreakpoints {
    addresses: BTreeSet<u64>,
}

impl MagicBreakpoints {
    /// Their linear addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        self.addresses.iter().copied()
    }

    /// True if the guest file has one at `address`.
    pub(crate) fn is_at(&self, address: u64) -> bool {
        self.addresses.contains(&address)
    }
}

impl Supervisor<'_> {
    /// Finds the magic breakpoints of the guest file, if they stop the guest: at the start, and after the guest was
    /// loaded again.
    pub(crate) fn find_magic_breakpoints(&mut self) {
        if !self.machine.magic_break() {
            return;
        }
        let (addresses, more) = code_search::find(self.machine, Sought::MagicBreakpoint, MOST);
        info!("magic breakpoints: {} in the guest file", addresses.len());
        if more {
            warn!("the guest file has more magic breakpoints: only the first {MOST} stop the guest");
        }
        self.magic_breakpoints.addresses = addresses.into_iter().collect();
    }

    /// True if the current CPU is about to execute a magic breakpoint at `pc`.
    pub(crate) fn is_at_magic_breakpoint(&self, registers: &Registers, pc: u64) -> bool {
        // A CPU that is halted has not reached the instruction yet.
        !self.machine.cpu(self.cpu).is_halted() && self.has_magic_breakpoint(registers, pc)
    }

    /// True if the guest file and memory have a magic breakpoint at the linear address `pc`. Breakpoint bytes in
    /// memory make no difference.
    pub(crate) fn has_magic_breakpoint(&self, registers: &Registers, pc: u64) -> bool {
        let memory = self.machine.memory();
        let has_byte = |(address, expected): (u64, u8)| {
            let mut byte = [0];
            translate(memory, registers, address)
                .is_some_and(|physical| memory.read_original(physical, &mut byte).is_ok())
                && byte[0] == expected
        };
        self.magic_breakpoints.is_at(pc)
            && registers.bitness() != 16
            && (pc..=u64::MAX).zip(BYTES).all(has_byte)
    }

    /// Stops the guest behind the magic breakpoint it is at.
    pub(crate) fn stop_behind_magic_breakpoint(
        &mut self,
        registers: &Registers,
        pc: u64,
    ) -> Result<Advance, HostError> {
        let mut general = registers.general;
        general.rip = general.rip.wrapping_add(BYTES.len() as u64);
        self.machine.set_general_registers(self.cpu, &general)?;
        let place = self.place(pc) + &self.on_cpu();
        self.stop_by_request(format!("magic breakpoint at {place}"))
    }

    /// Stops the guest behind the instruction with which it has written the command to the port.
    pub(crate) fn stop_for_port(&mut self) -> Result<Advance, HostError> {
        let (_, pc) = self.position()?;
        let (command, port, place) =
            (debugger_port::STOP, debugger_port::PORT, self.place(pc) + &self.on_cpu());
        self.stop_by_request(format!(
            "the guest has written {command:#06x} to port {port:#06x}, before {place}"
        ))
    }

    fn stop_by_request(&mut self, text: String) -> Result<Advance, HostError> {
        if !self.state.is_debugged()
            && let Some(notice) = &self.services.stop_notice
        {
            (notice.print)(&format!("{text}; {}", notice.remedy));
        }
        self.messages.push_str(&text);
        self.messages.push('\n');
        let (_, pc) = self.position()?;
        self.interrupted_at(self.cpu, pc);
        Ok(Advance::Stopped(Stop::Requested))
    }

    /// `address` as text, with the symbol that contains it.
    fn place(&self, address: u64) -> String {
        match self.machine.symbol_at(address) {
            Some(symbol) => format!("{address:#x} ({symbol})"),
            None => format!("{address:#x}"),
        }
    }
}
