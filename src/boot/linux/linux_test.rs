//! Kernels in memory: what they find, and what does not fit.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use linux_loader::bootparam::boot_params;

use super::test_kernel::TestKernel;
use super::*;
use crate::boot::BytesImage;
use crate::boot::test_guest::{CODE, TestGuest};
use crate::fuzzing::Random;

/// A file that is deleted at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(contents: &[u8]) -> TemporaryFile {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kvm-linux-test-{}-{number}", std::process::id()));
        std::fs::write(&path, contents).unwrap();
        TemporaryFile(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn load(kernel: TestKernel, memory: &GuestMemory, options: &BootOptions) -> Result<LoadedGuest, BootError> {
    load_bzimage(&BytesImage::new("bzImage", &kernel.build()), memory, options)
}

fn with_initrds(files: &[&TemporaryFile]) -> BootOptions {
    let modules = files.iter().map(|file| (file.0.clone(), String::new())).collect();
    BootOptions { modules, command_line: "console=ttyS0".to_owned(), ..BootOptions::default() }
}

fn zero_page(memory: &GuestMemory, guest: &LoadedGuest) -> boot_params {
    let mut page = boot_params::default();
    memory.read(guest.registers.general.rsi, page.as_mut_slice()).unwrap();
    page
}

fn text(memory: &GuestMemory, at: u64, length: usize) -> String {
    let mut bytes = vec![0; length];
    memory.read(at, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_kernel_starts_at_its_64_bit_entry_with_all_that_it_was_given() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let (first, second) = (TemporaryFile::new(b"microcode"), TemporaryFile::new(b"initramfs"));
    let guest = load(TestKernel::new(), &memory, &with_initrds(&[&first, &second])).unwrap();
    let general = guest.registers.general;
    assert_eq!(guest.registers.bitness(), 64);
    assert_eq!(text(&memory, general.rip, 6), "64-bit");
    let page = zero_page(&memory, &guest);
    assert_eq!(text(&memory, { page.hdr }.cmd_line_ptr.into(), 14), "console=ttyS0\0");
    let (at, size) = ({ page.hdr }.ramdisk_image, { page.hdr }.ramdisk_size);
    assert_eq!((at % 4096, size), (0, 21), "the second archive begins at a multiple of 4");
    assert_eq!(text(&memory, at.into(), 21), "microcode\0\0\0initramfs");
    let rsdp = page.acpi_rsdp_addr;
    assert_eq!(text(&memory, rsdp, 8), "RSD PTR ");
    let names: Vec<String> = guest.layout.iter().map(ToString::to_string).collect();
    assert!(names.iter().any(|name| name.ends_with("initrd")), "{names:?}");
    assert!(names.iter().any(|name| name.contains("0x200000..0x210000 a Linux kernel image")), "{names:?}");
}

#[test]
fn a_kernel_without_a_64_bit_entry_starts_at_that_of_32_bits() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let guest = load(TestKernel::new().put(0x236, &[0, 0]), &memory, &BootOptions::default()).unwrap();
    assert_eq!(guest.registers.bitness(), 32);
    assert_eq!(text(&memory, guest.registers.general.rip, 6), "32-bit");
    let page = zero_page(&memory, &guest);
    assert_eq!(({ page.hdr }.ramdisk_image, { page.hdr }.ramdisk_size), (0, 0));
    assert_eq!({ page.hdr.code32_start }, 0x20_0000);
}

#[test]
fn an_initrd_lies_as_high_as_the_kernel_allows() {
    let file = TemporaryFile::new(&[7; 5000]);
    let memory = GuestMemory::new(8 << 20).unwrap();
    let place = |kernel| {
        memory.discard().unwrap();
        let guest = load(kernel, &memory, &with_initrds(&[&file]))?;
        Ok::<u32, BootError>({ zero_page(&memory, &guest).hdr }.ramdisk_image)
    };
    assert_eq!(place(TestKernel::new()).unwrap(), 0x7F_E000);
    assert_eq!(place(TestKernel::new().put(0x22C, &0x3F_FFFFu32.to_le_bytes())).unwrap(), 0x3F_E000);
    let error = place(TestKernel::new().put(0x22C, &0x21_0FFFu32.to_le_bytes())).unwrap_err().to_string();
    let expected = "the initrd has 5000 bytes, and only 4096 are free between the kernel and the kernel's limit \
                    0x210fff (initrd_addr_max)";
    assert!(error.contains(expected), "{error}");
}

/// The number of MiB that a message recommends.
fn recommended(error: &str) -> u64 {
    let rest = error.split("`--memory ").nth(1).unwrap_or_else(|| panic!("{error}"));
    rest.split('M').next().unwrap().parse().unwrap()
}

#[test]
fn the_memory_that_a_message_recommends_is_enough() {
    let file = TemporaryFile::new(&vec![7; 3 << 20]);
    let options = with_initrds(&[&file]);
    let large = || TestKernel::new().put(0x260, &0x40_0000u32.to_le_bytes());
    for (kernel, options, first, sizes) in [
        (large(), BootOptions::default(), "the kernel needs 0x200000..0x600000", [4, 6]),
        (
            TestKernel::new(),
            options,
            "the initrd has 3145728 bytes, and 4 MiB of guest memory have 2031616",
            [4, 6],
        ),
    ] {
        let memory = GuestMemory::new(sizes[0] << 20).unwrap();
        let error = load(kernel.clone(), &memory, &options).unwrap_err().to_string();
        assert!(error.contains(first), "{error}");
        assert_eq!(recommended(&error), sizes[1], "{error}");
        load(kernel, &GuestMemory::new(sizes[1] << 20).unwrap(), &options).unwrap();
    }
    let never = TestKernel::new().put(0x258, &0xBFFF_F000u64.to_le_bytes());
    let error = load(never, &GuestMemory::new(4 << 20).unwrap(), &BootOptions::default()).unwrap_err();
    assert!(error.to_string().contains("never all RAM"), "{error}");
}

#[test]
fn a_command_line_longer_than_the_kernel_accepts_is_refused() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let options = |length| BootOptions { command_line: "x".repeat(length), ..BootOptions::default() };
    load(TestKernel::new(), &memory, &options(100)).unwrap();
    let error = load(TestKernel::new(), &memory, &options(101)).unwrap_err().to_string();
    assert!(error.contains("101 bytes, and this kernel accepts 100"), "{error}");
}

