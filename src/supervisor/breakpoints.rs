//! Breakpoints: where they are, and which of them get a debug register. `technique` has the rules.

use std::collections::BTreeSet;

/// Software breakpoints a client may set. Each costs a walk through the guest's page tables whenever
/// the guest goes on.
const MOST_SOFTWARE: usize = 1 << 14;

/// All breakpoints, at linear addresses.
#[derive(Debug, Default)]
pub(crate) struct Breakpoints {
    software: BTreeSet<u64>,
    hardware: [Option<u64>; 4],
}

impl Breakpoints {
    /// Sets a software breakpoint; false if there are too many.
    pub(crate) fn add_software(&mut self, address: u64) -> bool {
        let fits = self.software.len() < MOST_SOFTWARE || self.is_software(address);
        if fits {
            self.software.insert(address);
        }
        fits
    }

    /// Takes a software breakpoint away; false if there was none.
    pub(crate) fn remove_software(&mut self, address: u64) -> bool {
        self.software.remove(&address)
    }

    /// Sets a hardware breakpoint; false if all four are in use.
    pub(crate) fn add_hardware(&mut self, address: u64) -> bool {
        if self.is_hardware(address) {
            return true;
        }
        let free = self.hardware.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(address)).is_some()
    }

    /// Takes a hardware breakpoint away; false if there was none.
    pub(crate) fn remove_hardware(&mut self, address: u64) -> bool {
        let slot = self.hardware.iter_mut().find(|slot| **slot == Some(address));
        slot.map(|slot| *slot = None).is_some()
    }

    /// True if there is a software breakpoint at `address`.
    pub(crate) fn is_software(&self, address: u64) -> bool {
        self.software.contains(&address)
    }

    /// True if there is a hardware breakpoint at `address`.
    pub(crate) fn is_hardware(&self, address: u64) -> bool {
        self.hardware.contains(&Some(address))
    }

    /// True if the debug register `number` (0 to 3) holds one.
    pub(crate) fn uses_register(&self, number: usize) -> bool {
        self.hardware.get(number).is_some_and(Option::is_some)
    }

    /// The addresses of all software breakpoints.
    pub(crate) fn software(&self) -> impl Iterator<Item = u64> + '_ {
        self.software.iter().copied()
    }

    /// Takes all breakpoints away.
    pub(crate) fn clear(&mut self) {
        self.software.clear();
        self.hardware = [None; 4];
    }

    /// What breakpoint each debug register is for; with `lend`, those that neither a hardware breakpoint
    /// nor a watchpoint (`watching`) needs are for software breakpoints, and for the addresses `others`.
    pub(crate) fn registers(
        &self,
        lend: bool,
        watching: [bool; 4],
        others: impl Iterator<Item = u64>,
    ) -> [Option<u64>; 4] {
        let mut registers = self.hardware;
        if !lend {
            return registers;
        }
        for address in self.software().chain(others) {
            if registers.contains(&Some(address)) {
                continue;
            }
            let mut free =
                registers.iter_mut().zip(watching).filter(|(used, watches)| used.is_none() && !watches);
            let Some((register, _)) = free.next() else { break };
            *register = Some(address);
        }
        registers
    }

    /// Hardware breakpoints in use.
    pub(crate) fn hardware_in_use(&self) -> usize {
        self.hardware.iter().flatten().count()
    }
}

#[cfg(test)]
#[path = "breakpoints_test.rs"]
mod tests;
