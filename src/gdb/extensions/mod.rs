//! Packets of gdb, LLDB and scripts that gdbstub does not support, or not well enough.
//!
//! The protocol library handles every packet that is not in this table. [`route`] sees each packet first and decides
//! which layer handles it.
//!
//! | packet | here | why not the library alone |
//! |---|---|---|
//! | `m` `M` `x` `X` | all of it | The library moves memory a byte at a time through its packet buffer of 8 KiB; packets here hold 128 KiB, which makes `dump memory` and `load` about ten times as fast. It does not know `x`. It ends the connection if an address or a length is malformed, and does not compare the length with the data. |
//! | `G` `P` | checked first; `E.REASON` afterwards | The library ends the connection if the data is malformed or of another size than the registers. It can refuse a value with a number only; gdb shows the reason to its user. |
//! | `g` | all of it, with the library's trait | The library writes the 1728 digits one by one: a round trip takes 29 us instead of 22 us. |
//! | `p` | checked first | The library ends the connection if the number is malformed. |
//! | `Hg` `Hc` `T` `qThreadExtraInfo` | checked first | The library ends the connection for all threads (`Hg-1`, `T0`) and for a malformed number, and takes threads that do not exist. |
//! | `vCont;` `c` `s` | checked first, and rewritten in part | The library ends the connection for a thread that is no number, for process 0, and for steps of all threads. It takes the last action for a thread, gdb's manual the first. After a stop it continues only the thread that stopped for `c`. It ignores the address in `c200000`. |
//! | `qC` | all of it | The library answers it in extended mode only. |
//! | `qXfer:threads:read` | all of it | The library does not know it. Without it gdb asks for each thread by itself, and threads have no names. |
//! | `qXfer:auxv:read` | all of it | The library reads it through a buffer of the target. Plug-ins such as gef fail without an answer. |
//! | `_M` `_m` `qMemoryRegionInfo` | all of it | The library does not know them. LLDB calls functions of the guest with them, and shows `memory region`. |
//! | `qSupported` | features added afterwards | The library lists its own packet size, and not what is handled here. It ends the connection if the client lists nothing. |
//! | `qqemu.*` `Qqemu.*` | all of it | The library does not know them. Scripts written for QEMU use them. |
//! | longer than 8 KiB | refused | The library looks through its whole packet buffer for each packet, however short. A buffer of 128 KiB would make every step slower. |
//!
//! Manual: "Packets" in "Appendix E: gdb Remote Serial Protocol" of *Debugging with gdb*.

mod auxv;
mod lldb;
mod memory;
mod qemu;
pub(crate) mod request;
pub(crate) mod resume;
mod thread_list;

use gdbstub::target::ext::base::multithread::MultiThreadBase;

use super::packet::{add_hex, change_last_packet, from_hex, write_packet};
use super::register_set::GdbRegisters;
use super::target::{INVALID, LIBRARY_PACKET, PACKET};
use super::threads::thread_of;
use crate::gdb::target::GdbTarget;
use request::{MAX_REGISTER, Request, ThreadSelector, has_feature, request};

/// The layer that handles a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// The library.
    Library,
    /// The library, with this packet in place of the client's.
    Replaced(Vec<u8>),
    /// [`answer`].
    Extension(Request<'a>),
    /// The client gets this `errno` value.
    Refused(u8),
    /// The client gets the empty answer, which means that the packet is not supported.
    Unsupported,
}

/// Decides which layer handles the packet with this body, and records the threads that it selects.
pub(crate) fn route<'a>(target: &mut GdbTarget<'_, '_>, body: &'a [u8]) -> Route<'a> {
    if let Some(actions) = resume::actions(body) {
        return resume::route(target.threads, &actions);
    }
    let pass = |pass| if pass { Route::Library } else { Route::Refused(INVALID) };
    let threads = &mut target.threads;
    match request(body) {
        None if body == b"qSupported" => Route::Replaced(packet(b"qSupported:multiprocess-")),
        None => {
            if body.starts_with(b"qSupported") && has_feature(body, b"multiprocess+") {
                threads.name_process();
            }
            target.view.is_lldb |= body == b"qHostInfo";
            pass(body.len() <= LIBRARY_PACKET - FRAME)
        }
        Some(Request::Malformed) => Route::Unsupported,
        Some(Request::ReadRegister(_)) => Route::Library,
        Some(Request::WriteRegisters(digits)) => {
            let size = target.view.layout.size();
            pass(from_hex(digits).is_some_and(|bytes| bytes.len() == size))
        }
        Some(Request::WriteRegister(_, digits)) => {
            pass(from_hex(digits).is_some_and(|bytes| bytes.len() <= MAX_REGISTER))
        }
        Some(Request::SelectThread(selector)) => pass(threads.select(selector)),
        Some(Request::SelectResumed(selector)) => pass(threads.select_resumed(selector)),
        Some(Request::IsThreadAlive(selector)) => {
            pass(matches!(selector, ThreadSelector::One(_)) && threads.one(selector).is_some())
        }
        Some(Request::ThreadInfo(selector)) => match threads.one(selector) {
            // The library requires a thread number, without a process that may be any.
            Some(vcpu) => {
                Route::Replaced(packet(format!("qThreadExtraInfo,{:x}", thread_of(vcpu)).as_bytes()))
            }
            None => Route::Refused(INVALID),
        },
        Some(request) => Route::Extension(request),
    }
}

