//! Commands for running guests. The tests pass without doing anything where there is no `/dev/kvm`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::boot::test_guest::{CODE, TestGuest};
use crate::boot::{BootOptions, BytesImage};
use crate::control::ControlCommands;
use crate::kvm::Kvm;
use crate::machine::inputs::Inputs;
use crate::machine::output::{Doorbell, output_queue};
use crate::machine::{CpuId, Machine, MachineSpec, Outcome};
use crate::settings::{KeyTarget, LayoutName};
use crate::supervisor::command_interpreter::CommandSource;
use crate::supervisor::request_queue::{RequestQueue, RequestSender, RunOver};
use crate::supervisor::run::run;
use crate::supervisor::session::Services;
use crate::supervisor::stopped_machine::RunStatus;

/// Runs a guest with the code `code`, and `user` in another thread; with `wait`, the guest waits for a debugger
/// that never connects. Returns the result of `user` and how the run ended.
fn while_running<T: Send + 'static>(
    code: &[u8],
    wait: bool,
    user: impl FnOnce(RequestSender) -> T + Send + 'static,
) -> Option<(T, Outcome)> {
    Kvm::open().ok()?;
    let file: &'static [u8] = TestGuest::new(0x20_0000).load(CODE, 0x20_0000, code).build().leak();
    let inputs = Inputs::new();
    let (ours, _theirs) = output_queue(Doorbell::new().unwrap());
    let image = Box::new(BytesImage::new("guest", file));
    let spec = MachineSpec {
        memory: 16 << 20,
        boot: BootOptions::default(),
        keys: KeyTarget::Auto,
        layout: LayoutName::Us,
        terminal: None,
        no_reboot: false,
    };
    let mut machine = Machine::new(image, spec, inputs.clone(), ours).unwrap();
    let (queue, caller) = RequestQueue::new(inputs);
    let services = Services { commands: Arc::new(ControlCommands), migrator: None };
    let user = std::thread::spawn(move || user(caller));
    let outcome = run(&mut machine, None, wait, &queue, services);
    drop(queue);
    Some((user.join().unwrap(), outcome))
}

fn rip(caller: &RequestSender) -> Result<u64, RunOver> {
    Ok(caller.registers()?.unwrap().general.rip)
}

fn rcx(caller: &RequestSender) -> u64 {
    caller.registers().unwrap().unwrap().general.rcx
}

/// `inc %rcx; jmp` to it.
const COUNTS: &[u8] = b"\x48\xFF\xC1\xEB\xFB";
/// `sti; hlt; jmp` to that.
const SLEEPS: &[u8] = b"\xFB\xF4\xEB\xFC";

#[test]
fn a_computing_guest_is_queried_paused_and_resumed() {
    let seen = while_running(COUNTS, false, |caller| {
        let begin = Instant::now();
        while rcx(&caller) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not run");
        }
        caller.pause().unwrap();
        let paused = rcx(&caller);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(rcx(&caller), paused, "it is paused");
        assert_eq!(caller.status(), Ok(RunStatus::Paused));
        caller.resume().unwrap();
        while rcx(&caller) == paused {
            assert!(begin.elapsed() < Duration::from_secs(20), "it does not go on");
        }
        caller.quit().unwrap();
        // Requests fail eventually.
        while rip(&caller).is_ok() {}
    });
    let Some(((), outcome)) = seen else { return };
    assert!(matches!(outcome, Outcome::Quit), "{outcome:?}");
}

#[test]
fn a_halted_guest_is_queried_and_stays_halted() {
    let seen = while_running(SLEEPS, false, |caller| {
        let begin = Instant::now();
        while !caller.with_paused_machine(|guest| guest.machine().cpu(CpuId::BOOT).is_halted()).unwrap() {
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not sleep");
        }
        assert_eq!(rip(&caller), Ok(0x20_0002));
        let reply = caller.run_command(CommandSource::Console, "dis $rip 1").unwrap();
        assert!(!reply.failed);
        assert_eq!(reply.text, "=> 0x200002: jmp short 0x200000\n");
        caller.with_paused_machine(|guest| guest.end(Outcome::TimedOut)).unwrap();
    });
    let Some(((), outcome)) = seen else { return };
    assert!(matches!(outcome, Outcome::TimedOut), "{outcome:?}");
}

#[test]
fn a_guest_that_waits_for_a_debugger_is_queried_and_resumed_without_one() {
    let seen = while_running(b"\xF4", true, |caller| {
        assert_eq!(rip(&caller), Ok(0x20_0000));
        assert_eq!(caller.status(), Ok(RunStatus::WaitingForDebugger));
        caller.resume().unwrap();
    });
    let Some(((), outcome)) = seen else { return };
    assert!(matches!(outcome, Outcome::Halted { .. }), "{outcome:?}");
}
