//! The kind of host the tests run on: hosts differ in what their processor and their KVM can do.

use std::path::Path;

use libtest_mimic::Trial;

use super::{qemu, yakvm};

/// A kind of host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// KVM without VT-x or AMD-V: ring 0 is run by an instruction emulator.
    Emulated,
    /// AMD-V as QEMU emulates it (`scripts/lab test --cpu amd`).
    Amd,
    /// VT-x as Bochs emulates it (`scripts/lab test --cpu intel`).
    Intel,
    /// Any other host.
    Other,
}

/// The kind of this host: from `KVM_LANE` (`amd`, `intel`), else from the loaded modules.
pub fn lane() -> Lane {
    match std::env::var("KVM_LANE").as_deref() {
        Ok("amd") => Lane::Amd,
        Ok("intel") => Lane::Intel,
        _ if Path::new("/sys/module/kvm_pvm").exists() => Lane::Emulated,
        _ => Lane::Other,
    }
}

/// True if KVM has reset the registers when it reports a triple fault: that of AMD-V does; the driver of `driver/` does
/// not.
pub fn resets_registers() -> bool {
    lane() == Lane::Amd && super::test_device().is_none()
}

/// Number of bytes that the guest `serial-million` sends: a million, unless `KVM_FLOOD` gives the number that
/// it was built for.
pub fn flood_size() -> usize {
    let size = std::env::var("KVM_FLOOD").ok().and_then(|size| size.parse().ok());
    size.unwrap_or(1_000_000)
}

/// AMD-V leaves no registers to read at a shutdown.
const NO_REGISTERS: &str =
    "AMD-V has reset the registers when a triple fault with the guest's own IDT is reported";
/// KVM intercepts #BP, which QEMU's processor ignores.
const NO_CATCH: &str = "the AMD-V that QEMU emulates delivers a guest's int3 only to the guest";
/// The test measures time.
const NO_TIME: &str = "an emulated processor is too slow and too uneven for time limits";
/// QEMU's processor raises no exceptions for SSE.
const NO_SIMD_EXCEPTIONS: &str = "the processor that QEMU emulates has no unmasked SSE exceptions";
/// QEMU's processor pushes beyond the limit of the stack segment.
const NO_LIMITS: &str = "the processor that QEMU emulates does not check the limits of segments";
/// QEMU's processor raises no #XM, #MF and #AC there, #GP only behind `ret`, and reads first what it adds to.
const NOT_RAISED: &str = "the processor that QEMU emulates raises another exception here, or none";
/// QEMU's processor forgets the page fault that it was delivering.
const NO_DOUBLE_FAULT: &str = "the processor that QEMU emulates raises #GP in place of the double fault";
/// Hardware virtualization runs every instruction.
const NOT_REFUSED: &str = "no instruction is refused on this processor";
/// A step over an exit stops a second time at the same address.
const SAME_PLACE: &str = "in Bochs, a step can stop at the same address again";
/// The trap flag is cleared on the way into a handler.
const STEPS_HANDLER: &str = "with VT-x a step over `int n` ends only when its handler has returned";
/// Without an exit or an interrupt, nothing else runs.
const SPINS: &str = "in Bochs, a guest that computes with interrupts off never gives the processor up";
const TOO_SLOW: &str = "two starts of firmware take too long where KVM interprets ring 0";

/// An open question: the tests pass on the other kinds of host.
const UNEXPLAINED_FIRMWARE: &str =
    "in Bochs, a run with these tests has not ended; the cause is not known, and none has been run alone";

/// The end of the name of a test with KVM's interrupt controllers that is otherwise the same as another.
pub const KERNEL_SUFFIX: &str = "_with_irqchip_kernel";

