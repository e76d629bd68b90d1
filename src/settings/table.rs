//! Every option there is: the only place that says what an option is called, what it can be, what it
//! is when nobody says, and what it is good for.
//!
//! The command line, the reader of the config file, `--help`, `docs/options.md` and the check of the
//! documented `config.ini` are all made from [`GROUPS`].

mod migration;
mod remote;
mod run;
mod user_interface;

use super::draft::Draft;
use super::values::ParseResult;

/// How the program is called; stands in every message about the command line's form.
pub(super) const USAGE: &str = "Use: kvm <elf file> [OPTIONS]";

/// Name of the guest file in help texts.
pub(super) const GUEST: &str = "GUEST";

/// The log file when nobody names one.
pub(super) const DEFAULT_LOG_FILE: &str = "console.log";

/// Writes a value into the draft, or says what is wrong with it.
pub(super) type Set = fn(&mut Draft, &str) -> ParseResult<()>;

/// One option.
pub(super) struct OptionSpec {
    /// Its name on the command line, without dashes.
    pub(super) long: &'static str,
    /// What follows the name on the command line.
    pub(super) takes: OptionArgument,
    /// True if it can be given several times, each time adding to the ones before.
    pub(super) repeatable: bool,
    /// The value when nobody gives one; none if its keys say it, or if nothing stands for it.
    pub(super) default: Option<&'static str>,
    /// What the value can be.
    pub(super) allowed: &'static str,
    /// What it is good for, in one line.
    pub(super) help: &'static str,
    /// What a value does.
    pub(super) set: Set,
    /// The keys in the config file that do the same.
    pub(super) keys: &'static [Key],
}

/// What follows an option's name on the command line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionArgument {
    /// A value with this name.
    Value(&'static str),
    /// A value with this name may be attached with `=`; without one it is `yes`.
    Maybe(&'static str),
    /// Nothing: the help text is the answer.
    Help,
    /// Nothing: the version is the answer.
    Version,
}

impl OptionArgument {
    /// The letter that, after one dash, does the same as the option's name.
    pub(super) fn short(self) -> Option<char> {
        match self {
            OptionArgument::Help => Some('h'),
            OptionArgument::Version => Some('V'),
            OptionArgument::Value(_) | OptionArgument::Maybe(_) => None,
        }
    }
}

/// A key in the config file.
pub(super) struct Key {
    /// The section it stands in.
    pub(super) section: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What distinguishes it from its option; none if it says the same.
    own: Option<ValueSpec>,
}

/// What a key says.
#[derive(Clone, Copy)]
pub(super) struct ValueSpec {
    /// The value when nobody gives one.
    pub(super) default: Option<&'static str>,
    /// What the value can be.
    pub(super) allowed: &'static str,
    /// What it is good for, in one line.
    pub(super) help: &'static str,
    /// What a value does.
    pub(super) set: Set,
}

impl Key {
    const fn same(section: &'static str, name: &'static str) -> Key {
        Key { section, name, own: None }
    }

    const fn own(
        section: &'static str,
        name: &'static str,
        default: &'static str,
        allowed: &'static str,
        help: &'static str,
        set: Set,
    ) -> Key {
        Key { section, name, own: Some(ValueSpec { default: Some(default), allowed, help, set }) }
    }
}

impl OptionSpec {
    /// What `key`, one of this option's, says.
    pub(super) fn meaning(&self, key: &Key) -> ValueSpec {
        key.own.unwrap_or(ValueSpec {
            default: self.default,
            allowed: self.allowed,
            help: self.help,
            set: self.set,
        })
    }

    /// True if `key`, one of this option's, can stand on several lines.
    pub(super) fn repeats(&self, key: &Key) -> bool {
        self.repeatable && key.own.is_none()
    }

    /// The default values and what sets them.
    pub(super) fn defaults(&self) -> impl Iterator<Item = (&'static str, Set)> {
        let of_keys = self.keys.iter().filter_map(|key| key.own).map(|own| (own.default, own.set));
        std::iter::once((self.default, self.set))
            .chain(of_keys)
            .filter_map(|(default, set)| Some((default?, set)))
    }
}

/// All keys, each with its option, in the order of the table.
pub(super) fn keys() -> impl Iterator<Item = (&'static OptionSpec, &'static Key)> {
    options().flat_map(|option| option.keys.iter().map(move |key| (option, key)))
}

/// All sections of the config file, each once, in the order of the table.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections = Vec::new();
    for (_, key) in keys() {
        if !sections.contains(&key.section) {
            sections.push(key.section);
        }
    }
    sections
}

const YES_NO: &str = "yes, no (or true, false, on, off, 1, 0)";

/// Options that are explained together.
pub(super) struct OptionGroup {
    /// The heading.
    pub(super) name: &'static str,
    /// In the order in which they are explained.
    pub(super) options: &'static [OptionSpec],
}

/// Every option.
pub(super) static GROUPS: &[OptionGroup] = &[
    OptionGroup { name: "Machine", options: run::MACHINE },
    OptionGroup { name: "Guest", options: run::GUEST },
    OptionGroup { name: "Screen, keyboard and serial ports", options: user_interface::USER_INTERFACE },
    OptionGroup { name: "Log", options: run::LOG },
    OptionGroup { name: "Debugging and remote control", options: remote::REMOTE },
    OptionGroup { name: "Snapshots and migration", options: migration::SNAPSHOTS_AND_MIGRATION },
    OptionGroup { name: "Other", options: run::OTHER },
];

/// Every option, in the order of the groups.
pub(super) fn options() -> impl Iterator<Item = &'static OptionSpec> {
    GROUPS.iter().flat_map(|group| group.options)
}
