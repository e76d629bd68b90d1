use super::*;
use crate::boot::BytesImage;
use crate::boot::test_guest::TestGuest;
use crate::boot::{Choice, Protocol};

/// What gzip makes of `contents`, with these flags and the fields that they announce.
fn packed(contents: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1F, 0x8B, 8, flags, 0, 0, 0, 0, 2, 3];
    file.extend(fields);
    file.extend(miniz_oxide::deflate::compress_to_vec(contents, 6));
    file.extend(crc32fast::hash(contents).to_le_bytes());
    file.extend((contents.len() as u32).to_le_bytes());
    file
}

fn unpacked(file: &[u8]) -> Result<Vec<u8>, String> {
    unpack(&BytesImage::new("guest.gz", file)).map_err(|problem| problem.to_string())
}

#[test]
fn a_compressed_file_is_unpacked_whatever_its_header_has() {
    let contents = vec![7; 100_000];
    assert_eq!(unpacked(&packed(&contents, 0, b"")), Ok(contents.clone()));
    assert_eq!(unpacked(&packed(&contents, FNAME, b"xen\0")), Ok(contents.clone()));
    let all = FHCRC | FEXTRA | FNAME | FCOMMENT;
    assert_eq!(unpacked(&packed(&contents, all, b"\x02\0ababc\0comment\0\x12\x34")), Ok(contents));
    assert_eq!(unpacked(&packed(b"", 0, b"")), Ok(Vec::new()));
}

#[test]
fn a_damaged_file_is_refused_wherever_it_ends() {
    let file = packed(b"some contents of a kernel", FNAME, b"xen\0");
    for cut in 0..file.len() {
        assert!(unpacked(&file[..cut]).is_err(), "{cut}");
    }
    let refused = |at: usize, value: u8, expected: &str| {
        let mut file = file.clone();
        file[at] ^= value;
        let error = unpacked(&file).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refused(2, 1, "its header is damaged");
    refused(3, 0x80, "its header is damaged");
    refused(file.len() - 8, 1, "its checksum is wrong");
    refused(file.len() - 4, 1, "something follows it");
    refused(file.len() - 1, 0x7F, "its end is missing, or unpacked, it has more than 256 MiB");
    refused(file.len() - 1, 1, "something follows it");
    assert!(unpacked(&[&file[..], b"x"].concat()).is_err());
}

#[test]
fn kernels_are_unpacked_and_disks_are_not() {
    let found = |contents: &[u8]| {
        let image = OwnedImage::unpacked("guest.gz".to_owned(), contents.to_vec());
        Protocol::find(&image, None)
            .map(|found| (found.protocol.kind, found.choice))
            .map_err(|e| e.to_string())
    };
    assert_eq!(found(&TestGuest::simple().build()), Ok((BootKind::Elf64, Choice::ByContents)));
    let mut disk = [0; 512];
    disk[510..].copy_from_slice(&[0x55, 0xAA]);
    let error = found(&disk).unwrap_err();
    assert!(error.contains("a gzip-compressed disk image") && error.contains("unpack it first"), "{error}");
}
