// SPDX-License-Identifier: MIT OR GPL-2.0
//! What is known of a decoded instruction: AMD APM volume 3, chapter 1.

/// Memory is read at the operand.
pub const READS: u8 = 1;
/// Memory is written.
pub const WRITES: u8 = 2;
/// MOVS, PUSH, POP: what is read at the operand is written elsewhere.
pub const COPIES: u8 = 4;
/// INS.
pub const PORT_IN: u8 = 8;
/// OUTS.
pub const PORT_OUT: u8 = 16;
/// A string instruction: registers advance with each element, and a repeat prefix applies.
pub const STRING: u8 = 32;

/// No register, as a base or an index.
pub const NONE: u8 = 0xff;
/// The address of the next instruction, as a base.
pub const RIP: u8 = 16;

/// No repeat prefix.
pub const ONCE: u8 = 0;
/// F3: REP, or REPE with SCAS.
pub const REP: u8 = 1;
/// F2: REPNE with SCAS, otherwise as REP.
pub const REPNE: u8 = 2;

/// What an instruction computes. The first eight have the numbers that the encoding gives them.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum Operation {
    #[default]
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
    /// Also MOVZX, STOS, LODS and MOVS.
    Mov,
    /// MOVSX and MOVSXD.
    MovSigned,
    Test,
    Not,
    Neg,
    Inc,
    Dec,
    Xchg,
    Cmpxchg,
    Xadd,
    Bt,
    Bts,
    Btr,
    Btc,
    Imul,
    /// CMOVcc: the condition is the immediate.
    Cmov,
    /// SETcc, likewise.
    Set,
    Rol,
    Ror,
    Rcl,
    Rcr,
    Shl,
    Shr,
    Sar,
    /// MUL and IMUL with a result of twice the size.
    Mul,
    MulSigned,
    Div,
    DivSigned,
    Push,
    Pop,
    Cmpxchg8b,
}
/// `struct yakvm_insn`: a decoded instruction with one operand in memory.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insn {
    /// Bytes, 1-15.
    pub length: u8,
    /// A set of [`READS`], [`WRITES`], [`COPIES`], [`PORT_IN`], [`PORT_OUT`], [`STRING`].
    pub access: u8,
    /// Bytes of one access: 1, 2, 4 or 8.
    pub memory_size: u8,
    /// The operand's segment: ES, CS, SS, DS, FS, GS.
    pub segment: u8,
    /// Of the place that [`COPIES`] writes to.
    pub destination_segment: u8,
    /// What is computed.
    pub operation: Operation,
    /// A register number, [`RIP`] or [`NONE`].
    pub base: u8,
    /// A register number or [`NONE`].
    pub index: u8,
    /// Factor of the index: 1, 2, 4 or 8.
    pub scale: u8,
    /// Bytes of an address: 2, 4 or 8.
    pub address_size: u8,
    /// Bytes of RIP in this mode: 2, 4 or 8.
    pub code_size: u8,
    /// The register operand, 0-15.
    pub reg: u8,
    /// 1: the register operand is AH, CH, DH or BH (of register 0-3).
    pub high: u8,
    /// Bytes of the register operand, which differ from those of the memory for MOVZX and MOVSX.
    pub register_size: u8,
    /// 1: the second operand is [`Insn::immediate`], not the register.
    pub immediate_source: u8,
    /// 1: memory is the second operand, the register (with MOVS the other memory) the first.
    pub memory_source: u8,
    /// [`ONCE`], [`REP`] or [`REPNE`].
    pub repeat: u8,
    /// 1: the bit number in the register selects memory beside the operand, as BT does.
    pub bit_string: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// Part of the address, sign-extended.
    pub displacement: i64,
    /// Sign-extended.
    pub immediate: u64,
}
const _: () = assert!(size_of::<Insn>() == 40);
