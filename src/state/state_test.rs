//! Machines that are saved at arbitrary points and continue identically in another machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::container::{self, Section};
use super::*;
use crate::boot::BytesImage;
use crate::devices::keyboard::KeyEvent;
use crate::devices::keyboard::layouts::strokes_for;
use crate::fuzzing::Seeds;
use crate::kvm::GuestDebug;
use crate::machine::inputs::{Input, Inputs, Keystroke};
use crate::machine::output::{Doorbell, OutputQueue, OutputReader, output_queue};
use crate::machine::testing::{ENTRY, machine};
use crate::machine::{CpuId, Event, Machine, Outcome, PendingAction};
use crate::memory::GuestMemory;
use crate::settings::{ClockMode, DEFAULT_DEVICE, IrqchipMode, KeyTarget, LayoutName, Schedule};

#[path = "mid_instruction_test.rs"]
mod mid_instruction;

/// Writes its counter, which counts down from 6, to a page of its own, sends four letters by `rep outsb`,
/// and finally halts.
const GUEST: [u8; 58] = [
    0x48, 0xC7, 0xC7, 0x06, 0, 0, 0, // mov $6, %rdi
    0x48, 0xC7, 0xC3, 0, 0, 0x30, 0, // mov $0x300000, %rbx
    0x66, 0xBA, 0xE9, 0x00, // mov $0xe9, %dx
    // next:
    0x48, 0x89, 0x3B, // mov %rdi, (%rbx)
    0x48, 0x81, 0xC3, 0, 0x10, 0, 0, // add $0x1000, %rbx
    0x48, 0x8D, 0x35, 0x12, 0, 0, 0, // lea letters(%rip), %rsi
    0x48, 0xC7, 0xC1, 0x04, 0, 0, 0, // mov $4, %rcx
    0xF3, 0x6E, // rep outsb
    0x48, 0xFF, 0xCF, // dec %rdi
    0x75, 0xE1, // jne next
    0x48, 0x89, 0xD8, // mov %rbx, %rax
    0xF4, // hlt
    // letters:
    b'a', b'b', b'c', b'd', 0,
];

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        // Tests that run at the same time may use the same name.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kvm-state-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn user_interface() -> UserInterface {
    UserInterface {
        device: DEFAULT_DEVICE.into(),
        keys: KeyTarget::Auto,
        layout: LayoutName::Us,
        terminal: Some(0),
        no_reboot: false,
        schedule: Schedule::Parallel,
        clock: ClockMode::Host,
        irqchip: IrqchipMode::User,
        magic_break: false,
    }
}

fn ends() -> (OutputQueue, OutputReader) {
    output_queue(Doorbell::new().unwrap())
}

fn step(machine: &mut Machine, count: usize) {
    machine
        .cpu_mut(CpuId::BOOT)
        .set_guest_debug(GuestDebug { single_step: true, ..GuestDebug::default() })
        .unwrap();
    for _ in 0..count {
        let rip = machine.cpu(CpuId::BOOT).general_registers().unwrap().rip;
        assert!(machine.step_instruction(CpuId::BOOT, rip, false).is_none());
    }
    machine.cpu_mut(CpuId::BOOT).set_guest_debug(GuestDebug::default()).unwrap();
}

/// Runs a guest to its end. Returns RAX and the contents of the pages it has written.
fn finish(machine: &mut Machine) -> (u64, Vec<u64>) {
    let Event::End(Outcome::Halted { result, .. }) = machine.run_to_event() else { panic!("no end") };
    let pages = (0..8).map(|page| machine.memory().read_u64(0x30_0000 + page * 0x1000).unwrap());
    (result, pages.collect())
}

