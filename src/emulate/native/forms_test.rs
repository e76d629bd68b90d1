//! Every instruction does in a guest what it does in this process: same registers, flags and memory,
//! from the same random ones.

use iced_x86::EncodingKind;

use super::oracle::{State, form, forms};
use super::{Random, decode, guest};
use crate::emulate::Emulated;
use crate::emulate::cpu::Extended;
use crate::emulate::exception::Exception;
use crate::emulate::native::{allowed, image, processor};

/// Rounds with other numbers, for each instruction.
const ROUNDS: usize = 6;
/// Bytes of memory the instructions work on.
const AREA: usize = 256;
/// Where that is for the guest.
const GUEST_AREA: u64 = 0x3_0000;

/// Instructions with two operands, the second in a register and in memory.
macro_rules! two {
    ($a:literal, $b:literal, $memory:literal: $($name:literal)+) => { $(
        form!($name " " $a ", " $b);
        form!($name " " $a ", " $memory);
    )+ };
}

/// The same with a number behind them.
macro_rules! two_and_number {
    ($a:literal, $b:literal, $memory:literal, $number:literal: $($name:literal)+) => { $(
        form!($name " " $a ", " $b ", " $number);
        form!($name " " $a ", " $memory ", " $number);
    )+ };
}

/// Instructions with three operands, of 128 and 256 bits.
macro_rules! three {
    ($($name:literal)+) => { $(
        form!($name " xmm1, xmm2, xmm9");
        form!($name " ymm1, ymm10, ymm9");
        form!($name " ymm1, ymm2, [rdi + 7]");
    )+ };
}

/// Instructions as they are written out.
macro_rules! plain {
    ($($text:literal)+) => { $( form!($text); )+ };
}

// SSE and SSE2: packed.
two!("xmm1", "xmm9", "[rdi + 16]":
    "addps" "subps" "mulps" "divps" "minps" "maxps" "andps" "andnps" "orps" "xorps" "sqrtps" "rsqrtps"
    "rcpps" "unpcklps" "unpckhps" "addpd" "subpd" "mulpd" "divpd" "minpd" "maxpd" "andpd" "andnpd" "orpd"
    "xorpd" "sqrtpd" "unpcklpd" "unpckhpd" "cvtdq2ps" "cvtps2dq" "cvttps2dq" "cvtpd2dq" "cvttpd2dq"
    "cvtpd2ps" "movaps" "movapd" "movdqa" "movups" "movupd" "movdqu" "punpcklbw" "punpcklwd" "punpckldq"
    "punpcklqdq" "punpckhbw" "punpckhwd" "punpckhdq" "punpckhqdq" "packsswb" "packssdw" "packuswb"
    "paddb" "paddw" "paddd" "paddq" "paddsb" "paddsw" "paddusb" "paddusw" "psubb" "psubw" "psubd" "psubq"
    "psubsb" "psubsw" "psubusb" "psubusw" "pmullw" "pmulhw" "pmulhuw" "pmuludq" "pmaddwd" "psadbw"
    "pavgb" "pavgw" "pminub" "pmaxub" "pminsw" "pmaxsw" "pcmpeqb" "pcmpeqw" "pcmpeqd" "pcmpgtb" "pcmpgtw"
    "pcmpgtd" "pand" "pandn" "por" "pxor" "psllw" "pslld" "psllq" "psrlw" "psrld" "psrlq" "psraw" "psrad");
two_and_number!("xmm1", "xmm9", "[rdi + 16]", "0x1b":
    "shufps" "shufpd" "pshufd" "pshufhw" "pshuflw");
two_and_number!("xmm1", "xmm9", "[rdi + 16]", "5": "cmpps" "cmppd");
// SSE and SSE2: scalar.
two!("xmm1", "xmm9", "dword ptr [rdi + 5]":
    "addss" "subss" "mulss" "divss" "minss" "maxss" "sqrtss" "rsqrtss" "rcpss" "ucomiss" "comiss"
    "cvtss2sd" "movss");
two!("xmm1", "xmm9", "qword ptr [rdi + 5]":
    "addsd" "subsd" "mulsd" "divsd" "minsd" "maxsd" "sqrtsd" "ucomisd" "comisd" "cvtsd2ss" "cvtdq2pd"
    "cvtps2pd" "movsd" "movq");
