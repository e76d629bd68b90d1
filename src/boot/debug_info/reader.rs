//! Reads DWARF within a budget, so that a malformed file costs neither endless time nor memory.
//!
//! In DWARF a few bytes can refer to the same list again and again. Each primitive read costs one unit of the
//! budget; without any left, reads fail. What is kept in memory has been read, so memory is bounded, too.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use gimli::{EndianRcSlice, Error, LittleEndian, Reader, ReaderOffsetId, Result};

/// Bytes that may be searched or converted for one unit.
const BYTES_PER_UNIT: usize = 16;

/// Primitive reads that are left.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// Allows `reads` reads from now on.
    pub fn refill(&self, reads: u64) {
        self.left.set(reads);
    }

    fn spend(&self, bytes: usize) -> Result<()> {
        let left = self.left.get().checked_sub(1 + (bytes / BYTES_PER_UNIT) as u64);
        self.left.set(left.unwrap_or(0));
        // As if the section ended here.
        left.map(|_| ()).ok_or(Error::UnexpectedEof(ReaderOffsetId(0)))
    }
}

/// The bytes of a section, or a part of them.
#[derive(Clone, Debug)]
pub(super) struct BoundedReader {
    bytes: EndianRcSlice<LittleEndian>,
    budget: Rc<Budget>,
}

impl BoundedReader {
    /// Reads `bytes` at the cost of `budget`.
    pub fn new(bytes: Vec<u8>, budget: &Rc<Budget>) -> BoundedReader {
        BoundedReader { bytes: EndianRcSlice::new(bytes.into(), LittleEndian), budget: Rc::clone(budget) }
    }
}

impl Reader for BoundedReader {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        self.bytes.endian()
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn empty(&mut self) {
        self.bytes.empty();
    }

    fn truncate(&mut self, length: usize) -> Result<()> {
        self.bytes.truncate(length)
    }

    fn offset_from(&self, base: &BoundedReader) -> usize {
        self.bytes.offset_from(&base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = self.bytes.find(byte);
        self.budget.spend(found.as_ref().map_or_else(|_| self.bytes.len(), |found| *found))?;
        found
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        self.budget.spend(0)?;
        self.bytes.skip(length)
    }

    fn split(&mut self, length: usize) -> Result<BoundedReader> {
        self.budget.spend(0)?;
        Ok(BoundedReader { bytes: self.bytes.split(length)?, budget: Rc::clone(&self.budget) })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.budget.spend(0)?;
        self.bytes.to_slice()
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        self.budget.spend(self.bytes.len())?;
        self.bytes.to_string()
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        self.budget.spend(self.bytes.len())?;
        self.bytes.to_string_lossy()
    }

    fn read_slice(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.budget.spend(buffer.len())?;
        self.bytes.read_slice(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fail_once_the_budget_is_spent() {
        let budget = Rc::new(Budget::default());
        let mut reader = BoundedReader::new(vec![0; 64], &budget);
        assert!(reader.read_u8().is_err());
        budget.refill(2);
        assert_eq!(reader.read_u8(), Ok(0));
        assert!(reader.find(1).is_err(), "the search of all bytes costs more than is left");
        assert!(reader.read_u8().is_err());
        budget.refill(1);
        assert_eq!(reader.read_u32(), Ok(0));
        assert_eq!(reader.len(), 64 - 1 - 4);
    }
}
