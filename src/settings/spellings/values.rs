//! The values of options of QEMU.

use super::translation::Translation;

/// The remedy for an accelerator other than KVM.
pub(super) const ONLY_KVM: &str = "Guests run on KVM only. Leave it out. Without /dev/kvm, `scripts/lab run GUEST` \
                                   runs a guest on an emulated processor.";

/// Files that QEMU passes to the guest: `FILE[ ARGUMENTS][,FILE[ ARGUMENTS]...]`.
pub(super) fn modules(translation: &mut Translation, text: &str) -> Result<(), String> {
    for module in text.split(',') {
        let (file, arguments) = module.split_once(' ').unwrap_or((module, ""));
        if file.contains('=') {
            return Err("`--module FILE` takes no name with `=` in it. Rename the file.".to_owned());
        }
        let separator = if arguments.is_empty() { "" } else { "=" };
        translation.push(&format!("--module={file}{separator}{arguments}"))?;
    }
    Ok(())
}

/// A drive with its properties: a raw image for an IDE or a virtio disk, or a CD.
pub(super) fn drive(translation: &mut Translation, text: &str) -> Result<(), String> {
    let (mut file, mut mode, mut interface, mut is_cdrom) = ("", "", "", false);
    for property in text.split(',') {
        let (name, value) = property.split_once('=').unwrap_or((property, "on"));
        match (name, value) {
            ("file", path) => file = path,
            ("readonly" | "read-only", "on" | "yes" | "true") => mode = ",ro",
            ("snapshot", "on" | "yes" | "true") => mode = ",snapshot",
            ("media", "cdrom") => is_cdrom = true,
            ("format", "raw") | ("if", "ide" | "none") | ("media", "disk") => {}
            ("if", "virtio") => interface = ",virtio",
            // Neither changes what the guest sees.
            (
                "id" | "cache" | "aio" | "discard" | "detect-zeroes" | "readonly" | "read-only" | "snapshot",
                _,
            ) => {}
            // Disks are numbered in the order in which they are named.
            ("index" | "bus" | "unit", _) => {}
            ("format", _) => {
                return Err(
                    "Disk images are raw. `qemu-img convert -O raw FILE NEW` converts one.".to_owned()
                );
            }
            _ => {
                return Err(format!(
                    "`{property}` has no equivalent. `--disk FILE`, with `,ro`, `,snapshot` or `,virtio` behind it, \
                     connects a disk with a raw image."
                ));
            }
        }
    }
    match file {
        "" => Err("It names no image: `file=FILE`.".to_owned()),
        file if is_cdrom => translation.cdrom(file),
        file => translation.disk(&format!("{file}{interface}{mode}")),
    }
}

/// `HOST:PORT` for `PROTOCOL:[HOST]:PORT[,OPTIONS]`. Without a host it is this host's loopback, where QEMU would
/// listen on every interface.
pub(super) fn listen_address(text: &str) -> Result<String, String> {
    let (_, address) = text.split_once(':').unwrap_or(("", text));
    let address = address.split(',').next().unwrap_or_default();
    match address.rsplit_once(':') {
        Some(("", port)) => Ok(format!("127.0.0.1:{port}")),
        Some(("0", port)) => Ok(format!("0.0.0.0:{port}")),
        Some(_) => Ok(address.to_owned()),
        None => Err("The port is missing: `tcp:HOST:PORT`.".to_owned()),
    }
}

/// `unix:PATH` for `unix:PATH,server=on[,wait=off]`.
pub(super) fn server_socket(text: &str) -> Result<String, String> {
    let mut parts = text.split(',');
    let socket = parts.next().unwrap_or_default().to_owned();
    if parts.any(|option| matches!(option, "server" | "server=on")) {
        return Ok(socket);
    }
    Err(format!("It connects to a socket, and kvm listens on one: `{socket},server=on,wait=off`."))
}

/// A machine type with its properties: an accelerator must be KVM.
pub(super) fn machine_type(translation: &mut Translation, text: &str) -> Result<(), String> {
    match text.split(',').find_map(|property| property.strip_prefix("accel=")) {
        None => Ok(()),
        Some(accelerators) if accelerators.split(':').any(|one| one == "kvm") => {
            translation.kvm = true;
            Ok(())
        }
        Some(_) => Err(ONLY_KVM.to_owned()),
    }
}

/// A processor model with features. Features can be required, but not removed.
pub(super) fn cpu_model(_: &mut Translation, text: &str) -> Result<(), String> {
    let removed = |feature: &str| feature.starts_with('-') || feature.ends_with("=off");
    match text.split(',').skip(1).find(|feature| removed(feature)) {
        Some(feature) => Err(format!(
            "Features of the host's processor cannot be hidden from the guest. Leave out `{feature}`."
        )),
        None => Ok(()),
    }
}

/// The debug exit with its port, which is 0xF4 here and 0x501 by default in QEMU.
pub(super) fn debug_exit(_: &mut Translation, text: &str) -> Result<(), String> {
    let port = text.split(',').find_map(|property| property.strip_prefix("iobase=")).unwrap_or("0x501");
    let number = match port.strip_prefix("0x").or_else(|| port.strip_prefix("0X")) {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => port.parse(),
    };
    match number {
        Ok(0xF4) => Ok(()),
        _ => Err(format!(
            "The debug exit is at port 0xF4, not at {port}. Change the guest, and `iobase=0xf4` here."
        )),
    }
}
