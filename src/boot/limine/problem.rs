//! Errors of loading a kernel by the Limine boot protocol. Their messages name features as the specification does.

use super::requests::KERNEL_BASE;

/// What is wrong with a kernel for the Limine boot protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimineProblem {
    /// The file has no request.
    #[error(
        "it has no requests of the Limine boot protocol and no base revision; leave `--boot limine` out, or see that the \
         linker keeps them (KEEP, `used`) at multiples of 8"
    )]
    NoRequests,
    /// A feature is requested twice.
    #[error(
        "the feature {name} is requested twice, the second time at {address:#x}; the protocol allows one request for \
         each: remove one, or put the right one between the delimiters"
    )]
    SameRequest {
        /// The feature.
        name: &'static str,
        /// Virtual address of the second request.
        address: u64,
    },
    /// There are two tags with a base revision.
    #[error("there is a second base revision tag at {address:#x}; the protocol allows one: remove the other")]
    TwoBaseRevisions {
        /// Its virtual address.
        address: u64,
    },
    /// A request ends outside its segment.
    #[error(
        "the request for {name} at {address:#x} is cut off: it has {size} bytes, and its segment ends {left} bytes \
         behind its start; give it the structure that the specification defines"
    )]
    CutOff {
        /// The feature.
        name: &'static str,
        /// Its virtual address.
        address: u64,
        /// Bytes that it should have.
        size: u64,
        /// Bytes that the file has from there to the end of the segment.
        left: u64,
    },
    /// A segment is not in the last 2 GiB of the address space.
    #[error(
        "segment {index} is linked at {address:#x}; the Limine boot protocol wants kernels at or above \
         {KERNEL_BASE:#x}: set the address in the linker script, and compile with `-mcmodel=kernel`"
    )]
    NotHigherHalf {
        /// Index of the program header.
        index: usize,
        /// Its virtual address.
        address: u64,
    },
    /// The kernel needs 5-level paging.
    #[error(
        "the Paging Mode request wants at least mode {mode}; this machine has 4-level paging (mode 0): set `min_mode` to 0"
    )]
    PagingMode {
        /// `min_mode`.
        mode: u64,
    },
    /// The kernel wants files that it names itself.
    #[error(
        "the Module request names {count} internal modules, one of which is required; give files with `--module`, and \
         leave the flag `required` out"
    )]
    InternalModules {
        /// How many.
        count: u64,
    },
    /// The entry point is not code of the kernel.
    #[error(
        "the Entry Point request names {entry:#x}, which is in no executable segment; name a function of the kernel"
    )]
    EntryPoint {
        /// The address.
        entry: u64,
    },
    /// A stack that fits nowhere.
    #[error(
        "the Stack Size request is for {size:#x} bytes, more than the RAM of the machine; request a smaller stack"
    )]
    StackSize {
        /// The size.
        size: u64,
    },
}
