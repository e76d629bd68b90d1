//! The two 8259A interrupt controllers of a PC, ports 20h, 21h, A0h and A1h, and their edge/level control
//! registers, ports 4D0h and 4D1h.
//!
//! Manuals: Intel 8259A datasheet (order number 231468), and Intel 82371AB (PIIX4) datasheet, "Interrupt
//! Controller" and "ELCR1, ELCR2".
//!
//! Lines 0 to 7 are inputs of the master; the slave, with lines 8 to 15, is connected to input 2.
//! Implemented: the initialisation sequence with and without ICW3 and ICW4, edge and level triggering for each
//! line (ELCR) and for all (LTIM), mask, all forms of end of interrupt and of rotation, special mask mode, special
//! fully nested mode, automatic end of interrupt, poll, and the spurious interrupts 7 and 15.
//!
//! Different from the datasheet, as on a PC and in QEMU and KVM:
//! - An edge that was latched stays requested when its line falls before it is acknowledged. So a pulse between
//!   two accesses is not lost. Spurious interrupts come from level-triggered lines and from masking.
//! - The cascade is wired: ICW3 is accepted and ignored, also the buffered mode of ICW4. Interrupts are always
//!   acknowledged as by an 8086; the CALL sequence of the 8085 does not exist.
//! - A poll without a request reads as 0. One of the slave also takes back its request to the master.
//!
//! After power-on all registers are 0, as in QEMU and KVM, and nothing is requested of the processor until ICW2
//! has given a controller its vectors. A BIOS would have initialised and masked both; a guest that has neither
//! a BIOS nor a driver is not interrupted with exception vectors.
//!
//! The machine calls [`DualPic::set_line`] when a line changes, [`DualPic::output`] before it enters a processor,
//! and [`DualPic::acknowledge`] when the processor takes the interrupt. Every access may change the output.

mod chip;
mod copied;
mod explain;

use serde::{Deserialize, Serialize};

use super::{Action, Device, OPEN_BUS, Snapshot, StateError};
use chip::{CASCADE, I8259A};

/// The vector that a controller gives for a request that has gone.
const SPURIOUS: u8 = 7;

/// The ports of the edge/level control registers, for lines 0 to 7 and 8 to 15.
pub const ELCR_PORTS: [u16; 2] = [0x4D0, 0x4D1];

/// Lines of each controller that the guest can make level-triggered: not 0, 1, 2, 8 and 13.
const SETTABLE_ELCR: [u8; 2] = [0xF8, 0xDE];

/// The two interrupt controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DualPic {
    master: I8259A,
    slave: I8259A,
    output: bool,
}

/// Everything the guest can observe of the interrupt controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DualPicState {
    master: I8259A,
    slave: I8259A,
}

/// What both controllers are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PicDescription {
    /// For each controller the vector of its input 0, or `None` before the guest has set it.
    pub vector_bases: [Option<u8>; 2],
    /// The interrupt lines. Line 2 is the cascade.
    pub lines: [PicLine; 16],
}

/// What the interrupt controllers do with one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PicLine {
    /// The guest has masked it.
    pub masked: bool,
    /// An interrupt is requested.
    pub requested: bool,
    /// The processor has acknowledged an interrupt that the guest has not ended.
    pub in_service: bool,
    /// It is level-triggered.
    pub level_triggered: bool,
    /// A request would reach the processor.
    pub can_interrupt: bool,
}

impl DualPic {
    /// Line `line` (0 to 15) is now at `level`. Line 2 is the cascade, which no device drives.
    pub fn set_line(&mut self, line: u8, level: bool) {
        match line {
            CASCADE | 16.. => return,
            0..8 => self.master.set_level(line, level),
            _ => {
                self.slave.set_level(line - 8, level);
                self.cascade();
            }
        }
        self.update();
    }

    /// Level of the interrupt request to the processor.
    #[inline]
    pub fn output(&self) -> bool {
        self.output
    }

