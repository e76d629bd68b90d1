//! How often the guest has exited: by reason, per second, and by port.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::events::device_name;
use super::hex;
use crate::machine::exit_counts::ExitCounts;
use crate::machine::exit_times::ExitTimes;
use crate::machine::flight_recorder::FlightRecorder;

/// Ports that are listed.
const MOST_PORTS: usize = 10;

/// Exits for one reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReasonCount {
    /// The reason, in words.
    pub reason: &'static str,
    /// How many there have been since the machine was created.
    pub count: u64,
    /// How many per second there have been in [`ExitStatistics::seconds`].
    pub per_second: f64,
    /// What was measured of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredExits>,
}

/// How long exits were handled, since the user has asked for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasuredExits {
    /// How many were measured.
    pub count: u64,
    /// The time of all of them in seconds, without that in the guest.
    pub seconds: f64,
}

/// Accesses of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortCount {
    /// The port.
    #[serde(serialize_with = "hex::hex")]
    pub port: u16,
    /// The device that has it; `None` if none has.
    pub device: Option<String>,
    /// Accesses since the machine was created.
    pub count: u64,
}

/// The exits of a machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExitStatistics {
    /// All exits since the machine was created, across resets.
    pub total: u64,
    /// By reason, those that have occurred.
    pub reasons: Vec<ReasonCount>,
    /// Instructions emulated in place of KVM.
    pub emulated: u64,
    /// The ports with most accesses, the busiest first.
    pub ports: Vec<PortCount>,
    /// The time that rates are about, in seconds of the host.
    pub seconds: f64,
    /// It began with the last look at the exits, not with the machine.
    pub since_last_look: bool,
    /// Seconds in the guest, and in KVM on its behalf, while exits are measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_seconds: Option<f64>,
    /// What is not counted, a sentence each.
    pub notes: Vec<&'static str>,
}

impl ExitStatistics {
    /// The exits `now`, and how many of them there have been per second since `before`, `time` ago.
    pub fn new(
        now: &ExitCounts,
        before: Option<&ExitCounts>,
        time: Duration,
        recorder: &FlightRecorder,
        emulated: u64,
    ) -> ExitStatistics {
        let seconds = time.as_secs_f64();
        let earlier = before.copied().unwrap_or_default();
        let reasons = now.by_reason().into_iter().zip(earlier.by_reason());
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        ExitStatistics {
            total: now.total(),
            reasons: reasons
                .filter(|((_, count), _)| *count > 0)
                .map(|((reason, count), (_, before))| ReasonCount {
                    reason,
                    count,
                    per_second: rate(count.saturating_sub(before)),
                    measured: None,
                })
                .collect(),
            emulated,
            ports: recorder
                .busiest_ports(MOST_PORTS)
                .into_iter()
                .map(|(port, count)| PortCount { port, device: device_name(port), count })
                .collect(),
            seconds,
            since_last_look: before.is_some(),
            guest_seconds: None,
            notes: Vec::new(),
        }
    }

    /// The same with what was measured.
    pub fn measured(mut self, times: &ExitTimes) -> ExitStatistics {
        self.guest_seconds = Some(times.guest().as_secs_f64());
        for (name, count, time) in times.by_reason() {
            let reason = self.reasons.iter_mut().find(|reason| reason.reason == name && count > 0);
            if let Some(reason) = reason {
                reason.measured = Some(MeasuredExits { count, seconds: time.as_secs_f64() });
            }
        }
        self
    }
}

impl fmt::Display for ExitStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = if self.since_last_look { "since the last `exits`" } else { "since the start" };
        writeln!(f, "{} exits; rates of the {:.1} s {since}", self.total, self.seconds)?;
        for ReasonCount { reason, count, per_second, measured } in &self.reasons {
            write!(f, "  {reason:<28} {count:>12} {per_second:>10.0}/s")?;
            match measured {
                Some(MeasuredExits { count, seconds }) => {
                    writeln!(f, " {seconds:>9.3} s {:>9.1} us each", seconds * 1e6 / (*count).max(1) as f64)?;
                }
                None => writeln!(f)?,
            }
        }
        if let Some(seconds) = self.guest_seconds {
            writeln!(f, "time since `exits time on`; in the guest and in KVM {seconds:.3} s")?;
        }
        if self.emulated > 0 {
            writeln!(f, "instructions emulated in place of KVM: {}", self.emulated)?;
        }
        if !self.ports.is_empty() {
            writeln!(f, "ports with most accesses:")?;
        }
        for PortCount { port, device, count } in &self.ports {
            writeln!(f, "  {port:#06x} {:<21} {count:>12}", device.as_deref().unwrap_or("unassigned"))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kvm::VmExit;
    use crate::machine::CpuId;
    use crate::machine::flight_recorder::Occurrence;

    #[test]
    fn exits_have_counts_rates_and_ports() {
        let (mut counts, mut recorder) = (ExitCounts::default(), FlightRecorder::default());
        let look = |counts: &ExitCounts, before, recorder: &FlightRecorder| {
            ExitStatistics::new(counts, before, Duration::from_millis(500), recorder, 0).to_string()
        };
        assert_eq!(look(&counts, None, &recorder), "0 exits; rates of the 0.5 s since the start\n");
        for _ in 0..100 {
            counts.count(&VmExit::PortOut { port: 0x3F8, size: 1, value: 0 });
            let what = Occurrence::PortWrite { port: 0x3F8, size: 1, value: 0 };
            recorder.record_port(0, CpuId::BOOT, 0x3F8, what);
        }
        let before = counts;
        counts.count(&VmExit::Halt { interruptible: true });
        assert_eq!(
            look(&counts, Some(&before), &recorder),
            "101 exits; rates of the 0.5 s since the last `exits`\n\
             \u{20} port writes                           100          0/s\n\
             \u{20} hlt                                     1          2/s\n\
             ports with most accesses:\n\
             \u{20} 0x03f8 serial 0                       100\n"
        );
        let none = ExitStatistics::new(&counts, None, Duration::ZERO, &recorder, 3);
        assert!(none.reasons.iter().all(|reason| reason.per_second == 0.0), "{none}");
        assert!(none.to_string().contains("emulated in place of KVM: 3\n"));
        let measured = ExitStatistics {
            reasons: vec![ReasonCount {
                reason: "hlt",
                count: 9,
                per_second: 0.0,
                measured: Some(MeasuredExits { count: 2, seconds: 0.5 }),
            }],
            guest_seconds: Some(1.25),
            ..none
        };
        let text = measured.to_string();
        assert!(text.contains("          0/s     0.500 s  250000.0 us each\n"), "{text}");
        assert!(text.contains("in the guest and in KVM 1.250 s\n"), "{text}");
    }
}
