//! Transcripts of another machine's accesses to a device: one access on each line, `outb PORT VALUE`,
//! `inb PORT = VALUE`, `writel ADDRESS VALUE` or `readl ADDRESS = VALUE`, all in hexadecimal.

/// An access of a transcript.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub line: &'a str,
    pub is_write: bool,
    /// Port or address.
    pub address: u64,
    /// What is written, or was read.
    pub value: u64,
}

/// The accesses of `transcript`, without its comments.
pub(crate) fn accesses(transcript: &str) -> impl Iterator<Item = Access<'_>> {
    transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        let name = words.next().unwrap();
        let mut number = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        Access { line, is_write: matches!(name, "outb" | "writel"), address: number(), value: number() }
    })
}
