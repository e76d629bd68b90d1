//! Identifies files that are not ELF programs for this machine.
//!
//! The error names what the file is and how to get a guest from it, instead of reporting a bad signature.

use goblin::elf::header;
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, EM_386, EM_X86_64, ET_CORE, ET_DYN,
    ET_EXEC, ET_REL,
};

use super::error::GuestProblem;
use super::image::{self, Image};
use super::multiboot;

/// Bytes that cover every signature below; the farthest is that of a CD image.
const LOOK_AT: u64 = 0x8006;

/// The address after the last one of real mode, FFFF:FFFF.
const REAL_MODE_REACHES: u64 = 0x10_FFF0;

/// How a snapshot file starts ([`crate::state`] owns the format).
const SNAPSHOT: &[u8] = b"\x8AKVM\r\n\x1A\n";

/// Where any bytes could be meant as code.
const OR_FLAT: &str = "build an ELF executable, for example with `ld -Ttext=0x200000`, and give that; if it is flat \
                       16-bit code, run it with `--boot flat`, or name it `.bin`";
const BOOT_SECTOR: &str = "build an ELF executable and give that; `--boot flat --load 0x7c00` starts it in real mode, \
                           without a BIOS";
const BUILD: &str = "build an ELF executable, for example with `ld -Ttext=0x200000`, and give that";
const ONLY_DISK: &str = "there is nothing in it to run: if it is a disk, write a boot sector to it, or give a guest and \
                         the disk with `--disk`; `--boot flat` executes the zeros";
const MAKE_RAW: &str =
    "disk images are raw: convert it with `qemu-img convert -O raw`, and give what that writes";
const UNPACK: &str = "unpack it first and give the ELF file that was in it";
const FOR_X86_64: &str =
    "build it for x86-64 (`gcc -m64 -ffreestanding -nostdlib`, `cargo build --target x86_64-unknown-none`)";

const FOR_X86_64_OR_MULTIBOOT: &str =
    "build it for x86-64 (`gcc -m64 -ffreestanding -nostdlib`), or give it a Multiboot header";
/// For files that only `--boot` has brought here.
const MULTIBOOT: &str = "start it with `--boot multiboot` or `--boot multiboot2`, or without the option";

fn not_a_guest(what: impl Into<String>, remedy: &'static str) -> GuestProblem {
    GuestProblem::NotAGuest { what: what.into(), remedy }
}

/// The error for a compressed file that has to be unpacked by the user; `what` was in it.
pub(super) fn compressed(what: &str) -> GuestProblem {
    not_a_guest(format!("a gzip-compressed {what}"), "unpack it first (`gunzip`) and give what was in it")
}

/// The error for a file without the ELF signature.
pub(super) fn without_elf_magic(file: &dyn Image) -> GuestProblem {
    if file.is_empty() {
        return not_a_guest(
            "an empty file",
            "the build that should have written it has failed, or disk is full",
        );
    }
    if is_blank(file) {
        return not_a_guest("a blank file (all zeros)", ONLY_DISK);
    }
    match image::read(file, 0, file.len().min(LOOK_AT), "the file") {
        Ok(head) if head.starts_with(SNAPSHOT) => GuestProblem::Snapshot { name: file.name().to_owned() },
        Ok(head) => name_of(&head),
        Err(problem) => problem,
    }
}

fn name_of(head: &[u8]) -> GuestProblem {
    kind_of(head).unwrap_or_else(|| unknown(head))
}

