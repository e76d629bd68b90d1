//! Descriptions of each answer: a stable word for programs, and a text for display.

use super::report::Mark::{self, Bad, Good, Helped, Plain};
use crate::kvm::probe::{
    AfterTripleFault, Behaviour, CoalescedWrites, DirtyLog, HardwareBreakpoints, Hypercall,
    InterruptFreeStepping, ModeSupport, ReadOnlyMemory, ResumeFlag, SingleStep, SoftwareBreakpoints, Speed,
    SystemCalls,
};
use crate::kvm::{HostError, probe};

/// An answer: the stable word, whether it is good, the text for display.
pub(super) type Answer = (&'static str, Mark, &'static str);

/// A behaviour that no known host shows.
const UNCLEAR: Answer = ("unclear", Bad, probe::UNCLEAR);

/// The error of opening the device.
pub(super) fn device(error: &HostError) -> Answer {
    match error {
        HostError::NoDevice { .. } => ("missing", Bad, "missing"),
        HostError::NotAllowed { .. } => ("not_allowed", Bad, "there, but this user may not open it"),
        HostError::NotKvm { .. } => ("not_kvm", Bad, "something else has its name"),
        HostError::Held { .. } => ("held", Bad, "there, but another driver has the processor"),
        HostError::SwitchedOff { .. } => ("switched_off", Bad, "there, but the firmware has switched it off"),
        HostError::Open { .. }
        | HostError::Version { .. }
        | HostError::MemoryLost(_)
        | HostError::MemorySuspected { .. }
        | HostError::Refused { .. } => ("unusable", Bad, "there, but it cannot be used"),
    }
}

pub(super) fn started(started: ModeSupport) -> Answer {
    match started {
        ModeSupport::Runs => ("runs", Good, "runs"),
        ModeSupport::PagingDropped => ("paging_dropped", Bad, "KVM takes the registers, then paging is off"),
        ModeSupport::TripleFault => ("triple_fault", Bad, "triple fault at the first instruction"),
        ModeSupport::Refused => ("refused", Bad, "refused"),
        ModeSupport::Unclear => UNCLEAR,
    }
}

/// Names for exceptions that instructions raise (Intel SDM volume 3A, "Exceptions and Interrupts").
fn raises(vector: u8) -> Answer {
    match vector {
        6 => ("raises_ud", Bad, "raises #UD, invalid opcode"),
        7 => ("raises_nm", Bad, "raises #NM, device not available"),
        13 => ("raises_gp", Bad, "raises #GP, general protection"),
        14 => ("raises_pf", Bad, "raises #PF, page fault"),
        _ => ("raises", Bad, "raises another exception"),
    }
}

pub(super) fn behaviour(behaviour: Behaviour) -> Answer {
    match behaviour {
        Behaviour::Runs => ("runs", Good, "runs"),
        Behaviour::Wrong => ("wrong", Bad, "wrong result, and no error"),
        Behaviour::Refused => ("refused", Helped, "refused by KVM, emulated by kvm"),
        Behaviour::NotOffered => ("not_offered", Plain, "not offered by CPUID, raises an exception"),
        Behaviour::Raises(vector) => raises(vector),
        Behaviour::Hangs => ("hangs", Bad, "never ends"),
        Behaviour::Unclear => UNCLEAR,
    }
}

pub(super) fn system_calls(calls: SystemCalls) -> Answer {
    match calls {
        SystemCalls::EnterRing0 => ("runs", Good, "enters ring 0"),
        SystemCalls::StayInRing3 => {
            ("stays_in_ring3", Bad, "jumps to the kernel's entry, but stays in ring 3")
        }
        SystemCalls::Raise(vector) => raises(vector),
        SystemCalls::Unclear => UNCLEAR,
    }
}

pub(super) fn hypercall(hypercall: Hypercall) -> Answer {
    match hypercall {
        Hypercall::Answered => ("answered", Plain, "answered by KVM"),
        Hypercall::Undefined => ("undefined", Plain, "#UD, as on a processor that does not know it"),
        Hypercall::Raises(vector) => raises(vector),
        Hypercall::Refused => ("refused", Bad, "refused by KVM's instruction emulator"),
        Hypercall::Hangs => ("hangs", Bad, "never ends"),
        Hypercall::Unclear => UNCLEAR,
    }
}

pub(super) fn foreign_hypercall(found: Hypercall) -> Answer {
    match found {
        Hypercall::Answered => ("answered", Plain, "KVM rewrites the guest's code (switched off by kvm)"),
        Hypercall::Hangs => ("hangs", Plain, "never ends (switched off by kvm)"),
        found => hypercall(found),
    }
}

