//! Whole machines for unit tests, on whatever KVM the host has.

use super::inputs::Inputs;
use super::output::{Doorbell, output_queue};
use super::{Event, Machine, MachineSpec, Outcome};
use crate::boot::test_guest::{CODE, TestGuest};
use crate::boot::{BootOptions, BytesImage, Protocol};
use crate::kvm::Kvm;
use crate::os::disk_image::DiskImage;
use crate::settings::{
    ClockMode, DEFAULT_DEVICE, DiskInterface, DiskMode, DiskSpec, IrqchipMode, KeyTarget, LayoutName,
    Schedule,
};

/// Where the guest's code is.
pub(crate) const ENTRY: u64 = 0x20_0000;

/// A machine whose guest is `code`, in long mode at [`ENTRY`]; `None` where there is no `/dev/kvm`.
pub(crate) fn machine(memory: u64, code: &[u8]) -> Option<Machine> {
    machine_with(memory, code, 1, Schedule::Parallel)
}

/// The same with `cpus` CPUs.
pub(crate) fn machine_with(memory: u64, code: &[u8], cpus: u8, schedule: Schedule) -> Option<Machine> {
    Kvm::open(DEFAULT_DEVICE.as_ref()).ok()?;
    let file = TestGuest::new(ENTRY).load(CODE, ENTRY, code).build();
    let image = Box::new(BytesImage::new("guest.elf", file.leak()));
    let found = Protocol::find(image.as_ref(), None).expect("a guest");
    let spec = MachineSpec {
        device: DEFAULT_DEVICE.into(),
        memory,
        boot: BootOptions::default(),
        keys: KeyTarget::Auto,
        layout: LayoutName::Us,
        terminal: None,
        no_reboot: false,
        cpus,
        schedule,
        clock: ClockMode::Host,
        irqchip: IrqchipMode::User,
        time_of_day: 0,
        flat_ide_bars: false,
        framebuffer: false,
        magic_break: false,
    };
    let doorbell = Doorbell::new().expect("an eventfd");
    Some(Machine::new((image, found), spec, Inputs::new(), output_queue(doorbell).0).expect("a machine"))
}

/// An image of `sectors` sectors that hold their numbers, whose file is deleted already; `name` is no other test's.
pub(crate) fn numbered_disk(name: &str, sectors: u32, interface: DiskInterface) -> DiskImage {
    let path = std::env::temp_dir().join(format!("kvm-disk-{name}-{}", std::process::id()));
    let contents: Vec<u8> = (0..sectors).flat_map(|sector| sector.to_le_bytes().repeat(128)).collect();
    std::fs::write(&path, contents).expect("a file");
    let spec = DiskSpec { path: path.clone(), mode: DiskMode::ReadWrite, interface };
    let image = DiskImage::open(&spec).expect("an image");
    std::fs::remove_file(path).expect("the file");
    image
}

/// Runs the guest up to its next `hlt`, which leaves it behind that.
pub(crate) fn run_to_halt(machine: &mut Machine) {
    match machine.run_to_event() {
        Event::End(Outcome::Halted { .. }) => {}
        other => panic!("{other:?}"),
    }
}
