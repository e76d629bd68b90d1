//! Pages of memory in a [`super::frame::FrameKind::Pages`] frame, and of a disk's image in a
//! [`super::frame::FrameKind::DiskPages`] frame.
//!
//! The payload is a sequence of runs of pages. A run begins with 16 bytes: the encoding of its pages (8
//! bits), the length of the data that follows (24 bits), the number of pages (32 bits) and the number of the
//! first page (64 bits), all little-endian. A page has 4 KiB; its number is its guest-physical address, or its offset
//! in the image, divided by 4096.
//!
//! | encoding | data |
//! |---|---|
//! | 0 | nothing: the pages hold zeros |
//! | 1 | the pages |
//! | 2 | the pages as one lz4 block |

use std::ops::Range;

use crate::arch::PAGE_SIZE;
use crate::memory::{GuestMemory, MemoryError};

use super::frame::{FrameKind, HEADER, finish};

/// Size of a page, in bytes.
pub const PAGE: usize = PAGE_SIZE as usize;

/// Maximum number of pages in a run that is not of zeros.
const MAX_RUN: u32 = 64;

/// Maximum number of pages in a frame. It bounds the work per frame, because runs of zeros take few bytes.
const MAX_PAGES: u64 = 1 << 16;

/// Size of a frame, in bytes, at which it is sent. A frame of this size stays in the processor's cache.
const FRAME: usize = HEADER + 4 * RUN_HEADER + MAX_RUN as usize * PAGE;

/// Size of a run's header, in bytes.
const RUN_HEADER: usize = 16;

const ZERO: u8 = 0;
const RAW: u8 = 1;
const LZ4: u8 = 2;

/// Why page data was refused.
#[derive(Debug, thiserror::Error)]
pub enum PagesError {
    /// The payload ends inside a run.
    #[error("pages that end in the middle")]
    CutOff,
    /// The header of a run is invalid.
    #[error("a run of {count} pages from page {first:#x} with {length} bytes, written in way {how}")]
    Run {
        /// Its encoding.
        how: u8,
        /// Length of its data, in bytes.
        length: u32,
        /// Number of pages.
        count: u32,
        /// Number of the first page.
        first: u64,
    },
    /// The frame has more than the maximum number of pages.
    #[error("more than {MAX_PAGES} pages in one frame")]
    TooMany,
    /// An lz4 block that does not decompress to its number of pages.
    #[error("damaged lz4 for {count} pages from page {first:#x}")]
    Lz4 {
        /// Number of pages.
        count: u32,
        /// Number of the first page.
        first: u64,
    },
    /// The pages are outside guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The pages are beyond the end of a disk.
    #[error("a page at {start:#x} of a disk of {size} bytes")]
    BeyondDisk {
        /// Offset of the first page of the run.
        start: u64,
        /// Size of the disk.
        size: u64,
    },
    /// The image of a disk cannot be written.
    #[error("the disk image cannot be written: {0}")]
    Disk(#[source] std::io::Error),
}

/// What pages are written to.
pub trait PageTarget {
    /// Writes whole pages at `start`.
    ///
    /// # Errors
    ///
    /// [`PagesError`].
    fn write(&self, start: u64, data: &[u8]) -> Result<(), PagesError>;

    /// Writes `bytes` bytes of zeros, in whole pages, at `start`.
    ///
    /// # Errors
    ///
    /// [`PagesError`].
    fn zero(&self, start: u64, bytes: u64) -> Result<(), PagesError>;
}

impl PageTarget for GuestMemory {
    fn write(&self, start: u64, data: &[u8]) -> Result<(), PagesError> {
        Ok(GuestMemory::write(self, start, data)?)
    }

    fn zero(&self, start: u64, bytes: u64) -> Result<(), PagesError> {
        Ok(GuestMemory::zero(self, start, bytes)?)
    }
}

/// Writes the pages of a payload. Returns how many there were.
///
/// # Errors
///
/// [`PagesError`]. Pages of the runs before the invalid one have already been written.
pub fn write_pages(target: &dyn PageTarget, payload: &[u8]) -> Result<u64, PagesError> {
    let mut rest = payload;
    let mut pages = 0;
    let mut unpacked = Vec::new();
    while !rest.is_empty() {
        let (header, behind) = rest.split_first_chunk::<RUN_HEADER>().ok_or(PagesError::CutOff)?;
        let [how, a, b, c, d, e, f, g, number @ ..] = *header;
        let (length, count) = (u32::from_le_bytes([a, b, c, 0]), u32::from_le_bytes([d, e, f, g]));
        let first = u64::from_le_bytes(number);
        let (data, behind) = behind.split_at_checked(length as usize).ok_or(PagesError::CutOff)?;
        let wrong = || PagesError::Run { how, length, count, first };
        let bytes = u64::from(count) * PAGE as u64;
        let start = first.checked_mul(PAGE as u64).ok_or_else(wrong)?;
        pages += u64::from(count);
        if pages > MAX_PAGES {
            return Err(PagesError::TooMany);
        }
        match how {
            ZERO if length == 0 && count > 0 => target.zero(start, bytes)?,
            RAW if u64::from(length) == bytes && (1..=MAX_RUN).contains(&count) => {
                target.write(start, data)?
            }
            LZ4 if (1..=MAX_RUN).contains(&count) => {
                unpacked.resize(bytes as usize, 0);
                match lz4_flex::block::decompress_into(data, &mut unpacked) {
                    Ok(length) if length == unpacked.len() => target.write(start, &unpacked)?,
                    _ => return Err(PagesError::Lz4 { count, first }),
                }
            }
            _ => return Err(wrong()),
        }
        rest = behind;
    }
    Ok(pages)
}

/// Encodes pages into frames.
#[derive(Debug)]
pub struct PageEncoder {
    /// The frame, of which the first `end` bytes are in use. Pages are read directly into it.
    frame: Vec<u8>,
    end: usize,
    /// Pages in it.
    pages: u64,
    /// Zero pages whose run is not encoded yet.
    zeros: Range<u64>,
    /// Non-zero pages: the run at the end of the frame. Its header at `begin` is not written yet.
    raw: Range<u64>,
    begin: usize,
    packed: Vec<u8>,
    compress: bool,
}

impl PageEncoder {
    /// Creates an empty encoder; `compress` selects lz4.
    pub fn new(compress: bool) -> PageEncoder {
        let packed =
            if compress { lz4_flex::block::get_maximum_output_size(MAX_RUN as usize * PAGE) } else { 0 };
        PageEncoder {
            frame: vec![0; FRAME],
            end: HEADER,
            pages: 0,
            zeros: 0..0,
            raw: 0..0,
            begin: HEADER,
            packed: vec![0; packed],
            compress,
        }
    }

