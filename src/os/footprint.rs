//! Releases memory that this process no longer needs.

use std::ffi::c_void;

use crate::arch::PAGE_SIZE;

/// Releases the pages of the program file that only startup needed. Pages that the run needs are mapped again
/// as they are used, from the host's page cache.
///
/// Only memory that is never written is released: code and constants. Hosts that refuse keep the pages.
pub fn release_startup_pages() {
    // SAFETY: the callback has the type that is asked for, and uses what it is given only while it
    // runs.
    unsafe { libc::dl_iterate_phdr(Some(forget_file), std::ptr::null_mut()) };
}

/// Releases the read-only pages of a loaded file, as `dl_iterate_phdr` describes it.
unsafe extern "C" fn forget_file(file: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> i32 {
    // SAFETY: `dl_iterate_phdr` hands over a valid description, with as many headers as it says.
    let (base, headers) = unsafe {
        ((*file).dlpi_addr, std::slice::from_raw_parts((*file).dlpi_phdr, usize::from((*file).dlpi_phnum)))
    };
    for header in headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0) {
        let start = (base + header.p_vaddr) & !(PAGE_SIZE - 1);
        let end = (base + header.p_vaddr + header.p_memsz).next_multiple_of(PAGE_SIZE);
        // SAFETY: the pages are a private mapping of a file that was never written to, so that the same
        // contents are read again.
        unsafe { libc::madvise(start as *mut c_void, (end - start) as usize, libc::MADV_DONTNEED) };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_readable_after_their_pages_were_released() {
        let before = "a constant".to_owned();
        release_startup_pages();
        assert_eq!(before, "a constant");
    }

    #[test]
    fn startup_pages_are_released() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            // Resident pages of files.
            statm.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
        };
        // Other tests of this process map pages meanwhile.
        let fewer = (0..100).any(|_| {
            let before = resident();
            release_startup_pages();
            resident() < before
        });
        assert!(fewer, "{} pages are resident", resident());
    }
}
