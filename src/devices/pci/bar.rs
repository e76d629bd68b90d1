//! Base address registers: what a function decodes, and where the guest has put it.
//!
//! Manual: PCI Local Bus Specification 3.0, 6.2.5.1.

/// Base address registers of a function with header type 0.
pub const BARS: usize = 6;

/// Bits of an I/O base address register that tell its kind.
pub(super) const IO_FLAGS: u32 = 0b11;
/// Bit 0 of a base address register for ports.
pub(super) const IO: u32 = 0b01;
/// Bits of a memory base address register that tell its kind.
pub(super) const MEMORY_FLAGS: u32 = 0b1111;
/// Bit 3 of a base address register for memory.
pub(super) const PREFETCHABLE: u32 = 0b1000;

/// What a base address register maps. Sizes are powers of two, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// Ports, at least 4.
    Io {
        /// Number of ports.
        size: u32,
    },
    /// Memory below 4 GiB, at least 16 bytes.
    Memory {
        /// Bytes.
        size: u32,
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

impl BarKind {
    /// Number of ports or bytes.
    pub fn size(self) -> u32 {
        match self {
            BarKind::Io { size } | BarKind::Memory { size, .. } => size,
        }
    }

    /// The register with address 0.
    pub(super) fn empty(self) -> u32 {
        match self {
            BarKind::Io { .. } => IO,
            BarKind::Memory { prefetchable: true, .. } => PREFETCHABLE,
            BarKind::Memory { prefetchable: false, .. } => 0,
        }
    }

    /// The bits of the register that the guest can write. They tell it the size.
    pub(super) fn writable(self) -> u32 {
        let size = self.size();
        let least = if matches!(self, BarKind::Io { .. }) { IO_FLAGS } else { MEMORY_FLAGS } + 1;
        assert!(size.is_power_of_two() && size >= least, "{self:?} cannot be mapped");
        !(size - 1)
    }
}

/// A base address register as the guest has programmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarMapping {
    /// Number of the register, 0 to 5.
    pub index: u8,
    /// What it maps.
    pub kind: BarKind,
    /// The first port or address; `None` if the guest has assigned none, or one that is still the pattern of a
    /// question for the size.
    pub base: Option<u32>,
    /// The command register lets the function answer there.
    pub enabled: bool,
}