fn sent(ends: &mut OutputReader) -> String {
    let mut bytes = Vec::new();
    ends.receive(1000, |_, byte| bytes.push(byte));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_guest_continues_identically_in_another_machine_from_any_save_point() {
    let folder = Folder::new("future");
    let file = folder.file("a.kvmstate");
    let Some(mut whole) = machine(4 << 20, &GUEST) else { return };
    let expected = finish(&mut whole);
    assert_eq!(expected, (0x30_6000, vec![6, 5, 4, 3, 2, 1, 0, 0]));
    for steps in [0, 4, 8, 9, 20, 40] {
        let Some(mut first) = machine(4 << 20, &GUEST) else { return };
        step(&mut first, steps);
        let saved = save(&mut first, None, &file).unwrap();
        assert!(saved.compressed && saved.guest_file && saved.length < 64 << 10, "{saved:?}");
        let opened = SnapshotFile::open(&file).unwrap();
        opened.verify().unwrap();
        let (outputs, mut other_ends) = ends();
        let mut second = opened.into_machine(user_interface(), Inputs::new(), outputs).unwrap();
        assert_eq!(finish(&mut second), expected, "after {steps} steps");
        let rounds = if steps < 8 { 6 } else { 0 };
        let all = sent(&mut other_ends);
        assert!(all.ends_with("abcd") && all.len() >= 4 * rounds, "{all}");
        // The first machine continues unaffected.
        assert_eq!(finish(&mut first), expected);
        // And restore an earlier state in the same machine.
        restore(&mut first, &file).unwrap();
        assert_eq!(finish(&mut first), expected);
    }
}

#[test]
fn pending_keystrokes_and_vector_registers_are_restored() {
    let folder = Folder::new("typed");
    let file = folder.file("a.kvmstate");
    let Some(mut first) = machine(4 << 20, &GUEST) else { return };
    let mut vectors = first.cpu(CpuId::BOOT).vcpu().extended_registers().unwrap();
    vectors[160..416].fill(0x5A);
    vectors[512] |= 2;
    // The upper halves of YMM registers, if the guest supports them.
    let has_ymm = vectors[520..528] == [0; 8] && std::is_x86_feature_detected!("avx");
    if has_ymm {
        vectors[576..832].fill(0x3C);
        vectors[512] |= 4;
    }
    first.cpu(CpuId::BOOT).vcpu().set_extended_registers(&vectors).unwrap();
    first.inputs().push(Input::Keystroke(Keystroke { bytes: b"q".to_vec(), keys: Vec::new() }));
    first.inputs().push(Input::Serial(2, b"xyz".to_vec()));
    first.inputs().push(Input::Attention);
    assert!(matches!(first.wait(), Event::Attention));
    save(&mut first, None, &file).unwrap();
    let inputs = Inputs::new();
    let mut second =
        SnapshotFile::open(&file).unwrap().into_machine(user_interface(), inputs.clone(), ends().0).unwrap();
    let arrived = second.cpu(CpuId::BOOT).vcpu().extended_registers().unwrap();
    assert_eq!(arrived[160..416], vectors[160..416]);
    assert!(!has_ymm || arrived[576..832] == vectors[576..832], "YMM");
    // One byte has already reached the port's receiver.
    assert_eq!((inputs.keystroke_backlog(), inputs.serial_backlog(2)), (1, 2));
    let (one, two) = (first.state().unwrap(), second.state().unwrap());
    assert_eq!(
        (one.devices, one.input_buffer, one.coalescing),
        (two.devices, two.input_buffer, two.coalescing)
    );
}

#[test]
fn much_memory_is_mapped_and_the_file_stays_unchanged() {
    let folder = Folder::new("mapped");
    let file = folder.file("a.kvmstate");
    let Some(mut first) = machine(64 << 20, &GUEST) else { return };
    // Every third page, so that there are holes.
    for page in (0x400..0x3000).step_by(3) {
        first.memory().write_u64(page * 4096, page).unwrap();
    }
    let saved = save(&mut first, None, &file).unwrap();
    assert!(!saved.compressed, "{saved:?}");
    let before = std::fs::read(&file).unwrap();
    let mut second =
        SnapshotFile::open(&file).unwrap().into_machine(user_interface(), Inputs::new(), ends().0).unwrap();
    assert_eq!(second.memory().read_u64(0x406 * 4096).unwrap(), 0x406);
    assert_eq!(second.memory().read_u64(0x407 * 4096).unwrap(), 0);
    assert_eq!(finish(&mut second).0, 0x30_6000);
    // Saving over the file that the memory is mapped from does not change that memory.
    save(&mut second, None, &file).unwrap();
    assert_eq!(second.memory().read_u64(0x2FFE * 4096).unwrap(), 0x2FFE);
    let third = SnapshotFile::open(&file).unwrap();
    third.verify().unwrap();
    let third = third.into_machine(user_interface(), Inputs::new(), ends().0).unwrap();
    for page in (0x400..0x3000).step_by(3) {
        assert_eq!(third.memory().read_u64(page * 4096).unwrap(), page);
    }
    assert_ne!(std::fs::read(&file).unwrap(), before);
    // A reset starts from the stored file, in empty memory.
    third.inputs().push(Input::Reset);
    let mut third = third;
    assert!(matches!(third.run_to_event(), Event::Reset));
    assert_eq!(third.memory().read_u64(0x406 * 4096).unwrap(), 0);
    assert_eq!(third.cpu(CpuId::BOOT).general_registers().unwrap().rip, ENTRY);
    assert_eq!(finish(&mut third).0, 0x30_6000);
}

#[test]
fn pending_ends_and_resets_are_performed_after_a_restore() {
    let folder = Folder::new("due");
    let file = folder.file("a.kvmstate");
    let Some(mut first) = machine(4 << 20, &GUEST) else { return };
    let end = finish(&mut first);
    for (due, expected) in [(PendingAction::Halted, end.0), (PendingAction::Reset, end.0)] {
        save(&mut first, Some(due), &file).unwrap();
        let mut again = SnapshotFile::open(&file)
            .unwrap()
            .into_machine(user_interface(), Inputs::new(), ends().0)
            .unwrap();
        let Outcome::Halted { result, .. } = again.run() else { panic!("{due:?}") };
        assert_eq!(result, expected);
    }
    save(&mut first, Some(PendingAction::Exit(7)), &file).unwrap();
    let mut again =
        SnapshotFile::open(&file).unwrap().into_machine(user_interface(), Inputs::new(), ends().0).unwrap();
    assert!(matches!(again.run(), Outcome::DebugExit { value: 7 }));
}

#[test]
fn a_machine_is_encoded_without_memory() {
    let Some(mut first) = machine(4 << 20, &GUEST) else { return };
    step(&mut first, 20);
    let bytes = SavedMachine::capture(&mut first, None).unwrap().to_bytes(first.image()).unwrap();
    let memory = Arc::new(GuestMemory::new(4 << 20).unwrap());
    let copied: Result<(), ()> =
        first.memory().for_each_chunk(|at, bytes| memory.write(at, bytes).map_err(drop));
    copied.unwrap();
    let received = ReceivedMachine::read("the guest", &bytes).unwrap();
    assert_eq!(received.saved.memory, 4 << 20);
    let small = Arc::new(GuestMemory::new(1 << 20).unwrap());
    let refused = ReceivedMachine::read("the guest", &bytes).unwrap().into_machine(
        small,
        user_interface(),
        Inputs::new(),
        ends().0,
    );
    assert!(matches!(refused, Err(SnapshotError::MemorySize { .. })));
    let mut second = received.into_machine(memory, user_interface(), Inputs::new(), ends().0).unwrap();
    assert_eq!(finish(&mut second), finish(&mut first));
    assert_eq!(second.image().len(), first.image().len());
}

/// A whole snapshot in memory.
fn snapshot() -> Option<Vec<u8>> {
    let folder = Folder::new("bytes");
    let file = folder.file("a.kvmstate");
    save(&mut machine(1 << 22, &GUEST)?, None, &file).unwrap();
    Some(std::fs::read(&file).unwrap())
}

fn check(bytes: &[u8]) -> Result<(), SnapshotError> {
    check_bytes(&BytesImage::new("x.kvmstate", bytes))
}

#[test]
fn every_damaged_or_missing_byte_is_detected() {
    let Some(bytes) = snapshot() else { return };
    check(&bytes).unwrap();
    let entries = container::read_table(&BytesImage::new("x", &bytes)).unwrap();
    let covered = |at: u64| {
        at < 32 + 48 * entries.len() as u64
            || entries.iter().any(|e| e.offset <= at && at < e.offset + e.length)
    };
    let mut damaged = bytes.clone();
    for at in (0..bytes.len()).step_by(7).filter(|at| covered(*at as u64)) {
        damaged[at] ^= 0x10;
        assert!(check(&damaged).is_err(), "byte {at}");
        damaged[at] ^= 0x10;
    }
    for length in (0..bytes.len()).step_by(97) {
        let text = check(&bytes[..length]).unwrap_err().to_string();
        assert!(text.contains("is damaged") || length < 8, "{length}: {text}");
    }
}

#[test]
fn foreign_and_newer_files_are_refused_with_a_reason() {
    let Some(bytes) = snapshot() else { return };
    let text = |bytes: &[u8]| check(bytes).unwrap_err().to_string();
    assert!(text(b"").starts_with("x.kvmstate is no snapshot of kvm, but empty;"));
    assert!(text(b"\x7FELF and so on").contains("but an ELF file: leave out --restore"));
    assert!(text(b"\x8AKVM\n\x1A\nxx").contains("transferred as text"));
    let mut newer = bytes.clone();
    newer[8] = 2;
    let message = text(&newer);
    assert!(
        message.contains("its format has version 2") && message.contains("restore it with the kvm"),
        "{message}"
    );

    let image = BytesImage::new("x.kvmstate", &bytes);
    let entries = container::read_table(&image).unwrap();
    let sections = || -> Vec<Section> {
        entries.iter().map(|entry| container::read_section(&image, entry)).filter_map(Result::ok).collect()
    };
    let with = |change: &dyn Fn(&mut Vec<Section>)| {
        let mut sections = sections();
        change(&mut sections);
        text(&container::to_bytes(&sections).unwrap())
    };
    let find = |sections: &[Section], name: &str| -> usize {
        sections.iter().position(|section| section.name == name).unwrap()
    };
    let message = with(&|sections| {
        let at = find(sections, "vcpu");
        sections[at].version = 9;
    });
    assert!(message.contains("section `vcpu` has version 9") && message.contains("up to 1"), "{message}");
    let message = with(&|sections| {
        let at = find(sections, "vcpu");
        sections[at].version = 0;
    });
    assert!(message.contains("section `vcpu` has version 0"), "{message}");
    let message = with(&|sections| {
        let disk = Section { name: "disk".into(), number: 0, version: 1, bytes: vec![1] };
        sections.push(disk);
    });
    assert!(message.contains("a section `disk`, which this kvm"), "{message}");
    let message = with(&|sections| {
        let mut second = sections[find(sections, "vcpu")].clone();
        second.number = 1;
        sections.push(second);
    });
    assert!(message.contains("it has 2 vCPUs, and run states of 1"), "{message}");
    let message = with(&|sections| {
        let mut second = sections[find(sections, "vcpu")].clone();
        second.number = 64;
        sections.push(second);
    });
    assert!(message.contains("a section `vcpu 64`, which this kvm"), "{message}");
    let message = with(&|sections| {
        let at = find(sections, "typing");
        sections.remove(at);
    });
    assert!(message.contains("it has no section `typing`"), "{message}");
    let message = with(&|sections| {
        let at = find(sections, "machine");
        sections[at].bytes.truncate(1);
    });
    assert!(message.contains("section `machine` cannot be read"), "{message}");
}

#[test]
fn a_mismatched_snapshot_is_refused_and_the_machine_continues() {
    let folder = Folder::new("fit");
    let file = folder.file("a.kvmstate");
    let (Some(mut large), Some(mut small)) = (machine(8 << 20, &GUEST), machine(4 << 20, &GUEST)) else {
        return;
    };
    save(&mut large, None, &file).unwrap();
    let error = restore(&mut small, &file).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("8 MiB of memory, and this one has 4 MiB") && text.contains("--memory 8"),
        "{text}"
    );
    assert!(!error.is_fatal());
    assert_eq!(finish(&mut small).0, 0x30_6000);

    // A guest of a processor with all features.
    let mut saved = SavedMachine::capture(&mut large, None).unwrap();
    let text = for_every_feature(&mut saved);
    let error = ReceivedMachine::read("x", &text).unwrap().into_machine(
        Arc::new(GuestMemory::new(8 << 20).unwrap()),
        user_interface(),
        Inputs::new(),
        ends().0,
    );
    let Err(error) = error else { panic!("no host has everything") };
    let text = error.to_string();
    assert!(text.contains("features that this one of") && text.contains("CPUID."), "{text}");
}

