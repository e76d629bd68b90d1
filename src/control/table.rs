//! The table of all commands, and the look-up of the command in a line.

use super::command::{Availability, Command, command, no_more};
use super::commands::{machine, memory, migration, points, running, screen_and_keyboard, snapshots, state};
use super::error::CommandError;
use crate::settings::closest::closest;
use crate::supervisor::command_interpreter::CommandSource;
use crate::supervisor::stopped_machine::StoppedMachine;

/// All commands, in the order in which `help` lists them.
pub(super) const COMMANDS: &[Command] = &[
    command("help", "[COMMAND]", "list the commands, or describe one", no_action),
    command("?", "[COMMAND]", "the same as `help`", no_action),
    command("status", "", "show whether the guest runs, is paused or is stopped", running::status),
    command("regs", "", "show the control registers and EFER", machine::regs),
    command(
        "info debug",
        "",
        "show how breakpoints, watchpoints and steps work on this host, and why",
        machine::facilities,
    ),
    command("info mem", "", "show the guest-physical memory map", memory::map),
    command("memory", "", "the same as `info mem`", memory::map),
    command("xp", "ADDRESS [COUNT]", "dump COUNT (64) bytes at a guest-physical address", memory::dump),
    command(
        "dis",
        "[ADDRESS] [COUNT]",
        "disassemble COUNT (10) instructions in the guest's current mode",
        memory::disassemble,
    ),
    command("walk", "ADDRESS", "show the page-table walk of a virtual address", memory::walk),
    command(
        "sym",
        "ADDRESS|NAME",
        "show the symbol at an address, or the address of a symbol",
        memory::symbol_command,
    ),
    command(
        "break",
        "ADDRESS [if EXPRESSION]",
        "set a breakpoint that stops the guest if EXPRESSION is not 0",
        points::set_break,
    )
    .debugged(),
    command(
        "trace",
        "ADDRESS [if EXPRESSION] \"TEXT\"[, EXPRESSION]...",
        "set a log point that prints TEXT, with %d %u %x %c %s %p for values",
        points::set_trace,
    )
    .debugged(),
    command("breaks", "", "list breakpoints and log points with their hit counts", points::list),
    command(
        "ignore",
        "NUMBER COUNT",
        "ignore the next COUNT hits of a breakpoint or log point",
        points::ignore,
    ),
    command("delete", "[NUMBER]", "delete a breakpoint or log point, or all", points::delete),
    command("catch int3", "on|off", "stop the guest at its own int3 instructions (off)", machine::catch_int3)
        .debugged(),
    command("step-irq", "on|off", "deliver interrupts while single-stepping (off)", machine::step_irq)
        .debugged(),
    command("phys", "on|off", "treat gdb's addresses as guest-physical (off)", machine::phys)
        .only(CommandSource::Debugger, "it changes gdb's addresses; `xp` takes guest-physical ones"),
    command(
        "screendump",
        "FILE",
        "save the screen as an image (.png) or as text (.txt)",
        screen_and_keyboard::screendump,
    ),
    command(
        "sendkey",
        "KEY[-KEY]...",
        "press keys, such as ret, f1 or ctrl-alt-delete",
        screen_and_keyboard::sendkey,
    ),
    command("type", "TEXT", "type TEXT; \\n is Enter, \\t Tab, \\e Escape", screen_and_keyboard::type_text),
    command("pause", "", "pause the guest", running::pause)
        .only(CommandSource::Console, "Ctrl-C in gdb stops the guest"),
    command("resume", "", "resume the guest", running::resume)
        .only(CommandSource::Console, "`continue` in gdb resumes the guest"),
    command(
        "snapshot",
        "NAME|FILE",
        "take a snapshot in memory, or save the machine in FILE.kvmstate",
        state::snapshot,
    ),
    command("restore", "NAME|FILE", "restore a snapshot; breakpoints are kept", state::restore),
    command(
        "snapshots",
        "[delete [NAME]]",
        "list the snapshots in memory, or delete one, or all",
        snapshots::list,
    ),
    command("migrate cancel", "", "cancel the migration", migration::cancel),
    command("migrate status", "", "show the progress or the result of the migration", migration::status),
    command(
        "migrate",
        "HOST PORT",
        "migrate the running guest to a `kvm -migr` at HOST PORT",
        migration::migrate,
    ),
    command("reset", "", "reset the machine", running::reset),
    command("quit", "", "end the run", running::quit),
    command("exit", "", "close the console; the guest is not affected", no_action)
        .only(CommandSource::Console, "`detach` and `quit` in gdb leave the guest"),
];

