use super::*;
use crate::inspect::testing::long_mode;

/// Code in which a file with debug information has what these functions say.
#[derive(Default)]
struct Code {
    symbols: bool,
    functions: Vec<SourceFunction>,
    callers: Vec<(u64, Caller)>,
}

impl CodeInformation for Code {
    fn symbol_at(&self, address: u64) -> Option<Symbol> {
        self.symbols.then(|| Symbol { name: "code".to_owned(), offset: address & 0xFFF })
    }

    fn functions_at(&self, _: u64) -> Vec<SourceFunction> {
        self.functions.clone()
    }

    fn caller(&self, address: u64, _: &FrameRegisters, _: &dyn Fn(u64, u8) -> Option<u64>) -> Option<Caller> {
        self.callers.iter().find(|(at, _)| *at == address).map(|(_, caller)| caller.clone())
    }
}

fn with_symbols() -> Code {
    Code { symbols: true, ..Code::default() }
}

fn addresses(code: &Code, memory: &GuestMemory, registers: &Registers) -> Vec<u64> {
    backtrace(code, memory, registers).iter().map(|frame| frame.address).collect()
}

/// The frames after the first one.
fn callers(memory: &GuestMemory, registers: &Registers) -> Vec<u64> {
    addresses(&with_symbols(), memory, registers)[1..].to_vec()
}

#[test]
fn frame_pointers_are_followed_until_they_lead_nowhere() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    for (frame, caller, address) in
        [(0x8000, 0x8020, 0x5000), (0x8020, 0x8040, 0x5100), (0x8040, 0x8000, 0x5200)]
    {
        memory.write_u64(frame, caller).unwrap();
        memory.write_u64(frame + 8, address).unwrap();
    }
    registers.general.rbp = 0x8000;
    assert_eq!(callers(&memory, &registers), [0x5000, 0x5100, 0x5200], "a loop ends");
    memory.write_u64(0x8048, 1 << 40).unwrap();
    assert_eq!(callers(&memory, &registers), [0x5000, 0x5100], "code is mapped");
    for rbp in [0, 0x9000, u64::MAX, u64::MAX - 7, 1 << 47] {
        registers.general.rbp = rbp;
        assert!(callers(&memory, &registers).is_empty(), "{rbp:#x}");
    }
}

#[test]
fn a_function_without_a_frame_of_its_own_has_its_caller_on_the_stack() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    for (at, value) in [(0x7000, 0x5300), (0x7008, 0x5400), (0x8000, 0), (0x8008, 0x5000)] {
        memory.write_u64(at, value).unwrap();
    }
    (registers.general.rbp, registers.general.rsp) = (0x8000, 0x7000);
    for (code, at, expected) in [
        // push rbp; mov rbp, rsp
        (&[0x55, 0x48, 0x89, 0xE5][..], 0, &[0x5300, 0x5000][..]),
        (&[0x55, 0x48, 0x89, 0xE5], 1, &[0x5400, 0x5000]),
        (&[0x55, 0x48, 0x8B, 0xEC], 1, &[0x5400, 0x5000]),
        (&[0xF3, 0x0F, 0x1E, 0xFA, 0x55], 0, &[0x5300, 0x5000]),
        (&[0xC3], 0, &[0x5300, 0x5000]),
        // mov rbp, rsp after another instruction, and anything else.
        (&[0x90, 0x48, 0x89, 0xE5], 1, &[0x5000]),
        (&[0x0F, 0x0B], 0, &[0x5000]),
    ] {
        memory.write(0x9000, code).unwrap();
        registers.general.rip = 0x9000 + at;
        assert_eq!(callers(&memory, &registers), expected, "{code:x?}");
    }
    memory.write(0x9000, &[0xC3]).unwrap();
    memory.write_u64(0x7000, 1 << 40).unwrap();
    registers.general.rip = 0x9000;
    assert_eq!(callers(&memory, &registers), [0x5000], "code is mapped");
}

