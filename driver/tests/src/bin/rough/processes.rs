// SPDX-License-Identifier: MIT OR GPL-2.0
//! Processes that end in the middle of a guest, or share file descriptors and memory with one.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driver_tests::Random;

use crate::kvm::{self, GET_REGS, Mapping, Vm};
use crate::signals;

/// A process that was started here.
#[derive(Debug)]
pub struct Child(i32);

/// Runs `body` in a process of its own, whose exit status is what it returns.
pub fn fork(body: impl FnOnce() -> i32) -> io::Result<Child> {
    // SAFETY: this program has no other thread when it forks, except in `forks`, whose child only reads memory.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = body();
            // SAFETY: ends the process.
            unsafe { libc::_exit(status) }
        }
        child => Ok(Child(child)),
    }
}

impl Child {
    /// The exit status, or minus the signal that ended it.
    pub fn wait(self) -> io::Result<i32> {
        let mut status = 0;
        loop {
            // SAFETY: a process of this one.
            if unsafe { libc::waitpid(self.0, &mut status, 0) } == self.0 {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) })
    }

    fn kill(&self) {
        // SAFETY: a process of this one, which was not waited for.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

/// INC of the word at 0x2000, for ever: `inc word [0x1000]; jmp` with the segment's base 0x1000.
pub const COUNT: &[u8] = &[0xFF, 0x06, 0x00, 0x10, 0xEB, 0xFA];
/// Where [`COUNT`] counts, in the memory of `Vm::with_code`.
pub const COUNTER: usize = 0x2000;

fn pause(microseconds: u64) {
    std::thread::sleep(Duration::from_micros(microseconds));
}

/// Kills a process with an endless guest, with one and with two vCPUs in turn. Returns how often it died of it.
pub fn kills(path: &str, random: &mut Random, count: usize) -> io::Result<usize> {
    let mut died = 0;
    for number in 0..count {
        let shared = Mapping::of(4096, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, std::ptr::null_mut())?;
        let child = fork(|| endless(path, 1 + number as u64 % 2, &shared).map_or(1, |()| 0))?;
        for _ in 0..5000 {
            if shared.number(0) != 0 {
                break;
            }
            pause(200);
        }
        if shared.number(0) == 0 {
            child.kill();
            child.wait()?;
            return Err(io::Error::other("the guest of a process did not begin in a second"));
        }
        pause(random.below(3000));
        child.kill();
        died += usize::from(child.wait()? == -libc::SIGKILL);
    }
    Ok(died)
}

/// An endless guest; the first number in `shared` becomes 1 once it runs.
fn endless(path: &str, vcpus: u64, shared: &Mapping) -> io::Result<()> {
    let (vm, mut first, memory) = Vm::with_code(path, COUNT)?;
    let mut others = Vec::new();
    for number in 1..vcpus {
        let vcpu = vm.vcpu(number)?;
        vcpu.start_at(0x1000)?;
        others.push(vcpu);
    }
    std::thread::scope(|scope| {
        for mut vcpu in others {
            scope.spawn(move || vcpu.enter());
        }
        scope.spawn(|| first.enter());
        while memory.number(COUNTER) == 0 {
            pause(50);
        }
        // SAFETY: the parent only reads it.
        unsafe { shared.start.cast::<u64>().write_volatile(1) };
    });
    Ok(())
}

/// File descriptors that another process has inherited are refused there with EIO, and outlive the first process.
pub fn foreign(path: &str) -> io::Result<()> {
    let (vm, vcpu, _memory) = Vm::with_code(path, COUNT)?;
    let (vm_fd, vcpu_fd) = (vm.fd.as_raw_fd(), vcpu.fd.as_raw_fd());
    let refused = |fd, request| {
        let mut buffer = [0u64; 64];
        kvm::ioctl_with(fd, request, &mut buffer).is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
    };
    let child = fork(|| {
        let all = refused(vcpu_fd, GET_REGS)
            && refused(vcpu_fd, kvm::RUN)
            && refused(vm_fd, kvm::CREATE_VCPU)
            && refused(vm_fd, kvm::SET_USER_MEMORY_REGION);
        i32::from(!all)
    })?;
    if child.wait()? != 0 {
        return Err(io::Error::other("an ioctl of another process was not refused with EIO"));
    }
    // The last descriptors are closed by a process that never had the memory.
    let child = fork(|| {
        let made = Vm::with_code(path, COUNT);
        let heir = fork(|| {
            pause(20_000);
            0
        });
        i32::from(made.is_err() || heir.is_err())
    })?;
    if child.wait()? != 0 {
        return Err(io::Error::other("a machine could not be made in another process"));
    }
    pause(40_000);
    Ok(())
}

/// After fork() the guest's writes stay in the process that runs it.
pub fn forks(path: &str, count: usize) -> io::Result<()> {
    signals::handle_usr1();
    let (_vm, mut vcpu, memory) = Vm::with_code(path, COUNT)?;
    let thread = AtomicU64::new(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: its own number.
            thread.store(unsafe { libc::pthread_self() }, Ordering::SeqCst);
            while !done.load(Ordering::SeqCst) {
                let _ = vcpu.enter();
            }
        });
        let result = (0..count).try_for_each(|_| {
            let child = fork(|| {
                let seen = memory.number(COUNTER);
                (0..20).for_each(|_| pause(100));
                i32::from(memory.number(COUNTER) != seen)
            })?;
            if child.wait()? != 0 {
                return Err(io::Error::other("the guest wrote to the memory of a forked process"));
            }
            moves(&memory, "after fork()")
        });
        done.store(true, Ordering::SeqCst);
        stop(&thread);
        result
    })
}

/// Interrupts KVM_RUN of a thread until it has seen its flag; signals may come before the call.
pub fn stop(thread: &AtomicU64) {
    for _ in 0..20 {
        let id = thread.load(Ordering::SeqCst);
        if id != 0 {
            // SAFETY: the thread is joined by the caller's scope after this.
            unsafe { libc::pthread_kill(id, libc::SIGUSR1) };
        }
        pause(500);
    }
}

/// An error unless the guest's counter moves.
pub fn moves(memory: &Mapping, when: &str) -> io::Result<()> {
    let seen = memory.number(COUNTER);
    for _ in 0..10_000 {
        if memory.number(COUNTER) != seen {
            return Ok(());
        }
        pause(100);
    }
    Err(io::Error::other(format!("{when}: the guest's writes are not seen")))
}