#[test]
fn an_image_that_only_starts_in_real_mode_is_refused_with_its_name() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let kernel = TestKernel::new().version(0x207).put(0x214, &[0; 4]);
    let error = load(kernel, &memory, &BootOptions::default()).unwrap_err().to_string();
    assert!(error.contains("version 6.1.0-test #1 has no 32-bit entry point"), "{error}");
}

const SALT: &[u8] = b"\x06\0\0\0\x04\0\0\0\0\x01\0\0Linux\0\0\0salt";

#[test]
fn a_vmlinux_is_loaded_at_its_physical_addresses() {
    // The second segment is that of the variables of each processor, at virtual address 0.
    let file = TestGuest::new(0x20_0000)
        .load(CODE, 0xFFFF_FFFF_8020_0000, b"\xF4kernel")
        .at_physical(0x20_0000)
        .load(CODE, 0, b"percpu")
        .at_physical(0x30_0000)
        .header(4, CODE, 0x20_0000, SALT)
        .build();
    let image = BytesImage::new("vmlinux", &file);
    assert!(is_vmlinux(&image) && !is_large_kernel(&image, BootKind::Linux));
    let memory = GuestMemory::new(8 << 20).unwrap();
    let guest = load_vmlinux(&image, &memory, &BootOptions::default()).unwrap();
    assert_eq!((guest.registers.general.rip, guest.registers.bitness()), (0x20_0000, 64));
    assert_eq!(text(&memory, 0x30_0000, 6), "percpu");
    let page = zero_page(&memory, &guest);
    assert_eq!(({ page.hdr }.header, { page.hdr }.boot_flag), (u32::from_le_bytes(*b"HdrS"), 0xAA55));
    let plain = TestGuest::simple().build();
    assert!(!is_vmlinux(&BytesImage::new("plain", &plain)));
}

#[test]
fn a_kernel_of_many_mib_is_large() {
    let large = TestKernel::new().put(0x260, &0x300_0000u32.to_le_bytes()).build();
    assert!(is_large_kernel(&BytesImage::new("bzImage", &large), BootKind::Linux));
    assert!(!is_large_kernel(&BytesImage::new("bzImage", &TestKernel::new().build()), BootKind::Linux));
}

#[test]
fn damaged_copies_of_a_kernel_never_panic() {
    let good = TestKernel::new().build();
    let memory = GuestMemory::new(4 << 20).unwrap();
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    let (mut loaded, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut file = good.clone();
        for _ in 0..=random.below(3) {
            let at = 0x1F1 + random.below(0x26C - 0x1F1);
            file[at] = random.next() as u8;
        }
        match load_bzimage(&BytesImage::new("bzImage", &file), &memory, &BootOptions::default()) {
            Ok(guest) => {
                for region in &guest.layout {
                    assert!(memory.is_ram(region.range.start, region.range.end - region.range.start));
                }
                loaded += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(loaded > 500 && refused > 500, "{loaded} loaded, {refused} refused: too one-sided to tell");
}
