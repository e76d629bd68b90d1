//! Firmware in ROM, and the shadow RAM under it.
//!
//! A machine with firmware has its image right below 4 GiB, in a slot of its own, and the last 128 KiB of the image also
//! right below 1 MiB; an option ROM, as of a VGA, may be at 0xC0000. From 0xC0000 to 1 MiB the host bridge decides for
//! each area of 16 KiB whether reads reach ROM or RAM, and whether writes reach RAM or are ignored
//! ([`ShadowControl`]). KVM cannot map one address twice, so guest memory always holds what the guest reads there: when
//! an area begins to show RAM or ROM, its contents are exchanged, and the RAM that cannot be read is kept aside. An area
//! that is not both read from RAM and written to RAM is a read-only slot; the caller maps it so
//! ([`GuestMemory::protected_shadow`]).
//!
//! Manual: Intel 440FX PCIset, 82441FX (PMC), 3.2.18, "PAM - Programmable Attribute Map Registers".

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::slot_holes::{ProtectedPages, Protection, SlotMapping};
use super::{GuestMemory, HIGH_RAM_BASE, MemoryError, MemorySlot};

/// The addresses at which ROM and RAM may alternate.
pub const SHADOW: Range<u64> = 0xC_0000..0x10_0000;
/// Size in bytes of an area that is controlled on its own.
const AREA: u64 = 0x4000;
/// Number of areas.
const AREAS: u64 = (SHADOW.end - SHADOW.start) / AREA;
/// How much of the end of the firmware is visible below 1 MiB, at most.
const VISIBLE: usize = 128 << 10;
/// What a place without ROM reads as.
const OPEN: u8 = 0xFF;

/// Sizes that a firmware image can have are multiples of this.
pub const ROM_GRANULE: u64 = 64 << 10;
/// Size of the largest firmware image, in bytes.
pub const MAX_ROM: u64 = 16 << 20;
/// Size of the largest option ROM, in bytes.
pub const MAX_OPTION_ROM: u64 = 64 << 10;

/// What the areas from 0xC0000 to 1 MiB are, one bit for each 16 KiB, the lowest address first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowControl {
    /// Areas that are read from RAM; the others are read from ROM.
    pub read_ram: u16,
    /// Areas in which writes reach RAM; the others ignore writes.
    pub write_ram: u16,
}

impl ShadowControl {
    fn reads_ram(self, area: u64) -> bool {
        self.read_ram >> area & 1 == 1
    }

    fn writes_ram(self, area: u64) -> bool {
        self.write_ram >> area & 1 == 1
    }
}

/// ROM and shadow RAM as they are saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RomState {
    /// The firmware image.
    pub firmware: Vec<u8>,
    /// The option ROM at 0xC0000; may be empty.
    pub option_rom: Vec<u8>,
    /// The state of the areas.
    pub control: ShadowControl,
    /// The RAM of the areas that show ROM, in ascending order.
    pub hidden: Vec<u8>,
}

impl RomState {
    /// What is wrong with a saved state, if anything.
    pub fn problem(&self) -> Option<String> {
        let hidden = u64::from(self.control.read_ram.count_zeros()) * AREA;
        let (firmware, option) = (self.firmware.len() as u64, self.option_rom.len() as u64);
        if firmware == 0 || firmware > MAX_ROM || !firmware.is_multiple_of(ROM_GRANULE) {
            return Some(format!("firmware of {firmware} bytes"));
        }
        if option > MAX_OPTION_ROM {
            return Some(format!("an option ROM of {option} bytes"));
        }
        (self.hidden.len() as u64 != hidden)
            .then(|| format!("{} bytes of shadow RAM in place of {hidden}", self.hidden.len()))
    }
}

/// The ROMs of a machine.
#[derive(Debug, Default)]
pub(super) struct Roms {
    /// There are any.
    installed: AtomicBool,
    state: Mutex<RomPlaces>,
}

#[derive(Debug, Default)]
struct RomPlaces {
    rom: Option<Rom>,
    /// All mappings that there have been: a virtual machine may still have a slot for each.
    mappings: Vec<GuestMemoryMmap>,
}

#[derive(Debug)]
struct Rom {
    /// The image, mapped below 4 GiB.
    high: GuestMemoryMmap,
    /// First address of the image.
    start: u64,
    /// What the areas read as that show ROM.
    visible: Vec<u8>,
    option_rom: Vec<u8>,
    control: ShadowControl,
    /// The RAM of areas that show ROM.
    hidden: Vec<u8>,
}

/// The place of an area in [`Rom::visible`] and [`Rom::hidden`].
fn place(area: u64) -> Range<usize> {
    (area * AREA) as usize..((area + 1) * AREA) as usize
}

