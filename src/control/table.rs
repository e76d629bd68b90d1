//! The table of all commands, and the look-up of the command in a line.

use super::command::{Availability, Command, KnownFrom, command, no_more};
use super::commands::{
    catch, crash_files, examine, find, interrupts, lint, machine, memory, migration, paging, pci, points,
    recorded, registers, running, screen_and_keyboard, segments, snapshots, state, stepping, symbols,
};
use super::error::CommandError;
use crate::settings::closest::closest;
use crate::supervisor::command_interpreter::CommandSource;
use crate::supervisor::stopped_machine::StoppedMachine;

use KnownFrom::{Bochs, Both, Qemu};

/// For users of gdb who step or resume by a command.
const STEP: &str = "`stepi` in gdb steps the guest";
const RESUME: &str = "`continue` in gdb resumes the guest";

/// All commands, in the order in which `help` lists them.
pub(super) const COMMANDS: &[Command] = &[
    command("help", "[COMMAND]", "list the commands, or describe one", no_action).known_from(Both),
    command("?", "[COMMAND]", "the same as `help`", no_action).known_from(Qemu),
    command("h", "[COMMAND]", "the same as `help`", no_action).known_from(Bochs),
    command("status", "", "show whether the guest runs, is paused or is stopped", running::status),
    command("regs", "", "show the control registers and EFER", machine::regs),
    command(
        "info debug",
        "",
        "show how breakpoints, watchpoints and steps work on this host, and why",
        machine::facilities,
    ),
    command("registers", "[--json]", "show all registers", registers::all).known_from(Bochs),
    command("info registers", "[--json]", "the same as `registers`", registers::all).known_from(Both),
    command(
        "set",
        "$REGISTER = EXPRESSION",
        "set a general or control register, RIP, RFLAGS, or a base of FS or GS",
        registers::set,
    )
    .known_from(Bochs),
    command("print", "[/FMT] EXPRESSION", "show the value of an expression, as in gdb", examine::print)
        .known_from(Qemu),
    command("p", "[/FMT] EXPRESSION", "the same as `print`", examine::print).known_from(Qemu),
    command(
        "x",
        "[/FMT] ADDRESS",
        "show memory at a virtual address; FMT as in gdb: a count, x d u o t a c s i, b h w g",
        examine::virtual_memory,
    )
    .known_from(Both),
    command(
        "xp",
        "[/FMT] ADDRESS [COUNT]",
        "the same at a guest-physical address; without FMT dump COUNT (64) bytes",
        examine::physical_memory,
    )
    .known_from(Both),
    command("info mem", "", "show the mapped ranges of virtual addresses and their rights", paging::ranges)
        .known_from(Qemu),
    command("info tab", "", "the same with the guest-physical addresses", paging::tables).known_from(Bochs),
    command("info tlb", "[ADDRESS]", "show each mapped page from ADDRESS (0) on", paging::pages)
        .known_from(Qemu),
    command(
        "maps",
        "[--json] [ADDRESS|save|diff]",
        "show the mapped ranges from ADDRESS (0) on with rights and sections, or what has changed since the last `maps`",
        paging::maps,
    ),
    command("pt", "[--json] [ADDRESS|save|diff]", "the same as `maps`", paging::maps),
    command("info mtree", "", "show the guest-physical memory map", memory::map).known_from(Qemu),
    command("memory", "", "the same as `info mtree`", memory::map),
    command("info qtree", "", "show the devices with their ports and interrupts", machine::devices)
        .known_from(Qemu),
    command(
        "devices",
        "[--json]",
        "list the devices, each with the first thing its registers say",
        machine::summaries,
    ),
    command(
        "device",
        "[--json] NAME",
        "show the registers of a device in words, and its state: serial0, vga, pic, lapic, ide0 ...",
        machine::device,
    ),
    command("info cpus", "", "show the CPUs; `*` marks the selected one", machine::cpus).known_from(Qemu),
    command(
        "cpu",
        "[NUMBER]",
        "select the CPU that registers, addresses, steps and NMIs belong to",
        machine::select_cpu,
    )
    .known_from(Qemu),
    command("info gdt", "[--json]", "show the segment descriptors of the GDT", segments::gdt)
        .known_from(Bochs),
    command("info idt", "[--json]", "show the gates of the IDT", segments::idt).known_from(Bochs),
    command("gdt", "[--json]", "the same as `info gdt`", segments::gdt),
    command("idt", "[--json]", "the same as `info idt`", segments::idt),
    command("tss", "[--json]", "show the task state segment: stacks and I/O bitmap", segments::tss),
    command("info tss", "[--json]", "the same as `tss`", segments::tss).known_from(Bochs),
    command(
        "lint",
        "[--json]",
        "show what looks wrong: rights of pages, guard pages, gates, stacks, code that interrupts break",
        lint::lint,
    ),
    command("info status", "", "the same as `status`", running::status).known_from(Qemu),
    command("info pic", "", "show the interrupt lines with the 8259A and the IOAPIC", interrupts::lines)
        .known_from(Qemu),
    command(
        "info irq",
        "",
        "show what can interrupt the guest, and what keeps it from that",
        interrupts::sources,
    )
    .known_from(Qemu),
    command("info lapic", "", "show the local APICs", interrupts::local_apics).known_from(Qemu),
    command("info timers", "", "show what the timers are doing", interrupts::timers),
    command("info pci", "", "show the PCI functions with their addresses and interrupts", pci::functions)
        .known_from(Qemu),
    command(
        "find",
        "[-p] [ADDRESS LENGTH] BYTES|\"TEXT\"",
        "search mapped memory, with -p guest-physical memory, for bytes such as `48 8b c3` or a text",
        find::find,
    ),
    command(
        "events",
        "[--json] [COUNT]",
        "show the last COUNT (16) events: device accesses, interrupts, exceptions, resets",
        recorded::events,
    ),
    command(
        "exits",
        "[--json] [time on|off]",
        "show how often the guest has exited, by reason and by port, and how long that took after `exits time on`",
        recorded::exits,
    ),
    command(
        "dis",
        "[ADDRESS] [COUNT]",
        "disassemble COUNT (10) instructions in the guest's current mode, with their source lines",
        memory::disassemble,
    ),
    command("walk", "[--json] ADDRESS", "show the page-table walk of a virtual address", memory::walk),
    command(
        "sym",
        "ADDRESS|NAME",
        "show the symbol and the source line at an address, or the address of a symbol",
        symbols::look_up,
    ),
    command(
        "symbols",
        "[FILE[@ADDRESS]]",
        "add the symbols of an ELF file, ADDRESS (0) to those in it, or list the files that were added",
        symbols::files,
    ),
    command(
        "break",
        "ADDRESS [if EXPRESSION]",
        "set a breakpoint that stops the guest if EXPRESSION is not 0",
        points::set_break,
    ),
    command(
        "trace",
        "ADDRESS [if EXPRESSION] \"TEXT\"[, EXPRESSION]...",
        "set a log point that prints TEXT, with %d %u %x %c %s %p for values",
        points::set_trace,
    ),
    command("breaks", "", "list breakpoints and log points with their hit counts", points::list),
    command(
        "ignore",
        "NUMBER COUNT",
        "ignore the next COUNT hits of a breakpoint or log point",
        points::ignore,
    ),
    command("delete", "[NUMBER]", "delete a breakpoint or log point, or all", points::delete),
    command("info breakpoints", "", "the same as `breaks`", points::list),
    command("catch int3", "on|off", "stop the guest at its own int3 instructions (off)", machine::catch_int3),
    command(
        "catch",
        "[EXCEPTION|NUMBER|all on|off]",
        "stop the guest at the first instruction of its handler of an exception: pf, gp, ud, df, de and others",
        catch::exceptions,
    ),
    command("step", "[COUNT]", "execute COUNT (1) instructions and pause", stepping::step)
        .known_from(Bochs)
        .only(CommandSource::Console, STEP),
    command("s", "[COUNT]", "the same as `step`", stepping::step)
        .known_from(Bochs)
        .only(CommandSource::Console, STEP),
    command("si", "[COUNT]", "the same as `step`", stepping::step).only(CommandSource::Console, STEP),
    command("stepi", "[COUNT]", "the same as `step`", stepping::step).only(CommandSource::Console, STEP),
    command("step-irq", "on|off", "deliver interrupts while single-stepping (off)", machine::step_irq),
    command("wait", "", "wait until the guest stops at a breakpoint or after a step", stepping::wait)
        .only(CommandSource::Console, "gdb waits by itself"),
    command(
        "bt",
        "",
        "show the functions that the guest is in, with their source lines",
        stepping::backtrace,
    )
    .known_from(Bochs),
    command("backtrace", "", "the same as `bt`", stepping::backtrace),
    command("phys", "on|off", "treat gdb's addresses as guest-physical (off)", machine::phys)
        .only(CommandSource::Debugger, "it changes gdb's addresses; `xp` takes guest-physical ones"),
    command(
        "screendump",
        "[-f] FILE",
        "save the screen as an image (.png, .ppm) or as text (.txt); -f overwrites any file",
        screen_and_keyboard::screendump,
    )
    .known_from(Qemu),
    command(
        "sendkey",
        "KEY[-KEY]...",
        "press keys, such as ret, f1 or ctrl-alt-delete",
        screen_and_keyboard::sendkey,
    )
    .known_from(Qemu),
    command(
        "mouse_move",
        "DX DY [DZ]",
        "move the mouse right and down, and turn its wheel up",
        screen_and_keyboard::mouse_move,
    )
    .known_from(Qemu),
    command(
        "mouse_button",
        "STATE",
        "press and release the mouse's buttons: the sum of 1 left, 2 right, 4 middle",
        screen_and_keyboard::mouse_button,
    )
    .known_from(Qemu),
    command("type", "TEXT", "type TEXT; \\n is Enter, \\t Tab, \\e Escape", screen_and_keyboard::type_text),
    command("pause", "", "pause the guest", running::pause)
        .only(CommandSource::Console, "Ctrl-C in gdb stops the guest"),
    command("stop", "", "the same as `pause`", running::pause)
        .known_from(Qemu)
        .only(CommandSource::Console, "Ctrl-C in gdb stops the guest"),
    command("resume", "", "resume the guest", running::resume).only(CommandSource::Console, RESUME),
    command("continue", "", "the same as `resume`", running::resume)
        .known_from(Bochs)
        .only(CommandSource::Console, RESUME),
    command("cont", "", "the same as `resume`", running::resume)
        .known_from(Both)
        .only(CommandSource::Console, RESUME),
    command("c", "", "the same as `resume`", running::resume)
        .known_from(Both)
        .only(CommandSource::Console, RESUME),
    command(
        "snapshot",
        "[-f] NAME|FILE",
        "take a snapshot in memory, or save the machine in FILE.kvmstate; -f overwrites any file",
        state::snapshot,
    ),
    command("restore", "NAME|FILE", "restore a snapshot; breakpoints are kept", state::restore),
    command(
        "snapshots",
        "[delete [NAME]]",
        "list the snapshots in memory, or delete one, or all",
        snapshots::list,
    ),
    command("savevm", "NAME", "take a snapshot in memory", snapshots::take).known_from(Qemu),
    command("loadvm", "NAME", "restore a snapshot in memory", snapshots::restore).known_from(Qemu),
    command(
        "report",
        "[-f] FILE",
        "write the registers, the callers and the cause of a crash to FILE as JSON; -f overwrites any file",
        crash_files::report,
    ),
    command(
        "core",
        "[-f] FILE",
        "write the memory and the registers to a core file for gdb; -f overwrites any file",
        crash_files::core,
    ),
    command("dump-guest-memory", "[-f] FILE", "the same as `core`", crash_files::core).known_from(Qemu),
    command("migrate cancel", "", "cancel the migration", migration::cancel),
    command("migrate status", "", "show the progress or the result of the migration", migration::status),
    command(
        "migrate",
        "[--with-disk] HOST PORT",
        "migrate the running guest to a `kvm -migr` at HOST PORT, with the contents of its disks",
        migration::migrate,
    ),
    command("reset", "", "reset the machine", running::reset),
    command("system_reset", "", "the same as `reset`", running::reset).known_from(Qemu),
    command("system_powerdown", "", "press the power button (ACPI)", interrupts::power_button)
        .known_from(Qemu),
    command("nmi", "", "inject a non-maskable interrupt", interrupts::nmi).known_from(Qemu),
    command("quit", "", "end the run", running::quit).known_from(Both),
    command("q", "", "the same as `quit`", running::quit).known_from(Both),
    command("exit", "", "close the console; the guest is not affected", no_action)
        .known_from(Bochs)
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
        _ => {}
    }
    match command.name {
        "help" | "?" | "h" => help(front, arguments),
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
pub(super) fn find(line: &str) -> Option<(&'static Command, &str)> {
    COMMANDS.iter().find_map(|command| {
        let mut rest = line;
        for word in command.name.split(' ') {
            rest = rest.strip_prefix(word)?;
            let format = command.takes_format() && rest.starts_with('/');
            if !format && rest.starts_with(|next: char| !next.is_whitespace()) {
                return None;
            }
            rest = rest.trim_start();
        }
        Some((command, rest))
    })
}

/// Number of commands with the same first word that are suggested.
const MOST_MEANT: usize = 3;
/// Number of characters of an unknown command that are shown.
const SHOWN: usize = 40;

fn unknown(front: CommandSource, line: &str) -> CommandError {
    let first = line.split_whitespace().next().unwrap_or(line);
    let mut meant: Vec<&str> =
        names(front).filter(|name| name.split_once(' ').is_some_and(|(word, _)| word == first)).collect();
    meant.truncate(MOST_MEANT);
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

/// The commands that QEMU's monitor and Bochs' debugger have, too, in Markdown: the last part of docs/from-qemu.md.
pub fn known_commands() -> String {
    let mut text = String::from(KNOWN_COMMANDS);
    for command in COMMANDS {
        let program = match command.known_from {
            KnownFrom::Nowhere => continue,
            Qemu => "QEMU",
            Bochs => "Bochs",
            Both => "QEMU, Bochs",
        };
        let usage = command.usage().replace('|', "\\|");
        text.push_str(&format!("| `{usage}` | {program} | {} |\n", command.help));
    }
    text
}

/// What precedes the table of [`known_commands`].
const KNOWN_COMMANDS: &str = "
## Commands

The console (`--console`, [console.md](console.md)) and `monitor` in gdb ([debugging.md](debugging.md)) accept commands
of QEMU's monitor and of Bochs' debugger. Commands that step or resume the guest are for the console; in gdb its own
commands do that. A command about hardware that the machine does not have yet says so.

| command | known from | what it does |
|---|---|---|
";
