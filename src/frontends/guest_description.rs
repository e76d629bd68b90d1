//! The text of `kvm inspect`: a guest that has been loaded and not run.

use super::messages::escaped;
use crate::boot::{Image, LoadedGuest, SymbolIndex, SymbolSource, cdrom, has_symbols};
use crate::inspect::disassembly::{LONGEST_INSTRUCTION, decode};
use crate::inspect::translate::read_virtual;
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Instructions that are shown.
const INSTRUCTIONS: usize = 4;

/// Describes the guest that was `loaded` from `image` into `memory`. Some of these strings come from the file.
#[cold]
pub fn describe(image: &dyn Image, memory: &GuestMemory, loaded: &LoadedGuest) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        text += format!("{name:<14}{}", escaped(value, &[])).trim_end();
        text.push('\n');
    };
    let packing = if image.is_unpacked() { " when unpacked by gzip" } else { "" };
    row("file", &format!("{}, {} bytes{packing}", image.name(), image.len()));
    row("kind", &format!("{}: {}, {}", loaded.kind.name(), loaded.kind.spec().file, loaded.choice));
    if loaded.kind == BootKind::Cdrom
        && let Ok(boot_image) = cdrom::boot_image(image)
    {
        row("boot image", &boot_image.to_string());
    }
    row("memory", &format!("{} MiB", memory.size() >> 20));
    for (number, region) in loaded.layout.iter().enumerate() {
        row(if number == 0 { "loaded" } else { "" }, &region.to_string());
    }
    row("start", &loaded.entry_state());
    for (number, line) in registers(loaded).iter().enumerate() {
        row(if number == 0 { "registers" } else { "" }, line);
    }
    for (number, line) in first_instructions(memory, loaded).iter().enumerate() {
        row(if number == 0 { "instructions" } else { "" }, line);
    }
    row("symbols", &symbols(image, loaded));
    for warning in &loaded.warnings {
        row("warning", warning);
    }
    text
}

/// The registers that are not 0, and all segments.
fn registers(loaded: &LoadedGuest) -> Vec<String> {
    let registers = &loaded.registers;
    let numbers = |named: &[(&str, u64)]| {
        let set = named.iter().filter(|(_, value)| *value != 0);
        set.map(|(name, value)| format!("{name} {value:#x}")).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![numbers(&registers.named()), numbers(&registers.control())];
    let segments = registers.segments().map(|(name, segment)| match segment.unusable {
        0 => format!("{name} {:#x} (base {:#x}, limit {:#x})", segment.selector, segment.base, segment.limit),
        _ => format!("{name} null"),
    });
    lines.extend(segments.chunks(3).map(|part| part.join(", ")));
    let tables = registers
        .tables()
        .map(|(name, table)| format!("{name} at {:#x}, limit {:#x}", table.base, table.limit));
    lines.push(tables.join(", "));
    lines.retain(|line| !line.is_empty());
    lines
}

fn first_instructions(memory: &GuestMemory, loaded: &LoadedGuest) -> Vec<String> {
    let registers = &loaded.registers;
    let (bitness, base) =
        (registers.bitness(), registers.next_instruction().wrapping_sub(registers.general.rip));
    let mut pointer = registers.general.rip;
    let mut lines = Vec::new();
    while lines.len() < INSTRUCTIONS {
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let linear = base.wrapping_add(pointer);
        let count = read_virtual(memory, registers, linear, &mut bytes);
        let Some(decoded) = decode(&bytes[..count], bitness, pointer) else {
            lines.push(format!("{linear:#x}: no instruction"));
            break;
        };
        lines.push(format!("{linear:#x}: {}", decoded.text));
        pointer = pointer.wrapping_add(decoded.length as u64);
    }
    lines
}

fn symbols(image: &dyn Image, loaded: &LoadedGuest) -> String {
    match loaded.symbols {
        SymbolSource::GuestFile { bias } if has_symbols(image) => {
            let entry = loaded.registers.next_instruction().wrapping_sub(bias);
            match SymbolIndex::read(image).symbol_at(image, entry) {
                Some(symbol) => format!("in the guest file; the first instruction is in {symbol}"),
                None => "in the guest file".to_owned(),
            }
        }
        _ => "none in the guest file; `--symbols FILE` names a file that has them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{BootOptions, BytesImage, load};

    #[test]
    fn a_flat_image_is_described_from_its_first_byte_on() {
        let image = BytesImage::new("a\x1b.bin", &[0xBE, 0x10, 0, 0xF4, 0x0F, 0xFF]);
        let memory = GuestMemory::new(1 << 20).unwrap();
        let loaded = load(&image, &memory, &BootOptions::default()).unwrap();
        let text = describe(&image, &memory, &loaded);
        for line in [
            "file          a\\u{1b}.bin, 6 bytes\n",
            "kind          flat: flat 16-bit image, recognised by the ending .bin\n",
            "loaded        0x0..0x6 image\n",
            "start         entry CS:IP 0x0:0x0 in real mode, stack SS:SP 0x0:0x0\n",
            "instructions  0x0: mov si, 0x10\n              0x3: hlt\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