two!("eax", "xmm9", "dword ptr [rdi + 5]": "cvtss2si" "cvttss2si");
two!("r9", "xmm9", "qword ptr [rdi + 5]": "cvtsd2si" "cvttsd2si");
two!("xmm1", "eax", "dword ptr [rdi + 5]": "cvtsi2ss" "cvtsi2sd" "movd");
two!("xmm1", "r9", "qword ptr [rdi + 5]": "cvtsi2ss" "cvtsi2sd" "movq");
two!("xmm1", "mm2", "qword ptr [rdi + 5]": "cvtpi2ps" "cvtpi2pd");
two!("mm2", "xmm1", "[rdi + 16]": "cvtpd2pi" "cvttpd2pi");
two!("mm2", "xmm1", "qword ptr [rdi + 5]": "cvtps2pi" "cvttps2pi");
two_and_number!("xmm1", "xmm9", "dword ptr [rdi + 5]", "2": "cmpss");
two_and_number!("xmm1", "xmm9", "qword ptr [rdi + 5]", "4": "cmpsd");
plain!(
    "movaps [rdi + 16], xmm1" "movups [rdi + 3], xmm1" "movdqa [rdi + 32], xmm12" "movdqu [rdi + 9], xmm12"
    "movntps [rdi + 16], xmm1" "movntpd [rdi + 16], xmm1" "movntdq [rdi + 16], xmm1" "movnti [rdi + 3], r9"
    "movnti [rdi + 3], eax" "movntq [rdi + 3], mm1" "movss [rdi + 1], xmm1" "movsd [rdi + 1], xmm1"
    "movq [rdi + 1], xmm1" "movd [rdi + 1], xmm1" "movd ecx, xmm1" "movq r9, xmm1" "movq rcx, xmm11"
    "movlps xmm1, [rdi + 3]" "movhps xmm1, [rdi + 3]" "movlpd xmm1, [rdi + 3]" "movhpd xmm1, [rdi + 3]"
    "movlps [rdi + 3], xmm1" "movhps [rdi + 3], xmm1" "movlpd [rdi + 3], xmm1" "movhpd [rdi + 3], xmm1"
    "movhlps xmm1, xmm2" "movlhps xmm1, xmm2" "movmskps eax, xmm1" "movmskpd eax, xmm9" "pmovmskb eax, xmm1"
    "pmovmskb ecx, mm1" "movq2dq xmm1, mm1" "movdq2q mm1, xmm1" "pslldq xmm1, 3" "psrldq xmm9, 5"
    "psllw xmm1, 3" "pslld xmm1, 3" "psllq xmm1, 3" "psrlw xmm1, 3" "psrld xmm1, 3" "psrlq xmm1, 3"
    "psraw xmm1, 3" "psrad xmm1, 3" "pinsrw xmm1, eax, 3" "pinsrw xmm1, [rdi + 3], 3" "pextrw eax, xmm1, 3"
    "maskmovdqu xmm1, xmm9" "maskmovq mm1, mm2" "ldmxcsr [rdi + 128]" "stmxcsr [rdi + 3]"
    "movups xmm1, [rdi + rsi * 8 + 1]" "addsd xmm8, [rdi + rsi]"
);
// SSE3, SSSE3, SSE4.1, SSE4.2, SSE4A.
two!("xmm1", "xmm9", "[rdi + 16]":
    "addsubps" "addsubpd" "haddps" "haddpd" "hsubps" "hsubpd" "movsldup" "movshdup" "pshufb" "phaddw"
    "phaddd" "phaddsw" "phsubw" "phsubd" "phsubsw" "pmaddubsw" "pmulhrsw" "psignb" "psignw" "psignd"
    "pabsb" "pabsw" "pabsd" "pblendvb" "blendvps" "blendvpd" "ptest" "pmuldq" "pmulld" "pcmpeqq" "pcmpgtq"
    "packusdw" "pminsb" "pminsd" "pminuw" "pminud" "pmaxsb" "pmaxsd" "pmaxuw" "pmaxud" "phminposuw");
two_and_number!("xmm1", "xmm9", "[rdi + 16]", "0x65":
    "palignr" "roundps" "roundpd" "blendps" "blendpd" "pblendw" "dpps" "dppd" "mpsadbw");
