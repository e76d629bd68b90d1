//! Kinds of guest file, and the options that say how one is loaded and started.
//!
//! [`BOOT_KINDS`] has a row for each kind: `--boot`, `kvm --help` and the table in docs/boot-protocols.md are made
//! from it. `boot::Protocol` has the code for each row.

use std::fmt;
use std::path::PathBuf;

use super::GdbArch;

/// A kind of guest file, which determines how it is loaded and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BootKind {
    /// A 64-bit ELF executable, started in long mode.
    Elf64,
    /// A Linux kernel.
    Linux,
    /// A Linux kernel image that starts in real mode, with the services of the machine's own BIOS.
    Linux16,
    /// An ELF file with a PVH entry point.
    Pvh,
    /// A Multiboot kernel, started in 32-bit protected mode.
    Multiboot,
    /// A Multiboot2 kernel, started in 32-bit protected mode.
    Multiboot2,
    /// A kernel for the Limine boot protocol, started in long mode.
    Limine,
    /// A flat image of code, started in real mode.
    Flat,
    /// A disk image, whose first sector is started by the machine's own BIOS.
    Disk,
    /// A CD image, whose boot image is started by the machine's own BIOS.
    Cdrom,
    /// Firmware, started at the reset vector of a ROM.
    Rom,
}

/// What users are told about a kind of guest file.
#[derive(Debug)]
pub struct BootKindSpec {
    /// The kind.
    pub kind: BootKind,
    /// The value of `--boot`.
    pub name: &'static str,
    /// What such a file is.
    pub file: &'static str,
    /// How such a file is recognised without `--boot`.
    pub recognised: &'static str,
    /// The state of the processor at the first instruction.
    pub entry: &'static str,
    /// The architecture that gdb sees unless the user chooses one.
    pub gdb_arch: GdbArch,
    /// A command line that runs one.
    pub example: &'static str,
}

/// Every kind of guest file, in the order of the documentation.
pub static BOOT_KINDS: &[BootKindSpec] = &[
    BootKindSpec {
        kind: BootKind::Elf64,
        name: "elf64",
        file: "64-bit ELF executable",
        recognised: "an ELF file for x86-64 without another boot header",
        entry: "long mode at `e_entry`, paging on; RDI: `hvm_start_info` (docs/boot-state.md)",
        gdb_arch: GdbArch::X86_64,
        example: "kvm hello.elf",
    },
    BootKindSpec {
        kind: BootKind::Linux,
        name: "linux",
        file: "Linux kernel",
        recognised: "a bzImage (`HdrS` at offset 0x202), Memtest86+ included, or a `vmlinux` (note of Linux)",
        entry: "long mode at the 64-bit entry point, else protected mode; RSI: `boot_params`",
        gdb_arch: GdbArch::X86_64,
        example: "kvm bzImage --initrd initramfs.gz -- console=ttyS0",
    },
    BootKindSpec {
        kind: BootKind::Linux16,
        name: "linux16",
        file: "Linux kernel image that starts in real mode",
        recognised: "a bzImage that has no other entry point, such as iPXE's `.lkrn`",
        entry: "real mode in the setup code, at 9020:0; services of a BIOS (docs/bios.md)",
        gdb_arch: GdbArch::I8086,
        example: "kvm ipxe.lkrn -- shell",
    },
    BootKindSpec {
        kind: BootKind::Pvh,
        name: "pvh",
        file: "ELF executable with a PVH entry point",
        recognised: "an ELF file, 64-bit or 32-bit, with the note XEN_ELFNOTE_PHYS32_ENTRY",
        entry: "protected mode at the address in the note, no paging; EBX: `hvm_start_info`",
        gdb_arch: GdbArch::I386,
        example: "kvm pvh.elf",
    },
    BootKindSpec {
        kind: BootKind::Multiboot,
        name: "multiboot",
        file: "Multiboot kernel",
        recognised: "a Multiboot header (0x1BADB002) in the first 8 KiB, in an ELF file or with load addresses",
        entry: "32-bit protected mode without paging; EAX 0x2BADB002, EBX: boot information",
        example: "kvm --module root.tar kernel.elf -- debug",
        gdb_arch: GdbArch::I386,
    },
    BootKindSpec {
        kind: BootKind::Multiboot2,
        name: "multiboot2",
        file: "Multiboot2 kernel",
        recognised: "a Multiboot2 header (0xE85250D6) in the first 32 KiB, in an ELF file or with load addresses",
        entry: "32-bit protected mode without paging; EAX 0x36D76289, EBX: boot information",
        example: "kvm --module root.tar kernel.elf -- debug",
        gdb_arch: GdbArch::I386,
    },
    BootKindSpec {
        kind: BootKind::Limine,
        name: "limine",
        file: "kernel for the Limine boot protocol",
        recognised: "an ELF file for x86-64 with requests or a base revision tag of the protocol",
        entry: "long mode at `e_entry` or as requested, in the last 2 GiB; answers in the kernel's requests",
        gdb_arch: GdbArch::X86_64,
        example: "kvm --cpus 4 --module root.tar kernel.elf",
    },
    BootKindSpec {
        kind: BootKind::Flat,
        name: "flat",
        file: "flat 16-bit image",
        recognised: "a file ending in `.bin` or `.img` that is of no other kind",
        entry: "real mode at the first byte, CS:IP 0:0 unless `--load` or `--entry` is given",
        gdb_arch: GdbArch::I8086,
        example: "kvm hello.bin",
    },
    BootKindSpec {
        kind: BootKind::Disk,
        name: "disk",
        file: "disk image",
        recognised: "the boot signature 55 AA at offset 510, and no other header",
        entry: "real mode at 0:7C00 in the first sector, DL 80h, or 0 for a diskette; services of a BIOS (docs/bios.md)",
        gdb_arch: GdbArch::I8086,
        example: "kvm disk.img",
    },
    BootKindSpec {
        kind: BootKind::Cdrom,
        name: "cdrom",
        file: "CD image",
        recognised: "the volume descriptor of ISO 9660 (`CD001` at offset 0x8001)",
        entry: "real mode at the segment in the El Torito catalog, usually 0:7C00; DL: the drive (docs/bios.md)",
        gdb_arch: GdbArch::I8086,
        example: "kvm installer.iso --disk disk.img",
    },
    BootKindSpec {
        kind: BootKind::Rom,
        name: "rom",
        file: "firmware image",
        recognised: "no file is; `--bios FILE` is the same as `--boot rom FILE`",
        entry: "real mode at the reset vector F000:FFF0 (docs/firmware.md)",
        gdb_arch: GdbArch::I8086,
        example: "kvm --bios bios.bin --disk disk.img",
    },
];

