//! Requests as clients write them, well and badly.

use super::super::resume;
use super::*;
use crate::gdb::packet::{PacketScanner, Scanned, from_binary, from_hex};
use crate::gdb::threads::Threads;

#[test]
fn requests_are_decoded() {
    let read = |address, length, binary| Some(Request::ReadMemory { address, length, binary });
    let malformed = Some(Request::Malformed);
    let one = |number| ThreadSelector::One(NonZeroUsize::new(number).unwrap());
    let write = |data, binary| Some(Request::WriteMemory { address: 0x1000, length: 2, data, binary });
    for (body, expected) in [
        (&b"mffffffff80000000,10"[..], read(0xFFFF_FFFF_8000_0000, 16, false)),
        (b"x0,0", read(0, 0, true)),
        (b"m,1", malformed),
        (b"m0", malformed),
        (b"m10000000000000000,1", malformed),
        (b"m-1,1", malformed),
        (b"M1000,2:0aFF", write(b"0aFF", false)),
        (b"X1000,2::,", write(b":,", true)),
        (b"M1000:00", malformed),
        (b"X1000,2", malformed),
        (b"g", Some(Request::ReadRegisters)),
        (b"g0", malformed),
        (b"G00", Some(Request::WriteRegisters(b"00"))),
        (b"p1b", Some(Request::ReadRegister(27))),
        (b"p", malformed),
        (b"P10=00002000", Some(Request::WriteRegister(16, b"00002000"))),
        (b"P10", malformed),
        (b"qqemu.PhyMemMode", Some(Request::Qemu(QemuRequest::PhysicalMode))),
        (b"Qqemu.PhyMemMode:1", Some(Request::Qemu(QemuRequest::SetPhysicalMode(true)))),
        (b"Qqemu.PhyMemMode:2", None),
        (b"Qqemu.sstep=5", Some(Request::Qemu(QemuRequest::SetStepFlags(5)))),
        (b"Qqemu.sstep=0x7", Some(Request::Qemu(QemuRequest::SetStepFlags(7)))),
        (b"Hg0", Some(Request::SelectThread(ThreadSelector::Any))),
        (b"Hgp1.2", Some(Request::SelectThread(one(2)))),
        (b"Hg-1", Some(Request::SelectThread(ThreadSelector::All))),
        (b"Hg", Some(Request::SelectThread(ThreadSelector::Invalid))),
        (b"Hcp1.-1", Some(Request::SelectResumed(ThreadSelector::All))),
        (b"Hm1", None),
        (b"Tp1.1f", Some(Request::IsThreadAlive(one(0x1F)))),
        (b"Tp1", Some(Request::IsThreadAlive(ThreadSelector::All))),
        (b"Tp2.1", Some(Request::IsThreadAlive(ThreadSelector::Invalid))),
        (b"Tpx.1", Some(Request::IsThreadAlive(ThreadSelector::Invalid))),
        (b"T1ffffffffffffffff", Some(Request::IsThreadAlive(ThreadSelector::Invalid))),
        (b"T00", Some(Request::IsThreadAlive(ThreadSelector::Invalid))),
        (b"qC", Some(Request::CurrentThread)),
        (b"qThreadExtraInfo,p1.1", Some(Request::ThreadInfo(one(1)))),
        (b"qThreadExtraInfo,", Some(Request::ThreadInfo(ThreadSelector::Invalid))),
        (b"qXfer:threads:read::10,ffb", Some(Request::ThreadList { offset: 16, length: 0xFFB })),
        (b"qXfer:threads:read::10", malformed),
        (b"qXfer:threads:read:x:0,1", None),
        (b"vCont?", None),
        (b"qSupported:xmlRegisters=i386", None),
        (b"", None),
    ] {
        assert_eq!(request(body), expected, "{}", body.escape_ascii());
    }
}

#[test]
fn a_feature_is_found_in_a_list() {
    let body = b"qSupported:multiprocess+;swbreak+";
    assert!(has_feature(body, b"multiprocess+") && has_feature(body, b"swbreak+"));
    assert!(!has_feature(b"qSupported:multiprocess-;xmultiprocess+", b"multiprocess+"));
}

/// Parts of packets, and what is no part of one.
const PARTS: [&str; 35] = [
    "$",
    "#",
    "#00",
    "+",
    "-",
    "\x03",
    "}",
    "*",
    "$M0,1:",
    "$X0,2:",
    "$m0",
    "$x1,",
    "$p",
    "$P10=",
    "$G",
    "$g",
    "$Qqemu.sstep=",
    "$vCont;c",
    "$vCont;s:1",
    "$Hg",
    "$qThreadExtraInfo,",
    "0",
    "1",
    "a",
    "f",
    "ff",
    "FFFF",
    "\u{80}",
    "x",
    ",",
    ":",
    ";",
    "=",
    "$$",
    "##",
];

#[test]
fn random_streams_give_packets_or_nothing() {
    // A multiplicative generator: the same bytes every time.
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    let mut scanner = PacketScanner::new(64);
    let threads = Threads::new(2);
    let (mut kinds, mut resumptions) = ([0; 3], 0);
    for _ in 0..200_000 {
        let mut bytes = PARTS[random() % PARTS.len()].as_bytes();
        while !bytes.is_empty() {
            let (piece, count) = scanner.take(bytes);
            bytes = &bytes[count..];
            match piece {
                Scanned::Last => {
                    assert!(scanner.packet().len() <= 64);
                    let body = &scanner.packet()[1..scanner.packet().len() - 3];
                    if let Some(actions) = resume::actions(body) {
                        // Whatever is not refused can be read again.
                        if let Some(packet) = resume::packet(&threads, &actions) {
                            let again = resume::actions(&packet[1..packet.len() - 3]).unwrap();
                            assert_eq!(resume::packet(&threads, &again), Some(packet));
                            resumptions += 1;
                        }
                    }
                    match request(body) {
                        Some(Request::WriteMemory { data, .. }) => {
                            assert!(from_binary(data).is_none_or(|bytes| bytes.len() <= data.len()));
                            assert!(from_hex(data).is_none_or(|bytes| 2 * bytes.len() == data.len()));
                            kinds[0] += 1;
                        }
                        Some(_) => kinds[1] += 1,
                        None => kinds[2] += 1,
                    }
                }
                Scanned::TooLong => scanner = PacketScanner::new(64),
                Scanned::Inside | Scanned::Loose => assert!(count > 0),
            }
        }
    }
    assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}: nothing like packets");
    assert!(resumptions > 10, "{resumptions}: nothing that lets threads go on");
}

#[test]
fn requests_for_memory_of_lldb_and_the_auxiliary_vector_are_read() {
    for (body, wanted) in [
        (&b"_M1000,rwx"[..], Request::Allocate { size: 0x1000, executable: true }),
        (b"_M81000,rw", Request::Allocate { size: 0x8_1000, executable: false }),
        (b"_M1000", Request::Malformed),
        (b"_m3ffe000", Request::Deallocate(0x3FF_E000)),
        (b"_m", Request::Malformed),
        (b"qMemoryRegionInfo:200010", Request::MemoryRegion(0x20_0010)),
        (b"qMemoryRegionInfo:x", Request::Malformed),
        (b"qXfer:auxv:read::0,1000", Request::AuxiliaryVector { offset: 0, length: 0x1000 }),
        (b"qXfer:auxv:read::0", Request::Malformed),
    ] {
        assert_eq!(request(body), Some(wanted), "{}", body.escape_ascii());
    }
}
