//! Encodes AML (ACPI specification 6.5, 20.2) and resource descriptors (6.4): what the DSDT needs.
//!
//! Every function returns the bytes of one term. Names have four characters, and are joined by dots.

/// A term of AML.
pub(super) type Term = Vec<u8>;

const NAME: u8 = 0x08;
const BYTE: u8 = 0x0A;
const WORD: u8 = 0x0B;
const DWORD: u8 = 0x0C;
const SCOPE: u8 = 0x10;
const BUFFER: u8 = 0x11;
const PACKAGE: u8 = 0x12;
const METHOD: u8 = 0x14;
const DUAL_NAME: u8 = 0x2E;
const MULTIPLE_NAMES: u8 = 0x2F;
const EXTENDED: u8 = 0x5B;
const REGION: u8 = 0x80;
const FIELD: u8 = 0x81;
const DEVICE: u8 = 0x82;
const STORE: u8 = 0x70;
const AND: u8 = 0x7B;
const OR: u8 = 0x7D;
const CREATE_DWORD_FIELD: u8 = 0x8A;
const IF: u8 = 0xA0;
const RETURN: u8 = 0xA4;

/// The target of a result that is not stored.
pub(super) const NOWHERE: &[u8] = &[0];
/// The first argument of a method.
pub(super) const ARGUMENT_0: &[u8] = &[0x68];
/// Fields: accessed by bytes; other bits are preserved.
const BYTE_ACCESS: u8 = 0x01;
/// An operation region in the configuration space of a PCI function.
const PCI_CONFIGURATION: u8 = 0x02;
/// Methods: not reentrant.
const SERIALIZED: u8 = 0x08;

/// What an address range is for.
#[derive(Clone, Copy)]
pub(super) enum RangeKind {
    Memory = 0,
    Ports = 1,
    BusNumbers = 2,
}

impl RangeKind {
    /// Flags of its descriptors: read and write; the whole range.
    fn flags(self) -> u8 {
        match self {
            RangeKind::Memory => 1,
            RangeKind::Ports => 3,
            RangeKind::BusNumbers => 0,
        }
    }
}

/// Minimum and maximum are fixed; the producer decodes positively.
const FIXED: u8 = 1 << 2 | 1 << 3;

pub(super) fn integer(value: u32) -> Term {
    let bytes = value.to_le_bytes();
    match value {
        0 | 1 => vec![bytes[0]],
        2..=0xFF => vec![BYTE, bytes[0]],
        0x100..=0xFFFF => [&[WORD], &bytes[..2]].concat(),
        _ => [&[DWORD], &bytes[..]].concat(),
    }
}

/// A reference to an object; without `\`, it is relative.
pub(super) fn path(text: &str) -> Term {
    let (root, names) = match text.strip_prefix('\\') {
        Some(rest) => (&b"\\"[..], rest),
        None => (&b""[..], text),
    };
    let names: Vec<&str> = names.split('.').collect();
    let prefix = match names.len() {
        1 => vec![],
        2 => vec![DUAL_NAME],
        count => vec![MULTIPLE_NAMES, count as u8],
    };
    [root, &prefix, names.concat().as_bytes()].concat()
}

pub(super) fn name(to: &str, value: &[u8]) -> Term {
    [&[NAME], &path(to)[..], value].concat()
}

pub(super) fn scope(of: &str, terms: &[Term]) -> Term {
    with_length(&[SCOPE], &[path(of), terms.concat()].concat())
}

pub(super) fn device(called: &str, terms: &[Term]) -> Term {
    with_length(&[EXTENDED, DEVICE], &[path(called), terms.concat()].concat())
}

pub(super) fn method(called: &str, arguments: u8, terms: &[Term]) -> Term {
    with_length(&[METHOD], &[path(called), vec![arguments | SERIALIZED], terms.concat()].concat())
}

/// At most 255 elements.
pub(super) fn package(elements: &[Term]) -> Term {
    with_length(&[PACKAGE], &[vec![elements.len() as u8], elements.concat()].concat())
}

/// A region of the configuration space of the PCI function that the scope is.
pub(super) fn configuration_region(called: &str, offset: u8, length: u8) -> Term {
    let ends = [integer(offset.into()), integer(length.into())].concat();
    [&[EXTENDED, REGION], &path(called)[..], &[PCI_CONFIGURATION], &ends].concat()
}

/// Fields of one byte each, from the start of a region on.
pub(super) fn byte_fields(region: &str, names: &[&str]) -> Term {
    let mut body = path(region);
    body.push(BYTE_ACCESS);
    for name in names {
        body.extend(path(name));
        body.push(8);
    }
    with_length(&[EXTENDED, FIELD], &body)
}

/// A field of four bytes in a buffer.
pub(super) fn dword_field(buffer: &[u8], offset: u8, called: &str) -> Term {
    [&[CREATE_DWORD_FIELD], buffer, &integer(offset.into()), &path(called)].concat()
}

pub(super) fn store(value: &[u8], to: &[u8]) -> Term {
    [&[STORE], value, to].concat()
}

/// `a & b`, as an expression and stored in `target`.
pub(super) fn and(a: &[u8], b: &[u8], target: &[u8]) -> Term {
    [&[AND], a, b, target].concat()
}

/// Sets bits of an object.
pub(super) fn set_bits(object: &[u8], bits: u8) -> Term {
    [&[OR], object, &integer(bits.into()), object].concat()
}