#[test]
fn a_jump_to_what_is_no_code_has_its_caller_on_top_of_the_stack() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    // call rax
    memory.write(0x5000, &[0xFF, 0xD0]).unwrap();
    memory.write_u64(0x8000, 0x5002).unwrap();
    (registers.general.rsp, registers.general.rip) = (0x8000, 0x4000_0000);
    assert_eq!(addresses(&Code::default(), &memory, &registers), [0x4000_0000, 0x5002]);
    memory.write_u64(0x8000, 0x5001).unwrap();
    assert_eq!(addresses(&Code::default(), &memory, &registers), [0x4000_0000], "not behind a call");
}

#[test]
fn a_handler_in_assembly_leads_to_what_it_has_interrupted() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    // pop rbp; add rsp, 8; iretq
    memory.write(0x6000, &[0x5D, 0x48, 0x83, 0xC4, 8, 0x48, 0xCF]).unwrap();
    let frame = [0x7700, 0, 0x5000, 8, 0x202, 0x8100, 0x10];
    for (at, word) in (0x8000..).step_by(8).zip(frame) {
        memory.write_u64(at, word).unwrap();
    }
    memory.write_u64(0x7700, 0).unwrap();
    memory.write_u64(0x7708, 0x5555).unwrap();
    (registers.general.rsp, registers.general.rip) = (0x8000, 0x6000);
    let found = backtrace(&with_symbols(), &memory, &registers);
    let found: Vec<_> = found.iter().map(|frame| (frame.address, frame.interrupted)).collect();
    assert_eq!(found, [(0x6000, false), (0x5000, true), (0x5555, false)]);
    // call +0; mov rsp, rax; iretq: the stack pointer is what the call returns.
    memory.write(0x6000, &[0xE8, 0, 0, 0, 0, 0x48, 0x89, 0xC4, 0x48, 0xCF]).unwrap();
    assert_eq!(addresses(&with_symbols(), &memory, &registers), [0x6000, 0x5000]);
}

#[test]
fn inlined_functions_are_frames_of_their_own() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let registers = Registers { general: Default::default(), ..long_mode(&memory) };
    let function = |name: &str, line| SourceFunction {
        name: Some(name.to_owned()),
        place: Some(SourcePlace { file: "kernel.c".to_owned(), line }),
    };
    let functions = vec![function("inner", 3), function("outer", 41)];
    let frames = backtrace(&Code { functions, ..with_symbols() }, &memory, &registers);
    let lines: Vec<String> = frames.iter().map(Frame::to_string).collect();
    assert_eq!(lines, ["0x0 (inner, inlined) at kernel.c:3", "0x0 (code) at kernel.c:41"]);
}

#[test]
fn call_frame_information_goes_before_the_frame_pointer_and_is_bounded() {
    let memory = GuestMemory::new(1 << 20).unwrap();
    let mut registers = long_mode(&memory);
    (registers.general.rip, registers.general.rsp, registers.general.rbp) = (0x5000, 0x8000, 0x9000);
    memory.write_u64(0x9008, 0x5500).unwrap();
    let mut after = frame_registers(&registers);
    after.general[7] = Some(0x8010);
    let caller = |address| Caller { address, registers: after.clone(), was_interrupted: false };
    let code = Code { callers: vec![(0x5000, caller(Some(0x5100)))], ..with_symbols() };
    assert_eq!(addresses(&code, &memory, &registers), [0x5000, 0x5100, 0x5500], "mixed frame by frame");
    let code = Code { callers: vec![(0x5000, caller(None))], ..with_symbols() };
    assert_eq!(addresses(&code, &memory, &registers), [0x5000], "nothing has called it");
    after.general[7] = Some(0x8000);
    let caller = Caller { address: Some(0x5100), registers: after.clone(), was_interrupted: false };
    let code = Code { callers: vec![(0x5000, caller)], ..with_symbols() };
    assert_eq!(addresses(&code, &memory, &registers), [0x5000], "a stack that does not go upwards");
    let caller = Caller { address: Some(0x5000), registers: after, was_interrupted: true };
    let code = Code { callers: vec![(0x5000, caller)], ..with_symbols() };
    assert_eq!(addresses(&code, &memory, &registers).len(), MOST_FRAMES, "a loop ends");
}
