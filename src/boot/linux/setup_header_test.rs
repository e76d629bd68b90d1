//! Setup headers of all versions, and damaged ones.

use super::super::test_kernel::{CODE_OFFSET, TestKernel};
use super::*;
use crate::boot::BytesImage;

fn read(kernel: TestKernel) -> Result<SetupHeader, String> {
    SetupHeader::read(&BytesImage::new("bzImage", &kernel.build())).map_err(|error| error.to_string())
}

#[test]
fn a_kernel_prefers_its_64_bit_entry_and_its_own_address() {
    let header = read(TestKernel::new()).unwrap();
    assert_eq!(header.entry(), Some(Entry::Long(0x20_0200)));
    assert_eq!(header.needed_memory(), Some(0x20_0000..0x21_0000));
    assert_eq!(header.describe(), "a Linux kernel image (bzImage), version 6.1.0-test #1");
}

#[test]
fn a_kernel_without_a_64_bit_entry_has_that_of_32_bits() {
    let header = read(TestKernel::new().put(0x236, &[0, 0])).unwrap();
    assert_eq!(header.entry(), Some(Entry::Protected(0x20_0000)));
    // Before 2.12 the field does not exist, whatever is in its place.
    let header = read(TestKernel::new().version(0x20B)).unwrap();
    assert_eq!(header.entry(), Some(Entry::Protected(0x20_0000)));
}

#[test]
fn what_an_old_version_does_not_have_is_not_believed() {
    let header = read(TestKernel::new().version(0x202)).unwrap();
    assert_eq!(header.load_address(), 0x10_0000);
    assert_eq!(({ header.raw.cmdline_size }, { header.raw.initrd_addr_max }), (255, 0x37FF_FFFF));
    assert_eq!({ header.raw.init_size }, 0);
    assert_eq!(header.needed_memory(), Some(0x10_0000..0x10_0300));
}

#[test]
fn an_image_that_only_starts_in_real_mode_has_no_entry() {
    let header = read(TestKernel::new().version(0x207).put(0x214, &[0; 4])).unwrap();
    assert_eq!(header.entry(), None);
}

#[test]
fn memtest86_is_named() {
    let header = read(TestKernel::new().put(0x280, b"Memtest86+ v6.10\0")).unwrap();
    assert_eq!(header.describe(), "Memtest86+ v6.10, as a Linux kernel image (bzImage)");
    let header = read(TestKernel::new().put(0x20E, &[0, 0])).unwrap();
    assert_eq!(header.describe(), "a Linux kernel image (bzImage)");
}

#[test]
fn a_signature_behind_the_kernel_is_no_part_of_it() {
    let start = CODE_OFFSET as u64;
    let header = read(TestKernel::new().followed_by(&[1; 100])).unwrap();
    assert_eq!(header.code, start..start + 0x300);
    // The last paragraph need not be complete.
    let header = read(TestKernel::new().put(0x1F4, &0x31u32.to_le_bytes()).followed_by(&[1])).unwrap();
    assert_eq!(header.code, start..start + 0x301);
}

#[test]
fn every_shorter_copy_is_truncated() {
    let kernel = TestKernel::new().build();
    for length in 0x206..kernel.len() {
        let image = BytesImage::new("bzImage", &kernel[..length]);
        assert!(is_present(&image));
        // The last paragraph may be incomplete.
        match SetupHeader::read(&image).map_err(|error| error.to_string()) {
            Ok(_) => assert!(length > kernel.len() - 16, "{length}"),
            Err(error) => {
                let part = if length < 0x26C { "the setup header" } else { "the protected-mode code" };
                assert!(error.contains("the file ends") && error.contains(part), "{length}: {error}");
            }
        }
    }
}

#[test]
fn damaged_headers_are_refused_with_the_field() {
    for (kernel, expected) in [
        (TestKernel::new().put(0x1FE, &[0]), "boot_flag in the setup header is 0xaa00"),
        (TestKernel::new().version(0x100), "version in the setup header is 0x100"),
        (TestKernel::new().put(0x211, &[0]), "this kernel is a zImage"),
        (TestKernel::new().put(0x230, &[3]), "kernel_alignment in the setup header is 0x1003"),
        (TestKernel::new().put(0x1F1, &[64]), "before the end of the protected-mode code"),
    ] {
        let error = read(kernel).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
}
