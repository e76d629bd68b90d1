//! The man page: `kvm man`.

use super::commands::COMMANDS;
use super::help;
use super::table::{GROUPS, OptionArgument, OptionSpec};

const DESCRIPTION: &str = "\
.B kvm
runs a bare-metal x86\\-64 guest on Linux KVM.
GUEST is a 64\\-bit ELF file. It starts in long mode at its entry point, with page tables, a stack and the devices of a
PC: a text screen, a keyboard and four serial ports. There is no boot loader and no disk image.
.PP
Options and guest can come in any order.
Long options may be written with one dash. A value follows after a blank or after
.BR = ;
a value in brackets may be left out and is attached with
.BR = .
Options of QEMU with an equivalent are accepted, too.
";

/// The exit statuses with their reasons, as in README.md.
pub(super) const EXIT_STATUSES: &[(&str, &str)] = &[
    (
        "0",
        "the guest halted with interrupts off (the paragraph has its result, RAX), or was migrated to another kvm",
    ),
    ("2", "the command line or the config file is wrong"),
    ("4", "the guest file or the snapshot cannot be run; the message names the reason and the remedy"),
    ("6", "the host lacks something that is needed: `/dev/kvm`, memory, a file, a socket"),
    ("8", "triple fault"),
    ("10", "KVM refused to execute an instruction, or to enter the guest in this processor state"),
    ("12", "`--timeout` expired"),
    ("14", "the user ended the run (Ctrl-A x, Ctrl-C, `quit` on the console)"),
    ("16", "a signal ended the run"),
    ("18", "the guest reset the machine and `--no-reboot` was given"),
    ("20", "a defect of `kvm`: please report it"),
    ("odd", "the guest wrote `v` to the debug exit port: `(v << 1) | 1`"),
];

/// The page, in roff with the macros of man(7).
pub(super) fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(".TH KVM 1 \"\" \"kvm {version}\" \"User Commands\"\n");
    text += ".SH NAME\nkvm \\- run a bare\\-metal x86\\-64 guest on Linux KVM\n";
    text += ".SH SYNOPSIS\n.B kvm\n.I GUEST\n.RI [ OPTIONS ]\n";
    for command in COMMANDS {
        let flags: String = command.flags.iter().map(|(name, _)| format!(" [--{name}]")).collect();
        text += &format!(
            ".br\n.B kvm {}\n{}\n",
            escaped(command.name),
            line((command.arguments.to_owned() + &flags).trim_start())
        );
    }
    text += &format!(".SH DESCRIPTION\n{DESCRIPTION}.SH COMMANDS\n");
    text += "A first argument that is one of these words is a command. A guest file of that name is given with its\ndirectory, as in\n.BR ./check .\n";
    for command in COMMANDS {
        text += &format!(".TP\n.B kvm {}\n{}.\n", escaped(command.name), line(command.about));
    }
    text += ".SH OPTIONS\n";
    for group in GROUPS {
        text += &format!(".SS {}\n", escaped(group.name));
        for option in group.options {
            text += &entry(option);
        }
    }
    text += ".SH EXIT STATUS\n";
    for (status, reason) in EXIT_STATUSES {
        text += &format!(".TP\n.B {status}\n{}\n", line(&reason.replace('`', "")));
    }
    text += ".SH FILES\n.TP\n.I config.ini\nRead from the working directory if it exists.\n.TP\n.I console.log\nThe log, unless\n.B \\-\\-logfile\nnames another file.\n.TP\n.I /dev/kvm\nNeeded by every guest.\n";
    text += ".SH EXAMPLES\n.EX\n";
    for example in help::EXAMPLES.lines().filter(|line| line.starts_with("  kvm ")) {
        text += &format!("{}\n", escaped(example));
    }
    text + ".EE\n.SH SEE ALSO\n.BR gdb (1)\n"
}

fn entry(option: &OptionSpec) -> String {
    let long = format!("\\fB\\-\\-{}\\fR", escaped(option.long));
    let usage = match option.takes {
        OptionArgument::Value(name) => format!("{long} \\fI{}\\fR", escaped(name)),
        OptionArgument::Maybe(name) => format!("{long}[=\\fI{}\\fR]", escaped(name)),
        OptionArgument::Help | OptionArgument::Version => long,
    };
    let usage = match option.takes.short() {
        Some(letter) => format!("\\fB\\-{letter}\\fR, {usage}"),
        None => usage,
    };
    let mut text = format!(".TP\n{usage}\n{}.\n", line(option.help));
    if !option.allowed.is_empty() {
        text += &format!("Values: {}.\n", escaped(option.allowed));
    }
    if let Some(default) = option.default.filter(|default| !default.is_empty()) {
        text += &format!("Default: {}.\n", escaped(default));
    }
    if !option.keys.is_empty() {
        let keys: Vec<String> =
            option.keys.iter().map(|key| format!("[{}] {}", key.section, key.name)).collect();
        text += &format!("In the config file: {}.\n", escaped(&keys.join(", ")));
    }
    text
}

/// `text` as a line of its own, which is no request.
fn line(text: &str) -> String {
    let text = escaped(text);
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
