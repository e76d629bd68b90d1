//! What `scripts/run` shows while it builds.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::debugger::{expect, output};
use crate::support::pty::Terminal;
use crate::support::{Folder, source, test};

/// A cargo that builds for a while, and shows its progress unless it is to be quiet.
const CARGO: &str = r#"#!/bin/bash
[[ " $* " == *" --quiet "* ]] || echo "Building 3/100" >&2
sleep 1.5
echo '{"reason":"compiler-artifact","executable":"/bin/true"}'
"#;

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        test("scripts_show_the_progress_of_cargo_on_a_terminal", || {
            let (_folder, build) = build_kvm("")?;
            let ended = Terminal::start(&build, 80, 24).end()?;
            ended.expect_status(0)?.expect_text("Building 3/100")?.expect_text("/bin/true").map(drop)
        }),
        test("scripts_announce_a_slow_build_where_there_is_no_terminal", || {
            let (_folder, mut build) = build_kvm("exec 2>&1; ")?;
            let shown = output(&mut build)?;
            expect(&shown, "building kvm; the first time takes a minute or two\n/bin/true\n")
        }),
    ]
}

/// A command that builds `kvm` as the scripts do, after `before`, and the folder with the cargo that it uses.
fn build_kvm(before: &str) -> std::io::Result<(Folder, Command)> {
    let folder = Folder::new();
    let cargo = folder.file("cargo");
    std::fs::write(&cargo, CARGO)?;
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755))?;
    let script = format!(r#"set -euo pipefail; {before}PATH="$1:$PATH"; . "$0"; build_kvm"#);
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(source("scripts/lib.sh")).arg(folder.path());
    Ok((folder, command))
}
