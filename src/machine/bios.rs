//! Calls of the machine's own BIOS, from the write to its port to the caller's registers.
//!
//! The registers are read and written while the write to the port is not completed yet. RIP is before or behind the
//! instruction then, depending on the host: it stays as it is, and completing the write goes on from there.
//!
//! A call that needs a disk leaves its processor in [`RunState::WaitForDisk`], with the transfer in the port's state. The
//! answer enters through the input queue; after a restore the transfer is requested again.

use std::ops::Range;

use tracing::debug;

use super::cpu::{CpuId, RunState};
use super::flight_recorder::Occurrence;
use super::run::Next;
use super::{Event, Machine, Outcome};
use crate::arch::flags::RFLAGS_CF;
use crate::arch::{Mode, Registers};
use crate::bios::{self, BiosCall, BiosDisk, BiosPlatform, Served};
use crate::devices::bios_port::{BiosTransfer, TransferKind};
use crate::devices::ide::{DiskRequest, DiskRequestKind, DiskResult};
use crate::devices::table::Role;
use crate::kvm::HostError;
use crate::settings::{DiskInterface, IrqchipMode, MOST_DISKS};

/// The interrupt by which programs take keys.
const KEYBOARD_SERVICES: u8 = 0x16;

/// Offsets in the frame on the stack: number of the interrupt, ES, and what INT has pushed.
const ES: u64 = 2;
const IP: u64 = 4;
const CS: u64 = 6;
const FLAGS: u64 = 8;

/// A call, and where its registers are.
struct Frame {
    registers: Registers,
    /// Guest-physical address of the frame on the stack.
    address: u64,
    call: BiosCall,
}

impl Machine {
    /// Serves the call of the BIOS that the current CPU has made by writing to the port.
    #[cold]
    pub(super) fn serve_bios(&mut self) -> Result<Next, HostError> {
        let cpu = self.current;
        let registers = self.cpus[cpu].registers()?;
        if registers.mode() != Mode::Real {
            debug!("a call of the BIOS outside real mode has no effect");
            return Ok(Next::Run);
        }
        let mut frame = self.bios_frame(registers);
        let mut call = frame.call;
        self.record(cpu, Occurrence::BiosCall { vector: call.vector, ax: call.eax as u16 });
        let mut platform = MachinePlatform::new(self);
        let served = bios::serve(&mut call, &mut platform);
        let (stopped, failed) = (platform.stopped.take(), platform.failed.take());
        if call.vector == KEYBOARD_SERVICES && self.input_buffer.has_keys() {
            // There may be room for the next key now.
            self.deliver_input()?;
        }
        self.continue_bios_call(cpu, &mut frame, &call, served, stopped, failed)
    }

    /// An answer of a disk reaches the call that waits for it.
    pub(super) fn complete_bios_transfer(&mut self, result: DiskResult) -> Result<Option<Event>, HostError> {
        let Some((cpu, transfer)) = self.board.bios_port().transfer() else { return Ok(None) };
        let cpu = CpuId::new(cpu);
        self.board.bios_port_mut().finish();
        // A debugger may have sent the processor elsewhere.
        if self.cpus[cpu].run_state() != RunState::WaitForDisk {
            return Ok(None);
        }
        self.cpus[cpu].run_state = RunState::Running;
        let mut frame = self.bios_frame(self.cpus[cpu].registers()?);
        let mut call = frame.call;
        let mut platform = MachinePlatform::new(self);
        let served = bios::complete(&mut call, &transfer, result, &mut platform);
        let (stopped, failed) = (platform.stopped.take(), platform.failed.take());
        match self.continue_bios_call(cpu, &mut frame, &call, served, stopped, failed)? {
            Next::Run => Ok(None),
            Next::Stop(event) => Ok(Some(event)),
        }
    }

    /// Requests the transfer that a call waits for: after the call, or again after a restore.
    pub(super) fn submit_bios_transfer(&mut self) {
        let Some((cpu, transfer)) = self.board.bios_port().transfer() else { return };
        let Some(cpu) = self.cpu_ids().find(|id| id.number() == cpu) else {
            return self.board.bios_port_mut().finish();
        };
        self.cpus[cpu].run_state = RunState::WaitForDisk;
        let kind = match transfer.kind {
            TransferKind::Read | TransferKind::Verify => DiskRequestKind::Read,
            TransferKind::Write => {
                let mut data = vec![0; transfer.length()];
                read_memory(self, transfer.address, &mut data);
                DiskRequestKind::Write { data, through: false }
            }
        };
        let BiosTransfer { unit, lba, sectors, .. } = transfer;
        self.disks.submit_for_bios(unit, DiskRequest { lba, sectors, kind }, &self.inputs);
    }

    fn bios_frame(&self, registers: Registers) -> Frame {
        let general = &registers.general;
        let address = registers.system.ss.base.wrapping_add(general.rsp & 0xFFFF);
        let word = |offset: u64| {
            let mut bytes = [0; 2];
            read_memory(self, address.wrapping_add(offset), &mut bytes);
            u16::from_le_bytes(bytes)
        };
        let call = BiosCall {
            vector: word(0) as u8,
            eax: general.rax as u32,
            ebx: general.rbx as u32,
            ecx: general.rcx as u32,
            edx: general.rdx as u32,
            esi: general.rsi as u32,
            edi: general.rdi as u32,
            ebp: general.rbp as u32,
            ds: registers.system.ds.selector,
            es: word(ES),
            ip: word(IP),
            cs: word(CS),
            flags: word(FLAGS),
        };
        Frame { registers, address, call }
    }

