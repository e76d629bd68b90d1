//! A machine without its memory, as sections.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::SnapshotError;
use super::container::{self, Section, SectionEntry};
use super::guest_file::{self, GuestFileCopy};
use super::guest_file_info::{GuestFileInfo, absolute};
use super::saved_boot::{BOOT, SavedBoot};
use crate::boot::{BytesImage, Image};
use crate::devices::lapic::MOST_CPUS;
use crate::devices::table::is_device_section;
use crate::devices::{MachineTime, Payload};
use crate::kvm::{CpuFeatures, KernelIrqchipState, VcpuState};
use crate::machine::input_buffer::InputBufferState;
use crate::machine::inputs::Inputs;
use crate::machine::journal::Position;
use crate::machine::output::OutputQueue;
use crate::machine::{
    CpuId, CpuState, Machine, MachineSpec, MachineState, PendingAction, Restoration, RunState,
};
use crate::memory::{GuestMemory, RomState};
use crate::settings::{ClockMode, IrqchipMode, KeyTarget, LayoutName, Schedule};

/// Names of the sections other than devices, and the latest version of each.
const FACTS: (&str, u16) = ("facts", 1);
const GUEST: (&str, u16) = ("guest", 1);
/// One for each CPU.
const VCPU: (&str, u16) = ("vcpu", 1);
/// The run states of several CPUs; that of a single one is in [`MACHINE`].
const CPUS: (&str, u16) = ("cpus", 1);
const MACHINE: (&str, u16) = ("machine", 1);
const INPUT_BUFFER: (&str, u16) = ("typing", 1);
const MOUSE_INPUT: (&str, u16) = ("mouse", 1);
const TIME: (&str, u16) = ("time", 1);
const COALESCING: (&str, u16) = ("batching", 1);
const GUARDS: (&str, u16) = ("guards", 1);
/// Only in files of machines with KVM's interrupt controllers.
const KERNEL_IRQCHIP: (&str, u16) = ("kernel-irqchip", 1);
/// Only in files of machines with firmware in ROM.
const ROM: (&str, u16) = ("rom", 1);

/// A machine without its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedMachine {
    /// The program that wrote this.
    pub writer: String,
    /// Size of RAM in bytes.
    pub memory: u64,
    /// The processor features of the guest.
    pub features: CpuFeatures,
    /// The guest.
    pub guest: GuestFileInfo,
    /// Everything else.
    pub machine: MachineState,
}

/// Requirements on the program and the host that restore the machine.
#[derive(Serialize, Deserialize)]
struct Compatibility {
    writer: String,
    memory: u64,
    features: CpuFeatures,
}

/// The machine as a whole.
#[derive(Serialize, Deserialize)]
struct MachineGlobals {
    clock: u64,
    halted: bool,
    resets: u64,
    pending_action: Option<PendingAction>,
}

/// The machine's clock and its position in its history. Older files lack this section: both start at zero.
#[derive(Default, Serialize, Deserialize)]
struct Time {
    now: MachineTime,
    position: Position,
}

/// Settings of the user that are not part of the guest.
#[derive(Clone, Debug)]
pub struct UserInterface {
    /// The device of KVM that the guest runs through.
    pub device: PathBuf,
    /// Where keyboard input goes.
    pub keys: KeyTarget,
    /// The keyboard layout the guest expects.
    pub layout: LayoutName,
    /// The serial port (0 is COM1) that shares the terminal with keyboard input.
    pub terminal: Option<u8>,
    /// End the run when the guest resets the machine.
    pub no_reboot: bool,
    /// How several CPUs run.
    pub schedule: Schedule,
    /// When the machine's clock runs.
    pub clock: ClockMode,
    /// The interrupt controllers of guests that start; one that was saved keeps those that it has.
    pub irqchip: IrqchipMode,
    /// The guest can stop itself in a debugger.
    pub magic_break: bool,
}

impl SavedMachine {
    /// Captures the state of a machine. An access in progress is completed first. `pending` is the action
    /// that the caller has deferred until the guest resumes, if any.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Host`].
    pub fn capture(
        machine: &mut Machine,
        pending: Option<PendingAction>,
    ) -> Result<SavedMachine, SnapshotError> {
        let mut state = machine.state()?;
        state.pending_action = pending.or(state.pending_action);
        let options = machine.boot_options();
        Ok(SavedMachine {
            writer: format!("kvm {}", env!("CARGO_PKG_VERSION")),
            memory: machine.memory().size(),
            features: machine.cpu(CpuId::BOOT).vcpu().features(),
            guest: GuestFileInfo {
                path: absolute(Path::new(machine.image().name())),
                length: machine.image().len(),
                bias: machine.symbols().bias(),
                strict: options.strict,
                guards: !options.no_guards,
                boot: SavedBoot::of(options, absolute),
                command_line: options.command_line.clone(),
                modules: options.modules.iter().map(|(path, line)| (absolute(path), line.clone())).collect(),
            },
            machine: state,
        })
    }