impl BootKind {
    /// Its row of [`BOOT_KINDS`].
    pub fn spec(self) -> &'static BootKindSpec {
        let row = BOOT_KINDS.iter().find(|spec| spec.kind == self);
        row.expect("a test checks that every kind has a row")
    }

    /// True for the image of a disk or a CD, from which the machine's own BIOS starts.
    pub fn is_disk_image(self) -> bool {
        matches!(self, BootKind::Disk | BootKind::Cdrom)
    }

    /// True if the guest finds the machine's own BIOS.
    pub fn has_bios(self) -> bool {
        use BootKind::{Cdrom, Disk, Linux16, Multiboot, Multiboot2};
        matches!(self, Disk | Cdrom | Linux16 | Multiboot | Multiboot2)
    }

    /// The value of `--boot`.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<BootKind> {
        BOOT_KINDS.iter().find(|spec| spec.name == name).map(|spec| spec.kind)
    }
}

/// The user's options about loading and starting the guest file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootSpec {
    /// Its kind; `None` if it is to be recognised.
    pub kind: Option<BootKind>,
    /// The address a flat image is loaded at.
    pub load: Option<u64>,
    /// Where a flat image is started.
    pub entry: Option<EntryAddress>,
    /// The file with the guest's initial file system.
    pub initrd: Option<PathBuf>,
    /// Files with symbols besides the guest file.
    pub symbols: Vec<SymbolFileSpec>,
    /// The firmware, which then is the guest file.
    pub bios: Option<PathBuf>,
    /// The VGA BIOS of a machine with firmware.
    pub vga_bios: VgaBiosSpec,
}

/// Which VGA BIOS a machine with firmware has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VgaBiosSpec {
    /// One that is in the folder of the firmware, if any is.
    #[default]
    Beside,
    /// None.
    None,
    /// The one in this file.
    File(PathBuf),
}

/// A file with symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolFileSpec {
    /// The file.
    pub path: PathBuf,
    /// Added to every address in it.
    pub offset: u64,
}

/// The address of a first instruction in real mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryAddress {
    /// A guest-physical address.
    Linear(u64),
    /// CS and IP.
    Far {
        /// CS.
        segment: u16,
        /// IP.
        offset: u16,
    },
}

impl fmt::Display for EntryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryAddress::Linear(address) => write!(f, "{address:#x}"),
            EntryAddress::Far { segment, offset } => write!(f, "{segment:#x}:{offset:#x}"),
        }
    }
}

/// The table of kinds in docs/boot-protocols.md.
pub fn table_of_kinds() -> String {
    let mut text = "| `--boot` | file | recognised by | first instruction | example |\n".to_owned();
    text += "|---|---|---|---|---|\n";
    for spec in BOOT_KINDS {
        let BootKindSpec { name, file, recognised, entry, example, .. } = spec;
        text += &format!("| `{name}` | {file} | {recognised} | {entry} | `{example}` |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::table::options;
    use super::*;

    #[test]
    fn every_kind_has_one_row_and_is_a_value_of_the_option() {
        let option = options().find(|option| option.long == "boot").unwrap();
        let values: Vec<&str> = option.allowed.split(", ").collect();
        let names: Vec<&str> = std::iter::once("auto").chain(BOOT_KINDS.iter().map(|it| it.name)).collect();
        assert_eq!(values, names);
        for spec in BOOT_KINDS {
            assert_eq!(spec.kind.spec().name, spec.name);
            assert_eq!(BootKind::named(spec.name), Some(spec.kind));
        }
    }

    #[test]
    fn the_documentation_has_the_table_of_kinds() {
        const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/boot-protocols.md");
        let text = std::fs::read_to_string(FILE).unwrap();
        let (before, rest) = text.split_once("<!-- kinds -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end of kinds -->\n").unwrap();
        let right = format!("{before}<!-- kinds -->\n{}<!-- end of kinds -->\n{after}", table_of_kinds());
        if std::env::var_os("KVM_BLESS").is_some() {
            std::fs::write(FILE, &right).unwrap();
        } else {
            assert!(text == right, "renew it with KVM_BLESS=1 cargo test --lib table_of_kinds");
        }
    }
}
