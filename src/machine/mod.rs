//! The board: memory, a vCPU and chips, built from what the user asked for, owned and run here.
//!
//! Everything that is not decided by the guest itself enters through [`inputs`]; everything that
//! leaves the machine leaves through [`output`] or is looked at through [`screen`].

pub mod board;
pub mod coalescing;
mod debugged;
pub mod dirty;
pub mod input_buffer;
pub mod inputs;
pub mod outcome;
pub mod output;
mod power;
mod run;
mod saved;
pub mod screen;
pub mod snapshots;
#[cfg(test)]
pub(crate) mod testing;
pub mod unclaimed;
mod unwatched;
mod watched;

use std::sync::Arc;

use tracing::info;

pub use debugged::Event;
pub use outcome::Outcome;
pub use saved::{Due, MachineState, Revival};
pub use watched::{PhysicalWatch, Touch, Unseen};

use crate::arch::Registers;
use crate::boot::{self, Boot, BootError, BootOptions, Image};
use crate::devices::StateError;
use crate::emulate::Tally;
use crate::kvm::{GuestDebug, HostError, Kvm, Vcpu};
use crate::memory::{GuestMemory, MemoryError};
use crate::settings::{Keys, LayoutName};
use board::Board;
use coalescing::Coalescing;
use dirty::Followers;
use input_buffer::InputBuffer;
use inputs::Inputs;
use output::OutputQueues;
use power::Processor;
use screen::Screen;
use watched::Watched;

/// Why a machine could not be built.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The guest file cannot be run.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Guest memory cannot be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The host cannot run a machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The guest was given features, by another host, that this one does not have.
    #[error(
        "the guest was given a processor of {there} with features that this one of {here} does not have: {}; \
         let it go on where they are",
        if missing.is_empty() { "its maker's own".to_owned() } else { missing.join(", ") }
    )]
    Features {
        /// The features.
        missing: Vec<String>,
        /// The maker of the guest's processor.
        there: String,
        /// The maker of this host's.
        here: String,
    },
    /// A state that a machine is to go on from is none of a machine like this.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a machine is built from.
pub struct MachineSpec {
    /// The guest file; read again after a reset.
    pub image: Box<dyn Image>,
    /// Size of RAM in bytes.
    pub memory: u64,
    /// How the guest is booted.
    pub boot: BootOptions,
    /// Who gets what is typed.
    pub keys: Keys,
    /// The keyboard layout the guest expects.
    pub layout: LayoutName,
    /// The serial port (0 is COM1) that shares the terminal with what is typed.
    pub terminal: Option<u8>,
    /// End the run when the guest resets the machine.
    pub no_reboot: bool,
}

/// A machine, ready to run.
pub struct Machine {
    image: Box<dyn Image>,
    /// What was added to every address in the guest file.
    bias: u64,
    options: BootOptions,
    layout: LayoutName,
    no_reboot: bool,
    kvm: Kvm,
    processor: Processor,
    memory: Arc<GuestMemory>,
    board: Board,
    input_buffer: InputBuffer,
    coalescing: Coalescing,
    inputs: Inputs,
    outputs: OutputQueues,
    screen: Screen,
    watched: Watched,
    followers: Followers,
    /// Instructions emulated since the start or the last reset.
    tally: Tally,
    /// The debug facilities that are on.
    debug: GuestDebug,
    /// `hlt` was executed and no interrupt has come since.
    halted: bool,
    resets: u64,
    /// What happens before the guest goes on.
    due: Option<Due>,
}

impl Machine {
    /// Builds a machine and loads the guest; its first instruction has not run yet.
    ///
    /// # Errors
    ///
    /// [`MachineError`]; the guest file is looked at before the host is.
    pub fn new(spec: MachineSpec, inputs: Inputs, outputs: OutputQueues) -> Result<Machine, MachineError> {
        let memory = Arc::new(GuestMemory::new(spec.memory)?);
        let boot = load(spec.image.as_ref(), &memory, &spec.boot)?;
        let kvm = Kvm::open()?;
        let processor = Processor::new(&kvm, memory.clone(), inputs.kicker(), &boot.state)?;
        Ok(Machine::assemble(spec, boot.bias, kvm, processor, memory, inputs, outputs))
    }

