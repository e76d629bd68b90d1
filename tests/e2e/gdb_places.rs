//! Where and when gdb connects: unix sockets, ports that are used again, guests that do not wait for gdb.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::debugger::{KvmWithGdb, ask, expect};
use crate::support::{Folder, Kvm, guest_test, resets_registers};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = sockets();
    trials.extend(ports());
    trials.extend(guests_that_do_not_wait());
    trials
}

fn sockets() -> Vec<Trial> {
    vec![
        gdb_test("gdb_connects_to_a_unix_socket_that_is_removed_after_the_run", || {
            let folder = Folder::new();
            let path = folder.file("gdb");
            let kvm = at(&path, "recursion", &[])?;
            let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
            if mode != 0o600 {
                return Err(format!("the mode of the socket is {mode:o}").into());
            }
            let output = kvm.gdb("recursion", &["break fibonacci if n == 3", "continue", "detach"])?;
            expect(&output, "Breakpoint 1, fibonacci (n=n@entry=3)")?;
            kvm.finish()?.expect_status(0)?.expect_err("result (RAX) 610")?;
            if path.exists() { Err("the socket is still there".into()) } else { Ok(()) }
        }),
        gdb_test("a_second_gdb_at_a_unix_socket_shows_why_it_is_rejected", || {
            let folder = Folder::new();
            let kvm = at(&folder.file("gdb"), "recursion", &[])?;
            let mut first = UnixStream::connect(&kvm.address)?;
            first.write_all(b"$?#3f")?;
            first.read_exact(&mut [0; 2])?;
            let output = kvm.gdb("recursion", &[])?;
            expect(&output, "another debugger is connected to this guest; end or detach it first")?;
            drop(first);
            kvm.finish()?.expect_status(0).map(drop)
        }),
        guest_test("a_unix_socket_for_gdb_replaces_only_a_stale_socket", || {
            let folder = Folder::new();
            let refused = |path: &Path, why: &str| {
                let ran = Kvm::with_guest("recursion").arg(format!("--gdb=unix:{}", path.display())).run();
                let message =
                    format!("kvm: cannot wait for gdb on {}: {why}; choose another", path.display());
                ran.expect_status(6)?.expect_err(&message).map(drop)
            };
            let file = folder.file("file");
            std::fs::write(&file, "mine")?;
            refused(&file, "it exists and is no socket")?;
            assert_eq!(folder.read("file"), "mine");

            let socket = folder.file("socket");
            let listener = UnixListener::bind(&socket)?;
            std::fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
            refused(&socket, "it is in use by another program")?;
            refused(&folder.file("nowhere/socket"), "No such file or directory (os error 2)")?;

            assert!(socket.exists());
            drop(listener);
            let kvm = at(&socket, "endless", &["--timeout", "0.2"])?;
            kvm.finish()?.expect_status(12)?;
            if socket.exists() { Err("the socket is still there".into()) } else { Ok(()) }
        }),
    ]
}

fn ports() -> Vec<Trial> {
    vec![guest_test("a_port_can_be_used_again_as_soon_as_the_run_has_ended", || {
        let mut address: Option<String> = None;
        for _ in 0..3 {
            let kvm = match &address {
                None => KvmWithGdb::start("endless", &[], b"")?,
                Some(address) => KvmWithGdb::start_at(address, "endless", &[], b"")?,
            };
            address = Some(kvm.address.clone());
            let mut client = kvm.connect()?;
            ask(&mut client, "?")?;
            ask(&mut client, "vKill;1")?;
            // The client closes last, so the connection of the server is the one in TIME_WAIT.
            kvm.finish()?.expect_status(14)?;
        }
        Ok(())
    })]
}

fn guests_that_do_not_wait() -> Vec<Trial> {
    vec![
        gdb_test("gdb_connects_to_a_running_guest_detaches_and_connects_again", || {
            let folder = Folder::new();
            let kvm = at(&folder.file("gdb"), "endless", &["--gdb-nowait"])?;
            std::thread::sleep(std::time::Duration::from_millis(200));
            let output = kvm.gdb("endless", &["print $rax > 1000", "detach"])?;
            expect(&output, "$1 = 1\n")?;
            let output = kvm.gdb("endless", &["break spin", "continue", "stepi", "kill"])?;
            expect(&output, "Breakpoint 1, spin ()")?;
            kvm.finish()?.expect_status(14).map(drop)
        }),
        guest_test("a_guest_without_a_gdb_client_runs_to_its_end", || {
            let kvm = KvmWithGdb::start("recursion", &["--gdb-nowait"], b"")?;
            kvm.finish()?.expect_status(0)?.expect_err("result (RAX) 610")?;
            let kvm = KvmWithGdb::start("triple-fault", &["--gdb-nowait"], b"")?;
            let message = match resets_registers() {
                true => "triple fault; this host has already reset the registers",
                false => "triple fault at 0x200007",
            };
            kvm.finish()?.expect_status(8)?.expect_err(message).map(drop)
        }),
    ]
}

/// Starts a guest with its gdb server at a unix socket.
fn at(path: &Path, name: &str, arguments: &[&str]) -> Result<KvmWithGdb, Failed> {
    KvmWithGdb::start_at(&path.display().to_string(), name, arguments, b"")
}