    /// Writes back what a service has changed, and goes on as it says.
    fn continue_bios_call(
        &mut self,
        cpu: CpuId,
        frame: &mut Frame,
        call: &BiosCall,
        served: Served,
        stopped: Option<Event>,
        failed: Option<HostError>,
    ) -> Result<Next, HostError> {
        if let Some(error) = failed {
            return Err(error);
        }
        let address = frame.address;
        let old = &frame.call;
        for (offset, before, now) in [
            (ES, old.es, call.es),
            (IP, old.ip, call.ip),
            (CS, old.cs, call.cs),
            (FLAGS, old.flags, call.flags),
        ] {
            if before != now {
                write_memory(self, address.wrapping_add(offset), &now.to_le_bytes());
            }
        }
        let general = &mut frame.registers.general;
        for (register, value) in [
            (&mut general.rax, call.eax),
            (&mut general.rbx, call.ebx),
            (&mut general.rcx, call.ecx),
            (&mut general.rdx, call.edx),
            (&mut general.rsi, call.esi),
            (&mut general.rdi, call.edi),
            (&mut general.rbp, call.ebp),
        ] {
            *register = *register & !u64::from(u32::MAX) | u64::from(value);
        }
        let waits = matches!(served, Served::Wait | Served::Stop(_));
        general.rflags = if waits { general.rflags | RFLAGS_CF } else { general.rflags & !RFLAGS_CF };
        self.cpus[cpu].set_general_registers(general)?;
        match served {
            Served::Transfer(transfer) => {
                self.board.bios_port_mut().begin(cpu.number(), transfer);
                self.submit_bios_transfer();
            }
            Served::Stop(reason) => return Ok(Next::Stop(Event::End(Outcome::BiosStopped(reason)))),
            Served::Done | Served::Wait => {}
        }
        Ok(stopped.map_or(Next::Run, Next::Stop))
    }
}

/// What is not RAM reads as all ones.
fn read_memory(machine: &Machine, address: u64, bytes: &mut [u8]) {
    if machine.memory.read_original(address, bytes).is_err() {
        for (at, byte) in (0..).zip(bytes) {
            let mut one = [0xFF];
            let _ = machine.memory.read_original(address.wrapping_add(at), &mut one);
            *byte = one[0];
        }
    }
}

/// What is not RAM stays as it is.
fn write_memory(machine: &Machine, address: u64, bytes: &[u8]) {
    if machine.memory.write_original(address, bytes).is_err() {
        for (at, byte) in (0..).zip(bytes) {
            let _ = machine.memory.write_original(address.wrapping_add(at), &[*byte]);
        }
    }
}

/// The machine as services see it. Their accesses to devices are those of the guest.
pub(super) struct MachinePlatform<'m> {
    machine: &'m mut Machine,
    /// An access has had this consequence.
    stopped: Option<Event>,
    failed: Option<HostError>,
}

impl<'m> MachinePlatform<'m> {
    pub(super) fn new(machine: &'m mut Machine) -> MachinePlatform<'m> {
        MachinePlatform { machine, stopped: None, failed: None }
    }

    fn note(&mut self, next: Result<Option<Next>, HostError>) {
        match next {
            Ok(Some(Next::Stop(event))) => self.stopped = Some(event),
            Ok(_) => {}
            Err(error) => self.failed = Some(error),
        }
    }

    fn prepare(&mut self, port: u16) -> Role {
        let device = self.machine.board.decode(port);
        if self.machine.board.shows_time(device) {
            let event = self.machine.sync_clock();
            self.note(event.map(|event| event.map(Next::Stop)));
        }
        self.machine.board.role(device)
    }

    fn read_port(&mut self, port: u16, size: u8) -> u32 {
        self.prepare(port);
        let (value, effect) = self.machine.board.port_in(port, size);
        let next = self.machine.apply(effect);
        self.note(next);
        value
    }

    fn write_port(&mut self, port: u16, size: u8, value: u32) {
        let role = self.prepare(port);
        let effect = self.machine.board.port_out(port, size, value);
        let machine = &mut *self.machine;
        match role {
            Role::Display => {
                let written = machine.display_written();
                return self.note(written.map(|()| None));
            }
            Role::Keyboard => machine.inputs.set_mouse_enabled(machine.board.i8042().mouse_is_enabled()),
            _ => {}
        }
        let next = machine.apply(effect);
        self.note(next);
    }
}

impl BiosPlatform for MachinePlatform<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) {
        read_memory(self.machine, address, bytes);
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        write_memory(self.machine, address, bytes);
    }

    fn port_in(&mut self, port: u16) -> u8 {
        self.read_port(port, 1) as u8
    }

    fn port_out(&mut self, port: u16, value: u8) {
        self.write_port(port, 1, value.into());
    }

    fn port_in_word(&mut self, port: u16) -> u16 {
        self.read_port(port, 2) as u16
    }

    fn port_out_word(&mut self, port: u16, value: u16) {
        self.write_port(port, 2, value.into());
    }

    fn reaches_interrupt_controllers(&self) -> bool {
        self.machine.irqchip() == IrqchipMode::User
    }

    fn ram(&self) -> Vec<Range<u64>> {
        self.machine.memory.ram().to_vec()
    }

    fn has_video_memory(&self) -> bool {
        self.machine.memory.has_video_memory()
    }

    fn disks(&self) -> Vec<BiosDisk> {
        let disks = self.machine.disks().map(|(unit, disk)| BiosDisk {
            unit,
            interface: match disk.cdrom {
                true => DiskInterface::Cdrom,
                false if usize::from(unit) < MOST_DISKS => DiskInterface::Ide,
                false => DiskInterface::Virtio,
            },
            sectors: disk.sectors,
            read_only: disk.read_only,
        });
        disks.collect()
    }
}