fn area_address(area: u64) -> u64 {
    SHADOW.start + area * AREA
}

impl Rom {
    fn new(high: GuestMemoryMmap, firmware: &[u8], option_rom: &[u8]) -> Rom {
        let mut visible = vec![OPEN; (SHADOW.end - SHADOW.start) as usize];
        visible[..option_rom.len()].copy_from_slice(option_rom);
        let low = &firmware[firmware.len().saturating_sub(VISIBLE)..];
        let at = visible.len() - low.len();
        visible[at..].copy_from_slice(low);
        Rom {
            high,
            start: HIGH_RAM_BASE - firmware.len() as u64,
            hidden: vec![0; visible.len()],
            visible,
            option_rom: option_rom.to_vec(),
            control: ShadowControl::default(),
        }
    }
}

impl RomPlaces {
    /// A mapping for an image of `size` bytes.
    fn mapping(&mut self, size: u64) -> Result<GuestMemoryMmap, MemoryError> {
        let start = GuestAddress(HIGH_RAM_BASE - size);
        let known = self.mappings.iter().find(|it| it.get_host_address(start).is_ok() && has_size(it, size));
        if let Some(mapping) = known {
            return Ok(mapping.clone());
        }
        let mapping = GuestMemoryMmap::from_ranges(&[(start, size as usize)])
            .map_err(|e| MemoryError::Reserve { size, source: e.into() })?;
        self.mappings.push(mapping.clone());
        Ok(mapping)
    }
}

/// True if the mapping begins `size` bytes below 4 GiB.
fn has_size(mapping: &GuestMemoryMmap, size: u64) -> bool {
    mapping.get_host_address(GuestAddress(HIGH_RAM_BASE - size - 1)).is_err()
}

impl GuestMemory {
    fn rom_places(&self) -> MutexGuard<'_, RomPlaces> {
        self.roms.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the machine has firmware in ROM.
    #[inline]
    pub fn has_rom(&self) -> bool {
        self.roms.installed.load(Ordering::Relaxed)
    }

    /// Puts firmware into ROM, and an option ROM (which may be empty) at 0xC0000. All areas show ROM then.
    ///
    /// # Errors
    ///
    /// [`MemoryError::Rom`] for sizes that they cannot have, [`MemoryError::Reserve`].
    pub fn install_rom(&self, firmware: &[u8], option_rom: &[u8]) -> Result<(), MemoryError> {
        let mut state = RomState {
            firmware: firmware.to_vec(),
            option_rom: option_rom.to_vec(),
            control: ShadowControl::default(),
            hidden: vec![0; (AREAS * AREA) as usize],
        };
        self.read(SHADOW.start, &mut state.hidden)?;
        self.restore_rom(Some(&state))?;
        let visible = self.rom_places().rom.as_ref().map(|rom| rom.visible.clone()).unwrap_or_default();
        self.write(SHADOW.start, &visible)
    }

