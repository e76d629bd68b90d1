//! The options of Bochs.

use super::{Effect, NOTHING, Program, Spelling, ValueForm};

use Effect::{Becomes, Implied, Refused};
use ValueForm::{Absent, Any};

const fn spelling(name: &'static str, value: ValueForm, effect: Effect) -> Spelling {
    Spelling { program: Program::Bochs, name, value, effect }
}

const CONFIG: &str = "A bochsrc cannot be read. `--config FILE` names a config file of kvm, whose keys docs/options.md \
                      lists.";
const DEBUGGER: &str = "`--gdb` waits for gdb, whose `-x FILE` runs the commands in a file.";

/// Options of `bochs`.
pub(super) static SPELLINGS: &[Spelling] = &[
    spelling("q", Absent, Implied("there is no start menu", NOTHING)),
    spelling("n", Absent, Becomes("`--config /dev/null`", |t, _| t.push("--config=/dev/null"))),
    spelling("f", Any("FILE"), Refused(CONFIG)),
    spelling("log", Any("FILE"), Becomes("`--logfile FILE`", |t, file| t.push(&format!("--logfile={file}")))),
    spelling("rc", Any("FILE"), Refused(DEBUGGER)),
    spelling("debugger", Absent, Refused(DEBUGGER)),
    spelling("r", Any("DIR"), Refused("A snapshot of kvm is one file: `kvm --restore FILE`.")),
    spelling("benchmark", Any("MS"), Refused("`--timeout TIME` ends the run after a time.")),
];
