//! Copies of the contents of RAM, held in this process: snapshots in memory are made of them.
//!
//! Pages of zeros take no space. Images that were taken one after the other share the pages that did not change
//! between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{GuestMemory, MemoryError, PageSet};
use crate::arch::PAGE_SIZE;

/// Size of a page in bytes.
const BYTES: usize = PAGE_SIZE as usize;

/// How many bytes all images together may hold, and how many they do.
#[derive(Debug, Default)]
pub struct ImageBudget {
    held: AtomicU64,
    limit: AtomicU64,
}

impl ImageBudget {
    /// How many bytes the images hold.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Sets the limit to `more` bytes above what the images hold now.
    pub fn allow(&self, more: u64) {
        self.limit.store(self.held().saturating_add(more), Ordering::Relaxed);
    }
}

/// A page of one or several images.
#[derive(Debug)]
struct ImagePage {
    bytes: [u8; BYTES],
    budget: Arc<ImageBudget>,
}

impl ImagePage {
    fn copy(bytes: &[u8; BYTES], budget: &Arc<ImageBudget>) -> Result<Arc<ImagePage>, ImageError> {
        let (held, limit) = (budget.held(), budget.limit.load(Ordering::Relaxed));
        if held + PAGE_SIZE > limit {
            return Err(ImageError::TooLarge { held, limit });
        }
        budget.held.store(held + PAGE_SIZE, Ordering::Relaxed);
        Ok(Arc::new(ImagePage { bytes: *bytes, budget: budget.clone() }))
    }
}

impl Drop for ImagePage {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(PAGE_SIZE, Ordering::Relaxed);
    }
}

/// Why an image could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The images together would be larger than the budget.
    #[error(
        "the snapshots would keep more than {} MiB of guest memory, as much as this host has to spare for them \
         ({} MiB are kept)",
        limit >> 20,
        held >> 20
    )]
    TooLarge {
        /// Bytes that the images hold, with the part of the new one that was copied.
        held: u64,
        /// Bytes that they may hold.
        limit: u64,
    },
    /// RAM cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// Pages in a group.
const GROUP: u64 = 64;

/// Neighbouring pages; `None` is a page of zeros. Images share whole groups: the reference count of a page lies
/// beside the page, and counting thousands of pages takes longer than copying those that changed.
type PageGroup = [Option<Arc<ImagePage>>; GROUP as usize];

/// A copy of the contents of RAM. A clone shares all pages.
#[derive(Clone, Debug, Default)]
pub struct MemoryImage {
    /// By the number of the first page divided by [`GROUP`]; a missing group is all zeros.
    groups: BTreeMap<u64, Arc<PageGroup>>,
}

/// The number of the group of the page at `address`, and the index of the page in it.
fn place(address: u64) -> (u64, usize) {
    let page = address / PAGE_SIZE;
    (page / GROUP, (page % GROUP) as usize)
}

impl MemoryImage {
    /// Copies the contents of RAM.
    ///
    /// # Errors
    ///
    /// [`ImageError`].
    pub fn take(memory: &GuestMemory, budget: &Arc<ImageBudget>) -> Result<MemoryImage, ImageError> {
        MemoryImage::default().retake(memory, &memory.committed(), budget)
    }

    /// Copies the contents of RAM, which differ from this image in no other pages than `changed`. The new image
    /// shares all other pages with this one.
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
                // Written, but with the same bytes.
                Some(page) if page.bytes == bytes => continue,
                None if bytes == [0; BYTES] => continue,
                _ if bytes == [0; BYTES] => None,
                _ => Some(ImagePage::copy(&bytes, budget)?),
            };
            let (group, index) = place(address);
            let group =
                image.groups.entry(group).or_insert_with(|| Arc::new([const { None }; GROUP as usize]));
            if let Some(page) = Arc::make_mut(group).get_mut(index) {
                *page = now;
            }
        }
        Ok(image)
    }

    /// Writes the contents that `pages` have in this image to RAM.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`] if the image is one of a larger memory.
    pub fn restore(&self, memory: &GuestMemory, pages: &PageSet) -> Result<(), MemoryError> {
        pages.iter().try_for_each(|address| {
            memory.write(address, self.page(address).map_or(&[0; BYTES], |page| &page.bytes))
        })
    }

    /// The pages that may differ from those in `other`. The two images must be related by any number of
    /// [`Self::retake`]; otherwise equal pages are among the result.
    pub fn changed_pages(&self, other: &MemoryImage) -> PageSet {
        let mut found = PageSet::default();
        let missing = Arc::new([const { None }; GROUP as usize]);
        let numbers: BTreeSet<u64> = self.groups.keys().chain(other.groups.keys()).copied().collect();
        for number in numbers {
            let our = self.groups.get(&number).unwrap_or(&missing);
            let their = other.groups.get(&number).unwrap_or(&missing);
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
                    found.insert((number * GROUP + index) * PAGE_SIZE);
                }
            }
        }
        found
    }

    /// How many pages it has that are not all zeros, shared ones included.
    pub fn pages(&self) -> u64 {
        self.groups.values().map(|group| group.iter().flatten().count() as u64).sum()
    }

    fn page(&self, address: u64) -> Option<&Arc<ImagePage>> {
        let (group, index) = place(address);
        self.groups.get(&group)?.get(index)?.as_ref()
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
