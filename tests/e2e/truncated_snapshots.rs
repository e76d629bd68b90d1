//! Snapshot files that are truncated while a guest runs from them: the run ends with the reason, whoever reads the
//! guest's memory first.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::support::console::KvmWithConsole;
use crate::support::debug_server::KvmWithDebugServer;
use crate::support::migration::{Instance, free_port, migrate};
use crate::support::pty::Terminal;
use crate::support::{FinishedRun, Folder, Kvm, Running, free_address, guest_test, wait_until};

/// More memory than a snapshot compresses.
const MODULE: usize = 12 << 20;

/// The tests of this file in which the processor reads the memory.
pub fn trials() -> Vec<Trial> {
    vec![guest_test("a_guest_whose_snapshot_is_truncated_ends_with_the_reason", || {
        let snapshot = Snapshot::new()?;
        let kvm = Running::start(snapshot.restored());
        std::thread::sleep(Duration::from_millis(500));
        snapshot.truncate(0)?;
        snapshot.expect_reason(&kvm.finish()?)
    })]
}

/// Those to which no processor makes a difference.
pub fn others() -> Vec<Trial> {
    vec![
        guest_test("the_debug_server_survives_reading_memory_of_a_truncated_snapshot", || {
            let snapshot = Snapshot::new()?;
            let server = format!("--debug-server={}", free_address()?);
            let kvm = KvmWithDebugServer::run(snapshot.restored().arg(server))?;
            snapshot.truncate(1 << 20)?;
            // One of them reads the module; the end of the run may come before the answer.
            for at in (0..64_u64 << 20).step_by(4 << 20) {
                kvm.client(&[&at.to_string(), &(at + 16).to_string()]).run();
            }
            snapshot.expect_reason(&kvm.finish()?)
        }),
        guest_test("saving_a_machine_whose_snapshot_was_truncated_fails_and_leaves_no_file", || {
            let snapshot = Snapshot::new()?;
            let kvm = KvmWithConsole::run(snapshot.restored().arg("--console=unix:console"), "console")?;
            let mut console = kvm.connect()?;
            console.ask("pause")?;
            snapshot.truncate(1 << 20)?;
            let again = snapshot.folder.file("again.kvmstate");
            let _ = console.ask(&format!("snapshot {}", again.display()));
            snapshot.expect_reason(&kvm.finish()?)?;
            if again.exists() { Err("a snapshot with zeros in place of memory".into()) } else { Ok(()) }
        }),
        guest_test("a_guest_whose_snapshot_was_truncated_does_not_move_to_another_host", || {
            let snapshot = Snapshot::new()?;
            let port = free_port();
            let mut source = Instance::start(snapshot.restored())?;
            source.expect_err("the console is on")?;
            let destination = Instance::destination(port, &[])?;
            // A paused guest reads no memory: the migration does.
            source.ask_until("pause", "paused")?;
            snapshot.truncate(1 << 20)?;
            // The run may end before the answer.
            let _ = source.ask(&[&migrate(port)]);
            snapshot.expect_reason(&source.finish()?)?;
            let end = destination.finish()?;
            end.check(end.status != Some(0), "a destination that took the guest over")?;
            end.expect_err("migration failed, ").map(drop)
        }),
        guest_test("the_terminal_is_restored_after_a_snapshot_was_truncated", || {
            let snapshot = Snapshot::new()?;
            let script =
                r#"before=$(stty -g); "$@"; echo "status $?"; test "$(stty -g)" = "$before" && echo same"#;
            let terminal = Terminal::kvm(snapshot.restored().arg("--display=vga").in_shell(script), 80, 25);
            std::thread::sleep(Duration::from_millis(700));
            snapshot.truncate(0)?;
            wait_until("the terminal as it was", || {
                let text = terminal.contents();
                text.contains("status 6") && text.contains("same")
            })
        }),
    ]
}

/// A snapshot of much memory.
struct Snapshot {
    folder: Folder,
    file: PathBuf,
}

impl Snapshot {
    fn new() -> Result<Snapshot, Failed> {
        let folder = Folder::new();
        let (module, file) = (folder.file("module"), folder.file("a.kvmstate"));
        std::fs::write(&module, vec![0xA5; MODULE])?;
        let kvm = Kvm::with_guest("endless").args(["--timeout", "0.3"]).arg("--module").arg(&module);
        let ran = kvm.arg("--snapshot-at-exit").arg(&file).run();
        ran.expect_status(12)?;
        let long = std::fs::metadata(&file)?.len() > MODULE as u64;
        ran.check(long, "memory that is not compressed")?;
        Ok(Snapshot { folder, file })
    }

    fn restored(&self) -> Kvm {
        Kvm::new().arg("--restore").arg(&self.file).args(["--timeout", "20"])
    }

    fn truncate(&self, length: u64) -> Result<(), Failed> {
        Ok(File::options().write(true).open(&self.file)?.set_len(length)?)
    }

    fn expect_reason(&self, ran: &FinishedRun) -> Result<(), Failed> {
        let name = Path::display(&self.file);
        let text = format!(
            "the host failed the machine: {name}, from which guest memory is read while the guest runs, was truncated or cannot be read"
        );
        ran.expect_status(6)?.expect_err(&text)?.expect_err("restore an intact copy").map(drop)
    }
}
