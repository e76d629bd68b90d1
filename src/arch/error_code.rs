//! What the error code of an exception says.
//!
//! Manual: Intel SDM volume 3A, "Error Code" and "Page-Fault Exceptions".

use super::descriptor::SIZE;

/// Bits of a page fault's error code, with what they say when they are clear and set.
const PAGE_FAULT_BITS: [(u32, &str, &str); 7] = [
    (0, "not present", "protection"),
    (3, "", "reserved bit"),
    (4, "", "fetch"),
    (1, "", "write"),
    (2, "supervisor", "user"),
    (5, "", "protection key"),
    (6, "", "shadow stack"),
];
const WRITE: u32 = 1 << 1;
const FETCH: u32 = 1 << 4;

/// The exception was raised while an event from outside of the program was delivered.
pub const EXTERNAL: u32 = 1 << 0;
/// The code names a gate of the IDT.
pub const IN_IDT: u32 = 1 << 1;
const IN_LDT: u32 = 1 << 2;

/// `not present, write, supervisor` or `GDT selector 0x50, index 10`: what the error code `code` of the exception `vector`
/// says; `None` if it says nothing.
pub fn decoded(vector: u8, code: u32) -> Option<String> {
    match vector {
        14 => Some(page_fault(code)),
        10..=13 if code != 0 => Some(selector(code)),
        _ => None,
    }
}

fn page_fault(code: u32) -> String {
    let mut words = Vec::new();
    for (bit, clear, set) in PAGE_FAULT_BITS {
        words.push(if code >> bit & 1 == 1 { set } else { clear });
        if bit == 1 && code & (WRITE | FETCH) == 0 {
            words.push("read");
        }
    }
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

fn selector(code: u32) -> String {
    let index = gate(code);
    let mut text = match code & (IN_IDT | IN_LDT) {
        0 => format!("GDT selector {:#x}, index {index}", index * SIZE as u32),
        IN_LDT => format!("LDT selector {:#x}, index {index}", index * SIZE as u32 + IN_LDT),
        _ => format!("IDT gate {index:#x}"),
    };
    if code & EXTERNAL != 0 {
        text.push_str(", external event");
    }
    text
}

/// The index of the descriptor or gate that the code names.
pub fn gate(code: u32) -> u32 {
    code >> 3 & 0x1FFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_a_page_fault_are_named() {
        for (code, expected) in [
            (0x0, "not present, read, supervisor"),
            (0x2, "not present, write, supervisor"),
            (0x3, "protection, write, supervisor"),
            (0x7, "protection, write, user"),
            (0x9, "protection, reserved bit, read, supervisor"),
            (0x10, "not present, fetch, supervisor"),
            (0x15, "protection, fetch, user"),
            (0x25, "protection, read, user, protection key"),
        ] {
            assert_eq!(decoded(14, code).as_deref(), Some(expected), "{code:#x}");
        }
    }

    #[test]
    fn the_selector_and_its_table_are_named() {
        for (vector, code, expected) in [
            (13, 0x50, Some("GDT selector 0x50, index 10")),
            (11, 0x17, Some("IDT gate 0x2, external event")),
            (12, 0x14, Some("LDT selector 0x14, index 2")),
            (13, 0x402, Some("IDT gate 0x80")),
            (13, 0x103, Some("IDT gate 0x20, external event")),
            (13, 0, None),
            (17, 0, None),
            (8, 0, None),
        ] {
            assert_eq!(decoded(vector, code).as_deref(), expected, "{vector} {code:#x}");
        }
    }
}
