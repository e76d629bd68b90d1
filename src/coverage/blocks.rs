//! Where the basic blocks of a guest's code begin.
//!
//! The first instruction of a row of the line table can begin one: an instruction begins there, whatever decoding makes of
//! the bytes. So can the target of a branch into the middle of a row, if decoding finds an instruction there, and both
//! rows consist of whole instructions; not in assembly, where a row can be that of a macro with code of another mode. Decoding decides which rows go on in the block of the row before; where it is in
//! doubt, they begin one of their own, which costs a stop and no more.

use std::collections::BTreeSet;
use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::boot::LineRow;

/// Longest row that is decoded, in bytes.
const LONGEST_ROW: u64 = 1 << 16;

/// The code of a guest file.
pub(super) struct CodeRows<'c> {
    /// Its rows, by ascending addresses.
    pub(super) rows: &'c [LineRow],
    /// The bytes of a row; `None` if they cannot be read.
    pub(super) read: &'c dyn Fn(&LineRow) -> Option<&'c [u8]>,
    /// Addresses and sizes of functions and labels, ascending.
    pub(super) symbols: &'c [(u64, u64)],
    /// Addresses of code that was written in assembly, ascending, without overlaps: a row may have many instructions there, of any mode.
    pub(super) assembly: &'c [Range<u64>],
    /// 64 or 32: how most of it is decoded.
    pub(super) bitness: u32,
}

/// What the instructions of a row do.
#[derive(Clone, Copy, Debug, Default)]
struct RowFlow {
    /// The next row may run without this one, or not run after it.
    ends: bool,
    /// The last instruction keeps interrupts off until the next one has been executed.
    shadow: bool,
    /// It may jump anywhere in its function, by a table.
    anywhere: bool,
}

/// Where direct branches lead to.
#[derive(Debug, Default)]
struct Targets {
    all: BTreeSet<u64>,
    /// Those of branches in rows that consist of whole instructions.
    certain: BTreeSet<u64>,
}

/// Rows that are split where a branch leads into them.
#[derive(Debug)]
pub(super) struct SplitRows {
    /// By ascending addresses.
    pub(super) rows: Vec<LineRow>,
    /// For each row, whether it begins a block.
    pub(super) starts: Vec<bool>,
}

impl CodeRows<'_> {
    /// Finds the blocks.
    pub(super) fn split(&self) -> SplitRows {
        let mut targets = Targets::default();
        for row in self.rows {
            let mut found = Vec::new();
            if self.decode(row, |instruction| found.extend(target(instruction))) {
                targets.certain.extend(&found);
            }
            targets.all.extend(found);
        }
        targets.all.extend(self.symbols.iter().map(|(address, _)| *address));
        let rows: Vec<LineRow> = self.rows.iter().flat_map(|row| self.split_row(row, &targets)).collect();
        let flows: Vec<RowFlow> = rows.iter().map(|row| self.flow(row)).collect();
        let mut starts: Vec<bool> = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| (&rows[before], flows[before]));
            let follows = before.filter(|(before, _)| before.address + before.length == row.address);
            starts.push(match follows {
                None => true,
                // A breakpoint there would let an interrupt in that the guest keeps off.
                Some((_, flow)) if flow.shadow => false,
                // Also one that is entered in the middle, and could not be split.
                Some((before, flow)) => {
                    flow.ends || targets.all.range(before.address + 1..=row.address).next().is_some()
                }
            });
        }
        let mut done = 0..0;
        for (index, _) in flows.iter().enumerate().filter(|(_, flow)| flow.anywhere) {
            if done.contains(&index) {
                continue;
            }
            done = self.function_of(&rows, index);
            for row in done.clone() {
                starts[row] |= row == 0 || !flows[row - 1].shadow;
            }
        }
        SplitRows { rows, starts }
    }

    /// The parts of a row between the targets of branches into it.
    fn split_row(&self, row: &LineRow, targets: &Targets) -> Vec<LineRow> {
        let end = row.address + row.length;
        let mut into = targets.certain.range(row.address + 1..end).copied().peekable();
        let mut parts = vec![*row];
        if into.peek().is_none() || self.is_assembly(row.address) {
            return parts;
        }
        let mut begins = BTreeSet::new();
        if self.decode(row, |instruction| begins.extend([instruction.ip()])) {
            for address in into.filter(|address| begins.contains(address)) {
                if let Some(last) = parts.last_mut() {
                    last.length = address - last.address;
                }
                parts.push(LineRow { address, length: end - address, ..*row });
            }
        }
        parts
    }

    fn is_assembly(&self, address: u64) -> bool {
        let above = self.assembly.partition_point(|range| range.start <= address);
        self.assembly[..above].last().is_some_and(|range| range.contains(&address))
    }

    /// The rows of the function that a row belongs to.
    fn function_of(&self, rows: &[LineRow], row: usize) -> Range<usize> {
        let address = rows[row].address;
        let above = self.symbols.partition_point(|(start, _)| *start <= address);
        // Labels in it are symbols, too.
        let around = self.symbols[..above].iter().rev().take(16);
        let around = around.filter(|(start, size)| address - start < *size);
        let Some((start, size)) = around.max_by_key(|(_, size)| *size) else { return row..row + 1 };
        let end = start.saturating_add(*size);
        rows.partition_point(|row| row.address < *start)..rows.partition_point(|row| row.address < end)
    }

    fn flow(&self, row: &LineRow) -> RowFlow {
        let mut flow = RowFlow::default();
        let is_whole = self.decode(row, |instruction| {
            flow.ends |= may_not_go_on(instruction);
            flow.anywhere |= instruction.flow_control() == FlowControl::IndirectBranch;
            flow.shadow = has_shadow(instruction);
        });
        if is_whole { flow } else { RowFlow { ends: true, ..RowFlow::default() } }
    }

    /// Passes on the instructions of a row; false if it does not consist of whole ones.
    fn decode(&self, row: &LineRow, mut visit: impl FnMut(&Instruction)) -> bool {
        if row.length > LONGEST_ROW {
            return false;
        }
        let Some(bytes) = (self.read)(row) else { return false };
        let mut decoder = Decoder::with_ip(self.bitness, bytes, row.address, DecoderOptions::NONE);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                return false;
            }
            visit(&instruction);
        }
        true
    }
}

/// Where a direct branch leads to.
fn target(instruction: &Instruction) -> Option<u64> {
    let kind = instruction.op0_kind();
    let is_near = matches!(kind, OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    is_near.then(|| instruction.near_branch_target())
}

/// True if the instruction behind may not be the next one: also where a device may end the run.
fn may_not_go_on(instruction: &Instruction) -> bool {
    instruction.flow_control() != FlowControl::Next
        || matches!(instruction.mnemonic(), Mnemonic::Hlt | Mnemonic::In | Mnemonic::Out)
        || matches!(instruction.mnemonic(), Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq)
}

/// True for instructions that keep interrupts off until the next one has been executed (Intel SDM volume 3A, "Masking
/// Exceptions and Interrupts When Switching Stacks", and volume 2B, "STI").
fn has_shadow(instruction: &Instruction) -> bool {
    instruction.code() == Code::Sti
        || matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Pop)
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register() == Register::SS
}

#[cfg(test)]
#[path = "blocks_test.rs"]
mod tests;
