//! The machine for a guest file, as the settings say.

use std::path::PathBuf;
use std::time::SystemTime;

use super::failure_status::{boot_status, machine_status};
use super::{Failure, user_interface};
use crate::boot::{
    self, BootError, BootOptions, FileImage, FoundProtocol, Image, Platform, Protocol, has_symbols,
    has_symbols_at_fixed_addresses, open_guest_file,
};
use crate::frontends::messages::tell;
use crate::machine::inputs::Inputs;
use crate::machine::outcome::status;
use crate::machine::output::OutputQueue;
use crate::machine::{Machine, MachineSpec};
use crate::settings::{BootKind, Settings, SymbolFileSpec, VgaBiosSpec, VgaMode};

/// A machine with a guest to be started.
pub(super) fn new_machine(
    settings: &Settings,
    inputs: Inputs,
    outputs: OutputQueue,
) -> Result<Machine, Failure> {
    let image = open_guest(settings)?;
    let boot = boot_options(settings);
    let found = find_protocol(image.as_ref(), &boot)?;
    if let Some(note) = &found.note {
        // The log has it as a warning.
        tell(note);
    }
    let framebuffer = needs_framebuffer(settings, image.as_ref(), found.protocol);
    let memory = memory_size(settings, image.as_ref(), &boot, found.protocol);
    let user_interface = user_interface(settings);
    let spec = MachineSpec {
        device: settings.device.clone(),
        memory,
        boot,
        keys: user_interface.keys,
        layout: user_interface.layout,
        terminal: user_interface.terminal,
        no_reboot: user_interface.no_reboot,
        cpus: settings.cpus,
        schedule: user_interface.schedule,
        clock: user_interface.clock,
        irqchip: settings.irqchip,
        time_of_day: time_of_day(settings),
        flat_ide_bars: settings.flat_ide_bars,
        magic_break: user_interface.magic_break,
        framebuffer,
    };
    Machine::new((image, found), spec, inputs, outputs)
        .map_err(|error| Failure::new(machine_status(&error), error))
}

/// The protocol for a guest file. What can only be read from the whole of a CD is checked here, too.
pub(super) fn find_protocol(image: &dyn Image, boot: &BootOptions) -> Result<FoundProtocol, Failure> {
    let fail = |error| Failure::new(boot_status(&error), error);
    let found = Protocol::find(image, boot.kind).map_err(fail)?;
    if found.protocol.kind == BootKind::Cdrom {
        boot::cdrom::boot_image(image).map_err(fail)?;
    }
    Ok(found)
}

/// The guest file, unpacked if it is compressed.
pub(super) fn open_guest(settings: &Settings) -> Result<Box<dyn Image>, Failure> {
    open_guest_file(&settings.guest, settings.boot.kind).map_err(|error| match error {
        BootError::Missing { .. } => {
            Failure::new(status::GUEST_FILE, format_args!("The selected executable does not exist: {error}"))
        }
        error => Failure::new(boot_status(&error), error),
    })
}

/// The size of RAM: the user's, or the default of the kind of guest.
pub(super) fn memory_size(
    settings: &Settings,
    image: &dyn Image,
    options: &BootOptions,
    protocol: &Protocol,
) -> u64 {
    if !settings.memory_is_default {
        return settings.memory;
    }
    protocol.default_memory(image, options).unwrap_or(settings.memory)
}

/// True if the machine has a display adapter with a linear framebuffer.
pub(super) fn needs_framebuffer(settings: &Settings, image: &dyn Image, protocol: &Protocol) -> bool {
    match settings.vga {
        VgaMode::Auto => protocol.uses_framebuffer(image),
        VgaMode::Text => false,
        VgaMode::Std => true,
    }
}

/// How the guest is loaded.
pub(super) fn boot_options(settings: &Settings) -> BootOptions {
    BootOptions {
        kind: settings.boot.kind,
        load: settings.boot.load,
        entry: settings.boot.entry,
        initrd: settings.boot.initrd.clone(),
        strict: settings.strict,
        no_guards: settings.no_guards,
        command_line: settings.append.clone(),
        modules: settings
            .modules
            .iter()
            .map(|module| (module.path.clone(), module.arguments.clone()))
            .collect(),
        vga_bios: vga_bios(settings),
        platform: Platform { cpus: settings.cpus, ..Platform::default() },
        time_of_day: None,
    }
}

/// The VGA BIOS for firmware: the one that the user has named, or the first of the usual ones in its folder.
fn vga_bios(settings: &Settings) -> Option<PathBuf> {
    const USUAL: [&str; 3] = ["vgabios-isavga.bin", "vgabios-stdvga.bin", "vgabios.bin"];
    const OF_BOCHS: &str = "VGABIOS-lgpl-latest";
    let boot = &settings.boot;
    match &boot.vga_bios {
        _ if boot.kind != Some(BootKind::Rom) => None,
        VgaBiosSpec::None => None,
        VgaBiosSpec::File(file) => Some(file.clone()),
        VgaBiosSpec::Beside => {
            let folder = settings.guest.parent()?;
            let mut files = USUAL.into_iter().chain([OF_BOCHS]).map(|name| folder.join(name));
            files.find(|file| file.exists())
        }
    }
}

/// The time of day at power-on, in seconds since 1970 UTC.
fn time_of_day(settings: &Settings) -> i64 {
    settings.rtc.unwrap_or_else(|| {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_1970.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    })
}

/// Opens the files of `--symbols` for `machine`, and those of its modules that say where they are.
pub(super) fn add_symbols(machine: &mut Machine, settings: &Settings) -> Result<(), Failure> {
    for SymbolFileSpec { path, offset } in &settings.boot.symbols {
        let image = FileImage::open(path).map_err(|error| Failure::new(boot_status(&error), error))?;
        if !has_symbols(&image) {
            let message =
                format!("{} has no symbol table: --symbols takes an ELF file that has one", path.display());
            return Err(Failure::new(status::GUEST_FILE, message));
        }
        machine.add_symbols(Box::new(image), *offset);
    }
    let modules: Vec<PathBuf> = machine.boot_options().modules.iter().map(|(path, _)| path.clone()).collect();
    for path in modules {
        // The modules of a restored guest may be gone.
        if let Ok(image) = FileImage::open(&path)
            && has_symbols_at_fixed_addresses(&image)
        {
            machine.add_symbols(Box::new(image), 0);
        }
    }
    Ok(())
}
