//! Answers to the questions that the protocol library is not asked.

use super::debuggee::Debuggee;
use super::packets::{Question, add_binary, add_hex, register_value};
use super::target::{BAD_ADDRESS, INVALID, PACKET};
use super::view::StepFlags;

/// Flags of a step: there is one, no interrupts, no timers.
const STEP: u64 = 1;
const NO_IRQ: u64 = 2;
const NO_TIMER: u64 = 4;

/// Adds the answer to `question` to the body of a packet in `out`.
pub(super) fn answer(debuggee: &mut Debuggee<'_>, question: &Question<'_>, out: &mut Vec<u8>) {
    let answered = match *question {
        // LLDB asks this way whether it can read memory in binary, and wants no letter before it.
        Question::Read { length: 0, binary: true, .. } => {
            debuggee.view.bare = true;
            Ok(ok(out))
        }
        Question::Read { address, length, binary } => read(debuggee, address, length, binary, out),
        Question::ReadRegister(number) => read_register(debuggee, number, out),
        Question::WriteRegister(number, digits) => write_register(debuggee, number, digits, out),
        Question::Extensions => Ok(out.extend(b"sstepbits;sstep;PhyMemMode")),
        Question::Physical => Ok(out.push(b'0' + u8::from(debuggee.view.physical))),
        Question::SetPhysical(on) => {
            debuggee.view.physical = on;
            Ok(ok(out))
        }
        Question::StepFlagNames => Ok(out.extend(b"ENABLE=1,NOIRQ=2,NOTIMER=4")),
        Question::StepFlags => {
            let StepFlags { no_irq, no_timer } = debuggee.view.step_flags;
            let on = |flag, set| if set { flag } else { 0 };
            let flags = STEP | on(NO_IRQ, no_irq) | on(NO_TIMER, no_timer);
            Ok(out.extend([b'0', b'x', b'0' + flags as u8]))
        }
        Question::SetStepFlags(flags) => set_step_flags(debuggee, flags, out),
    };
    if let Err(errno) = answered {
        out.push(b'E');
        add_hex(out, &[errno]);
    }
}

/// An answer, or an `errno` value.
type Answered = Result<(), u8>;

fn ok(out: &mut Vec<u8>) {
    out.extend(b"OK");
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
        Ok(()) => ok(out),
        // gdb shows what follows the dot to its user.
        Err(reason) => {
            out.extend(b"E.");
            out.extend(reason.bytes().filter(|byte| !matches!(byte, b'#' | b'$' | b'}' | b'*')));
        }
    }
    Ok(())
}

fn set_step_flags(debuggee: &mut Debuggee<'_>, flags: u64, out: &mut Vec<u8>) -> Answered {
    if flags & !(STEP | NO_IRQ | NO_TIMER) != 0 || flags & STEP == 0 {
        return Err(INVALID);
    }
    debuggee.view.step_flags = StepFlags { no_irq: flags & NO_IRQ != 0, no_timer: flags & NO_TIMER != 0 };
    ok(out);
    Ok(())
}
