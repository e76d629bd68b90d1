//! What the host's processor does with an instruction that has not been checked.
//!
//! It runs in the stub where it can do no harm: no general register holds the address of memory, and what follows
//! it is a trap.

use std::sync::OnceLock;

use super::image;
use super::stub::Stub;
use crate::arch::GeneralRegisters;
use crate::emulate::ProcessorStateError;
use crate::emulate::cpu::Extended;

/// An address at which no memory can be: it is not canonical.
const NOWHERE: u64 = 1 << 63;

/// The vector of the exception that `code` raises at its first byte; `None` if it raises none, or a later one.
///
/// # Errors
///
/// [`ProcessorStateError`] if the host provides no memory for it.
pub fn raised_by(code: &[u8]) -> Result<Option<u8>, ProcessorStateError> {
    let mut extended: Box<Extended> = Box::new([0; size_of::<Extended>()]);
    image::bring_into_use(&mut extended);
    image::set_mxcsr(&mut extended, image::RESET_MXCSR);
    let mut stub = Stub::lock()?;
    let instruction = stub.unchecked(code)?;
    stub.set_general(&GeneralRegisters {
        rax: NOWHERE,
        rcx: NOWHERE,
        rdx: NOWHERE,
        rbx: NOWHERE,
        rsp: NOWHERE,
        rbp: NOWHERE,
        rsi: NOWHERE,
        rdi: NOWHERE,
        r8: NOWHERE,
        r9: NOWHERE,
        r10: NOWHERE,
        r11: NOWHERE,
        r12: NOWHERE,
        r13: NOWHERE,
        r14: NOWHERE,
        r15: NOWHERE,
        ..Default::default()
    });
    stub.set_extended(&extended);
    let raised = stub.run(instruction).err();
    let address = stub.address(instruction);
    Ok(raised.filter(|raised| raised.rip == address).map(|raised| raised.vector))
}

/// True if this host's processor, which has SHA, lets its operands be unaligned.
///
/// # Errors
///
/// As for [`raised_by`].
pub fn sha_is_unaligned() -> Result<bool, ProcessorStateError> {
    static IS_UNALIGNED: OnceLock<bool> = OnceLock::new();
    if let Some(known) = IS_UNALIGNED.get() {
        return Ok(*known);
    }
    // sha1msg1 xmm0, [rip]: what it reads begins 8 bytes behind the start of a slot, which is aligned.
    let raised = raised_by(&[0x0F, 0x38, 0xC9, 0x05, 0, 0, 0, 0])?;
    Ok(*IS_UNALIGNED.get_or_init(|| raised.is_none()))
}