    /// Encodes it as sections.
    pub(super) fn to_sections(&self) -> Vec<Section> {
        let state = &self.machine;
        let facts = Compatibility {
            writer: self.writer.clone(),
            memory: self.memory,
            features: self.features.clone(),
        };
        let halted = state.boot_cpu().run_state == RunState::Halted;
        let whole = MachineGlobals {
            clock: state.clock,
            halted,
            resets: state.resets,
            pending_action: state.pending_action,
        };
        let mut sections = vec![section(FACTS, &facts), section(GUEST, &self.guest)];
        sections.extend(
            (0..).zip(&state.cpus).map(|(number, cpu)| Section { number, ..section(VCPU, &cpu.vcpu) }),
        );
        if let [_, _, ..] = *state.cpus {
            let run_states: Vec<RunState> = state.cpus.iter().map(|cpu| cpu.run_state).collect();
            sections.push(section(CPUS, &run_states));
        }
        sections.extend([
            section(MACHINE, &whole),
            section(GUARDS, &self.guest.guards),
            section(TIME, &Time { now: state.now, position: state.position }),
            section(INPUT_BUFFER, &state.input_buffer),
            section(MOUSE_INPUT, &state.input_buffer.mouse),
            section(COALESCING, &state.coalescing),
        ]);
        sections.extend(self.guest.boot.to_section());
        sections.extend(state.kernel_irqchip.iter().map(|irqchip| section(KERNEL_IRQCHIP, irqchip)));
        sections.extend(state.rom.iter().map(|rom| section(ROM, rom)));
        sections.extend(state.devices.iter().map(|(number, payload)| Section {
            name: payload.kind.clone(),
            number: *number,
            version: payload.version,
            bytes: payload.bytes.clone(),
        }));
        sections
    }

    /// Decodes it from the sections of `image`, except memory and the guest's file.
    pub(super) fn read(image: &dyn Image, entries: &[SectionEntry]) -> Result<SavedMachine, SnapshotError> {
        let from = SectionReader { image, entries };
        let facts: Compatibility = from.section(FACTS)?;
        let mut guest: GuestFileInfo = from.section(GUEST)?;
        guest.guards = from.optional(GUARDS)?.unwrap_or(false);
        guest.boot = from.optional(BOOT)?.unwrap_or_default();
        let whole: MachineGlobals = from.section(MACHINE)?;
        let time: Time = from.optional(TIME)?.unwrap_or_default();
        let mut input_buffer: InputBufferState = from.section(INPUT_BUFFER)?;
        input_buffer.mouse = from.optional(MOUSE_INPUT)?.unwrap_or_default();
        let coalescing = from.section(COALESCING)?;
        let kernel_irqchip: Option<KernelIrqchipState> = from.optional(KERNEL_IRQCHIP)?;
        let rom: Option<RomState> = from.optional(ROM)?;
        let mut devices = Vec::new();
        for entry in entries {
            if is_device_section(&entry.name) {
                let Section { name, number, version, bytes } = container::read_section(image, entry)?;
                devices.push((number, Payload { kind: name, version, bytes }));
            } else if !is_known(entry) {
                let section = entry.title();
                return Err(SnapshotError::UnknownSection { name: image.name().to_owned(), section });
            }
        }
        let damaged = |what: String| SnapshotError::Damaged { name: image.name().to_owned(), what };
        guest.boot.check().map_err(damaged)?;
        if !facts.features.is_valid() {
            return Err(damaged("its processor has no features".into()));
        }
        let cpus = from.cpus(whole.halted)?;
        if let Some(irqchip) = &kernel_irqchip {
            irqchip
                .check(cpus.len())
                .map_err(|what| damaged(format!("KVM's interrupt controllers there have {what}")))?;
        }
        if let Some(what) = rom.as_ref().and_then(RomState::problem) {
            return Err(damaged(what));
        }
        let machine = MachineState {
            cpus,
            clock: whole.clock,
            devices,
            now: time.now,
            position: time.position,
            input_buffer,
            coalescing,
            resets: whole.resets,
            pending_action: whole.pending_action,
            kernel_irqchip,
            rom,
        };
        Ok(SavedMachine {
            writer: facts.writer,
            memory: facts.memory,
            features: facts.features,
            guest,
            machine,
        })
    }