two_and_number!("xmm1", "xmm9", "[rdi + 17]", "0x4d": "pcmpestri" "pcmpestrm" "pcmpistri" "pcmpistrm");
two_and_number!("xmm1", "xmm9", "dword ptr [rdi + 5]", "3": "roundss" "insertps");
two_and_number!("xmm1", "xmm9", "qword ptr [rdi + 5]", "3": "roundsd");
two!("xmm1", "xmm9", "qword ptr [rdi + 5]":
    "movddup" "pmovsxbw" "pmovsxwd" "pmovsxdq" "pmovzxbw" "pmovzxwd" "pmovzxdq");
two!("xmm1", "xmm9", "dword ptr [rdi + 5]": "pmovsxbd" "pmovsxwq" "pmovzxbd" "pmovzxwq");
two!("xmm1", "xmm9", "word ptr [rdi + 5]": "pmovsxbq" "pmovzxbq");
plain!(
    "lddqu xmm1, [rdi + 3]" "movntdqa xmm1, [rdi + 16]" "pinsrb xmm1, eax, 3" "pinsrb xmm1, [rdi + 3], 3"
    "pinsrd xmm1, eax, 3" "pinsrd xmm1, [rdi + 3], 3" "pinsrq xmm1, r9, 1" "pinsrq xmm1, [rdi + 3], 1"
    "pextrb eax, xmm1, 3" "pextrb [rdi + 3], xmm1, 3" "pextrw [rdi + 3], xmm1, 3" "pextrd eax, xmm1, 3"
    "pextrd [rdi + 3], xmm1, 3" "pextrq r9, xmm1, 1" "pextrq [rdi + 3], xmm1, 1" "extractps eax, xmm1, 1"
    "extractps [rdi + 3], xmm1, 1" "extrq xmm1, xmm2" "insertq xmm1, xmm2" "extrq xmm1, 4, 8"
    "insertq xmm1, xmm2, 4, 8" "movntss [rdi + 3], xmm1" "movntsd [rdi + 3], xmm1"
);
// AES, PCLMULQDQ, SHA, GFNI.
two!("xmm1", "xmm9", "[rdi + 16]":
    "aesenc" "aesenclast" "aesdec" "aesdeclast" "aesimc" "sha1nexte" "sha1msg1" "sha1msg2" "sha256rnds2"
    "sha256msg1" "sha256msg2" "gf2p8mulb");
two_and_number!("xmm1", "xmm9", "[rdi + 16]", "0x11": "aeskeygenassist" "pclmulqdq" "gf2p8affineqb");
two_and_number!("xmm1", "xmm9", "[rdi + 16]", "2": "sha1rnds4");
// MMX.
two!("mm1", "mm2", "qword ptr [rdi + 5]":
    "paddb" "paddw" "paddd" "paddq" "paddsb" "paddsw" "paddusb" "paddusw" "psubb" "psubw" "psubd" "psubq"
    "psubsb" "psubsw" "psubusb" "psubusw" "pmullw" "pmulhw" "pmulhuw" "pmuludq" "pmaddwd" "psadbw" "pavgb"
    "pavgw" "pminub" "pmaxub" "pminsw" "pmaxsw" "pcmpeqb" "pcmpeqw" "pcmpeqd" "pcmpgtb" "pcmpgtw"
    "pcmpgtd" "pand" "pandn" "por" "pxor" "psllw" "pslld" "psllq" "psrlw" "psrld" "psrlq" "psraw" "psrad"
    "packsswb" "packssdw" "packuswb" "punpckhbw" "punpckhwd" "punpckhdq" "movq" "pshufb" "phaddw" "pabsd");
plain!(
    "emms" "movq [rdi + 3], mm1" "movd mm1, eax" "movd [rdi + 3], mm1" "movd eax, mm1" "movq mm1, r9"
    "movq r9, mm1" "pshufw mm1, mm2, 0x1b" "pinsrw mm1, eax, 2" "pextrw eax, mm1, 2" "psllq mm1, 3"
    "palignr mm1, mm2, 3"
);
// General registers.
two!("eax", "r9d", "dword ptr [rdi + 5]":
    "popcnt" "lzcnt" "tzcnt" "adcx" "adox" "crc32" "blsr" "blsi" "blsmsk");
