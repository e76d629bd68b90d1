//! The points and switches that commands set.

use super::*;

#[test]
fn points_are_set_listed_ignored_and_deleted() {
    let mut guest = long_mode();
    for (line, wanted) in [
        ("breaks", "there are none; `break` and `trace` set breakpoints and log points\n"),
        ("break 0x200000 if $rdi == 3", "breakpoint 1 at 0x200000\n"),
        ("break *0x200004", "breakpoint 2 at 0x200004\n"),
        (
            "break 0x1000",
            "breakpoint 3 at 0x1000; no RAM is mapped there yet: it takes effect at the first stop after that\n",
        ),
        ("trace 0x200000 \"n=%d\", $rdi", "log point 4 at 0x200000\n"),
        ("trace 0x200000 if $rdi, \"n\"", "log point 5 at 0x200000\n"),
        ("ignore 2 1", "the next hit of 2 is ignored\n"),
        ("ignore 2 0", "no hit of 2 is ignored\n"),
        ("ignore 2 7", "the next 7 hits of 2 are ignored\n"),
        ("delete 3", "deleted: number 3\n"),
        (
            "breaks",
            "1    break 0x200000 if $rdi == 3\n     reached 0 times, hit 0 times\n\
             2    break 0x200004\n     reached 0 times, hit 0 times, the next 7 hits are ignored\n\
             4    trace 0x200000 \"n=%d\", $rdi\n     reached 0 times, hit 0 times\n\
             5    trace 0x200000 if $rdi, \"n\"\n     reached 0 times, hit 0 times\n",
        ),
        ("delete 3", "error: there is no breakpoint 3; `breaks` lists them"),
        ("ignore 99 1", "error: there is no breakpoint 99; `breaks` lists them"),
        ("ignore 2", "error: a number and a count are needed; use: ignore NUMBER COUNT"),
        ("break", "error: an address is missing; use: break ADDRESS [if EXPRESSION]"),
        (
            "break 0x200000 nonsense",
            "error: unexpected argument `nonsense`; use: break ADDRESS [if EXPRESSION]",
        ),
        ("break 0x200000 if", "error: at the end: a value is missing here: a number, a register or a symbol"),
        (
            "break main",
            "error: at `main`: `main` is neither a register nor a symbol of the guest file; `nm` lists its \
             symbols",
        ),
        ("trace 0x200000", "error: the text stands between quotation marks, as in \"n is %d\\n\""),
        ("delete", "deleted: 4\n"),
    ] {
        assert_eq!(run(&mut guest, line), wanted, "{line}");
    }
}

#[test]
fn switches_are_set_and_shown() {
    let mut guest = real_mode();
    let on = "addresses are guest-physical; `phys off` makes them virtual\n";
    assert_eq!(run(&mut guest, "phys on"), on);
    assert_eq!(run(&mut guest, "phys"), on);
    assert!(guest.session.switches.physical);
    run(&mut guest, "catch int3 on");
    run(&mut guest, "step-irq on");
    let all = Switches { physical: true, step_interrupts: true, catch_int3: true };
    assert_eq!(guest.session.switches, all);
    assert_eq!(run(&mut guest, "phys maybe"), "error: `maybe` is neither on nor off; use: phys on|off");
}
