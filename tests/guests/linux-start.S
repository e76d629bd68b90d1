# The start of a small "Linux kernel", which prints what a boot loader has given it (linux-kernel.c). It has the setup
# header of a bzImage, and the note by which a vmlinux is known. Assembled for 64-bit mode, it starts at its 64-bit entry
# point; assembled with -m32, at the one of 32 bits, and it has no other.

    .section .setup, "a"
setup:
    .org 0x1f1
    .byte 1                         # setup_sects: one, behind the boot sector
    .word 0                         # root_flags
    .long image_paragraphs          # syssize
    .word 0, 0, 0                   # ram_size, vid_mode, root_dev
    .word 0xaa55                    # boot_flag
    .byte 0xeb, 0x6a                # jump
    .ascii "HdrS"
    .word 0x20f                     # version
    .long 0                         # realmode_swtch
    .word 0, version_offset     # start_sys_seg, kernel_version
    .byte 0, 1                      # type_of_loader, loadflags: LOADED_HIGH
    .word 0                         # setup_move_size
    .long 0x100000                  # code32_start
    .long 0, 0, 0                   # ramdisk_image, ramdisk_size, bootsect_kludge
    .word 0                         # heap_end_ptr
    .byte 0, 0                      # ext_loader_ver, ext_loader_type
    .long 0                         # cmd_line_ptr
    .long 0x2fffff                  # initrd_addr_max
    .long 0x1000                    # kernel_alignment
    .byte 1, 12                     # relocatable_kernel, min_alignment
#ifdef __x86_64__
    .word 1                         # xloadflags: XLF_KERNEL_64
#else
    .word 0
#endif
    .long 40                        # cmdline_size
    .long 0, 0, 0                   # hardware_subarch, hardware_subarch_data
    .long 0, 0                      # payload_offset, payload_length
    .long 0, 0                      # setup_data
    .long 0x200000, 0               # pref_address
    .long image_memory              # init_size
    .long 0, 0                      # handover_offset, kernel_info_offset
    .set version_offset, . - setup - 0x200
    .asciz "0.1-example"
    .org 0x400

    .section .note.Linux, "a", @note
    .balign 4
    .long 6, 4, 0x100               # the salt of the build ID
    .asciz "Linux"
    .balign 4
    .ascii "salt"

    .section .text.start, "ax"
    .globl _start
_start:
#ifdef __x86_64__
    hlt                             # where a boot loader of 32 bits would start it
    .org 0x200
    .globl start_64
start_64:
    pushfq
    popq %rax
    leaq stack_end(%rip), %rsp
    movq %rsi, %rdi
    movl %eax, %esi
    movw %cs, %dx
    movw %ds, %cx
    movw %es, %r8w
    movw %ss, %r9w
    movzwl %dx, %edx
    movzwl %cx, %ecx
    movzwl %r8w, %r8d
    movzwl %r9w, %r9d
#else
    movl $stack_end, %esp
    pushl %ss
    pushl %es
    pushl %ds
    pushl %cs
    pushfl
    pushl %esi
#endif
    call report
    xorl %eax, %eax
1:  cli
    hlt
    jmp 1b

    .bss
    .balign 16
    .skip 4096
stack_end:
