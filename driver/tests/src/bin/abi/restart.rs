// SPDX-License-Identifier: MIT OR GPL-2.0
//! A new kernel while a guest runs: by kexec, or by a reset of the machine. The same command line runs there again, and
//! then checks the devices. In between, a byte of the clock chip's memory says that the machine has been restarted.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Outcome;
use crate::guest::{Machine, code};
use crate::kvm::last_error;

/// A byte of the clock chip's memory that nothing else uses, and its value after a restart.
const MARK_AT: u8 = 0x70;
const MARK: u8 = 0xA5;
/// The ports of the clock chip's memory: address and data.
const ADDRESS: u16 = 0x70;
const DATA: u16 = 0x71;
/// The word at the end of the command line of the kernel that kexec has started.
const WORD: &str = "restarted-by-kexec";

/// True in the kernel after the restart, once; an error if it was not restarted as it should.
pub fn is_over(kernel: Option<&Path>) -> Result<bool, String> {
    // SAFETY: from now on this program may use two ports of the clock chip.
    if unsafe { libc::ioperm(ADDRESS.into(), 2, 1) } != 0 {
        return Err(format!("the ports of the clock chip: {}", last_error()));
    }
    if mark(None) != MARK {
        return Ok(false);
    }
    mark(Some(0));
    let line = std::fs::read_to_string("/proc/cmdline").map_err(|error| error.to_string())?;
    if line.contains(WORD) == kernel.is_some() {
        return Ok(true);
    }
    Err(format!("the machine was restarted in another way; the kernel's command line: {line}"))
}

/// Restarts the machine while a guest of `device` runs: into `kernel`, or by a reset.
pub fn restart(device: &Path, kernel: Option<&Path>) -> Outcome {
    let mut machine = Machine::long(device, code!(64: "out %al, $0xE0", "1: jmp 1b"))?;
    machine.expect_out(0xE0)?;
    std::thread::spawn(move || machine.vcpu.run().map(drop));
    std::thread::sleep(Duration::from_millis(500));
    if let Some(kernel) = kernel {
        load(kernel)?;
    }
    println!("{} has a guest that runs: the machine is restarted", device.display());
    // The line arrives.
    std::thread::sleep(Duration::from_millis(500));
    mark(Some(MARK));
    let how = if kernel.is_some() { libc::LINUX_REBOOT_CMD_KEXEC } else { libc::RB_AUTOBOOT };
    // SAFETY: ends everything, which is the purpose.
    unsafe { libc::reboot(how) };
    mark(Some(0));
    Err(format!("no restart: {}", last_error()))
}

/// Loads the kernel for kexec, with this system as its initial one.
fn load(kernel: &Path) -> Outcome {
    const INITRD: &str = "/tmp/initrd";
    let pack = format!("cd / && find init lab -type f -o -type d -o -type l | cpio -o -H newc >{INITRD}");
    let packed = Command::new("sh").args(["-c", &pack]).status().map_err(|error| error.to_string())?;
    let line = std::fs::read_to_string("/proc/cmdline").map_err(|error| error.to_string())?;
    let line = CString::new(format!("{} {WORD}", line.trim())).map_err(|error| error.to_string())?;
    let open = |path: &Path| File::open(path).map_err(|error| format!("{}: {error}", path.display()));
    let (kernel, initrd) = (open(kernel)?, open(Path::new(INITRD))?);
    let size = line.as_bytes_with_nul().len();
    // SAFETY: the files are open, and the line is as long as it says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            size,
            line.as_ptr(),
            0_u64,
        )
    };
    if result == 0 && packed.success() { Ok(()) } else { Err(format!("no kexec: {}", last_error())) }
}

/// The mark; writes it first if `value` is one.
fn mark(value: Option<u8>) -> u8 {
    let found;
    // SAFETY: `is_over` has made the two ports usable; nothing else depends on this byte.
    unsafe {
        core::arch::asm!("out dx, al", in("dx") ADDRESS, in("al") MARK_AT, options(nomem, nostack, preserves_flags));
        if let Some(value) = value {
            core::arch::asm!("out dx, al", in("dx") DATA, in("al") value, options(nomem, nostack, preserves_flags));
            core::arch::asm!("out dx, al", in("dx") ADDRESS, in("al") MARK_AT, options(nomem, nostack, preserves_flags));
        }
        core::arch::asm!("in al, dx", in("dx") DATA, out("al") found, options(nomem, nostack, preserves_flags));
    }
    found
}
