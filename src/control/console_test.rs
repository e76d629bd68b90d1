//! Commands at the console, and the commands for screen and keyboard.

use super::*;

/// The answer at the console, or the error.
fn run_at_console(guest: &mut FakeMachine, line: &str) -> String {
    answer(guest, CommandSource::Console, line).unwrap_or_else(|error| format!("error: {error}"))
}

#[test]
fn commands_of_another_front_end_are_refused_with_an_alternative() {
    let mut guest = real_mode();
    for (line, gdb, console) in [
        (
            "pause",
            "error: `pause` is not available in gdb: Ctrl-C in gdb stops the guest",
            "error: the guest is already stopped: gdb has stopped it",
        ),
        (
            "resume",
            "error: `resume` is not available in gdb: `continue` in gdb resumes the guest",
            "error: the guest is stopped in gdb; `continue` in gdb resumes it",
        ),
        (
            "phys on",
            "addresses are guest-physical; `phys off` makes them virtual\n",
            "error: `phys` is not available in the console: it changes gdb's addresses; `xp` takes guest-physical ones",
        ),
        ("exit", "error: `exit` is not available in gdb: `detach` and `quit` in gdb leave the guest", ""),
        (
            "status",
            "the guest is stopped in gdb; `continue` in gdb resumes it\n",
            "the guest is stopped in gdb; `continue` in gdb resumes it\n",
        ),
    ] {
        assert_eq!(run(&mut guest, line), gdb);
        assert_eq!(run_at_console(&mut guest, line), console);
    }
    assert!(
        !run(&mut guest, "help").contains("\npause ")
            && run_at_console(&mut guest, "help").contains("\npause ")
    );
    assert_eq!(run_at_console(&mut guest, "?"), run_at_console(&mut guest, "help"));
    assert!(!guest.console_controlled);
}

#[test]
fn breakpoints_and_steps_of_the_console_need_no_debugger() {
    for line in ["break 0x1000", "trace 0x1000 \"x\"", "catch int3 on"] {
        let mut guest = FakeMachine { debugged: false, status: RunStatus::Running, ..real_mode() };
        let text = run_at_console(&mut guest, line);
        assert!(!text.contains("error"), "{text}");
        assert!(guest.console_controlled, "{line}");
    }
    let mut guest = FakeMachine { debugged: false, status: RunStatus::Running, ..real_mode() };
    for (line, answer) in
        [("step", "1 steps\n"), ("s 3", "3 steps\n"), ("si", "1 steps\n"), ("stepi 2", "2 steps\n")]
    {
        assert_eq!(run_at_console(&mut guest, line), answer);
    }
    assert!(run_at_console(&mut guest, "step 0").contains("it must be from 1 to 100000"));
    assert!(run_at_console(&mut guest, "wait").contains("=> 0x7"), "it has stopped already");
    let stop = Notice { text: "caught #PF\n=> 0x7: hlt".to_owned(), stop: Some(7) };
    guest.current_stop = Some(stop.clone());
    assert_eq!(run_at_console(&mut guest, "wait"), "", "a console that has reported the stop says no more");
    assert_eq!(guest.session.progress.take().unwrap().recv().unwrap(), stop, "as it was reported");
    assert_eq!(run_at_console(&mut guest, "c"), "the guest runs\n");
    assert_eq!(run_at_console(&mut guest, "wait"), "");
    assert_eq!(guest.session.progress.take().unwrap().recv().unwrap(), Notice::from("stopped"));
    assert_eq!(run_at_console(&mut guest, "stop"), "the guest is paused; `resume` resumes it\n");
    guest.debugged = true;
    for line in ["step", "wait"] {
        assert!(
            run_at_console(&mut guest, line).starts_with("error: gdb is connected and decides"),
            "{line}"
        );
    }
    assert!(run(&mut guest, "step").starts_with("error: `step` is not available in gdb: `stepi` in gdb"));
}

