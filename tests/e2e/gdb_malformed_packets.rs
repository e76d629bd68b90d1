//! Clients that send malformed packets, floods or nothing to one server. After each of them the server answers a
//! correct client and the guest has run on; in the end a real gdb debugs it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use rustix::net::sockopt::set_socket_linger;

use crate::gdb::gdb_test;
use crate::support::debugger::{KvmWithGdb, answer, ask, expect, send};
use crate::support::wait_until;

/// How long a server may be busy with the input of a disconnected client.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("gdb_debugs_after_clients_sent_malformed_packets", || {
            let mut guest = Guest::start()?;
            for malformed in malformed_streams() {
                for end in [End::Close, End::Reset, End::HalfClose] {
                    let mut client = guest.kvm.connect()?;
                    // The server may disconnect before it has received all of it.
                    let _ = client.write_all(&malformed);
                    end.of(client)?;
                    let start = malformed[..malformed.len().min(20)].escape_ascii();
                    guest.check().map_err(|error| format!("after {start}, {end:?}: {error:?}"))?;
                }
            }
            guest.debug()
        }),
        gdb_test("gdb_debugs_after_floods_while_the_guest_ran", || {
            let mut guest = Guest::start()?;
            let floods: [&[u8]; 6] =
                [b"+", b"\x03", b"$g#67", b"$vCont;c#a8\x03", b"$qRcmd,68656c70#fc", b"$?#3f"];
            for flood in floods {
                let mut client = guest.kvm.connect()?;
                ask(&mut client, "?")?;
                send(&mut client, "vCont;c")?;
                client.set_write_timeout(Some(Duration::from_secs(5)))?;
                // No answer is read: either the server disconnects at some point, or all is sent.
                let _ = client.write_all(&flood.repeat((1 << 20) / flood.len()));
                drop(client);
                guest.check().map_err(|error| format!("after {}: {error:?}", flood.escape_ascii()))?;
            }
            guest.debug()
        }),
        gdb_test("a_client_that_reads_nothing_is_disconnected_and_the_guest_runs_on", || {
            let mut guest = Guest::start()?;
            guest.check()?;
            let mut silent = guest.kvm.connect()?;
            ask(&mut silent, "?")?;
            // More than sockets hold.
            for _ in 0..400 {
                send(&mut silent, "m200000,fff0")?;
            }
            guest.check()?;
            guest.debug()
        }),
        gdb_test("gdb_debugs_after_a_flood_of_interrupts", || {
            let mut guest = Guest::start()?;
            let mut client = guest.kvm.connect()?;
            ask(&mut client, "?")?;
            send(&mut client, "vCont;c")?;
            client.write_all(&[3; 1 << 20])?;
            // The first one stops the guest. All answers are read: a connection that is closed with unread answers is
            // reset, and the server would not receive the rest of the flood.
            answer(&mut client)?;
            drop(client);
            guest.check()?;
            guest.debug()
        }),
        gdb_test("gdb_debugs_after_a_hundred_connections", || {
            let mut guest = Guest::start()?;
            guest.check()?;
            let before = guest.resources()?;
            for round in 0..100 {
                let mut client = guest.kvm.connect()?;
                // Nothing, half a packet, a question and half of the next, and a running guest.
                let input: [&[u8]; 4] = [b"", b"$m200000,", b"+$?#3f+$g#", b"+$?#3f+$vCont;c#a8+$m"];
                client.write_all(input[round % 4])?;
                if round % 3 == 0 { End::Reset } else { End::Close }.of(client)?;
            }
            guest.check()?;
            wait_until("threads and files are given back", || {
                guest.resources().is_ok_and(|now| now.0 <= before.0 && now.1 <= before.1)
            })?;
            guest.debug()
        }),
    ]
}

/// How a client ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// As programs end that are done.
    Close,
    /// Killed, with a reset of the connection.
    Reset,
    /// It sends no more, and reads to the end.
    HalfClose,
}

impl End {
    fn of(self, mut client: TcpStream) -> Result<(), Failed> {
        match self {
            End::Close => {}
            End::Reset => set_socket_linger(&client, Some(Duration::ZERO))?,
            End::HalfClose => {
                // Ends at once if the server has disconnected already.
                let _ = client.shutdown(Shutdown::Write);
                let _ = client.read_to_end(&mut Vec::new());
            }
        }
        drop(client);
        Ok(())
    }
}

/// A guest that counts endlessly, and its count at the last check.
struct Guest {
    kvm: KvmWithGdb,
    count: u64,
}

impl Guest {
    fn start() -> Result<Guest, Failed> {
        Ok(Guest { kvm: KvmWithGdb::start("endless", &["--gdb-nowait"], b"")?, count: 0 })
    }

    /// Checks that the server answers and the guest has run on.
    fn check(&mut self) -> Result<(), Failed> {
        let start = Instant::now();
        loop {
            // The guest runs without a debugger for a moment; on a busy host, that takes several attempts.
            std::thread::sleep(Duration::from_millis(5));
            let mut client = self.served()?;
            let count = u64::from_str_radix(&ask(&mut client, "p0")?, 16)?.swap_bytes();
            ask(&mut client, "D;1")?;
            if count > self.count {
                self.count = count;
                return Ok(());
            }
            if start.elapsed() > TIMEOUT {
                return Err(format!("the guest is at {count}, it was at {} before", self.count).into());
            }
        }
    }

    /// Connects as soon as the server has handled the input of the previous client.
    fn served(&self) -> Result<TcpStream, Failed> {
        let start = Instant::now();
        loop {
            let mut client = self.kvm.connect()?;
            let answer = ask(&mut client, "?")?;
            if !answer.starts_with("E.another debugger") {
                return Ok(client);
            }
            if start.elapsed() > TIMEOUT {
                return Err(format!("the server is still busy with another client: {answer}").into());
            }
        }
    }

    /// Threads and file descriptors of the server's process.
    fn resources(&self) -> Result<(usize, usize), Failed> {
        let process = format!("/proc/{}", self.kvm.id());
        let count = |what: &str| Ok::<_, Failed>(std::fs::read_dir(format!("{process}/{what}"))?.count());
        Ok((count("task")?, count("fd")?))
    }

    /// Debugs the guest with a real gdb.
    fn debug(self) -> Result<(), Failed> {
        let counted = format!("print $rax > {}", self.count);
        let output =
            self.kvm.gdb("endless", &[&counted, "break spin", "continue", "stepi", "x/i $pc", "kill"])?;
        expect(&output, "$1 = 1\n")?;
        expect(&output, "Breakpoint 1, spin ()")?;
        expect(&output, ":\tjmp ")?;
        self.kvm.finish()?.expect_status(14).map(drop)
    }
}

fn malformed_streams() -> Vec<Vec<u8>> {
    // A multiplicative generator: the same bytes every time.
    let mut state = 1u64;
    let garbage = (0..100_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let enormous = [&b"$X200000,fffff:"[..], &vec![b'x'; 1 << 20], b"#00"].concat();
    vec![
        b"$".to_vec(),
        b"$m200000,4".to_vec(),
        b"$m200000,4#6".to_vec(),
        b"$m200000,4#00".to_vec(),
        b"$vCont;c#00$vCont;c#zz".to_vec(),
        b"####$$$$}}}}****".to_vec(),
        garbage.collect(),
        enormous,
        vec![b'$'; 1 << 20],
        vec![0; 1 << 20],
    ]
}
