//! The memory debug server, with a client that implements only the documented protocol.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::support::debug_server::{
    Info, KvmWithDebugServer, check, dump, dump_request, expect_error, frame, framed, next, simple,
};
use crate::support::debugger::{ask, send};
use crate::support::{Folder, Kvm, TIMEOUT, free_address, guest, guest_test, wait_until};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = answers();
    trials.extend(beside_gdb());
    trials.extend(clients());
    trials.extend(places());
    trials
}

/// The code of the guests `endless` and `idle` as it stands in their files, and where it begins.
const ENDLESS: &[u8] = b"\x31\xc0\x48\xff\xc0\xeb\xfb";
const IDLE: &[u8] = b"\xfb\xf4\xeb\xfc";
const CODE: u64 = 0x20_0000;

fn answers() -> Vec<Trial> {
    vec![
        guest_test("memory_and_registers_are_served_while_the_guest_computes", || {
            let kvm = KvmWithDebugServer::start("endless", &[])?;
            let mut client = kvm.connect()?;
            client.write_all(&simple(0))?;
            let code = dump(&mut client, CODE, CODE + 7)?;
            check(code == ENDLESS, "code", &code)?;
            let first = Info::of(&mut client)?;
            assert_eq!(first.memory, 64 << 20);
            assert!((CODE..CODE + 7).contains(&first.general(16)), "{:#x}", first.general(16));
            // CR0 stands after eight segments of 24 bytes and two tables of 16.
            check(first.system[224..228] == 0x8001_0033_u32.to_le_bytes(), "CR0", &first.system[224..])?;
            wait_until("the guest goes on counting", || {
                let later = Info::of(&mut client).expect("registers");
                later.general(0) > first.general(0)
            })?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("memory_and_registers_are_served_while_the_guest_sleeps", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            let mut client = kvm.connect()?;
            let mut info = Info::of(&mut client)?;
            wait_until("the guest sleeps", || {
                info = Info::of(&mut client).expect("registers");
                info.general(16) == CODE + 2
            })?;
            assert_eq!(info.general(17) & 1 << 9, 1 << 9, "interrupts are on");
            let code = dump(&mut client, CODE, CODE + 2)?;
            check(code == b"\xfb\xf4", "code", &code)?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("memory_is_served_on_both_sides_of_the_gap_below_4_gib_but_not_across_it", || {
            let kvm = KvmWithDebugServer::start("idle", &["--memory", "5G"])?;
            let mut client = kvm.connect()?;
            assert_eq!(Info::of(&mut client)?.memory, 5 << 30, "without the gap below 4 GiB");
            // The last byte below the gap, the first above it, and the last.
            for start in [(3 << 30) - 1, 4 << 30, (6_u64 << 30) - 1] {
                let byte = dump(&mut client, start, start + 1)?;
                check(byte == [0], "memory", &byte)?;
            }
            expect_error(&dump(&mut client, (3 << 30) - 1, (4 << 30) + 1)?, 0)?;
            expect_error(&dump(&mut client, (6 << 30) - 1, (6 << 30) + 1)?, 0)?;
            expect_error(&dump(&mut client, 4 << 30, 8 << 30)?, 0)?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("an_invalid_request_is_answered_with_an_error_and_the_connection_stays", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            let mut client = kvm.connect()?;
            let end = 64 << 20;
            for (start, end) in [
                (CODE + 1, CODE),
                (end, end + 1),
                (end - 1, end + 1),
                (end, end + 12),
                (0xFEC0_0000, 0xFEC0_1000),
                (u64::MAX - 1, u64::MAX),
                (0, u64::MAX),
                (u64::MAX, 0),
            ] {
                let message = dump(&mut client, start, end)?;
                expect_error(&message, end.wrapping_sub(start))?;
            }
            for message in [&[][..], &[0, 0], &[0, 0, 0, 4], &[0; 24], &[0; 64]] {
                client.write_all(&framed(message))?;
                expect_error(&next(&mut client)?, 0)?;
            }
            check(dump(&mut client, end - 4, end)? == [0; 4], "the end of memory", &[])?;
            check(dump(&mut client, end, end)?.is_empty(), "nothing", &[])?;
            check(dump(&mut client, CODE, CODE + 2)? == b"\xfb\xf4", "code", &[])?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("requests_may_arrive_in_pieces_or_several_at_once", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            let mut client = kvm.connect()?;
            client.set_nodelay(true)?;
            for byte in dump_request(CODE, CODE + 2) {
                client.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(1));
            }
            check(next(&mut client)? == b"\xfb\xf4", "code", &[])?;
            let many: Vec<u8> = (0..1000).flat_map(|_| dump_request(CODE, CODE + 2)).collect();
            client.write_all(&many)?;
            for _ in 0..1000 {
                check(next(&mut client)? == b"\xfb\xf4", "code", &[])?;
            }
            Ok(())
        }),
        guest_test("all_of_memory_is_sent_in_one_frame_without_buffering", || {
            let kvm = KvmWithDebugServer::start("idle", &["--memory", "512"])?;
            let mut client = kvm.connect()?;
            client.write_all(&dump_request(0, 512 << 20))?;
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            assert_eq!(u32::from_be_bytes(length), 512 << 20);
            let mut piece = vec![0; 1 << 20];
            for number in 0..512 {
                client.read_exact(&mut piece)?;
                if number == 2 {
                    check(piece.starts_with(IDLE), "code", &piece)?;
                }
            }
            let status = std::fs::read_to_string(format!("/proc/{}/status", kvm.id()))?;
            let kept = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
            let kept: u64 = kept.trim().trim_end_matches(" kB").parse()?;
            if kept > 64 << 10 {
                return Err(format!("kvm keeps {kept} KiB").into());
            }
            Ok(())
        }),
    ]
}

fn beside_gdb() -> Vec<Trial> {
    vec![guest_test("breakpoints_never_show_in_memory_that_is_served", || {
        let gdb = free_address()?;
        let kvm = KvmWithDebugServer::start("endless", &[&format!("--gdb={gdb}")])?;
        let mut client = kvm.connect()?;
        let before = dump(&mut client, CODE, CODE + 0x100)?;
        check(before.starts_with(ENDLESS), "code before the first instruction", &before)?;
        assert_eq!(Info::of(&mut client)?.general(16), CODE, "it waits for gdb");
        let mut debugger = TcpStream::connect(&gdb)?;
        debugger.set_read_timeout(Some(TIMEOUT))?;
        // More than there are debug registers, at instructions that are never reached.
        for address in 0x20..0x40 {
            assert_eq!(ask(&mut debugger, &format!("Z0,{:x},1", CODE + address))?, "OK");
        }
        send(&mut debugger, "c")?;
        wait_until("the guest runs", || Info::of(&mut client).is_ok_and(|info| info.general(0) > 0))?;
        // The guest stops from time to time to insert its breakpoints again.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            let now = dump(&mut client, CODE, CODE + 0x100)?;
            check(now == before, "memory", &now[0x20..0x40])?;
        }
        debugger.write_all(b"\x03")?;
        wait_until("gdb has stopped the guest", || {
            let read = |client: &mut TcpStream| Info::of(client).map(|info| info.general(0)).ok();
            let first = read(&mut client);
            std::thread::sleep(Duration::from_millis(20));
            first.is_some() && first == read(&mut client)
        })?;
        check(dump(&mut client, CODE, CODE + 0x100)? == before, "memory", &[])?;
        kvm.signal("TERM")?;
        kvm.finish()?.expect_status(16).map(drop)
    })]
}

fn clients() -> Vec<Trial> {
    vec![
        guest_test("clients_that_disconnect_early_do_not_disturb_the_server", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            let whole = dump_request(0, 64 << 20);
            for cut in [0, 1, 4, 5, 31, 32] {
                let mut client = kvm.connect()?;
                client.write_all(&whole[..cut])?;
                if cut == 31 {
                    client.shutdown(Shutdown::Both)?;
                }
            }
            let mut client = kvm.connect()?;
            check(dump(&mut client, CODE, CODE + 2)? == b"\xfb\xf4", "code", &[])?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("a_client_of_another_protocol_gets_an_error_and_is_disconnected", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            for nonsense in
                [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 1000], &simple(1), &simple(77), &simple(5)]
            {
                let mut client = kvm.connect()?;
                client.write_all(nonsense)?;
                expect_error(&next(&mut client)?, 0)?;
                check(frame(&mut client)?.is_none(), "an end", &[])?;
            }
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("sixteen_clients_are_served_and_the_next_is_rejected_with_the_reason", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            let mut clients = Vec::new();
            for _ in 0..16 {
                let mut client = kvm.connect()?;
                check(dump(&mut client, CODE, CODE + 2)? == b"\xfb\xf4", "code", &[])?;
                clients.push(client);
            }
            let mut late = kvm.connect()?;
            expect_error(&dump(&mut late, CODE, CODE + 2)?, 0)?;
            check(frame(&mut late)?.is_none(), "an end", &[])?;
            // Clients that are rejected and stay connected do not delay others.
            let start = Instant::now();
            let mut silent = Vec::new();
            for _ in 0..8 {
                silent.push(kvm.connect()?);
            }
            let mut late = kvm.connect()?;
            expect_error(&dump(&mut late, CODE, CODE + 2)?, 0)?;
            if start.elapsed() > Duration::from_secs(2) {
                return Err(format!("the rejection took {:?}", start.elapsed()).into());
            }
            clients.pop();
            wait_until("a slot is free again", || {
                let mut next = kvm.connect().expect("kvm listens");
                dump(&mut next, CODE, CODE + 2).is_ok_and(|code| code == b"\xfb\xf4")
            })?;
            for client in &mut clients {
                check(dump(client, CODE, CODE + 2)? == b"\xfb\xf4", "code", &[])?;
            }
            Ok(())
        }),
        guest_test("clients_are_notified_of_the_end_of_the_run", || {
            let kvm = KvmWithDebugServer::start("serial-echo", &[])?;
            let mut quiet = kvm.connect()?;
            let mut busy = kvm.connect()?;
            // It requests much and reads nothing, which must not delay the other clients.
            busy.write_all(&dump_request(0, 64 << 20))?;
            let mut asking = kvm.connect()?;
            check(!dump(&mut asking, CODE, CODE + 1)?.is_empty(), "memory", &[])?;
            kvm.signal("TERM")?;
            let start = Instant::now();
            kvm.finish()?.expect_status(16)?;
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
            for client in [&mut quiet, &mut asking] {
                let farewell = next(client)?;
                check(farewell.len() == 12 && farewell[..4] == [0, 0, 0, 5], "SERVER_QUIT", &farewell)?;
                check(frame(client)?.is_none(), "an end", &[])?;
            }
            Ok(())
        }),
        guest_test("clients_must_send_the_password_of_the_config_file", || {
            let kvm = Kvm::with_guest("idle");
            std::fs::write(kvm.folder.file("passw.ini"), "[debug-server]\npassw = open sesame\n")?;
            let address = free_address()?;
            let arguments = ["--config=passw.ini".to_owned(), format!("--debug-server={address}")];
            let kvm = KvmWithDebugServer::run(kvm.args(arguments))?;
            let ask = |password: &str| {
                let client = kvm.client(&["0x200000", "0x200002", "--password-file", "password"]);
                std::fs::write(client.folder.file("password"), password)
                    .expect("a file in the test's folder");
                client.run()
            };
            let ran = ask("open sesame\n");
            ran.expect_status(0)?.check(ran.out.contains("RAM: 67108864 bytes"), "the size of memory")?;
            for ran in [ask("open sesam"), kvm.client(&["0x200000", "0x200002"]).run()] {
                ran.expect_status(6)?.expect_err("--password-file")?.expect_out("")?;
            }
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("debug_client_prints_memory_its_size_and_registers", || {
            let kvm = KvmWithDebugServer::start("idle", &[])?;
            let ran = kvm.client(&["0x200000", "2097172"]).run();
            ran.expect_status(0)?;
            let dump = "Memory 0x200000..0x200014:\n\
                 0000200000  fb f4 eb fc 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
                 0000200010  00 00 00 00                                       |....|\n\
                 RAM: 67108864 bytes\n\
                 Target program dump:\n";
            ran.check(ran.out.starts_with(dump), dump)?;
            for register in ["RAX ", "R15 ", "RIP    0x000000000020000", "CR3 ", "EFER ", "GDT ", "SS "] {
                ran.check(ran.out.contains(register), register)?;
            }
            let ran = kvm.client(&[]).run();
            ran.expect_status(0)?;
            let lines = ran.out.lines().filter(|line| line.ends_with('|')).count();
            ran.check(lines == 125 && ran.out.contains("\n00000bf7c0  "), "2000 bytes from 0xBF000")?;
            let ran = kvm.client(&["0", "0x4000001"]).run();
            ran.expect_status(2)?.expect_err("no memory 0x0..0x4000001: not all of that is RAM")?;
            ran.check(ran.out.starts_with("RAM: 67108864 bytes\n"), "Info")?;
            let piped =
                kvm.client(&["0", "0x4000000"]).in_shell(r#""$@" | head -2; echo ${PIPESTATUS[0]}"#).run();
            piped.expect_status(0)?;
            piped
                .check(piped.err.is_empty() && piped.out.ends_with("|\n0\n"), "two lines and no complaint")?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16).map(drop)
        }),
        guest_test("debug_client_names_the_address_that_does_not_answer", || {
            let unused = free_address()?;
            let client = |address: &str| {
                let (host, port) = address.rsplit_once(':').unwrap_or_default();
                Kvm::new().args(["debug-client", host, port])
            };
            let ran = client(&unused).run();
            ran.expect_status(6)?
                .expect_err(&format!("cannot connect to the debug server at {unused}: Conn"))?;
            for (answer, message) in [
                (&b"220 mail.example.com ESMTP\r\n"[..], "the peer is no debug server"),
                (&b""[..], "the debug server closed the connection"),
                (&[0, 0, 7, 0xD0, 1, 2, 3], "the debug server closed the connection"),
                (&[0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0], "the guest's run is over"),
            ] {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let address = listener.local_addr()?.to_string();
                let other = std::thread::spawn(move || -> std::io::Result<()> {
                    let (mut stream, _) = listener.accept()?;
                    stream.read_exact(&mut [0; 32])?;
                    stream.write_all(answer)
                });
                let ran = client(&address).run();
                let _ = other.join();
                ran.expect_status(6)?.expect_err(message)?;
            }
            Ok(())
        }),
    ]
}

fn places() -> Vec<Trial> {
    vec![
        guest_test("the_unix_socket_of_the_debug_server_is_private", || {
            let folder = Folder::new();
            let path = folder.file("debug");
            let kvm = KvmWithDebugServer::start_at(&format!("unix:{}", path.display()), "idle", &[])?;
            assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
            let mut client = UnixStream::connect(&path)?;
            check(dump(&mut client, CODE, CODE + 2)? == b"\xfb\xf4", "code", &[])?;
            let address = format!("unix:{}", path.display());
            let ran = Kvm::new().args(["debug-client", &address, "0x200000", "0x200002"]).run();
            ran.expect_status(0)?.check(ran.out.contains("0000200000  fb f4 "), "code")?;
            kvm.signal("TERM")?;
            kvm.finish()?.expect_status(16)?;
            if path.exists() { Err("the socket is still there".into()) } else { Ok(()) }
        }),
        guest_test("the_old_config_file_switches_the_debug_server_on", || {
            let address = free_address()?;
            let port = address.rsplit_once(':').unwrap_or_default().1;
            let config = format!("[vm-spec]\nmemsize=10\n\n[debug-server]\nenable=yes\nport={port}\n");
            let kvm = KvmWithDebugServer::run(Kvm::with_guest("idle").file("config.ini", &config))?;
            assert_eq!(kvm.address, address);
            assert_eq!(Info::of(&mut kvm.connect()?)?.memory, 10 << 20);
            Ok(())
        }),
        guest_test("a_debug_server_port_in_use_is_reported_before_the_guest_runs", || {
            let taken = TcpListener::bind("127.0.0.1:0")?;
            let address = taken.local_addr()?;
            let ran = Kvm::with_guest("hello-serial").arg(format!("--debug-server={address}")).run();
            let message = format!("kvm: the debug server cannot listen on {address}: Address already in use");
            ran.expect_status(6)?.expect_out("")?.expect_err(&message).map(drop)
        }),
        guest_test("without_a_debug_server_no_port_is_open", || {
            let ran = Kvm::new().arg(guest("hello-serial")).arg("--debug-server=no").run();
            ran.expect_status(0)?.check(!ran.err.contains("debug server"), "no message about it").map(drop)
        }),
    ]
}
