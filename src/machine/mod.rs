//! The machine: owns guest memory, CPUs and devices, and runs them.
//!
//! All nondeterministic data enters through [`inputs`]. Output leaves through [`output`]; [`screen`] shows the
//! text screen.

mod bios;
pub mod board;
pub mod clock;
pub mod coalescing;
pub mod cpu;
mod creation;
mod debug_writes;
pub mod dirty;
pub mod disks;
mod emulation;
mod error;
pub mod exit_counts;
pub mod exit_times;
pub mod flight_recorder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
pub mod fw_cfg_fuzzing;
pub mod input_buffer;
mod input_delivery;
pub mod inputs;
mod interrupt_delivery;
pub mod interrupts;
pub mod journal;
mod kernel_irqchip;
mod mapped_memory;
pub mod mouse_input;
mod msr_access;
mod occurrence;
pub mod outcome;
pub mod output;
mod rescue;
mod run;
mod saved;
mod schedule;
pub mod screen;
mod sleeping;
pub mod snapshots;
mod stepping;
mod symbols;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
pub(crate) mod testing;
mod time_source;
mod triple_fault;
mod video;
mod virtio_disks;
mod virtio_request;
mod watchpoint_pages;

use std::path::PathBuf;
use std::sync::Arc;

use tracing::info;

pub use cpu::{Cpu, CpuId, CpuState, RunState};
pub use error::MachineError;
pub use outcome::Outcome;
pub use rescue::RescuedException;
pub use saved::{MachineState, PendingAction, Restoration};
pub use stepping::Event;
pub use watchpoint_pages::{UndetectableReads, WatchRange, WatchedAccess};

use crate::boot::{
    self, BootOptions, Choice, FoundProtocol, GuestFile, Image, LoadedGuest, ResetAction, SymbolSource,
    is_large_kernel, without_disk_contents,
};
use crate::kvm::probe::{self, Speed};
use crate::kvm::{HostError, Kvm};
use crate::memory::{GuestMemory, ShadowControl};
use crate::settings::{BootKind, ClockMode, GdbArch, IrqchipMode, KeyTarget, LayoutName, Schedule};
use board::Board;
use clock::Clock;
use coalescing::Coalescing;
use creation::{Processors, power_on};
use dirty::DirtyTrackers;
use disks::Disks;
use exit_counts::ExitCounts;
use flight_recorder::{FlightRecorder, Occurrence};
use input_buffer::InputBuffer;
use inputs::Inputs;
use journal::{Journal, JournalEvent, Position, Recording};
use mapped_memory::MappedMemory;
use output::OutputQueue;
use schedule::Scheduler;
use screen::Screen;
use symbols::Symbols;
use time_source::TimeSource;
use watchpoint_pages::WatchpointPages;

/// The configuration of a machine.
pub struct MachineSpec {
    /// The device of KVM that it runs through.
    pub device: PathBuf,
    /// Size of RAM in bytes.
    pub memory: u64,
    /// How the guest is booted.
    pub boot: BootOptions,
    /// The device that receives keyboard input.
    pub keys: KeyTarget,
    /// The keyboard layout the guest expects.
    pub layout: LayoutName,
    /// The serial port (0 is COM1) that receives the terminal's input.
    pub terminal: Option<u8>,
    /// End the run when the guest resets the machine.
    pub no_reboot: bool,
    /// Number of CPUs, from 1 to [`lapic::MOST_CPUS`](crate::devices::lapic::MOST_CPUS). A saved state has its own.
    pub cpus: u8,
    /// How several CPUs run.
    pub schedule: Schedule,
    /// When the machine's clock runs.
    pub clock: ClockMode,
    /// Whose interrupt controllers and interval timer it has.
    pub irqchip: IrqchipMode,
    /// The time of day at power-on, in seconds since 1970 UTC.
    pub time_of_day: i64,
    /// The IDE function has flat base address registers
    /// ([`IdeFunction::new`](crate::devices::pci::ide::IdeFunction::new)).
    pub flat_ide_bars: bool,
    /// The guest can stop itself in a debugger: it has the port for that.
    pub magic_break: bool,
    /// It has a display adapter with a linear framebuffer.
    pub framebuffer: bool,
}

