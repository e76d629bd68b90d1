// SPDX-License-Identifier: MIT OR GPL-2.0
// The smallest test of a driver: a port answers the last value written to it plus one, MMIO at address 0 the last
// value minus one. Wrong answers end in a loop; the emulator and the device must agree all the way to HLT.
    .code16
    xor %ax, %ax
    mov %ax, %ds
    mov $1, %al
    out %al, $0
    in $0, %al
    cmp $2, %al
1:  jne 1b
    mov $3, %al
    xor %edx, %edx
    mov %al, (%edx)
    mov (%edx), %al
    cmp $2, %al
2:  jne 2b
    hlt