two!("rax", "r9", "qword ptr [rdi + 5]":
    "popcnt" "lzcnt" "tzcnt" "adcx" "adox" "crc32" "blsr" "blsi" "blsmsk");
two!("r10w", "cx", "word ptr [rdi + 5]": "popcnt" "lzcnt" "tzcnt");
two!("eax, r9d", "ecx", "dword ptr [rdi + 5]": "andn" "pext" "pdep" "mulx");
two!("rax, r9", "rcx", "qword ptr [rdi + 5]": "andn" "pext" "pdep" "mulx");
plain!(
    "crc32 eax, cl" "crc32 eax, byte ptr [rdi + 3]" "crc32 eax, cx" "crc32 eax, word ptr [rdi + 3]"
    "bextr eax, ecx, r9d" "bextr rax, [rdi + 3], r9" "bzhi eax, ecx, r9d" "bzhi rax, [rdi + 3], r9"
    "shlx eax, ecx, r9d" "shlx rax, [rdi + 3], r9" "sarx eax, ecx, r9d" "sarx rax, [rdi + 3], r9"
    "shrx eax, ecx, r9d" "shrx rax, [rdi + 3], r9" "rorx eax, ecx, 7" "rorx rax, [rdi + 3], 7"
    "movbe eax, [rdi + 3]" "movbe r9, [rdi + 3]" "movbe cx, [rdi + 3]" "movbe [rdi + 3], eax"
    "movbe [rdi + 3], r9" "movbe [rdi + 3], cx" "cmpxchg16b [rdi + 16]" "lock cmpxchg16b [rdi + 32]"
    "movdiri [rdi + 3], eax" "movdiri [rdi + 3], r9"
);
// x87.
plain!(
    "fld1" "fldz" "fldpi" "fldl2e" "fldl2t" "fldlg2" "fldln2" "fld st(3)" "fld dword ptr [rdi + 5]"
    "fld qword ptr [rdi + 5]" "fld tbyte ptr [rdi + 5]" "fild word ptr [rdi + 5]" "fild dword ptr [rdi + 5]"
    "fild qword ptr [rdi + 5]" "fbld [rdi + 5]" "fst dword ptr [rdi + 5]" "fst qword ptr [rdi + 5]"
    "fst st(3)" "fstp dword ptr [rdi + 5]" "fstp qword ptr [rdi + 5]" "fstp tbyte ptr [rdi + 5]" "fstp st(3)"
    "fist word ptr [rdi + 5]" "fist dword ptr [rdi + 5]" "fistp word ptr [rdi + 5]"
    "fistp dword ptr [rdi + 5]" "fistp qword ptr [rdi + 5]" "fisttp word ptr [rdi + 5]"
    "fisttp dword ptr [rdi + 5]" "fisttp qword ptr [rdi + 5]" "fbstp [rdi + 5]"
    "fadd st, st(2)" "fadd st(2), st" "faddp st(2), st" "fadd dword ptr [rdi + 5]" "fadd qword ptr [rdi + 5]"
    "fiadd word ptr [rdi + 5]" "fiadd dword ptr [rdi + 5]" "fsub st, st(2)" "fsub st(2), st" "fsubp st(2), st"
    "fsubr st, st(2)" "fsubr st(2), st" "fsubrp st(2), st" "fsub dword ptr [rdi + 5]"
    "fsubr qword ptr [rdi + 5]" "fisub word ptr [rdi + 5]" "fisubr dword ptr [rdi + 5]" "fmul st, st(2)"
    "fmul st(2), st" "fmulp st(2), st" "fmul dword ptr [rdi + 5]" "fmul qword ptr [rdi + 5]"
    "fimul word ptr [rdi + 5]" "fimul dword ptr [rdi + 5]" "fdiv st, st(2)" "fdiv st(2), st" "fdivp st(2), st"
    "fdivr st, st(2)" "fdivr st(2), st" "fdivrp st(2), st" "fdiv dword ptr [rdi + 5]"
    "fdivr qword ptr [rdi + 5]" "fidiv word ptr [rdi + 5]" "fidivr dword ptr [rdi + 5]" "fcom st(2)"
    "fcomp st(2)" "fcompp" "fucom st(2)" "fucomp st(2)" "fucompp" "fcomi st, st(2)" "fcomip st, st(2)"
    "fucomi st, st(2)" "fucomip st, st(2)" "fcom dword ptr [rdi + 5]" "fcomp qword ptr [rdi + 5]"
    "ficom word ptr [rdi + 5]" "ficomp dword ptr [rdi + 5]" "fcmovb st, st(2)" "fcmove st, st(2)"
    "fcmovbe st, st(2)" "fcmovu st, st(2)" "fcmovnb st, st(2)" "fcmovne st, st(2)" "fcmovnbe st, st(2)"
    "fcmovnu st, st(2)" "fchs" "fabs" "ftst" "fxam" "fsqrt" "frndint" "fscale" "fxtract" "fprem" "fprem1"
    "f2xm1" "fyl2x" "fyl2xp1" "fptan" "fpatan" "fsin" "fcos" "fsincos" "fxch st(3)" "fdecstp" "fincstp"
    "ffree st(2)" "ffreep st(2)" "fnop" "fwait" "fninit" "fnclex" "fldcw [rdi + 132]" "fnstcw [rdi + 3]"
    "fnstsw [rdi + 3]" "fnstsw ax" "fnstenv [rdi + 3]" "fldenv [rdi + 136]" "fnsave [rdi + 3]"
    "frstor [rdi + 136]" "data16 fnstenv [rdi + 3]" "data16 fnsave [rdi + 3]"
);
// AVX, AVX2, FMA.
three!(
    "vaddps" "vaddpd" "vsubps" "vsubpd" "vmulps" "vmulpd" "vdivps" "vdivpd" "vminps" "vmaxpd" "vandps"
    "vandnpd" "vorps" "vxorpd" "vunpcklps" "vunpckhpd" "vhaddps" "vhsubpd" "vaddsubps" "vpaddb" "vpaddw"
    "vpaddd" "vpaddq" "vpsubb" "vpsubq" "vpand" "vpandn" "vpor" "vpxor" "vpcmpeqb" "vpcmpeqq" "vpcmpgtw"
    "vpcmpgtq" "vpshufb" "vpmullw" "vpmulld" "vpmuludq" "vpmaddwd" "vpmaddubsw" "vpackssdw" "vpackuswb"
    "vpunpcklbw" "vpunpckhqdq" "vpminub" "vpmaxsd" "vpsadbw" "vpavgb" "vphaddw" "vpsignd" "vpsllvd"
    "vpsllvq" "vpsrlvd" "vpsrlvq" "vpsravd" "vpermilps" "vpermilpd"
    "vfmadd132ps" "vfmadd213pd" "vfmadd231ps" "vfmsub132pd" "vfmsub231ps" "vfnmadd213ps" "vfnmsub231pd"
    "vfmaddsub213ps" "vfmsubadd231pd" "vaesenc" "vaesdeclast" "vgf2p8mulb"
);
two!("ymm1", "ymm9", "[rdi + 32]":
    "vmovaps" "vmovapd" "vmovdqa" "vmovups" "vmovupd" "vmovdqu" "vsqrtps" "vcvtdq2ps" "vcvtps2dq"
    "vcvttps2dq" "vmovsldup" "vmovshdup" "vmovddup" "vpabsb" "vpabsd" "vptest" "vtestps" "vtestpd");
