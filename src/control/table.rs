//! All commands, and how one is found.

use super::commands::{machine, memory, points, snapshots, state};
use super::{CommandError, StoppedGuest};
use crate::settings::closest::closest;

/// A command.
pub(super) struct Command {
    /// One word or two.
    pub(super) name: &'static str,
    /// What may follow, in the notation of manuals; empty for nothing.
    pub(super) arguments: &'static str,
    /// What it does, in one line.
    pub(super) help: &'static str,
    /// Does it: takes what follows the name and answers with whole lines.
    run: fn(&mut dyn StoppedGuest, &str) -> Result<String, CommandError>,
}

/// All commands, in the order in which `help` lists them.
pub(super) const COMMANDS: &[Command] = &[
    command("help", "[COMMAND]", "this list, or one line of it", help),
    command("regs", "", "control registers and EFER", machine::regs),
    command(
        "info debug",
        "",
        "how breakpoints, steps and the like work on this host, and why",
        machine::facilities,
    ),
    command("info mem", "", "what is where in guest-physical memory", memory::map),
    command("memory", "", "the same as `info mem`", memory::map),
    command("xp", "ADDRESS [COUNT]", "COUNT (64) bytes at a guest-physical address", memory::dump),
    command(
        "dis",
        "[ADDRESS] [COUNT]",
        "COUNT (10) instructions, in the mode the guest is in",
        memory::disassemble,
    ),
    command("walk", "ADDRESS", "how a virtual address is translated, table by table", memory::walk),
    command(
        "sym",
        "ADDRESS|NAME",
        "the symbol at an address, or the address of a symbol",
        memory::symbol_command,
    ),
    command("break", "ADDRESS [if EXPRESSION]", "stop there if EXPRESSION is not 0", points::set_break),
    command(
        "trace",
        "ADDRESS [if EXPRESSION] \"TEXT\"[, EXPRESSION]...",
        "print there, with %d %u %x %c %s %p for values, and go on",
        points::set_trace,
    ),
    command("breaks", "", "all breakpoints and log points, with how often they were hit", points::list),
    command("ignore", "NUMBER COUNT", "let the next COUNT hits pass", points::ignore),
    command("delete", "[NUMBER]", "take a breakpoint or log point away, or all", points::delete),
    command("catch int3", "on|off", "whether the guest's own int3 stops it (off)", machine::catch_int3),
    command(
        "step-irq",
        "on|off",
        "whether interrupts come in while the guest is stepped (off)",
        machine::step_irq,
    ),
    command("phys", "on|off", "whether gdb's addresses are guest-physical ones (off)", machine::phys),
    command(
        "snapshot",
        "NAME|FILE",
        "keep the machine in memory as it is now, or save it in FILE.kvmstate",
        state::snapshot,
    ),
    command("restore", "NAME|FILE", "go back to a snapshot; breakpoints stay", state::restore),
    command(
        "snapshots",
        "[delete [NAME]]",
        "all snapshots in memory, or forget one, or all",
        snapshots::list,
    ),
    command("reset", "", "reset the machine", machine::reset),
    command("quit", "", "end the run", machine::quit),
];

const fn command(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut dyn StoppedGuest, &str) -> Result<String, CommandError>,
) -> Command {
    Command { name, arguments, help, run }
}

impl Command {
    /// The name with what follows it.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }
}

/// Carries out the command on `line`; what it answers, in whole lines.
///
/// # Errors
///
/// [`CommandError`], which names what is wrong and what to do.
pub fn answer(guest: &mut dyn StoppedGuest, line: &str) -> Result<String, CommandError> {
    let line = line.trim();
    if line.is_empty() {
        return help(guest, "");
    }
    let (command, arguments) = find(line).ok_or_else(|| unknown(line))?;
    if command.arguments.is_empty() && !arguments.is_empty() {
        return Err(wrong(command.name, format!("`{arguments}` is too much")));
    }
    (command.run)(guest, arguments)
}

/// The arguments of `name` are wrong.
pub(super) fn wrong(name: &str, problem: impl Into<String>) -> CommandError {
    let command = COMMANDS.iter().find(|command| command.name == name);
    let usage = command.map_or_else(String::new, Command::usage);
    CommandError::Arguments { problem: problem.into(), usage }
}

/// The command `line` begins with, and what follows it.
fn find(line: &str) -> Option<(&'static Command, &str)> {
    COMMANDS.iter().find_map(|command| {
        let mut rest = line;
        for word in command.name.split(' ') {
            rest = rest.strip_prefix(word)?;
            if rest.starts_with(|next: char| !next.is_whitespace()) {
                return None;
            }
            rest = rest.trim_start();
        }
        Some((command, rest))
    })
}

/// Letters of a wrong command that are shown.
const SHOWN: usize = 40;

fn unknown(line: &str) -> CommandError {
    let first = line.split_whitespace().next().unwrap_or(line);
    let names = || COMMANDS.iter().map(|command| command.name);
    let mut meant: Vec<&str> =
        names().filter(|name| name.split_once(' ').is_some_and(|(word, _)| word == first)).collect();
    if meant.is_empty() {
        meant.extend(closest(line, names()).or_else(|| closest(first, names())));
    }
    let line = line.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    CommandError::Unknown { line, meant }
}

fn help(_: &mut dyn StoppedGuest, arguments: &str) -> Result<String, CommandError> {
    if !arguments.is_empty() {
        let (command, _) = find(arguments).ok_or_else(|| unknown(arguments))?;
        return Ok(format!("{}\n    {}\n", command.usage(), command.help));
    }
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or(0);
    let lines = COMMANDS.iter().map(|Command { name, help, .. }| format!("{name:width$}  {help}\n"));
    Ok(lines.collect::<String>() + "`help COMMAND` tells what follows one of them.\n")
}

/// The table of all commands in Markdown, for docs/debugging.md.
pub fn reference() -> String {
    let mut text = String::from("| command | what it does |\n|---|---|\n");
    for command in COMMANDS {
        let usage = command.usage().replace('|', "\\|");
        text.push_str(&format!("| `{usage}` | {} |\n", command.help));
    }
    text
}
