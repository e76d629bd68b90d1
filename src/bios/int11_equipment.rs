//! INT 11h: the equipment; INT 12h: the memory below the EBDA.

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::bda;
use super::drives;

pub(super) fn equipment(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    call.set_ax(platform.word(bda::EQUIPMENT));
    Served::Done
}

pub(super) fn memory(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    call.set_ax(platform.word(bda::MEMORY));
    Served::Done
}

/// Bit 0 of the equipment word: there are diskette drives; bits 6 and 7: one less than their number.
pub(super) fn set_diskettes(platform: &mut dyn BiosPlatform) {
    let others = platform.word(bda::EQUIPMENT) & !0xC1;
    let diskettes = match drives::diskettes(platform) {
        0 => 0,
        number => 1 | u16::from(number.min(4) - 1) << 6,
    };
    platform.set_word(bda::EQUIPMENT, others | diskettes);
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestPlatform;
    use super::*;

    #[test]
    fn equipment_and_memory_are_what_the_data_area_says() {
        let mut platform = TestPlatform::default();
        let mut call = BiosCall { eax: 0x1234_0000, ..BiosCall::default() };
        let _ = equipment(&mut call, &mut platform);
        assert_eq!(call.eax, 0x1234_0826, "the upper half stays");
        let _ = memory(&mut call, &mut platform);
        assert_eq!(call.ax(), 639);
        // A program that stays resident below the EBDA takes memory away.
        platform.dynamic().set_word(bda::MEMORY, 600);
        let _ = memory(&mut call, &mut platform);
        assert_eq!(call.ax(), 600);
    }
}
