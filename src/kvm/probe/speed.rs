//! Approximate execution speed of guests.

use std::time::{Duration, Instant};

use crate::arch::GeneralRegisters;

use super::code::guest_code;
use super::fact::{Fact, PerRing};
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::ProbeMode;
use crate::kvm::{HostError, Kvm, VmExit};

/// The speed of straight-line code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Picoseconds per instruction of a loop in the guest.
    pub picoseconds: u64,
    /// The same in a host program.
    pub of_host: u64,
}

impl Speed {
    /// Slowdown against the host from which code counts as interpreted.
    const INTERPRETED: u64 = 300;

    /// True if KVM's instruction emulator executes the instructions one by one.
    pub fn is_interpreted(self) -> bool {
        self.picoseconds > self.of_host * Speed::INTERPRETED
    }
}

/// Code in long mode; `None` if the guest fails.
pub static SPEED: PerRing<Option<Speed>> =
    PerRing::new(|kvm| speed(kvm, ProbeMode::Long), |kvm| speed(kvm, ProbeMode::LongRing3));

/// Picoseconds from a port write in ring 0 to the instruction after it; `None` if the guest fails.
pub static PORT_EXIT: Fact<Option<u64>> = Fact::new(port_exit);

/// Instructions per round of the loop.
const IN_LOOP: u64 = 4;

/// Rounds of the first attempt; one or two milliseconds where they are interpreted.
const FIRST_ROUNDS: u64 = 500;
/// Maximum number of rounds: a few milliseconds on a processor.
const MOST_ROUNDS: u64 = 2_000_000;

/// Rounds on the host: less than a millisecond on a processor.
const ROUNDS_OF_HOST: u64 = 100_000;

/// A run is long enough to be measured if it takes this many times longer than an exit.
const LONG_ENOUGH: u32 = 8;

/// Number of attempts; the shortest time counts, because other programs use the host, too.
const ATTEMPTS: usize = 3;

/// Number of port writes.
const EXITS: u64 = 100;

/// Runs the loop with a growing number of rounds, so that neither a fast nor a slow host takes long.
fn speed(kvm: &Kvm, mode: ProbeMode) -> Result<Option<Speed>, HostError> {
    let code = guest_code!(64:
        "5: addq $1, %rax",
        "xorq %rax, %rdx",
        "subq $1, %rcx",
        "jnz 5b",
        "movl $42, DONE",
        "jmp 5b",
    );
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, mode, code)?;
    let start = guest.registers()?.general;
    let mut timed = |rounds| {
        let mut shortest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            guest.vcpu.set_general_registers(&GeneralRegisters { rcx: rounds, ..start })?;
            let begin = Instant::now();
            if guest.run()? != ProbeExit::Done(42) {
                return Ok(None);
            }
            shortest = shortest.min(begin.elapsed());
            // Completes the write of the report before the registers change.
            guest.registers()?;
        }
        Ok::<_, HostError>(Some(shortest))
    };
    let Some(exit) = timed(1)? else { return Ok(None) };
    let mut rounds = FIRST_ROUNDS;
    loop {
        let Some(time) = timed(rounds)? else { return Ok(None) };
        if time >= exit * LONG_ENOUGH || rounds >= MOST_ROUNDS {
            let picoseconds = one_of(rounds * IN_LOOP, time.saturating_sub(exit));
            return Ok(Some(Speed { picoseconds, of_host: speed_of_host() }));
        }
        rounds = (rounds * 10).min(MOST_ROUNDS);
    }
}

/// Picoseconds per instruction of the same loop on the host.
fn speed_of_host() -> u64 {
    let mut shortest = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let begin = Instant::now();
        // SAFETY: the loop counts in registers that it is given.
        unsafe {
            std::arch::asm!(
                "5:",
                "addq $1, {sum}",
                "xorq {sum}, {mix}",
                "subq $1, {rounds}",
                "jnz 5b",
                sum = inout(reg) 0_u64 => _,
                mix = inout(reg) 0_u64 => _,
                rounds = inout(reg) ROUNDS_OF_HOST => _,
                options(att_syntax, nomem, nostack),
            );
        }
        shortest = shortest.min(begin.elapsed());
    }
    one_of(ROUNDS_OF_HOST * IN_LOOP, shortest)
}

fn port_exit(kvm: &Kvm) -> Result<Option<u64>, HostError> {
    let code = guest_code!(64: "5: outb %al, $0xE1", "jmp 5b");
    let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, ProbeMode::Long, code)?;
    let write = |guest: &mut ProbeGuest| {
        Ok::<bool, HostError>(matches!(guest.run()?, ProbeExit::Exit(VmExit::PortOut { port: 0xE1, .. })))
    };
    // The first is slower: the host executes the code for the first time.
    if !write(&mut guest)? {
        return Ok(None);
    }
    let begin = Instant::now();
    for _ in 0..EXITS {
        if !write(&mut guest)? {
            return Ok(None);
        }
    }
    Ok(Some(one_of(EXITS, begin.elapsed())))
}

/// Picoseconds per item, where `count` items took `time` in total.
fn one_of(count: u64, time: Duration) -> u64 {
    (time.as_nanos() as u64).saturating_mul(1000) / count
}
