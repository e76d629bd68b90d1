//! Small ELF files for tests, built field by field so that any of them can be made wrong.

/// Offset of the program headers in the files made here.
pub(crate) const TABLE: usize = 64;

/// An ELF file in the making.
#[derive(Clone)]
pub(crate) struct TestGuest {
    /// A 32-bit file, for the 386.
    is_32_bit: bool,
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
        TestGuest { is_32_bit: false, kind: 2, entry, headers: Vec::new() }
    }

    /// A position-independent executable.
    pub fn relocatable(entry: u64) -> TestGuest {
        TestGuest { kind: 3, ..TestGuest::new(entry) }
    }

    /// The guest most tests load: a `hlt` at 0x200000.
    pub fn simple() -> TestGuest {
        TestGuest::new(0x20_0000).load(CODE, 0x20_0000, b"\xF4")
    }

    /// Makes it a file of the 32-bit class.
    pub fn for_32_bits(mut self) -> TestGuest {
        self.is_32_bit = true;
        self
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
        let long = |value: u64| match self.is_32_bit {
            true => (value as u32).to_le_bytes().to_vec(),
            false => value.to_le_bytes().to_vec(),
        };
        let (class, machine, header_size, entry_size) = match self.is_32_bit {
            true => (1, 3u16, 52u16, 32u16),
            false => (2, 62, TABLE as u16, 56),
        };
        let mut file = vec![0x7F, b'E', b'L', b'F', class, 1, 1];
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(machine.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(long(self.entry));
        file.extend(long(header_size.into()));
        file.extend(long(0));
        file.extend([0; 4]);
        for half in [header_size, entry_size, self.headers.len() as u16, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let mut offset = file.len() as u64 + u64::from(entry_size) * self.headers.len() as u64;
        for header in &self.headers {
            let size = header.content.len() as u64;
            let (kind, flags) = (header.kind.to_le_bytes(), header.flags.to_le_bytes());
            file.extend(kind);
            if !self.is_32_bit {
                file.extend(flags);
            }
            let addresses =
                [offset, header.virtual_address, header.physical_address, size, header.memory_size];
            addresses.into_iter().for_each(|field| file.extend(long(field)));
            if self.is_32_bit {
                file.extend(flags);
            }
            file.extend(long(header.align));
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