    /// Gives `memory` the parts besides RAM that the machine has.
    pub(super) fn prepare_memory(&self, name: &str, memory: &GuestMemory) -> Result<(), SnapshotError> {
        if !self.machine.has_video_memory() {
            memory.remove_video_memory();
            return Ok(());
        }
        memory.add_video_memory().map_err(|error| SnapshotError::machine(name, error))
    }

    /// Checks that every device accepts its state.
    pub(super) fn verify(&self, name: &str) -> Result<(), SnapshotError> {
        self.machine.board().map(drop).map_err(|error| SnapshotError::machine(name, error))
    }

    /// Encodes the sections, including the guest's file ([`ReceivedMachine::read`]): everything besides the
    /// memory contents that another host needs to continue the machine.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::TooLarge`].
    pub fn to_bytes(&self, image: &dyn Image) -> Result<Vec<u8>, SnapshotError> {
        let mut sections = self.to_sections();
        sections.extend(guest_file::to_section(image));
        container::to_bytes(&sections)
    }

    /// Restores the machine with memory that already holds its contents. `guest_file` is the copy of the guest's file.
    pub(super) fn build_machine(
        &self,
        name: &str,
        guest_file: GuestFileCopy,
        memory: Arc<GuestMemory>,
        user_interface: UserInterface,
        inputs: Inputs,
        outputs: OutputQueue,
    ) -> Result<Machine, SnapshotError> {
        let irqchip = self.machine.irqchip();
        if user_interface.irqchip != irqchip {
            let (kept, chosen) = (irqchip.name(), user_interface.irqchip.name());
            let message = format!(
                "the guest was saved with `irqchip = {kept}` and keeps it; `{chosen}` is for guests that start"
            );
            // The user has asked for something else than the default.
            if irqchip == IrqchipMode::User { warn!("{message}") } else { info!("{message}") }
        }
        let spec = MachineSpec {
            device: user_interface.device,
            irqchip,
            memory: self.memory,
            boot: self.guest.options(self.machine.cpus.len()),
            keys: user_interface.keys,
            layout: user_interface.layout,
            terminal: user_interface.terminal,
            no_reboot: user_interface.no_reboot,
            cpus: self.machine.cpus.len() as u8,
            schedule: user_interface.schedule,
            clock: user_interface.clock,
            time_of_day: 0,
            flat_ide_bars: false,
            magic_break: user_interface.magic_break,
            framebuffer: self.machine.has_video_memory(),
        };
        let guest_file = self.guest.file(guest_file);
        Machine::restored(guest_file, spec, &self.features, memory, &self.machine, inputs, outputs)
            .map_err(|error| SnapshotError::machine(name, error))
    }

    /// What the restored machine needs besides its state and memory.
    pub(super) fn restoration(&self, guest_file: GuestFileCopy) -> Restoration {
        Restoration {
            guest_file: self.guest.file(guest_file),
            options: self.guest.options(self.machine.cpus.len()),
            features: self.features.clone(),
        }
    }
}

/// Received machine state.
#[derive(Debug)]
pub struct ReceivedMachine {
    /// The decoded state.
    pub saved: SavedMachine,
    guest_file: GuestFileCopy,
}

impl ReceivedMachine {
    /// Decodes what [`SavedMachine::to_bytes`] has encoded; `name` stands for it in messages.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if it is not in this format, newer, or damaged.
    pub fn read(name: &str, bytes: &[u8]) -> Result<ReceivedMachine, SnapshotError> {
        let image = BytesImage::new(name, bytes);
        let entries = container::read_table(&image)?;
        let saved = SavedMachine::read(&image, &entries)?;
        let guest_file = guest_file::from_bytes(&image, &entries)?;
        Ok(ReceivedMachine { saved, guest_file })
    }

    /// Restores the machine with `memory`, which already holds its contents.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::MemorySize`] for memory of another size, [`SnapshotError::Machine`] if the machine
    /// cannot be restored here.
    pub fn into_machine(
        self,
        memory: Arc<GuestMemory>,
        user_interface: UserInterface,
        inputs: Inputs,
        outputs: OutputQueue,
    ) -> Result<Machine, SnapshotError> {
        let name = "the guest";
        if memory.size() != self.saved.memory {
            let (there, here) = (self.saved.memory, memory.size());
            return Err(SnapshotError::MemorySize { name: name.to_owned(), there, here });
        }
        self.saved.prepare_memory(name, &memory)?;
        self.saved.build_machine(name, self.guest_file, memory, user_interface, inputs, outputs)
    }
}

