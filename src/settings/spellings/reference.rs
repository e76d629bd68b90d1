//! The tables in Markdown: the options in `docs/from-qemu.md`.

use super::{Effect, Program, Spelling, spellings};

const HEAD: &str = "\
# From QEMU and Bochs

<!-- Made from src/settings/spellings and src/control/table.rs; `KVM_BLESS=1 cargo test --lib from_qemu_md` writes it anew. -->

Options of `qemu-system-x86_64` and of `bochs` work on the command line of `kvm` where they have an equivalent, so
most command lines need only another program name:

```console
$ kvm -kernel guest.elf -m 1G -serial stdio -display none -no-reboot -s -S
```

- **means**: the option is replaced by the option of `kvm` in the table. The log has one line about it.
- **same**: `kvm` has the option, with the same meaning.
- **always so**: `kvm` does that in any case. The log has one line about it.
- **ignored**: it cannot matter to the guest. One line on standard error lists these options; the log has the reasons.
- **refused**: the run does not start, and the message names what to use instead.
- **later**: refused until a later version has what it is about.

One or two dashes make no difference, nor does `=` or a blank before a value. [options.md](options.md) describes the
options of `kvm` itself, which keep their meaning where the names are equal. The value of `--gdb`, `--console` and
`--debug-server` is attached with `=`; ADDRESS:PORT and `unix:PATH` may also follow after a blank, so a guest file with
such a name is written `./NAME`.

A bochsrc is not read, but some of its lines are understood as arguments, as by `bochs`. `--magic-break` stops the guest
as `magic_break: enabled=1` does, and by Bochs' I/O interface to its debugger at port 0x8A00
([debugging.md](debugging.md#guests-that-stop-themselves)).
";

/// Every option of another program and its meaning here, in Markdown: `docs/from-qemu.md` up to its commands.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for program in [Program::Qemu, Program::Bochs, Program::Skvm] {
        text += &format!("\n## {program}\n\n| option | effect | in `kvm` |\n|---|---|---|\n");
        for spelling in spellings().filter(|spelling| spelling.program == program) {
            let (effect, explanation) = effect(&spelling.effect);
            text += &format!("| `{}` | {effect} | {} |\n", usage(spelling), explanation.replace('|', "\\|"));
        }
    }
    text
}

fn usage(spelling: &Spelling) -> String {
    let usage = format!("{} {}", spelling.typed(), spelling.value.shown());
    usage.trim_end().replace('|', "\\|")
}

fn effect(effect: &Effect) -> (&'static str, &'static str) {
    match effect {
        Effect::Same(_) => ("same", ""),
        Effect::Becomes(ours, _) => ("means", ours),
        Effect::Implied(text, _) => ("always so", text),
        Effect::Ignored(text, _) => ("ignored", text),
        Effect::Refused(text) => ("refused", text),
        Effect::Later(text) => ("later", text),
    }
}