pub(super) fn software_breakpoints(found: SoftwareBreakpoints) -> Answer {
    let (key, mark) = match found {
        SoftwareBreakpoints::DebugExit => ("debug_exit", Good),
        SoftwareBreakpoints::Refused => ("refused", Helped),
        SoftwareBreakpoints::Guest => ("guest", Bad),
        SoftwareBreakpoints::Missed => ("missed", Bad),
        SoftwareBreakpoints::Unclear => (UNCLEAR.0, UNCLEAR.1),
    };
    (key, mark, found.describe())
}

pub(super) fn hardware_breakpoints(found: HardwareBreakpoints) -> Answer {
    let (key, mark) = match found {
        HardwareBreakpoints::Stop => ("stop", Good),
        HardwareBreakpoints::Missed => ("missed", Bad),
        HardwareBreakpoints::Guest => ("guest", Bad),
        HardwareBreakpoints::Unclear => (UNCLEAR.0, UNCLEAR.1),
    };
    (key, mark, found.describe())
}

pub(super) fn resume_flag(found: ResumeFlag) -> Answer {
    match found {
        ResumeFlag::Honoured => ("honoured", Good, "leads past the breakpoint"),
        ResumeFlag::Ignored => ("ignored", Bad, "ignored: the guest stops there again"),
        ResumeFlag::NoBreakpoints => ("no_breakpoints", Plain, "hardware breakpoints do not stop"),
        ResumeFlag::Unclear => UNCLEAR,
    }
}

pub(super) fn single_step(found: SingleStep) -> Answer {
    let (key, mark) = match found {
        SingleStep::Stops => ("stops", Good),
        SingleStep::Guest => ("guest", Bad),
        SingleStep::Missed => ("missed", Bad),
        SingleStep::Unclear => (UNCLEAR.0, UNCLEAR.1),
    };
    (key, mark, found.describe())
}

pub(super) fn interrupt_free_stepping(found: InterruptFreeStepping) -> Answer {
    let (key, mark) = match found {
        InterruptFreeStepping::HeldBack => ("held_back", Good),
        InterruptFreeStepping::NotHeldBack => ("not_held_back", Bad),
        InterruptFreeStepping::Lost => ("lost", Bad),
        InterruptFreeStepping::NotOffered => ("not_offered", Bad),
        InterruptFreeStepping::NoSteps => ("no_steps", Bad),
    };
    (key, mark, found.describe())
}

pub(super) fn after_triple_fault(found: AfterTripleFault) -> Answer {
    match found {
        AfterTripleFault::Preserved => ("kept", Good, "registers hold the address of the fault"),
        AfterTripleFault::Reset => ("reset", Bad, "registers are reset: the address of the fault is lost"),
        AfterTripleFault::Unclear => UNCLEAR,
    }
}

pub(super) fn dirty_log(found: DirtyLog) -> Answer {
    match found {
        DirtyLog::Exact => ("exact", Good, "exactly the pages written"),
        DirtyLog::WithPageTables => ("with_page_tables", Good, "the pages written, and page tables in use"),
        DirtyLog::Rough => ("rough", Plain, "the pages written, and others"),
        DirtyLog::Incomplete => ("incomplete", Bad, "pages are missing"),
    }
}

pub(super) fn read_only_memory(found: ReadOnlyMemory) -> Answer {
    match found {
        ReadOnlyMemory::Exits => ("told", Good, "a write exits with address and value"),
        ReadOnlyMemory::Written => ("written", Bad, "is written to all the same"),
        ReadOnlyMemory::Unclear => UNCLEAR,
    }
}

pub(super) fn collected_writes(found: CoalescedWrites) -> Answer {
    match found {
        CoalescedWrites::Coalesced => ("collected", Good, "collected, and reported together"),
        CoalescedWrites::OneByOne => ("one_by_one", Bad, "accepted, but reported one by one"),
        CoalescedWrites::NotOffered => ("not_offered", Bad, "not offered"),
        CoalescedWrites::Lost => ("lost", Bad, "some are lost"),
    }
}

pub(super) fn speed(found: Option<Speed>) -> Answer {
    match found {
        Some(speed) if speed.is_interpreted() => ("interpreted", Bad, "interpreted by KVM"),
        Some(_) => ("native", Good, "run by the processor"),
        None => ("unclear", Bad, "could not be measured"),
    }
}
