//! What several protocols pass on to the guest: command lines, modules, and the PVH start info with all it points to.

use super::allocator::Allocator;
use super::error::{BootError, GuestProblem};
use super::image::{self, FileImage, Image};
use super::start_info::{self, Module};
use super::{BootOptions, firmware_tables};
use crate::memory::GuestMemory;

/// Refuses command lines that cannot be passed as text with a zero byte at its end.
pub(super) fn check_command_lines(options: &BootOptions) -> Result<(), BootError> {
    let check = |text: &str, what: String| {
        if text.contains('\0') { Err(BootError::CommandLine { what }) } else { Ok(()) }
    };
    check(&options.command_line, "the guest".to_owned())?;
    options.all_modules().try_for_each(|(path, text)| check(text, format!("module {}", path.display())))
}

/// The modules' files, each with its command line.
pub(super) fn open_modules(options: &BootOptions) -> Result<Vec<(FileImage, &str)>, BootError> {
    options.all_modules().map(|(path, text)| Ok((FileImage::open(path)?, text))).collect()
}

/// Copies the modules into memory.
pub(super) fn load_modules<'a>(
    memory: &GuestMemory,
    files: Vec<(FileImage, &'a str)>,
    allocator: &mut Allocator,
) -> Result<Vec<Module<'a>>, BootError> {
    let mut modules = Vec::with_capacity(files.len());
    for (file, command_line) in files {
        let start = allocator.allocate_module(file.name(), file.len())?;
        let wrap = |problem: GuestProblem| BootError::Module { file: file.name().to_owned(), problem };
        image::copy(&file, 0, file.len(), memory, start, wrap)?;
        modules.push(Module { range: start..start + file.len(), command_line });
    }
    Ok(modules)
}

/// Writes the start info, and the firmware tables that it points to; its address.
pub(super) fn write_start_info(
    memory: &GuestMemory,
    options: &BootOptions,
    modules: &[Module<'_>],
    allocator: &mut Allocator,
    warnings: &mut Vec<String>,
) -> Result<u64, BootError> {
    let tables = firmware_tables::write(memory, &options.platform, allocator)?;
    if tables.is_none() {
        warnings.push("there is no room for the ACPI and MP tables, so the guest gets none".to_owned());
    }
    let map = start_info::memory_map(memory.ram(), tables.as_ref());
    let rsdp = tables.map_or(0, |tables| tables.start);
    let build = |base| start_info::build(base, &options.command_line, modules, rsdp, &map);
    let at = allocator.allocate("the boot information", build(0).len() as u64)?;
    memory.write(at, &build(at))?;
    Ok(at)
}
