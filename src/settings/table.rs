//! The table of all options, the only definition of their names, allowed values, defaults and help texts.
//!
//! The command line, the reader of the config file, `--help`, `docs/options.md` and the check of the
//! documented `config.ini` are all derived from [`GROUPS`].

mod migration;
mod remote;
mod run;
mod user_interface;

use super::draft::Draft;
use super::values::ParseResult;

/// Usage line of the program, shown in messages about the command line.
pub(super) const USAGE: &str = "Use: kvm <elf file> [OPTIONS]";

/// Placeholder of the guest file in help texts.
pub(super) const GUEST: &str = "GUEST";

/// Placeholder of a listen address in help texts.
pub(super) const ADDRESS: &str = "ADDRESS:PORT";

/// The default log file.
pub(super) const DEFAULT_LOG_FILE: &str = "console.log";

/// Applies a value to the draft, or returns what is wrong with it.
pub(super) type Set = fn(&mut Draft, &str) -> ParseResult<()>;

/// One option.
pub(super) struct OptionSpec {
    /// Its name on the command line, without dashes.
    pub(super) long: &'static str,
    /// The argument of the option.
    pub(super) takes: OptionArgument,
    /// True if it can be repeated; each time adds to the previous ones.
    pub(super) repeatable: bool,
    /// The default value; `None` if its keys define it, or if there is none.
    pub(super) default: Option<&'static str>,
    /// The allowed values.
    pub(super) allowed: &'static str,
    /// The help text, in one line.
    pub(super) help: &'static str,
    /// Applies a value.
    pub(super) set: Set,
    /// The equivalent keys in the config file.
    pub(super) keys: &'static [Key],
}

/// The argument of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionArgument {
    /// A value with this name.
    Value(&'static str),
    /// A value with this name may be attached with `=`; without one it is `yes`.
    Maybe(&'static str),
    /// No argument: prints the help text.
    Help,
    /// No argument: prints the version.
    Version,
}

impl OptionArgument {
    /// The single-letter form of the option.
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
    /// Its section.
    pub(super) section: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Where it differs from its option; `None` if it is equivalent.
    own: Option<ValueSpec>,
}

/// The meaning of a key.
#[derive(Clone, Copy)]
pub(super) struct ValueSpec {
    /// The default value.
    pub(super) default: Option<&'static str>,
    /// The allowed values.
    pub(super) allowed: &'static str,
    /// The help text, in one line.
    pub(super) help: &'static str,
    /// Applies a value.
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
    /// The meaning of `key`, one of this option's keys.
    pub(super) fn meaning(&self, key: &Key) -> ValueSpec {
        key.own.unwrap_or(ValueSpec {
            default: self.default,
            allowed: self.allowed,
            help: self.help,
            set: self.set,
        })
    }

    /// True if `key`, one of this option's keys, can be repeated.
    pub(super) fn repeats(&self, key: &Key) -> bool {
        self.repeatable && key.own.is_none()
    }

    /// The default values and the functions that apply them.
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

/// Options under a common heading.
pub(super) struct OptionGroup {
    /// The heading.
    pub(super) name: &'static str,
    /// In the order of the help text.
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