two!("ymm1", "xmm9", "[rdi + 7]": "vcvtps2pd" "vcvtdq2pd" "vpmovsxbw" "vpmovzxwd" "vcvtph2ps");
two!("xmm1", "xmm9", "dword ptr [rdi + 7]": "vbroadcastss" "vpbroadcastd");
two!("ymm1", "xmm9", "word ptr [rdi + 7]": "vpbroadcastw");
two!("ymm1", "xmm9", "byte ptr [rdi + 7]": "vpbroadcastb");
two!("ymm1", "xmm9", "qword ptr [rdi + 7]": "vbroadcastsd" "vpbroadcastq");
two!("xmm1, xmm2", "xmm9", "dword ptr [rdi + 7]": "vaddss" "vmulss" "vsqrtss" "vcvtss2sd" "vfmadd231ss");
two!("xmm1, xmm2", "xmm9", "qword ptr [rdi + 7]": "vaddsd" "vdivsd" "vcvtsd2ss" "vfmadd231sd");
two_and_number!("ymm1, ymm2", "ymm9", "[rdi + 7]", "0x1b":
    "vshufps" "vshufpd" "vblendps" "vpblendw" "vpblendd" "vperm2f128" "vperm2i128" "vpalignr" "vcmpps"
    "vdpps" "vmpsadbw");
