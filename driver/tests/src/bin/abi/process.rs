// SPDX-License-Identifier: MIT OR GPL-2.0
//! A check as a process of its own.

use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use crate::Outcome;

/// Seconds that a check may take.
const TIME_LIMIT: u32 = 20;

/// Runs the check in a process of its own.
pub fn run(check: impl FnOnce() -> Outcome) -> Outcome {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors.
    assert!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0, "no pipe");
    // SAFETY: both descriptors are new and owned by nothing else.
    let (mut reader, mut writer) =
        unsafe { (std::fs::File::from_raw_fd(ends[0]), std::fs::File::from_raw_fd(ends[1])) };
    // SAFETY: this process has one thread, so that the child can go on like it.
    match unsafe { libc::fork() } {
        0 => {
            drop(reader);
            // SAFETY: the default effect ends the process.
            unsafe { libc::alarm(TIME_LIMIT) };
            let text = match check() {
                Ok(()) => String::new(),
                Err(reason) => {
                    if reason.is_empty() {
                        "it failed".to_owned()
                    } else {
                        reason
                    }
                }
            };
            let _ = writer.write_all(text.as_bytes());
            // SAFETY: ends the child, without what the parent has to do at its end.
            unsafe { libc::_exit(i32::from(!text.is_empty())) }
        }
        -1 => Err("no process".to_owned()),
        child => {
            drop(writer);
            let mut reason = String::new();
            let _ = reader.read_to_string(&mut reason);
            let mut status = 0;
            // SAFETY: the child is this process's own.
            while unsafe { libc::waitpid(child, &mut status, 0) } < 0 {}
            match (libc::WIFSIGNALED(status), status) {
                (true, _) if libc::WTERMSIG(status) == libc::SIGALRM => {
                    Err(format!("not finished after {TIME_LIMIT} s"))
                }
                (true, _) => Err(format!("ended by signal {}", libc::WTERMSIG(status))),
                (false, 0) => Ok(()),
                (false, _) => Err(reason),
            }
        }
    }
}
