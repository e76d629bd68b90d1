//! The contents of RAM at one moment, kept in this process.
//!
//! Pages of zeros are not kept, and images that were taken one after the other share the pages that did
//! not change between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{GuestMemory, MemoryError, PAGE, PageSet};

/// Bytes of a page.
const BYTES: usize = PAGE as usize;

/// How much all images together may keep, and how much they do.
#[derive(Debug, Default)]
pub struct ImageBudget {
    kept: AtomicU64,
    limit: AtomicU64,
}

impl ImageBudget {
    /// Bytes that are kept.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// From now on `more` bytes may be kept besides those that are.
    pub fn allow(&self, more: u64) {
        self.limit.store(self.kept().saturating_add(more), Ordering::Relaxed);
    }
}

/// A page that is kept.
#[derive(Debug)]
struct Page {
    bytes: [u8; BYTES],
    budget: Arc<ImageBudget>,
}

impl Page {
    fn keep(bytes: &[u8; BYTES], budget: &Arc<ImageBudget>) -> Result<Arc<Page>, ImageError> {
        let (kept, limit) = (budget.kept(), budget.limit.load(Ordering::Relaxed));
        if kept + PAGE > limit {
            return Err(ImageError::TooMuch { kept, limit });
        }
        budget.kept.store(kept + PAGE, Ordering::Relaxed);
        Ok(Arc::new(Page { bytes: *bytes, budget: budget.clone() }))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.budget.kept.fetch_sub(PAGE, Ordering::Relaxed);
    }
}

/// Why an image could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The images together would be too large.
    #[error(
        "the snapshots would keep more than {} MiB of guest memory, as much as this host has to spare for them \
         ({} MiB are kept)",
        limit >> 20,
        kept >> 20
    )]
    TooMuch {
        /// Bytes that are kept, with those of the image that was begun.
        kept: u64,
        /// Bytes that may be.
        limit: u64,
    },
    /// Memory cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Pages in a chunk.
const CHUNK: u64 = 64;

/// Pages side by side; those that are missing are zero. Images share whole chunks: a count of who shares
/// a page lies beside the page, and touching thousands of them takes longer than copying what changed.
type Chunk = [Option<Arc<Page>>; CHUNK as usize];

/// The contents of RAM at one moment. A clone shares all pages.
#[derive(Clone, Debug, Default)]
pub struct MemoryImage {
    /// By the number of the first page divided by [`CHUNK`]; those that are missing are zero.
    chunks: BTreeMap<u64, Arc<Chunk>>,
}

/// The chunk of the page at `address`, and which one of it that is.
fn place(address: u64) -> (u64, usize) {
    let page = address / PAGE;
    (page / CHUNK, (page % CHUNK) as usize)
}

impl MemoryImage {
    /// What is in RAM now.
    ///
    /// # Errors
    ///
    /// [`ImageError`].
    pub fn take(memory: &GuestMemory, budget: &Arc<ImageBudget>) -> Result<MemoryImage, ImageError> {
        MemoryImage::default().retake(memory, &memory.committed(), budget)
    }

    /// What is in RAM now, if it differs from this image in no other pages than `changed`.
    ///
    /// # Errors
    ///
    /// [`ImageError`].
    pub fn retake(
        &self,
        memory: &GuestMemory,
        changed: &PageSet,
        budget: &Arc<ImageBudget>,
    ) -> Result<MemoryImage, ImageError> {
        let mut image = self.clone();
        let mut bytes = [0; BYTES];
        for address in changed.iter() {
            memory.read(address, &mut bytes)?;
            let now = match self.page(address) {
                // Written, but with what was there.
                Some(page) if page.bytes == bytes => continue,
                None if bytes == [0; BYTES] => continue,
                _ if bytes == [0; BYTES] => None,
                _ => Some(Page::keep(&bytes, budget)?),
            };
            let (chunk, index) = place(address);
            let chunk =
                image.chunks.entry(chunk).or_insert_with(|| Arc::new([const { None }; CHUNK as usize]));
            if let Some(page) = Arc::make_mut(chunk).get_mut(index) {
                *page = now;
            }
        }
        Ok(image)
    }

    /// Has `pages` of RAM hold what they hold in this image.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`] if the image is one of a larger memory.
    pub fn restore(&self, memory: &GuestMemory, pages: &PageSet) -> Result<(), MemoryError> {
        pages.iter().try_for_each(|address| {
            memory.write(address, self.page(address).map_or(&[0; BYTES], |page| &page.bytes))
        })
    }

