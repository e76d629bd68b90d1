//! `info auxv`, for plug-ins that ask for the size of a page: a guest has no auxiliary vector of its own.
//!
//! Manual: "auxiliary vector read" in "General Query Packets" of *Debugging with gdb*.

use super::Answered;
use crate::arch::PAGE_SIZE;
use crate::gdb::packet::add_binary;
use crate::gdb::target::INVALID;

/// `AT_PAGESZ`.
const PAGE_SIZE_ENTRY: u64 = 6;
/// `AT_NULL`, which ends the vector.
const END: u64 = 0;

/// A vector that says how large a page is.
pub(super) fn read(offset: u64, length: u64, out: &mut Vec<u8>) -> Answered {
    let vector: Vec<u8> =
        [PAGE_SIZE_ENTRY, PAGE_SIZE, END, 0].into_iter().flat_map(u64::to_le_bytes).collect();
    let start = usize::try_from(offset).ok().filter(|start| *start <= vector.len()).ok_or(INVALID)?;
    let count = usize::try_from(length).unwrap_or(usize::MAX).min(vector.len() - start);
    let end = start + count;
    out.push(if end == vector.len() { b'l' } else { b'm' });
    add_binary(out, &vector[start..end], usize::MAX);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_sent_in_parts() {
        let mut out = Vec::new();
        read(0, 16, &mut out).unwrap();
        read(16, 1000, &mut out).unwrap();
        let wanted = [&b"m\x06\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0l"[..], &[0; 16]].concat();
        assert_eq!(out, wanted);
        assert_eq!(read(33, 1, &mut out), Err(INVALID));
    }
}