/// The bytes of `parts` for a processor that offers every feature in leaf 7.
fn for_every_feature(saved: &mut SavedMachine) -> Vec<u8> {
    let mut leaves: Vec<[u32; 7]> =
        postcard::from_bytes(&postcard::to_stdvec(&saved.features).unwrap()).unwrap();
    leaves.retain(|leaf| leaf[0] != 7);
    leaves.push([7, 0, 1, 0, u32::MAX, u32::MAX, u32::MAX]);
    saved.features = postcard::from_bytes(&postcard::to_stdvec(&leaves).unwrap()).unwrap();
    saved.to_bytes(&BytesImage::new("none", b"x")).unwrap()
}

#[test]
fn unusable_paths_are_refused_and_no_file_is_left() {
    let folder = Folder::new("places");
    let Some(mut machine) = machine(4 << 20, &GUEST) else { return };
    for (path, why) in [
        (folder.0.clone(), "this is a directory"),
        ("/dev/null".into(), "this is a device or a pipe"),
        (folder.file("no/such/folder.kvmstate"), "No such file"),
        (folder.file(".."), "this is a directory"),
    ] {
        let text = save(&mut machine, None, &path).unwrap_err().to_string();
        assert!(text.starts_with("cannot write the snapshot ") && text.contains(why), "{text}");
    }
    let missing = SnapshotFile::open(&folder.file("none")).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot open the snapshot ") && missing.ends_with("there is no such file"),
        "{missing}"
    );
    // A symbolic link keeps pointing to the file.
    let (file, link) = (folder.file("a.kvmstate"), folder.file("link.kvmstate"));
    std::fs::write(&file, b"old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    save(&mut machine, None, &link).unwrap();
    assert!(link.is_symlink());
    SnapshotFile::open(&file).unwrap().verify().unwrap();
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 2);
}

