//! Answers to the questions that the protocol library is not asked.

use super::arch::Register;
use super::packets::{Meant, Question, add_binary, add_hex, from_binary, from_hex, register_value};
use super::target::{BAD_ADDRESS, INVALID, PACKET};
use crate::supervisor::debuggee::Debuggee;

/// Flags of a step: there is one, no interrupts, no timers.
const STEP: u64 = 1;
const NO_IRQ: u64 = 2;
const NO_TIMER: u64 = 4;

/// Adds the answer to `question` to the body of a packet in `out`.
pub(crate) fn answer(debuggee: &mut Debuggee<'_>, question: &Question<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let (view, switches, threads) =
        (&mut debuggee.view, &mut debuggee.session.switches, &mut debuggee.threads);
    let answered = match *question {
        // LLDB asks this way whether it can read memory in binary, and wants no letter before it.
        Question::Read { length: 0, binary: true, .. } => {
            view.bare = true;
            text(out, "OK")
        }
        Question::Read { address, length, binary } => read(debuggee, address, length, binary, out),
        Question::Write { address, length, data, binary } => {
            write(debuggee, address, length, if binary { from_binary(data) } else { from_hex(data) }, out)
        }
        Question::ReadRegisters => read_registers(debuggee, out),
        Question::WriteRegisters(digits) => write_registers(debuggee, digits, out),
        Question::ReadRegister(number) => read_register(debuggee, number, out),
        Question::WriteRegister(number, digits) => write_register(debuggee, number, digits, out),
        Question::LookAt(meant) => known(threads.look_at(meant), out),
        Question::Choose(meant) => known(threads.choose(meant), out),
        Question::IsThread(meant) => {
            known(matches!(meant, Meant::One(_)) && threads.one(meant).is_some(), out)
        }
        Question::Thread => text(out, &format!("QC{}", threads.id(threads.looked_at()))),
        Question::ThreadInfo(meant) => thread_info(debuggee, meant, out),
        Question::Threads { offset, length } => thread_list(debuggee, offset, length, out),
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
        Question::Impossible => Err(INVALID),
        // As everything that a stub does not know.
        Question::Malformed => Ok(()),
    };
    if let Err(errno) = answered {
        out.truncate(start);
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

/// Whether there is the thread that was named.
fn known(known: bool, out: &mut Vec<u8>) -> Answered {
    if known { text(out, "OK") } else { Err(INVALID) }
}

fn thread_info(debuggee: &mut Debuggee<'_>, meant: Meant, out: &mut Vec<u8>) -> Answered {
    let vcpu = debuggee.threads.one(meant).ok_or(INVALID)?;
    let state = debuggee.state(vcpu).map_err(|_| INVALID)?;
    add_hex(out, format!("{vcpu}: {state}").as_bytes());
    Ok(())
}

/// A document is sent in parts, the last of which begins with an `l`.
fn thread_list(debuggee: &mut Debuggee<'_>, offset: u64, length: u64, out: &mut Vec<u8>) -> Answered {
    let document = debuggee.list().map_err(|_| INVALID)?;
    let start = usize::try_from(offset).ok().filter(|start| *start <= document.len()).ok_or(INVALID)?;
    // Each byte may take two in the answer.
    let count = usize::try_from(length).unwrap_or(usize::MAX).min(PACKET / 2).min(document.len() - start);
    let end = start + count;
    out.push(if end == document.len() { b'l' } else { b'm' });
    add_binary(out, &document.as_bytes()[start..end], usize::MAX);
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

fn write(
    debuggee: &mut Debuggee<'_>,
    address: u64,
    length: u64,
    bytes: Option<Vec<u8>>,
    out: &mut Vec<u8>,
) -> Answered {
    let bytes = bytes.filter(|bytes| bytes.len() as u64 == length).ok_or(INVALID)?;
    if !debuggee.write_memory(address, &bytes).map_err(|_| INVALID)? {
        return Err(BAD_ADDRESS);
    }
    text(out, "OK")
}

fn read_registers(debuggee: &mut Debuggee<'_>, out: &mut Vec<u8>) -> Answered {
    let (view, vcpu) = (&mut debuggee.view, debuggee.threads.looked_at());
    for number in 0..view.layout.registers().len() {
        let register = view.layout.register(number).ok_or(INVALID)?;
        let (bytes, count) = view.register(debuggee.machine, vcpu, register).map_err(|_| INVALID)?;
        add_hex(out, &bytes[..count]);
    }
    Ok(())
}

/// Only what differs is written: gdb sends all registers back to change one.
fn write_registers(debuggee: &mut Debuggee<'_>, digits: &[u8], out: &mut Vec<u8>) -> Answered {
    let wanted = from_hex(digits).ok_or(INVALID)?;
    let (view, vcpu) = (&mut debuggee.view, debuggee.threads.looked_at());
    let (mut rest, mut changed) = (wanted.as_slice(), Vec::new());
    for number in 0..view.layout.registers().len() {
        let register = view.layout.register(number).ok_or(INVALID)?;
        let (bytes, count) = view.register(debuggee.machine, vcpu, register).map_err(|_| INVALID)?;
        let (bytes_wanted, after) = rest.split_at_checked(count).ok_or(INVALID)?;
        if bytes_wanted != &bytes[..count] {
            changed.push((register, register_value(bytes_wanted).ok_or(INVALID)?));
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(INVALID);
    }
    give(debuggee, &changed, out)
}

fn read_register(debuggee: &mut Debuggee<'_>, number: u64, out: &mut Vec<u8>) -> Answered {
    let (view, vcpu) = (&mut debuggee.view, debuggee.threads.looked_at());
    let number = usize::try_from(number).map_err(|_| INVALID)?;
    let register = view.layout.register(number).ok_or(INVALID)?;
    let (bytes, count) = view.register(debuggee.machine, vcpu, register).map_err(|_| INVALID)?;
    add_hex(out, &bytes[..count]);
    Ok(())
}

fn write_register(debuggee: &mut Debuggee<'_>, number: u64, digits: &[u8], out: &mut Vec<u8>) -> Answered {
    let number = usize::try_from(number).map_err(|_| INVALID)?;
    let register = debuggee.view.layout.register(number).ok_or(INVALID)?;
    let value = from_hex(digits).and_then(|bytes| register_value(&bytes)).ok_or(INVALID)?;
    give(debuggee, &[(register, value)], out)
}

fn give(debuggee: &mut Debuggee<'_>, values: &[(Register, u128)], out: &mut Vec<u8>) -> Answered {
    match debuggee.write_register_values(values) {
        Ok(()) => text(out, "OK"),
        // gdb shows what follows the dot to its user.
        Err(reason) => text(out, &format!("E.{}", reason.replace(['#', '$', '}', '*'], "?"))),
    }
}
