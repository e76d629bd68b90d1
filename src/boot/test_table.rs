//! The table of tests in a guest file: the section `kvm_tests` of an ELF file (docs/testing.md).
//!
//! Each entry is four words of the width of the file's class: address and length of the test's name, address of its
//! function, which only the guest uses, and flags. The addresses are those that the running guest sees, so the names
//! are read from the memory of a guest that has been loaded, where relocations have been applied.

use goblin::elf::section_header::{SHT_NOBITS, SectionHeader};

use super::elf::ElfFile;
use super::image::Image;

/// Name of the section. It is an identifier of C, so linkers define `__start_kvm_tests` and `__stop_kvm_tests`.
const SECTION: &[u8] = b"kvm_tests\0";
/// Words of an entry.
const WORDS: usize = 4;
/// Most tests of a guest.
const MOST_TESTS: u64 = 1 << 16;
/// Longest name in bytes.
const LONGEST_NAME: u64 = 1024;

/// Flag: the test is run only if the user asks for ignored tests.
const IGNORED: u64 = 1 << 0;
/// Flag: the test passes if it fails.
const SHOULD_FAIL: u64 = 1 << 1;

/// A test of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestTest {
    /// Its name.
    pub name: String,
    /// It is run only if the user asks for ignored tests.
    pub ignored: bool,
    /// It passes if it fails.
    pub should_fail: bool,
}

/// What is wrong with a table of tests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestTableProblem {
    /// The length of the section is no multiple of an entry, or too large.
    #[error(
        "the section kvm_tests has {length} bytes: it needs entries of {entry} bytes each (four words), at most \
         {MOST_TESTS} of them"
    )]
    Length {
        /// Bytes of the section.
        length: u64,
        /// Bytes of an entry.
        entry: u64,
    },
    /// The section is not in memory when the guest starts.
    #[error(
        "the section kvm_tests at {address:#x} is not loaded: it needs the flag `a` (allocated) and a segment"
    )]
    NotLoaded {
        /// Its address in the file.
        address: u64,
    },
    /// A name is not in memory, too long, or no text.
    #[error(
        "test number {number} of the section kvm_tests has no name: {length} bytes at {address:#x} are not UTF-8 text \
         of 1 to {LONGEST_NAME} bytes in memory when the guest starts"
    )]
    Name {
        /// Number of the entry, from 0.
        number: usize,
        /// Address of the name.
        address: u64,
        /// Its length in bytes.
        length: u64,
    },
}

/// The section of a guest file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestSection {
    /// Its address in the file, before relocation.
    address: u64,
    length: u64,
    /// Bytes of a word: 4 or 8.
    word: usize,
}

impl TestSection {
    /// The section of `image`; `None` if it has none.
    pub fn find(image: &dyn Image) -> Option<TestSection> {
        let file = ElfFile::read(image)?;
        let sections = file.sections(image);
        let names = sections.get(usize::from(file.header.e_shstrndx))?;
        let is_named = |section: &&SectionHeader| {
            let mut name = [0; SECTION.len()];
            let at = names.sh_offset.checked_add(section.sh_name as u64);
            at.is_some_and(|at| image.read_at(at, &mut name).is_ok()) && name == SECTION
        };
        let section = sections.iter().find(is_named)?;
        let length = if section.sh_type == SHT_NOBITS { 0 } else { section.sh_size };
        Some(TestSection { address: section.sh_addr, length, word: if file.is_64_bit() { 8 } else { 4 } })
    }

    /// The tests, in the order of the table. `read` fills a buffer from an address as the guest sees it at its first
    /// instruction, or returns false; `bias` is added to the addresses in the file.
    ///
    /// # Errors
    ///
    /// [`TestTableProblem`]
    pub fn tests(
        &self,
        bias: u64,
        read: &dyn Fn(u64, &mut [u8]) -> bool,
    ) -> Result<Vec<GuestTest>, TestTableProblem> {
        let entry = WORDS * self.word;
        if !self.length.is_multiple_of(entry as u64) || self.length / entry as u64 > MOST_TESTS {
            return Err(TestTableProblem::Length { length: self.length, entry: entry as u64 });
        }
        let mut table = vec![0; self.length as usize];
        if !table.is_empty() && !read(self.address.wrapping_add(bias), &mut table) {
            return Err(TestTableProblem::NotLoaded { address: self.address });
        }
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let entries = table.chunks_exact(entry).enumerate();
        let tests = entries.map(|(number, entry)| {
            let mut words = entry.chunks_exact(self.word).map(word);
            let mut next = || words.next().unwrap_or(0);
            let (address, length, _function, flags) = (next(), next(), next(), next());
            let name = Self::name(address, length, read);
            let name = name.ok_or(TestTableProblem::Name { number, address, length })?;
            Ok(GuestTest { name, ignored: flags & IGNORED != 0, should_fail: flags & SHOULD_FAIL != 0 })
        });
        tests.collect()
    }

    fn name(address: u64, length: u64, read: &dyn Fn(u64, &mut [u8]) -> bool) -> Option<String> {
        if !(1..=LONGEST_NAME).contains(&length) {
            return None;
        }
        let mut name = vec![0; length as usize];
        read(address, &mut name).then_some(())?;
        String::from_utf8(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[u8] = b"addition";

    fn section(entries: &[[u64; 4]], word: usize) -> (TestSection, Vec<u8>) {
        let words = entries.iter().flatten();
        let table: Vec<u8> = words.flat_map(|value| value.to_le_bytes()[..word].to_vec()).collect();
        (TestSection { address: 0x1000, length: table.len() as u64, word }, table)
    }

    fn tests(entries: &[[u64; 4]], word: usize) -> Result<Vec<GuestTest>, TestTableProblem> {
        let (section, table) = section(entries, word);
        section.tests(0x100, &|address, into| {
            let (base, bytes) = if address >= 0x5000 { (0x5000, NAMES) } else { (0x1100, &table[..]) };
            let part = bytes.get((address - base) as usize..).and_then(|rest| rest.get(..into.len()));
            part.is_some_and(|part| {
                into.copy_from_slice(part);
                true
            })
        })
    }

    #[test]
    fn entries_of_both_widths_name_tests() {
        for word in [4, 8] {
            let found = tests(&[[0x5000, 8, 0x20, 0], [0x5003, 2, 0x30, 3]], word).unwrap();
            let test =
                |name: &str, flag| GuestTest { name: name.to_owned(), ignored: flag, should_fail: flag };
            assert_eq!(found, [test("addition", false), test("it", true)]);
        }
    }

    #[test]
    fn damaged_tables_are_refused() {
        for (address, length) in [(0x5000, 0), (0x5000, 9), (0x5000, 1 << 40), (0x1118, 4)] {
            let problem = TestTableProblem::Name { number: 0, address, length };
            assert_eq!(tests(&[[address, length, 0, 0xFFFF_FFFF]], 8), Err(problem.clone()), "{problem}");
        }
        let read = |_: u64, _: &mut [u8]| false;
        let section = TestSection { address: 0x1000, length: 33, word: 8 };
        assert_eq!(section.tests(0, &read), Err(TestTableProblem::Length { length: 33, entry: 32 }));
        let section = TestSection { length: u64::MAX - 31, ..section };
        assert!(matches!(section.tests(0, &read), Err(TestTableProblem::Length { .. })));
        let section = TestSection { length: 32, ..section };
        assert_eq!(section.tests(0, &read), Err(TestTableProblem::NotLoaded { address: 0x1000 }));
        assert_eq!(TestSection { length: 0, ..section }.tests(0, &read), Ok(Vec::new()));
    }
}
