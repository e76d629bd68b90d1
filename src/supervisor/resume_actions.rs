//! What each CPU does when the guest goes on, as a debugger front end has asked for it.

use std::ops::Range;

use crate::machine::CpuId;

/// What a CPU does when the guest goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResumeAction {
    /// Run until something stops the guest.
    Continue,
    /// Execute one instruction.
    Step,
    /// Execute instructions until the next one lies outside of this range of addresses.
    StepRange(Range<u64>),
    /// Stay stopped while others run.
    Stay,
}

/// The resume actions of all CPUs. A CPU without one of its own has the default action.
#[derive(Debug)]
pub(crate) struct ResumeActions {
    actions: Vec<Option<ResumeAction>>,
    default: ResumeAction,
}

impl ResumeActions {
    /// All of `cpus` CPUs continue.
    pub(crate) fn new(cpus: usize) -> ResumeActions {
        ResumeActions { actions: vec![None; cpus], default: ResumeAction::Continue }
    }

    /// What `cpu` does.
    pub(crate) fn of(&self, cpu: CpuId) -> &ResumeAction {
        self.actions.get(cpu.index()).and_then(Option::as_ref).unwrap_or(&self.default)
    }

    /// The machine has this many CPUs now; new ones have the default action.
    pub(crate) fn resize(&mut self, cpus: usize) {
        self.actions.resize(cpus, None);
    }

    /// True if `cpu` steps.
    pub(crate) fn steps(&self, cpu: CpuId) -> bool {
        matches!(self.of(cpu), ResumeAction::Step | ResumeAction::StepRange(_))
    }

    /// The CPUs that continue.
    pub(crate) fn continuing(&self) -> Vec<CpuId> {
        self.cpus().filter(|cpu| *self.of(*cpu) == ResumeAction::Continue).collect()
    }

    /// True if a CPU steps.
    pub(crate) fn any_steps(&self) -> bool {
        self.cpus().any(|cpu| self.steps(cpu))
    }

    fn cpus(&self) -> impl Iterator<Item = CpuId> + use<> {
        (0..self.actions.len()).map(|number| CpuId::new(number.try_into().unwrap_or(u8::MAX)))
    }

    /// Has `cpu` do `action`; without effect for one that the machine does not have.
    pub(crate) fn set(&mut self, cpu: CpuId, action: ResumeAction) {
        if let Some(slot) = self.actions.get_mut(cpu.index()) {
            *slot = Some(action);
        }
    }

    /// All CPUs continue, unless [`Self::set`] says otherwise.
    pub(crate) fn clear(&mut self) {
        self.actions.fill(None);
        self.default = ResumeAction::Continue;
    }

    /// All CPUs without an action of their own stay stopped.
    pub(crate) fn stay_by_default(&mut self) {
        self.default = ResumeAction::Stay;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_step_or_continue_or_stay() {
        let mut actions = ResumeActions::new(4);
        assert!(!actions.any_steps());
        actions.set(CpuId::new(1), ResumeAction::Step);
        actions.set(CpuId::new(3), ResumeAction::StepRange(1..2));
        assert!(actions.any_steps() && actions.steps(CpuId::new(3)) && !actions.steps(CpuId::BOOT));
        assert_eq!(actions.continuing(), [CpuId::BOOT, CpuId::new(2)]);
        actions.stay_by_default();
        assert!(actions.any_steps() && actions.continuing().is_empty());
        actions.set(CpuId::new(2), ResumeAction::Continue);
        assert_eq!(actions.continuing(), [CpuId::new(2)]);
    }

    #[test]
    fn cpus_without_an_action_have_the_default_one() {
        let mut actions = ResumeActions::new(3);
        let (second, third) = (CpuId::new(1), CpuId::new(2));
        actions.set(second, ResumeAction::Step);
        actions.set(CpuId::new(3), ResumeAction::Step);
        assert_eq!(actions.of(second), &ResumeAction::Step);
        assert_eq!(actions.of(third), &ResumeAction::Continue);
        actions.stay_by_default();
        assert_eq!(actions.of(third), &ResumeAction::Stay);
        assert_eq!(actions.of(second), &ResumeAction::Step, "it has an action of its own");
        actions.clear();
        for index in 0..3 {
            assert_eq!(actions.of(CpuId::new(index)), &ResumeAction::Continue);
        }
    }
}
