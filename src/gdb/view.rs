//! How a client sees the guest: which registers it knows, which addresses it means, and the file the
//! guest came from.

use super::description::target_xml;
use super::layout::Layout;
use super::registers::RegisterCache;
use crate::machine::{CpuId, Machine};
use crate::settings::GdbArch;

/// The view of one client after the other. A new client finds it as it was at the start, but for
/// [`View::no_timer`], which is about the guest.
#[derive(Debug)]
pub(crate) struct View {
    /// The registers it knows.
    pub(crate) layout: Layout,
    /// The target description that lists them.
    pub(crate) description: String,
    /// What it has asked for since the guest stopped.
    pub(crate) registers: RegisterCache,
    /// Whether a client has asked for steps that keep the passing of time away from timers.
    pub(crate) no_timer: bool,
    /// Binary memory is sent as LLDB expects it: without a letter in front of it.
    pub(crate) lldb_binary_reads: bool,
    /// The reason for which the last register write was refused, until the client has been given it.
    pub(crate) refusal: Option<String>,
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
            description: target_xml(layout),
            layout,
            registers: RegisterCache::default(),
            lldb_binary_reads: false,
            refusal: None,
            no_timer: true,
            file: path.unwrap_or_else(|_| name.as_bytes().to_vec()),
        }
    }

    /// A new client has come, or the guest may have run since the last one left.
    pub(crate) fn begin(&mut self) {
        self.registers.forget();
        (self.lldb_binary_reads, self.refusal) = (false, None);
    }
}
