//! What is wrong with a Linux kernel image, or with what it should be started with.

/// Why a Linux kernel cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LinuxProblem {
    /// A field of the setup header has a value that no bootable image has.
    #[error(
        "{field} in the setup header is {value:#x} where {expected} is expected; the image is damaged: build it again"
    )]
    Header {
        /// Name of the field in the boot protocol.
        field: &'static str,
        /// The value found.
        value: u64,
        /// The values that would be right.
        expected: &'static str,
    },
    /// A kernel that is loaded below 640 KiB.
    #[error(
        "this kernel is a zImage (LOADED_HIGH is not set), which no kernel since Linux 2.6.30 is; build a bzImage"
    )]
    NotLoadedHigh,
    /// A kernel that has only an entry point in real mode, and needs the services of a BIOS.
    #[error(
        "{what} has no 32-bit entry point (code32_start is 0): it starts in real mode and calls a BIOS; `--boot linux16` does so"
    )]
    RealMode {
        /// What the image is.
        what: String,
    },
    /// The kernel does not fit into RAM.
    #[error(
        "the kernel needs {:#x}..{end:#x} (pref_address, init_size), and guest memory has {} MiB; `--memory {}M` is \
         enough", start, memory >> 20, needed >> 20
    )]
    Memory {
        /// First address it needs.
        start: u64,
        /// The address after the last that it needs.
        end: u64,
        /// Size of RAM in bytes.
        memory: u64,
        /// Size of RAM, in bytes, that is enough.
        needed: u64,
    },
    /// The kernel has addresses that are not RAM in any machine.
    #[error(
        "the kernel needs {start:#x}..{end:#x} (pref_address, init_size), which is never all RAM; build one for a lower address"
    )]
    NeverRam {
        /// First address it needs.
        start: u64,
        /// The address after the last that it needs.
        end: u64,
    },
    /// The initial RAM disk does not fit below the kernel's limit, with any amount of memory.
    #[error(
        "the initrd has {size} bytes, and only {room} are free between the kernel and the kernel's limit \
         {limit:#x} (initrd_addr_max); use a smaller initrd"
    )]
    InitrdLimit {
        /// Size of the initrd.
        size: u64,
        /// Bytes that are free.
        room: u64,
        /// The highest address that an initrd may have.
        limit: u64,
    },
    /// The initial RAM disk does not fit into RAM.
    #[error(
        "the initrd has {size} bytes, and {} MiB of guest memory have {room} free behind the kernel; \
         `--memory {}M` is enough", memory >> 20, needed >> 20
    )]
    InitrdMemory {
        /// Size of the initrd.
        size: u64,
        /// Bytes that are free.
        room: u64,
        /// Size of RAM in bytes.
        memory: u64,
        /// Size of RAM, in bytes, that is enough.
        needed: u64,
    },
    /// The command line is longer than the kernel accepts.
    #[error(
        "the command line has {length} bytes, and this kernel accepts {limit} (cmdline_size); shorten it"
    )]
    CommandLine {
        /// Its length in bytes.
        length: usize,
        /// The maximum.
        limit: u32,
    },
}
