//! How a client sees the guest: the registers it knows, its settings, and the guest file.

use super::description::target_xml;
use super::layout::Layout;
use super::registers::RegisterCache;
use crate::machine::{CpuId, Machine};
use crate::settings::GdbArch;

/// The view of the current client. It is reset for each new client, except [`View::no_timer`], which is about the
/// guest.
#[derive(Debug)]
pub(crate) struct View {
    /// The registers of the target description.
    pub(crate) layout: Layout,
    /// The target description that lists them.
    pub(crate) description: String,
    /// The registers that it has read since the guest stopped.
    pub(crate) registers: RegisterCache,
    /// A client has requested steps during which timers do not advance.
    pub(crate) no_timer: bool,
    /// The client has sent a packet that LLDB alone sends.
    pub(crate) is_lldb: bool,
    /// Binary memory is sent as LLDB expects it: without a letter in front of it.
    pub(crate) lldb_binary_reads: bool,
    /// The reason why the last register write was refused, until it is sent to the client.
    pub(crate) refusal: Option<String>,
    /// Guest memory that the client uses itself: address and size of each piece.
    pub(crate) allocations: Vec<(u64, u64)>,
    /// Absolute path of the guest file, or of one with its symbols; empty if there is none.
    pub(crate) file: Vec<u8>,
}

impl View {
    /// The view of `machine` as a processor of kind `arch`.
    pub(crate) fn new(machine: &Machine, arch: GdbArch) -> View {
        let layout = Layout::new(arch, machine.cpu(CpuId::BOOT).vcpu().has_avx());
        let name = machine.debugger_file().map_or("", |file| file.name());
        let path = std::path::absolute(name).map(|path| path.into_os_string().into_encoded_bytes());
        View {
            description: target_xml(layout),
            layout,
            registers: RegisterCache::default(),
            is_lldb: false,
            lldb_binary_reads: false,
            refusal: None,
            allocations: Vec::new(),
            no_timer: true,
            file: path.unwrap_or_else(|_| name.as_bytes().to_vec()),
        }
    }

    /// Resets the view for a new client; the guest may have run since the previous one disconnected.
    pub(crate) fn begin(&mut self) {
        self.registers.forget();
        self.allocations.clear();
        (self.is_lldb, self.lldb_binary_reads, self.refusal) = (false, false, None);
    }
}
