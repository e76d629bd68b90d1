// SPDX-License-Identifier: MIT OR GPL-2.0
//! The device's file descriptors and ioctls, without the checks of a library: here calls may be wrong.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;

use kvm_bindings::{kvm_run, kvm_sregs, kvm_userspace_memory_region};

pub use driver_tests::requests::*;

/// An ioctl with any argument.
pub fn ioctl(fd: RawFd, request: u64, argument: u64) -> io::Result<i32> {
    // SAFETY: the kernel checks the arguments. What it writes goes to buffers that the callers have given for it, or,
    // in random calls, to memory of a process that is there for them.
    let result = unsafe { libc::ioctl(fd, request as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An ioctl with a structure.
pub fn ioctl_with<T>(fd: RawFd, request: u64, argument: &mut T) -> io::Result<i32> {
    ioctl(fd, request, std::ptr::from_mut(argument) as u64)
}

/// Opens the device.
pub fn open(path: &str) -> io::Result<OwnedFd> {
    let path = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the path is a C string.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    owned(fd)
}

/// The errors of a call that returns a file descriptor, or the descriptor.
fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Memory of this process.
#[derive(Debug)]
pub struct Mapping {
    pub start: *mut u8,
    pub length: usize,
}

// SAFETY: the tests touch a mapping from several threads on purpose, by volatile accesses.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Private memory of this size, in bytes.
    pub fn new(length: usize) -> io::Result<Mapping> {
        Mapping::of(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, null_mut())
    }

    /// A mapping of a file descriptor, or at a place.
    pub fn of(length: usize, flags: i32, fd: RawFd, at: *mut u8) -> io::Result<Mapping> {
        // SAFETY: a new mapping; with MAP_FIXED the place belongs to a Mapping of the caller's.
        let start =
            unsafe { libc::mmap(at.cast(), length, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), length })
    }

    /// The bytes. Nothing else may use them meanwhile.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is this long, and exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }

    /// The 64-bit number at an offset, which a guest may be changing.
    pub fn number(&self, offset: usize) -> u64 {
        assert!(offset + 8 <= self.length);
        // SAFETY: inside the mapping.
        unsafe { self.start.add(offset).cast::<u64>().read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// A vCPU and its `struct kvm_run`.
#[derive(Debug)]
pub struct Vcpu {
    pub fd: OwnedFd,
    pub run: Mapping,
}

impl Vcpu {
    /// `kvm_run`, which the kernel writes to only in KVM_RUN.
    pub fn kvm_run(&mut self) -> &mut kvm_run {
        // SAFETY: the mapping begins with it; the caller's thread is the one that runs the vCPU.
        unsafe { &mut *self.run.start.cast::<kvm_run>() }
    }

    /// KVM_RUN: the exit reason.
    pub fn enter(&mut self) -> io::Result<u32> {
        ioctl(self.fd.as_raw_fd(), RUN, 0)?;
        Ok(self.kvm_run().exit_reason)
    }

    /// Real mode from physical address `start`, with flat segments of 64 KiB there.
    pub fn start_at(&self, start: u64) -> io::Result<()> {
        let mut sregs = kvm_sregs::default();
        ioctl_with(self.fd.as_raw_fd(), GET_SREGS, &mut sregs)?;
        for segment in [&mut sregs.cs, &mut sregs.ds, &mut sregs.es, &mut sregs.ss] {
            (segment.base, segment.selector) = (start, (start >> 4) as u16);
        }
        ioctl_with(self.fd.as_raw_fd(), SET_SREGS, &mut sregs)?;
        let mut regs = [0u64; 18];
        (regs[6], regs[17]) = (0xF000, 2);
        ioctl_with(self.fd.as_raw_fd(), SET_REGS, &mut regs)?;
        Ok(())
    }
}

/// A virtual machine.
#[derive(Debug)]
pub struct Vm {
    pub fd: OwnedFd,
    mmap_size: usize,
}

impl Vm {
    /// A new one on the device at `path`.
    pub fn new(path: &str) -> io::Result<Vm> {
        let device = open(path)?;
        let fd = owned(ioctl(device.as_raw_fd(), CREATE_VM, 0)?)?;
        let mmap_size = ioctl(device.as_raw_fd(), GET_VCPU_MMAP_SIZE, 0)? as usize;
        Ok(Vm { fd, mmap_size })
    }

    /// Its vCPU with this number.
    pub fn vcpu(&self, number: u64) -> io::Result<Vcpu> {
        let fd = owned(ioctl(self.fd.as_raw_fd(), CREATE_VCPU, number)?)?;
        let run = Mapping::of(self.mmap_size, libc::MAP_SHARED, fd.as_raw_fd(), null_mut())?;
        Ok(Vcpu { fd, run })
    }

    /// A memory slot.
    pub fn slot(&self, slot: u32, flags: u32, guest: u64, host: u64, size: u64) -> io::Result<()> {
        let mut region = kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr: guest,
            memory_size: size,
            userspace_addr: host,
        };
        ioctl_with(self.fd.as_raw_fd(), SET_USER_MEMORY_REGION, &mut region).map(|_| ())
    }

    /// A machine with one vCPU that runs `code` in real mode at 0x1000, in memory of 64 KiB at 0.
    pub fn with_code(path: &str, code: &[u8]) -> io::Result<(Vm, Vcpu, Mapping)> {
        let vm = Vm::new(path)?;
        let mut memory = Mapping::new(0x10000)?;
        memory.bytes()[0x1000..][..code.len()].copy_from_slice(code);
        vm.slot(0, 0, 0, memory.start as u64, memory.length as u64)?;
        let vcpu = vm.vcpu(0)?;
        vcpu.start_at(0x1000)?;
        Ok((vm, vcpu, memory))
    }
}
