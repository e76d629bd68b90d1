use super::*;
use crate::settings::DiskInterface;

/// An image in a file of its own, which is removed at the end.
struct Image(PathBuf);

impl Image {
    fn new(name: &str, size: u64) -> Image {
        let path = std::env::temp_dir().join(format!("kvm-disk-image-{}-{name}", std::process::id()));
        File::create(&path).unwrap().set_len(size).unwrap();
        Image(path)
    }

    fn open(&self, mode: DiskMode) -> Result<DiskImage, DiskImageError> {
        DiskImage::open(&DiskSpec { path: self.0.clone(), mode, interface: DiskInterface::Ide })
    }

    fn error(&self, mode: DiskMode) -> String {
        self.open(mode).unwrap_err().to_string().replace(&self.0.display().to_string(), "IMAGE")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(image: &DiskImage, lba: u64, sectors: usize) -> Vec<u8> {
    let mut data = vec![0xEE; sectors * 512];
    image.read(lba, &mut data).unwrap();
    data
}

#[test]
fn what_is_written_is_read_back_and_is_in_the_file() {
    let file = Image::new("written", 100 * 512);
    let mut image = file.open(DiskMode::ReadWrite).unwrap();
    assert_eq!((image.sectors(), image.is_read_only()), (100, false));
    image.write(98, &[7; 1024]).unwrap();
    image.flush().unwrap();
    assert_eq!(read(&image, 97, 3), [vec![0; 512], vec![7; 1024]].concat());
    assert_eq!(std::fs::read(&file.0).unwrap()[98 * 512..], [7; 1024]);
    assert_eq!(image.write(99, &[7; 1024]).unwrap_err().0, 99);
    assert!(image.read(u64::MAX, &mut [0; 512]).is_err());
}

#[test]
fn a_snapshot_keeps_its_writes_in_memory() {
    // The last cluster is not all there.
    let file = Image::new("snapshot", 21 * 512);
    std::fs::write(&file.0, vec![1; 21 * 512]).unwrap();
    let mut image = file.open(DiskMode::Snapshot).unwrap();
    image.write(6, &[2; 5 * 512]).unwrap();
    image.write(20, &[3; 512]).unwrap();
    let expected = [vec![1; 6 * 512], vec![2; 5 * 512], vec![1; 9 * 512], vec![3; 512]].concat();
    assert_eq!(read(&image, 0, 21), expected);
    assert_eq!(read(&image, 10, 2), expected[10 * 512..12 * 512]);
    image.flush().unwrap();
    assert_eq!(std::fs::read(&file.0).unwrap(), vec![1; 21 * 512]);
}

/// Whether the host has the contents in memory is its business; a file that was written a moment ago is there.
#[test]
fn what_the_host_has_in_memory_is_the_same() {
    let file = Image::new("cached", 21 * 512);
    std::fs::write(&file.0, vec![1; 21 * 512]).unwrap();
    let mut image = file.open(DiskMode::Snapshot).unwrap();
    image.write(6, &[2; 5 * 512]).unwrap();
    let mut data = vec![0xEE; 20 * 512];
    if image.read_cached(1, &mut data) {
        assert_eq!(data, read(&image, 1, 20));
    } else {
        println!("not in memory, or the file system of the temporary directory cannot tell");
    }
    assert!(!image.read_cached(2, &mut data), "beyond the end");
    assert!(!image.read_cached(u64::MAX, &mut [0; 512]));
}

#[test]
fn a_snapshot_goes_back_to_earlier_contents() {
    let file = Image::new("goes-back", 21 * 512);
    let mut image = file.open(DiskMode::Snapshot).unwrap();
    let fresh = image.save_writes().unwrap();
    image.write(20, &[1; 512]).unwrap();
    assert!(image.has_writes_in_memory());
    let saved = image.save_writes().unwrap();
    image.write(0, &[2; 21 * 512]).unwrap();
    assert_eq!(read(&image, 0, 21), [2; 21 * 512]);
    let mut changed = Vec::new();
    image.restore_writes(&saved, |at| changed.push(at));
    changed.sort_unstable();
    assert_eq!(changed, [0, 4096, 8192]);
    assert_eq!(read(&image, 0, 21), [vec![0; 20 * 512], vec![1; 512]].concat());
    image.restore_writes(&fresh, |_| ());
    assert_eq!((read(&image, 0, 21), image.has_writes_in_memory()), (vec![0; 21 * 512], false));
    assert!(Image::new("in-the-file", 512).open(DiskMode::ReadWrite).unwrap().save_writes().is_none());
}

#[test]
fn a_read_only_image_refuses_writes() {
    let file = Image::new("read-only", 512);
    let mut image = file.open(DiskMode::ReadOnly).unwrap();
    assert!(image.is_read_only());
    assert_eq!(image.write(0, &[1; 512]).unwrap_err().1.kind(), io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn a_writer_excludes_all_others_and_readers_share() {
    let file = Image::new("locked", 512);
    let writer = file.open(DiskMode::ReadWrite).unwrap();
    let by = "the disk image IMAGE is in use already: it is given twice. Give it once, or use a copy of it";
    for mode in [DiskMode::ReadWrite, DiskMode::ReadOnly, DiskMode::Snapshot] {
        assert!(file.error(mode).starts_with(by), "{}", file.error(mode));
    }
    drop(writer);
    let _readers = (file.open(DiskMode::ReadOnly).unwrap(), file.open(DiskMode::Snapshot).unwrap());
    assert!(file.error(DiskMode::ReadWrite).contains("is in use"));
    assert_eq!(user_and_remedy(Some(1)), " by process 1. End that");
}

#[test]
fn errors_name_the_remedy() {
    let missing = Image(PathBuf::from("/nowhere/disk.img"));
    assert!(missing.error(DiskMode::ReadWrite).contains("`truncate -s 64M IMAGE`"));
    let folder = std::env::temp_dir();
    let error =
        DiskImage::open(&DiskSpec { path: folder, mode: DiskMode::ReadOnly, interface: DiskInterface::Ide })
            .unwrap_err();
    assert!(error.to_string().contains("neither a file nor a block device"));
    assert!(Image::new("empty", 0).error(DiskMode::ReadOnly).contains("is empty"));
    assert!(Image::new("odd", 513).error(DiskMode::ReadOnly).contains("`truncate -s %512 IMAGE`"));
    let qcow2 = Image::new("qcow2", 0);
    std::fs::write(&qcow2.0, [b"QFI\xFB".as_slice(), &[0; 508]].concat()).unwrap();
    assert!(qcow2.error(DiskMode::ReadOnly).contains("`qemu-img convert -O raw IMAGE NEW`"));
}

#[test]
fn an_image_beyond_28_bits_of_sectors_is_sparse() {
    let file = Image::new("sparse", 200 << 30);
    let mut image = file.open(DiskMode::ReadWrite).unwrap();
    let lba = (1 << 28) + 1;
    image.write(lba, &[9; 512]).unwrap();
    assert_eq!(read(&image, lba - 1, 3), [vec![0; 512], vec![9; 512], vec![0; 512]].concat());
}