pub(super) fn if_true(condition: &[u8], terms: &[Term]) -> Term {
    with_length(&[IF], &[condition, &terms.concat()].concat())
}

pub(super) fn return_value(value: &[u8]) -> Term {
    [&[RETURN], value].concat()
}

/// An identifier such as `PNP0A03`, compressed (ACPI specification, 19.3.4).
pub(super) fn eisa_id(text: &str) -> Term {
    let (letters, digits) = text.split_at(3);
    let letters = letters.bytes().fold(0u32, |id, letter| id << 5 | u32::from(letter & 0x1F));
    let digits = digits.bytes().fold(0u32, |id, digit| id << 4 | (digit as char).to_digit(16).unwrap_or(0));
    let id = letters << 16 | digits;
    integer(id.swap_bytes())
}

/// A buffer of resource descriptors.
pub(super) fn resources(descriptors: &[Term]) -> Term {
    const END: [u8; 2] = [0x79, 0];
    let bytes = [&descriptors.concat()[..], &END].concat();
    with_length(&[BUFFER], &[integer(bytes.len() as u32), bytes].concat())
}

/// Ports at a fixed place.
pub(super) fn ports(first: u16, count: u8) -> Term {
    let [low, high] = first.to_le_bytes();
    vec![0x47, 1, low, high, low, high, 1, count]
}

/// An ISA interrupt line, edge-triggered.
pub(super) fn line(number: u8) -> Term {
    let [low, high] = (1u16 << number).to_le_bytes();
    vec![0x22, low, high]
}

/// A choice of shared interrupts, level-triggered and active high. The first is at [`INTERRUPT_OFFSET`].
pub(super) fn shared_interrupts(numbers: &[u8]) -> Term {
    const CONSUMER_SHARED: u8 = 1 << 0 | 1 << 3;
    let mut descriptor = vec![0x89];
    descriptor.extend((2 + 4 * numbers.len() as u16).to_le_bytes());
    descriptor.extend([CONSUMER_SHARED, numbers.len() as u8]);
    numbers.iter().for_each(|number| descriptor.extend(u32::from(*number).to_le_bytes()));
    descriptor
}

/// Offset of the first number in the buffer of [`shared_interrupts`].
pub(super) const INTERRUPT_OFFSET: u8 = 5;

/// Registers in memory at a fixed place.
pub(super) fn fixed_memory(base: u32, length: u32) -> Term {
    [&[0x86, 9, 0, 1][..], &base.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// A range that a bridge passes on, both ends inclusive, with fields of 16 bits.
pub(super) fn word_range(kind: RangeKind, first: u16, last: u16) -> Term {
    let mut descriptor = vec![0x88, 13, 0, kind as u8, FIXED, kind.flags()];
    for field in [0, first, last, 0, last - first + 1] {
        descriptor.extend(field.to_le_bytes());
    }
    descriptor
}

/// The same with fields of 32 bits.
pub(super) fn dword_range(kind: RangeKind, first: u32, last: u32) -> Term {
    let mut descriptor = vec![0x87, 23, 0, kind as u8, FIXED, kind.flags()];
    for field in [0, first, last, 0, last - first + 1] {
        descriptor.extend(field.to_le_bytes());
    }
    descriptor
}

/// A term with its length before it, which counts itself (ACPI specification, 20.2.4).
fn with_length(operation: &[u8], body: &[u8]) -> Term {
    let mut term = operation.to_vec();
    let length = |bytes: usize| (body.len() + bytes) as u32;
    let encoded = |bytes: usize| {
        let [second, third, ..] = (length(bytes) >> 4).to_le_bytes();
        [((bytes as u8 - 1) << 6) | (length(bytes) as u8 & 0xF), second, third]
    };
    match body.len() {
        0..=0x3E => term.push(length(1) as u8),
        0x3F..=0xFFD => term.extend(&encoded(2)[..2]),
        _ => term.extend(&encoded(3)[..3]),
    }
    term.extend(body);
    term
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves_in_every_form() {
        assert_eq!(with_length(&[SCOPE], &[0; 0x3E])[..2], [SCOPE, 0x3F]);
        assert_eq!(with_length(&[SCOPE], &[0; 0x3F])[..3], [SCOPE, 0x41, 0x04]);
        assert_eq!(with_length(&[SCOPE], &[0; 0xFFD])[..3], [SCOPE, 0x4F, 0xFF]);
        assert_eq!(with_length(&[SCOPE], &[0; 0xFFE])[..4], [SCOPE, 0x81, 0x00, 0x01]);
    }

    #[test]
    fn integers_and_names_take_the_shortest_form() {
        assert_eq!(integer(0), [0]);
        assert_eq!(integer(1), [1]);
        assert_eq!(integer(2), [0x0A, 2]);
        assert_eq!(integer(0x1234), [0x0B, 0x34, 0x12]);
        assert_eq!(integer(0x1_0000), [0x0C, 0, 0, 1, 0]);
        assert_eq!(path("_S5_"), b"_S5_");
        assert_eq!(path("\\_SB_.PCI0"), b"\\\x2E_SB_PCI0");
        assert_eq!(path("PCI0.ISA_.PIRQ"), b"\x2F\x03PCI0ISA_PIRQ");
    }

    #[test]
    fn identifiers_are_compressed() {
        assert_eq!(eisa_id("PNP0A03"), [DWORD, 0x41, 0xD0, 0x0A, 0x03]);
        assert_eq!(eisa_id("PNP0C0F"), [DWORD, 0x41, 0xD0, 0x0C, 0x0F]);
    }
}
