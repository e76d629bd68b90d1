//! Snapshot files of earlier versions are read.
//!
//! `tests/snapshots/version-0.1.0.kvmstate` holds `target-examples/serial-echo.c` waiting for input, written by
//! `kvm serial-echo.elf --keys serial --timeout 3 --snapshot-at-exit FILE` before the state had any optional
//! section.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/version-0.1.0.kvmstate");

fn kvm(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvm"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses the file does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn an_old_snapshot_passes_its_checks() {
    let output = kvm(&["check-snapshot", SNAPSHOT], "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(": whole") && text.contains("64 MiB"), "{text}");
}

#[test]
fn an_old_snapshot_runs_where_its_processor_is_available() {
    let output = kvm(&["--restore", SNAPSHOT, "--keys", "serial", "--timeout", "5"], "still here\n\u{4}");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Hosts without KVM, or with another processor, refuse with a sentence.
    if err.contains("/dev/kvm") || err.contains("the guest was given a processor") {
        return;
    }
    assert!(out.contains("STILL HERE"), "{out}\n{err}");
    // The line before it was read by the version that saved the guest.
    assert!(err.contains("result (RAX) 2"), "{err}");
}
