//! Options of QEMU, Bochs and skvm on the command line of `kvm`.
//!
//! `qemu`, `bochs` and `skvm` hold the tables: one [`Spelling`] for each option and form of its value. [`translate`]
//! replaces what has the same meaning here by arguments of `kvm`, drops what cannot matter, and refuses the rest
//! with the option to use instead. It runs before the command line is parsed, which then sees only options of
//! `kvm`. `docs/from-qemu.md` is made from the same tables.

mod bochs;
mod qemu;
mod reference;
mod skvm;
mod translation;
mod values;

#[cfg(test)]
#[path = "spellings_test.rs"]
mod tests;

use std::fmt;

pub use reference::reference;
pub use translation::Note;
pub(super) use translation::translate;

use translation::Translation;

/// The other program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Qemu,
    Bochs,
    Skvm,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Qemu => "QEMU",
            Program::Bochs => "Bochs",
            Program::Skvm => "skvm",
        })
    }
}

/// An option of another program with one form of its value.
struct Spelling {
    program: Program,
    /// The name, without dashes. That of a line of a bochsrc ends with a colon.
    name: &'static str,
    value: ValueForm,
    effect: Effect,
}

/// The values a [`Spelling`] is about.
enum ValueForm {
    /// The option takes no value.
    Absent,
    /// Any value that no earlier spelling of the option is about; shown like this.
    Any(&'static str),
    /// The values that do not begin with the first text; shown like the second.
    Other(&'static str, &'static str),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// The values that begin with the first text; shown like the second.
    Begins(&'static str, &'static str),
    /// The values that contain the first text; shown like the second.
    Contains(&'static str, &'static str),
    /// The values that end with the first text and are nothing but a path; shown like the second.
    Ends(&'static str, &'static str),
}

/// What `kvm` does with a [`Spelling`].
enum Effect {
    /// `kvm` has this option, with the same meaning. The function records it for options that are combined with it.
    Same(Apply),
    /// It has the same meaning as other arguments of `kvm`, which are shown like this. The function appends them.
    Becomes(&'static str, Apply),
    /// `kvm` always does what the option asks for. The sentence says so. The function checks the value.
    Implied(&'static str, Apply),
    /// The option cannot matter to the guest, for this reason. The function checks the value.
    Ignored(&'static str, Apply),
    /// It is refused. The sentences say what to use instead.
    Refused(&'static str),
    /// It is refused until a later version has what it is about. The sentences say what to do until then.
    Later(&'static str),
}

/// Applies a value to the translation, or returns why it is refused, with the remedy.
type Apply = fn(&mut Translation, &str) -> Result<(), String>;

/// The function of an effect that needs none.
const NOTHING: Apply = |_, _| Ok(());

impl Spelling {
    /// The name as it is typed.
    fn typed(&self) -> String {
        if self.name.ends_with(':') { self.name.to_owned() } else { format!("-{}", self.name) }
    }
}

impl ValueForm {
    fn matches(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (ValueForm::Absent, None) | (ValueForm::Any(_), Some(_)) => true,
            (ValueForm::OneOf(values), Some(value)) => values.contains(&value),
            (ValueForm::Begins(prefix, _), Some(value)) => value.starts_with(prefix),
            (ValueForm::Other(prefix, _), Some(value)) => !value.starts_with(prefix),
            (ValueForm::Contains(part, _), Some(value)) => value.contains(part),
            (ValueForm::Ends(end, _), Some(value)) => value.ends_with(end) && !value.contains(['=', ':']),
            (_, None) | (ValueForm::Absent, Some(_)) => false,
        }
    }

    fn shown(&self) -> String {
        match self {
            ValueForm::Absent => String::new(),
            ValueForm::Any(shown)
            | ValueForm::Begins(_, shown)
            | ValueForm::Other(_, shown)
            | ValueForm::Contains(_, shown)
            | ValueForm::Ends(_, shown) => (*shown).to_owned(),
            ValueForm::OneOf(values) => values.join("|"),
        }
    }
}

/// Every spelling. Those of one name are tried in this order.
fn spellings() -> impl Iterator<Item = &'static Spelling> {
    qemu::SPELLINGS.iter().chain(bochs::SPELLINGS).chain(skvm::SPELLINGS)
}
