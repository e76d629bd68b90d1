//! The code that a guest's entry function returns to: it halts, and is recognised by its bytes.
//!
//! The bytes are in guest memory, so they are found after a snapshot was restored or the guest has moved, too.

use std::ops::Range;

use crate::arch::PAGE_SIZE;
use crate::memory::GuestMemory;

/// Bytes of the boot stack that the return address takes, with what keeps RSP a multiple of 16.
pub(super) const STACK_USE: u64 = 16;
/// Size of the boot stack in bytes.
pub(super) const STACK_SIZE: u64 = 64 << 10;
/// Bytes above the boot stack's lowest address in which [`boot_stack`] searches, below it.
const SEARCHED: u64 = 1 << 20;

/// `cli`, `hlt`, a jump back to `hlt`, and what marks them.
pub(super) const CODE: &[u8] = b"\xFA\xF4\xEB\xFDkvm: the entry function has returned\0";

/// Number of bytes at RIP that [`has_returned`] examines.
pub const MARK_LENGTH: usize = CODE.len() - AFTER_HALT;

/// Where RIP is after `hlt`.
const AFTER_HALT: usize = 2;

/// True if a guest has halted because its entry function has returned; `code` is what lies at RIP then.
pub fn has_returned(code: &[u8]) -> bool {
    code.starts_with(&CODE[AFTER_HALT..])
}

/// The boot stack, if it lies at `rsp` or less than 1 MiB above. It is recognised by its return address, which must
/// not have been overwritten.
pub fn boot_stack(memory: &GuestMemory, rsp: u64) -> Option<Range<u64>> {
    let first = rsp.checked_next_multiple_of(PAGE_SIZE)?.max(STACK_SIZE);
    let last = first.checked_add(SEARCHED + STACK_SIZE)?;
    let returns = |top: &u64| {
        let Ok(address) = memory.read_u64(top - STACK_USE) else { return false };
        let mut code = [0; CODE.len()];
        memory.read(address, &mut code).is_ok() && code == CODE
    };
    (first..=last).step_by(PAGE_SIZE as usize).find(returns).map(|top| top - STACK_SIZE..top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_stack_is_found_from_inside_and_from_below() {
        let memory = GuestMemory::new(4 << 20).unwrap();
        let top = 0x3_0000;
        memory.write_u64(top - STACK_USE, 0x5_0000).unwrap();
        assert_eq!(boot_stack(&memory, top - 8), None);
        memory.write(0x5_0000, CODE).unwrap();
        for rsp in [top - 8, top - STACK_SIZE, 0x1_0000, 0] {
            assert_eq!(boot_stack(&memory, rsp), Some(0x2_0000..top), "{rsp:#x}");
        }
        for rsp in [top + 8, u64::MAX] {
            assert_eq!(boot_stack(&memory, rsp), None, "{rsp:#x}");
        }
    }

    #[test]
    fn only_the_whole_mark_after_the_halt_is_recognised() {
        assert!(has_returned(&CODE[2..]));
        assert_eq!(MARK_LENGTH, CODE[2..].len());
        assert!(!has_returned(CODE) && !has_returned(&CODE[2..10]) && !has_returned(&[]));
    }
}
