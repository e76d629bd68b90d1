// SPDX-License-Identifier: MIT OR GPL-2.0
//! The KVM ABI as a program sees it: file descriptors, requests, structures. Nothing is checked or repaired on the way,
//! so that wrong requests can be made, too.
//!
//! Manual: Documentation/virt/kvm/api.rst; the numbers are those of linux/kvm.h.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO, KVM_EXIT_IO_IN,
    KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN, kvm_regs, kvm_run, kvm_sregs,
};

pub use driver_tests::requests::*;

/// An error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::E2BIG => "E2BIG",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::EFAULT => "EFAULT",
            libc::EINTR => "EINTR",
            libc::EINVAL => "EINVAL",
            libc::EIO => "EIO",
            libc::ENOENT => "ENOENT",
            libc::ENOMEM => "ENOMEM",
            libc::ENOTTY => "ENOTTY",
            other => return write!(f, "error {other}"),
        };
        f.write_str(name)
    }
}

impl From<Errno> for String {
    fn from(error: Errno) -> String {
        error.to_string()
    }
}

/// A file descriptor of KVM.
pub struct File(OwnedFd);

impl File {
    /// Opens a device.
    pub fn open(device: &Path) -> Result<File, Errno> {
        let path = CString::new(device.as_os_str().as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
        // SAFETY: the string ends with a zero byte.
        File::new(unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })
    }

