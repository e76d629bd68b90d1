//! `xrstor` and `xrstors`.

use iced_x86::{Instruction, Mnemonic};

use super::super::feature::XSAVEC;
use super::area::{
    AVX, COMPACTED, HEADER_END, MXCSR, MXCSR_DEFAULT, MXCSR_MASK, SSE, X87, X87_CONTROL, X87_DATA, XCOMP_BV,
    XSTATE_BV, complete, in_use, parts, reset_x87, word, xmm,
};
use super::{Request, request};
use crate::arch::paging::Access;
use crate::emulate::access::LONGEST;
use crate::emulate::cpu::{Cpu, Mode};
use crate::emulate::exception::{EmulationError, Exception};

/// MXCSR bits of a processor that does not name them (Intel SDM volume 1, "Guidelines for Writing to
/// the MXCSR Register").
const MXCSR_BITS: u64 = 0xFFBF;

/// The parts of the state with registers that exist in 64-bit mode only: XMM, YMM and ZMM.
const VECTORS: u64 = SSE | AVX | 3 << 6;

/// Executes `xrstor` or `xrstors`.
pub(in crate::emulate::system) fn restore(
    cpu: &mut Cpu,
    instruction: &Instruction,
) -> Result<(), EmulationError> {
    let request = request(cpu, instruction)?;
    let access = Access { user: cpu.ring() == 3, ..Access::default() };
    let mut area = [0; LONGEST];
    let span = cpu.span(request.address, HEADER_END, access)?;
    cpu.read(span, &mut area[..HEADER_END]);

    let compacted = word(&area, XCOMP_BV) & COMPACTED != 0;
    let only_compacted = matches!(instruction.mnemonic(), Mnemonic::Xrstors | Mnemonic::Xrstors64);
    let saved = word(&area, XSTATE_BV);
    let room = word(&area, XCOMP_BV) & !COMPACTED;
    let valid = if compacted {
        cpu.has(XSAVEC) && is_valid_compacted(&area, saved, room, &request)
    } else {
        !only_compacted && saved & !request.enabled == 0 && area[520..536].iter().all(|byte| *byte == 0)
    };
    if !valid {
        return Err(Exception::protection(0).into());
    }

    let loaded = request.parts & saved;
    let concerned = parts(cpu, request.parts, false)?;
    let mut sources = parts(cpu, if compacted { room } else { loaded }, compacted)?;
    sources.retain(|part| loaded & part.bit != 0);
    let length = sources.iter().map(|part| part.in_area().end).max().unwrap_or(HEADER_END);
    let length = length.max(HEADER_END);
    let span = cpu.span(request.address, length, access)?;
    cpu.read(span, &mut area[..length]);

    let xmm = xmm(cpu);
    let before = cpu.extended()?;
    let used = in_use(before);
    let mut image = complete(before);
    if let Some(mxcsr) = mxcsr(&area, compacted, &request, loaded) {
        let bits = match word(&*image, MXCSR_MASK) {
            0 => MXCSR_BITS,
            bits => bits,
        };
        if mxcsr & !bits != 0 {
            return Err(Exception::protection(0).into());
        }
        image[MXCSR].copy_from_slice(&mxcsr.to_le_bytes()[..4]);
    }
    if loaded & X87 != 0 {
        image[X87_CONTROL].copy_from_slice(&area[X87_CONTROL]);
        image[X87_DATA].copy_from_slice(&area[X87_DATA]);
        if !request.wide_pointers {
            image[12..16].fill(0);
            image[20..24].fill(0);
        }
    } else if request.parts & X87 != 0 {
        reset_x87(&mut image);
    }
    if loaded & SSE != 0 {
        image[xmm.clone()].copy_from_slice(&area[xmm]);
    } else if request.parts & SSE != 0 {
        image[xmm].fill(0);
    }
    for part in &concerned {
        if used & part.bit == 0 {
            // The registers that do not exist in this mode keep their initial state.
            let [size, ..] = cpu.state.cpuid(0xD, part.bit.trailing_zeros());
            image[part.home..part.home + size as usize].fill(0);
        }
        image[part.in_image()].fill(0);
    }
    for part in &sources {
        image[part.in_image()].copy_from_slice(&area[part.in_area()]);
    }
    // Outside of 64-bit mode the upper registers stay, and may be in use.
    let initialised = if cpu.mode() == Mode::SixtyFourBit { request.parts } else { request.parts & !VECTORS };
    let kept = used & !initialised;
    let mut used = kept | loaded;
    if word(&*image, MXCSR) != u64::from(MXCSR_DEFAULT) {
        // KVM takes MXCSR only with the XMM registers.
        used |= SSE;
    }
    image[XSTATE_BV].copy_from_slice(&used.to_le_bytes());
    *cpu.extended_mut()? = *image;
    Ok(())
}

fn is_valid_compacted(area: &[u8; LONGEST], saved: u64, room: u64, request: &Request) -> bool {
    room & !request.enabled == 0 && saved & !room == 0 && area[528..HEADER_END].iter().all(|byte| *byte == 0)
}

/// What MXCSR becomes; `None` if it stays.
fn mxcsr(area: &[u8; LONGEST], compacted: bool, request: &Request, loaded: u64) -> Option<u64> {
    let initial = compacted && loaded & SSE == 0;
    let concerned = if compacted { SSE } else { SSE | AVX };
    if request.parts & concerned == 0 {
        None
    } else if initial {
        Some(u64::from(MXCSR_DEFAULT))
    } else {
        Some(word(area, MXCSR))
    }
}
