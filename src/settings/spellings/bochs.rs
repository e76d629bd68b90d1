//! The options of Bochs.

use super::{Effect, NOTHING, Program, Spelling, ValueForm};

use Effect::{Becomes, Ignored, Implied, Refused};
use ValueForm::{Absent, Any, OneOf};

const fn spelling(name: &'static str, value: ValueForm, effect: Effect) -> Spelling {
    Spelling { program: Program::Bochs, name, value, effect }
}

const CONFIG: &str = "A bochsrc cannot be read. `--config FILE` names a config file of kvm, whose keys docs/options.md \
                      lists.";
const DEBUGGER: &str = "`--gdb` waits for gdb, whose `-x FILE` runs the commands in a file.";

/// Options of `bochs`, and lines of a bochsrc, which it also takes as arguments.
pub(super) static SPELLINGS: &[Spelling] = &[
    spelling("q", Absent, Implied("there is no start menu", NOTHING)),
    spelling("n", Absent, Becomes("`--config /dev/null`", |t, _| t.push("--config=/dev/null"))),
    spelling("f", Any("FILE"), Refused(CONFIG)),
    spelling("log", Any("FILE"), Becomes("`--logfile FILE`", |t, file| t.push(&format!("--logfile={file}")))),
    spelling("rc", Any("FILE"), Refused(DEBUGGER)),
    spelling("debugger", Absent, Refused(DEBUGGER)),
    spelling("r", Any("DIR"), Refused("A snapshot of kvm is one file: `kvm --restore FILE`.")),
    spelling(
        "magic_break:",
        OneOf(&["enabled=1"]),
        Becomes("`--magic-break`", |t, _| t.push("--magic-break")),
    ),
    spelling(
        "magic_break:",
        OneOf(&["enabled=0"]),
        Implied("magic breakpoints stop the guest with `--magic-break` only", NOTHING),
    ),
    spelling(
        "magic_break:",
        Any("enabled=1 REGISTERS"),
        Refused("`xchg bx, bx` is the only magic breakpoint: `magic_break: enabled=1`, or `--magic-break`."),
    ),
    spelling("port_e9_hack:", OneOf(&["enabled=1"]), Implied("port 0xE9 is the debug console", NOTHING)),
    spelling("port_e9_hack:", Any("..."), Ignored("port 0xE9 is always the debug console", NOTHING)),
    spelling("benchmark", Any("MS"), Refused("`--timeout TIME` ends the run after a time.")),
];