    /// Restores what [`Self::rom_state`] has returned. Memory has the contents already that belong to it.
    ///
    /// # Errors
    ///
    /// As [`Self::install_rom`]. Nothing has changed then.
    pub fn restore_rom(&self, state: Option<&RomState>) -> Result<(), MemoryError> {
        let mut places = self.rom_places();
        let Some(state) = state else {
            places.rom = None;
            self.roms.installed.store(false, Ordering::Relaxed);
            return Ok(());
        };
        if let Some(problem) = state.problem() {
            return Err(MemoryError::Rom { problem });
        }
        let size = state.firmware.len() as u64;
        let high = places.mapping(size)?;
        high.write_slice(&state.firmware, GuestAddress(HIGH_RAM_BASE - size))
            .map_err(|_| MemoryError::NotRam { start: HIGH_RAM_BASE - size, length: size })?;
        let mut rom = Rom::new(high, &state.firmware, &state.option_rom);
        rom.control = state.control;
        let showing_rom = (0..AREAS).filter(|area| !state.control.reads_ram(*area));
        for (area, bytes) in showing_rom.zip(state.hidden.chunks(AREA as usize)) {
            rom.hidden[place(area)].copy_from_slice(bytes);
        }
        places.rom = Some(rom);
        self.roms.installed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// ROM and shadow RAM, to be saved; `None` without firmware.
    pub fn rom_state(&self) -> Option<RomState> {
        let places = self.rom_places();
        let rom = places.rom.as_ref()?;
        let mut firmware = vec![0; (HIGH_RAM_BASE - rom.start) as usize];
        rom.high.read_slice(&mut firmware, GuestAddress(rom.start)).ok()?;
        let showing_rom = (0..AREAS).filter(|area| !rom.control.reads_ram(*area));
        Some(RomState {
            firmware,
            option_rom: rom.option_rom.clone(),
            control: rom.control,
            hidden: showing_rom.flat_map(|area| &rom.hidden[place(area)]).copied().collect(),
        })
    }

    /// The host bridge has changed what the areas are. Returns true if [`Self::protected_shadow`] has changed. Without
    /// firmware there is nothing but RAM, and nothing changes.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`], which does not occur: all machines have 1 MiB.
    pub fn control_shadow(&self, control: ShadowControl) -> Result<bool, MemoryError> {
        let before = {
            let mut places = self.rom_places();
            let rom = places.rom.as_mut().filter(|rom| rom.control != control);
            let Some(rom) = rom else { return Ok(false) };
            std::mem::replace(&mut rom.control, control)
        };
        for area in 0..AREAS {
            if before.reads_ram(area) != control.reads_ram(area) {
                let start = area_address(area);
                // Readers lock the breakpoints before the ROM.
                self.beneath_breakpoints(start..start + AREA, || self.exchange(area))?;
            }
        }
        Ok(true)
    }

    /// Exchanges ROM and RAM in an area whose control has changed.
    fn exchange(&self, area: u64) -> Result<(), MemoryError> {
        let mut places = self.rom_places();
        let Some(rom) = places.rom.as_mut() else { return Ok(()) };
        if rom.control.reads_ram(area) {
            return self.write(area_address(area), &rom.hidden[place(area)]);
        }
        self.read(area_address(area), &mut rom.hidden[place(area)])?;
        self.write(area_address(area), &rom.visible[place(area)])
    }

    /// The areas that are to be read-only slots, ascending.
    pub fn protected_shadow(&self) -> Vec<ProtectedPages> {
        let places = self.rom_places();
        let Some(Rom { control, .. }) = places.rom.as_ref() else { return Vec::new() };
        let both = control.read_ram & control.write_ram;
        (0..AREAS)
            .filter(|area| both >> area & 1 == 0)
            .map(|area| area_address(area)..area_address(area) + AREA)
            .map(|pages| ProtectedPages { pages, how: Protection::ReadOnly })
            .collect()
    }

    /// The slot of the image below 4 GiB.
    pub fn rom_slot(&self) -> Option<SlotMapping> {
        let places = self.rom_places();
        let rom = places.rom.as_ref()?;
        let host = rom.high.get_host_address(GuestAddress(rom.start)).ok()? as u64;
        let slot = MemorySlot {
            number: self.first_free_slot(),
            guest: rom.start,
            size: HIGH_RAM_BASE - rom.start,
            host,
        };
        Some(SlotMapping { slot, read_only: true })
    }

    /// Carries out a write of the guest, or of a device on its behalf: what is ROM, or write-protected, stays.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotRam`]; nothing is written then.
    #[inline]
    pub fn write_for_guest(&self, start: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        if self.has_rom() { self.write_around_rom(start, bytes) } else { self.write(start, bytes) }
    }

    #[cold]
    fn write_around_rom(&self, start: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let end = start.saturating_add(bytes.len() as u64);
        let mut places = self.rom_places();
        let Some(rom) = places.rom.as_mut() else { return self.write(start, bytes) };
        if rom.start <= start && end <= HIGH_RAM_BASE {
            return Ok(());
        }
        if end <= SHADOW.start || SHADOW.end <= start {
            return self.write(start, bytes);
        }
        if !self.is_ram(start, bytes.len() as u64) {
            return Err(MemoryError::NotRam { start, length: bytes.len() as u64 });
        }
        let (mut at, mut rest) = (start, bytes);
        while !rest.is_empty() {
            let outside = !SHADOW.contains(&at);
            let boundary = match outside {
                true if at < SHADOW.start => SHADOW.start,
                true => u64::MAX,
                false => (at / AREA + 1) * AREA,
            };
            let (now, later) = rest.split_at((boundary - at).min(rest.len() as u64) as usize);
            let area = at.saturating_sub(SHADOW.start) / AREA;
            if outside || rom.control.reads_ram(area) && rom.control.writes_ram(area) {
                self.write(at, now)?;
            } else if rom.control.writes_ram(area) {
                let offset = (at - SHADOW.start) as usize;
                rom.hidden[offset..offset + now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Reads from the image below 4 GiB.
    #[cold]
    pub(super) fn read_rom(&self, start: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        let not_ram = MemoryError::NotRam { start, length: bytes.len() as u64 };
        if !self.has_rom() {
            return Err(not_ram);
        }
        let places = self.rom_places();
        let Some(rom) = places.rom.as_ref() else { return Err(not_ram) };
        rom.high.read_slice(bytes, GuestAddress(start)).map_err(|_| not_ram)
    }
}

#[cfg(test)]
#[path = "rom_test.rs"]
mod tests;
