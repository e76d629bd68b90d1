//! Which instructions a guest can use, one by one.

use std::sync::OnceLock;

use super::code::guest_code;
use super::fact::Fact;
use super::guest::{GuestSetup, ProbeExit, ProbeGuest};
use super::layout::ProbeMode;
use crate::kvm::cpuid::{self, CpuidBit};
use crate::kvm::{HostError, Kvm, VmExit};

/// The result of executing an instruction in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It does what the manual says.
    Runs,
    /// It does something else, without an error.
    Wrong,
    /// KVM's instruction emulator does not support it: the run ends.
    Refused,
    /// It raises an exception, as it should: the guest's CPUID does not offer it.
    NotOffered,
    /// It raises this exception, although it should not.
    Raises(u8),
    /// It never completes.
    Hangs,
    /// It ends the run in a way that no known host shows.
    Unclear,
}

/// How correct execution of an instruction is detected.
#[derive(Debug)]
enum Right {
    /// The guest continues; its result does not matter.
    GoesOn,
    /// The guest continues with this result.
    Result(u32),
    /// The guest's handler for this vector is entered.
    Handler(u8),
}

/// A probed instruction.
#[derive(Debug)]
pub struct Instruction {
    /// Its name: lower-case letters, digits and `_`.
    pub name: &'static str,
    /// The same for display.
    pub text: &'static str,
    /// The mode in which it is probed.
    pub mode: ProbeMode,
    code: fn() -> &'static [u8],
    right: Right,
    feature: Option<CpuidBit>,
    measured: OnceLock<Behaviour>,
}

impl Instruction {
    /// Ring 0 of long mode, for an instruction that every processor with long mode has.
    const fn new(
        name: &'static str,
        text: &'static str,
        right: Right,
        code: fn() -> &'static [u8],
    ) -> Instruction {
        Instruction {
            name,
            text,
            mode: ProbeMode::Long,
            code,
            right,
            feature: None,
            measured: OnceLock::new(),
        }
    }

    /// The same in another mode.
    const fn in_mode(mut self, mode: ProbeMode) -> Instruction {
        self.mode = mode;
        self
    }

    /// The same for an instruction that only processors with `feature` have.
    const fn needs(mut self, feature: CpuidBit) -> Instruction {
        self.feature = Some(feature);
        self
    }

    /// The result of executing it in a guest; measured once.
    ///
    /// # Errors
    ///
    /// [`HostError::Refused`] if the host cannot create a virtual machine for it.
    pub fn behaviour(&self, kvm: &Kvm) -> Result<Behaviour, HostError> {
        if let Some(known) = self.measured.get() {
            return Ok(*known);
        }
        let mut guest = ProbeGuest::new(kvm, GuestSetup::Plain, self.mode, (self.code)())?;
        let offered = self.feature.is_none_or(|feature| guest.offers(feature));
        let stop = guest.run()?;
        Ok(*self.measured.get_or_init(|| self.judge(stop, offered)))
    }

    fn judge(&self, stop: ProbeExit, offered: bool) -> Behaviour {
        match (stop, &self.right) {
            (ProbeExit::Done(_), Right::GoesOn) => Behaviour::Runs,
            (ProbeExit::Done(found), Right::Result(right)) if found == *right => Behaviour::Runs,
            (ProbeExit::Exception(found), Right::Handler(right)) if found == *right => Behaviour::Runs,
            (ProbeExit::Done(_), _) => Behaviour::Wrong,
            (ProbeExit::Exception(_), _) if !offered => Behaviour::NotOffered,
            (ProbeExit::Exception(vector), _) => Behaviour::Raises(vector),
            (ProbeExit::Exit(VmExit::Refused(_)), _) => Behaviour::Refused,
            (ProbeExit::Hangs, _) => Behaviour::Hangs,
            (ProbeExit::Exit(_), _) => Behaviour::Unclear,
        }
    }
}

/// True if `lzcnt` and `tzcnt` count zeros: an instruction emulator that does not know their prefix executes
/// them as `bsr` and `bsf`.
pub static BIT_COUNTS: Fact<bool> = Fact::new(|kvm| {
    let code = guest_code!(64:
        "movl $0x10, %ecx",
        "lzcntl %ecx, %edx",            // 27, and bsr says 4
        "xorl %ecx, %ecx",
        "movl $7, %eax",
        "tzcntl %ecx, %eax",            // 32, and bsf leaves 7
        "shll $8, %edx",
        "orl %edx, %eax",
        "movl %eax, DONE",
    );
    Ok(ProbeGuest::new(kvm, GuestSetup::Plain, ProbeMode::Long, code)?.run()?
        == ProbeExit::Done(27 << 8 | 32))
});

