//! Arbitrary page tables and registers: the core file must be one that a reader takes, with the guest's memory in it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use rustix::fs::{MemfdFlags, memfd_create};

use super::layout::CoreLayout;
use super::notes::{Notes, Thread, Word};
use super::write_parts;
use crate::inspect::fuzzing::{MOST_ENTRIES, TABLES, any_registers, words};
use crate::memory::{GuestMemory, RAM_GRANULE};

/// Bytes of RAM.
const RAM: u64 = 2 * RAM_GRANULE;
/// Most bytes of a segment that are compared with memory.
const COMPARED: usize = 64 << 10;

/// Writes a core file of a guest whose registers and memory are `input`, and reads it.
///
/// # Panics
///
/// If the file is malformed, is larger than what it describes, or holds other memory than the guest.
pub fn write_core_of_anything(input: &[u8]) {
    let Ok(memory) = GuestMemory::new(RAM) else { return };
    let registers = any_registers(&mut words(input));
    let size = input.len().min((RAM - TABLES) as usize);
    if memory.write(TABLES, &input[..size]).is_err() {
        return;
    }
    let layout = CoreLayout::at_most(&memory, &registers, MOST_ENTRIES);
    let word = if registers.bitness() == 64 { Word::Eight } else { Word::Four };
    let mut notes = Notes::new(word);
    notes.add_process("guest.elf");
    let xcr0 = registers.general.rsp & 7;
    notes.add_thread(&Thread { number: 1, signal: 11, registers, extended: Box::new([0; 4096]), xcr0 });
    let Ok(file) = memfd_create("core", MemfdFlags::CLOEXEC) else { return };
    let file = File::from(file);
    let stored =
        write_parts(&file, &memory, &layout, &notes.into_bytes(), word).expect("memory can be written to");
    assert!(stored <= RAM, "{stored} bytes of memory");
    check(&file, &memory, word);
}

fn check(file: &File, memory: &GuestMemory, word: Word) {
    let length = file.metadata().expect("its size").len();
    let head_size = length.min(8 << 20) as usize;
    let mut head = vec![0; head_size];
    file.read_exact_at(&mut head, 0).expect("its head");
    let elf = Elf::parse(&head).expect("an ELF file");
    assert_eq!(elf.is_64, word == Word::Eight);
    let mut last: Option<u64> = None;
    for segment in elf.program_headers.iter().filter(|segment| segment.p_type == PT_LOAD) {
        // The addresses of 32-bit files have 32 bits: what lies above comes again from 0 on.
        let is_ascending = last.is_none_or(|last| last < segment.p_vaddr);
        assert!(is_ascending || word == Word::Four, "{segment:x?} overlaps {last:x?}");
        last = Some(segment.p_vaddr.saturating_add(segment.p_memsz).saturating_sub(1));
        assert!(segment.p_memsz > 0 && segment.p_filesz <= segment.p_memsz, "{segment:x?}");
        assert!(segment.p_offset + segment.p_filesz <= length, "{segment:x?} in {length} bytes");
        assert!(memory.is_ram(segment.p_paddr, segment.p_memsz), "{segment:x?}");
        let count = COMPARED.min(segment.p_filesz as usize);
        let (mut found, mut expected) = (vec![0; count], vec![0; count]);
        file.read_exact_at(&mut found, segment.p_offset).expect("its contents");
        memory.read(segment.p_paddr, &mut expected).expect("RAM");
        assert!(found == expected, "{segment:x?} has other contents");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::FuzzDriver;
    use std::time::Duration;

    #[test]
    fn any_input_gives_a_core_file_that_can_be_read() {
        FuzzDriver::new("core_layout")
            .dictionary(&[
                b"\x07\x20\0\0\0\0\0\0",
                b"\x83\0\0\0\0\0\0\0",
                b"\x03\x10\0\0\0\0\0\0",
                b"\x83\x00\x20\0\0\0\0\0",
            ])
            .time_limit(Duration::from_secs(5))
            .run(write_core_of_anything);
    }
}
