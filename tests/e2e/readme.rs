//! The guests in README.md, built and run as it says.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};

use crate::support::debugger::{expect, output};
use crate::support::{Folder, guest_test, kvm_binary, source, test};

/// What each of the two guests ends with.
const HALTED: &str = "kvm: the guest halted; result (RAX) 42 (0x2a).\n";

/// The target of the guest in Rust.
const TARGET: &str = "x86_64-unknown-none";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        test("the_readme_tells_the_kvm_that_it_installs_from_the_one_of_debian", || {
            let readme = std::fs::read_to_string(source("README.md"))?;
            let session = "$ cargo install --locked --path .\n$ kvm --version\n";
            let (_, rest) = readme.split_once(session).ok_or("README.md does not install kvm")?;
            let version = output(Command::new(kvm_binary()).arg("--version"))?;
            match rest.starts_with(&version) && rest.contains("`QEMU emulator version ...`") {
                true => Ok(()),
                false => Err(format!("README.md does not have the version {version:?}").into()),
            }
        }),
        guest_test("the_guest_in_c_of_the_readme_runs", || {
            let folder = Folder::new();
            let text = block("c", "/* hello.c: ")?;
            std::fs::write(folder.file("hello.c"), &text)?;
            let (comment, _) = text.split_once("*/").ok_or("no comment")?;
            let gcc = comment.trim_start_matches("/* hello.c: ").replace("\\\n", " ");
            let built = output(with_errors("bash").args(["-c", &gcc]).current_dir(folder.path()))?;
            let ran = output(with_errors(kvm_binary()).arg("hello.elf").current_dir(folder.path()))?;
            expect(&format!("{built}{ran}"), &format!("Hello!\n{HALTED}"))
        }),
        rust_test("the_guest_in_rust_of_the_readme_runs_with_cargo_run", || {
            let folder = Folder::new();
            let package = folder.file("hello");
            let mut new = with_errors("cargo");
            output(new.args(["new", "--quiet", "--vcs", "none", "hello"]).current_dir(folder.path()))?;
            std::fs::create_dir(package.join(".cargo"))?;
            std::fs::write(package.join(".cargo/config.toml"), block("toml", "# .cargo/config.toml\n")?)?;
            std::fs::write(package.join("src/main.rs"), block("rust", "// src/main.rs\n")?)?;
            // The program may have another name, and the PATH may have another kvm.
            let bin = folder.file("bin");
            std::fs::create_dir(&bin)?;
            std::os::unix::fs::symlink(kvm_binary(), bin.join("kvm"))?;
            let rest = std::env::var_os("PATH").unwrap_or_default();
            let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&rest)))?;
            for arguments in
                [&["run", "--quiet"][..], &["run", "--quiet", "--release", "--", "--memory", "16"]]
            {
                let ran = output(
                    with_errors("cargo")
                        .args(arguments)
                        .current_dir(&package)
                        .env("PATH", &path)
                        .env("CARGO_TARGET_DIR", package.join("target"))
                        .env_remove("RUSTFLAGS"),
                )?;
                expect(&ran, &format!("Hello from Rust: 42\n{HALTED}"))?;
            }
            Ok(())
        }),
    ]
}

/// A command whose output includes its standard error.
fn with_errors(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", "exec \"$@\" 2>&1", "bash"]).arg(program);
    command
}

/// The code block of README.md in this language that begins with `first`.
fn block(language: &str, first: &str) -> Result<String, Failed> {
    let readme = std::fs::read_to_string(source("README.md"))?;
    let begin = format!("```{language}\n");
    let mut blocks = readme.split(&begin).skip(1).filter_map(|text| text.split("```").next());
    let found = blocks.find(|text| text.starts_with(first));
    Ok(found.ok_or_else(|| format!("README.md has no block {first:?}"))?.to_owned())
}

/// A test that builds a guest in Rust: ignored, with the reason in its name, where the target is missing.
fn rust_test(name: &str, body: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).stderr(Stdio::null());
    let folder = rustc.output().ok().map(|it| PathBuf::from(String::from_utf8_lossy(&it.stdout).trim()));
    match folder.is_some_and(|folder| folder.is_dir()) {
        true => guest_test(name, body),
        false => guest_test(&format!("{name} (skipped: no target {TARGET})"), body).with_ignored_flag(true),
    }
}
