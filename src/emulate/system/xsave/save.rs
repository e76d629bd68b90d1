//! `xsave`, `xsaveopt`, `xsavec` and `xsaves`.

use iced_x86::{Instruction, Mnemonic};

use super::super::feature::{XSAVEC, XSAVEOPT};
use super::area::{
    AVX, COMPACTED, HEADER_END, MXCSR, MXCSR_DEFAULT, MXCSR_MASK, SSE, X87, X87_CONTROL, X87_DATA, XCOMP_BV,
    XSTATE_BV, complete, in_use, parts, word, xmm,
};
use super::request;
use crate::arch::paging::Access;
use crate::emulate::access::LONGEST;
use crate::emulate::cpu::Cpu;
use crate::emulate::exception::EmulationError;

/// Executes `xsave`, `xsaveopt`, `xsavec` or `xsaves`.
pub(in crate::emulate::system) fn save(
    cpu: &mut Cpu,
    instruction: &Instruction,
) -> Result<(), EmulationError> {
    let (compacted, thrifty) = match instruction.mnemonic() {
        Mnemonic::Xsave | Mnemonic::Xsave64 => (false, false),
        Mnemonic::Xsaveopt | Mnemonic::Xsaveopt64 => {
            cpu.needs(XSAVEOPT)?;
            (false, true)
        }
        Mnemonic::Xsavec | Mnemonic::Xsavec64 => {
            cpu.needs(XSAVEC)?;
            (true, true)
        }
        _ => (true, true),
    };
    let request = request(cpu, instruction)?;
    let parts = parts(cpu, request.parts, compacted)?;
    let length = parts.iter().map(|part| part.in_area().end).max().unwrap_or(HEADER_END).max(HEADER_END);
    let access = Access { write: true, user: cpu.ring() == 3, ..Access::default() };
    let span = cpu.span(request.address, length, access)?;

    let image = cpu.extended()?;
    let mut used = in_use(image);
    let image = complete(image);
    if compacted && word(&*image, MXCSR) != u64::from(MXCSR_DEFAULT) {
        used |= SSE;
    }
    // What is in its initial state need not be written.
    let written = if thrifty { request.parts & used } else { request.parts };

    let mut area = [0; LONGEST];
    let area = &mut area[..length];
    cpu.read(span, area);
    if written & X87 != 0 {
        area[X87_CONTROL].copy_from_slice(&image[X87_CONTROL]);
        area[X87_DATA].copy_from_slice(&image[X87_DATA]);
        if !request.wide_pointers {
            // The selectors take the place of the pointers' upper halves.
            area[12..16].fill(0);
            area[20..24].fill(0);
        }
    }
    let with_mxcsr = if compacted { written & SSE } else { request.parts & (SSE | AVX) };
    if with_mxcsr != 0 {
        area[MXCSR].copy_from_slice(&image[MXCSR]);
        area[MXCSR_MASK].copy_from_slice(&image[MXCSR_MASK]);
    }
    if written & SSE != 0 {
        area[xmm(cpu)].copy_from_slice(&image[xmm(cpu)]);
    }
    for part in parts.iter().filter(|part| written & part.bit != 0) {
        if used & part.bit != 0 {
            area[part.in_area()].copy_from_slice(&image[part.in_image()]);
        } else {
            area[part.in_area()].fill(0);
        }
    }
    let kept = if compacted { 0 } else { word(area, XSTATE_BV) & !request.parts };
    area[XSTATE_BV].copy_from_slice(&(kept | request.parts & used).to_le_bytes());
    if compacted {
        area[XCOMP_BV].copy_from_slice(&(request.parts | COMPACTED).to_le_bytes());
    }
    cpu.write(span, area);
    Ok(())
}
