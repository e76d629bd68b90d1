//! INT 19h: loads the boot sector; INT 18h: there is none. And exceptions that no program has taken over.

use super::call::{BiosCall, BiosPlatform, Served};
use super::int13_disk::FIRST_DRIVE;
use crate::devices::bios_port::{BiosTransfer, TransferKind};
use crate::devices::ide::DiskResult;

/// Where the boot sector is loaded; the ROM returns there.
pub const BOOT_SECTOR: u64 = 0x7C00;
/// The last two bytes of a boot sector.
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// Starts with the first drive.
pub(super) fn boot(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    load(0, call, platform)
}

/// Loads the first sector of drive `index`, or fails for want of one.
fn load(index: usize, call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    match platform.drive(index) {
        Some(drive) => {
            call.set_dl(FIRST_DRIVE.wrapping_add(index as u8));
            Served::Transfer(BiosTransfer {
                vector: call.vector,
                unit: drive.unit,
                lba: 0,
                sectors: 1,
                address: BOOT_SECTOR,
                kind: TransferKind::Read,
            })
        }
        None => failure(platform),
    }
}

/// The answer of a drive: its boot sector, or the next drive is tried.
pub(super) fn complete(
    call: &mut BiosCall,
    transfer: &BiosTransfer,
    result: DiskResult,
    platform: &mut dyn BiosPlatform,
) -> Served {
    match result {
        Ok(sector) if sector.ends_with(&SIGNATURE) => {
            platform.write(transfer.address, &sector);
            call.set_dh(0);
            Served::Done
        }
        _ => load(usize::from(call.dl().wrapping_sub(FIRST_DRIVE)) + 1, call, platform),
    }
}

/// INT 18h: nothing can be booted.
pub(super) fn failure(platform: &mut dyn BiosPlatform) -> Served {
    let reason = match platform.drives() {
        0 => "no bootable disk: the machine has no hard disk. Give an image: `kvm DISK` or `--disk DISK`".to_owned(),
        1 => "no bootable disk: the first sector of disk 0x80 does not end with the boot signature 55 AA, or cannot \
              be read. Install a boot loader on it"
            .to_owned(),
        disks => format!(
            "no bootable disk: no first sector of disks 0x80 to {:#x} ends with the boot signature 55 AA. Install a \
             boot loader on one of them",
            FIRST_DRIVE.wrapping_add(disks - 1)
        ),
    };
    super::print(&format!("{reason}\r\n"), platform);
    Served::Stop(reason)
}

/// An exception that would be raised again if its handler returned.
pub(super) fn unexpected_exception(call: &BiosCall) -> Served {
    let name = match call.vector {
        0x00 => "a division error (#DE)",
        0x06 => "an invalid instruction (#UD)",
        _ => "a coprocessor instruction without a coprocessor (#NM)",
    };
    Served::Stop(format!(
        "{name} at {:04x}:{:04x}, and the guest has no handler for interrupt {:#04x}",
        call.cs, call.ip, call.vector
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPlatform;
    use super::*;
    use crate::devices::ide::{DiskError, SECTOR};

    fn sector(signature: [u8; 2]) -> Vec<u8> {
        let mut sector = vec![0x90; SECTOR];
        sector[510..].copy_from_slice(&signature);
        sector
    }

    #[test]
    fn the_first_drive_with_a_boot_sector_is_booted() {
        let mut platform = TestPlatform::with_disks(&[100, 200, 300]);
        let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
        let Served::Transfer(first) = boot(&mut call, &mut platform) else { panic!("no transfer") };
        assert_eq!((first.unit, first.lba, first.sectors, call.dl()), (0, 0, 1, 0x80));
        let next = complete(&mut call, &first, Err(DiskError { lba: 0 }), &mut platform);
        let Served::Transfer(second) = next else { panic!("no transfer") };
        let next = complete(&mut call, &second, Ok(sector([0, 0])), &mut platform);
        let Served::Transfer(third) = next else { panic!("no transfer") };
        assert_eq!((second.unit, third.unit), (1, 2));
        assert_eq!(complete(&mut call, &third, Ok(sector(SIGNATURE)), &mut platform), Served::Done);
        assert_eq!((call.dx(), platform.memory[0x7C00], platform.memory[0x7DFE]), (0x82, 0x90, 0x55));
    }

    #[test]
    fn without_a_boot_sector_the_message_says_what_is_missing() {
        let mut platform = TestPlatform::with_disks(&[100]);
        let mut call = BiosCall { vector: 0x19, ..BiosCall::default() };
        let Served::Transfer(only) = boot(&mut call, &mut platform) else { panic!("no transfer") };
        let stopped = complete(&mut call, &only, Ok(sector([0x55, 0xAB])), &mut platform);
        assert!(matches!(&stopped, Served::Stop(reason) if reason.contains("disk 0x80")), "{stopped:?}");
        assert!(platform.screen_line(0).starts_with("no bootable disk: "));
        assert!(platform.sent().ends_with("on it\r\n"), "{:?}", platform.sent());
        let nothing = boot(&mut call, &mut TestPlatform::default());
        assert!(matches!(&nothing, Served::Stop(reason) if reason.contains("`kvm DISK`")), "{nothing:?}");
        let several = failure(&mut TestPlatform::with_disks(&[1, 1]));
        assert!(matches!(&several, Served::Stop(reason) if reason.contains("0x80 to 0x81")), "{several:?}");
    }

    #[test]
    fn an_exception_without_a_handler_names_its_place() {
        let call = BiosCall { vector: 6, cs: 0x0050, ip: 0x1234, ..BiosCall::default() };
        let Served::Stop(reason) = unexpected_exception(&call) else { panic!("it goes on") };
        assert!(reason.contains("(#UD) at 0050:1234"), "{reason}");
    }
}
