//! Making memory zero without having the host give pages for it.

use super::{GuestMemory, MemoryError, PAGE};

impl GuestMemory {
    /// Makes `length` bytes from `start` zero. Pages that are zero already are only read.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`]; nothing is written then.
    pub fn zero(&self, start: u64, length: u64) -> Result<(), MemoryError> {
        if !self.is_ram(start, length) {
            return Err(MemoryError::NotRam { start, length });
        }
        let mut found = [0; PAGE as usize];
        let mut at = start;
        while at < start + length {
            let piece = (PAGE - at % PAGE).min(start + length - at);
            let found = &mut found[..piece as usize];
            self.read(at, found)?;
            if found.iter().any(|byte| *byte != 0) {
                found.fill(0);
                self.write(at, found)?;
            }
            at += piece;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_bytes_asked_for_become_zero() {
        let memory = GuestMemory::new(1 << 20).unwrap();
        memory.write(0, &[7; 3 * PAGE as usize]).unwrap();
        memory.zero(PAGE - 1, PAGE + 2).unwrap();
        let mut found = [0; 3 * PAGE as usize];
        memory.read(0, &mut found).unwrap();
        let zeros: Vec<usize> = (0..found.len()).filter(|at| found[*at] == 0).collect();
        assert_eq!(zeros, (PAGE as usize - 1..2 * PAGE as usize + 1).collect::<Vec<_>>());
        assert!(memory.zero(1 << 20, 1).is_err());
    }
}