two_and_number!("ymm1", "ymm9", "[rdi + 7]", "0x1b":
    "vpshufd" "vpshufhw" "vpermq" "vpermpd" "vroundps" "vpermilps");
two!("ymm1, ymm2", "ymm9", "[rdi + 7]": "vpermd" "vpermps");
plain!(
    "vzeroupper" "vzeroall" "vextractf128 xmm1, ymm9, 1" "vextracti128 [rdi + 3], ymm9, 1"
    "vinsertf128 ymm1, ymm2, xmm9, 1" "vinserti128 ymm1, ymm2, [rdi + 3], 1" "vmovd xmm1, eax"
    "vmovq r9, xmm1" "vmovss xmm1, xmm2, xmm9" "vmovsd [rdi + 3], xmm1" "vmovups [rdi + 3], ymm1"
    "vmovaps [rdi + 32], ymm1" "vmovntdq [rdi + 32], ymm1" "vmovntdqa ymm1, [rdi + 32]" "vlddqu ymm1, [rdi + 3]"
    "vpmovmskb eax, ymm1" "vmovmskps eax, ymm1" "vpsllw ymm1, ymm2, 3" "vpsrldq ymm1, ymm2, 3"
    "vpslld ymm1, ymm2, xmm9" "vcvtpd2ps xmm1, ymm2" "vcvtpd2ps xmm1, ymmword ptr [rdi + 3]"
    "vcvttpd2dq xmm1, ymm2" "vcvtps2ph xmm1, ymm2, 0" "vcvtps2ph [rdi + 3], ymm2, 0" "vcvtsi2sd xmm1, xmm2, r9"
    "vcvttss2si eax, xmm9" "vbroadcastf128 ymm1, [rdi + 3]" "vblendvps ymm1, ymm2, ymm9, ymm4"
    "vpblendvb ymm1, ymm2, [rdi + 3], ymm4" "vmaskmovps ymm1, ymm2, [rdi + 3]" "vmaskmovpd xmm1, xmm2, [rdi + 3]"
    "vmaskmovps [rdi + 3], ymm2, ymm1" "vpmaskmovq [rdi + 3], ymm2, ymm1" "vpmaskmovd xmm1, xmm2, [rdi + 3]"
    "vmaskmovdqu xmm1, xmm9" "vldmxcsr [rdi + 128]" "vstmxcsr [rdi + 3]" "vpclmulqdq xmm1, xmm2, xmm9, 1"
    "vpextrq [rdi + 3], xmm1, 1" "vpinsrd xmm1, xmm2, eax, 1" "vucomisd xmm1, xmm2"
    "vpcmpistri xmm1, [rdi + 3], 0x4d"
);
// AVX-512.
plain!(
    "vaddps zmm1, zmm2, zmm17" "vaddpd zmm1, zmm2, [rdi + 3]" "vaddps zmm1, zmm2, dword ptr [rdi + 3]{{1to16}}"
    "vaddps zmm1{{k1}}, zmm2, zmm17" "vaddps zmm1{{k1}}{{z}}, zmm2, zmm17" "vaddpd zmm1, zmm2, zmm3, {{rz-sae}}"
    "vmovdqu64 zmm17, [rdi + 3]" "vmovdqa64 [rdi + 64], zmm17" "vpternlogd zmm1, zmm2, zmm17, 0x96"
    "vpermb zmm1, zmm2, zmm3" "vpopcntq zmm1, zmm2" "vpcmpeqd k1, zmm2, zmm3" "kmovq k1, rax" "kmovq rax, k2"
    "kmovw k1, [rdi + 3]" "kandq k1, k2, k3" "kortestw k1, k2" "vfmadd231pd zmm1, zmm2, zmm3"
    "vcvtpd2ps ymm1, zmm2" "vpmovqb [rdi + 3], zmm2" "vpcompressd zmm1{{k2}}, zmm3" "vextracti64x4 [rdi + 3], zmm2, 1"
);

