//! Commands for the machine as a whole, and for how it is debugged.

use super::super::command::{invalid, no_more, only_json, shown, split_json, to_json};
use super::super::error::CommandError;
use super::values::number;
use crate::devices::table::TABLE;
use crate::inspect::device_view;
use crate::machine::CpuId;
use crate::supervisor::session::Switches;
use crate::supervisor::stopped_machine::StoppedMachine;

/// The text is an interface: existing tools parse it.
pub(in crate::control) fn regs(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let mut text = heading(guest);
    text.push_str("Privileged Registers (Custom command):\n");
    for (name, value) in guest.registers()?.control() {
        text.push_str(&format!("{name} {value:#018x}\n"));
    }
    Ok(text)
}

/// A line with the selected CPU, whose registers follow; empty if the machine has only one.
pub(super) fn heading(guest: &dyn StoppedMachine) -> String {
    match guest.cpu_count() {
        1 => String::new(),
        _ => format!("{}:\n", guest.selected_cpu()),
    }
}

/// Selects the CPU that further commands are about.
pub(in crate::control) fn select_cpu(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    if arguments.is_empty() {
        return Ok(format!("{}\n", guest.selected_cpu()));
    }
    let (number, rest) = number(guest, arguments)?;
    no_more(rest)?;
    let selected = u8::try_from(number).is_ok_and(|number| guest.select_cpu(CpuId::new(number)));
    match (selected, guest.cpu_count()) {
        (true, _) => Ok(format!("commands are about CPU {number} now\n")),
        (false, 1) => Err(invalid(format!("there is no CPU {number}; the machine has only CPU 0"))),
        (false, count) => {
            Err(invalid(format!("there is no CPU {number}; the machine has CPU 0 to {}", count - 1)))
        }
    }
}

/// The devices of the machine.
pub(in crate::control) fn devices(_: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let mut text = String::new();
    for device in TABLE {
        text.push_str(&format!("{} {}\n", device.kind, device.number));
        for ports in device.ports {
            let (first, last) = (ports.start(), ports.end());
            text.push_str(&match first == last {
                true => format!("    port {first:#06x}\n"),
                false => format!("    ports {first:#06x}-{last:#06x}\n"),
            });
        }
        if let Some(range) = &device.mmio {
            text.push_str(&format!("    memory {:#x}..{:#x}\n", range.start, range.end));
        }
        if let Some(line) = device.interrupt {
            text.push_str(&format!("    interrupt {line}\n"));
        }
    }
    Ok(text)
}

/// The devices with a line about each.
pub(in crate::control) fn summaries(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let json = only_json(arguments)?;
    let copy = guest.board_with_copies()?;
    let all = device_view::devices(copy.as_ref().unwrap_or(guest.board()));
    match json {
        true => Ok(to_json(&all)),
        false => Ok(all.iter().map(|device| format!("{}\n", device.summary())).collect()),
    }
}

/// The registers of a device in words, and its state.
pub(in crate::control) fn device(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let (json, arguments) = split_json(arguments);
    if arguments.is_empty() {
        return Err(invalid("a device is missing; `devices` lists them"));
    }
    let copy = guest.board_with_copies()?;
    let found = device_view::device(copy.as_ref().unwrap_or(guest.board()), arguments);
    let found = found.ok_or_else(|| {
        invalid(format!("`{}` is no device; `devices` lists them", arguments.escape_debug()))
    })?;
    Ok(shown(&found, json))
}

/// The processors of the machine.
pub(in crate::control) fn cpus(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(guest.cpus().iter().map(|line| format!("{line}\n")).collect())
}

pub(in crate::control) fn facilities(
    guest: &mut dyn StoppedMachine,
    _: &str,
) -> Result<String, CommandError> {
    let facilities = guest.facilities();
    let lines = facilities
        .iter()
        .map(|facility| format!("{}: {}\n    {}\n", facility.name, facility.technique, facility.reason));
    Ok(lines.collect())
}

pub(in crate::control) fn catch_int3(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let on = switch(guest, arguments, |switches| &mut switches.catch_int3)?;
    if on {
        guest.take_console_control();
    }
    Ok(match on {
        true => "the guest's own int3 stops it; on resume its handler is called\n",
        false => "the guest's own int3 calls its handler\n",
    }
    .to_owned())
}

pub(in crate::control) fn step_irq(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let on = switch(guest, arguments, |switches| &mut switches.step_interrupts)?;
    Ok(match on {
        true => "interrupts are delivered while single-stepping\n",
        false => "interrupts are held back while single-stepping\n",
    }
    .to_owned())
}

pub(in crate::control) fn phys(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let on = switch(guest, arguments, |switches| &mut switches.physical)?;
    Ok(match on {
        true => "addresses are guest-physical; `phys off` makes them virtual\n",
        false => "addresses are virtual\n",
    }
    .to_owned())
}

/// Sets a switch as `arguments` say; without arguments it is unchanged. Returns its value.
fn switch(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
    which: fn(&mut Switches) -> &mut bool,
) -> Result<bool, CommandError> {
    let switch = which(&mut guest.session().switches);
    match arguments {
        "on" => *switch = true,
        "off" => *switch = false,
        "" => {}
        other => return Err(invalid(format!("`{other}` is neither on nor off"))),
    }
    Ok(*switch)
}