    fn new(descriptor: i32) -> Result<File, Errno> {
        if descriptor < 0 {
            return Err(last_error());
        }
        // SAFETY: the kernel has just returned it, and nothing else owns it.
        Ok(File(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Its number.
    pub fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// A request with a number, or with an address that the kernel checks: that of nothing of this program.
    pub fn request(&self, request: u64, argument: u64) -> Result<i32, Errno> {
        // SAFETY: the callers pass numbers and addresses that are not mapped.
        result(unsafe { libc::ioctl(self.number(), request, argument) })
    }

    /// A request that creates a file.
    pub fn create(&self, request: u64, argument: u64) -> Result<File, Errno> {
        File::new(self.request(request, argument)?)
    }

    /// A request with a structure.
    pub fn with<T>(&self, request: u64, structure: &mut T) -> Result<i32, Errno> {
        // SAFETY: the structure is as large as the kernel expects for the request, or a list with room behind it.
        result(unsafe { libc::ioctl(self.number(), request, std::ptr::from_mut(structure)) })
    }

    /// A request that reads a structure.
    pub fn get<T: Default>(&self, request: u64) -> Result<T, Errno> {
        let mut structure = T::default();
        self.with(request, &mut structure)?;
        Ok(structure)
    }

    /// A request that writes a structure.
    pub fn set<T>(&self, request: u64, structure: &T) -> Result<(), Errno> {
        // SAFETY: the structure is as large as the kernel expects for the request, which only reads it.
        result(unsafe { libc::ioctl(self.number(), request, std::ptr::from_ref(structure)) }).map(drop)
    }
}

fn result(value: i32) -> Result<i32, Errno> {
    if value < 0 { Err(last_error()) } else { Ok(value) }
}

/// The error of the last system call.
pub fn last_error() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// A list with its length in front, as KVM takes CPUID leaves and MSRs.
#[repr(C)]
#[derive(Clone)]
pub struct List<T, const N: usize> {
    /// Number of entries in use.
    pub count: u32,
    /// Only some lists have it.
    pub padding: u32,
    /// The entries.
    pub entries: [T; N],
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// A list with these entries.
    ///
    /// # Panics
    ///
    /// If there are more than `N`.
    pub fn of(entries: &[T]) -> List<T, N> {
        let mut list = List { count: entries.len() as u32, padding: 0, entries: [T::default(); N] };
        list.entries[..entries.len()].copy_from_slice(entries);
        list
    }

    /// The entries in use.
    pub fn used(&self) -> &[T] {
        &self.entries[..(self.count as usize).min(N)]
    }
}

/// Anonymous memory, mapped at multiples of a page.
pub struct Memory {
    start: *mut u8,
    size: usize,
}

impl Memory {
    /// `size` bytes of zeros.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    pub fn new(size: usize) -> Memory {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping where the kernel finds room.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
        assert!(start != libc::MAP_FAILED, "no memory");
        Memory { start: start.cast(), size }
    }

    /// Its address in this process.
    pub fn address(&self) -> u64 {
        self.start as u64
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// Writes bytes at an offset.
    pub fn put(&self, at: u64, bytes: &[u8]) {
        assert!(at as usize + bytes.len() <= self.size, "beyond the memory");
        // SAFETY: the range lies in the mapping, and no reference to it exists.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(at as usize), bytes.len()) }
    }

    /// Writes a 64-bit number at an offset.
    pub fn put_u64(&self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// Reads bytes at an offset.
    pub fn bytes<const N: usize>(&self, at: u64) -> [u8; N] {
        assert!(at as usize + N <= self.size, "beyond the memory");
        let mut bytes = [0; N];
        // SAFETY: the range lies in the mapping, and no reference to it exists.
        unsafe { std::ptr::copy_nonoverlapping(self.start.add(at as usize), bytes.as_mut_ptr(), N) }
        bytes
    }

    /// Reads a 64-bit number at an offset.
    pub fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    /// Gives a range back to the kernel: it reads as zeros from now on.
    pub fn discard(&self, at: u64, size: u64) {
        assert!(at + size <= self.size(), "beyond the memory");
        // SAFETY: the range lies in the mapping, and no reference to it exists.
        unsafe { libc::madvise(self.start.add(at as usize).cast(), size as usize, libc::MADV_DONTNEED) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

/// Why a vCPU has left the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `out` or `outs`: the port, the size of an element, the data of all elements.
    Out { port: u16, size: u8, data: Vec<u8> },
    /// `in` or `ins`: the port, the size of an element, the number of elements.
    In { port: u16, size: u8, count: u32 },
    /// A write to memory that is not there.
    Write { gpa: u64, data: Vec<u8> },
    /// A read from memory that is not there.
    Read { gpa: u64, size: u32 },
    /// `hlt`.
    Halt,
    /// A triple fault.
    Shutdown,
    /// A debug stop.
    Debug { exception: u32, pc: u64, dr6: u64 },
    /// Interrupts can be injected.
    Window,
    /// KVM_RUN has failed with EINTR.
    Interrupted,
    /// KVM cannot go on.
    InternalError(u32),
    /// The processor has refused the guest's state.
    EntryFailed(u64),
    /// Another reason.
    Other(u32),
}

/// A vCPU and its `kvm_run`.
pub struct Vcpu {
    /// Its file.
    pub file: File,
    run: *mut kvm_run,
    size: usize,
}

// SAFETY: `kvm_run` is used by whoever owns this.
unsafe impl Send for Vcpu {}

impl Vcpu {
    /// Creates the vCPU with this number.
    pub fn new(device: &File, vm: &File, number: u64) -> Result<Vcpu, Errno> {
        let file = vm.create(CREATE_VCPU, number)?;
        let size = device.request(GET_VCPU_MMAP_SIZE, 0)? as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel finds room.
        let run =
            unsafe { libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, file.number(), 0) };
        if run == libc::MAP_FAILED {
            return Err(last_error());
        }
        Ok(Vcpu { file, run: run.cast(), size })
    }

    /// Its `kvm_run`.
    pub fn run_area(&mut self) -> &mut kvm_run {
        // SAFETY: the mapping is at least as large, lives as long, and the vCPU does not run meanwhile.
        unsafe { &mut *self.run }
    }

    /// A pointer to `immediate_exit`, for signal handlers and other threads.
    pub fn immediate_exit(&mut self) -> *mut u8 {
        &raw mut self.run_area().immediate_exit
    }

    /// Bytes of `kvm_run`.
    fn data(&mut self, at: u64, size: usize) -> &mut [u8] {
        assert!(at as usize + size <= self.size, "beyond kvm_run");
        // SAFETY: the range lies in the mapping, and the vCPU does not run meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.run.cast::<u8>().add(at as usize), size) }
    }

    /// Enters the guest until it exits.
    pub fn run(&mut self) -> Result<Exit, Errno> {
        match self.file.request(RUN, 0) {
            Err(Errno(libc::EINTR)) => return Ok(Exit::Interrupted),
            other => other?,
        };
        let run = *self.run_area();
        // SAFETY: the exit reason says which member of the union is in use.
        Ok(unsafe {
            match run.exit_reason {
                KVM_EXIT_IO => {
                    let io = run.__bindgen_anon_1.io;
                    if u32::from(io.direction) == KVM_EXIT_IO_IN {
                        Exit::In { port: io.port, size: io.size, count: io.count }
                    } else {
                        let data =
                            self.data(io.data_offset, usize::from(io.size) * io.count as usize).to_vec();
                        Exit::Out { port: io.port, size: io.size, data }
                    }
                }
                KVM_EXIT_MMIO => {
                    let mmio = run.__bindgen_anon_1.mmio;
                    match mmio.is_write {
                        0 => Exit::Read { gpa: mmio.phys_addr, size: mmio.len },
                        _ => Exit::Write {
                            gpa: mmio.phys_addr,
                            data: mmio.data[..mmio.len.min(8) as usize].to_vec(),
                        },
                    }
                }
                KVM_EXIT_HLT => Exit::Halt,
                KVM_EXIT_SHUTDOWN => Exit::Shutdown,
                KVM_EXIT_DEBUG => {
                    let stop = run.__bindgen_anon_1.debug.arch;
                    Exit::Debug { exception: stop.exception, pc: stop.pc, dr6: stop.dr6 }
                }
                KVM_EXIT_IRQ_WINDOW_OPEN => Exit::Window,
                KVM_EXIT_INTERNAL_ERROR => Exit::InternalError(run.__bindgen_anon_1.internal.suberror),
                KVM_EXIT_FAIL_ENTRY => {
                    Exit::EntryFailed(run.__bindgen_anon_1.fail_entry.hardware_entry_failure_reason)
                }
                other => Exit::Other(other),
            }
        })
    }

    /// Answers an `in` or `ins`.
    pub fn answer_port(&mut self, bytes: &[u8]) {
        // SAFETY: the last exit was one for a port.
        let at = unsafe { self.run_area().__bindgen_anon_1.io.data_offset };
        self.data(at, bytes.len()).copy_from_slice(bytes);
    }

    /// Answers a read from memory that is not there.
    pub fn answer_read(&mut self, value: u64) {
        self.run_area().__bindgen_anon_1.mmio.data = value.to_le_bytes();
    }

    /// The general registers.
    pub fn regs(&self) -> Result<kvm_regs, Errno> {
        self.file.get(GET_REGS)
    }

    /// Writes them.
    pub fn set_regs(&self, regs: &kvm_regs) -> Result<(), Errno> {
        self.file.set(SET_REGS, regs)
    }

    /// The system registers.
    pub fn sregs(&self) -> Result<kvm_sregs, Errno> {
        self.file.get(GET_SREGS)
    }

    /// Writes them.
    pub fn set_sregs(&self, sregs: &kvm_sregs) -> Result<(), Errno> {
        self.file.set(SET_SREGS, sregs)
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own.
        unsafe { libc::munmap(self.run.cast(), self.size) };
    }
}
