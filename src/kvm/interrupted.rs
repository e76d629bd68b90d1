//! Calls to KVM that a signal may interrupt although they are not KVM_RUN.
//!
//! A kick is a signal, and one may arrive while a reset creates the next virtual machine. Manual:
//! "Interruption of system calls and library functions by signal handlers" in signal(7).

use kvm_ioctls::Error;

/// Calls `create` again as long as a signal interrupts it. The signal's handler has run by then.
pub(super) fn retry_interrupted<T>(mut create: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match create() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_repeated_only_while_signals_interrupt_it() {
        let mut errors = vec![libc::EBUSY, libc::EINTR, libc::EINTR];
        let result = retry_interrupted(|| errors.pop().map_or(Ok(()), |errno| Err(Error::new(errno))));
        assert_eq!(result.unwrap_err().errno(), libc::EBUSY);
        assert!(errors.is_empty());
    }
}