/// Seeds of the fuzzer: a complete snapshot of a guest of a few bytes, and damaged variants. They are
/// created by `KVM_BLESS=1 cargo test --lib seeds_of_snapshots`.
#[test]
fn seeds_of_snapshots_are_read_or_refused() {
    let seeds = Seeds::of("snapshot");
    if seeds.are_blessed()
        && let Some(bytes) = snapshot()
    {
        seeds.must_hold("whole", &bytes);
        seeds.must_hold("cut", &bytes[..bytes.len() / 2]);
        seeds.must_hold("head", &bytes[..32]);
    }
    for (name, whole) in [("whole", true), ("cut", false), ("head", false)] {
        let bytes = seeds.read(name);
        assert_eq!(check(&bytes).is_ok(), whole, "{name}");
        fuzzing::read_snapshot(&bytes);
    }
}

#[test]
fn sections_beyond_the_end_or_duplicated_are_refused() {
    let entry = |number, offset, length| container::SectionEntry {
        name: "serial".into(),
        number,
        version: 1,
        checksum: 0,
        offset,
        length,
    };
    let start = container::head_length(2);
    let table = |second: container::SectionEntry| {
        let mut bytes = container::head(&[entry(0, start, 16), second], start + 32).unwrap();
        bytes.resize(start as usize + 32, 0);
        container::read_table(&BytesImage::new("x", &bytes)).map_err(|error| error.to_string())
    };
    table(entry(1, start + 16, 16)).unwrap();
    for beyond in [entry(1, start + 16, 17), entry(1, start + 33, 0), entry(1, u64::MAX, 2)] {
        let found = table(beyond).unwrap_err();
        assert!(found.contains("section `serial 1` lies beyond its end"), "{found}");
    }
    let found = table(entry(0, start + 16, 16)).unwrap_err();
    assert!(found.contains("section `serial` is there twice"), "{found}");
}

#[test]
fn overlapping_sections_are_refused_before_they_are_read() {
    const LENGTH: u64 = 1 << 20;
    let offset = container::head_length(500);
    let entry = |number| container::SectionEntry {
        name: "serial".into(),
        number,
        version: 1,
        checksum: crc32fast::hash(&[0; LENGTH as usize]),
        offset,
        length: LENGTH,
    };
    let entries: Vec<_> = (0..500).map(entry).collect();
    let mut bytes = container::head(&entries, offset + LENGTH).unwrap();
    bytes.resize((offset + LENGTH) as usize, 0);
    let found = container::read_table(&BytesImage::new("x", &bytes)).unwrap_err().to_string();
    assert!(found.contains("two of its sections lie at"), "{found}");
    // Adjacent sections are valid; overlap with the header is not.
    let one =
        |offset| container::head(&[container::SectionEntry { offset, ..entry(0) }], 2 * LENGTH).unwrap();
    for (offset, good) in [(80, true), (79, false), (0, false)] {
        let mut bytes = one(offset);
        bytes.resize(2 * LENGTH as usize, 0);
        assert_eq!(container::read_table(&BytesImage::new("x", &bytes)).is_ok(), good, "{offset}");
    }
}
