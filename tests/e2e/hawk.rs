//! The demonstration of yakvm, `target-examples/flat/hawk.S`, as docs/from-yakvm.md shows it.

use libtest_mimic::{Failed, Trial};

use crate::gdb::gdb_test;
use crate::support::console::{KvmWithConsole, expect_equal};
use crate::support::debugger::{KvmWithGdb, expect};
use crate::support::{Kvm, exact_output, flat, guest_test, halted, source};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        guest_test("a_port_without_a_device_does_not_answer_the_demonstration", || {
            let ran = demonstration().run();
            ran.expect_exactly(&exact_output(0, "", halted(255)))?;
            ran.expect_log("unassigned port 0x01e0")?.expect_log(" port_writes=1 port_reads=1 ")?;
            Ok(())
        }),
        gdb_test("gdb_plays_the_two_devices_of_the_demonstration", || {
            let symbols = symbols()?;
            let kvm = KvmWithGdb::start_file(&flat("hawk"), &["--load", "0x1000", "--symbols", &symbols])?;
            let script = source("target-examples/flat/hawk.gdb");
            let printed = kvm.gdb_with_file(None, &[&format!("source {}", script.display())])?;
            expect(
                &printed,
                "port 0x1e0: 1 is written\nport 0x1e0: the answer is 2\n\
                 address 0x100000: 3 is written\naddress 0x100000: the answer is 2\n",
            )?;
            let ran = kvm.finish()?;
            ran.expect_status(0)?.expect_err("the guest halted; result (RAX) 2 (0x2)")?;
            ran.expect_log(" port_writes=1 port_reads=1 mmio_writes=1 mmio_reads=1 ").map(drop)
        }),
        guest_test("steps_at_the_console_show_each_instruction_of_the_demonstration", || {
            let text = std::fs::read_to_string(source("docs/from-yakvm.md"))?;
            let shown: Vec<&str> = text.lines().filter(|line| line.starts_with("=> 0x")).collect();
            let kvm = demonstration().args(["--symbols", &symbols()?, "--gdb=unix:gdb"]);
            let kvm = KvmWithConsole::run(kvm.arg("--console=unix:console"), "console")?;
            let mut client = kvm.connect()?;
            let mut found = Vec::new();
            for _ in 0..100 {
                let answer = client.ask("step")?;
                let Some(line) = answer.lines().find(|line| line.starts_with("=> ")) else { break };
                // Bochs sometimes stops twice at an instruction.
                if found.last().is_none_or(|last| last != line) {
                    found.push(line.to_owned());
                }
                if line.contains("<port_read>") || line.contains("<register_read>") {
                    expect_equal(&client.ask("set $rax = 2")?, "$rax is 0x2\n")?;
                }
            }
            expect_equal(&found.join("\n"), &shown.join("\n"))?;
            kvm.finish()?.expect_status(0)?.expect_err("result (RAX) 2 (0x2)").map(drop)
        }),
    ]
}

fn demonstration() -> Kvm {
    Kvm::new().args(["--load", "0x1000"]).arg(flat("hawk"))
}

fn symbols() -> Result<String, Failed> {
    let symbols = flat("hawk").with_extension("sym");
    Ok(symbols.to_str().ok_or("a path that is text")?.to_owned())
}
