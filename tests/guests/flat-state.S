/* flat-state: a real-mode guest with something to lose. `+` on COM1 counts, `?` prints the count as a digit, `r` resets
   the machine, Ctrl-D ends the run with the count as the result. */
    .code16
    .globl _start
_start:
    movw %cs, %ax                   # wherever it is loaded
    movw %ax, %ds
    movb $'!', %al                  # once for each start
    call put
wait_for_input:
    movw $0x3f8 + 5, %dx
    inb %dx, %al
    testb $1, %al
    jz wait_for_input
    movw $0x3f8, %dx
    inb %dx, %al
    cmpb $'+', %al
    je count_up
    cmpb $'?', %al
    je show
    cmpb $'r', %al
    je reset
    cmpb $4, %al
    jne wait_for_input
    movzwl count, %eax
    hlt
count_up:
    incw count
    jmp wait_for_input
show:
    movb count, %al
    addb $'0', %al
    call put
    jmp wait_for_input
reset:
    movw $0xcf9, %dx
    movb $2, %al
    outb %al, %dx
    movb $6, %al
    outb %al, %dx
1:  jmp 1b
put:
    movw $0x3f8, %dx
    outb %al, %dx
    movb $'\n', %al
    outb %al, %dx
    ret

count: .word 0
