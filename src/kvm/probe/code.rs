//! Small guests, written in assembly beside the probe that runs them.

/// The machine code of a guest, from lines of assembly (AT&T syntax) for 16, 32 or 64 bits.
///
/// The code is position independent. It can use the addresses where a guest reports (see [`super::guest`]):
/// `DONE` and `DONE_PORT`, and the words at `DATA`. Labels of one expansion must not be named 22 or 23.
macro_rules! guest_code {
    ($bits:literal: $($line:literal),+ $(,)?) => {{
        let (start, length): (*const u8, usize);
        // SAFETY: the instructions executed here load an address and a number; the guest's lines only become
        // bytes in a read-only section, delimited by `start` and `length`.
        unsafe {
            core::arch::asm!(
                ".pushsection .rodata.kvm_probe, \"a\", @progbits",
                ".set DONE, {done}",
                ".set DONE_PORT, {done_port}",
                ".set DATA, {data}",
                concat!(".code", $bits),
                // Alignment in the guest's code is relative to its start.
                ".balign 16",
                "22:",
                $($line,)+
                "23:",
                ".code64",
                ".popsection",
                "leaq 22b(%rip), {start}",
                "movq $(23b - 22b), {length}",
                done = const $crate::kvm::probe::guest::DONE,
                done_port = const $crate::kvm::probe::guest::DONE_PORT,
                data = const $crate::kvm::probe::guest::DATA,
                start = lateout(reg) start,
                length = lateout(reg) length,
                options(att_syntax, pure, nomem, nostack, preserves_flags),
            );
            core::slice::from_raw_parts(start, length)
        }
    }};
}

pub(super) use guest_code;
