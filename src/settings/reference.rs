//! The reference of all options in Markdown: `docs/options.md`.

use super::commands::{COMMANDS, CommandSpec};
use super::table::{self, GROUPS, OptionArgument, OptionSpec, USAGE};

const HEAD: &str = "\
# Options of `kvm`

<!-- Made from src/settings/table; `KVM_BLESS=1 cargo test --lib options_md` writes it anew. -->

";

const RULES: &str = "
The guest file is the one argument that is no option. Options and guest can come in any order, each
option at most once unless it can be repeated, with two dashes or with one (`-logfile` is
`--logfile`). A value follows after a blank or after `=`; where the value stands in brackets it can be
left out, and needs the `=` when it is there, unless it is an ADDRESS:PORT or `unix:PATH`. Options of QEMU and Bochs
with an equivalent are accepted, too: [from-qemu.md](from-qemu.md).

An option's key in the config file does the same. The command line is stronger than the config file,
which is stronger than the defaults. The config file is the one `--config` names, else `config.ini` in
the working directory if there is one. [`config.ini`](../config.ini) shows all its keys.

";

const COMMANDS_RULES: &str = "\
## Commands

With one of these as its first argument `kvm` runs no guest file; a guest file of that name is run as `kvm ./check`.
[hosts.md](hosts.md), [snapshots.md](snapshots.md), [console.md](console.md), [debug-server.md](debug-server.md) and
[editors.md](editors.md) describe them.

| command | what it does |
|---|---|
";

/// The text of `docs/options.md`: every option with its keys, values and default, in Markdown.
pub fn reference() -> String {
    let mut text = format!("{HEAD}`{}`\n{RULES}", USAGE.trim_start_matches("Use: "));
    text += COMMANDS_RULES;
    for command in COMMANDS {
        text += &row(&[&format!("`{}`", command_usage(command)), command.about]);
    }
    text += "\n## On the command line\n";
    for group in GROUPS {
        text += &format!("\n### {}\n\n", group.name);
        text += "| option | what it does | values | default | in the config file |\n";
        text += "|---|---|---|---|---|\n";
        for option in group.options {
            text += &row(&[
                &format!("`{}`", usage(option)),
                option.help,
                option.allowed,
                &default(option),
                &keys_of(option),
            ]);
        }
    }
    text += "\n## In the config file\n";
    for section in table::sections() {
        text += &format!("\n### `[{section}]`\n\n");
        text += "| key | what it does | values | default | on the command line |\n";
        text += "|---|---|---|---|---|\n";
        for (option, key) in table::keys().filter(|(_, key)| key.section == section) {
            let meaning = option.meaning(key);
            text += &row(&[
                &format!("`{}`", key.name),
                meaning.help,
                meaning.allowed,
                &shown(meaning.default),
                &format!("`--{}`", option.long),
            ]);
        }
    }
    let without_key = table::options().filter(|option| option.keys.is_empty());
    let without_key: Vec<String> = without_key.map(|option| format!("`--{}`", option.long)).collect();
    text += "\nWhat is about a single run has no key: the guest file, ";
    text += &format!("{}.\n", without_key.join(", "));
    text
}

fn command_usage(command: &CommandSpec) -> String {
    let flags: String = command.flags.iter().map(|(flag, _)| format!(" [--{flag}]")).collect();
    format!("kvm {} {}", command.name, command.arguments).trim_end().to_owned() + &flags
}

fn usage(option: &OptionSpec) -> String {
    let long = match option.takes {
        OptionArgument::Value(name) => format!("--{} {name}", option.long),
        OptionArgument::Maybe(name) => format!("--{}[={name}]", option.long),
        OptionArgument::Help | OptionArgument::Version => format!("--{}", option.long),
    };
    match option.takes.short() {
        Some(letter) => format!("{long}`, `-{letter}"),
        None => long,
    }
}

fn default(option: &OptionSpec) -> String {
    let of_keys: Vec<String> = option
        .keys
        .iter()
        .filter(|_| option.default.is_none() && !option.keys.is_empty())
        .filter_map(|key| Some(format!("{} `{}`", key.name, option.meaning(key).default?)))
        .collect();
    if of_keys.is_empty() { shown(option.default) } else { of_keys.join(", ") }
}

fn shown(default: Option<&str>) -> String {
    match default {
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
        None => String::new(),
    }
}

fn keys_of(option: &OptionSpec) -> String {
    let keys = option.keys.iter().map(|key| format!("`[{}] {}`", key.section, key.name));
    keys.collect::<Vec<String>>().join(", ")
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}