/// The probed instructions.
pub static INSTRUCTIONS: [Instruction; 26] = [
    Instruction::new("int_n", "int n", Right::Handler(0x80), || guest_code!(64: "int $0x80", "movl %eax, DONE")),
    Instruction::new("int3", "int3", Right::Handler(3), || guest_code!(64: "int3", "movl %eax, DONE")),
    Instruction::new("iretq", "iretq", Right::Result(42), || {
        guest_code!(64:
            "movq %rsp, %rcx",
            "movl %ss, %eax",
            "pushq %rax",
            "pushq %rcx",
            "pushfq",
            "movl %cs, %eax",
            "pushq %rax",
            "leaq 5f(%rip), %rax",
            "pushq %rax",
            "iretq",
            "5: movl $42, %eax",
            "movl %eax, DONE",
        )
    }),
    Instruction::new("iretd_32_bit", "iretd, 32-bit code", Right::Result(42), || {
        guest_code!(32:
            "pushfl",
            "pushl %cs",
            "call 5f",                  // pushes where iret is to go
            "movl $42, %eax",
            "movl %eax, DONE",
            "5: iretl",
        )
    })
    .in_mode(ProbeMode::Protected),
    Instruction::new("sse_move", "SSE moves", Right::GoesOn, || {
        guest_code!(64: "movaps %xmm0, %xmm1", "movups %xmm1, DATA", "movl %eax, DONE")
    }),
    Instruction::new("sse_arithmetic", "SSE arithmetic", Right::GoesOn, || {
        guest_code!(64: "addps %xmm0, %xmm1", "movl %eax, DONE")
    }),
    Instruction::new("fxsave", "fxsave", Right::GoesOn, || guest_code!(64: "fxsave DATA", "movl %eax, DONE")),
    Instruction::new("x87", "x87", Right::Result(1), || {
        guest_code!(64: "fninit", "fld1", "fistpl DATA", "movl DATA, %eax", "movl %eax, DONE")
    }),
    Instruction::new("avx", "AVX", Right::GoesOn, || {
        guest_code!(64:
            "xorl %ecx, %ecx",
            "xorl %edx, %edx",
            "movl $7, %eax",            // x87, SSE and AVX state
            "xsetbv",
            "vaddps %ymm0, %ymm1, %ymm2",
            "movl %eax, DONE",
        )
    })
    .needs(cpuid::AVX),
    Instruction::new("xsetbv", "xsetbv", Right::GoesOn, || {
        guest_code!(64:
            "xorl %ecx, %ecx",
            "xorl %edx, %edx",
            "movl $3, %eax",            // x87 and SSE state
            "xsetbv",
            "movl %eax, DONE",
        )
    })
    .needs(cpuid::XSAVE),
    Instruction::new("xgetbv", "xgetbv", Right::GoesOn, || {
        guest_code!(64: "xorl %ecx, %ecx", "xgetbv", "movl %eax, DONE")
    })
    .needs(cpuid::XSAVE),
    Instruction::new("popcnt", "popcnt", Right::Result(3), || {
        guest_code!(64: "movl $0x70, %ecx", "popcntl %ecx, %eax", "movl %eax, DONE")
    })
    .needs(cpuid::POPCNT),
    Instruction::new("lzcnt", "lzcnt", Right::Result(27), || {
        guest_code!(64: "movl $0x10, %ecx", "lzcntl %ecx, %eax", "movl %eax, DONE")
    })
    .needs(cpuid::LZCNT),
    Instruction::new("tzcnt", "tzcnt", Right::Result(32), || {
        guest_code!(64: "xorl %ecx, %ecx", "movl $7, %eax", "tzcntl %ecx, %eax", "movl %eax, DONE")
    })
    .needs(cpuid::BMI1),
    Instruction::new("andn", "andn (BMI1)", Right::Result(0x0F), || {
        guest_code!(64: "movl $0xF0, %ecx", "movl $0xFF, %edx", "andnl %edx, %ecx, %eax", "movl %eax, DONE")
    })
    .needs(cpuid::BMI1),
    Instruction::new("movbe", "movbe", Right::Result(0x7856_3412), || {
        guest_code!(64: "movl $0x12345678, DATA", "movbel DATA, %eax", "movl %eax, DONE")
    })
    .needs(cpuid::MOVBE),
    Instruction::new("crc32", "crc32", Right::GoesOn, || guest_code!(64: "crc32l %ecx, %eax", "movl %eax, DONE"))
        .needs(cpuid::SSE4_2),
    Instruction::new("rdrand", "rdrand", Right::GoesOn, || guest_code!(64: "rdrandl %eax", "movl %eax, DONE"))
        .needs(cpuid::RDRAND),
    Instruction::new("rdtsc", "rdtsc", Right::GoesOn, || guest_code!(64: "rdtsc", "movl %eax, DONE")),
    Instruction::new("rdtscp", "rdtscp", Right::GoesOn, || guest_code!(64: "rdtscp", "movl %eax, DONE"))
        .needs(cpuid::RDTSCP),
    Instruction::new("cpuid", "cpuid", Right::GoesOn, || {
        guest_code!(64: "xorl %eax, %eax", "cpuid", "movl %eax, DONE")
    }),
    Instruction::new("cmpxchg16b", "cmpxchg16b", Right::GoesOn, || {
        guest_code!(64: "lock cmpxchg16b DATA", "movl %eax, DONE")
    })
    .needs(cpuid::CMPXCHG16B),
    Instruction::new("clac", "clac", Right::GoesOn, || guest_code!(64: "clac", "movl %eax, DONE")).needs(cpuid::SMAP),
    Instruction::new("stac", "stac", Right::GoesOn, || guest_code!(64: "stac", "movl %eax, DONE")).needs(cpuid::SMAP),
    Instruction::new("verw", "verw", Right::GoesOn, || {
        guest_code!(64: "movl %ds, %eax", "verw %ax", "movl %eax, DONE")
    }),
    Instruction::new("lar", "lar", Right::GoesOn, || {
        guest_code!(64: "movl $8, %ecx", "larl %ecx, %eax", "movl %eax, DONE")
    }),
];

/// `int n` in ring 3: the way to the kernel that old kernels offer.
pub static INT_N_IN_RING_3: Instruction = Instruction::new(
    "int_n",
    "int n",
    Right::Handler(0x80),
    || guest_code!(64: "int $0x80", "movl %eax, DONE"),
)
.in_mode(ProbeMode::LongRing3);
