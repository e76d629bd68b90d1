//! The table of boot protocols, and which one is for a guest file.

use std::cell::OnceCell;
use std::fmt;

use super::error::GuestProblem;
use super::{BootError, BootOptions, Image, LoadedGuest, ResetAction};
use super::{cdrom, disk, flat, gzip, identify, image, limine, linux, long_mode_elf, multiboot, pvh, rom};
use crate::memory::GuestMemory;
use crate::settings::BootKind;

/// Bytes at the start of a file that [`Candidate::head`] has, if the file has so many. A Multiboot2 header ends within
/// them, as does the signature of a CD image.
const HEAD: u64 = 0x8006;

/// How guest files of one kind are loaded and started: a row of the table.
pub struct Protocol {
    /// The kind of file.
    pub kind: BootKind,
    /// Whether it is for a file.
    recognise: fn(&Candidate<'_>) -> Recognition,
    /// Loads a guest; [`load`] is the contract.
    load: fn(&dyn Image, &GuestMemory, &BootOptions) -> Result<LoadedGuest, BootError>,
    /// The size of RAM if the user chooses none, in bytes; `None` for the default of `--memory`.
    default_memory: fn(&dyn Image, &BootOptions) -> Option<u64>,
    /// The machine has a display adapter with a linear framebuffer, unless the user chooses.
    framebuffer: fn(&dyn Image) -> bool,
    /// What a reset of the machine does.
    reset: ResetAction,
}

/// Every protocol. A file gets the first one that recognises it.
//
// The order matters: an ELF64 with a Multiboot header belongs to Multiboot, so its rows come before `Limine`, `Pvh` and `Elf64`,
// with a `Recognition::WithNote` for such files. What is recognised by the ending of its name comes last.
// A disk comes before those: boot loaders in its first sectors contain the headers of other kinds. A bzImage comes
// before disks, because it has a boot sector.
static PROTOCOLS: &[Protocol] = &[
    // Before the row of those with other entry points, too.
    Protocol {
        kind: BootKind::Linux16,
        recognise: linux::recognise_16,
        load: linux::load_16,
        framebuffer: |_| true,
        default_memory: |_, _| None,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Linux,
        recognise: linux::recognise,
        load: linux::load,
        default_memory: |image, _| linux::default_memory(image),
        framebuffer: |_| false,
        reset: ResetAction::Reload,
    },
    // Before disks: a CD may have a boot sector as well.
    Protocol {
        kind: BootKind::Cdrom,
        recognise: cdrom::recognise,
        load: cdrom::load,
        default_memory: |_, _| None,
        reset: ResetAction::Reload,
        framebuffer: |_| true,
    },
    Protocol {
        kind: BootKind::Disk,
        recognise: disk::recognise,
        load: disk::load,
        default_memory: |_, _| None,
        framebuffer: |_| true,
        reset: ResetAction::Reload,
    },
    // A kernel with both headers is started by the newer protocol.
    Protocol {
        kind: BootKind::Multiboot2,
        recognise: multiboot::recognise_2,
        load: multiboot::load_2,
        default_memory: |_, _| None,
        framebuffer: multiboot::wants_framebuffer_2,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Multiboot,
        recognise: multiboot::recognise_1,
        load: multiboot::load_1,
        default_memory: |_, _| None,
        framebuffer: multiboot::wants_framebuffer_1,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Limine,
        recognise: limine::recognise,
        load: limine::load,
        default_memory: |_, _| None,
        framebuffer: |_| true,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Pvh,
        recognise: pvh::recognise,
        load: pvh::load,
        default_memory: |_, _| None,
        framebuffer: |_| false,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Elf64,
        recognise: long_mode_elf::recognise,
        load: long_mode_elf::load,
        default_memory: |_, _| None,
        framebuffer: |_| false,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Flat,
        recognise: flat::recognise,
        load: flat::load,
        default_memory: |image, options| Some(flat::default_memory(image, options)),
        framebuffer: |_| false,
        reset: ResetAction::Reload,
    },
    Protocol {
        kind: BootKind::Rom,
        recognise: |_| Recognition::No,
        load: rom::load,
        default_memory: |_, _| None,
        framebuffer: |_| true,
        reset: ResetAction::ResetVector,
    },
];

/// The answer of a protocol to the question whether it is for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recognition {
    /// It is not.
    No,
    /// It is, by the contents of the file.
    ByContents,
    /// It is, by the contents of the file, and the user is told this.
    WithNote(String),
    /// It is, because the file's name ends like this, and its contents belong to no other kind.
    ByEnding(&'static str),
}

/// A file that a protocol is to recognise.
pub(super) struct Candidate<'a> {
    /// The file.
    pub image: &'a dyn Image,
    head: OnceCell<Vec<u8>>,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(image: &'a dyn Image) -> Candidate<'a> {
        Candidate { image, head: OnceCell::new() }
    }

    /// The first bytes of the file, at most [`HEAD`]; none if it cannot be read.
    pub(super) fn head(&self) -> &[u8] {
        self.head.get_or_init(|| {
            image::read(self.image, 0, self.image.len().min(HEAD), "the file").unwrap_or_default()
        })
    }

    /// The end of the file's name that is one of `endings`, which are in lower case; case is ignored.
    pub(super) fn ending(&self, endings: &[&'static str]) -> Option<&'static str> {
        let name = self.image.name().to_ascii_lowercase();
        endings.iter().copied().find(|ending| name.ends_with(ending))
    }
}

/// Why a file gets its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The user has chosen it, or it is that of a saved guest.
    Chosen,
    /// The contents of the file are of that kind.
    ByContents,
    /// The name of the file ends like this, and its contents are of no other kind.
    ByEnding(&'static str),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Chosen => f.write_str("chosen by --boot"),
            Choice::ByContents => f.write_str("recognised by its contents"),
            Choice::ByEnding(ending) => write!(f, "recognised by the ending {ending}"),
        }
    }
}

/// The protocol for a file, and why.
pub struct FoundProtocol {
    /// The protocol.
    pub protocol: &'static Protocol,
    /// Why.
    pub choice: Choice,
    /// For the user, if another protocol would have been possible.
    pub note: Option<String>,
}

impl Protocol {
    /// The protocol of a kind of file.
    pub fn of(kind: BootKind) -> &'static Protocol {
        let row = PROTOCOLS.iter().find(|protocol| protocol.kind == kind);
        row.expect("a test checks that every kind has a protocol")
    }

