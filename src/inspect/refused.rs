//! Explains why an instruction was refused and not emulated, and what the user can do.

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction};

use crate::emulate::Obstacle;

/// Another remedy: a real or an emulated processor with hardware virtualisation.
const ANOTHER_HOST: &str = "run it on a host with VT-x or AMD-V (`scripts/lab run` emulates one)";

/// Why `obstacle` stopped the guest at the instruction that `code` begins with, and what to do about
/// it. `code` is empty where none is mapped; its width is `bitness`.
pub(super) fn explanation(obstacle: Option<Obstacle>, code: &[u8], bitness: u32) -> String {
    let instruction = Decoder::new(bitness, code, DecoderOptions::NONE).decode();
    match obstacle {
        None => {
            "KVM had an internal error that is not about an unknown instruction: `dmesg` on the host may \
                 have details; please report it."
                .to_owned()
        }
        Some(Obstacle::NoCode) => "There is no RAM at RIP: look for a jump through a bad pointer, or a \
                                   return on a stack that was overwritten."
            .to_owned(),
        Some(Obstacle::Unknown) => format!(
            "The bytes there ({}) are no instruction: look for a jump into data, or for code that was \
             overwritten.",
            hex(code)
        ),
        Some(Obstacle::NotAllowed) => format!(
            "It is not one of those emulated in place of KVM (docs/refused-instructions.md): {} or \
             {ANOTHER_HOST}.",
            without(&instruction)
        ),
        Some(Obstacle::NotOnThisProcessor) => {
            format!("This host's processor does not have it: {}.", without(&instruction))
        }
        Some(Obstacle::HostException(vector)) => format!(
            "It raised an unexpected exception, vector {vector}, in this host's processor: please report it \
             with its bytes ({}), and {ANOTHER_HOST}.",
            hex(code)
        ),
        Some(Obstacle::TaskGate) => format!(
            "It goes through a task gate, and task switches are not emulated: put an interrupt or trap gate \
             into the descriptor table, or {ANOTHER_HOST}."
        ),
        Some(Obstacle::Virtual8086Extensions) => format!(
            "It is executed in virtual-8086 mode with the interrupt redirection of CR4.VME, which is not \
             emulated: clear CR4.VME, or {ANOTHER_HOST}."
        ),
    }
}

/// How a guest is built without this kind of instruction.
fn without(instruction: &Instruction) -> String {
    let features = instruction.cpuid_features();
    let has = |wanted: &[CpuidFeature]| wanted.iter().any(|feature| features.contains(feature));
    let flag = if has(&[CpuidFeature::D3NOW, CpuidFeature::D3NOWEXT]) {
        "-mno-3dnow"
    } else if has(&[CpuidFeature::AMX_TILE, CpuidFeature::AMX_INT8, CpuidFeature::AMX_BF16]) {
        "-mno-amx-tile"
    } else if instruction.encoding() == EncodingKind::EVEX {
        "-mno-avx512f"
    } else if has(&[CpuidFeature::BMI1, CpuidFeature::BMI2]) {
        "-mno-bmi -mno-bmi2"
    } else if has(&[CpuidFeature::XOP, CpuidFeature::FMA4]) {
        "-mno-xop -mno-fma4"
    } else if instruction.encoding() == EncodingKind::VEX {
        "-mno-avx"
    } else if has(&[CpuidFeature::RTM, CpuidFeature::HLE]) {
        "-mno-rtm"
    } else if uses_vector_or_x87(instruction) {
        "-mgeneral-regs-only"
    } else {
        return "build the guest without it".to_owned();
    };
    format!("build the guest without such instructions (gcc {flag})")
}

fn uses_vector_or_x87(instruction: &Instruction) -> bool {
    let of_class = instruction.cpuid_features().iter().any(|feature| {
        matches!(
            feature,
            CpuidFeature::FPU
                | CpuidFeature::FPU287
                | CpuidFeature::FPU387
                | CpuidFeature::MMX
                | CpuidFeature::SSE
                | CpuidFeature::SSE2
                | CpuidFeature::SSE3
                | CpuidFeature::SSSE3
                | CpuidFeature::SSE4_1
                | CpuidFeature::SSE4_2
                | CpuidFeature::SSE4A
                | CpuidFeature::AES
                | CpuidFeature::PCLMULQDQ
                | CpuidFeature::SHA
        )
    });
    of_class || instruction.op0_register().is_vector_register()
}

fn hex(code: &[u8]) -> String {
    let bytes: Vec<String> = code.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(code: &[u8]) -> String {
        explanation(Some(Obstacle::NotAllowed), code, 64)
    }

    #[test]
    fn the_advice_is_the_flag_for_this_kind_of_instruction() {
        for (code, flag) in [
            (&[0x0F, 0x0E][..], "(gcc -mno-3dnow)"),
            (&[0x62, 0xF1, 0x75, 0x48, 0xFE, 0xC2], "(gcc -mno-avx512f)"),
            (&[0xC5, 0xF5, 0xFE, 0xC2], "(gcc -mno-avx)"),
            (&[0xC4, 0xE2, 0x70, 0xF2, 0xC2], "(gcc -mno-bmi -mno-bmi2)"),
            (&[0x66, 0x0F, 0x6F, 0xC1], "(gcc -mgeneral-regs-only)"),
            (&[0xDF, 0xE0], "(gcc -mgeneral-regs-only)"),
        ] {
            assert!(advice(code).contains(flag), "{code:x?}: {}", advice(code));
        }
    }

    #[test]
    fn an_instruction_without_a_compiler_flag_gets_no_flag() {
        let monitor = advice(&[0x0F, 0x01, 0xC8]);
        assert!(monitor.contains("build the guest without it or run it on a host"), "{monitor}");
        assert!(!monitor.contains("gcc"), "{monitor}");
    }

    #[test]
    fn every_obstacle_has_its_own_reason() {
        let text = |obstacle| explanation(obstacle, &[0x0F, 0x04, 0x90], 64);
        assert!(text(None).contains("`dmesg`"));
        assert!(text(Some(Obstacle::NoCode)).contains("no RAM at RIP"));
        assert!(text(Some(Obstacle::Unknown)).contains("(0f 04 90)"));
        assert!(text(Some(Obstacle::NotOnThisProcessor)).contains("processor does not have it"));
        assert!(text(Some(Obstacle::HostException(13))).contains("vector 13"));
        assert!(text(Some(Obstacle::TaskGate)).contains("task gate"));
        assert!(text(Some(Obstacle::Virtual8086Extensions)).contains("CR4.VME"));
    }
}
