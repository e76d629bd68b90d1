//! INT 11h: the equipment; INT 12h: the memory below the EBDA.

use super::call::{BiosCall, BiosPlatform, Served};
use super::data_areas::bda;

pub(super) fn equipment(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    call.set_ax(platform.word(bda::EQUIPMENT));
    Served::Done
}

pub(super) fn memory(call: &mut BiosCall, platform: &mut dyn BiosPlatform) -> Served {
    call.set_ax(platform.word(bda::MEMORY));
    Served::Done
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