    /// Puts together what has been made.
    fn assemble(
        spec: MachineSpec,
        bias: u64,
        kvm: Kvm,
        processor: Processor,
        memory: Arc<GuestMemory>,
        inputs: Inputs,
        outputs: OutputQueues,
    ) -> Machine {
        let board = Board::default();
        Machine {
            screen: Screen::new(memory.clone(), board.vga.view()),
            input_buffer: InputBuffer::new(spec.keys, spec.terminal),
            coalescing: Coalescing::new(processor.vcpu.can_coalesce_writes()),
            image: spec.image,
            bias,
            options: spec.boot,
            layout: spec.layout,
            no_reboot: spec.no_reboot,
            kvm,
            processor,
            memory,
            board,
            inputs,
            outputs,
            watched: Watched::default(),
            followers: Followers::default(),
            tally: Tally::default(),
            debug: GuestDebug::default(),
            halted: false,
            resets: 0,
            due: None,
        }
    }

    /// A window on the text screen.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Guest memory, for threads that look at it while the guest runs.
    pub fn shared_memory(&self) -> Arc<GuestMemory> {
        self.memory.clone()
    }

    /// The guest file.
    pub fn image(&self) -> &dyn Image {
        self.image.as_ref()
    }

    /// What was added to every address in the guest file.
    pub fn bias(&self) -> u64 {
        self.bias
    }

    /// The address in the guest file that became `address` in memory.
    pub fn address_in_file(&self, address: u64) -> u64 {
        address.wrapping_sub(self.bias)
    }

    /// The host.
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The door through which everything from outside enters.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The vCPU's registers.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] with the host's reason.
    pub fn registers(&self) -> Result<Registers, HostError> {
        self.processor.vcpu.registers()
    }

    /// The vCPU.
    pub fn vcpu(&self) -> &Vcpu {
        &self.processor.vcpu
    }

    /// How the guest was booted.
    pub fn boot_options(&self) -> &BootOptions {
        &self.options
    }

    /// The keyboard layout the guest expects.
    pub fn layout(&self) -> LayoutName {
        self.layout
    }

    /// True if a reset ends the run.
    pub fn no_reboot(&self) -> bool {
        self.no_reboot
    }

    /// The chips.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Does what the reset line does: fresh chips, empty memory, the guest loaded again.
    fn reset(&mut self) -> Result<(), MachineError> {
        self.resets += 1;
        info!("machine reset number {}", self.resets);
        self.log_totals();
        self.memory.discard()?;
        let boot = load(self.image.as_ref(), &self.memory, &self.options)?;
        self.processor = Processor::new(&self.kvm, self.memory.clone(), self.inputs.kicker(), &boot.state)?;
        self.board = Board::default();
        self.coalescing = Coalescing::new(self.processor.vcpu.can_coalesce_writes());
        self.input_buffer.reset();
        self.halted = false;
        self.due = None;
        self.tally = Tally::default();
        self.debug = GuestDebug::default();
        self.screen.publish(self.board.vga.view());
        self.follow_again()?;
        self.watch_again()?;
        Ok(())
    }
}

fn load(image: &dyn Image, memory: &GuestMemory, options: &BootOptions) -> Result<Boot, MachineError> {
    let boot = boot::load(image, memory, options)?;
    for region in &boot.layout {
        info!("{region}");
    }
    for warning in &boot.warnings {
        tracing::warn!("{warning}");
    }
    info!(
        "entry {:#x}, stack {:#x}, start info {:#x}",
        boot.state.entry, boot.state.stack_top, boot.state.info
    );
    Ok(boot)
}
