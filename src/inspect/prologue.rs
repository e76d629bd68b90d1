//! The caller of a function that has no stack frame at the moment: at its first instructions and at its last one.

/// `endbr64` or `endbr32`, but for the last byte.
const ENDBR: [u8; 3] = [0xF3, 0x0F, 0x1E];
const PUSH_RBP: u8 = 0x55;
/// `ret` and `ret imm16`.
const RET: [u8; 2] = [0xC3, 0xC2];
/// Both encodings of `mov rbp, rsp` without the prefix for 64 bits.
const MOV_RBP_RSP: [[u8; 2]; 2] = [[0x89, 0xE5], [0x8B, 0xEC]];
const REX_W: u8 = 0x48;

/// The return address on the stack and the number of slots below it, if the instruction at `start` sets the frame up or
/// returns, so that RBP still is, or is again, the caller's. `top` is the stack pointer, `size` that of a stack slot, 8
/// or 4 bytes, and `load` reads a number of bytes.
pub(super) fn return_address(
    start: u64,
    top: u64,
    size: u8,
    load: &dyn Fn(u64, u8) -> Option<u64>,
) -> Option<(u64, u64)> {
    let byte = |at: u64| load(at, 1).map(|byte| byte as u8);
    let bytes = |at: u64| Some([byte(at)?, byte(at.checked_add(1)?)?]);
    let is_endbr = (0..).zip(ENDBR).all(|(at, expected)| byte(start.wrapping_add(at)) == Some(expected));
    let code = if is_endbr { start.wrapping_add(4) } else { start };
    let first = byte(code)?;
    let slots = if first == PUSH_RBP || RET.contains(&first) {
        0
    } else {
        let operation = if size == 8 && first == REX_W { code.checked_add(1)? } else { code };
        let is_next = MOV_RBP_RSP.contains(&bytes(operation)?) && byte(code.checked_sub(1)?)? == PUSH_RBP;
        is_next.then_some(1)?
    };
    let address = load(top.checked_add(slots * u64::from(size))?, size)?;
    // A stack may hold anything: a return address leads to mapped memory.
    (address != 0 && byte(address).is_some()).then_some((slots, address))
}
