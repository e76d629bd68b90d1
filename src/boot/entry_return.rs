//! The code that a guest's entry function returns to: it halts, and is recognised by its bytes.
//!
//! The bytes are in guest memory, so they are found after a snapshot was restored or the guest has moved, too.

/// Bytes of the boot stack that the return address takes, with what keeps RSP a multiple of 16.
pub(super) const STACK_USE: u64 = 16;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_mark_after_the_halt_is_recognised() {
        assert!(has_returned(&CODE[2..]));
        assert_eq!(MARK_LENGTH, CODE[2..].len());
        assert!(!has_returned(CODE) && !has_returned(&CODE[2..10]) && !has_returned(&[]));
    }
}