/// The tests that a kind of host cannot pass, with the reason. They are those of both kinds of interrupt controllers.
const EXCEPT: &[(Lane, &str, &[&str])] = &[
    (
        Lane::Amd,
        NO_TIME,
        &[
            "a_short_answer_comes_out_while_the_guest_computes",
            "a_long_answer_comes_out_while_the_guest_computes",
            "two_scans_of_all_pci_buses_take_at_most_two_seconds",
        ],
    ),
    (Lane::Emulated, TOO_SLOW, &["seabios_starts_again_after_a_warm_reset"]),
    (
        Lane::Intel,
        UNEXPLAINED_FIRMWARE,
        &[
            "the_bios_of_bochs_is_saved_moved_and_resumes_after_a_warm_reset",
            "seabios_starts_again_after_a_warm_reset",
        ],
    ),
    (
        Lane::Amd,
        NOT_RAISED,
        &[
            "a_triple_fault_names_its_exception: simd_exception",
            "a_triple_fault_names_its_exception: x87_exception",
            "a_triple_fault_names_its_exception: ring_3_unaligned",
            "a_triple_fault_names_its_exception: return_not_canonical",
            "a_triple_fault_names_its_exception: zeros_call",
        ],
    ),
    (Lane::Amd, NO_DOUBLE_FAULT, &["an_exception_whose_gate_is_wrong_is_a_double_fault"]),
    (Lane::Amd, NO_LIMITS, &["a_handler_of_protected_mode_without_room_on_its_stack_is_named"]),
    (Lane::Amd, NOT_REFUSED, &["a_refused_instruction_can_be_skipped"]),
    (Lane::Intel, NOT_REFUSED, &["a_refused_instruction_can_be_skipped"]),
    (
        Lane::Intel,
        NO_TIME,
        &[
            "showing_an_unchanged_screen_costs_almost_no_processor_time",
            "two_scans_of_all_pci_buses_take_at_most_two_seconds",
            "large_memory_reads_are_fast",
            "reading_memory_in_large_pieces_is_much_faster_than_in_small_ones",
        ],
    ),
    (Lane::Intel, STEPS_HANDLER, &["a_step_over_a_jump_to_itself_is_one_instruction"]),
    (Lane::Intel, SAME_PLACE, &["stepping_a_wait_waits_until_ctrl_c"]),
    (Lane::Amd, NO_REGISTERS, &["gdb_can_examine_the_guest_after_a_triple_fault"]),
    (
        Lane::Intel,
        SPINS,
        &[
            "a_guest_that_only_runs_emulated_instructions_can_be_stopped",
            "the_terminal_is_restored_after_ctrl_c_to_a_guest_of_emulated_instructions",
            "ctrl_c_ends_a_long_series_of_steps",
            "ctrl_c_stops_an_endless_guest",
            "after_detach_the_guest_runs_on_and_can_be_attached_to_again",
            "endless_is_ended_by_the_timeout",
            "a_test_that_computes_for_ever_fails",
            "a_test_that_waits_for_a_flag_that_nobody_sets_fails_at_once",
            "coverage_has_the_lines_of_a_test_that_is_stopped",
            "the_log_is_written_while_the_guest_runs",
            "a_short_answer_comes_out_while_the_guest_computes",
            "a_long_answer_comes_out_while_the_guest_computes",
            "option_is_taken: --timeout 50ms",
            "key_is_taken: [vm-spec] timeout = 0.05",
            "the_terminal_is_restored_after_ctrl_c_to_a_guest_that_does_not_read",
            "a_reset_by_port_cf9_takes_effect_in_a_scan",
        ],
    ),
    (
        Lane::Amd,
        NO_CATCH,
        &[
            "the_guests_own_int3_reaches_its_handler_and_can_be_caught",
            "the_guests_own_int3_stops_it_when_int3_stops_are_on",
        ],
    ),
    (
        Lane::Amd,
        NO_SIMD_EXCEPTIONS,
        &["unmasked_exceptions_and_undefined_encodings_reach_the_guests_handlers"],
    ),
    (Lane::Amd, NOT_REFUSED, &["a_crash_under_kvm_can_be_examined"]),
    (Lane::Intel, NOT_REFUSED, &["a_crash_under_kvm_can_be_examined"]),
    (
        Lane::Intel,
        SPINS,
        &[
            "a_guest_whose_snapshot_is_truncated_ends_with_the_reason",
            "memory_and_registers_are_served_while_the_guest_computes",
            "breakpoints_never_show_in_memory_that_is_served",
            "a_debugger_attaches_late_detaches_and_attaches_again",
            "continue_and_interrupt_can_be_repeated_indefinitely",
            "a_debugger_attaches_to_a_running_guest",
            "gdb_connects_to_a_running_guest_detaches_and_connects_again",
            "ctrl_c_stops_a_guest_whose_condition_never_holds",
        ],
    ),
];

