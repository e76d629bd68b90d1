//! Transcripts of another machine's accesses to a device: one access on each line, `outb PORT VALUE`,
//! `inb PORT = VALUE`, `writel ADDRESS VALUE` or `readl ADDRESS = VALUE` (also with b or w for other widths), or a
//! new level of one of its interrupt inputs, `input NUMBER LEVEL`, all in hexadecimal. A line may have several values, one
//! access for each; `VALUE*COUNT` (in decimal) is that many times the same one, and `?` a value that is not compared.

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
    /// The value is to be compared.
    pub is_compared: bool,
}

/// The accesses of `transcript`, without its comments.
pub(crate) fn accesses(transcript: &str) -> impl Iterator<Item = Access<'_>> {
    let lines = transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| {
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        let name = words.next().unwrap();
        let address = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        let access = Access {
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
            address,
            value: 0,
            is_compared: true,
        };
        words.flat_map(move |word| {
            let (value, count) = word.split_once('*').unwrap_or((word, "1"));
            let is_compared = value != "?";
            let value = if is_compared { u64::from_str_radix(value, 16).unwrap() } else { 0 };
            std::iter::repeat_n(Access { value, is_compared, ..access }, count.parse().unwrap())
        })
    })
}
