// SPDX-License-Identifier: MIT OR GPL-2.0
//! The kernel under test: its complaints, its memory, its processors and its modules.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::kvm::Vm;
use crate::processes::{COUNT, moves, stop};
use crate::signals;

/// What complaints of a kernel contain.
const COMPLAINTS: &[&str] = &[
    "BUG",
    "WARNING",
    "Oops",
    "general protection",
    "Call Trace",
    "KASAN",
    "UBSAN",
    "lockdep",
    "possible recursive",
    "possible circular",
    "suspicious RCU",
    "refcount_t",
    "scheduling while atomic",
    "sleeping function",
    "stall",
    "hung",
    "blocked for more",
    "Bad page",
    "corrupt",
    "leak",
    "unable to handle",
    "panic",
    "soft lockup",
];

/// Lines of the kernel that have come since this was made.
#[derive(Debug)]
pub struct KernelLog(File);

impl KernelLog {
    /// From now on.
    pub fn new() -> io::Result<KernelLog> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
        let mut log = KernelLog(file);
        log.lines();
        Ok(log)
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => lines.push(String::from_utf8_lossy(&record[..length]).trim_end().to_owned()),
                // Some were overwritten.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return lines,
            }
        }
    }

    /// Complaints among the lines since the last call, each with what follows it.
    pub fn complaints(&mut self) -> Vec<String> {
        let lines = self.lines();
        let is_complaint = |line: &String| COMPLAINTS.iter().any(|word| line.contains(word));
        let first = lines.iter().position(is_complaint);
        first.map_or(Vec::new(), |at| lines[at..].iter().take(60).cloned().collect())
    }
}

/// KiB in use, without what the kernel gives back when it is asked: the least of several looks.
pub fn memory_in_use() -> io::Result<i64> {
    let looks = (0..6).map(|_| memory_in_use_now()).collect::<io::Result<Vec<_>>>()?;
    Ok(looks.into_iter().min().unwrap_or(0))
}

fn memory_in_use_now() -> io::Result<i64> {
    // Freed memory that waits for a grace period, is cached for a processor, or lies in half-empty slabs.
    std::thread::sleep(Duration::from_millis(300));
    let _ = fs::write("/proc/sys/vm/drop_caches", "3");
    let _ = fs::write("/proc/sys/vm/compact_memory", "1");
    for cache in fs::read_dir("/sys/kernel/slab").into_iter().flatten().flatten() {
        let _ = fs::write(cache.path().join("shrink"), "1");
    }
    std::thread::sleep(Duration::from_millis(100));
    let text = fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| -> i64 {
        let line = text.lines().find(|line| line.split(':').next() == Some(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    Ok(field("MemTotal") - field("MemFree") - field("Buffers") - field("Cached") - field("SReclaimable"))
}

/// The second processor goes offline and comes online while two guests run and others are made. False if there is none.
pub fn hotplug(path: &str, count: usize) -> io::Result<bool> {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    if fs::write(ONLINE, "1").is_err() {
        return Ok(false);
    }
    signals::handle_usr1();
    let mut guests = [Vm::with_code(path, COUNT)?, Vm::with_code(path, COUNT)?];
    let (threads, done) = ([AtomicU64::new(0), AtomicU64::new(0)], AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut memories = Vec::new();
        for ((_, vcpu, memory), thread) in guests.iter_mut().zip(&threads) {
            let done = &done;
            memories.push(&*memory);
            scope.spawn(move || {
                // SAFETY: the thread's own number.
                thread.store(unsafe { libc::pthread_self() }, Ordering::SeqCst);
                while !done.load(Ordering::SeqCst) {
                    let _ = vcpu.enter();
                }
            });
        }
        let result: io::Result<()> = (0..count).try_for_each(|_| {
            for state in ["0", "1"] {
                fs::write(ONLINE, state)?;
                for memory in &memories {
                    moves(memory, "after a processor went offline or came online")?;
                }
                drop(Vm::with_code(path, COUNT)?);
            }
            Ok(())
        });
        done.store(true, Ordering::SeqCst);
        threads.iter().for_each(stop);
        result
    })?;
    Ok(true)
}

/// The module of the device at `path`.
fn module(path: &str) -> &str {
    if path.ends_with("/kvm") { "kvm_amd" } else { path.rsplit('/').next().unwrap_or(path) }
}

/// delete_module(), which does not wait.
fn delete_module(name: &str) -> io::Result<()> {
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the name is a C string.
    match unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The module cannot be unloaded while a machine exists.
pub fn unload_in_use(path: &str) -> io::Result<()> {
    let _machine = Vm::with_code(path, COUNT)?;
    match delete_module(module(path)) {
        Ok(()) => Err(io::Error::other("the module was unloaded while a machine existed")),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EWOULDBLOCK | libc::EBUSY)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The module can be unloaded when nothing uses it.
pub fn unload(path: &str) -> io::Result<()> {
    delete_module(module(path))
}