/// Executes the command in `line`, given by `front`; returns its answer in whole lines.
///
/// # Errors
///
/// [`CommandError`], with the remedy in its message.
pub fn answer(
    guest: &mut dyn StoppedMachine,
    front: CommandSource,
    line: &str,
) -> Result<String, CommandError> {
    let line = line.trim();
    if line.is_empty() {
        return help(front, "");
    }
    let (command, arguments) = find(line).ok_or_else(|| unknown(front, line))?;
    if command.arguments.is_empty() {
        no_more(arguments).map_err(|error| error.with_usage(command.usage()))?;
    }
    match command.availability {
        Availability::Only(only, why) if only != front => {
            return Err(CommandError::NotAvailable { name: command.name, front, why });
        }
        Availability::Debugged if !guest.is_debugged() => {
            return Err(CommandError::NoDebugger { name: command.name });
        }
        _ => {}
    }
    match command.name {
        "help" | "?" => help(front, arguments),
        _ => (command.run)(guest, arguments).map_err(|error| error.with_usage(command.usage())),
    }
}

/// The names of the commands that `front` has.
pub fn names(front: CommandSource) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().filter(move |command| command.is_for(front)).map(|command| command.name)
}

/// For `help`, which [`answer`] executes, and for commands that the front end executes.
fn no_action(_: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(String::new())
}

/// The command at the start of `line`, and its arguments.
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

/// Number of characters of an unknown command that are shown.
const SHOWN: usize = 40;

fn unknown(front: CommandSource, line: &str) -> CommandError {
    let first = line.split_whitespace().next().unwrap_or(line);
    let mut meant: Vec<&str> =
        names(front).filter(|name| name.split_once(' ').is_some_and(|(word, _)| word == first)).collect();
    if meant.is_empty() {
        meant.extend(closest(line, names(front)).or_else(|| closest(first, names(front))));
    }
    let line = line.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    CommandError::Unknown { line, meant }
}

/// Column of the descriptions in the list of commands.
const HELP_COLUMN: usize = 26;

fn help(front: CommandSource, arguments: &str) -> Result<String, CommandError> {
    if !arguments.is_empty() {
        let (command, _) = find(arguments).ok_or_else(|| unknown(front, arguments))?;
        return Ok(format!("{}\n    {}\n", command.usage(), command.help));
    }
    let mut list = String::new();
    for command in COMMANDS.iter().filter(|command| command.is_for(front)) {
        let usage = command.usage();
        // A usage that is too long for its column has a line of its own.
        let gap = if usage.len() > HELP_COLUMN { format!("\n{:HELP_COLUMN$}", "") } else { String::new() };
        list.push_str(&format!("{usage:HELP_COLUMN$}{gap}  {}\n", command.help));
    }
    Ok(list)
}

/// The table of the commands that `front` has in Markdown, for docs/debugging.md and docs/console.md.
pub fn reference(front: CommandSource) -> String {
    let mut text = String::from("| command | what it does |\n|---|---|\n");
    for command in COMMANDS.iter().filter(|command| command.is_for(front)) {
        let usage = command.usage().replace('|', "\\|");
        text.push_str(&format!("| `{usage}` | {} |\n", command.help));
    }
    text
}
