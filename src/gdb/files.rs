//! The guest file or that of its symbols, for a debugger that does not have it: its name, and its bytes. No other file can be read, and
//! nothing can be written.
//!
//! Manual: "File-I/O Remote Protocol Extension" and "Host I/O Packets" in "Appendix E: gdb Remote Serial
//! Protocol" of *Debugging with gdb*.

use gdbstub::common::{Endianness, Pid};
use gdbstub::target::TargetResult;
use gdbstub::target::ext::exec_file::ExecFile;
use gdbstub::target::ext::host_info::{HostInfo, HostInfoResponse};
use gdbstub::target::ext::host_io::{
    HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoFstat, HostIoFstatOps, HostIoOpen,
    HostIoOpenFlags, HostIoOpenMode, HostIoOpenOps, HostIoPread, HostIoPreadOps, HostIoResult, HostIoStat,
};
use gdbstub::target::ext::process_info::{ProcessInfo, ProcessInfoResponse};
use gdbstub::target::ext::section_offsets::{Offsets, SectionOffsets};

use super::target::{GdbTarget, PACKET, copy_part};
use crate::settings::GdbArch;

/// The only file descriptor. Opening the file twice returns it twice.
const DESCRIPTOR: u32 = 3;

/// The target triples. LLDB calls no function of a guest without an operating system, nor of one whose calling
/// convention it does not know; and in a system whose dynamic linker it knows it looks for that. Of the systems with
/// the calling convention of x86-64 this leaves Solaris.
const TRIPLE_64: &str = "x86_64-unknown-solaris";
const TRIPLE_32: &str = "i386-unknown-none-elf";

impl GdbTarget<'_, '_> {
    fn triple(&self) -> (&'static str, usize) {
        match self.view.layout.arch() {
            GdbArch::X86_64 | GdbArch::X86_64Linux => (TRIPLE_64, 8),
            GdbArch::I386 | GdbArch::I8086 => (TRIPLE_32, 4),
        }
    }
}

impl ExecFile for GdbTarget<'_, '_> {
    fn get_exec_file(
        &self,
        _pid: Option<Pid>,
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        Ok(copy_part(&self.view.file, offset, length, buf))
    }
}

impl HostIo for GdbTarget<'_, '_> {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }

    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for GdbTarget<'_, '_> {
    fn open(
        &mut self,
        filename: &[u8],
        flags: HostIoOpenFlags,
        _mode: HostIoOpenMode,
    ) -> HostIoResult<u32, Self> {
        let writes = HostIoOpenFlags::O_WRONLY
            | HostIoOpenFlags::O_RDWR
            | HostIoOpenFlags::O_CREAT
            | HostIoOpenFlags::O_TRUNC;
        if filename != self.view.file || filename.is_empty() {
            return Err(HostIoError::Errno(HostIoErrno::ENOENT));
        }
        if flags.intersects(writes) {
            return Err(HostIoError::Errno(HostIoErrno::EROFS));
        }
        Ok(DESCRIPTOR)
    }
}

/// An error for every descriptor but [`DESCRIPTOR`].
fn check(descriptor: u32) -> HostIoResult<(), GdbTarget<'static, 'static>> {
    if descriptor == DESCRIPTOR { Ok(()) } else { Err(HostIoError::Errno(HostIoErrno::EBADF)) }
}

impl HostIoClose for GdbTarget<'_, '_> {
    fn close(&mut self, descriptor: u32) -> HostIoResult<(), Self> {
        check(descriptor)
    }
}

impl HostIoPread for GdbTarget<'_, '_> {
    fn pread(
        &mut self,
        descriptor: u32,
        count: usize,
        offset: u64,
        buf: &mut [u8],
    ) -> HostIoResult<usize, Self> {
        check(descriptor)?;
        let image = self.supervisor.machine.debugger_file().ok_or(HostIoError::Errno(HostIoErrno::EIO))?;
        let left = usize::try_from(image.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        // Each byte may take two in the answer.
        let count = count.min(left).min(buf.len()).min(PACKET / 2);
        image.read_at(offset, &mut buf[..count]).map_err(|_| HostIoError::Errno(HostIoErrno::EIO))?;
        Ok(count)
    }
}

impl HostIoFstat for GdbTarget<'_, '_> {
    fn fstat(&mut self, descriptor: u32) -> HostIoResult<HostIoStat, Self> {
        check(descriptor)?;
        let size = self.supervisor.machine.debugger_file().map_or(0, |file| file.len());
        Ok(HostIoStat {
            st_dev: 0,
            st_ino: 1,
            st_mode: HostIoOpenMode::S_IFREG | HostIoOpenMode::S_IRUSR,
            st_nlink: 1,
            st_uid: 0,
            st_gid: 0,
            st_rdev: 0,
            st_size: size,
            st_blksize: 4096,
            st_blocks: size.div_ceil(512),
            st_atime: 0,
            st_mtime: 0,
            st_ctime: 0,
        })
    }
}

impl SectionOffsets for GdbTarget<'_, '_> {
    /// The load address of a relocatable file, whose first segment begins at 0 in the file; and for LLDB that another
    /// file lies where it was linked. Plug-ins take the other form of the answer (`Text=`) for a sign of QEMU's user mode.
    fn get_section_offsets(&mut self) -> Result<Offsets<u64>, Self::Error> {
        Ok(Offsets::Segments { text_seg: self.supervisor.machine.symbols().bias(), data_seg: None })
    }
}

impl HostInfo for GdbTarget<'_, '_> {
    fn host_info(&self, write: &mut dyn FnMut(&HostInfoResponse<'_>)) -> Result<(), Self::Error> {
        let (triple, size) = self.triple();
        write(&HostInfoResponse::Triple(triple));
        write(&HostInfoResponse::PointerSize(size));
        write(&HostInfoResponse::Endianness(Endianness::Little));
        Ok(())
    }
}

impl ProcessInfo for GdbTarget<'_, '_> {
    fn process_info(&self, write: &mut dyn FnMut(&ProcessInfoResponse<'_>)) -> Result<(), Self::Error> {
        let (triple, size) = self.triple();
        write(&ProcessInfoResponse::Pid(Pid::MIN));
        write(&ProcessInfoResponse::Triple(triple));
        write(&ProcessInfoResponse::PointerSize(size));
        write(&ProcessInfoResponse::Endianness(Endianness::Little));
        Ok(())
    }
}