/// A machine, ready to run.
pub struct Machine {
    guest_file: GuestFile,
    symbols: Symbols,
    reset_action: ResetAction,
    options: BootOptions,
    layout: LayoutName,
    no_reboot: bool,
    magic_break: bool,
    kvm: Kvm,
    ram: MappedMemory,
    cpus: Vec<Cpu>,
    /// The CPU that runs, or whose exit was handled last.
    current: CpuId,
    scheduler: Scheduler,
    memory: Arc<GuestMemory>,
    board: Board,
    disks: Disks,
    clock: Clock,
    time: TimeSource,
    journal: Journal,
    input_buffer: InputBuffer,
    coalescing: Coalescing,
    inputs: Inputs,
    outputs: OutputQueue,
    screen: Screen,
    watchpoint_pages: WatchpointPages,
    trackers: DirtyTrackers,
    resets: u64,
    /// Exits of the guest, by reason.
    exit_counts: ExitCounts,
    exit_times: Option<Box<exit_times::ExitTimes>>,
    /// What happened last.
    recorder: FlightRecorder,
    /// Instructions emulated by CPUs that a reset or a restored state has replaced.
    emulated_before: u64,
    /// Performed before the guest continues.
    pending_action: Option<PendingAction>,
}

impl Machine {
    /// Builds a machine and loads the guest by the protocol that was found for its file; its first instruction has not run
    /// yet.
    ///
    /// # Errors
    ///
    /// [`MachineError`]; errors of the guest file are reported before those of the host.
    pub fn new(
        (image, found): (Box<dyn Image>, FoundProtocol),
        mut spec: MachineSpec,
        inputs: Inputs,
        outputs: OutputQueue,
    ) -> Result<Machine, MachineError> {
        let memory = Arc::new(GuestMemory::new(spec.memory)?);
        if spec.framebuffer {
            memory.add_video_memory()?;
        }
        spec.boot.time_of_day = Some(spec.time_of_day);
        let loaded = boot::load_as(found, image.as_ref(), &memory, &spec.boot)?;
        log_loaded(&loaded);
        info!("{}, with {} MiB of RAM", loaded.kind_and_choice(), memory.size() >> 20);
        // A reset loads it as the same kind.
        spec.boot.kind = Some(loaded.kind);
        let image = without_disk_contents(image, loaded.kind);
        let kvm = Kvm::open(&spec.device)?;
        refuse_if_interpreted(&kvm, image.as_ref(), &loaded)?;
        let processors = Processors { count: spec.cpus, schedule: spec.schedule, inputs: &inputs };
        let hardware = power_on(&kvm, memory.clone(), &processors, loaded.start_state(), spec.irqchip)?;
        let guest = (GuestFile { image, symbols: loaded.symbols }, loaded.reset);
        let mut machine = Machine::assemble(guest, spec, kvm, hardware, memory, inputs, outputs);
        machine.map_for_several()?;
        machine.set_boot_mode(loaded.framebuffer)?;
        Ok(machine)
    }

    fn assemble(
        (guest_file, reset_action): (GuestFile, ResetAction),
        spec: MachineSpec,
        kvm: Kvm,
        (ram, cpus): (MappedMemory, Vec<Cpu>),
        memory: Arc<GuestMemory>,
        inputs: Inputs,
        outputs: OutputQueue,
    ) -> Machine {
        let mut board = Board::default();
        board.set_cpus(cpus.len() as u8);
        board.set_irqchip(spec.irqchip);
        board.set_up_cmos(spec.memory, spec.time_of_day);
        board.set_flat_ide_bars(spec.flat_ide_bars);
        if memory.has_video_memory() {
            board.add_display();
        }
        match memory.rom_state() {
            Some(rom) => board.set_up_firmware(&memory, rom.option_rom, cpus.len() as u8),
            None => board.set_up_pci(),
        }
        if spec.magic_break {
            board.connect_debugger_port();
        }
        if spec.boot.kind.is_some_and(BootKind::has_bios) {
            board.connect_bios_port();
        }
        let scheduler = Scheduler::new(spec.schedule);
        Machine {
            screen: Screen::new(memory.clone(), board.vga().view()),
            input_buffer: InputBuffer::new(spec.keys, spec.terminal),
            coalescing: scheduler.coalescing(&cpus),
            guest_file,
            symbols: Symbols::default(),
            reset_action,
            options: spec.boot,
            layout: spec.layout,
            no_reboot: spec.no_reboot,
            magic_break: spec.magic_break,
            kvm,
            ram,
            cpus,
            current: CpuId::BOOT,
            scheduler,
            memory,
            board,
            disks: Disks::default(),
            clock: Clock::default(),
            time: TimeSource::new(spec.clock),
            journal: Journal::default(),
            inputs,
            outputs,
            watchpoint_pages: WatchpointPages::default(),
            trackers: DirtyTrackers::default(),
            resets: 0,
            exit_counts: ExitCounts::default(),
            exit_times: None,
            recorder: FlightRecorder::default(),
            emulated_before: 0,
            pending_action: None,
        }
    }

