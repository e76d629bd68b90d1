use super::super::sample::CodeLine;
use super::*;

/// A guest that is stopped at `rip`, whose code is one-byte instructions around there.
fn stopped_at(rip: u64) -> Sample {
    let mut registers = Registers::default();
    (registers.system.cr0, registers.system.cs.l) = (1, 1);
    (registers.general.rip, registers.general.rsp, registers.general.rax) = (rip, 0x8000, 0x1234);
    let code = |address| CodeLine { address, text: "nop".to_owned(), ..CodeLine::default() };
    let word = |address| Word { address, value: Some(address + 1), size: 8, symbol: None };
    Sample {
        status: Some(RunStatus::Paused),
        registers: Some(registers),
        code: Listing { lines: (rip - 20..rip + 20).map(code).collect(), middle: 20 },
        stack: Listing { lines: (0..9).map(|at| word(0x8000 + 8 * at)).collect(), middle: 0 },
        ..Sample::default()
    }
}

fn running() -> Sample {
    Sample { status: Some(RunStatus::Running), ..stopped_at(0x1000) }
}

fn state(sample: Sample) -> DashboardState {
    let mut state = DashboardState::default();
    state.take_sample(sample, Instant::now());
    state
}

fn keys(state: &mut DashboardState, keys: &str) -> Vec<KeyEffect> {
    keys.chars()
        .flat_map(|letter| match letter {
            '\n' => state.key(PressedKey::Enter),
            '\t' => state.key(PressedKey::Tab),
            '^' => state.key(PressedKey::Up),
            'v' => state.key(PressedKey::Down),
            letter => state.key(PressedKey::Char(letter)),
        })
        .collect()
}

fn order(order: Order) -> Vec<KeyEffect> {
    vec![KeyEffect::Order(order)]
}

#[test]
fn letters_are_commands_for_the_machine() {
    let mut stopped = state(stopped_at(0x1000));
    assert_eq!(keys(&mut stopped, "s"), order(Order::Step));
    assert_eq!(keys(&mut stopped, "n"), order(Order::Next));
    assert_eq!(keys(&mut stopped, "c"), order(Order::Resume));
    assert_eq!(keys(&mut stopped, "q"), [KeyEffect::Quit]);
    assert_eq!(keys(&mut stopped, "x"), []);
    assert_eq!(stopped.message, "`x` is no command; ? lists them");
    let mut running = state(running());
    assert_eq!(keys(&mut running, "psn").as_slice(), [(); 3].map(|()| KeyEffect::Order(Order::Pause)));
}

#[test]
fn a_breakpoint_is_set_at_the_cursor_of_the_code() {
    let mut state = state(stopped_at(0x1000));
    assert_eq!(keys(&mut state, "b"), order(Order::ToggleBreakpoint(0x1000)));
    assert_eq!(keys(&mut state, "vvv^b"), order(Order::ToggleBreakpoint(0x1002)));
    assert_eq!(state.wanted().code, Some(0x1002));
    state.key(PressedKey::Home);
    assert_eq!(state.wanted().code, None, "it follows RIP again");
    state.key(PressedKey::PageUp);
    assert_eq!(state.wanted().code, Some(0x0FF8));
    state.take_sample(stopped_at(0x1001), Instant::now());
    assert_eq!(state.wanted().code, None, "a new stop is shown");
}

#[test]
fn changed_registers_are_those_that_differ_from_the_stop_before() {
    let mut state = state(stopped_at(0x1000));
    assert!(!state.is_changed("RIP"), "there was no stop before");
    state.take_sample(running(), Instant::now());
    state.take_sample(stopped_at(0x1000), Instant::now());
    state.take_sample(stopped_at(0x1001), Instant::now());
    // The same stop once more.
    state.take_sample(stopped_at(0x1001), Instant::now());
    assert!(state.is_changed("RIP") && !state.is_changed("RAX") && !state.is_changed("CR0"));
    state.take_sample(running(), Instant::now());
    assert!(!state.is_changed("RIP"), "of a running guest all would be marked");
}

