//! All commands, and how one is found.

use super::commands::{machine, memory, moving, people, points, running, snapshots, state};
use super::{CommandError, Front};
use crate::settings::closest::closest;
use crate::supervisor::stopped_machine::StoppedMachine;

/// A command.
pub(super) struct Command {
    /// One word or two.
    pub(super) name: &'static str,
    /// What may follow, in the notation of manuals; empty for nothing.
    pub(super) arguments: &'static str,
    /// What it does, in one line.
    pub(super) help: &'static str,
    /// For whom it is.
    of: Of,
    /// Does it: takes what follows the name and answers with whole lines.
    run: Run,
}

type Run = fn(&mut dyn StoppedMachine, &str) -> Result<String, CommandError>;

/// For whom a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// For everybody.
    All,
    /// For everybody while a debugger is connected.
    Debugged,
    /// For one front only; why not for the others.
    Only(Front, &'static str),
}

/// All commands, in the order in which `help` lists them.
pub(super) const COMMANDS: &[Command] = &[
    command("help", "[COMMAND]", "this list, or one line of it", no_more),
    command("?", "[COMMAND]", "the same as `help`", no_more),
    command("status", "", "whether the guest runs", running::status),
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
    command("break", "ADDRESS [if EXPRESSION]", "stop there if EXPRESSION is not 0", points::set_break)
        .debugged(),
    command(
        "trace",
        "ADDRESS [if EXPRESSION] \"TEXT\"[, EXPRESSION]...",
        "print there, with %d %u %x %c %s %p for values, and go on",
        points::set_trace,
    )
    .debugged(),
    command("breaks", "", "all breakpoints and log points, with how often they were hit", points::list),
    command("ignore", "NUMBER COUNT", "let the next COUNT hits pass", points::ignore),
    command("delete", "[NUMBER]", "take a breakpoint or log point away, or all", points::delete),
    command("catch int3", "on|off", "whether the guest's own int3 stops it (off)", machine::catch_int3)
        .debugged(),
    command(
        "step-irq",
        "on|off",
        "whether interrupts come in while the guest is stepped (off)",
        machine::step_irq,
    )
    .debugged(),
    command("phys", "on|off", "whether gdb's addresses are guest-physical ones (off)", machine::phys)
        .only(Front::Debugger, "it is about gdb's own addresses; `xp` takes guest-physical ones"),
    command("screendump", "FILE", "the screen as a picture (.png) or as text (.txt)", people::screendump),
    command("sendkey", "KEY[-KEY]...", "press keys, such as ret, f1 or ctrl-alt-delete", people::sendkey),
    command("type", "TEXT", "type a text; \\n is Enter, \\t Tab, \\e Escape", people::type_text),
    command("pause", "", "hold the guest", running::pause)
        .only(Front::Console, "Ctrl-C in gdb stops the guest"),
    command("resume", "", "let it go on", running::resume)
        .only(Front::Console, "`continue` in gdb lets the guest go on"),
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
    command("migrate cancel", "", "call off the move to another kvm", moving::cancel),
    command("migrate status", "", "how far the guest has come, or how it ended", moving::status),
    command("migrate", "HOST PORT", "move the running guest to a `kvm -migr` there", moving::migrate),
    command("reset", "", "reset the machine", running::reset),
    command("quit", "", "end the run", running::quit),
    command("exit", "", "leave the console; the guest stays as it is", no_more)
        .only(Front::Console, "`detach` and `quit` in gdb leave the guest"),
];

const fn command(name: &'static str, arguments: &'static str, help: &'static str, run: Run) -> Command {
    Command { name, arguments, help, of: Of::All, run }
}

impl Command {
    /// The same for one front end only; `why` says to users of the others what to do instead.
    const fn only(self, front: Front, why: &'static str) -> Command {
        Command { of: Of::Only(front, why), ..self }
    }

    /// The same, but it makes sense only while a debugger is connected.
    const fn debugged(self) -> Command {
        Command { of: Of::Debugged, ..self }
    }

    /// True if `front` has it.
    pub(super) fn is_for(&self, front: Front) -> bool {
        !matches!(self.of, Of::Only(only, _) if only != front)
    }

    /// The name with what follows it.
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }
}

/// Carries out the command on `line`, which `front` gives; what it answers, in whole lines.
///
/// # Errors
///
/// [`CommandError`], which names what is wrong and what to do.
pub fn answer(guest: &mut dyn StoppedMachine, front: Front, line: &str) -> Result<String, CommandError> {
    let line = line.trim();
    if line.is_empty() {
        return help(front, "");
    }
    let (command, arguments) = find(line).ok_or_else(|| unknown(front, line))?;
    if command.arguments.is_empty() && !arguments.is_empty() {
        return Err(wrong(command.name, format!("`{arguments}` is too much")));
    }
    match command.of {
        Of::Only(only, why) if only != front => {
            return Err(CommandError::Elsewhere { name: command.name, front, why });
        }
        Of::Debugged if !guest.is_debugged() => {
            return Err(CommandError::NoDebugger { name: command.name });
        }
        _ => {}
    }
    match command.name {
        "help" | "?" => help(front, arguments),
        _ => (command.run)(guest, arguments),
    }
}

/// The names of the commands that `front` has.
pub fn names(front: Front) -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().filter(move |command| command.is_for(front)).map(|command| command.name)
}

/// What is left to do for a command that is known before it comes here.
fn no_more(_: &mut dyn StoppedMachine, _: &str) -> Result<String, CommandError> {
    Ok(String::new())
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

fn unknown(front: Front, line: &str) -> CommandError {
    let first = line.split_whitespace().next().unwrap_or(line);
    let mut meant: Vec<&str> =
        names(front).filter(|name| name.split_once(' ').is_some_and(|(word, _)| word == first)).collect();
    if meant.is_empty() {
        meant.extend(closest(line, names(front)).or_else(|| closest(first, names(front))));
    }
    let line = line.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    CommandError::Unknown { line, meant }
}

/// Column at which the list of commands describes them.
const HELP_COLUMN: usize = 26;

fn help(front: Front, arguments: &str) -> Result<String, CommandError> {
    if !arguments.is_empty() {
        let (command, _) = find(arguments).ok_or_else(|| unknown(front, arguments))?;
        return Ok(format!("{}\n    {}\n", command.usage(), command.help));
    }
    let mut list = String::new();
    for command in COMMANDS.iter().filter(|command| command.is_for(front)) {
        let usage = command.usage();
        // What is too long for its column has a line of its own.
        let gap = if usage.len() > HELP_COLUMN { format!("\n{:HELP_COLUMN$}", "") } else { String::new() };
        list.push_str(&format!("{usage:HELP_COLUMN$}{gap}  {}\n", command.help));
    }
    Ok(list)
}

/// The table of the commands that `front` has in Markdown, for docs/debugging.md and docs/console.md.
pub fn reference(front: Front) -> String {
    let mut text = String::from("| command | what it does |\n|---|---|\n");
    for command in COMMANDS.iter().filter(|command| command.is_for(front)) {
        let usage = command.usage().replace('|', "\\|");
        text.push_str(&format!("| `{usage}` | {} |\n", command.help));
    }
    text
}
