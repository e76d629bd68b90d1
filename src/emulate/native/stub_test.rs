use super::*;
use crate::emulate::native::tests::{decode, guest};
use crate::emulate::testing::Device;

#[test]
fn processors_without_xsave_are_served_by_fxsave() {
    let addps = [0x0F, 0x58, 0xC1]; // addps xmm0, xmm1
    let fake = guest(&addps);
    let mut extended = *fake.xsave.borrow();
    for register in [0, 1] {
        let at = image::XMM + 16 * register;
        extended[at..at + 4].copy_from_slice(&1.25_f32.to_le_bytes());
    }
    let mut device = Device::default();
    let mut cpu = Cpu::new(&fake, &fake.memory, &mut device).unwrap();
    cpu.code[..3].copy_from_slice(&addps);

    let mut stub = Stub::lock().unwrap();
    stub.stub().data().components = 0;
    let instruction = stub.program(&cpu, &decode(&addps)).unwrap();
    stub.set_general(&cpu.registers.general);
    stub.set_extended(&extended);
    stub.run(instruction);
    stub.stub().data().components = processor::components();

    stub.extended_to(&mut extended);
    assert_eq!(extended[image::XMM..image::XMM + 4], 2.5_f32.to_le_bytes());
    assert_eq!(image::quad(&extended, image::IN_USE), image::X87 | image::SSE);
}

#[test]
fn the_page_is_never_writable_and_executable() {
    let stub = Stub::lock().unwrap();
    let page = stub.0.as_ref().unwrap().pages.addr().get();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mine = maps.lines().find(|line| line.starts_with(&format!("{page:x}-"))).unwrap();
    assert!(mine.contains(" r-xp "), "{mine}");
}
