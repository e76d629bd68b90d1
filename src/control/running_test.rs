//! Commands for running guests. The tests pass without doing anything where there is no `/dev/kvm`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::boot::test_guest::{CODE, TestGuest};
use crate::boot::{BootOptions, BytesImage, Protocol};
use crate::control::ControlCommands;
use crate::kvm::Kvm;
use crate::machine::inputs::Inputs;
use crate::machine::output::{Doorbell, output_queue};
use crate::machine::{CpuId, Machine, MachineSpec, Outcome};
use crate::settings::{ClockMode, DEFAULT_DEVICE, IrqchipMode, KeyTarget, LayoutName, Schedule, TraceSpec};
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
    Kvm::open_default().ok()?;
    let file: &'static [u8] = TestGuest::new(0x20_0000).load(CODE, 0x20_0000, code).build().leak();
    let inputs = Inputs::new();
    let (ours, _theirs) = output_queue(Doorbell::new().unwrap());
    let image = Box::new(BytesImage::new("guest", file));
    let found = Protocol::find(image.as_ref(), None).unwrap();
    let spec = MachineSpec {
        device: DEFAULT_DEVICE.into(),
        memory: 16 << 20,
        boot: BootOptions::default(),
        keys: KeyTarget::Auto,
        layout: LayoutName::Us,
        terminal: None,
        no_reboot: false,
        cpus: 1,
        schedule: Schedule::Parallel,
        clock: ClockMode::Host,
        irqchip: IrqchipMode::User,
        time_of_day: 0,
        flat_ide_bars: false,
        framebuffer: false,
        magic_break: false,
    };
    let mut machine = Machine::new((image, found), spec, inputs.clone(), ours).unwrap();
    let (queue, caller) = RequestQueue::new(inputs);
    let services = Services {
        commands: Arc::new(ControlCommands),
        migrator: None,
        trace: TraceSpec::default(),
        stop_notice: None,
    };
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

/// The answer to a command of the console, with its progress.
fn ask(caller: &RequestSender, line: &str) -> String {
    let reply = caller.run_command(CommandSource::Console, line).unwrap();
    let progress: Vec<String> = reply.progress.into_iter().flatten().map(|notice| notice.text).collect();
    reply.text + &progress.join("\n")
}

#[test]
fn breakpoints_and_steps_of_the_console_stop_a_guest_without_a_debugger() {
    // `inc %rcx; nop; jmp` to the first.
    let seen = while_running(b"\x48\xFF\xC1\x90\xEB\xFA", false, |caller| {
        let notices = caller.notices();
        assert_eq!(ask(&caller, "break 0x200003"), "breakpoint 1 at 0x200003\n");
        let stop = "breakpoint 1 at 0x200003, hit 1\n=> 0x200003: nop";
        assert_eq!(notices.recv().unwrap().text, format!("{stop}\n"), "consoles get it without a command");
        assert_eq!(caller.status(), Ok(RunStatus::Paused));
        let first = rcx(&caller);
        assert_eq!(ask(&caller, "step"), "=> 0x200004: jmp short 0x200000\n");
        assert_eq!(
            ask(&caller, "s 2"),
            "=> 0x200003: nop\n".replace("=>", "breakpoint 1 at 0x200003, hit 2\n=>")
        );
        assert_eq!(rcx(&caller), first + 1);
        caller.resume().unwrap();
        let stop = ask(&caller, "wait");
        assert!(stop.ends_with("=> 0x200003: nop") || stop.ends_with("=> 0x200003: nop\n"), "{stop}");
        assert_eq!(rcx(&caller), first + 2);
        assert_eq!(ask(&caller, "set $rcx = 100"), "$rcx is 0x64\n");
        ask(&caller, "delete");
        ask(&caller, "trace 0x200000 if $rcx == 105, \"at %d\", $rcx");
        ask(&caller, "break 0x200000 if $rcx == 107");
        assert!(notices.recv().unwrap().text.starts_with("breakpoint 1 at 0x200003, hit 3\n"));
        ask(&caller, "c");
        assert_eq!(notices.recv().unwrap().text, "at 105\n", "a log point prints, and the guest goes on");
        assert!(notices.recv().unwrap().text.starts_with("breakpoint 3 at 0x200000, hit 1\n=> 0x200000"));
        assert_eq!(rcx(&caller), 107);
        ask(&caller, "delete");
        ask(&caller, "c");
        while rcx(&caller) < 200 {}
        assert!(ask(&caller, "stop").starts_with("the guest is paused"));
        let paused = rcx(&caller);
        ask(&caller, "s 6");
        assert_eq!(rcx(&caller), paused + 2);
        caller.quit().unwrap();
        assert_eq!(notices.iter().count(), 0, "they end with the run");
    });
    let Some(((), outcome)) = seen else { return };
    assert!(matches!(outcome, Outcome::Quit), "{outcome:?}");
}

#[test]
fn a_run_under_console_control_ends_as_any_other() {
    // `inc %rcx; hlt`.
    let seen = while_running(b"\x48\xFF\xC1\xF4", true, |caller| {
        assert_eq!(ask(&caller, "break 0x200003"), "breakpoint 1 at 0x200003\n");
        assert_eq!(caller.status(), Ok(RunStatus::WaitingForDebugger), "it waits still");
        caller.resume().unwrap();
        assert!(ask(&caller, "wait").contains("=> 0x200003: hlt"));
        ask(&caller, "c");
        let reply = caller.run_command(CommandSource::Console, "wait");
        assert!(reply.is_err() || reply.unwrap().progress.into_iter().flatten().count() == 0);
    });
    let Some(((), outcome)) = seen else { return };
    assert!(matches!(outcome, Outcome::Halted { .. }), "{outcome:?}");
}

#[test]
fn a_step_over_a_halt_does_not_block_the_console() {
    let seen = while_running(SLEEPS, true, |caller| {
        assert_eq!(ask(&caller, "step"), "=> 0x200001: hlt\n");
        assert!(ask(&caller, "step").starts_with("the guest waits in hlt for an interrupt"));
        assert_eq!(ask(&caller, "status"), "the guest runs\n");
        assert!(ask(&caller, "stop").starts_with("the guest is paused"));
        caller.quit().unwrap();
    });
    let Some(((), outcome)) = seen else { return };
    assert!(matches!(outcome, Outcome::Quit), "{outcome:?}");
}