/// Tests that take long there and do not depend on the processor, of modules whose other tests do.
const SAME: &[&str] = &[
    "a_hundred_kilobytes_of_input_reach_the_guest_complete",
    "a_million_bytes_arrive_complete_in_a_file",
    "a_reader_that_closes_the_pipe_neither_ends_nor_blocks_the_run",
    "a_reset_by_port_cf9_takes_effect_in_a_scan",
    "a_snapshot_of_another_size_of_memory_is_refused_by_a_running_machine",
    "check_marks_good_and_bad_in_colour_on_a_terminal",
    "killing_a_run_during_a_save_leaves_the_previous_snapshot_intact",
    "large_memory_reads_are_fast",
    "reading_memory_in_large_pieces_is_much_faster_than_in_small_ones",
    "scans_of_all_pci_buses_find_the_same_functions",
    "symbols_of_a_higher_half_and_a_relocated_guest_are_right",
    "the_log_ends_with_the_end_of_the_run",
    "two_thousand_lines_are_all_in_the_log",
];

/// Ignores the tests of [`SAME`] on emulated processors, as [`skip_unless_all`].
///
/// # Panics
///
/// If one of them does not exist.
pub fn skip_the_same(trials: Vec<Trial>) -> Vec<Trial> {
    for name in SAME {
        let exists = trials.iter().any(|trial| trial.name().split(" (skipped: ").next() == Some(name));
        assert!(exists, "tests/e2e/support/lane.rs names a test that does not exist: {name}");
    }
    let (same, mut others): (Vec<Trial>, Vec<Trial>) =
        trials.into_iter().partition(|trial| SAME.contains(&trial.name()));
    others.extend(skip_unless_all(same));
    others
}

/// Ignores tests that do not depend on the processor on emulated processors, which are slow, unless
/// `KVM_LANE_ALL` is set.
pub fn skip_unless_all(trials: Vec<Trial>) -> Vec<Trial> {
    if !matches!(lane(), Lane::Amd | Lane::Intel) || std::env::var_os("KVM_LANE_ALL").is_some() {
        return trials;
    }
    trials.into_iter().map(|trial| ignored(&trial, "the same on every processor; --all runs it")).collect()
}

/// Ignores the tests that this kind of host cannot pass, with the reason in their names.
///
/// # Panics
///
/// If [`EXCEPT`] names a test that does not exist, on any kind of host.
pub fn skip_unsupported(trials: Vec<Trial>) -> Vec<Trial> {
    let current = lane();
    let exists = |name: &str| {
        trials.iter().any(|trial| {
            trial
                .name()
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" (skipped: "))
        })
    };
    for name in EXCEPT.iter().flat_map(|(_, _, names)| *names) {
        assert!(exists(name), "tests/e2e/support/lane.rs names a test that does not exist: {name}");
    }
    for name in yakvm::EXCEPT.iter().flat_map(|(_, names)| *names) {
        assert!(exists(name), "tests/e2e/support/yakvm.rs names a test that does not exist: {name}");
    }
    for name in qemu::names() {
        assert!(exists(name), "tests/e2e/support/qemu.rs names a test that does not exist: {name}");
    }
    let reason = |name: &str| {
        let both = name.strip_suffix(KERNEL_SUFFIX).unwrap_or(name);
        EXCEPT
            .iter()
            .find(|(lane, _, names)| *lane == current && (names.contains(&name) || names.contains(&both)))
            .map(|(_, reason, _)| *reason)
            .or_else(|| qemu::reason(name))
            .or_else(|| yakvm::reason(name))
    };
    trials
        .into_iter()
        .map(|trial| match reason(trial.name()) {
            None => trial,
            Some(reason) => ignored(&trial, reason),
        })
        .collect()
}

/// The tests of the part that `KVM_LANE_PART` names, so that two machines can share the work: `quarter`, every fourth
/// of those that run, or `rest`, all others. `twelfth` is every twelfth, for a quick look.
///
/// # Panics
///
/// If it names another part.
pub fn part_of(trials: Vec<Trial>) -> Vec<Trial> {
    let Ok(part) = std::env::var("KVM_LANE_PART") else { return trials };
    let (every, chosen) = match part.as_str() {
        "quarter" => (4, true),
        "rest" => (4, false),
        "twelfth" => (12, true),
        other => panic!("KVM_LANE_PART is {other}: there are `quarter`, `rest` and `twelfth`"),
    };
    let mut number = 0;
    let mut is_chosen = |trial: &Trial| {
        number += usize::from(!trial.has_ignored_flag());
        // The ignored ones are counted with the rest.
        (!trial.has_ignored_flag() && number % every == 0) == chosen
    };
    trials.into_iter().filter(|trial| is_chosen(trial)).collect()
}

/// An ignored test in place of `trial`, with the reason in its name.
fn ignored(trial: &Trial, reason: &str) -> Trial {
    let name = format!("{} (skipped: {reason})", trial.name());
    Trial::test(name, || Ok(())).with_kind(trial.kind()).with_ignored_flag(true)
}