    /// The pages that may be others than in `other`, which has to be one this one was taken from, or was
    /// taken from it, in any number of steps. Others are told to differ where they do not.
    pub fn changed_pages(&self, other: &MemoryImage) -> PageSet {
        let mut found = PageSet::default();
        let missing = Arc::new([const { None }; CHUNK as usize]);
        let numbers: BTreeSet<u64> = self.chunks.keys().chain(other.chunks.keys()).copied().collect();
        for number in numbers {
            let our = self.chunks.get(&number).unwrap_or(&missing);
            let their = other.chunks.get(&number).unwrap_or(&missing);
            if Arc::ptr_eq(our, their) {
                continue;
            }
            for (index, pair) in (0..).zip(our.iter().zip(their.iter())) {
                let same = match pair {
                    (Some(our), Some(their)) => Arc::ptr_eq(our, their),
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    found.insert((number * CHUNK + index) * PAGE);
                }
            }
        }
        found
    }

    /// How many pages there are in it, be they shared with others or not.
    pub fn pages(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.iter().flatten().count() as u64).sum()
    }

    fn page(&self, address: u64) -> Option<&Arc<Page>> {
        let (chunk, index) = place(address);
        self.chunks.get(&chunk)?.get(index)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plenty() -> Arc<ImageBudget> {
        let budget = Arc::new(ImageBudget::default());
        budget.allow(1 << 30);
        budget
    }

    fn pages(addresses: &[u64]) -> PageSet {
        addresses.iter().copied().collect()
    }

    #[test]
    fn a_chain_of_images_brings_back_each_moment_and_shares_what_did_not_change() {
        let memory = GuestMemory::new(4 << 20).unwrap();
        let budget = plenty();
        memory.write(0x1000, b"one").unwrap();
        memory.write(0x3000, b"three").unwrap();
        let first = MemoryImage::take(&memory, &budget).unwrap();
        assert_eq!((first.pages(), budget.kept()), (2, 2 * PAGE));
        // One page changes, one becomes zero, one comes, one is written with what was there.
        memory.write(0x1000, b"ONE").unwrap();
        memory.write(0x3000, &[0; 5]).unwrap();
        memory.write(0x9000, b"nine").unwrap();
        let second = first.retake(&memory, &pages(&[0x1000, 0x3000, 0x9000]), &budget).unwrap();
        assert_eq!((second.pages(), budget.kept()), (2, 4 * PAGE));
        let third = second.retake(&memory, &pages(&[0x1000, 0x9000, 0xA000]), &budget).unwrap();
        assert_eq!(budget.kept(), 4 * PAGE, "nothing has changed");
        assert!(third.changed_pages(&second).is_empty());

        let changed = first.changed_pages(&third);
        assert_eq!(changed, pages(&[0x1000, 0x3000, 0x9000]));
        first.restore(&memory, &changed).unwrap();
        for (address, word) in [(0x1000, &b"one\0\0"[..]), (0x3000, b"three"), (0x9000, &[0; 5])] {
            let mut bytes = [9; 5];
            memory.read(address, &mut bytes).unwrap();
            assert_eq!(bytes, word);
        }
        drop((second, third));
        assert_eq!(budget.kept(), 2 * PAGE);
        drop(first);
        assert_eq!(budget.kept(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
        let memory = GuestMemory::new(4 << 20).unwrap();
        for page in 1..=8 {
            memory.write(page * PAGE, b"x").unwrap();
        }
        let budget = Arc::new(ImageBudget::default());
        budget.allow(7 * PAGE);
        let error = MemoryImage::take(&memory, &budget).unwrap_err();
        assert!(matches!(error, ImageError::TooMuch { .. }), "{error}");
        assert_eq!(budget.kept(), 0);
        budget.allow(8 * PAGE);
        assert_eq!(MemoryImage::take(&memory, &budget).unwrap().pages(), 8);
    }

    #[test]
    fn ram_that_was_never_touched_is_not_read() {
        let memory = GuestMemory::new(64 << 30).unwrap();
        memory.write(0x9000, b"x").unwrap();
        assert_eq!(MemoryImage::take(&memory, &plenty()).unwrap().pages(), 1);
        let held = memory.committed().len();
        assert!(held <= 512, "{held} pages");
    }
}
