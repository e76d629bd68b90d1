use super::*;

/// A boot record that names the catalog in sector `lba`.
fn record(lba: u32) -> Vec<u8> {
    let mut sector = vec![0; CD_SECTOR_BYTES];
    sector[..30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    sector[0x47..0x4B].copy_from_slice(&lba.to_le_bytes());
    sector
}

/// A validation entry of a platform, and these entries.
pub(crate) fn catalog(platform: u8, entries: &[[u8; 32]]) -> Vec<u8> {
    let mut sector = vec![0; CD_SECTOR_BYTES];
    sector[..2].copy_from_slice(&[1, platform]);
    sector[30..32].copy_from_slice(&[0x55, 0xAA]);
    let sum = (0u16.wrapping_sub(1 | u16::from(platform) << 8)).wrapping_sub(0xAA55);
    sector[28..30].copy_from_slice(&sum.to_le_bytes());
    for (number, entry) in entries.iter().enumerate() {
        sector[32 * (number + 1)..][..32].copy_from_slice(entry);
    }
    sector
}

/// A bootable entry.
pub(crate) fn entry(media: u8, segment: u16, loaded: u16, lba: u32) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..2].copy_from_slice(&[0x88, media]);
    entry[2..4].copy_from_slice(&segment.to_le_bytes());
    entry[6..8].copy_from_slice(&loaded.to_le_bytes());
    entry[8..12].copy_from_slice(&lba.to_le_bytes());
    entry
}

fn section(id: u8, platform: u8, entries: u8) -> [u8; 32] {
    let mut header = [0; 32];
    header[..3].copy_from_slice(&[id, platform, entries]);
    header
}

fn found(catalog: &[u8]) -> Result<BootImage, ElToritoError> {
    image_of(catalog, 19, 2000)
}

#[test]
fn the_boot_record_names_the_catalog() {
    assert_eq!(catalog_of(&record(19), 100), Ok(19));
    let mut data = record(19);
    data[7..].fill(0);
    assert_eq!(catalog_of(&data, 100), Err(ElToritoError::NoBootRecord));
    assert_eq!(catalog_of(&record(19)[1..], 100), Err(ElToritoError::NotACd));
    assert_eq!(catalog_of(&[], 100), Err(ElToritoError::NotACd));
    let outside = catalog_of(&record(u32::MAX), 100).unwrap_err().to_string();
    assert!(outside.contains("0xffffffff, and it has 0x64"), "{outside}");
}

#[test]
fn the_initial_entry_is_started() {
    let image = BootImage { media: BootMedia::NoEmulation, segment: 0x7C0, loaded: 4, lba: 20 };
    assert_eq!(found(&catalog(0, &[entry(0, 0, 4, 20)])), Ok(image));
    assert_eq!(found(&catalog(0, &[entry(0, 0, 0, 20)])), Ok(image), "no number of sectors");
    assert_eq!(image.address(), 0x7C00);
    let disk = BootImage { media: BootMedia::HardDisk, segment: 0x1000, loaded: 1, lba: 20 };
    assert_eq!(found(&catalog(0, &[entry(0xC4, 0x1000, 1, 20)])), Ok(disk), "other bits of the media type");
    for (number, size) in [(1, 2400), (2, 2880), (3, 5760)] {
        let media = found(&catalog(0, &[entry(number, 0, 1, 20)])).map(|image| image.media);
        assert_eq!(media, Ok(BootMedia::Diskette(size)));
        assert_eq!((media.as_ref().unwrap().number(), BootMedia::from_number(number)), (number, media.ok()));
    }
}

#[test]
fn an_entry_of_a_section_is_started_if_the_initial_one_is_for_efi() {
    let entries = [
        entry(0, 0, 4, 20),
        section(0x90, 0xEF, 1),
        entry(0, 0, 4, 21),
        section(0x44, 0, 0),
        section(0x91, 0, 2),
        [0; 32],
        entry(0, 0, 4, 22),
        section(0x91, 0, 1),
        entry(0, 0, 4, 23),
    ];
    assert_eq!(found(&catalog(0xEF, &entries)).map(|image| image.lba), Ok(22));
    // Behind the last section nothing counts.
    let behind = [entry(0, 0, 4, 20), section(0x91, 0xEF, 0), section(0x91, 0, 1), entry(0, 0, 4, 23)];
    assert!(matches!(found(&catalog(0xEF, &behind)), Err(ElToritoError::NoEntry { .. })));
}

#[test]
fn a_wrong_catalog_is_refused_with_the_reason() {
    let right = catalog(0, &[entry(0, 0, 4, 20)]);
    let changed = |at: usize, value: u8| {
        let mut catalog = right.clone();
        catalog[at] = value;
        found(&catalog).unwrap_err().to_string()
    };
    let wrong = [
        (0, 2, "does not begin with 01"),
        (31, 0, "end its first entry with 55 AA"),
        (5, 1, "is 0x0100, not 0"),
        (32, 0, "no bootable entry for a PC's BIOS, none at all"),
        (33, 5, "media type 5"),
        (39, 0x20, "are to be loaded at 0x7c00"),
        (41, 0x10, "sectors 0x1014 to 0x1014, and it has 0x7d0"),
    ];
    for (at, value, part) in wrong {
        let message = changed(at, value);
        assert!(message.contains(part), "{at}: {message}");
    }
    let large = found(&catalog(0, &[entry(0, 0x9F00, 7, 20)])).unwrap_err().to_string();
    assert!(large.contains("at 0x9f000, which ends beyond 0x9fc00"), "{large}");
    let diskette = image_of(&catalog(0, &[entry(2, 0, 1, 20)]), 19, 0x2E3).unwrap_err().to_string();
    assert!(diskette.contains("0x14 to 0x2e3"), "{diskette}");
    let efi = found(&catalog(0xEF, &[entry(0, 0, 4, 20)])).unwrap_err().to_string();
    assert!(efi.contains("only for other platforms such as EFI"), "{efi}");
    assert!(found(&[]).is_err());
}
