//! A processor for tests that needs no KVM.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::arch::{GeneralRegisters, SegmentRegister};

use super::cpu::{Cpu, Extended};
use super::exception::{EmulationError, Exception};
use super::{Bus, Emulated, ProcessorState, emulate_on, execute};
use crate::arch::Registers;
use crate::emulate::ProcessorStateError;
use crate::memory::GuestMemory;

/// Where [`FakeCpu::long_mode`] puts code.
pub(super) const CODE: u64 = 0x1_0000;

/// What of a vCPU is not among the registers, as plain values.
pub(super) struct FakeCpu {
    pub registers: RefCell<Registers>,
    pub xsave: RefCell<Extended>,
    pub xcr0: Cell<u64>,
    pub msrs: HashMap<u32, u64>,
    pub cpuid: HashMap<(u32, u32), [u32; 4]>,
    pub dr6: Cell<u64>,
    pub memory: GuestMemory,
    pub device: Device,
}

/// A device that remembers its writes and answers reads with its address.
#[derive(Default)]
pub(super) struct Device {
    pub writes: Vec<(u64, u8, u64)>,
}

impl Bus for Device {
    fn read(&mut self, address: u64, size: u8) -> u64 {
        if size == 8 { address } else { address & ((1 << (8 * size)) - 1) }
    }

    fn write(&mut self, address: u64, size: u8, value: u64) {
        self.writes.push((address, size, value));
    }
}

impl ProcessorState for FakeCpu {
    fn registers(&self) -> Result<Registers, ProcessorStateError> {
        Ok(*self.registers.borrow())
    }

    fn set_registers(&self, registers: &Registers) -> Result<(), ProcessorStateError> {
        *self.registers.borrow_mut() = *registers;
        Ok(())
    }

    fn set_general_registers(&self, registers: &GeneralRegisters) -> Result<(), ProcessorStateError> {
        self.registers.borrow_mut().general = *registers;
        Ok(())
    }

    fn xsave(&self) -> Result<Extended, ProcessorStateError> {
        Ok(*self.xsave.borrow())
    }

    fn set_xsave(&self, state: &Extended) -> Result<(), ProcessorStateError> {
        *self.xsave.borrow_mut() = *state;
        Ok(())
    }

    fn xcr0(&self) -> Result<u64, ProcessorStateError> {
        Ok(self.xcr0.get())
    }

    fn set_xcr0(&self, value: u64) -> Result<bool, ProcessorStateError> {
        self.xcr0.set(value);
        Ok(true)
    }

    fn msr(&self, index: u32) -> Result<Option<u64>, ProcessorStateError> {
        Ok(self.msrs.get(&index).copied())
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        self.cpuid.get(&(leaf, subleaf)).copied().unwrap_or_default()
    }

    fn dr6(&self) -> Result<u64, ProcessorStateError> {
        Ok(self.dr6.get())
    }

    fn set_dr6(&self, value: u64) -> Result<(), ProcessorStateError> {
        self.dr6.set(value);
        Ok(())
    }
}

impl FakeCpu {
    /// A processor in ring 0 of 64-bit mode with the first GiB mapped to itself by 2 MiB pages
    /// (tables from 0x1000), SSE switched on, a stack below 0x8000, no IDT, and `code` at [`CODE`].
    pub fn long_mode(code: &[u8]) -> FakeCpu {
        let memory = GuestMemory::new(4 << 20).unwrap();
        memory.write_u64(0x1000, 0x2007).unwrap();
        memory.write_u64(0x2000, 0x3007).unwrap();
        for page in 0..512 {
            memory.write_u64(0x3000 + 8 * page, page << 21 | 0x87).unwrap();
        }
        memory.write(CODE, code).unwrap();
        let mut registers = Registers::default();
        let flat =
            SegmentRegister { limit: u32::MAX, present: 1, s: 1, g: 1, type_: 3, ..Default::default() };
        let system = &mut registers.system;
        system.cs = SegmentRegister { selector: 8, l: 1, type_: 11, ..flat };
        (system.ds, system.es, system.fs, system.gs, system.ss) = (flat, flat, flat, flat, flat);
        (system.cr0, system.cr3, system.cr4, system.efer) = (0x8001_0033, 0x1000, 0x620, 0xD00);
        registers.general.rip = CODE;
        registers.general.rsp = 0x8000;
        registers.general.rflags = 2;
        let mut xsave: Extended = [0; 4096];
        // FCW and MXCSR as after a reset; the XSTATE_BV field says that x87 and SSE are in use.
        xsave[..2].copy_from_slice(&0x37F_u16.to_le_bytes());
        xsave[24..28].copy_from_slice(&0x1F80_u32.to_le_bytes());
        xsave[512] = 3;
        FakeCpu {
            registers: RefCell::new(registers),
            xsave: RefCell::new(xsave),
            xcr0: Cell::new(1),
            msrs: HashMap::new(),
            cpuid: HashMap::from([((0x8000_0008, 0), [48, 0, 0, 0])]),
            dr6: Cell::new(0xFFFF_0FF0),
            memory,
            device: Device::default(),
        }
    }

    /// Emulates the instruction at RIP.
    pub fn emulate(&mut self) -> Emulated {
        let mut device = std::mem::take(&mut self.device);
        let mut cpu = Cpu::new(self, &self.memory, &mut device).unwrap();
        let (emulated, _) = emulate_on(&mut cpu).unwrap();
        self.device = device;
        emulated
    }

    /// Emulates the instruction at RIP; returns the exception that it raises, which is not delivered.
    pub fn raises(&mut self) -> Option<Exception> {
        let mut device = std::mem::take(&mut self.device);
        let mut cpu = Cpu::new(self, &self.memory, &mut device).unwrap();
        let raised = match execute(&mut cpu) {
            Ok(()) => {
                cpu.commit().unwrap();
                None
            }
            Err(EmulationError::Exception(exception)) => Some(exception),
            Err(other) => panic!("neither done nor an exception: {other:?}"),
        };
        self.device = device;
        raised
    }

    /// Lets `work` work on the processor, which keeps nothing of it but what was written to memory.
    pub fn with_cpu<T>(&mut self, work: impl FnOnce(&mut Cpu) -> T) -> T {
        let mut device = std::mem::take(&mut self.device);
        let mut cpu = Cpu::new(self, &self.memory, &mut device).unwrap();
        let result = work(&mut cpu);
        self.device = device;
        result
    }

    /// The registers as they are now.
    pub fn now(&self) -> Registers {
        *self.registers.borrow()
    }
}
