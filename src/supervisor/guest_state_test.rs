use super::*;

fn attached(mut state: GuestState) -> GuestState {
    state.attach();
    state
}

#[test]
fn a_debugger_stops_the_guest_in_every_state() {
    for state in [GuestState::WaitingForDebugger, GuestState::Running, GuestState::Paused] {
        let state = attached(state);
        assert_eq!(state.status(), RunStatus::Stopped);
        assert!(state.session().is_some());
    }
}

#[test]
fn the_guest_runs_when_its_debugger_has_disconnected() {
    let mut state = attached(GuestState::Running);
    assert!(state.detach(true).is_none());
    assert_eq!(state.status(), RunStatus::Running);
    let mut state = attached(GuestState::Paused);
    state.detach(true);
    assert_eq!(state.status(), RunStatus::Running, "the debugger has taken the pause over");
}

#[test]
fn a_client_that_sends_nothing_is_not_the_debugger_the_guest_waits_for() {
    let mut state = attached(GuestState::WaitingForDebugger);
    state.detach(false);
    assert_eq!(state.status(), RunStatus::WaitingForDebugger);
    state.attach();
    state.detach(true);
    assert_eq!(state.status(), RunStatus::Running);
}

#[test]
fn a_pause_under_a_debugger_ends_in_what_the_debugger_had_the_guest_do() {
    let mut state = attached(GuestState::Running);
    for (resumed, status) in [(false, RunStatus::Stopped), (true, RunStatus::Running)] {
        state.set_resumed(resumed);
        state.set_paused(true);
        assert_eq!(state.status(), RunStatus::Paused);
        state.set_paused(false);
        assert_eq!(state.status(), status);
    }
    state.set_paused(true);
    state.detach(true);
    assert_eq!(state.status(), RunStatus::Paused, "nobody has resumed it");
}

#[test]
fn a_waiting_guest_starts_when_it_is_resumed() {
    let mut state = GuestState::WaitingForDebugger;
    state.set_paused(false);
    assert_eq!(state.status(), RunStatus::Running);
}

#[test]
fn the_end_keeps_what_was_pending_and_nothing_follows_it() {
    let mut state = attached(GuestState::Running);
    state.session_mut().unwrap().pending = Some(Pending::Reset);
    assert_eq!(state.pending_action(), Some(PendingAction::Reset));
    state.end(Outcome::Quit);
    state.end(Outcome::TripleFault(None));
    state.set_paused(true);
    state.attach();
    assert!(state.detach(true).is_none());
    assert!(matches!(state.outcome(), Some(Outcome::Quit)), "{state:?}");
    assert_eq!(state.pending_action(), Some(PendingAction::Reset));
}

#[test]
fn a_pending_end_is_saved_as_what_the_guest_came_to() {
    let mut state = attached(GuestState::Running);
    state.session_mut().unwrap().pending = Some(Pending::End(Outcome::TripleFault(None)));
    assert_eq!(state.pending_action(), Some(PendingAction::TripleFault));
    assert!(matches!(state.detach(true), Some(Pending::End(Outcome::TripleFault(None)))));
    assert_eq!(state.pending_action(), None);
}

#[test]
fn console_control_keeps_what_the_guest_does() {
    for (mut state, status) in [
        (GuestState::WaitingForDebugger, RunStatus::WaitingForDebugger),
        (GuestState::Running, RunStatus::Running),
        (GuestState::Paused, RunStatus::Paused),
    ] {
        state.take_console_control();
        assert!(state.is_console_controlled() && !state.is_debugged());
        assert_eq!(state.status(), status);
        state.set_paused(true);
        assert_eq!(state.status(), RunStatus::Paused);
        state.release_console_control();
        assert!(state.is_console_controlled(), "a paused guest stays under control");
        state.set_paused(false);
        assert_eq!(state.status(), RunStatus::Running);
        state.release_console_control();
        assert!(matches!(state, GuestState::Running));
    }
}

#[test]
fn a_debugger_takes_over_from_the_console_and_gives_control_back() {
    for (before, active, status) in [
        (GuestState::Running, true, RunStatus::Running),
        (GuestState::Paused, true, RunStatus::Running),
        (GuestState::WaitingForDebugger, false, RunStatus::WaitingForDebugger),
        (GuestState::WaitingForDebugger, true, RunStatus::Running),
    ] {
        let mut state = before;
        state.take_console_control();
        state.session_mut().unwrap().pending = Some(Pending::Reset);
        state.attach();
        assert!(state.is_debugged() && !state.is_console_controlled());
        assert_eq!(state.status(), RunStatus::Stopped);
        state.take_console_control();
        assert!(state.is_debugged(), "the debugger has priority");
        assert!(matches!(state.detach(active), Some(Pending::Reset)), "what was pending is kept");
        assert!(state.is_console_controlled());
        assert_eq!(state.status(), status);
        assert!(state.detach(true).is_none(), "no debugger is connected any more");
        assert!(state.is_console_controlled());
    }
}
