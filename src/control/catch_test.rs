//! Exceptions that stop the guest.

use super::*;

#[test]
fn exceptions_are_caught_by_name_by_number_and_all_together() {
    let mut guest = FakeMachine { debugged: false, status: RunStatus::Running, ..real_mode() };
    assert_eq!(run(&mut guest, "catch"), "no exception stops the guest\n");
    assert_eq!(
        run(&mut guest, "catch pf on"),
        "stop the guest at the first instruction of its handlers: #PF\n"
    );
    assert!(guest.console_controlled);
    assert!(run(&mut guest, "catch 0x80 on").ends_with(": #PF, vector 0x80\n"));
    assert!(run(&mut guest, "catch #GP on").ends_with(": #GP, #PF, vector 0x80\n"));
    assert!(run(&mut guest, "catch 14 off").ends_with(": #GP, vector 0x80\n"));
    let all = run(&mut guest, "catch all on");
    assert!(all.contains("#DE, #DB, #BP") && all.contains("#CP, vector 0x80"), "{all}");
    assert!(run(&mut guest, "catch all off").ends_with(": vector 0x80\n"));
    for (line, problem) in [
        ("catch zz on", "`zz` is no exception"),
        ("catch 256 on", "`256` is no exception"),
        ("catch pf", "`on` or `off` is missing"),
        ("catch pf maybe", "`maybe` is neither on nor off"),
    ] {
        let text = run(&mut guest, line);
        assert!(text.contains(problem) && text.contains("; use: catch "), "{text}");
    }
    assert!(run(&mut guest, "catch int3 on").starts_with("the guest's own int3 stops it"));
}
