//! Transcripts of another machine's accesses to a device: one access on each line, `outb PORT VALUE`,
//! `inb PORT = VALUE`, `writel ADDRESS VALUE` or `readl ADDRESS = VALUE` (also with b or w for other widths), or a
//! new level of one of its interrupt inputs, `input NUMBER LEVEL`, all in hexadecimal.

/// An access of a transcript.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub line: &'a str,
    pub is_write: bool,
    /// It is a new level of an interrupt input.
    pub is_input: bool,
    /// Bytes.
    pub size: u8,
    /// Port, address or number of an input.
    pub address: u64,
    /// What is written, was read, or the level is.
    pub value: u64,
}

/// The accesses of `transcript`, without its comments.
pub(crate) fn accesses(transcript: &str) -> impl Iterator<Item = Access<'_>> {
    transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        let name = words.next().unwrap();
        let mut number = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        Access {
            line,
            is_write: name.starts_with("out") || name.starts_with("write"),
            is_input: name == "input",
            size: if name.ends_with('b') {
                1
            } else if name.ends_with('w') {
                2
            } else {
                4
            },
            address: number(),
            value: number(),
        }
    })
}