#[test]
fn enter_follows_pointers_and_backspace_goes_back() {
    let mut state = state(stopped_at(0x1000));
    state.sample.code.lines[20].target = Some(0x1005);
    keys(&mut state, "\n");
    assert_eq!(state.wanted().code, Some(0x1005), "a jump");
    // RIP, RFLAGS, RAX.
    keys(&mut state, "\tvv\n");
    assert_eq!((state.choice.focus, state.wanted().memory), (Pane::Memory, Some(0x1234)));
    state.key(PressedKey::BackTab);
    keys(&mut state, "v");
    state.sample.stack.middle = 1;
    keys(&mut state, "\n");
    assert_eq!((state.choice.focus, state.wanted().memory), (Pane::Memory, Some(0x8009)));
    state.key(PressedKey::Backspace);
    assert_eq!(state.wanted().memory, Some(0x1234));
    state.key(PressedKey::Backspace);
    assert_eq!(state.wanted().memory, Some(0x1234), "there is nothing before it");
}

#[test]
fn the_cursor_stays_among_the_registers() {
    let mut state = state(stopped_at(0x1000));
    keys(&mut state, "\t");
    for (key, at) in [
        (PressedKey::Up, 0),
        (PressedKey::Down, 1),
        (PressedKey::Down, 2),
        (PressedKey::Right, 3),
        (PressedKey::Down, 5),
        (PressedKey::Left, 4),
        (PressedKey::Up, 2),
        (PressedKey::Up, 1),
        (PressedKey::Up, 0),
        (PressedKey::Left, 0),
    ] {
        state.key(key);
        assert_eq!(state.register, at, "{key:?}");
    }
    (0..40).for_each(|_| _ = state.key(PressedKey::Down));
    assert!(state.register < 18);
}

#[test]
fn an_expression_is_typed_and_its_address_shown() {
    let mut state = state(stopped_at(0x1000));
    assert_eq!(keys(&mut state, "gmaix"), [], "letters are part of it");
    state.key(PressedKey::Backspace);
    assert_eq!(keys(&mut state, "n\n"), order(Order::Find("main".to_owned())));
    state.take_news(News::Found(0x4000), Instant::now());
    assert_eq!(state.wanted().code, Some(0x4000));
    keys(&mut state, "g12");
    state.key(PressedKey::Escape);
    assert_eq!((keys(&mut state, "g\n"), state.prompt.as_ref()), (vec![], None), "nothing is typed");
    state.choice.focus = Pane::Memory;
    state.take_news(News::Found(0x5000), Instant::now());
    assert_eq!(state.wanted().memory, Some(0x5000));
}

#[test]
fn after_the_end_any_other_key_leaves() {
    let mut state = state(stopped_at(0x1000));
    state.end = Some("the guest crashed".to_owned());
    state.take_news(News::Sample(Box::new(running())), Instant::now());
    assert!(state.is_stopped(), "what was read before the end is not shown any more");
    assert_eq!(keys(&mut state, "\t^z?"), []);
    assert_eq!(keys(&mut state, "q"), [], "it ends the help");
    assert_eq!(keys(&mut state, "s"), [KeyEffect::Leave]);
    assert_eq!(state.key(PressedKey::Ctrl('c')), [KeyEffect::Leave]);
}

#[test]
fn any_keys_on_any_sample_leave_the_state_usable() {
    for sample in [Sample::default(), running(), stopped_at(0x1000)] {
        let mut state = state(sample);
        let all = [
            PressedKey::Up,
            PressedKey::Down,
            PressedKey::PageUp,
            PressedKey::Home,
            PressedKey::Left,
            PressedKey::Right,
            PressedKey::Enter,
            PressedKey::Backspace,
        ];
        for pane in Pane::ALL {
            state.choice.focus = pane;
            all.into_iter().chain(all.into_iter().rev()).for_each(|key| _ = state.key(key));
        }
        assert_eq!(keys(&mut state, "q"), [KeyEffect::Quit]);
    }
}

#[test]
fn rates_are_measured_over_a_second() {
    let start = Instant::now();
    let mut state = DashboardState::default();
    let sample = |port_reads| {
        let mut exits = ExitCounts::default();
        exits.count_port_reads(port_reads);
        Sample { exits, ..running() }
    };
    state.take_sample(sample(100), start);
    assert_eq!(state.rates[2], Rate { name: "port reads", count: 100, per_second: 0 });
    state.take_sample(sample(300), start + Duration::from_secs(2));
    assert_eq!(state.rates[2], Rate { name: "port reads", count: 300, per_second: 100 });
    state.take_sample(sample(301), start + Duration::from_millis(2100));
    assert_eq!(state.rates[2], Rate { name: "port reads", count: 301, per_second: 100 });
}
