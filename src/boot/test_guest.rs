//! Small ELF files for tests, built field by field so that any of them can be made wrong.

/// Offset of the program headers in the files made here.
pub(crate) const TABLE: usize = 64;

/// An ELF file in the making.
#[derive(Clone)]
pub(crate) struct TestGuest {
    kind: u16,
    entry: u64,
    headers: Vec<Header>,
}

#[derive(Clone)]
struct Header {
    kind: u32,
    flags: u32,
    virtual_address: u64,
    physical_address: u64,
    content: Vec<u8>,
    memory_size: u64,
    align: u64,
}

/// `p_flags` of code, of data, of constants, and of all in one.
pub(crate) const CODE: u32 = 5;
pub(crate) const DATA: u32 = 6;
pub(crate) const CONSTANTS: u32 = 4;
pub(crate) const EVERYTHING: u32 = 7;

impl TestGuest {
    /// An executable with this entry point and nothing to load yet.
    pub fn new(entry: u64) -> TestGuest {
        TestGuest { kind: 2, entry, headers: Vec::new() }
    }

    /// A position-independent executable.
    pub fn relocatable(entry: u64) -> TestGuest {
        TestGuest { kind: 3, ..TestGuest::new(entry) }
    }

    /// The guest most tests load: a `hlt` at 0x200000.
    pub fn simple() -> TestGuest {
        TestGuest::new(0x20_0000).load(CODE, 0x20_0000, b"\xF4")
    }

    /// Adds a PT_LOAD segment.
    pub fn load(self, flags: u32, address: u64, content: &[u8]) -> TestGuest {
        self.header(1, flags, address, content)
    }

    /// Adds a program header of any type.
    pub fn header(mut self, kind: u32, flags: u32, address: u64, content: &[u8]) -> TestGuest {
        self.headers.push(Header {
            kind,
            flags,
            virtual_address: address,
            physical_address: address,
            content: content.to_vec(),
            memory_size: content.len() as u64,
            align: 0x1000,
        });
        self
    }

    /// Gives the last segment another physical address.
    pub fn at_physical(mut self, address: u64) -> TestGuest {
        self.last().physical_address = address;
        self
    }

    /// Gives the last segment another size in memory.
    pub fn with_memory_size(mut self, size: u64) -> TestGuest {
        self.last().memory_size = size;
        self
    }

    /// Gives the last segment another alignment.
    pub fn aligned_to(mut self, align: u64) -> TestGuest {
        self.last().align = align;
        self
    }

    fn last(&mut self) -> &mut Header {
        self.headers.last_mut().expect("a segment was added before")
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut file = b"\x7FELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(62u16.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(self.entry.to_le_bytes());
        file.extend((TABLE as u64).to_le_bytes());
        file.extend([0; 12]);
        for half in [64, 56, self.headers.len() as u16, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut offset = (TABLE + 56 * self.headers.len()) as u64;
        for header in &self.headers {
            file.extend(header.kind.to_le_bytes());
            file.extend(header.flags.to_le_bytes());
            let size = header.content.len() as u64;
            let fields = [
                offset,
                header.virtual_address,
                header.physical_address,
                size,
                header.memory_size,
                header.align,
            ];
            for field in fields {
                file.extend(field.to_le_bytes());
            }
            offset += size;
        }
        self.headers.iter().for_each(|header| file.extend(&header.content));
        file
    }
}

/// Little-endian 64-bit words, for tables.
pub(crate) fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
