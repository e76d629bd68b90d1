//! The answers to `--help` and `--version`.

use super::boot_spec::{BOOT_KINDS, BootKindSpec};
use super::commands::COMMANDS;
use super::table::{GROUPS, GUEST, OptionArgument, OptionSpec};

/// Footer of `--help`.
pub(super) const EXAMPLES: &str = "
Examples:
  kvm hello.elf                            run a guest with 64 MiB of RAM
  kvm kernel.elf --memory 1G --append \"root=ram quiet\" --module initrd.img
  kvm kernel.elf --display none --serial 1=file:out.txt --timeout 10
  kvm kernel.elf --strict --log-level debug --logfile kernel.log
  kvm kernel.elf --gdb                     then, in gdb: target remote localhost:1234
  kvm kernel.elf --console                 then, in another terminal: kvm console
  kvm kernel.elf --debug-server            then: kvm debug-client 127.0.0.1 5553 0x1000 0x2000
  kvm vscode                               write the configuration of VS Code and gdb
  kvm check                                what KVM supports on this host

Every option but the one-shot ones has a key in config.ini; the command line wins.
";

/// The answer to `--version`.
pub(super) fn version() -> String {
    format!("kvm {}\n", env!("CARGO_PKG_VERSION"))
}

/// The answer to `--help`: every option under the heading of its group.
pub(super) fn text() -> String {
    let mut text = "Run a bare-metal x86-64 guest on Linux KVM\n\n".to_owned();
    text += &format!("Usage: kvm <{GUEST}> [OPTIONS]\n");
    for command in COMMANDS {
        text += format!("       kvm {} {}", command.name, command.arguments).trim_end();
        text.push('\n');
    }
    text.push('\n');
    text += &format!(
        "Arguments:\n  [{GUEST}]  The guest: a file of one of these kinds (docs/boot-protocols.md)\n\n"
    );
    let width = BOOT_KINDS.iter().map(|spec| spec.name.len()).max().unwrap_or_default();
    text += "Kinds of guest file:\n";
    for BootKindSpec { name, file, entry, example, .. } in BOOT_KINDS {
        text += &format!("  {name:width$}  {file}: {example}\n");
        for line in wrapped(entry, WIDTH - width - 6) {
            text += &format!("  {:width$}    {line}\n", "");
        }
    }
    for group in GROUPS {
        text += &format!("\n{}:\n", group.name);
        let width = group.options.iter().map(|option| usage(option).len()).max().unwrap_or_default();
        for option in group.options {
            text += &format!("  {:width$}  {}", usage(option), option.help);
            if let Some(default) = option.default.filter(|default| !matches!(*default, "" | "no" | "none")) {
                text += &format!(" [{default}]");
            }
            text.push('\n');
        }
    }
    text + EXAMPLES
}

/// Most characters in a line of the help.
const WIDTH: usize = 100;

/// `text` in lines of at most `width` characters, unless a word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line from the start");
        if !last.is_empty() && last.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// The usage form of an option, for example `    --memory <SIZE>`.
fn usage(option: &OptionSpec) -> String {
    let short = match option.takes.short() {
        Some(letter) => format!("-{letter},"),
        None => "   ".to_owned(),
    };
    match option.takes {
        OptionArgument::Value(name) => format!("{short} --{} <{name}>", option.long),
        OptionArgument::Maybe(name) => format!("{short} --{}[=<{name}>]", option.long),
        OptionArgument::Help | OptionArgument::Version => format!("{short} --{}", option.long),
    }
}