/// Bytes of a packet that are not its body: `$`, `#` and the checksum.
const FRAME: usize = 4;

/// The packet with this body.
fn packet(body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(body.len() + FRAME);
    write_packet(&mut packet, |out| out.extend_from_slice(body));
    packet
}

/// Adds the answer to `request` to the body of a packet in `out`.
pub(crate) fn answer(target: &mut GdbTarget<'_, '_>, request: &Request<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let answered = match *request {
        Request::ReadMemory { address, length, binary } => memory::read(target, address, length, binary, out),
        Request::WriteMemory { address, length, data, binary } => {
            memory::write(target, address, length, data, binary, out)
        }
        Request::ReadRegisters => read_registers(target, out),
        Request::CurrentThread => thread_list::current(target, out),
        Request::ThreadList { offset, length } => thread_list::read(target, offset, length, out),
        Request::AuxiliaryVector { offset, length } => auxv::read(offset, length, out),
        Request::Allocate { size, executable } => lldb::allocate(target, size, executable, out),
        Request::Deallocate(address) => lldb::deallocate(target, address, out),
        Request::MemoryRegion(address) => lldb::region(target, address, out),
        Request::Qemu(request) => qemu::answer(target, request, out),
        // Not routed to this layer.
        _ => Ok(()),
    };
    if let Err(errno) = answered {
        out.truncate(start);
        write_error(out, errno);
    }
}

/// All registers, which gdb reads after a stop.
fn read_registers(target: &mut GdbTarget<'_, '_>, out: &mut Vec<u8>) -> Answered {
    let thread = thread_of(target.threads.selected());
    let mut registers = GdbRegisters::default();
    target.read_registers(&mut registers, thread).map_err(|_| INVALID)?;
    add_hex(out, &registers.to_bytes());
    Ok(())
}

/// Adds an error to the body of a packet in `out`.
pub(crate) fn write_error(out: &mut Vec<u8>, errno: u8) {
    out.push(b'E');
    add_hex(out, &[errno]);
}

/// An answer, or an `errno` value.
type Answered = Result<(), u8>;

fn text(out: &mut Vec<u8>, text: &str) -> Answered {
    out.extend(text.as_bytes());
    Ok(())
}

/// The features of this layer, in addition to those that the library lists.
const FEATURES: &str = "binary-upload+;qXfer:threads:read+;qXfer:auxv:read+";

/// True if the library's answer to this packet is passed through [`amend`].
pub(crate) fn is_amended(body: &[u8]) -> bool {
    matches!(body, [b'G' | b'P', ..]) || body.starts_with(b"qSupported")
}

/// Completes the library's answer at the end of `out`: a list of features gets those of this layer, and the refusal of
/// a register's value its reason.
pub(crate) fn amend(target: &mut GdbTarget<'_, '_>, body: &[u8], out: &mut Vec<u8>) {
    if body.starts_with(b"qSupported") {
        change_last_packet(out, features);
    } else if let Some(reason) = target.view.refusal.take() {
        // gdb shows what follows the dot to its user.
        change_last_packet(out, |_| format!("E.{}", reason.replace(['#', '$', '}', '*'], "?")));
    }
}

/// The features of the library's `list` and of this layer.
fn features(list: &str) -> String {
    let others = list.split(';').filter(|feature| !feature.starts_with("PacketSize="));
    others.chain([FEATURES]).fold(format!("PacketSize={PACKET:x}"), |list, feature| list + ";" + feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_both_are_listed_with_the_larger_packet_size() {
        let mut out = b"+$PacketSize=2000;vContSupported+;swbreak+#00".to_vec();
        change_last_packet(&mut out, features);
        let expected =
            b"PacketSize=20000;vContSupported+;swbreak+;binary-upload+;qXfer:threads:read+;qXfer:auxv:read+";
        assert_eq!(out, [&b"+"[..], &packet(expected)].concat());
    }

    #[test]
    fn only_answers_about_features_and_written_registers_are_amended() {
        for body in [&b"qSupported:multiprocess+"[..], b"P10=00", b"G00"] {
            assert!(is_amended(body));
        }
        for body in [&b"g"[..], b"p10", b"vCont;c", b"?", b""] {
            assert!(!is_amended(body));
        }
    }
}