/// A number such as the instructions are interested in: floating point of all classes, small and
/// large integers, text.
pub fn number(random: &Random) -> u64 {
    let float = |bits: u64| match bits % 10 {
        0 => 0,
        1 => 0x8000_0000,
        2 => 0x7F80_0000,
        3 => 0xFFC0_1234,
        4 => 0x7F80_0001,
        5 => 0x0000_1234,
        6 => 0x7F7F_FFFF,
        _ => (0x3F80_0000 + (bits >> 32 & 0x03FF_FFFF)) | bits >> 8 & 0x8000_0000,
    };
    let bits = random.next();
    match random.below(8) {
        0 => bits,
        1 => f64::from_bits(0x3FF0_0000_0000_0000 | bits >> 12).to_bits(),
        2 => (bits as i32 as f64 / 1024.0).to_bits(),
        3 => f64::MIN_POSITIVE.to_bits() >> (bits % 60),
        4 => bits % 1000,
        _ => float(bits) << 32 | float(random.next()),
    }
}

/// 80 bits: a number that a double can hold, or random bits.
fn long_number(random: &Random) -> [u8; 10] {
    let mut bytes = [0; 10];
    let (mantissa, exponent) = match random.below(8) {
        0 => (random.next(), random.next() as u16),
        1 => (0, 0),
        _ => (
            random.next() | 1 << 63,
            (0x3FFF - 20 + random.below(40) as u16) | (random.next() as u16 & 0x8000),
        ),
    };
    bytes[..8].copy_from_slice(&mantissa.to_le_bytes());
    bytes[8..].copy_from_slice(&exponent.to_le_bytes());
    bytes
}

pub fn random_extended(random: &Random) -> Extended {
    let mut image: Extended = [0; 4096];
    let control = 0x7F | (random.next() as u16 & 0xC00) | [0, 0x200, 0x300][random.below(3) as usize];
    image[..2].copy_from_slice(&control.to_le_bytes());
    let status = random.next() as u16 & 0x7F3F & !0x80;
    image[2..4].copy_from_slice(&status.to_le_bytes());
    image[image::TAGS] = random.next() as u8 | random.next() as u8;
    for n in 0..8 {
        image[image::STACK + 16 * n..][..10].copy_from_slice(&long_number(random));
    }
    let mxcsr = 0x1F80 | random.next() as u32 & 0xE07F;
    image::set_mxcsr(&mut image, mxcsr);
    for at in (image::XMM..image::XMM + 256).step_by(8) {
        image::set_quad(&mut image, at, number(random));
    }
    let mut in_use = image::X87 | image::SSE;
    if processor::components() & image::AVX != 0 && random.below(4) != 0 {
        in_use |= image::AVX;
        for at in (image::YMM_HIGH..image::YMM_HIGH + 256).step_by(8) {
            image::set_quad(&mut image, at, number(random));
        }
    }
    image::set_quad(&mut image, image::IN_USE, in_use);
    image
}

/// The extended registers in one form only: what is not in use is zero, and the pointers to the last
/// x87 instruction are left out.
pub fn canonical(image: &Extended) -> Extended {
    let mut canonical = *image;
    image::bring_into_use(&mut canonical);
    canonical[image::FOP..image::MXCSR].fill(0);
    canonical[28..32].fill(0);
    for n in 0..8 {
        canonical[image::STACK + 16 * n + 10..image::STACK + 16 * n + 16].fill(0);
    }
    canonical[416..512].fill(0);
    let in_use = image::quad(&canonical, image::IN_USE);
    for (component, from, length) in components() {
        if in_use & component == 0 {
            canonical[from..from + length].fill(0);
        }
    }
    canonical[512..576].fill(0);
    canonical
}

/// Components behind the header, with offset and length.
fn components() -> Vec<(u64, usize, usize)> {
    let mut all = Vec::new();
    for number in [2, 5, 6, 7] {
        if processor::components() >> number & 1 == 1 {
            let leaf = std::arch::x86_64::__cpuid_count(0xD, number);
            all.push((1 << number, leaf.ebx as usize, leaf.eax as usize));
        }
    }
    all
}

#[repr(align(4096))]
struct Area([u8; AREA]);

