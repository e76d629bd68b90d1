//! How a client sees the guest: which registers it knows, which addresses it means, and the file the
//! guest came from.

use super::arch::{Layout, Register};
use super::description::target_xml;
use super::registers::Cache;
use super::threads::VcpuNumber;
use crate::kvm::HostError;
use crate::machine::{CpuId, Machine};
use crate::settings::GdbArch;

/// The view of one client after the other. A new client finds it as it was at the start, but for
/// [`View::no_timer`], which is about the guest.
#[derive(Debug)]
pub(crate) struct View {
    /// The registers it knows.
    pub(crate) layout: Layout,
    /// The document that tells it of them.
    pub(crate) description: String,
    /// What it has asked for since the guest stopped.
    pub(crate) registers: Cache,
    /// Whether a client has asked for steps that keep the passing of time away from timers.
    pub(crate) no_timer: bool,
    /// What is read in binary is sent as LLDB wants it: with no letter before it.
    pub(crate) bare: bool,
    /// Absolute path of the guest file.
    pub(crate) file: Vec<u8>,
}

impl View {
    /// The view of `machine` as a processor of kind `arch`.
    pub(crate) fn new(machine: &Machine, arch: GdbArch) -> View {
        let layout = Layout::new(arch, machine.cpu(CpuId::BOOT).vcpu().has_avx());
        let name = machine.image().name();
        let path = std::path::absolute(name).map(|path| path.into_os_string().into_encoded_bytes());
        View {
            description: target_xml(&layout),
            layout,
            registers: Cache::default(),
            bare: false,
            no_timer: true,
            file: path.unwrap_or_else(|_| name.as_bytes().to_vec()),
        }
    }

    /// A new client has come, or the guest may have run since the last one left.
    pub(crate) fn begin(&mut self) {
        self.registers.forget();
        self.bare = false;
    }

    /// The value of a register of `vcpu`, its lowest byte first, and how many bytes that is.
    ///
    /// # Errors
    ///
    /// [`HostError`] if the host does not tell.
    pub(crate) fn register(
        &mut self,
        machine: &Machine,
        vcpu: VcpuNumber,
        register: Register,
    ) -> Result<([u8; 16], usize), HostError> {
        let value = self.registers.of(vcpu).get(machine, register)?;
        Ok((value.to_le_bytes(), self.layout.size(register)))
    }
}