#[test]
fn a_guest_is_paused_and_resumed() {
    let mut guest = FakeMachine { status: RunStatus::Running, debugged: false, ..real_mode() };
    for (line, answer, doing) in [
        ("status", "the guest runs\n", RunStatus::Running),
        ("pause", "the guest is paused; `resume` resumes it\n", RunStatus::Paused),
        ("pause", "the guest is paused; `resume` resumes it\n", RunStatus::Paused),
        ("status", "the guest is paused; `resume` resumes it\n", RunStatus::Paused),
        ("resume", "the guest runs\n", RunStatus::Running),
        ("resume", "the guest runs\n", RunStatus::Running),
        ("reset", "the machine was reset\n", RunStatus::Running),
    ] {
        assert_eq!(run_at_console(&mut guest, line), answer);
        assert_eq!(guest.status, doing);
    }
    guest.status = RunStatus::WaitingForDebugger;
    assert_eq!(
        run_at_console(&mut guest, "pause"),
        "error: the guest is already stopped: it waits for gdb at its first instruction"
    );
    assert_eq!(run_at_console(&mut guest, "resume"), "the guest runs\n");
    assert_eq!(guest.status, RunStatus::Running);
}

#[test]
fn keys_are_pressed_by_their_names_and_text_is_typed() {
    let mut guest = real_mode();
    assert_eq!(run(&mut guest, "sendkey ctrl-Alt-delete"), "");
    assert_eq!(run(&mut guest, "type A\\n"), "");
    let pressed = KeyEvent::chord(&[Key::LeftControl, Key::LeftAlt, Key::Delete]);
    let typed = |bytes: &[u8], keys: &[Key]| {
        Input::Keystroke(Keystroke { bytes: bytes.to_vec(), keys: KeyEvent::chord(keys) })
    };
    assert_eq!(
        guest.inputs.pushed(),
        [Input::KeyEvents(pressed), typed(b"A", &[Key::LeftShift, Key::A]), typed(b"\r", &[Key::Enter])]
    );
    for (line, wanted) in [
        ("sendkey", "error: a key is missing; use: sendkey KEY[-KEY]..."),
        ("sendkey ctrl-entr", "error: `entr` is no key (there is `enter`); use: sendkey KEY[-KEY]..."),
        ("sendkey a--b", "error: a key is missing; use: sendkey KEY[-KEY]..."),
        ("type", "error: the text is missing; use: type TEXT"),
        ("type a\\", "error: a backslash must be followed by n, t, e or a backslash; use: type TEXT"),
    ] {
        assert_eq!(run(&mut guest, line), wanted);
    }
    let many = format!("sendkey {}", vec!["a"; 17].join("-"));
    assert!(run(&mut guest, &many).contains("17 keys; at most 16 can be pressed together"));
    let text = format!("type {}", "x".repeat(4000));
    assert_eq!(run(&mut guest, &text), "");
    assert!(run(&mut guest, &text).starts_with("error: the guest has not read 4003 characters"));
}

#[test]
fn the_mouse_is_moved_and_its_buttons_are_pressed_as_in_qemu() {
    let mut guest = real_mode();
    for line in ["mouse_move 20 -5", "mouse_move 0 0 2", "mouse_button 5"] {
        assert_eq!(run(&mut guest, line), "");
    }
    let mouse = |dx, dy, wheel, buttons| Input::Mouse { dx, dy, wheel, buttons };
    assert_eq!(
        guest.inputs.pushed(),
        [mouse(20, -5, 0, None), mouse(0, 0, -2, None), mouse(0, 0, 0, Some(5))],
        "a wheel that turns up counts down"
    );
    for (line, wanted) in [
        ("mouse_move", "error: two or three numbers are needed; use: mouse_move DX DY [DZ]"),
        ("mouse_move 1", "error: two or three numbers are needed; use: mouse_move DX DY [DZ]"),
        ("mouse_move 1 2 3 4", "error: two or three numbers are needed; use: mouse_move DX DY [DZ]"),
        ("mouse_move 1 x", "error: `x` is no number from -10000 to 10000; use: mouse_move DX DY [DZ]"),
        (
            "mouse_move 10001 0",
            "error: `10001` is no number from -10000 to 10000; use: mouse_move DX DY [DZ]",
        ),
        ("mouse_button", "error: the buttons are a number from 0 to 31; use: mouse_button STATE"),
        ("mouse_button 32", "error: the buttons are a number from 0 to 31; use: mouse_button STATE"),
    ] {
        assert_eq!(run(&mut guest, line), wanted);
    }
}

