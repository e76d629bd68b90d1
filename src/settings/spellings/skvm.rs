//! The options of skvm, in their long form. Its `--bios` is that of QEMU, too.

use super::{Effect, Program, Spelling, ValueForm};

use Effect::Becomes;
use ValueForm::{Any, Ends};

const fn spelling(name: &'static str, value: ValueForm, effect: Effect) -> Spelling {
    Spelling { program: Program::Skvm, name, value, effect }
}

/// Options of `skvm`.
pub(super) static SPELLINGS: &[Spelling] = &[
    spelling("guest", Any("FILE"), Becomes("FILE, the guest file or its disk", |t, file| t.guest(file))),
    spelling(
        "serial",
        Ends(".sock", "PATH.sock"),
        Becomes("`--serial N=unix:PATH.sock`", |t, path| t.serial(&format!("unix:{path}"))),
    ),
];
