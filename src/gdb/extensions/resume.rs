//! `continue`, `step`, `stepi`, `set scheduler-locking on`: which vCPUs run, step or stay stopped.
//!
//! The library supports the packets of gdb, and gets them unchanged. Packets of other clients are rewritten, so that
//! each thread is named once and each step has its thread, or refused as a whole if they are malformed or name a
//! thread that does not exist.
//!
//! Manual: `vCont`, `c` and `s` in "Packets" of *Debugging with gdb*.

use std::io::Write;

use super::Route;
use super::request::{ThreadSelector, thread_selector};
use crate::gdb::packet::{memory_range, number, split, write_packet};
use crate::gdb::target::INVALID;
use crate::gdb::threads::{Threads, thread_of};
use crate::machine::CpuId;

/// The action for some threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeAction<'a> {
    /// Continue, step and so on, as `vCont` encodes it.
    pub(crate) action: &'a [u8],
    /// The threads.
    pub(crate) threads: ThreadSelector,
    /// The library understands the threads as they are written.
    pub(crate) plain: bool,
}

/// The actions in a packet's body; the first one that names a thread applies to it. `None` for other packets.
pub(crate) fn actions(body: &[u8]) -> Option<Vec<ResumeAction<'_>>> {
    let legacy = |threads| Some(vec![ResumeAction { action: &body[..1], threads, plain: false }]);
    match body {
        b"c" | b"s" => legacy(ThreadSelector::Selected),
        [b'c' | b's', address @ ..] if number(address).is_some() => legacy(ThreadSelector::Invalid),
        _ => Some(body.strip_prefix(b"vCont;")?.split(|byte| *byte == b';').map(action).collect()),
    }
}

/// An action of `vCont`, with its threads.
fn action(text: &[u8]) -> ResumeAction<'_> {
    let (action, threads) = split(text, b':').unwrap_or((text, b"-1"));
    let is_action = match action {
        b"c" | b"s" => true,
        [b'C' | b'S', signal @ ..] => number(signal).is_some_and(|signal| signal < 256),
        [b'r', range @ ..] => memory_range(range).is_some(),
        _ => false,
    };
    let selector = if is_action { thread_selector(threads) } else { ThreadSelector::Invalid };
    ResumeAction { action, threads: selector, plain: !threads.starts_with(b"p0") && threads != b"0" }
}

/// Decides whether the library can handle `actions`.
pub(super) fn route(threads: &Threads, actions: &[ResumeAction<'_>]) -> Route<'static> {
    match packet(threads, actions) {
        Some(_) if is_plain(actions) => Route::Library,
        Some(packet) => Route::Replaced(packet),
        None => Route::Refused(INVALID),
    }
}

/// True if the library handles `actions` as the manual says: each thread is named once, and the action for all others
/// is to continue and comes last.
fn is_plain(actions: &[ResumeAction<'_>]) -> bool {
    let last = actions.len().saturating_sub(1);
    actions.iter().enumerate().all(|(place, action)| {
        let alone = match action.threads {
            ThreadSelector::One(_) => {
                actions[..place].iter().all(|earlier| earlier.threads != action.threads)
            }
            ThreadSelector::All => place == last && action.action == b"c",
            _ => false,
        };
        alone && action.plain
    })
}

/// The `vCont` packet that makes the library perform `actions`; `None` if one of them is impossible.
pub(crate) fn packet(threads: &Threads, actions: &[ResumeAction<'_>]) -> Option<Vec<u8>> {
    let exists = |selector| match selector {
        ThreadSelector::One(thread) => threads.vcpu(thread).is_some(),
        ThreadSelector::Invalid => false,
        ThreadSelector::All | ThreadSelector::Any | ThreadSelector::Selected => true,
    };
    if !actions.iter().all(|action| exists(action.threads)) {
        return None;
    }
    let (mut packet, mut others) = (Vec::new(), false);
    write_packet(&mut packet, |out| {
        out.extend_from_slice(b"vCont");
        for vcpu in threads.all() {
            let Some((action, named)) = actions.iter().find_map(|action| action_for(threads, vcpu, action))
            else {
                continue;
            };
            if action == b"c" && !named {
                others = true;
                continue;
            }
            out.push(b';');
            out.extend_from_slice(action);
            // Writing to a vector cannot fail.
            let _ = write!(out, ":{:x}", thread_of(vcpu));
        }
        if others {
            out.extend_from_slice(b";c");
        }
    });
    Some(packet)
}

/// The part of `action` for a vCPU, and whether it names that vCPU alone.
fn action_for<'a>(threads: &Threads, vcpu: CpuId, action: &ResumeAction<'a>) -> Option<(&'a [u8], bool)> {
    match action.threads {
        ThreadSelector::One(thread) => (thread == thread_of(vcpu)).then_some((action.action, true)),
        ThreadSelector::All | ThreadSelector::Any => Some((action.action, false)),
        ThreadSelector::Selected => match threads.selected_to_resume() {
            Some(selected) => (selected == vcpu).then_some((action.action, true)),
            None if vcpu == threads.selected() => Some((action.action, false)),
            None => Some((b"c", false)),
        },
        ThreadSelector::Invalid => None,
    }
}

#[cfg(test)]
#[path = "resume_test.rs"]
mod tests;
