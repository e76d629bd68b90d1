//! Which system calls a thread may make: those that a thread needs that reads, writes and accepts
//! connections, waits, takes memory and starts threads.
//!
//! The kernel runs a small program before each system call of the thread, which looks at its number and,
//! where that matters, at one argument. All others fail with EPERM, and the kernel's log tells of them where
//! it has an audit log.
//!
//! Manual: seccomp(2); Documentation/userspace-api/seccomp_filter.rst.

use std::io;
use std::mem::offset_of;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, seccomp_data, sock_filter, sock_fprog,
};

/// AUDIT_ARCH_X86_64 in linux/audit.h: a system call by `syscall` in 64-bit mode.
const X86_64: u32 = 0xC000_003E;

/// System calls that are carried out.
const ALLOWED: [libc::c_long; 47] = [
    // Connections that are there, and whoever connects to where is listened already.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_poll,
    libc::SYS_ppoll,
    // Memory; that it is executed is not among it, see below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Other threads, and the end of this one.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // Signals of its own.
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_getrandom,
    // What the standard library asks about itself.
    libc::SYS_getrlimit,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
];

/// A system call that is carried out only if the bits `mask` of the low half of an argument are `wanted`.
struct Checked {
    call: libc::c_long,
    argument: usize,
    mask: u32,
    wanted: u32,
}

const CHECKED: [Checked; 5] = [
    // A thread of this process and no other process.
    Checked {
        call: libc::SYS_clone,
        argument: 0,
        mask: libc::CLONE_THREAD as u32,
        wanted: libc::CLONE_THREAD as u32,
    },
    Checked { call: libc::SYS_mmap, argument: 2, mask: libc::PROT_EXEC as u32, wanted: 0 },
    Checked { call: libc::SYS_mprotect, argument: 2, mask: libc::PROT_EXEC as u32, wanted: 0 },
    // The name of a thread.
    Checked { call: libc::SYS_prctl, argument: 0, mask: u32::MAX, wanted: libc::PR_SET_NAME as u32 },
    // Whether a descriptor is open.
    Checked { call: libc::SYS_fcntl, argument: 1, mask: u32::MAX, wanted: libc::F_GETFD as u32 },
];

/// True if this kernel has what [`confine_thread`] needs.
pub(super) fn is_available() -> bool {
    let action = SECCOMP_RET_ERRNO;
    // SAFETY: the system call reads the action and says whether it knows it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0u32, &raw const action) };
    result == 0
}

/// From now on the system calls of this thread, and of threads it starts, are those above.
pub(super) fn confine_thread() -> io::Result<()> {
    let mut filter = program();
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    super::gain_no_rights()?;
    // SAFETY: the structure and the program live during the call, which copies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_LOG,
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The program for the kernel.
fn program() -> Vec<sock_filter> {
    let fails_with = |error: i32| returns(SECCOMP_RET_ERRNO | error as u32);
    // Another kind of system call has other numbers.
    let mut program = vec![
        load(offset_of!(seccomp_data, arch)),
        jump_equal(X86_64, 1, 0),
        returns(SECCOMP_RET_KILL_PROCESS),
        load(offset_of!(seccomp_data, nr)),
    ];
    for call in ALLOWED {
        program.extend([jump_equal(call as u32, 0, 1), returns(SECCOMP_RET_ALLOW)]);
    }
    // Its flags are in memory, where they cannot be looked at; the standard library makes do with clone.
    program.extend([jump_equal(libc::SYS_clone3 as u32, 0, 1), fails_with(libc::ENOSYS)]);
    for Checked { call, argument, mask, wanted } in CHECKED {
        program.extend([
            jump_equal(call as u32, 0, 5),
            load(offset_of!(seccomp_data, args) + 8 * argument),
            statement(BPF_ALU | BPF_AND | BPF_K, mask),
            jump_equal(wanted, 0, 1),
            returns(SECCOMP_RET_ALLOW),
            fails_with(libc::EPERM),
        ]);
    }
    program.push(fails_with(libc::EPERM));
    program
}

/// Loads the 32 bits at `offset` of what the kernel tells of the system call.
fn load(offset: usize) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset as u32)
}

fn returns(action: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, action)
}

/// Skips `same` instructions if what was loaded is `value`, or `other` instructions.
fn jump_equal(value: u32, same: u8, other: u8) -> sock_filter {
    sock_filter { jt: same, jf: other, ..statement(BPF_JMP | BPF_JEQ | BPF_K, value) }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