    /// The protocol for a file: the one that the user has `chosen`, or the first one that recognises it.
    ///
    /// # Errors
    ///
    /// [`BootError::Guest`], which names what the file is.
    pub fn find(image: &dyn Image, chosen: Option<BootKind>) -> Result<FoundProtocol, BootError> {
        if let Some(kind) = chosen {
            return Ok(FoundProtocol { protocol: Protocol::of(kind), choice: Choice::Chosen, note: None });
        }
        let candidate = Candidate::new(image);
        for protocol in PROTOCOLS {
            let (choice, note) = match (protocol.recognise)(&candidate) {
                Recognition::No => continue,
                Recognition::ByContents => (Choice::ByContents, None),
                Recognition::WithNote(note) => (Choice::ByContents, Some(note)),
                Recognition::ByEnding(ending) => (Choice::ByEnding(ending), None),
            };
            if image.is_unpacked() && gzip::runs_as_it_is(protocol.kind) {
                let problem = identify::compressed(protocol.kind.spec().file);
                return Err(BootError::Guest { file: image.name().to_owned(), problem });
            }
            return Ok(FoundProtocol { protocol, choice, note });
        }
        let problem: GuestProblem = identify::without_elf_magic(image);
        Err(BootError::Guest { file: image.name().to_owned(), problem })
    }

    /// The size of RAM for a guest whose user has chosen none, in bytes; `None` for the default of `--memory`.
    pub fn default_memory(&self, image: &dyn Image, options: &BootOptions) -> Option<u64> {
        (self.default_memory)(image, options)
    }

    /// True if a guest may draw pictures: its machine has a display adapter with a linear framebuffer, unless the user
    /// chooses.
    pub fn uses_framebuffer(&self, image: &dyn Image) -> bool {
        (self.framebuffer)(image)
    }