/// What a file is that begins with `head`; `None` if its contents do not say.
fn kind_of(head: &[u8]) -> Option<GuestProblem> {
    let at = |offset: usize, bytes: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    if at(0, b"#!") {
        return Some(not_a_guest(
            "a script (it starts with `#!`)",
            "give the ELF file that it builds, or run the script itself",
        ));
    }
    // Before MZ: kernels with an EFI stub are also PE files.
    if at(0x202, b"HdrS") {
        return Some(not_a_guest(
            "a Linux kernel image (bzImage)",
            "leave `--boot` out, or give `--boot linux`",
        ));
    }
    let kernels: [(usize, &[u8], &str); 3] = [
        (0x38, b"ARM\x64", "a Linux kernel image for 64-bit Arm (aarch64)"),
        (0x38, b"RSC\x05", "a Linux kernel image for RISC-V"),
        (0x24, &[0x18, 0x28, 0x6F, 0x01], "a Linux kernel image for 32-bit Arm (zImage)"),
    ];
    if let Some((_, _, what)) = kernels.into_iter().find(|(offset, bytes, _)| at(*offset, bytes)) {
        return Some(not_a_guest(what, "give a kernel for x86-64 (`arch/x86/boot/bzImage`)"));
    }
    if at(0, b"MZ") {
        return Some(not_a_guest("a Windows or UEFI program (PE, `MZ`)", BUILD));
    }
    let signatures: [(usize, &[u8], &str, &'static str); 22] = [
        (0, &[0x1F, 0x8B], "a gzip-compressed file", UNPACK),
        (0, &[0xFD, b'7', b'z', b'X', b'Z', 0], "an xz-compressed file", UNPACK),
        (0, &[0x28, 0xB5, 0x2F, 0xFD], "a zstd-compressed file", UNPACK),
        (0, b"BZh", "a bzip2-compressed file", UNPACK),
        (0, b"PK\x03\x04", "a zip archive", UNPACK),
        (257, b"ustar", "a tar archive", UNPACK),
        (0, b"070701", "a cpio archive (initramfs)", "give a kernel, and the archive with `--initrd`"),
        (0, b"!<arch>\n", "a library of object files (`.a`)", "link it into an executable with `ld`"),
        (0, b"BC\xC0\xDE", "LLVM bitcode", "compile and link it into an executable"),
        (0, b"QFI\xFB", "a qcow2 disk image", MAKE_RAW),
        (0, b"KDMV", "a VMDK disk image", MAKE_RAW),
        (0x40, &[0x7F, 0x10, 0xDA, 0xBE], "a VDI disk image", MAKE_RAW),
        (0, b"conectix", "a VHD disk image", MAKE_RAW),
        (512, b"EFI PART", "a disk image with a partition table and no boot loader", ONLY_DISK),
        (1080, &[0x53, 0xEF], "an ext2, ext3 or ext4 file system without a boot loader", ONLY_DISK),
        (0, b"XFSB", "an XFS file system", ONLY_DISK),
        (0, b"hsqs", "a squashfs file system", ONLY_DISK),
        (0, b"LUKS\xBA\xBE", "an encrypted disk (LUKS)", ONLY_DISK),
        (4086, b"SWAPSPACE2", "swap space", ONLY_DISK),
        (0, &[0xCF, 0xFA, 0xED, 0xFE], "a Mach-O program of macOS", FOR_X86_64),
        (0, b"\xCA\xFE\xBA\xBE", "a Mach-O universal program or a Java class", FOR_X86_64),
        (0x8001, b"CD001", "a CD image (ISO 9660)", "leave `--boot` out, or give `--boot cdrom`"),
    ];
    for (offset, bytes, what, remedy) in signatures {
        if at(offset, bytes) {
            return Some(not_a_guest(what, remedy));
        }
    }
    if let Some(version) = multiboot::name_of_header(head) {
        return Some(not_a_guest(format!("a {version} kernel"), MULTIBOOT));
    }
    if at(510, &[0x55, 0xAA]) {
        return Some(not_a_guest("a boot sector or disk image (0x55AA at offset 510)", BOOT_SECTOR));
    }
    if is_text(head) {
        return Some(not_a_guest("a text file", BUILD));
    }
    None
}

/// True for the start of a file whose contents do not say what it is.
pub(super) fn is_unknown(head: &[u8]) -> bool {
    !head.starts_with(SNAPSHOT) && !head.starts_with(b"\x7FELF") && kind_of(head).is_none()
}

/// True for a file, empty or not, that holds zeros alone as far as real mode reaches.
pub(super) fn is_blank(file: &dyn Image) -> bool {
    let mut piece = [0; 4096];
    let end = file.len().min(REAL_MODE_REACHES);
    (0..end).step_by(piece.len()).all(|start| {
        let piece = &mut piece[..(end - start).min(4096) as usize];
        file.read_at(start, piece).is_ok() && piece.iter().all(|byte| *byte == 0)
    })
}

fn unknown(head: &[u8]) -> GuestProblem {
    let magic = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    not_a_guest(format!("a file of unknown kind (it starts with {magic})"), OR_FLAT)
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Text whose last character is cut off by the end of the buffer is still text.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || "\t\n\r\u{c}\u{1b}".contains(c))
}

/// Makes sure that an ELF file is a program for a 64-bit x86 machine, by the start of its header:
/// `e_ident`, `e_type` and `e_machine`, which lie at the same place in every ELF file.
///
/// `whole` is called for the start of the file if a 32-bit kernel needs closer examination.
pub(super) fn check_elf(header: &[u8; 20], file: &dyn Image) -> Result<(), GuestProblem> {
    let (class, data, kind, machine) = checked_start(header)?;
    if machine == EM_386 {
        return Err(thirty_two_bit_x86(file));
    }
    if machine != EM_X86_64 {
        return Err(not_a_guest(format!("an ELF file for {}", machine_name(machine)), FOR_X86_64));
    }
    if class == ELFCLASS32 {
        return Err(not_a_guest("a 32-bit ELF file for x86-64 (the x32 ABI)", FOR_X86_64));
    }
    if data == ELFDATA2MSB {
        return Err(not_a_guest("a big-endian ELF file", FOR_X86_64));
    }
    check_kind(kind)
}

