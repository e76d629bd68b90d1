//! AMD-V as QEMU emulates it: what only versions before 10 lack, and what is wrong since then.

use super::lane::{KERNEL_SUFFIX, Lane, lane};

/// The first version whose VMRUN loads the debug registers.
const WITH_DEBUG_REGISTERS: u32 = 10;

/// A step that raises an exception also needs them to stop in the handler.
const NO_HARDWARE_BREAKPOINTS: &str =
    "the AMD-V that QEMU emulates has no hardware breakpoints for debuggers before version 10";
/// A register set by `KVM_SET_FPU` has another value after the next step.
const NO_XMM: &str = "the AMD-V that QEMU 7 emulates loses a vector register that the debugger has set";
/// Debug registers, which would avoid the page protection, do not stop a guest there.
const NO_FRAME: &str = "AMD-V retries pushing an exception frame to a protected page without an exit";
/// KVM reports the step behind the instruction in the shadow of `sti`.
const STEPS_STI: &str = "with the AMD-V of QEMU 7 a step over `sti` executes the next instruction, too";
/// Breakpoints are `hlt` there, which KVM handles by itself (docs/interrupts.md).
const WOKEN_AT_BREAKPOINT: &str = "the AMD-V that QEMU 7 emulates has no breakpoints but `hlt`, behind which KVM's own timer wakes the guest";
/// QEMU 7's processor raises no exceptions for SSE.
const NO_SIMD_EXCEPTIONS: &str = "the processor that QEMU 7 emulates has no unmasked SSE exceptions";

/// The tests that cannot pass before version 10, with the reason.
const BEFORE: &[(&str, &[&str])] = &[
    (
        NO_HARDWARE_BREAKPOINTS,
        &[
            "gdb_has_four_hardware_breakpoints_and_says_so_when_they_are_used_up",
            "hardware_breakpoints_displace_software_ones_from_the_debug_registers",
            "a_step_that_faults_ends_at_the_first_instruction_of_the_handler",
            "a_step_over_an_invalid_instruction_ends_in_its_handler",
            "a_module_that_the_kernel_links_is_debugged_by_its_names",
        ],
    ),
    (STEPS_STI, &["a_step_over_hlt_ends_when_the_interrupt_has_come"]),
    (
        WOKEN_AT_BREAKPOINT,
        &[
            "steps_over_a_line_stay_in_the_line_while_the_timer_runs_with_irqchip_kernel",
            "a_step_takes_no_tick_in_the_middle_with_irqchip_kernel",
        ],
    ),
    (NO_XMM, &["gdb_reads_and_writes_memory_and_registers"]),
    (NO_FRAME, &["a_guest_whose_stack_is_watched_gets_its_exceptions"]),
    (NO_SIMD_EXCEPTIONS, &["an_unmasked_exception_without_a_handler_is_a_triple_fault"]),
];

/// It compares a breakpoint's linear address with EIP, finds none, and passes the stop to a debugger of its own.
const CRASHES: &str = "QEMU 10 crashes at a hardware breakpoint in a code segment whose base is not 0";

/// The tests that cannot pass since version 10.
const SINCE: &[(&str, &[&str])] = &[(
    CRASHES,
    &[
        "breakpoints_stop_the_guest_in_every_mode",
        "a_halt_is_stepped_whatever_the_selector_of_real_mode",
        "real_mode_code_is_debugged_with_its_own_disassembly",
        "next_over_int_0x10_stops_behind_it",
    ],
)];

/// True on an emulated AMD-V whose debug registers stop guests. `KVM_LANE_QEMU` is QEMU's major version.
pub fn has_debug_registers() -> bool {
    let version = || std::env::var("KVM_LANE_QEMU").ok()?.parse().ok();
    lane() == Lane::Amd && version().unwrap_or(0) >= WITH_DEBUG_REGISTERS
}

/// All names of tests here.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BEFORE.iter().chain(SINCE).flat_map(|(_, names)| names.iter().copied())
}

/// Why the test with this name cannot pass on this version.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    if lane() != Lane::Amd {
        return None;
    }
    let lists = if has_debug_registers() { SINCE } else { BEFORE };
    let both = name.strip_suffix(KERNEL_SUFFIX).unwrap_or(name);
    lists.iter().find(|(_, names)| names.contains(&name) || names.contains(&both)).map(|(reason, _)| *reason)
}