    /// The effect of a machine reset on a guest of this protocol.
    pub fn reset(&self) -> ResetAction {
        self.reset
    }
}

/// Recognises the guest in `image`, and loads it as [`load_as`] does.
///
/// # Errors
///
/// Those of [`Protocol::find`] and of [`load_as`].
pub fn load(
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    load_as(Protocol::find(image, options.kind)?, image, memory, options)
}

/// Loads the guest in `image` into `memory` by the protocol that was found for it, with everything it needs to start.
///
/// `memory` has to be zero, as it is when new and after a reset of the machine: zero pages (`.bss`)
/// are not written, so that they cost nothing however large they are. The same guest, options and
/// memory size always give the same result.
///
/// # Errors
///
/// [`BootError`], if the guest cannot be started; `memory` may then have been
/// written to. No input makes this panic, loop, or use more host memory than a small
/// multiple of the file's headers and the page tables of the guest.
pub fn load_as(
    found: FoundProtocol,
    image: &dyn Image,
    memory: &GuestMemory,
    options: &BootOptions,
) -> Result<LoadedGuest, BootError> {
    let FoundProtocol { protocol, choice, note } = found;
    if protocol.kind != BootKind::Flat {
        let given = [("load", options.load.is_some()), ("entry", options.entry.is_some())];
        if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
            let file = image.name().to_owned();
            return Err(BootError::OnlyForFlat { file, option, what: protocol.kind.spec().file });
        }
    }
    let mut guest = (protocol.load)(image, memory, options)?;
    guest.kind = protocol.kind;
    guest.choice = choice;
    guest.warnings.extend(note);
    Ok(guest)
}

#[cfg(test)]
mod tests {
    use super::super::BytesImage;
    use super::super::test_guest::TestGuest;
    use super::*;
    use crate::settings::BOOT_KINDS;

    fn found(name: &str, bytes: &[u8]) -> Result<(BootKind, Choice), String> {
        let found = Protocol::find(&BytesImage::new(name, bytes), None).map_err(|error| error.to_string())?;
        Ok((found.protocol.kind, found.choice))
    }

    #[test]
    fn every_kind_has_one_protocol() {
        assert_eq!(PROTOCOLS.len(), BOOT_KINDS.len());
        for spec in BOOT_KINDS {
            assert_eq!(Protocol::of(spec.kind).kind, spec.kind);
        }
    }

    #[test]
    fn contents_decide_before_the_name() {
        let elf = TestGuest::simple().build();
        assert_eq!(found("kernel.bin", &elf), Ok((BootKind::Elf64, Choice::ByContents)));
        assert_eq!(found("hello.BIN", b"\xF4"), Ok((BootKind::Flat, Choice::ByEnding(".bin"))));
        assert_eq!(found("hello.img", b"\xF4"), Ok((BootKind::Flat, Choice::ByEnding(".img"))));
        // An image whose first bytes are data, and one without anything to run.
        let mut late = vec![0; 0x9000];
        late[0x8FFF] = 0xF4;
        assert_eq!(found("late.img", &late), Ok((BootKind::Flat, Choice::ByEnding(".img"))));
        for name in ["blank.img", "blank.bin", "blank"] {
            let blank = found(name, &[0; 0x9000]).unwrap_err();
            assert!(blank.contains("a blank file (all zeros)") && blank.contains("`--boot flat`"), "{blank}");
        }
        let unknown = found("hello", b"\xF4").unwrap_err();
        assert!(unknown.contains("unknown kind") && unknown.contains("`--boot flat`"), "{unknown}");
        let packed = found("kernel.bin", &[0x1F, 0x8B, 8]).unwrap_err();
        assert!(packed.contains("gzip"), "{packed}");
    }

    #[test]
    fn the_user_chooses_before_the_contents() {
        let elf = TestGuest::simple().build();
        let found = Protocol::find(&BytesImage::new("a.elf", &elf), Some(BootKind::Flat)).unwrap();
        assert_eq!((found.protocol.kind, found.choice), (BootKind::Flat, Choice::Chosen));
    }
}
