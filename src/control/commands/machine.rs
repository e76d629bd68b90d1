//! Commands for the machine as a whole, and for how it is debugged.

use super::super::CommandError;
use super::super::table::wrong;
use crate::supervisor::session::Switches;
use crate::supervisor::stopped_machine::StoppedMachine;

/// Old tools read this text: it stays as it is.
pub(in crate::control) fn regs(guest: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    let mut text = "Privileged Registers (Custom command):\n".to_owned();
    for (name, value) in guest.registers()?.control() {
        text.push_str(&format!("{name} {value:#018x}\n"));
    }
    Ok(text)
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
    let on = switch(guest, "catch int3", arguments, |switches| &mut switches.catch_int3)?;
    Ok(match on {
        true => "the guest's own int3 stops it; going on hands it to the guest's handler\n",
        false => "the guest's own int3 goes to its own handler\n",
    }
    .to_owned())
}

pub(in crate::control) fn step_irq(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let on = switch(guest, "step-irq", arguments, |switches| &mut switches.step_interrupts)?;
    Ok(match on {
        true => "interrupts come in while the guest is stepped\n",
        false => "interrupts wait while the guest is stepped\n",
    }
    .to_owned())
}

pub(in crate::control) fn phys(
    guest: &mut dyn StoppedMachine,
    arguments: &str,
) -> Result<String, CommandError> {
    let on = switch(guest, "phys", arguments, |switches| &mut switches.physical)?;
    Ok(match on {
        true => "addresses are guest-physical now; `phys off` takes that back\n",
        false => "addresses are the guest's virtual ones\n",
    }
    .to_owned())
}

/// Sets a switch to what `arguments` say, or leaves it if they say nothing; how it stands then.
fn switch(
    guest: &mut dyn StoppedMachine,
    name: &str,
    arguments: &str,
    which: fn(&mut Switches) -> &mut bool,
) -> Result<bool, CommandError> {
    let switch = which(&mut guest.session().switches);
    match arguments {
        "on" => *switch = true,
        "off" => *switch = false,
        "" => {}
        other => return Err(wrong(name, format!("`{other}` is neither on nor off"))),
    }
    Ok(*switch)
}