/// The same for a protocol that loads files of either class.
pub(super) fn check_elf_of_any_class(header: &[u8; 20]) -> Result<(), GuestProblem> {
    let (_, data, kind, machine) = checked_start(header)?;
    if machine != EM_386 && machine != EM_X86_64 {
        return Err(not_a_guest(format!("an ELF file for {}", machine_name(machine)), FOR_X86_64));
    }
    if data == ELFDATA2MSB {
        return Err(not_a_guest("a big-endian ELF file", FOR_X86_64));
    }
    check_kind(kind)
}

/// Class, byte order, type and machine; the first two are values that there are.
fn checked_start(header: &[u8; 20]) -> Result<(u8, u8, u16, u16), GuestProblem> {
    let (class, data) = (header[EI_CLASS], header[EI_DATA]);
    let half = |offset: usize| {
        let bytes = [header[offset], header[offset + 1]];
        if data == ELFDATA2MSB { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    };
    if data != ELFDATA2LSB && data != ELFDATA2MSB {
        return Err(damaged("EI_DATA", data.into(), "1 (little-endian)"));
    }
    if class != ELFCLASS32 && class != ELFCLASS64 {
        return Err(damaged("EI_CLASS", class.into(), "2 (64-bit)"));
    }
    Ok((class, data, half(16), half(18)))
}

fn check_kind(kind: u16) -> Result<(), GuestProblem> {
    match kind {
        ET_EXEC | ET_DYN => Ok(()),
        ET_REL => {
            Err(not_a_guest("a relocatable object file", "link it first: `ld -o guest.elf` with this file"))
        }
        ET_CORE => Err(not_a_guest("a core dump", "give the program that dumped it, or open it with gdb")),
        other => Err(damaged("e_type", other.into(), "2 (ET_EXEC) or 3 (ET_DYN)")),
    }
}

fn thirty_two_bit_x86(file: &dyn Image) -> GuestProblem {
    let head = image::read(file, 0, file.len().min(LOOK_AT), "the file").unwrap_or_default();
    match multiboot::name_of_header(&head) {
        Some(version) => not_a_guest(format!("a 32-bit x86 (i386) {version} kernel"), MULTIBOOT),
        None => not_a_guest("an ELF file for 32-bit x86 (i386)", FOR_X86_64_OR_MULTIBOOT),
    }
}

fn damaged(field: &str, value: u64, expected: &'static str) -> GuestProblem {
    GuestProblem::Field { field: field.to_owned(), value, expected }
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        header::EM_AARCH64 => "64-bit Arm (aarch64)",
        header::EM_ARM => "32-bit Arm",
        header::EM_RISCV => "RISC-V",
        header::EM_PPC | header::EM_PPC64 => "PowerPC",
        header::EM_MIPS => "MIPS",
        header::EM_S390 => "IBM S/390",
        header::EM_SPARC | header::EM_SPARCV9 => "SPARC",
        header::EM_68K => "Motorola 68000",
        header::EM_AVR => "AVR",
        header::EM_BPF => "the Linux BPF machine",
        258 => "LoongArch",
        _ => return format!("another machine (e_machine {machine})"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(bytes: &[u8]) -> String {
        name_of(bytes).to_string()
    }

    #[test]
    fn a_bzimage_with_an_efi_stub_is_called_a_linux_kernel() {
        let mut kernel = vec![0; 0x400];
        kernel[..2].copy_from_slice(b"MZ");
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(said_of(&kernel).contains("bzImage"), "{}", said_of(&kernel));
        assert!(said_of(b"MZ").contains("Windows or UEFI"));
    }

    #[test]
    fn a_snapshot_is_recognised_with_the_command_that_continues_it() {
        let snapshot =
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/version-0.1.0.kvmstate"));
        let message = without_elf_magic(&image::BytesImage::new("f.kvmstate", snapshot)).to_string();
        assert!(message.ends_with("to continue it: `kvm --restore f.kvmstate`"), "{message}");
    }

    #[test]
    fn a_file_system_is_a_disk_without_a_boot_loader() {
        let mut disk = vec![0; 2048];
        disk[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        assert!(
            said_of(&disk).contains("file system without a boot loader, not a bare-metal"),
            "{}",
            said_of(&disk)
        );
        assert!(!is_unknown(&disk), "its name does not make it code");
    }

    #[test]
    fn disk_images_that_are_not_raw_are_to_be_converted() {
        let vdi = [&[b'<'; 0x40][..], &[0x7F, 0x10, 0xDA, 0xBE]].concat();
        for bytes in [&b"QFI\xFB"[..], b"KDMV", b"conectix", &vdi] {
            assert!(said_of(bytes).contains("qemu-img convert"), "{}", said_of(bytes));
        }
    }

    #[test]
    fn text_stays_text_when_the_part_read_ends_inside_a_character() {
        assert!(said_of("perch\u{e9}".as_bytes()).contains("a text file"));
        assert!(said_of(&"perch\u{e9}".as_bytes()[..6]).contains("a text file"));
        assert!(said_of(&[0xF4, 0, 1, 2, 3]).contains("unknown kind (it starts with f4 00 01 02)"));
    }
}
