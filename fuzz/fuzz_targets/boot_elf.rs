//! Any bytes at all are given to the loader as a guest: it must refuse them or load them, without a
//! panic, a hang or unbounded memory.
//!
//! From the top directory, starting from the bad guests that are known already:
//!
//! ```sh
//! mkdir -p fuzz/corpus/boot_elf
//! cargo +nightly fuzz run boot_elf --target x86_64-unknown-linux-gnu fuzz/corpus/boot_elf tests/bad-guests
//! ```
#![no_main]

use kvm::boot::{BootOptions, BytesImage, load};
use kvm::memory::GuestMemory;
use libfuzzer_sys::fuzz_target;

const MEMORY: u64 = 4 << 20;

fuzz_target!(|file: &[u8]| {
    let memory = GuestMemory::new(MEMORY).expect("a few MiB can be had");
    for strict in [false, true] {
        let options = BootOptions { strict, ..BootOptions::default() };
        if let Ok(boot) = load(&BytesImage::new("fuzz", file), &memory, &options) {
            for region in &boot.layout {
                assert!(memory.is_ram(region.range.start, region.range.end - region.range.start));
            }
            for pair in boot.layout.windows(2) {
                assert!(pair[0].range.end <= pair[1].range.start);
            }
        }
        memory.discard().expect("the host takes pages back");
    }
});
