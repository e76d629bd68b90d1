//! Chips that are saved in the middle of an operation: the other board answers what follows as the first
//! one does, and as one that knows nothing of what came before would not.

use Step::*;

use super::*;
use crate::devices::keyboard::Key;

/// What happens to a board.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The guest writes a byte to a port.
    Out(u16, u8),
    /// The guest reads a byte from a port.
    In(u16),
    /// The guest writes a register of the local APIC.
    Store(u64, u32),
    /// The guest reads a register of the local APIC.
    Load(u64),
    /// A key goes down.
    Down(Key),
    /// A key comes up.
    Up(Key),
    /// A byte arrives at COM1.
    Arrives(u8),
}

const DATA: u16 = 0x60;
const COMMAND: u16 = 0x64;
const APIC: u64 = 0xFEE0_0000;

/// An operation that is cut in two.
struct Case {
    about: &'static str,
    before: &'static [Step],
    after: &'static [Step],
}

const fn case(about: &'static str, before: &'static [Step], after: &'static [Step]) -> Case {
    Case { about, before, after }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("a new configuration byte is announced", &[Out(COMMAND, 0x60)], &[Out(DATA, 0x14), Out(COMMAND, 0x20), In(DATA)]),
    case("a byte of the controller's RAM is announced", &[Out(COMMAND, 0x65)], &[Out(DATA, 0x99), Out(COMMAND, 0x25), In(DATA)]),
    case("the output port is about to be written", &[Out(COMMAND, 0xD1)], &[Out(DATA, 0xDD), Out(COMMAND, 0xD0), In(DATA)]),
    case("the next byte is a reset", &[Out(COMMAND, 0xD1)], &[Out(DATA, 0xFE)]),
    case("a byte is to come back as if from the keyboard", &[Out(COMMAND, 0xD2)], &[Out(DATA, 0x3C), In(COMMAND), In(DATA)]),
    case("a byte is to come back as if from the mouse", &[Out(COMMAND, 0xD3)], &[Out(DATA, 0x3C), In(COMMAND), In(DATA)]),
    case("a byte is for the mouse", &[Out(COMMAND, 0xD4)], &[Out(DATA, 0xF4), In(COMMAND), In(DATA)]),
    case("half of the mouse's status has been read", &[Out(COMMAND, 0xD4), Out(DATA, 0xE9), In(DATA), In(DATA)], &[In(DATA), In(DATA), In(COMMAND)]),
    case("a sample rate is announced", &[Out(COMMAND, 0xD4), Out(DATA, 0xF3), In(DATA), Out(COMMAND, 0xD4)], &[Out(DATA, 40), In(DATA), Out(COMMAND, 0xD4), Out(DATA, 0xE9), In(DATA), In(DATA), In(DATA), In(DATA)]),
    case("an answer has not been read", &[Out(COMMAND, 0xAA)], &[In(COMMAND), In(DATA), In(COMMAND)]),
    case("the last write was a command", &[Out(COMMAND, 0xAE)], &[In(COMMAND)]),
    case("the keyboard is cut off with a key in it", &[Out(COMMAND, 0xAD), Down(Key::A)], &[In(COMMAND), Out(COMMAND, 0xAE), In(COMMAND), In(DATA)]),
    case("a key has raised the interrupt", &[Out(COMMAND, 0x60), Out(DATA, 0x45), Down(Key::A)], &[In(DATA), Up(Key::A), In(DATA)]),
    case("LEDs are announced", &[Out(DATA, 0xED), In(DATA)], &[Out(DATA, 7), In(DATA)]),
    case("a scan code set is announced", &[Out(DATA, 0xF0), In(DATA)], &[Out(DATA, 0), In(DATA), In(DATA)]),
    case("a typing rate is announced", &[Out(DATA, 0xF3), In(DATA)], &[Out(DATA, 0), In(DATA)]),
    case("the keyboard has been disabled", &[Out(DATA, 0xF5), In(DATA)], &[Down(Key::A), In(COMMAND), In(DATA)]),
    case("half of its identity has been read", &[Out(DATA, 0xF2), In(DATA), In(DATA)], &[In(DATA), In(COMMAND)]),
    case("the keyboard has been switched to set 1", &[Out(DATA, 0xF0), In(DATA), Out(DATA, 1), In(DATA)], &[Down(Key::A), In(DATA)]),
    case("half an extended code has been read", &[Down(Key::Right), In(DATA)], &[In(DATA), In(COMMAND)]),
    case("half of Pause has been read", &[Down(Key::Pause), In(DATA), In(DATA)], &[In(DATA), In(DATA), In(DATA), In(DATA), In(COMMAND)]),
    case("half a release in set 2 has been read", &[Out(COMMAND, 0x60), Out(DATA, 4), Up(Key::A), In(DATA)], &[In(DATA), In(COMMAND)]),
    case("Control is held, which makes Pause Break", &[Down(Key::LeftControl), In(DATA)], &[Down(Key::Pause), In(DATA), In(DATA), In(DATA), In(DATA)]),
    case("Print Screen went down with Alt", &[Down(Key::LeftAlt), In(DATA), Down(Key::PrintScreen), In(DATA), Up(Key::LeftAlt), In(DATA)], &[Up(Key::PrintScreen), In(DATA), In(DATA), In(DATA), In(DATA)]),
    case("more was typed than the keyboard holds", &[
        Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A),
        Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A), Down(Key::A),
    ], &[
        In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA),
        In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(DATA), In(COMMAND),
    ]),
    case("the divisor latch is open", &[Out(0x3FB, 0x80), Out(0x3F8, 0x0C)], &[In(0x3F8), Out(0x3F8, 1), Out(0x3FB, 3), Out(0x3F8, b'x')]),
    case("a port is in loopback with a byte under way", &[Out(0x3FC, 0x10), Out(0x3F8, b'x')], &[In(0x3FD), Out(0x3F8, b'y'), In(0x3F8), In(0x3F8), In(0x3FE)]),
    case("the receiver's FIFO is half full", &[
        Out(0x3FA, 0xC1), Arrives(b'a'), Arrives(b'b'), Arrives(b'c'), Arrives(b'd'), Arrives(b'e'), Arrives(b'f'), Arrives(b'g'), Arrives(b'h'),
    ], &[In(0x3FA), In(0x3FD), In(0x3F8), Arrives(b'i'), In(0x3F8), In(0x3F8), In(0x3F8), In(0x3F8), In(0x3F8), In(0x3F8), In(0x3F8), In(0x3F8), In(0x3FD)]),
    case("a byte lies in the receiver without a FIFO", &[Arrives(b'a')], &[Arrives(b'b'), In(0x3F8), In(0x3FD)]),
    case("a received byte has raised the interrupt", &[Out(0x3FC, 8), Out(0x3F9, 1), Arrives(b'a')], &[In(0x3FA), In(0x3F8), In(0x3FA)]),
    case("the transmitter's interrupt is pending", &[Out(0x3FC, 8), Out(0x3F9, 2), Out(0x3F8, b'a')], &[In(0x3FA), In(0x3FA), Out(0x3F8, b'b'), In(0x3FA)]),
    case("the transmitter's interrupt was read and is gone", &[Out(0x3FC, 8), Out(0x3F9, 2), Out(0x3F8, b'a'), In(0x3FA)], &[In(0x3FA), Arrives(b'x'), In(0x3F9)]),
    case("the scratch register is in use", &[Out(0x3FF, 0x5A)], &[In(0x3FF)]),
    case("a CRT controller register is selected", &[Out(0x3D4, 0x0F)], &[Out(0x3D5, 0x21), In(0x3D4), In(0x3D5)]),
    case("a sequencer register is selected", &[Out(0x3C4, 1)], &[Out(0x3C5, 0x20), In(0x3C5)]),
    case("a graphics register is selected", &[Out(0x3CE, 5)], &[Out(0x3CF, 0x13), In(0x3CE), In(0x3CF)]),
    case("an attribute has an address and no data", &[In(0x3DA), Out(0x3C0, 0x30)], &[Out(0x3C0, 4), In(0x3C1), In(0x3DA)]),
    case("an attribute's data was read, not written", &[In(0x3DA), Out(0x3C0, 0x30), In(0x3C1), In(0x3DA)], &[Out(0x3C0, 0x31), In(0x3C0), In(0x3C1), In(0x3DA)]),
    case("a colour has red only", &[Out(0x3C8, 5), Out(0x3C9, 63)], &[Out(0x3C9, 1), Out(0x3C9, 2), Out(0x3C7, 5), In(0x3C9), In(0x3C9), In(0x3C9)]),
    case("a colour has been read up to red", &[Out(0x3C7, 1), In(0x3C9)], &[In(0x3C7), In(0x3C9), In(0x3C9), In(0x3C8)]),
    case("the screen is scrolled and the cursor is away", &[Out(0x3D4, 0x0D), Out(0x3D5, 80), Out(0x3D4, 0x0A), Out(0x3D5, 0x20)], &[In(0x3D5)]),
    case("the CRT controller is at its monochrome ports", &[Out(0x3C2, 0x66)], &[In(0x3DA), In(0x3BA), Out(0x3B4, 0x0F), In(0x3B4)]),
    case("a progress code was written", &[Out(0x80, 0x42)], &[In(0x80)]),
    case("the reset bit is high, so that it cannot rise", &[Out(0xCF9, 0x06)], &[In(0xCF9), Out(0xCF9, 0x06), Out(0xCF9, 2), Out(0xCF9, 6)]),
    case("port A's reset bit is high", &[Out(0x92, 3)], &[In(0x92), Out(0x92, 3), Out(0x92, 2), Out(0x92, 3)]),
    case("the APIC has a priority and half an interrupt command", &[Store(APIC + 0x80, 0x20), Store(APIC + 0x310, 0x0100_0000)], &[Load(APIC + 0x80), Load(APIC + 0x310)]),
];

