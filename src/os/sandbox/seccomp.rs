//! Which system calls a confined thread may make: those of a thread that reads, writes and accepts
//! connections, waits, allocates memory and starts threads.
//!
//! The kernel runs a BPF program before each system call of the thread. It looks at the number of the call and,
//! where that matters, at one argument. Every other call fails with EPERM, and the audit log of the kernel
//! reports it, if there is one.
//!
//! Manual: seccomp(2); Documentation/userspace-api/seccomp_filter.rst.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// System calls that are allowed whatever their arguments.
const ALLOWED: [libc::c_long; 49] = [
    // Open connections, and clients of listeners that are open.
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
    // Disk images that are open.
    libc::SYS_pwrite64,
    libc::SYS_fallocate,
    // Memory; `mmap` and `mprotect` stand below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Other threads, and the end of this one. `clone` stands below.
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
    // The signals of the thread.
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and random numbers.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_getrandom,
    // Limits that the C library asks for.
    libc::SYS_getrlimit,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
];

/// A system call that is allowed only if the bits `mask` of the low half of an argument are `value`.
struct Restricted {
    call: libc::c_long,
    argument: u8,
    mask: u32,
    value: u32,
}

const RESTRICTED: [Restricted; 5] = [
    // A thread of this process, not another process.
    Restricted {
        call: libc::SYS_clone,
        argument: 0,
        mask: libc::CLONE_THREAD as u32,
        value: libc::CLONE_THREAD as u32,
    },
    // No executable memory.
    Restricted { call: libc::SYS_mmap, argument: 2, mask: libc::PROT_EXEC as u32, value: 0 },
    Restricted { call: libc::SYS_mprotect, argument: 2, mask: libc::PROT_EXEC as u32, value: 0 },
    // The name of a thread.
    Restricted { call: libc::SYS_prctl, argument: 0, mask: u32::MAX, value: libc::PR_SET_NAME as u32 },
    // Whether a descriptor is open.
    Restricted { call: libc::SYS_fcntl, argument: 1, mask: u32::MAX, value: libc::F_GETFD as u32 },
];

/// True if this kernel has what [`confine_thread`] needs.
pub(super) fn is_available() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the system call reads the action and reports whether the kernel knows it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0u32, &raw const action) };
    result == 0
}

/// Restricts this thread, and threads it starts, to the system calls above.
pub(super) fn confine_thread() -> io::Result<()> {
    super::set_no_new_privileges()?;
    // The second filter does not permit installing another.
    install(&clone3_filter().map_err(io::Error::other)?)?;
    install(&allow_filter().map_err(io::Error::other)?)
}

/// Installs a filter for this thread. `seccompiler::apply_filter` would not have refused calls logged.
fn install(program: &BpfProgram) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        // Both types are the `struct sock_filter` of linux/filter.h.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the structure and the program live during the call, which copies them and writes to neither.
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

/// Makes `clone3` fail as on a kernel without it: its flags are in memory, which a filter cannot read. The C
/// library then uses `clone`. A filter has only one way to refuse, so this is a filter of its own; the kernel
/// applies the strictest result of all.
fn clone3_filter() -> Result<BpfProgram, BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, missing, TargetArch::x86_64)?.try_into()
}

/// Allows what is listed above; a call of another architecture, whose numbers differ, ends the process.
fn allow_filter() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    for Restricted { call, argument, mask, value } in RESTRICTED {
        let masked = SeccompCmpOp::MaskedEq(mask.into());
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, masked, value.into())?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}
