//! Breakpoints: where they are, and what software breakpoints replace while the guest runs.
//!
//! A software breakpoint is an `int3` (Intel SDM volume 2A, "INT n/INTO/INT3/INT1") in the guest's
//! code. It is there only while the guest runs: nobody who looks at stopped memory sees it.

use std::collections::BTreeSet;

use crate::host::{GuestDebug, Registers};
use crate::inspect::translate::translate;
use crate::memory::GuestMemory;

/// The opcode of `int3`.
pub(super) const INT3: u8 = 0xCC;

/// Software breakpoints a client may set.
const MOST_SOFTWARE: usize = 1024;

/// A byte of guest memory that an `int3` stands in for.
#[derive(Debug)]
struct Planted {
    address: u64,
    physical: u64,
    original: u8,
}

/// All breakpoints, at virtual addresses.
#[derive(Debug, Default)]
pub(super) struct Breakpoints {
    software: BTreeSet<u64>,
    hardware: [Option<u64>; 4],
    planted: Vec<Planted>,
}

impl Breakpoints {
    /// Sets a software breakpoint; false if there are too many.
    pub(super) fn add_software(&mut self, address: u64) -> bool {
        self.software.len() < MOST_SOFTWARE && {
            self.software.insert(address);
            true
        }
    }

    /// Takes a software breakpoint away; false if there was none.
    pub(super) fn remove_software(&mut self, address: u64) -> bool {
        self.software.remove(&address)
    }