    /// The text screen.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Guest memory, for threads that access it while the guest runs.
    pub fn shared_memory(&self) -> Arc<GuestMemory> {
        self.memory.clone()
    }

    /// The guest file.
    pub fn image(&self) -> &dyn Image {
        self.guest_file.image.as_ref()
    }

    /// The source of the guest's symbols.
    pub fn symbols(&self) -> SymbolSource {
        self.guest_file.symbols
    }

    /// The open device.
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The input queue, through which all inputs enter the machine.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// All CPUs, the bootstrap processor first.
    pub fn cpu_ids(&self) -> impl Iterator<Item = CpuId> + use<> {
        (0..self.cpus.len()).map(|number| CpuId::new(number as u8))
    }

    /// Discards what the guest sends from now on.
    pub(crate) fn mute(&mut self) -> Result<(), HostError> {
        let doorbell = output::Doorbell::new();
        let doorbell = doorbell.map_err(|error| HostError::because("discard the guest's output", error))?;
        // Without a reader, what does not fit is dropped.
        self.outputs = output::output_queue(doorbell).0;
        Ok(())
    }

    /// The CPU that ran last, to which the last [`Event`] belongs.
    pub fn current_cpu(&self) -> CpuId {
        self.current
    }

    /// A CPU; `id` is one of [`Self::cpu_ids`].
    #[inline]
    pub fn cpu(&self, id: CpuId) -> &Cpu {
        &self.cpus[id]
    }

    /// A CPU, mutable; `id` is one of [`Self::cpu_ids`].
    #[inline]
    pub fn cpu_mut(&mut self, id: CpuId) -> &mut Cpu {
        &mut self.cpus[id]
    }

    /// How the guest was booted.
    pub fn boot_options(&self) -> &BootOptions {
        &self.options
    }

    /// The architecture that gdb sees unless the user chooses one: that of the kind of guest, or of its file if that
    /// is a 64-bit one, which gdb would refuse otherwise.
    pub fn gdb_arch(&self) -> GdbArch {
        match self.options.saved_protocol().kind.spec().gdb_arch {
            GdbArch::I386 if boot::is_64_bit_elf(self.image()) => GdbArch::X86_64,
            arch => arch,
        }
    }

    /// The keyboard layout the guest expects.
    pub fn layout(&self) -> LayoutName {
        self.layout
    }

    /// True if a reset ends the run.
    pub fn no_reboot(&self) -> bool {
        self.no_reboot
    }

    /// True if the guest can stop itself in a debugger.
    pub fn magic_break(&self) -> bool {
        self.magic_break
    }

    /// Connects the port at which the guest asks for a test ([`crate::devices::test_port`]). A restored snapshot is
    /// without it again.
    pub fn connect_test_port(&mut self) {
        self.board.connect_test_port();
    }

    /// The devices.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The machine's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The machine's place in its history: all events and accesses so far.
    pub fn position(&self) -> Position {
        self.journal.position(self.board.accesses())
    }

    /// Counts a nondeterministic event that takes effect now, and records it while a recording is active. Must
    /// be called for every change of registers, memory or devices from outside the guest.
    pub fn note(&mut self, event: impl FnOnce() -> JournalEvent) {
        self.journal.note(self.board.accesses(), event);
    }

