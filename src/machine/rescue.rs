//! Exceptions that the guest's first IDT has taken, because the guest has not loaded its own (`boot/rescue_idt.rs`).
//!
//! A processor that halts in the code of its gates is put back to where the exception was raised, and the run ends as
//! it does without an IDT: with a triple fault, of which the exception is known.
//!
//! Manual: Intel SDM volume 3A, "64-Bit Mode Stack Frame".

use serde::{Deserialize, Serialize};

use super::cpu::{CpuId, RunState};
use super::flight_recorder::Occurrence;
use super::{Event, Machine, Outcome};
use crate::arch::descriptor::{self, Descriptor, Table};
use crate::arch::flags::{RFLAGS_RF, RFLAGS_TF};
use crate::arch::paging::Paging;
use crate::arch::{Registers, SegmentRegister};
use crate::boot;
use crate::kvm::HostError;

/// Vector of the non-maskable interrupt.
const NMI: u8 = 2;
/// The processor aligns the stack to this before it pushes the frame, which is 40 bytes, or 48 with an error code.
const ALIGNMENT: u64 = 16;

/// An exception or interrupt that the guest's first IDT has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescuedException {
    /// The vector, 0 to 31.
    pub vector: u8,
    /// The error code; `None` if none was pushed, as for a software interrupt.
    pub error_code: Option<u32>,
}

/// What an exception pushes in 64-bit mode.
struct Frame {
    error_code: Option<u64>,
    rip: u64,
    cs: u16,
    rflags: u64,
    rsp: u64,
    ss: u16,
}

impl Machine {
    /// The end of the run, if a CPU is in the code of the first IDT's gates; its registers are then those at the exception.
    pub(super) fn rescue(&mut self, cpu: CpuId, registers: &Registers) -> Result<Option<Outcome>, HostError> {
        if !boot::may_be_rescue_code(registers.general.rip) {
            return Ok(None);
        }
        let vector = self.next_code_at(registers).and_then(|at| boot::rescued_vector(&self.memory, at));
        let Some(vector) = vector else { return Ok(None) };
        let Some(frame) = self.frame(registers) else { return Ok(None) };
        let error_code = frame.error_code.map(|code| code as u32);
        let mut restored = *registers;
        self.leave_handler(&mut restored, &frame);
        if error_code.is_none() {
            restored.general.rip -= self.length_of_software_interrupt(&restored, vector);
        }
        if self.cpus[cpu].guest_debug().single_step {
            // Hosts differ in whether the frame shows the debugger's.
            restored.general.rflags &= !RFLAGS_TF;
        }
        let (event, rip) = (self.journal.events(), restored.general.rip);
        // The `hlt` in the gate's code is not the guest's.
        let what = Occurrence::WithoutIdt { vector, error_code, rip };
        self.recorder.record_in_place_of_halt(event, cpu, what);
        let cpu = &mut self.cpus[cpu];
        if vector == NMI {
            // The processor blocks further ones until `iret`.
            cpu.vcpu.clear_events()?;
        }
        cpu.vcpu.set_registers(&restored)?;
        cpu.run_state = RunState::Running;
        if cpu.vcpu.has_kernel_lapic() {
            cpu.vcpu.set_halted(false)?;
        }
        Ok(Some(Outcome::TripleFault(Some(RescuedException { vector, error_code }))))
    }

    /// As [`Self::rescue`], for a CPU that a debugger has stopped at `rip`.
    pub(super) fn rescue_at(&mut self, cpu: CpuId, rip: u64) -> Result<Option<Event>, HostError> {
        if !boot::may_be_rescue_code(rip) {
            return Ok(None);
        }
        let registers = self.cpus[cpu].registers()?;
        Ok(self.rescue(cpu, &registers)?.map(Event::End))
    }

    /// Puts registers back that a triple fault has reset.
    pub(crate) fn put_back(&mut self, cpu: CpuId, registers: &Registers) -> Result<(), HostError> {
        self.cpus[cpu].vcpu.set_registers(registers)
    }

    /// The frame on the stack; `None` if it is not in memory.
    fn frame(&self, registers: &Registers) -> Option<Frame> {
        let rsp = registers.general.rsp;
        let has_code = rsp.is_multiple_of(ALIGNMENT);
        let word = |index: u64| self.read_word_at(registers, rsp.wrapping_add(8 * index));
        let start = u64::from(has_code);
        Some(Frame {
            error_code: if has_code { Some(word(0)?) } else { None },
            rip: word(start)?,
            cs: word(start + 1)? as u16,
            rflags: word(start + 2)?,
            rsp: word(start + 3)?,
            ss: word(start + 4)? as u16,
        })
    }

    /// Does what `iretq` does, without a change of anything that `frame` does not hold.
    fn leave_handler(&self, registers: &mut Registers, frame: &Frame) {
        registers.general.rip = frame.rip;
        registers.general.rsp = frame.rsp;
        // Set in the frame only, so that the handler can return to the instruction.
        registers.general.rflags = frame.rflags & !RFLAGS_RF;
        for (selector, is_code) in [(frame.cs, true), (frame.ss, false)] {
            let system = &registers.system;
            let current = if is_code { system.cs } else { system.ss };
            if current.selector != selector {
                let segment = self.segment(registers, selector);
                let system = &mut registers.system;
                *(if is_code { &mut system.cs } else { &mut system.ss }) = segment;
            }
        }
    }

    /// The segment that `selector` names, which was loaded before the exception.
    fn segment(&self, registers: &Registers, selector: u16) -> SegmentRegister {
        let unusable =
            SegmentRegister { selector, unusable: 1, dpl: descriptor::rpl(selector), ..Default::default() };
        if descriptor::is_null(selector) {
            return unusable;
        }
        let address = Table::of(&registers.system, selector).and_then(|table| table.address_of(selector));
        let loaded = address.and_then(|address| {
            let value = self.read_word_at(registers, address)?;
            Some(Descriptor { value, address }.loaded(selector))
        });
        loaded.unwrap_or(unusable)
    }

    /// Length of the instruction before RIP if it is the software interrupt that has entered the gate of `vector`, else 0.
    /// Without a gate it would not have been executed.
    fn length_of_software_interrupt(&self, registers: &Registers, vector: u8) -> u64 {
        const INT_N: u8 = 0xCD;
        const INT3: u8 = 0xCC;
        let before = |distance| self.read_byte_at(registers, registers.general.rip.wrapping_sub(distance));
        match (vector, before(2), before(1)) {
            (_, Some(INT_N), Some(number)) if number == vector => 2,
            (3, _, Some(INT3)) => 1,
            _ => 0,
        }
    }

    fn read_word_at(&self, registers: &Registers, address: u64) -> Option<u64> {
        let at = Paging::new(registers, Paging::WIDEST).find(&*self.memory, address).ok()?;
        self.memory.read_u64(at.physical).ok()
    }

    fn read_byte_at(&self, registers: &Registers, address: u64) -> Option<u8> {
        let at = Paging::new(registers, Paging::WIDEST).find(&*self.memory, address).ok()?;
        self.memory.read_word(at.physical, 1).ok().map(|byte| byte as u8)
    }
}
