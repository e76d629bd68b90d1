// SPDX-License-Identifier: MIT OR GPL-2.0
//! What the kernel under test knows of its own faults. A kernel for debugging (docs/lab.md: KVM_LAB_KERNEL=debug) has
//! lockdep, kmemleak and the owners of pages; each is asked only if it is there. Every kernel has its taint.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use crate::kvm::Vm;
use crate::processes::COUNT;

const LOCKDEP: &str = "/proc/lockdep_stats";
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
const PAGE_OWNER: &str = "/sys/kernel/debug/page_owner";
/// What marks a kernel with a fault: a machine check, a bad page (KASAN), an oops, a warning, a lockup.
const FAULTS: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;
/// kmemleak ignores objects that are younger.
const MIN_AGE: Duration = Duration::from_secs(6);
/// Functions through which everybody gets pages, the innermost ones of a backtrace.
const ALLOCATORS: [&str; 6] = [
    "post_alloc_hook",
    "get_page_from_freelist",
    "__alloc_pages",
    "alloc_pages",
    "__get_free_pages",
    "get_zeroed_page",
];

/// What is compared at the end.
#[derive(Debug)]
pub struct SelfChecks {
    modules: &'static [&'static str],
    pages: Option<usize>,
}

impl SelfChecks {
    /// Before any machine is made. `path` is that of the device.
    pub fn begin(path: &str) -> io::Result<SelfChecks> {
        mount_debugfs();
        let modules: &[&str] = if path.ends_with("/kvm") { &["[kvm]", "[kvm_amd]"] } else { &["[yakvm]"] };
        let checks = SelfChecks { modules, pages: pages_of(modules)? };
        let machine = Vm::with_code(path, COUNT)?;
        if checks.pages.is_some() && pages_of(modules)? <= checks.pages {
            return Err(io::Error::other(format!("{PAGE_OWNER} has no page of a machine that exists")));
        }
        drop(machine);
        Ok(checks)
    }

    /// When no machine is left: a line for each check, with true if it has found nothing.
    pub fn end(&self) -> io::Result<Vec<(bool, String)>> {
        let mut lines = Vec::new();
        let taint = fs::read_to_string("/proc/sys/kernel/tainted")?.trim().parse().unwrap_or(u64::MAX);
        lines.push((taint & FAULTS == 0, format!("taint of the kernel: {taint:#x}")));
        if let Ok(text) = fs::read_to_string(LOCKDEP) {
            let on = is_on(&text);
            lines.push((
                on,
                format!(
                    "lockdep is {}",
                    if on { "still on" } else { "off: it ends at the first fault of the kernel" }
                ),
            ));
        }
        if Path::new(KMEMLEAK).exists() {
            let (ours, others) = self.leaks()?;
            let what =
                format!("kmemleak: {} lost objects of {:?}, {others} of others", ours.len(), self.modules);
            lines.push((ours.is_empty(), what));
            lines.extend(ours.into_iter().take(5).map(|object| (true, object)));
        }
        if let (Some(before), Some(after)) = (self.pages, pages_of(self.modules)?) {
            lines.push((
                after <= before,
                format!("pages of {:?}: {before} before, {after} after", self.modules),
            ));
        }
        Ok(lines)
    }

    /// Objects that nothing points to: those of the modules, and how many others there are.
    fn leaks(&self) -> io::Result<(Vec<String>, usize)> {
        // The first scan notes the contents of objects; only those that do not change are reported.
        for _ in 0..2 {
            std::thread::sleep(MIN_AGE);
            fs::write(KMEMLEAK, "scan")?;
        }
        let text = fs::read_to_string(KMEMLEAK)?;
        let objects = text.split("unreferenced object").skip(1).map(str::to_owned);
        let (ours, others): (Vec<_>, Vec<_>) = objects.partition(|object| self.names_module(object));
        Ok((ours, others.len()))
    }

    fn names_module(&self, text: &str) -> bool {
        self.modules.iter().any(|module| text.contains(module))
    }
}

/// Whether lockdep still checks: it ends at the first fault that it finds.
fn is_on(stats: &str) -> bool {
    stats
        .lines()
        .any(|line| line.trim().strip_prefix("debug_locks:").is_some_and(|value| value.trim() == "1"))
}

fn mount_debugfs() {
    // SAFETY: three C strings. It fails if it is mounted already, or the kernel has none.
    unsafe {
        libc::mount(
            c"debugfs".as_ptr(),
            c"/sys/kernel/debug".as_ptr(),
            c"debugfs".as_ptr(),
            0,
            std::ptr::null(),
        )
    };
}

/// Pages that the modules' own code has got from the kernel and not given back. None if the kernel does not know it.
fn pages_of(modules: &[&str]) -> io::Result<Option<usize>> {
    match fs::File::open(PAGE_OWNER) {
        Ok(file) => pages_in(BufReader::new(file), modules).map(Some),
        Err(_) => Ok(None),
    }
}

/// The same of the kernel's list: for each block of pages a line with its order, and a line per function of the backtrace.
fn pages_in(list: impl BufRead, modules: &[&str]) -> io::Result<usize> {
    let mut pages = 0;
    // Of a block whose owner is not found yet.
    let mut order = None;
    for line in list.lines() {
        let line = line?;
        if let Some((_, rest)) = line.split_once("allocated via order ") {
            order = rest.split(',').next().and_then(|order| order.parse::<u32>().ok());
        } else if let Some(function) = line.strip_prefix(' ')
            && let Some(block) = order
            && !ALLOCATORS.iter().any(|allocator| function.trim().starts_with(allocator))
        {
            // Slabs, page tables and backtraces are got on the way, too, and stay; their functions are no module's.
            order = None;
            pages +=
                if modules.iter().any(|module| function.contains(module)) { 1 << block.min(20) } else { 0 };
        }
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdep_that_has_ended_is_off() {
        assert!(is_on(" lock-classes: 20 [max: 8192]\n debug_locks:                             1\n"));
        assert!(!is_on(" debug_locks:                             0\n"));
        assert!(!is_on(""));
    }

    #[test]
    fn pages_belong_to_the_function_that_calls_the_allocator() {
        let list = "\
Page allocated via order 2, mask 0xcc0(GFP_KERNEL), pid 1, tgid 1 (insmod), ts 1 ns, free_ts 0 ns
PFN 1024 type Unmovable Block 2 type Unmovable Flags 0x0(zone=0)
 get_page_from_freelist+0x10/0x20
 __alloc_pages+0x10/0x20
 __get_free_pages+0x1/0x2
 svm_init+0x80/0x200 [yakvm]
 do_one_initcall+0x1/0x2

Page allocated via order 3, mask 0xcc0(GFP_KERNEL), pid 9, tgid 9 (rough), ts 1 ns, free_ts 0 ns
PFN 2048 type Unmovable Block 4 type Unmovable Flags 0x0(zone=0)
 __alloc_pages+0x10/0x20
 allocate_slab+0x10/0x20
 create_vm+0x80/0x200 [yakvm]

Page allocated via order 0, mask 0xcc0(GFP_KERNEL), pid 9, tgid 9 (rough), ts 1 ns, free_ts 0 ns
 get_zeroed_page+0x10/0x20
 vcpu_create+0x80/0x200 [yakvm]
";
        assert_eq!(pages_in(list.as_bytes(), &["[yakvm]"]).ok(), Some(5));
        assert_eq!(pages_in(list.as_bytes(), &["[kvm]"]).ok(), Some(0));
    }
}
