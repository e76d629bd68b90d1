use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::super::test_kernel::{CODE_OFFSET, TestKernel};
use super::*;
use crate::boot::BytesImage;

/// A kernel without another entry point, as iPXE's.
fn kernel() -> TestKernel {
    TestKernel::new().version(0x207).put(0x214, &[0; 4]).put(0x3F0, b"setup")
}

fn load_it(kernel: TestKernel, memory: &GuestMemory, command_line: &str) -> Result<LoadedGuest, BootError> {
    let options = BootOptions { command_line: command_line.to_owned(), ..BootOptions::default() };
    load(&BytesImage::new("ipxe.lkrn", &kernel.build()), memory, &options)
}

fn bytes<const N: usize>(memory: &GuestMemory, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    memory.read(at, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_kernel_with_another_entry_point_is_not_started_in_real_mode_unless_the_user_wants_it() {
    let kind = |kernel: TestKernel| {
        Protocol::find(&BytesImage::new("kernel", &kernel.build()), None).unwrap().protocol.kind
    };
    assert_eq!(kind(kernel()), BootKind::Linux16);
    assert_eq!(kind(TestKernel::new()), BootKind::Linux);
    assert_eq!(kind(TestKernel::new().version(0x207)), BootKind::Linux);
    let memory = GuestMemory::new(8 << 20).unwrap();
    load_it(TestKernel::new(), &memory, "").unwrap();
}

#[test]
fn the_setup_code_is_in_low_memory_and_the_kernel_above_1_mib() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let guest = load_it(kernel(), &memory, "shell").unwrap();
    assert_eq!(guest.registers.next_instruction(), 0xF_FFF0, "the reset vector");
    assert_eq!(&bytes(&memory, 0x9_03F0), b"setup");
    assert_eq!(&bytes(&memory, 0x10_0000), b"32-bit");
    let [loader, flags] = [0x210, 0x211].map(|at| bytes::<1>(&memory, 0x9_0000 + at)[0]);
    assert_eq!((loader, flags), (0xFF, 0x81), "heap may be used");
    assert_eq!(bytes(&memory, 0x9_0224), 0xDE00u16.to_le_bytes(), "its end");
    assert_eq!(bytes(&memory, 0x9_0228), 0x9_E000u32.to_le_bytes(), "cmd_line_ptr");
    assert_eq!(&bytes(&memory, 0x9_E000), b"shell\0");
    let ends: Vec<u64> = guest.layout.iter().map(|region| region.range.end).collect();
    let next = guest.layout.iter().skip(1);
    assert!(next.zip(ends).all(|(next, end)| end <= next.range.start), "{:?}", guest.layout);
}

#[test]
fn fields_that_an_old_kernel_does_not_have_stay_as_they_are() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let code = [0x5A; 8];
    load_it(kernel().version(0x200).put(0x224, &code), &memory, "old").unwrap();
    assert_eq!(bytes(&memory, 0x9_0224), code);
    assert_eq!(bytes(&memory, 0x9_0020), [0x3F, 0xA3, 0x00, 0xE0], "where the command line is");
    assert_eq!(bytes(&memory, 0x9_0212), 0xE004u16.to_le_bytes(), "what it moves");
}

#[test]
fn int_19h_starts_the_kernel_once() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    load_it(kernel(), &memory, "").unwrap();
    assert_eq!(bytes(&memory, 0x64), [0x00, 0x7C, 0, 0]);
    let code = starter();
    let mut decoder = Decoder::with_ip(16, &code, STARTER.into(), DecoderOptions::NONE);
    let instructions: Vec<_> = decoder.iter().collect();
    assert_eq!(instructions.len(), 11);
    let stores: Vec<_> =
        instructions[1..3].iter().map(|it| (it.memory_displacement32(), it.immediate16())).collect();
    assert_eq!(stores, [(0x64, 0xE6F2), (0x66, 0xF000)], "the BIOS's own");
    let int_19 = rom::VECTORS.iter().find(|(vector, _)| *vector == 0x19);
    assert_eq!(int_19, Some(&(0x19, BIOS_INT_19)));
    let jump = instructions.last().unwrap();
    assert_eq!(jump.mnemonic(), Mnemonic::Jmp);
    assert_eq!((jump.far_branch_selector(), jump.far_branch16()), (0x9020, 0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let memory = GuestMemory::new(8 << 20).unwrap();
    let refused = |kernel, line: &str, expected: &str| {
        let error = load_it(kernel, &memory, line).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(kernel(), &"x".repeat(101), "accepts 100");
    let many = kernel().put(0x238, &u32::MAX.to_le_bytes());
    refused(many, &"x".repeat(8000), "accepts 7167");
    let long = kernel().put(0x1F1, &[64]).followed_by(&[0; 65 * 512 - CODE_OFFSET]);
    refused(long, "", "setup_sects in the setup header is 0x40 where at most 63 is expected");
    let elf = load(&BytesImage::new("a.elf", &[0; 600]), &memory, &BootOptions::default());
    assert!(elf.unwrap_err().to_string().contains("HdrS"));
}
