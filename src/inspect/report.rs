//! The end of a run as one short paragraph.

use crate::arch::Registers;
use crate::arch::gate::{GateEntry, MAX_GATE_SIZE};
use crate::devices::debug_exit;
use crate::emulate::Obstacle;
use crate::kvm::Refusal;
use crate::machine::{Machine, Outcome};

use super::disassembly::LONGEST_INSTRUCTION;
use super::symbols::symbol_at;
use super::translate::{read_virtual, translate};
use super::{disassembly, refused};

/// Where a processor starts after a reset: the registers of some hosts say this after a triple
/// fault.
const RESET_VECTOR: u64 = 0xFFF0;

/// Addresses below this are what following a null pointer gives.
const FIRST_PAGE: u64 = 4096;
/// Exception vectors.
const EXCEPTIONS: u8 = 32;
/// What happened, where, and what the user can do about it.
pub fn paragraph(machine: &Machine, outcome: &Outcome) -> String {
    let mut text = match outcome {
        Outcome::Halted { result } => format!("the guest halted; result (RAX) {result} ({result:#x})."),
        Outcome::DebugExit { value } => format!(
            "the guest ended the run with {value:#x} at the debug exit port; exit status {}.",
            debug_exit::status(*value)
        ),
        Outcome::TripleFault => triple_fault(machine),
        Outcome::Refused(refused, obstacle) => refusal(machine, refused, *obstacle),
        Outcome::EntryFailed(reason) => format!(
            "the processor did not accept the state the guest put it in (hardware reason {reason:#x}){}. \
             The log has all registers.",
            place(machine)
        ),
        Outcome::Unexpected(reason) => {
            format!(
                "KVM stopped the guest for a reason this program does not know ({reason}){}.",
                place(machine)
            )
        }
        Outcome::TimedOut => format!("the run took longer than --timeout allows{}.", place(machine)),
        Outcome::Quit => "ended by the user.".to_owned(),
        Outcome::Terminated(signal) => format!("ended by signal {signal}."),
        Outcome::Reset => format!("the guest reset the machine (--no-reboot){}.", place(machine)),
        Outcome::Moved { to } => format!("the guest has moved to {to} and runs on there."),
        Outcome::HostFailed(error) => format!("the host failed the machine: {error}."),
        Outcome::Reload(error) => format!("the guest cannot be loaded again after its reset: {error}"),
    };
    if outcome.is_crash()
        && let Some(code) = machine.board().post_code()
    {
        text.push_str(&format!(" Last POST code: {code:#04x}."));
    }
    text
}

fn triple_fault(machine: &Machine) -> String {
    let Ok(registers) = machine.cpu(machine.current_cpu()).registers() else {
        return "triple fault; the host gives no registers.".to_owned();
    };
    let system = &registers.system;
    if registers.general.rip == RESET_VECTOR && system.cr0 & 1 == 0 {
        return "triple fault; this host has already reset the registers, so where it happened is not known."
            .to_owned();
    }
    let mut text = format!("triple fault{}.", place_of(machine, &registers));
    if system.cr2 != 0 {
        let mapped = translate(machine.memory(), &registers, system.cr2).is_some();
        let what = match (mapped, system.cr2 < FIRST_PAGE) {
            (true, _) => "whose page forbids the access, or which faulted earlier",
            (false, true) => "where nothing is mapped: a null pointer, by the looks of it",
            (false, false) => "where nothing is mapped",
        };
        text.push_str(&format!(" CR2 is {:#x}, {what}.", system.cr2));
    }
    if !has_idt(machine, &registers) {
        text.push_str(" No usable IDT is loaded, so the first exception ends the machine.");
    }
    text.push_str(" The log has all registers.");
    text
}

/// True if the IDT has a gate that is present for any of the exceptions.
fn has_idt(machine: &Machine, registers: &Registers) -> bool {
    (0..EXCEPTIONS).any(|vector| {
        let Some(entry) = GateEntry::of(registers, vector) else { return false };
        let mut bytes = [0; MAX_GATE_SIZE];
        read_virtual(machine.memory(), registers, entry.address, &mut bytes[..entry.size()]) == entry.size()
            && entry.decode(bytes).is_some_and(|gate| gate.is_present)
    })
}

fn refusal(machine: &Machine, refusal: &Refusal, obstacle: Option<Obstacle>) -> String {
    let Ok(registers) = machine.cpu(machine.current_cpu()).registers() else {
        return "the host refused to go on and gives no registers.".to_owned();
    };
    let code = code_at(machine, &registers);
    format!(
        "this host's KVM cannot execute what the guest wants (internal error {}){}. {} The log has all registers.",
        refusal.suberror,
        place_of(machine, &registers),
        refused::explanation(obstacle, &code, registers.bitness())
    )
}

/// Where the guest is, as the tail of a sentence; nothing if the host does not say.
fn place(machine: &Machine) -> String {
    machine
        .cpu(machine.current_cpu())
        .registers()
        .map(|registers| place_of(machine, &registers))
        .unwrap_or_default()
}

fn place_of(machine: &Machine, registers: &Registers) -> String {
    let address = registers.next_instruction();
    let mut text = format!(" at {address:#x}");
    if let Some(symbol) = symbol_at(machine.image(), machine.symbols().address_in_file(address)) {
        text.push_str(&format!(" ({symbol})"));
    }
    let code = code_at(machine, registers);
    match disassembly::instruction(&code, registers.bitness(), address) {
        Some(instruction) => text.push_str(&format!(", instruction `{instruction}`")),
        None if code.is_empty() => text.push_str(", where no code is mapped"),
        None => {}
    }
    text
}

/// The bytes of the next instruction, and what follows; as many as are mapped.
fn code_at(machine: &Machine, registers: &Registers) -> Vec<u8> {
    let mut code = vec![0; LONGEST_INSTRUCTION];
    let count = read_virtual(machine.memory(), registers, registers.next_instruction(), &mut code);
    code.truncate(count);
    code
}