    /// Sets a hardware breakpoint; false if all four are in use.
    pub(super) fn add_hardware(&mut self, address: u64) -> bool {
        if self.is_hardware(address) {
            return true;
        }
        let free = self.hardware.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(address)).is_some()
    }

    /// Takes a hardware breakpoint away; false if there was none.
    pub(super) fn remove_hardware(&mut self, address: u64) -> bool {
        let slot = self.hardware.iter_mut().find(|slot| **slot == Some(address));
        slot.map(|slot| *slot = None).is_some()
    }

    /// True if there is a software breakpoint at `address`.
    pub(super) fn is_software(&self, address: u64) -> bool {
        self.software.contains(&address)
    }

    /// True if there is a hardware breakpoint at `address`.
    pub(super) fn is_hardware(&self, address: u64) -> bool {
        self.hardware.contains(&Some(address))
    }

    /// True if the debug register `number` (0 to 3) holds one.
    pub(super) fn uses_register(&self, number: usize) -> bool {
        self.hardware.get(number).is_some_and(Option::is_some)
    }

    /// Takes all breakpoints away.
    pub(super) fn clear(&mut self) {
        self.software.clear();
        self.hardware = [None; 4];
    }

    /// What the vCPU needs for them, if it is to stop at every `int3` or at none.
    pub(super) fn guest_debug(&self, software_breakpoints: bool) -> GuestDebug {
        GuestDebug { software_breakpoints, hardware_breakpoints: self.hardware, ..GuestDebug::default() }
    }

    /// True if there are software breakpoints.
    pub(super) fn any_software(&self) -> bool {
        !self.software.is_empty()
    }

    /// Hardware breakpoints in use.
    pub(super) fn hardware_in_use(&self) -> usize {
        self.hardware.iter().flatten().count()
    }

    /// The guest is about to run: puts an `int3` at each software breakpoint, and at each of the
    /// addresses `others`, that is mapped.
    pub(super) fn plant(
        &mut self,
        memory: &GuestMemory,
        registers: &Registers,
        others: impl Iterator<Item = u64>,
    ) {
        for address in self.software.iter().copied().chain(others) {
            if self.planted.iter().any(|planted| planted.address == address) {
                continue;
            }
            let Some(physical) = translate(memory, registers, address) else { continue };
            // The same byte may be mapped at two addresses.
            let twin = self.planted.iter().find(|planted| planted.physical == physical);
            let twin = twin.map(|planted| planted.original);
            let mut original = [0];
            if memory.read(physical, &mut original).is_ok() && memory.write(physical, &[INT3]).is_ok() {
                self.planted.push(Planted { address, physical, original: twin.unwrap_or(original[0]) });
            }
        }
    }

    /// Takes the `int3` at `address` out for one step; the byte that is there then, or `None` if
    /// there was none to take out.
    pub(super) fn lift(&mut self, memory: &GuestMemory, address: u64) -> Option<u8> {
        let planted = self.planted.iter().find(|planted| planted.address == address)?;
        memory.write(planted.physical, &[planted.original]).ok()?;
        Some(planted.original)
    }

    /// Puts the `int3` at `address` back after a step, over whatever is there now.
    pub(super) fn put_back(&mut self, memory: &GuestMemory, address: u64) {
        let Some(planted) = self.planted.iter().find(|planted| planted.address == address) else { return };
        let physical = planted.physical;
        let mut byte = [0];
        if memory.read(physical, &mut byte).is_err() || memory.write(physical, &[INT3]).is_err() {
            return;
        }
        for planted in self.planted.iter_mut().filter(|planted| planted.physical == physical) {
            planted.original = byte[0];
        }
    }

    /// The guest has stopped: puts back what was there. What the guest has written over a
    /// breakpoint stays, and so does what a reset has loaded there.
    pub(super) fn unplant(&mut self, memory: &GuestMemory) {
        for Planted { physical, original, .. } in self.planted.drain(..) {
            let mut byte = [0];
            if memory.read(physical, &mut byte).is_ok() && byte[0] == INT3 {
                // Readable memory is writable.
                let _ = memory.write(physical, &[original]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(memory: &GuestMemory, at: u64) -> u8 {
        let mut bytes = [0];
        memory.read(at, &mut bytes).unwrap();
        bytes[0]
    }

    #[test]
    fn the_guest_sees_int3_only_while_it_runs() {
        let (memory, registers) = (GuestMemory::new(1 << 20).unwrap(), Registers::default());
        memory.write(0x1000, &[0x90, 0x91]).unwrap();
        let mut breakpoints = Breakpoints::default();
        assert!(breakpoints.add_software(0x1000));
        assert!(breakpoints.add_software(0x1001));
        breakpoints.plant(&memory, &registers, std::iter::empty());
        assert_eq!(byte(&memory, 0x1000), INT3);
        memory.write(0x1001, &[0x55]).unwrap();
        breakpoints.unplant(&memory);
        assert_eq!(byte(&memory, 0x1000), 0x90);
        assert_eq!(byte(&memory, 0x1001), 0x55, "what the guest wrote itself stays");
    }

    #[test]
    fn a_step_over_a_breakpoint_runs_what_is_there_and_may_change_it() {
        let (memory, registers) = (GuestMemory::new(1 << 20).unwrap(), Registers::default());
        memory.write(0x1000, &[0x90]).unwrap();
        let mut breakpoints = Breakpoints::default();
        breakpoints.plant(&memory, &registers, [0x1000, 0x1000].into_iter());
        assert_eq!(byte(&memory, 0x1000), INT3);
        assert_eq!(breakpoints.lift(&memory, 0x1000), Some(0x90));
        assert_eq!(byte(&memory, 0x1000), 0x90);
        memory.write(0x1000, &[0x55]).unwrap();
        breakpoints.put_back(&memory, 0x1000);
        assert_eq!(byte(&memory, 0x1000), INT3);
        breakpoints.unplant(&memory);
        assert_eq!(byte(&memory, 0x1000), 0x55);
        assert_eq!(breakpoints.lift(&memory, 0x1000), None);
    }

    #[test]
    fn a_breakpoint_outside_of_memory_is_left_alone() {
        let (memory, registers) = (GuestMemory::new(1 << 20).unwrap(), Registers::default());
        let mut breakpoints = Breakpoints::default();
        breakpoints.add_software(1 << 40);
        breakpoints.plant(&memory, &registers, std::iter::empty());
        breakpoints.unplant(&memory);
        assert!(breakpoints.remove_software(1 << 40));
        assert!(!breakpoints.remove_software(1 << 40));
    }

    #[test]
    fn two_mappings_of_one_byte_restore_what_was_there_first() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        for (at, entry) in
            [(0x1000, 0x2003), (0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x6003), (0x4008, 0x6003)]
        {
            memory.write_u64(at, entry).unwrap();
        }
        memory.write(0x6000, &[0x90]).unwrap();
        let mut registers = Registers::default();
        registers.system.cr0 = 1 << 31;
        registers.system.cr3 = 0x1000;
        registers.system.efer = 1 << 10;
        let mut breakpoints = Breakpoints::default();
        breakpoints.add_software(0);
        breakpoints.add_software(0x1000);
        breakpoints.plant(&memory, &registers, std::iter::empty());
        breakpoints.unplant(&memory);
        assert_eq!(byte(&memory, 0x6000), 0x90);
    }

    #[test]
    fn there_are_four_hardware_breakpoints() {
        let mut breakpoints = Breakpoints::default();
        for address in 0..4 {
            assert!(breakpoints.add_hardware(address));
        }
        assert!(breakpoints.add_hardware(3), "it is there already");
        assert!(!breakpoints.add_hardware(4));
        assert!(breakpoints.remove_hardware(1));
        assert!(breakpoints.add_hardware(4));
        assert_eq!(breakpoints.guest_debug(false).hardware_breakpoints, [Some(0), Some(4), Some(2), Some(3)]);
    }
}
