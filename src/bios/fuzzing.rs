//! Calls of the BIOS with arbitrary registers and memory.

use super::call::{BiosCall, Served};
use super::testing::TestPlatform;
use super::{POST, complete, serve};
use crate::devices::bios_port::{BiosTransfer, MOST_SECTORS, TransferKind};
use crate::devices::ide::DiskError;

/// The interrupts that the BIOS serves, and one that it does not.
const VECTORS: [u8; 21] = [
    0x00, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x40,
    0x70, 0x77, 0x13, POST,
];
/// Most calls of one input.
const MOST_CALLS: usize = 64;
/// Most transfers that one call may ask for, one after the other: a boot from each disk and CD.
const MOST_TRANSFERS: usize = 64;

/// Bytes that end in zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn double_word(&mut self) -> u32 {
        u32::from(self.word()) | u32::from(self.word()) << 16
    }
}

/// Reads `input` as calls, each with some bytes that are written to memory before: where registers point to, or to the
/// data areas.
///
/// # Panics
///
/// If a transfer of a disk is larger than memory, or a call asks for transfers for ever.
pub fn call_services(input: &[u8]) {
    let mut input = Input(input);
    let flags = input.byte();
    let mut platform = match flags & 1 {
        0 => TestPlatform::with_disks(&[2048, 1 << 33]),
        _ => TestPlatform::with_cd(&[63], 4 * 700),
    };
    // A machine that draws; from the first byte's bits that older inputs leave 0.
    platform.has_video_memory = flags & 2 != 0;
    for _ in 0..MOST_CALLS {
        if input.0.is_empty() {
            return;
        }
        let vector = VECTORS[usize::from(input.byte()) % VECTORS.len()];
        let mut call = BiosCall { vector, ..BiosCall::default() };
        let registers =
            [&mut call.eax, &mut call.ebx, &mut call.ecx, &mut call.edx, &mut call.esi, &mut call.edi];
        for register in registers {
            *register = input.word().into();
        }
        (call.ebp, call.ds, call.es, call.flags) =
            (input.word().into(), input.word(), input.word(), input.word());
        let shape = input.byte();
        if shape & 1 != 0 {
            // 32-bit registers count in some services.
            call.eax |= input.double_word() << 16;
            (call.ecx, call.edx) =
                (call.ecx | input.double_word() << 16, call.edx | input.double_word() << 16);
        }
        let address = match shape >> 1 & 3 {
            0 => None,
            1 => Some(call.in_ds(call.esi as u16)),
            2 => Some(call.in_es(call.edi as u16)),
            _ => Some(0x400 + u64::from(input.byte())),
        };
        if let Some(address) = address {
            let bytes: Vec<u8> = (0..input.byte() % 32).map(|_| input.byte()).collect();
            platform.dynamic().write(address, &bytes);
        }
        let mut served = serve(&mut call, &mut platform);
        let mut transfers = 0;
        while let Served::Transfer(transfer) = served {
            transfers += 1;
            assert!(transfers <= MOST_TRANSFERS, "a call that asks for transfers for ever: {call:?}");
            served = answer(&mut call, &transfer, &mut input, &mut platform);
        }
        platform.written.clear();
    }
}

/// The answer of a disk: an error, or the bytes of the sectors.
fn answer(
    call: &mut BiosCall,
    transfer: &BiosTransfer,
    input: &mut Input<'_>,
    platform: &mut TestPlatform,
) -> Served {
    assert!((1..=MOST_SECTORS).contains(&transfer.sectors), "{transfer:?}");
    let byte = input.byte();
    let result =
        if byte & 7 == 7 { Err(DiskError { lba: transfer.lba }) } else { Ok(sectors(byte, transfer)) };
    complete(call, transfer, result, platform)
}

/// What a disk has read.
fn sectors(byte: u8, transfer: &BiosTransfer) -> Vec<u8> {
    if transfer.kind == TransferKind::Write { Vec::new() } else { vec![byte; transfer.length()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;

    #[test]
    fn any_call_of_the_bios_is_answered() {
        FuzzDriver::new("bios").run(call_services);
    }
}