    /// Adds a page. It must not have been added since the last [`Self::take`], and [`Self::is_full`] must be
    /// false. `read` fills in its [`PAGE`] bytes.
    ///
    /// # Errors
    ///
    /// Those of `read`; no page is added then.
    pub fn add<E>(&mut self, number: u64, read: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        if self.raw.end != number || self.raw.end - self.raw.start == u64::from(MAX_RUN) {
            self.end_run();
        }
        let at = if self.raw.is_empty() { self.end + RUN_HEADER } else { self.end };
        let page = &mut self.frame[at..at + PAGE];
        read(page)?;
        self.pages += 1;
        if is_zero(page) {
            if self.zeros.end != number {
                self.end_zeros();
            }
            if self.zeros.is_empty() {
                self.zeros = number..number;
            }
            self.zeros.end += 1;
            return Ok(());
        }
        if self.raw.is_empty() {
            self.begin = self.end;
            self.raw = number..number;
        }
        self.raw.end += 1;
        self.end = at + PAGE;
        Ok(())
    }

    /// True if the frame should be sent before another page is added.
    pub fn is_full(&self) -> bool {
        // One page with its run header, and two more headers.
        self.end + 3 * RUN_HEADER + PAGE > self.frame.len() || self.pages == MAX_PAGES
    }

    /// Returns the pages added since the last call as a complete frame of memory; `None` if there are none.
    pub fn take(&mut self) -> Option<&[u8]> {
        self.take_frame(FrameKind::Pages)
    }

    /// As [`Self::take`], as a frame of this kind.
    pub fn take_frame(&mut self, kind: FrameKind) -> Option<&[u8]> {
        self.end_zeros();
        self.end_run();
        self.pages = 0;
        let frame = &mut self.frame[..std::mem::replace(&mut self.end, HEADER)];
        if frame.len() == HEADER {
            return None;
        }
        finish(frame, kind);
        Some(frame)
    }

    fn end_zeros(&mut self) {
        let zeros = std::mem::take(&mut self.zeros);
        if !zeros.is_empty() {
            self.end_run();
            self.header(self.end, ZERO, 0, &zeros);
            self.end += RUN_HEADER;
        }
    }

    fn end_run(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        if raw.is_empty() {
            return;
        }
        let bytes = self.begin + RUN_HEADER..self.end;
        let packed = match self.compress {
            true => lz4_flex::block::compress_into(&self.frame[bytes.clone()], &mut self.packed).ok(),
            false => None,
        };
        match packed.filter(|length| *length < bytes.len()) {
            Some(length) => {
                self.end = bytes.start + length;
                self.frame[bytes.start..self.end].copy_from_slice(&self.packed[..length]);
                self.header(self.begin, LZ4, length, &raw);
            }
            None => self.header(self.begin, RAW, bytes.len(), &raw),
        }
    }

    /// Writes the header of a run.
    fn header(&mut self, at: usize, how: u8, length: usize, pages: &Range<u64>) {
        let [a, b, c, _] = (length as u32).to_le_bytes();
        let [d, e, f, g] = ((pages.end - pages.start) as u32).to_le_bytes();
        let header = &mut self.frame[at..at + RUN_HEADER];
        header[..8].copy_from_slice(&[how, a, b, c, d, e, f, g]);
        header[8..].copy_from_slice(&pages.start.to_le_bytes());
    }
}

/// True if a page holds nothing but zeros.
fn is_zero(page: &[u8]) -> bool {
    // Most non-zero pages differ in their first bytes.
    page.as_chunks::<64>().0.iter().all(|line| *line == [0; 64])
}

#[cfg(test)]
#[path = "pages_test.rs"]
mod tests;
