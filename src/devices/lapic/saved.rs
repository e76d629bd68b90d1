//! The saved state of the local APICs, and how that of earlier versions is read.

use serde::{Deserialize, Serialize};

use super::apic::{ApicMode, LocalApic, ProcessorRequest};
use super::registers::{self as register, error, lvt, spurious};
use super::timer::ApicTimer;
use super::vectors::VectorSet;
use super::{LocalApics, MOST_CPUS, PendingRequests};
use crate::devices::{Payload, Snapshot, StateError};

/// Everything the guest can observe of the local APICs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalApicsState {
    apics: Vec<LocalApic>,
    requests: Vec<PendingRequests>,
    ended: VectorSet,
}

/// Version 1, of a register page that kept what was written to it and delivered nothing.
#[derive(Serialize, Deserialize)]
struct Version1 {
    registers: Vec<u32>,
}

/// Registers of version 1.
const REGISTERS: usize = 64;

impl Version1 {
    /// The one local APIC. Its timer is stopped, because it never ran.
    fn local_apic(self) -> Result<LocalApic, String> {
        let registers = <[u32; REGISTERS]>::try_from(self.registers)
            .map_err(|registers| format!("{} registers; there are {REGISTERS}", registers.len()))?;
        let value = |number: u16| registers[usize::from(number)];
        let mut apic = LocalApic::new(0, true);
        for number in [
            register::ID,
            register::TASK_PRIORITY,
            register::LOGICAL_DESTINATION,
            register::DESTINATION_FORMAT,
            register::SPURIOUS,
        ] {
            let _ = apic.write(number, value(number));
        }
        for (number, entry) in (register::FIRST_LOCAL_VECTOR..).zip(0..lvt::COUNT) {
            apic.lvt[entry] = value(number) & lvt::WRITABLE[entry];
            if !apic.is_software_enabled() {
                apic.lvt[entry] |= lvt::MASKED;
            }
        }
        let low = u64::from(value(register::COMMAND_LOW) & register::COMMAND_WRITABLE);
        apic.command = low | u64::from(value(register::COMMAND_HIGH) & 0xFF00_0000) << 32;
        apic.timer = ApicTimer::stopped(value(register::INITIAL_COUNT), value(register::DIVIDE));
        Ok(apic)
    }
}

impl LocalApic {
    /// What is wrong with a saved state of number `index`, if it is one that cannot be reached.
    fn fault(&self, index: usize) -> Option<&'static str> {
        if self.id as usize != index || self.bootstrap != (index == 0) {
            return Some("an identification is not the number of its processor");
        }
        if self.model > 0xF {
            return Some("the destination format register has bits that do not exist");
        }
        let entries = self.lvt.iter().zip(lvt::WRITABLE);
        if self.spurious & !spurious::WRITABLE != 0
            || entries.clone().any(|(entry, writable)| entry & !writable != 0)
        {
            return Some("a local vector has bits that do not exist");
        }
        if !self.is_software_enabled() && self.lvt.iter().any(|entry| entry & lvt::MASKED == 0) {
            return Some("a local vector is not masked although the APIC is disabled");
        }
        if ![&self.requests, &self.in_service, &self.trigger_mode].into_iter().all(VectorSet::is_legal) {
            return Some("an interrupt has an illegal vector");
        }
        if (self.errors | self.new_errors) & !error::ALL != 0 {
            return Some("there is an error that does not exist");
        }
        let high = if self.mode == ApicMode::X2Apic { u32::MAX } else { 0xFF00_0000 };
        if self.command & !(u64::from(high) << 32 | u64::from(register::COMMAND_WRITABLE)) != 0 {
            return Some("the interrupt command register has bits that do not exist");
        }
        self.timer.fault(self.timer_mode())
    }
}

impl Snapshot for LocalApics {
    const KIND: &'static str = "lapic";
    const VERSION: u16 = 2;
    type State = LocalApicsState;

    fn state(&self) -> LocalApicsState {
        LocalApicsState { apics: self.apics.clone(), requests: self.requests.clone(), ended: self.ended }
    }

    fn set_state(&mut self, state: LocalApicsState) -> Result<(), StateError> {
        let damaged = |reason: String| StateError::Damaged { kind: Self::KIND, reason };
        let LocalApicsState { mut apics, requests, ended } = state;
        if !(1..=MOST_CPUS).contains(&apics.len()) || requests.len() != apics.len() {
            return Err(damaged(format!("{} local APICs, {} of requests", apics.len(), requests.len())));
        }
        for (index, apic) in apics.iter_mut().enumerate() {
            if let Some(reason) = apic.fault(index) {
                return Err(damaged(format!("local APIC {index}: {reason}")));
            }
            apic.update();
        }
        if !ended.is_legal() {
            return Err(damaged("an interrupt with an illegal vector has ended".to_owned()));
        }
        *self = LocalApics { apics, requests, ended, selected: 0 };
        Ok(())
    }

    fn restore(&mut self, payload: &Payload) -> Result<(), StateError> {
        payload.expect_kind(Self::KIND)?;
        match payload.version {
            1 => {
                let old = payload.decode::<Version1>(Self::KIND)?;
                let damaged = |reason| StateError::Damaged { kind: Self::KIND, reason };
                let apics = vec![old.local_apic().map_err(damaged)?];
                let requests = vec![PendingRequests::default()];
                self.set_state(LocalApicsState { apics, requests, ended: VectorSet::default() })
            }
            Self::VERSION => self.set_state(payload.decode(Self::KIND)?),
            found => Err(StateError::Version { kind: Self::KIND, found, expected: Self::VERSION }),
        }
    }
}

/// What a local APIC requests of its processor that the machine has not taken.
impl PendingRequests {
    pub(super) fn add(&mut self, request: ProcessorRequest) {
        match request {
            ProcessorRequest::Nmi => self.nmi = true,
            // A start-up that came before is void.
            ProcessorRequest::Init => (self.init, self.start_up) = (true, None),
            ProcessorRequest::StartUp(vector) => self.start_up = Some(vector),
        }
    }

    /// Takes the next request.
    pub(super) fn next(&mut self) -> Option<ProcessorRequest> {
        if std::mem::take(&mut self.init) {
            return Some(ProcessorRequest::Init);
        }
        let start_up = self.start_up.take().map(ProcessorRequest::StartUp);
        start_up.or_else(|| std::mem::take(&mut self.nmi).then_some(ProcessorRequest::Nmi))
    }
}