    /// The processor acknowledges an interrupt. Returns its vector.
    ///
    /// If the request has gone, this is vector 7 of the controller, and nothing is in service there. A spurious
    /// interrupt of the slave leaves input 2 of the master in service.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.pending() {
            None => self.master.vector_base | SPURIOUS,
            Some(CASCADE) => {
                self.master.acknowledge(CASCADE);
                // The request falls with the acknowledgement, so that the next one makes an edge.
                self.master.set_level(CASCADE, false);
                let input = self.slave.pending();
                if let Some(input) = input {
                    self.slave.acknowledge(input);
                }
                self.cascade();
                self.slave.vector_base | input.unwrap_or(SPURIOUS)
            }
            Some(input) => {
                self.master.acknowledge(input);
                self.master.vector_base | input
            }
        };
        self.update();
        vector
    }

    /// True if the rise of `line` (0 to 15) would request an interrupt of the processor.
    pub fn can_interrupt(&self, line: u8) -> bool {
        let admits = |chip: &I8259A, input: u8| {
            chip.has_vectors() && chip.mask >> input & 1 == 0 && chip.admits(input)
        };
        match line {
            CASCADE | 16.. => false,
            0..8 => admits(&self.master, line),
            _ => admits(&self.slave, line - 8) && admits(&self.master, CASCADE),
        }
    }

    /// What the controllers are doing with each line.
    pub fn describe(&self) -> PicDescription {
        let line = |number: u8| {
            let chip = if number < 8 { &self.master } else { &self.slave };
            let bit = |set: u8| set >> (number & 7) & 1 == 1;
            PicLine {
                masked: bit(chip.mask),
                requested: bit(chip.requests()),
                in_service: bit(chip.in_service),
                level_triggered: bit(chip.level_inputs()),
                can_interrupt: self.can_interrupt(number),
            }
        };
        PicDescription {
            vector_bases: [self.master, self.slave]
                .map(|chip| chip.has_vectors().then_some(chip.vector_base)),
            lines: std::array::from_fn(|number| line(number as u8)),
        }
    }

    /// Passes the request of the slave on to the master, after the slave may have changed.
    fn cascade(&mut self) {
        self.master.set_level(CASCADE, self.slave.pending().is_some());
    }

    /// Passes the request of the master on to the output.
    fn update(&mut self) {
        self.output = self.master.pending().is_some();
    }

    fn poll(&mut self, port: Port) -> Option<u8> {
        let (answer, acknowledged) = self.chip(port).poll()?;
        if acknowledged.is_some() && port.slave {
            self.master.withdraw(CASCADE);
            self.cascade();
        }
        self.update();
        Some(answer)
    }

    fn chip(&mut self, port: Port) -> &mut I8259A {
        if port.slave { &mut self.slave } else { &mut self.master }
    }
}

/// A port of one of the controllers.
#[derive(Clone, Copy)]
struct Port {
    slave: bool,
    register: Register,
}

#[derive(Clone, Copy)]
enum Register {
    Command,
    Data,
    Elcr,
}

impl Port {
    fn of(port: u16) -> Option<Port> {
        let (slave, register) = match port {
            0x20 => (false, Register::Command),
            0x21 => (false, Register::Data),
            0xA0 => (true, Register::Command),
            0xA1 => (true, Register::Data),
            0x4D0 => (false, Register::Elcr),
            0x4D1 => (true, Register::Elcr),
            _ => return None,
        };
        Some(Port { slave, register })
    }
}

/// Offsets are port numbers.
impl Device for DualPic {
    fn explain(&self) -> Vec<String> {
        explain::lines(self)
    }

    fn read(&mut self, offset: u16) -> (u8, Action) {
        let Some(port) = Port::of(offset) else { return (OPEN_BUS, Action::NONE) };
        let value = match port.register {
            Register::Elcr => self.chip(port).elcr,
            register => self.poll(port).unwrap_or_else(|| match register {
                Register::Command => self.chip(port).read_command(),
                _ => self.chip(port).mask,
            }),
        };
        (value, Action::NONE)
    }

    fn write(&mut self, offset: u16, value: u8) -> Action {
        let Some(port) = Port::of(offset) else { return Action::NONE };
        match port.register {
            Register::Command => self.chip(port).write_command(value),
            Register::Data => self.chip(port).write_data(value),
            Register::Elcr => self.chip(port).set_elcr(value & SETTABLE_ELCR[usize::from(port.slave)]),
        }
        if port.slave {
            self.cascade();
        } else if self.master.is_starting() {
            // Edge detection has started anew. A request of the slave is one again when the slave next changes, but
            // not before it has been initialised as well.
            self.master.withdraw(CASCADE);
        }
        self.update();
        Action::NONE
    }
}

impl Snapshot for DualPic {
    const KIND: &'static str = "pic";
    const VERSION: u16 = 1;
    type State = DualPicState;

    fn state(&self) -> DualPicState {
        DualPicState { master: self.master, slave: self.slave }
    }

    fn set_state(&mut self, state: DualPicState) -> Result<(), StateError> {
        let DualPicState { master, slave } = state;
        let cascade = master.levels >> CASCADE & 1 == 1;
        let fault = master.fault(SETTABLE_ELCR[0]).or(slave.fault(SETTABLE_ELCR[1])).or_else(|| {
            (cascade != slave.pending().is_some())
                .then_some("the cascade does not have the level of its source")
        });
        if let Some(reason) = fault {
            return Err(StateError::Damaged { kind: Self::KIND, reason: reason.to_owned() });
        }
        *self = DualPic { master, slave, output: master.pending().is_some() };
        Ok(())
    }
}

#[cfg(test)]
#[path = "pic/pic_test.rs"]
mod tests;
