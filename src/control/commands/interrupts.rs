//! Interrupt controllers, sources of interrupts and timers; the power button and NMIs.

use super::super::error::CommandError;
use crate::devices::lapic::ApicMode;
use crate::inspect::waking;
use crate::machine::inputs::Input;
use crate::supervisor::stopped_machine::StoppedMachine;

/// The lines of the 8259A, and the pins of the IOAPIC that are in use.
pub(in crate::control) fn lines(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let copy = guest.board_with_copies()?;
    let board = copy.as_ref().unwrap_or(guest.board());
    let (pic, pins) = (board.pic().describe(), board.ioapic().describe());
    let mut text = String::new();
    for (name, (half, base)) in ["master", "slave"].into_iter().zip(pic.lines.chunks(8).zip(pic.vector_bases))
    {
        let bits = |of: &dyn Fn(&crate::devices::pic::PicLine) -> bool| -> u8 {
            half.iter().enumerate().fold(0, |bits, (at, line)| bits | u8::from(of(line)) << at)
        };
        let vectors = base.map_or("vectors not set".to_owned(), |base| format!("vectors from {base:#04x}"));
        text.push_str(&format!(
            "8259A {name}: {vectors}, masked {:#04x}, requested {:#04x}, in service {:#04x}, level {:#04x}\n",
            bits(&|line| line.masked),
            bits(&|line| line.requested),
            bits(&|line| line.in_service),
            bits(&|line| line.level_triggered),
        ));
    }
    for (pin, state) in pins.iter().enumerate().filter(|(_, pin)| !pin.masked) {
        let message = state.message.map_or("reserved mode".to_owned(), |message| {
            let destination = if message.logical { "logical" } else { "physical" };
            let trigger = if message.level_triggered { "level" } else { "edge" };
            format!(
                "vector {:#04x}, {:?}, {trigger}, {destination} destination {:#x}",
                message.vector, message.mode, message.destination
            )
        });
        let waits = if state.remote_irr { ", waits for the end of its interrupt" } else { "" };
        text.push_str(&format!("IOAPIC pin {pin}: {message}{waits}\n"));
    }
    if pins.iter().all(|pin| pin.masked) {
        text.push_str("IOAPIC: all pins are masked\n");
    }
    Ok(text)
}

/// What can interrupt the guest.
pub(in crate::control) fn sources(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let copy = guest.board_with_copies()?;
    let board = copy.as_ref().unwrap_or(guest.board());
    Ok(board.interrupt_sources().iter().map(|source| format!("{}\n", waking::line(source))).collect())
}

/// The local APICs.
pub(in crate::control) fn local_apics(
    guest: &mut dyn StoppedMachine,
    _: &str,
) -> Result<String, CommandError> {
    let copy = guest.board_with_copies()?;
    let lapics = copy.as_ref().unwrap_or(guest.board()).lapics();
    let (several, selected) = (guest.cpu_count() > 1, guest.selected_cpu().number());
    let line = |cpu: u8| {
        let apic = lapics.apic(cpu);
        let mode = match apic.mode() {
            ApicMode::Disabled => "switched off",
            ApicMode::XApic => "xAPIC",
            ApicMode::X2Apic => "x2APIC",
        };
        let pending = apic.pending_vector().map_or("none".to_owned(), |vector| format!("{vector:#04x}"));
        let timer = if apic.timer_can_interrupt() { "runs" } else { "does not interrupt" };
        let wire = if apic.accepts_pic() { "" } else { ", interrupts of the 8259A are not accepted" };
        let mark = match several {
            true if cpu == selected => "* ",
            true => "  ",
            false => "",
        };
        format!("{mark}CPU {cpu}: {mode}, CR8 {}, pending {pending}, timer {timer}{wire}\n", apic.cr8())
    };
    Ok((0..lapics.count() as u8).map(line).collect())
}

/// The timers.
pub(in crate::control) fn timers(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let copy = guest.board_with_copies()?;
    Ok(copy
        .as_ref()
        .unwrap_or(guest.board())
        .describe_timers()
        .iter()
        .map(|line| format!("{line}\n"))
        .collect())
}

/// Presses the power button.
pub(in crate::control) fn power_button(
    guest: &mut dyn StoppedMachine,
    _: &str,
) -> Result<String, CommandError> {
    guest.inputs().push(Input::PowerButton);
    Ok("the power button is pressed\n".to_owned())
}

/// Injects an NMI into the selected CPU.
pub(in crate::control) fn nmi(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let cpu = guest.selected_cpu();
    guest.inputs().push(Input::Nmi { cpu: cpu.number() });
    Ok(match guest.cpu_count() {
        1 => "a non-maskable interrupt is requested\n".to_owned(),
        _ => format!("a non-maskable interrupt of {cpu} is requested\n"),
    })
}
