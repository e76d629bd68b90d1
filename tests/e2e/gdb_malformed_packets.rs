//! Clients that send malformed packets, floods and nothing at all to one server. After each of them the server answers
//! a client that keeps to the protocol, the guest has run on, and in the end a real gdb debugs it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use rustix::net::sockopt::set_socket_linger;

use crate::gdb::gdb_test;
use crate::support::debugger::{Waiting, answer, ask, expect, send};
use crate::support::wait_until;

/// How long a server may be busy with what a disconnected client has sent.
const SOON: Duration = Duration::from_secs(10);

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        gdb_test("gdb_debugs_after_clients_sent_malformed_packets", || {
            let mut guest = Guest::start()?;
            for malformed in malformed_streams() {
                for end in [End::Close, End::Reset, End::HalfClose] {
                    let mut client = guest.waiting.connect()?;
                    // The server may have hung up before it has all of it.
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
                let mut client = guest.waiting.connect()?;
                ask(&mut client, "?")?;
                send(&mut client, "vCont;c")?;
                client.set_write_timeout(Some(Duration::from_secs(5)))?;
                // Nothing of what is answered is read: at some point the server hangs up, or all is sent.
                let _ = client.write_all(&flood.repeat((1 << 20) / flood.len()));
                drop(client);
                guest.check().map_err(|error| format!("after {}: {error:?}", flood.escape_ascii()))?;
            }
            guest.debug()
        }),
        gdb_test("a_client_that_reads_nothing_is_disconnected_and_the_guest_runs_on", || {
            let mut guest = Guest::start()?;
            guest.check()?;
            let mut silent = guest.waiting.connect()?;
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
            let mut client = guest.waiting.connect()?;
            ask(&mut client, "?")?;
            send(&mut client, "vCont;c")?;
            client.write_all(&[3; 1 << 20])?;
            // The first one stops the guest. All answers are read: a connection that is closed with some
            // left would be reset, and nobody would have to deal with the rest of the flood.
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
                let mut client = guest.waiting.connect()?;
                // Nothing, half a packet, a question and half of the next, and a running guest.
                let said: [&[u8]; 4] = [b"", b"$m200000,", b"+$?#3f+$g#", b"+$?#3f+$vCont;c#a8+$m"];
                client.write_all(said[round % 4])?;
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
    /// It sends no more, and listens to the end.
    HalfClose,
}

impl End {
    fn of(self, mut client: TcpStream) -> Result<(), Failed> {
        match self {
            End::Close => {}
            End::Reset => set_socket_linger(&client, Some(Duration::ZERO))?,
            End::HalfClose => {
                // The server may have hung up already, which ends this at once.
                let _ = client.shutdown(Shutdown::Write);
                let _ = client.read_to_end(&mut Vec::new());
            }
        }
        drop(client);
        Ok(())
    }
}

/// A guest that counts for ever, and how far it had come when it was last looked at.
struct Guest {
    waiting: Waiting,
    count: u64,
}

impl Guest {
    fn start() -> Result<Guest, Failed> {
        Ok(Guest { waiting: Waiting::start("endless", &["--gdb-nowait"], b"")?, count: 0 })
    }

    /// The server answers, and the guest has gone on.
    fn check(&mut self) -> Result<(), Failed> {
        let start = Instant::now();
        loop {
            // It is to run without a debugger for a moment; on a busy host, that takes some.
            std::thread::sleep(Duration::from_millis(5));
            let mut client = self.served()?;
            let count = u64::from_str_radix(&ask(&mut client, "p0")?, 16)?.swap_bytes();
            ask(&mut client, "D;1")?;
            if count > self.count {
                self.count = count;
                return Ok(());
            }
            if start.elapsed() > SOON {
                return Err(format!("the guest is at {count}, it was at {} before", self.count).into());
            }
        }
    }

    /// A client that is served, as soon as what the one before it has sent is dealt with.
    fn served(&self) -> Result<TcpStream, Failed> {
        let start = Instant::now();
        loop {
            let mut client = self.waiting.connect()?;
            let answer = ask(&mut client, "?")?;
            if !answer.starts_with("E.another debugger") {
                return Ok(client);
            }
            if start.elapsed() > SOON {
                return Err(format!("the server is still busy with another client: {answer}").into());
            }
        }
    }

    /// Threads and file descriptors of the server's process.
    fn resources(&self) -> Result<(usize, usize), Failed> {
        let process = format!("/proc/{}", self.waiting.id());
        let count = |what: &str| Ok::<_, Failed>(std::fs::read_dir(format!("{process}/{what}"))?.count());
        Ok((count("task")?, count("fd")?))
    }

    /// A real gdb does its work.
    fn debug(self) -> Result<(), Failed> {
        let counted = format!("print $rax > {}", self.count);
        let said =
            self.waiting.gdb("endless", &[&counted, "break spin", "continue", "stepi", "x/i $pc", "kill"])?;
        expect(&said, "$1 = 1\n")?;
        expect(&said, "Breakpoint 1, spin ()")?;
        expect(&said, ":\tjmp ")?;
        self.waiting.finish()?.expect_status(14).map(drop)
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
