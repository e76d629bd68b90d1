// SPDX-License-Identifier: MIT OR GPL-2.0
//! The memory of a slot changes in the process while the guest writes to it: the device has to follow.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::kvm::{Mapping, Vcpu, Vm};
use crate::processes::{COUNT, COUNTER, moves, stop};
use crate::signals;

const PAGE: usize = 0x1000;
/// KVM_EXIT_MMIO.
const MMIO: u32 = 6;

/// What the thread of the vCPU has seen.
#[derive(Debug, Default)]
struct Seen {
    thread: AtomicU64,
    done: AtomicBool,
    faults: AtomicU64,
    accesses: AtomicU64,
    others: AtomicU64,
    last: AtomicU64,
}

impl Seen {
    fn run(&self, vcpu: &mut Vcpu) {
        // SAFETY: the thread's own number.
        self.thread.store(unsafe { libc::pthread_self() }, Ordering::SeqCst);
        while !self.done.load(Ordering::SeqCst) {
            match vcpu.enter() {
                Ok(MMIO) => self.accesses.fetch_add(1, Ordering::SeqCst),
                Ok(reason) => {
                    self.last.store(u64::from(reason), Ordering::SeqCst);
                    self.others.fetch_add(1, Ordering::SeqCst)
                }
                Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
                    std::thread::sleep(std::time::Duration::from_micros(100));
                    self.faults.fetch_add(1, Ordering::SeqCst)
                }
                Err(_) => 0,
            };
        }
    }
}

/// Everything that a process can do to the memory of a slot, `count` times each, while the guest writes to it.
pub fn changes(path: &str, count: usize) -> io::Result<()> {
    signals::handle_usr1();
    let (vm, mut vcpu, memory) = Vm::with_code(path, COUNT)?;
    // The page of the counter is a slot of its own.
    let (start, counter) = (memory.start as u64, COUNTER as u64);
    vm.slot(0, 0, 0, 0, 0)?;
    vm.slot(0, 0, 0, start, counter)?;
    vm.slot(1, 0, counter, start + counter, PAGE as u64)?;
    let seen = Seen::default();
    std::thread::scope(|scope| {
        scope.spawn(|| seen.run(&mut vcpu));
        let result = moves(&memory, "at the beginning")
            .and_then(|()| (0..count).try_for_each(|_| change(&vm, &memory, &seen)));
        seen.done.store(true, Ordering::SeqCst);
        stop(&seen.thread);
        result
    })?;
    match seen.others.load(Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("an unexpected exit, {}", seen.last.load(Ordering::SeqCst)))),
    }
}

fn change(vm: &Vm, memory: &Mapping, seen: &Seen) -> io::Result<()> {
    let page = memory.start.wrapping_add(COUNTER);
    let checked = |result: i32| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let protect = |protection| {
        // SAFETY: a page of the mapping, which only `Mapping::number` reads, not now.
        checked(unsafe { libc::mprotect(page.cast(), PAGE, protection) })
    };
    let renew = |flags| {
        Mapping::of(PAGE, libc::MAP_ANONYMOUS | libc::MAP_FIXED | flags, -1, page).map(std::mem::forget)
    };
    // SAFETY: the page may become zeros at any time; nothing but a counter is there.
    checked(unsafe { libc::madvise(page.cast(), PAGE, libc::MADV_DONTNEED) })?;
    moves(memory, "after MADV_DONTNEED")?;
    renew(libc::MAP_PRIVATE)?;
    moves(memory, "after a new private mapping")?;
    renew(libc::MAP_SHARED)?;
    moves(memory, "after a new shared mapping")?;
    protect(libc::PROT_READ)?;
    faults(seen, "with PROT_READ")?;
    protect(libc::PROT_READ | libc::PROT_WRITE)?;
    moves(memory, "after PROT_READ")?;
    protect(libc::PROT_NONE)?;
    faults(seen, "with PROT_NONE")?;
    protect(libc::PROT_READ | libc::PROT_WRITE)?;
    moves(memory, "after PROT_NONE")?;
    // SAFETY: mapped again before anything else of this process could be there: no other thread maps memory.
    checked(unsafe { libc::munmap(page.cast(), PAGE) })?;
    let unmapped = faults(seen, "after munmap()");
    renew(libc::MAP_PRIVATE)?;
    unmapped?;
    moves(memory, "after munmap()")?;
    let before = seen.accesses.load(Ordering::SeqCst);
    vm.slot(1, 0, COUNTER as u64, 0, 0)?;
    more(&seen.accesses, before, "an access to a slot that was removed is no MMIO exit")?;
    vm.slot(1, 0, COUNTER as u64, page as u64, PAGE as u64)?;
    moves(memory, "after the slot was added again")?;
    // The dirty log comes and goes.
    vm.slot(1, 1, COUNTER as u64, page as u64, PAGE as u64)?;
    moves(memory, "with the dirty log")?;
    vm.slot(1, 0, COUNTER as u64, page as u64, PAGE as u64)?;
    moves(memory, "after the dirty log")
}

fn faults(seen: &Seen, when: &str) -> io::Result<()> {
    let before = seen.faults.load(Ordering::SeqCst);
    // One may have been under way.
    more(&seen.faults, before + 1, &format!("{when}: KVM_RUN does not fail with EFAULT"))
}

/// An error unless `counter` soon is more than `before`.
fn more(counter: &AtomicU64, before: u64, otherwise: &str) -> io::Result<()> {
    for _ in 0..10_000 {
        if counter.load(Ordering::SeqCst) > before {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    Err(io::Error::other(otherwise.to_owned()))
}