    /// Records what has happened, for commands and crash reports.
    #[inline]
    pub fn record(&mut self, cpu: CpuId, what: Occurrence) {
        self.recorder.record(self.journal.events(), cpu, what);
    }

    /// What happened last.
    pub fn recorder(&self) -> &FlightRecorder {
        &self.recorder
    }

    /// The same, to choose what is logged.
    pub fn recorder_mut(&mut self) -> &mut FlightRecorder {
        &mut self.recorder
    }

    /// Starts to record events, at most `limit` of them.
    pub fn start_journal(&mut self, limit: usize) {
        self.journal.start(limit);
    }

    /// Ends the recording; `None` if none is active.
    pub fn stop_journal(&mut self) -> Option<Recording> {
        self.journal.stop()
    }

    /// Maps all of RAM if there are several CPUs. An access to an unmapped slot exits, which would tear a locked
    /// instruction of one CPU apart while another accesses the same data.
    fn map_for_several(&mut self) -> Result<(), HostError> {
        if self.cpus.len() > 1 {
            self.ram.map_all()?;
        }
        Ok(())
    }

    /// What a new virtual machine with `count` CPUs needs.
    fn processors(&self, count: usize) -> Processors<'_> {
        Processors { count: count as u8, schedule: self.scheduler.schedule, inputs: &self.inputs }
    }

    /// Resets the machine: new virtual machine and CPUs, initial devices, empty memory, the guest loaded again.
    fn reset(&mut self) -> Result<(), MachineError> {
        self.resets += 1;
        info!("machine reset number {}", self.resets);
        self.log_totals();
        let (registers, others, framebuffer) = match self.reset_action {
            ResetAction::Reload => {
                self.memory.discard()?;
                // The file may have been overwritten since.
                self.symbols.forget_guest_file();
                self.options.time_of_day = Some(self.board.time_of_day());
                let loaded = boot::load(self.image(), &self.memory, &self.options)?;
                log_loaded(&loaded);
                (loaded.registers, loaded.other_processors, loaded.framebuffer)
            }
            // Firmware decides what becomes of the contents of RAM.
            ResetAction::ResetVector => {
                self.memory.control_shadow(ShadowControl::default())?;
                (boot::after_reset(), Vec::new(), None)
            }
        };
        self.emulated_before = self.emulated();
        let (irqchip, processors) = (self.irqchip(), self.processors(self.cpus.len()));
        (self.ram, self.cpus) =
            power_on(&self.kvm, self.memory.clone(), &processors, (&registers, &others), irqchip)?;
        self.map_for_several()?;
        self.current = CpuId::BOOT;
        self.scheduler.forget();
        self.input_buffer.reset(&self.board, &self.inputs);
        self.board.reset();
        self.board.set_cpus(self.cpus.len() as u8);
        self.board.set_up_pci();
        self.disks.forget_requests();
        self.board.advance(self.clock.now(), |_| {});
        self.coalescing = self.scheduler.coalescing(&self.cpus);
        self.pending_action = None;
        self.display_replaced()?;
        self.set_boot_mode(framebuffer)?;
        self.inputs.set_mouse_enabled(self.board.i8042().mouse_is_enabled());
        self.resume_dirty_tracking()?;
        self.protect_after_reset()?;
        Ok(())
    }
}

/// Refuses a kernel that an instruction emulator does not bring to its first message, unless the user has chosen its kind.
fn refuse_if_interpreted(kvm: &Kvm, image: &dyn Image, loaded: &LoadedGuest) -> Result<(), MachineError> {
    if !is_large_kernel(image, loaded.kind) || kvm.runs_ring_0_on_processor() {
        return Ok(());
    }
    if !probe::SPEED.ring0.get(kvm)?.is_some_and(Speed::is_interpreted) {
        return Ok(());
    }
    let error = MachineError::Interpreted { file: image.name().to_owned() };
    if loaded.choice != Choice::Chosen {
        return Err(error);
    }
    tracing::warn!("{error}");
    Ok(())
}

fn log_loaded(loaded: &LoadedGuest) {
    for region in &loaded.layout {
        info!("{region}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    info!("{}", loaded.entry_state());
}