#[test]
fn the_screen_is_saved_as_text_and_as_an_image() {
    let folder = std::env::temp_dir().join(format!("kvm-screendump-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut guest = real_mode();
    let file = |name: &str| folder.join(name);
    let line = |name: &str| format!("screendump {}", file(name).display());
    assert_eq!(
        run(&mut guest, &line("a b.txt")),
        format!("the screen is saved in {}, 3 bytes\n", file("a b.txt").display())
    );
    assert_eq!(std::fs::read_to_string(file("a b.txt")).unwrap(), "Hi\n");
    assert!(run(&mut guest, &line("a.png")).starts_with("the screen is saved in "));
    assert!(std::fs::read(file("a.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(
        run(&mut guest, &line("a.jpg"))
            .contains("name must end in .png, .ppm or .txt; use: screendump [-f] FILE")
    );
    assert!(run(&mut guest, "screendump").contains("name must end in .png, .ppm or .txt"));
    let text = run(&mut guest, &line("no/where.txt"));
    assert!(text.starts_with("error: cannot write `") && text.contains("No such file"), "{text}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "no other file remains");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn files_that_kvm_has_not_written_are_overwritten_only_with_force() {
    let folder = std::env::temp_dir().join(format!("kvm-overwrite-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut guest = real_mode();
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, command) in [
        ("notes.txt", "screendump"),
        ("photo.png", "screendump"),
        ("notes.kvmstate", "snapshot"),
        ("profile", "snapshot"),
    ] {
        let file = path(name);
        std::fs::write(&file, "theirs\n").unwrap();
        let text = run(&mut guest, &format!("{command} {file}"));
        let remedy = format!("overwrite it with `{command} -f {file}`");
        assert!(text.starts_with(&format!("error: `{file}` exists")) && text.contains(&remedy), "{text}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "theirs\n");
        let text = run(&mut guest, &format!("{command} -f {file}"));
        assert!(text.contains("saved in"), "{text}");
    }
    // Pictures and snapshots of kvm are replaced, and so are empty files.
    std::fs::write(path("empty.png"), "").unwrap();
    std::fs::write(path("old.kvmstate"), b"\x8AKVM\r\n\x1A\n and more").unwrap();
    for line in ["screendump photo.png", "screendump empty.png", "snapshot old.kvmstate"] {
        let (command, name) = line.split_once(' ').unwrap();
        let text = run(&mut guest, &format!("{command} {}", path(name)));
        assert!(text.contains("saved in"), "{text}");
    }
    // A link to a file that does not exist, and a pipe, may be there for a purpose.
    std::os::unix::fs::symlink("nowhere", path("link.png")).unwrap();
    assert!(run(&mut guest, &format!("screendump {}", path("link.png"))).contains("exists"));
    assert!(run(&mut guest, "snapshot -f before").contains("`-f` is for files"));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// On file systems with extended attributes.
#[test]
fn a_screen_as_text_is_replaced_until_its_file_is_edited() {
    let file = std::env::temp_dir().join(format!("kvm-screen-{}.txt", std::process::id()));
    let line = format!("screendump {}", file.display());
    let mut guest = real_mode();
    assert!(run(&mut guest, &line).contains("saved in"));
    if rustix::fs::setxattr(&file, "user.kvm.test", b"1", rustix::fs::XattrFlags::empty()).is_ok() {
        assert!(run(&mut guest, &line).contains("saved in"));
        let mut opened = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        std::io::Write::write_all(&mut opened, b"a note\n").unwrap();
    }
    assert!(run(&mut guest, &line).contains("exists, and kvm has not written it"));
    std::fs::remove_file(&file).unwrap();
}

/// Checks, or with KVM_BLESS renews, the table of commands in a document.
fn check_document(name: &str, front: CommandSource) {
    let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- commands: ").unwrap();
    let (head, rest) = rest.split_once("-->\n\n").unwrap();
    let (table, after) = rest.split_once("\n<!-- end of the commands -->").unwrap();
    if std::env::var_os("KVM_BLESS").is_some() {
        let end = "\n<!-- end of the commands -->";
        let text = format!("{before}<!-- commands: {head}-->\n\n{}{end}{after}", reference(front));
        std::fs::write(path, text).unwrap();
    } else {
        let remedy = "KVM_BLESS=1 cargo test --lib lists_every_command";
        assert!(table == reference(front), "docs/{name} is out of date: {remedy}");
    }
}

#[test]
fn debugging_md_lists_every_command_of_gdb() {
    check_document("debugging.md", CommandSource::Debugger);
}

#[test]
fn console_md_lists_every_command_of_the_console() {
    check_document("console.md", CommandSource::Console);
}