#[test]
fn every_instruction_does_what_it_does_natively() {
    let random = Random::new(0x5EED);
    let (mut run, mut absent) = (0, Vec::new());
    for form in forms() {
        let instruction = decode(form.code());
        assert_eq!(instruction.len(), form.code().len(), "{} is one instruction", form.name());
        let unit = allowed::unit(&instruction).unwrap_or_else(|_| panic!("{} is not allowed", form.name()));
        if !processor::has(&instruction, unit) {
            if instruction.encoding() == EncodingKind::EVEX {
                assert_eq!(guest(form.code()).raises(), Some(Exception::UNDEFINED), "{}", form.name());
            }
            absent.push(form.name());
            continue;
        }
        for _ in 0..ROUNDS {
            compare(form, &random);
        }
        run += 1;
    }
    assert!(run > 500, "{run} instructions were compared; absent: {absent:?}");
}

fn compare(form: &super::oracle::Form, random: &Random) {
    let extended = random_extended(random);
    let mut area = Area([0; AREA]);
    for bytes in area.0.as_chunks_mut::<8>().0 {
        *bytes = number(random).to_le_bytes();
    }
    // MXCSR and FCW of the control instructions: nothing unmasked, no bit that does not exist.
    area.0[128..132].copy_from_slice(&(0x1F80 | random.next() as u32 & 0xE07F).to_le_bytes());
    area.0[132..134].copy_from_slice(&(0x7F | random.next() as u16 & 0xF00).to_le_bytes());
    area.0[136..138].copy_from_slice(&(0x7F | random.next() as u16 & 0xF00).to_le_bytes());
    let mut state = State::new(extended);
    for register in &mut state.general {
        *register = if random.below(2) == 0 { random.next() } else { random.below(256) };
    }
    state.general[6] = 2;
    state.flags = 2 | random.next() & 0x8D5;

    let mut fake = guest(form.code());
    *fake.xsave.borrow_mut() = extended;
    fake.memory.write(GUEST_AREA, &area.0).unwrap();
    {
        let g = &mut fake.registers.borrow_mut().general;
        [
            g.rax,
            g.rcx,
            g.rdx,
            g.rbx,
            _,
            g.rbp,
            g.rsi,
            _,
            g.r8,
            g.r9,
            g.r10,
            g.r11,
            g.r12,
            g.r13,
            g.r14,
            g.r15,
        ] = state.general;
        (g.rdi, g.rflags) = (GUEST_AREA, state.flags);
    }
    state.general[7] = area.0.as_ptr().addr() as u64;

    assert_eq!(fake.emulate(), Emulated::Done, "{}", form.name());
    form.run(&mut state);

    let g = fake.now().general;
    assert_eq!(g.rip, crate::emulate::testing::CODE + form.code().len() as u64, "{}", form.name());
    let guest_general =
        [g.rax, g.rcx, g.rdx, g.rbx, g.rbp, g.rsi, g.r8, g.r9, g.r10, g.r11, g.r12, g.r13, g.r14, g.r15];
    let s = &state.general;
    let native = [s[0], s[1], s[2], s[3], s[5], s[6], s[8], s[9], s[10], s[11], s[12], s[13], s[14], s[15]];
    assert_eq!(guest_general, native, "general registers after {}", form.name());
    assert_eq!(g.rflags & 0x8D5, state.flags & 0x8D5, "flags after {}", form.name());
    let mut memory = [0; AREA];
    fake.memory.read(GUEST_AREA, &mut memory).unwrap();
    forget_pointers(form.name(), &mut memory);
    forget_pointers(form.name(), &mut area.0);
    assert_eq!(memory, area.0, "memory after {}", form.name());
    let (guest, native) = (canonical(&fake.xsave.borrow()), canonical(&state.extended));
    for (at, (guest, native)) in guest.iter().zip(&native).enumerate() {
        assert_eq!(guest, native, "byte {at} of the extended registers after {}", form.name());
    }
}

/// Leaves out where `fnstenv` and `fnsave` store the addresses of the last instruction and operand.
fn forget_pointers(name: &str, memory: &mut [u8]) {
    if name.starts_with("data16 fn") {
        memory[3 + 6..3 + 14].fill(0);
    } else if name.starts_with("fnstenv") || name.starts_with("fnsave") {
        memory[3 + 12..3 + 26].fill(0);
    }
}
