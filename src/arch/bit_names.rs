//! The names of the bits of RFLAGS, control registers, EFER, MXCSR, DR6 and DR7.
//!
//! Manual: Intel SDM volume 3A, "Control Registers", "Debug Registers"; AMD APM volume 2, "Extended Feature Enable
//! Register (EFER)"; Intel SDM volume 1, "EFLAGS Register" and "MXCSR Control and Status Register".

/// Bits with their names: the lowest, the highest, the name.
pub type BitNames = &'static [(u8, u8, &'static str)];

/// The names of the bits that are set in `value`; a field of several bits with its value, as `IOPL=3`, unless that is 0.
pub fn set_bits(value: u64, names: BitNames) -> String {
    let set = names.iter().filter(|(_, _, name)| !name.is_empty()).filter_map(|(first, last, name)| {
        let field = value >> first & (u64::MAX >> (63 - (last - first)));
        match (field, first == last) {
            (0, _) => None,
            (_, true) => Some((*name).to_owned()),
            (field, false) => Some(format!("{name}={field}")),
        }
    });
    let set: Vec<String> = set.collect();
    if set.is_empty() { "none".to_owned() } else { set.join(" ") }
}

/// Bits of RFLAGS. Bit 1 is always set and has no name.
pub const EFLAGS: BitNames = &[
    (0, 0, "CF"),
    (1, 1, ""),
    (2, 2, "PF"),
    (4, 4, "AF"),
    (6, 6, "ZF"),
    (7, 7, "SF"),
    (8, 8, "TF"),
    (9, 9, "IF"),
    (10, 10, "DF"),
    (11, 11, "OF"),
    (12, 13, "IOPL"),
    (14, 14, "NT"),
    (16, 16, "RF"),
    (17, 17, "VM"),
    (18, 18, "AC"),
    (19, 19, "VIF"),
    (20, 20, "VIP"),
    (21, 21, "ID"),
];
/// Bits of CR0.
pub const CR0: BitNames = &[
    (0, 0, "PE"),
    (1, 1, "MP"),
    (2, 2, "EM"),
    (3, 3, "TS"),
    (4, 4, "ET"),
    (5, 5, "NE"),
    (16, 16, "WP"),
    (18, 18, "AM"),
    (29, 29, "NW"),
    (30, 30, "CD"),
    (31, 31, "PG"),
];
/// Bits of CR4.
pub const CR4: BitNames = &[
    (0, 0, "VME"),
    (1, 1, "PVI"),
    (2, 2, "TSD"),
    (3, 3, "DE"),
    (4, 4, "PSE"),
    (5, 5, "PAE"),
    (6, 6, "MCE"),
    (7, 7, "PGE"),
    (8, 8, "PCE"),
    (9, 9, "OSFXSR"),
    (10, 10, "OSXMMEXCPT"),
    (11, 11, "UMIP"),
    (12, 12, "LA57"),
    (13, 13, "VMXE"),
    (14, 14, "SMXE"),
    (16, 16, "FSGSBASE"),
    (17, 17, "PCIDE"),
    (18, 18, "OSXSAVE"),
    (20, 20, "SMEP"),
    (21, 21, "SMAP"),
    (22, 22, "PKE"),
    (23, 23, "CET"),
    (24, 24, "PKS"),
];
/// Bits of EFER.
pub const EFER: BitNames = &[
    (0, 0, "SCE"),
    (8, 8, "LME"),
    (10, 10, "LMA"),
    (11, 11, "NXE"),
    (12, 12, "SVME"),
    (13, 13, "LMSLE"),
    (14, 14, "FFXSR"),
    (15, 15, "TCE"),
];
/// Bits of MXCSR.
pub const MXCSR: BitNames = &[
    (0, 0, "IE"),
    (1, 1, "DE"),
    (2, 2, "ZE"),
    (3, 3, "OE"),
    (4, 4, "UE"),
    (5, 5, "PE"),
    (6, 6, "DAZ"),
    (7, 7, "IM"),
    (8, 8, "DM"),
    (9, 9, "ZM"),
    (10, 10, "OM"),
    (11, 11, "UM"),
    (12, 12, "PM"),
    (15, 15, "FZ"),
];
/// Bits of DR6: B0 to B3 say which breakpoint has matched.
pub const DR6: BitNames =
    &[(0, 0, "B0"), (1, 1, "B1"), (2, 2, "B2"), (3, 3, "B3"), (13, 13, "BD"), (14, 14, "BS"), (15, 15, "BT")];
/// Bits of DR7 besides those of a single breakpoint.
pub const DR7: BitNames = &[(8, 8, "LE"), (9, 9, "GE"), (13, 13, "GD")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_are_set_are_named_and_fields_have_values() {
        assert_eq!(set_bits(0x8001_0033, CR0), "PE MP ET NE WP PG");
        assert_eq!(set_bits(0x3246, EFLAGS), "PF ZF IF IOPL=3");
        assert_eq!(set_bits(2, EFLAGS), "none");
        assert_eq!(set_bits(u64::MAX, DR7), "LE GE GD");
    }
}