/// A source of sections.
struct SectionReader<'a> {
    image: &'a dyn Image,
    entries: &'a [SectionEntry],
}

impl SectionReader<'_> {
    /// As [`Self::section`], or `None` if there is no section of this name.
    fn optional<T: DeserializeOwned>(&self, name: (&str, u16)) -> Result<Option<T>, SnapshotError> {
        let found = self.entries.iter().any(|entry| entry.name == name.0);
        if found { self.section(name).map(Some) } else { Ok(None) }
    }

    /// The CPUs, from the first on; `halted` if a single one is.
    fn cpus(&self, halted: bool) -> Result<Vec<CpuState>, SnapshotError> {
        let damaged = |what: String| SnapshotError::Damaged { name: self.image.name().to_owned(), what };
        let count = self.entries.iter().filter(|entry| entry.name == VCPU.0).count();
        let single = vec![if halted { RunState::Halted } else { RunState::Running }];
        let run_states = self.optional(CPUS)?.unwrap_or(single);
        if !(1..=MOST_CPUS).contains(&run_states.len()) || count != run_states.len() {
            return Err(damaged(format!("it has {count} vCPUs, and run states of {}", run_states.len())));
        }
        let cpu = |(number, run_state): (u16, RunState)| {
            let vcpu: VcpuState = self.numbered(VCPU, number)?;
            vcpu.check().map_err(|what| damaged(format!("its vCPU {number} has {what}")))?;
            Ok(CpuState { vcpu, run_state })
        };
        (0..).zip(run_states).map(cpu).collect()
    }

    /// Reads the first section of this name, which must have at most this version.
    fn section<T: DeserializeOwned>(&self, name: (&str, u16)) -> Result<T, SnapshotError> {
        self.numbered(name, 0)
    }

    /// Reads section `number` of this name.
    fn numbered<T: DeserializeOwned>(
        &self,
        (name, known): (&str, u16),
        number: u16,
    ) -> Result<T, SnapshotError> {
        let image = || self.image.name().to_owned();
        let found = self.entries.iter().find(|entry| entry.name == name && entry.number == number);
        let entry = found.ok_or_else(|| {
            let index = if number == 0 { String::new() } else { format!(" {number}") };
            SnapshotError::Damaged { name: image(), what: format!("it has no section `{name}{index}`") }
        })?;
        check_version(self.image, entry, known)?;
        let section = container::read_section(self.image, entry)?;
        postcard::from_bytes(&section.bytes).map_err(|e| {
            let what = format!("section `{name}` cannot be read: {e}");
            SnapshotError::Damaged { name: image(), what }
        })
    }
}

/// Refuses a section whose version is later than `known`, or 0.
pub(super) fn check_version(
    image: &dyn Image,
    entry: &SectionEntry,
    known: u16,
) -> Result<(), SnapshotError> {
    let name = image.name().to_owned();
    if entry.version > known {
        let part = format!("section `{}`", entry.title());
        return Err(SnapshotError::NewerVersion { name, part, found: entry.version, known });
    }
    if entry.version == 0 {
        let what = format!("section `{}` has version 0", entry.title());
        return Err(SnapshotError::Damaged { name, what });
    }
    Ok(())
}

/// True for a section that is read elsewhere. Each of them occurs once, except the CPUs.
fn is_known(entry: &SectionEntry) -> bool {
    let names = [
        FACTS,
        GUEST,
        GUARDS,
        BOOT,
        VCPU,
        CPUS,
        MACHINE,
        TIME,
        INPUT_BUFFER,
        MOUSE_INPUT,
        COALESCING,
        KERNEL_IRQCHIP,
        ROM,
    ];
    let names = names.map(|(name, _)| name);
    let of_other_modules =
        super::memory_contents::NAMES.into_iter().chain([guest_file::NAME, super::saved_disks::NAME]);
    let numbers = if entry.name == VCPU.0 { MOST_CPUS as u16 } else { 1 };
    entry.number < numbers && names.into_iter().chain(of_other_modules).any(|name| name == entry.name)
}

/// Encodes `value` as the section of this name and version.
pub(super) fn section<T: Serialize>((name, version): (&str, u16), value: &T) -> Section {
    let bytes = postcard::to_stdvec(value).expect("encoding into memory cannot fail");
    Section { name: name.to_owned(), number: 0, version, bytes }
}
