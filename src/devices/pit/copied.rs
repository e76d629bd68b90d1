//! A copy of KVM's 8254, to be looked at.

use super::{CONTROL_PORT, FIRST_PORT, Pit, pulses};
use crate::devices::{Device, MachineTime};
use crate::kvm::PitRegisters;

/// KVM's mode of a counter that was never programmed.
const NEVER: u8 = 0xFF;
/// Control word: both bytes of the count follow.
const BOTH_BYTES: u8 = 0x30;

impl Pit {
    /// The timer with these registers: its counters are programmed and have counted as long as those of KVM.
    pub fn copy_of(registers: &PitRegisters) -> Pit {
        let mut copy = Pit::default();
        for (number, counter) in (0u8..).zip(&registers.counters) {
            if counter.mode == NEVER || registers.replaced && number == 0 {
                continue;
            }
            let control = number << 6 | BOTH_BYTES | (counter.mode & 7) << 1 | counter.bcd & 1;
            let _ = copy.write(CONTROL_PORT, control);
            for byte in (counter.count as u16).to_le_bytes() {
                let _ = copy.write(FIRST_PORT + u16::from(number), byte);
            }
            let elapsed = pulses(MachineTime::from_nanos(u64::try_from(counter.since_load).unwrap_or(0)));
            copy.counters[usize::from(number)].counting.clock(elapsed);
        }
        copy.speaker = registers.speaker;
        copy
    }
}