/// What shows of a step: what the guest reads, what leaves the board, interrupt lines, the picture.
type Observation = (u64, Effect, bool, bool, String);

fn perform(board: &mut Board, steps: &[Step]) -> Vec<Observation> {
    let step = |step: &Step| {
        let mut effect = Effect::default();
        let mut value = 0;
        match *step {
            Out(port, byte) => effect = board.port_out(port, 1, u32::from(byte)),
            In(port) => {
                let (read, other) = board.port_in(port, 1);
                (value, effect) = (u64::from(read), other);
            }
            Store(address, word) => effect = board.memory_write(address, 4, u64::from(word)),
            Load(address) => (value, effect) = board.memory_read(address, 4),
            Down(key) => board.key(KeyEvent { key, down: true }),
            Up(key) => board.key(KeyEvent { key, down: false }),
            Arrives(byte) => _ = board.receive(0, byte),
        }
        let picture = format!("{:?} {:?}", board.vga().view(), board.vga().colours());
        (value, effect, board.i8042().line(), board.serial(0).line(), picture)
    };
    steps.iter().map(step).collect()
}

#[test]
fn a_device_saved_in_mid_operation_finishes_it_after_a_restore() {
    let mut idle = Vec::new();
    for Case { about, before, after } in CASES {
        let mut first = Board::default();
        perform(&mut first, before);
        let saved = first.save();
        let mut second = Board::restored(&saved).unwrap();
        assert_eq!(second.save(), saved, "{about}");
        let expected = perform(&mut first, after);
        assert_eq!(perform(&mut second, after), expected, "{about}");
        assert_eq!(second.save(), first.save(), "{about}");
        if perform(&mut Board::default(), after) == expected {
            idle.push(about);
        }
        // And wherever the rest is cut again.
        for cut in 0..after.len() {
            let mut third = Board::restored(&saved).unwrap();
            let mut shown = perform(&mut third, &after[..cut]);
            let mut third = Board::restored(&third.save()).unwrap();
            shown.extend(perform(&mut third, &after[cut..]));
            assert_eq!(shown, expected, "{about}, cut before {:?}", after[cut]);
        }
    }
    assert!(idle.is_empty(), "what comes before makes no difference: {idle:?}");
}
