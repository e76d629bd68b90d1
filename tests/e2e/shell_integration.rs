//! `kvm completions` and `kvm man`.

use std::io::Write;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::support::debugger::{expect, output};
use crate::support::{Kvm, kvm_binary, test};

/// Completes command lines in bash; prints one line for each.
const COMPLETE: &str = r#"
exec 2>&1
source <("$KVM" completions bash) || exit
complete -p kvm
complete_line() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _kvm
    echo "$*: ${COMPREPLY[*]}"
}
touch guest.elf 'my guest.elf'
complete_line kvm gue
complete_line kvm deb
complete_line kvm my
complete_line kvm guest.elf --mem
complete_line kvm guest.elf --tls
complete_line kvm guest.elf --display v
complete_line kvm guest.elf -layout ''
complete_line kvm guest.elf --gdb-arch ''
complete_line kvm guest.elf --display = n
complete_line kvm guest.elf --strict =
complete_line kvm guest.elf --logfile gue
complete_line kvm guest.elf --strict gue
complete_line kvm check --
complete_line kvm completions ''
complete_line kvm vscode --f
"#;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        test("bash_completes_options_their_values_commands_and_files", || {
            let folder = Kvm::new().folder;
            let mut bash = Command::new("bash");
            bash.args(["--norc", "-c", COMPLETE]).env("KVM", kvm_binary()).current_dir(folder.path());
            let output = output(&mut bash)?;
            for line in [
                "complete -F _kvm kvm",
                "kvm gue: guest.elf",
                "kvm deb: debug-client",
                "kvm my: my guest.elf",
                "kvm guest.elf --mem: --memory",
                "kvm guest.elf --tls: --tls-cert --tls-key --tls-ca",
                "kvm guest.elf --display v: vga",
                "kvm guest.elf -layout : us it",
                "kvm guest.elf --gdb-arch : auto x86-64 i386 i8086 x86-64-linux",
                "kvm guest.elf --display = n: none",
                "kvm guest.elf --strict =: yes no",
                "kvm guest.elf --logfile gue: guest.elf",
                "kvm guest.elf --strict gue: guest.elf",
                "kvm check --: --json --help",
                "kvm completions : bash zsh fish",
                "kvm vscode --f: --force",
            ] {
                expect(&output, &format!("{line}\n"))?;
            }
            Ok(())
        }),
        tool_test("the_man_page_has_no_errors_and_every_option", "groff", || {
            let page = printed(&["man"])?;
            let shown = fed("groff", &["-man", "-Tascii", "-P-cbou", "-ww", "-rLL=200n"], &page)?;
            let help = printed(&["--help"])?;
            let options: Vec<&str> = help
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '=', '[']).next())
                .collect();
            if options.len() < 20 {
                return Err(format!("too few options: {options:?}").into());
            }
            for option in options {
                expect(&shown, &format!("--{option}"))?;
            }
            expect(&shown, "EXIT STATUS")
        }),
    ];
    for (shell, option) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        trials.push(tool_test(&format!("the_completions_for_{shell}_are_valid"), shell, move || {
            let script = printed(&["completions", shell])?;
            let folder = Kvm::new().file("script", &script).folder;
            let check = format!("{shell} {option} script 2>&1");
            let errors = output(Command::new("bash").args(["-c", &check]).current_dir(folder.path()))?;
            if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
        }));
    }
    trials
}

/// What `kvm` prints.
fn printed(arguments: &[&str]) -> Result<String, Failed> {
    let ran = Kvm::new().args(arguments).run();
    ran.expect_status(0)?.check(ran.err.is_empty(), "no message")?;
    Ok(ran.out)
}

/// The output of `program`, which must not write to standard error.
fn fed(program: &str, arguments: &[&str], input: &str) -> Result<String, Failed> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no pipe")?;
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let ended = child.wait_with_output()?;
    let _ = writer.join();
    if !ended.status.success() || !ended.stderr.is_empty() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&ended.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// A test that needs this program: ignored, with the reason in its name, where it is missing.
fn tool_test(name: &str, program: &str, body: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(_) => test(name, body),
        Err(_) => test(&format!("{name} (skipped: no {program})"), body).with_ignored_flag(true),
    }
}
