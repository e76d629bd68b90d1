//! Answers to the questions that the protocol library is not asked.

use super::debuggee::Debuggee;
use super::packets::{Question, add_binary, add_hex, register_value};
use super::target::{BAD_ADDRESS, INVALID, PACKET};

/// Flags of a step: there is one, no interrupts, no timers.
const STEP: u64 = 1;
const NO_IRQ: u64 = 2;
const NO_TIMER: u64 = 4;

/// Adds the answer to `question` to the body of a packet in `out`.
pub(super) fn answer(debuggee: &mut Debuggee<'_>, question: &Question<'_>, out: &mut Vec<u8>) {
    let (view, switches) = (&mut debuggee.view, &mut debuggee.session.switches);
    let answered = match *question {
        // LLDB asks this way whether it can read memory in binary, and wants no letter before it.
        Question::Read { length: 0, binary: true, .. } => {
            view.bare = true;
            text(out, "OK")
        }
        Question::Read { address, length, binary } => read(debuggee, address, length, binary, out),
        Question::ReadRegister(number) => read_register(debuggee, number, out),
        Question::WriteRegister(number, digits) => write_register(debuggee, number, digits, out),
        Question::Thread => {
            let state = if debuggee.machine.is_halted() { "halted" } else { "running" };
            add_hex(out, format!("CPU#0 [{state}]").as_bytes());
            Ok(())
        }
        Question::Extensions => text(out, "sstepbits;sstep;PhyMemMode"),
        Question::Physical => text(out, if switches.physical { "1" } else { "0" }),
        Question::SetPhysical(on) => {
            switches.physical = on;
            text(out, "OK")
        }
        Question::StepFlagNames => text(out, "ENABLE=1,NOIRQ=2,NOTIMER=4"),
        Question::StepFlags => {
            let on = |flag, set| if set { flag } else { 0 };
            let no_irq = on(NO_IRQ, !switches.step_interrupts);
            text(out, &format!("{:#x}", STEP | no_irq | on(NO_TIMER, view.no_timer)))
        }
        Question::SetStepFlags(flags) if flags & !(STEP | NO_IRQ | NO_TIMER) != 0 || flags & STEP == 0 => {
            Err(INVALID)
        }
        Question::SetStepFlags(flags) => {
            switches.step_interrupts = flags & NO_IRQ == 0;
            view.no_timer = flags & NO_TIMER != 0;
            text(out, "OK")
        }
    };
    if let Err(errno) = answered {
        out.push(b'E');
        add_hex(out, &[errno]);
    }
}

/// An answer, or an `errno` value.
type Answered = Result<(), u8>;

fn text(out: &mut Vec<u8>, text: &str) -> Answered {
    out.extend(text.as_bytes());
    Ok(())
}

fn read(debuggee: &mut Debuggee<'_>, address: u64, length: u64, binary: bool, out: &mut Vec<u8>) -> Answered {
    let most = if binary { PACKET } else { PACKET / 2 };
    // No answer to more fits in a packet.
    let length = usize::try_from(length).ok().filter(|length| *length <= most).ok_or(INVALID)?;
    let mut bytes = vec![0; length];
    let count = debuggee.read_memory(address, &mut bytes).map_err(|_| INVALID)?;
    if count == 0 && length > 0 {
        return Err(BAD_ADDRESS);
    }
    if binary {
        if !debuggee.view.bare {
            out.push(b'b');
        }
        let most = out.len() + PACKET - 8;
        add_binary(out, &bytes[..count], most);
    } else {
        add_hex(out, &bytes[..count]);
    }
    Ok(())
}

fn read_register(debuggee: &mut Debuggee<'_>, number: u64, out: &mut Vec<u8>) -> Answered {
    let view = &mut debuggee.view;
    let number = usize::try_from(number).map_err(|_| INVALID)?;
    let register = view.layout.register(number).ok_or(INVALID)?;
    let (bytes, count) = view.register(debuggee.machine, register).map_err(|_| INVALID)?;
    add_hex(out, &bytes[..count]);
    Ok(())
}

fn write_register(debuggee: &mut Debuggee<'_>, number: u64, digits: &[u8], out: &mut Vec<u8>) -> Answered {
    let number = usize::try_from(number).map_err(|_| INVALID)?;
    let register = debuggee.view.layout.register(number).ok_or(INVALID)?;
    let value = register_value(digits).ok_or(INVALID)?;
    match debuggee.write_register_values(&[(register, value)]) {
        Ok(()) => text(out, "OK"),
        // gdb shows what follows the dot to its user.
        Err(reason) => text(out, &format!("E.{}", reason.replace(['#', '$', '}', '*'], "?"))),
    }
}
