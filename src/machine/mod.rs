//! The board: memory, a vCPU and chips, built from what the user asked for, owned and run here.
//!
//! Everything that is not decided by the guest itself enters through [`inputs`]; everything that
//! leaves the machine leaves through [`outlets`] or is looked at through [`screen`].

pub mod batching;
pub mod board;
mod debugged;
pub mod inputs;
pub mod outcome;
pub mod outlets;
mod power;
mod run;
pub mod screen;
pub mod typing;
pub mod unclaimed;
mod unwatched;
mod watched;

use std::sync::Arc;

use tracing::info;

pub use debugged::Event;
pub use outcome::Outcome;
pub use watched::{PhysicalWatch, Touch, Unseen};

use crate::boot::{self, Boot, BootError, BootOptions, Image};
use crate::host::{GuestDebug, HostError, Kvm, Registers, Vcpu};
use crate::memory::{GuestMemory, MemoryError};
use crate::settings::{Keys, LayoutName};
use batching::Batching;
use board::Board;
use inputs::Inputs;
use outlets::Outlets;
use power::Processor;
use screen::Screen;
use typing::Typing;
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
    typing: Typing,
    batching: Batching,
    inputs: Inputs,
    outlets: Outlets,
    screen: Screen,
    watched: Watched,
    /// The debug facilities that are on.
    debug: GuestDebug,
    /// `hlt` was executed and no interrupt has come since.
    halted: bool,
    resets: u64,
}

impl Machine {
    /// Builds a machine and loads the guest; its first instruction has not run yet.
    ///
    /// # Errors
    ///
    /// [`MachineError`]; the guest file is looked at before the host is.
    pub fn new(spec: MachineSpec, inputs: Inputs, outlets: Outlets) -> Result<Machine, MachineError> {
        let memory = Arc::new(GuestMemory::new(spec.memory)?);
        let boot = load(spec.image.as_ref(), &memory, &spec.boot)?;
        let kvm = Kvm::open()?;
        let processor = Processor::new(&kvm, memory.clone(), inputs.kicker(), &boot.state)?;
        let board = Board::default();
        Ok(Machine {
            screen: Screen::new(memory.clone(), board.vga.view()),
            typing: Typing::new(spec.keys, spec.terminal),
            batching: Batching::new(processor.vcpu.can_batch()),
            image: spec.image,
            bias: boot.bias,
            options: spec.boot,
            layout: spec.layout,
            no_reboot: spec.no_reboot,
            kvm,
            processor,
            memory,
            board,
            inputs,
            outlets,
            watched: Watched::default(),
            debug: GuestDebug::default(),
            halted: false,
            resets: 0,
        })
    }

    /// A window on the text screen.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Guest memory, for other threads.
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
        self.batching = Batching::new(self.processor.vcpu.can_batch());
        self.typing.reset();
        self.halted = false;
        self.debug = GuestDebug::default();
        self.screen.publish(self.board.vga.view());
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
