//! What a drive requests of the machine, and the answers: plain data, so that a recording can hold them.

use serde::{Deserialize, Serialize};

/// Bytes in a sector.
pub const SECTOR: usize = 512;

/// The disk that a drive is made of, as far as the guest can know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskGeometry {
    /// Number of sectors, 1 to [`DiskGeometry::MOST_SECTORS`]. A sector of a CD counts as four.
    pub sectors: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// The drive is a CD-ROM drive.
    pub cdrom: bool,
}

impl DiskGeometry {
    /// Most sectors that 48 bits address.
    pub const MOST_SECTORS: u64 = 1 << 48;
    /// Most of them on a CD.
    pub const MOST_CD_SECTORS: u64 = (1 << 32) - 4;

    /// A hard disk.
    pub const fn disk(sectors: u64, read_only: bool) -> DiskGeometry {
        DiskGeometry { sectors, read_only, cdrom: false }
    }

    /// A CD.
    pub const fn cdrom(sectors: u64) -> DiskGeometry {
        DiskGeometry { sectors, read_only: true, cdrom: true }
    }
}

/// What a drive wants of its disk. It waits for the answer before it requests anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRequest {
    /// First sector.
    pub lba: u64,
    /// Number of sectors; 0 for a flush.
    pub sectors: u32,
    /// What to do with them.
    pub kind: DiskRequestKind,
}

/// The kinds of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskRequestKind {
    /// Read them.
    Read,
    /// Write them.
    Write {
        /// The contents of all sectors.
        data: Vec<u8>,
        /// They must be durable before the answer, as after a flush: the drive's write cache is off.
        through: bool,
    },
    /// Make all completed writes durable.
    Flush,
}

/// The answer to a request: the contents that were read, empty after a write or a flush, or what failed.
pub type DiskResult = Result<Vec<u8>, DiskError>;

/// A request could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskError {
    /// The first sector that could not be read or written.
    pub lba: u64,
}
