# Real-mode pieces for test_kvm.c, loaded at 0x1000 and entered at the numbers below. Each ends with a byte to port 0xf4.
    .code16
    .text

    .org 0x000                  # ports and memory of devices
    mov $0x42, %al
    out %al, $0x10
    in $0x11, %al
    mov %al, 0x500
    mov $0x1234, %ax
    mov $0x30, %dx
    out %ax, %dx
    mov $0x89abcdef, %eax
    out %eax, %dx
    mov $text, %si
    mov $3, %cx
    mov $0x12, %dx
    rep outsb
    mov $0xd000, %ax
    mov %ax, %es
    movl $0x11223344, %es:0x10
    mov %es:0x14, %eax
    mov %eax, 0x504
    mov %es:0x18, %bl           # nothing answers there
    mov %bl, 0x508
    out %al, $0xf4
1:  jmp 1b
text:
    .ascii "abc"

    .org 0x100                  # stores to two pages
    movb $1, 0x5000
    movb $1, 0x7fff
    out %al, $0xf4
1:  jmp 1b

    .org 0x200                  # counts for ever
    xor %eax, %eax
1:  inc %eax
    mov %eax, 0x500
    jmp 1b

    .org 0x300                  # a fault that cannot be taken, in protected mode
    lgdt table
    lidt nothing
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $8, $1f
    .code32
1:  ud2
    out %al, $0xf4
    .code16
    .balign 8
descriptors:
    .quad 0, 0x00cf9a000000ffff
table:
    .word 15
    .long descriptors
nothing:
    .word 0
    .long 0

    .org 0x400                  # a model-specific register that does not exist
    movw $fault, 0x34           # vector 13: offset, segment
    movw $0, 0x36
    mov $0x12345678, %ecx
    rdmsr
    movb $2, 0x500              # not reached
    out %al, $0xf4
fault:
    movb $1, 0x500
    out %al, $0xf4
1:  jmp 1b

    .org 0x500                  # CPUID
    mov $1, %eax
    cpuid
    mov %ebx, 0x500
    mov %ecx, 0x504
    mov $0x80000001, %eax
    cpuid
    mov %ecx, 0x508
    mov $0x40000000, %eax
    cpuid
    mov %ebx, 0x50c
    out %al, $0xf4
1:  jmp 1b

    .org 0x600                  # waits for interrupt 5 of the 8259, which it puts at vector 0x25
    cli
    movw $taken, 0x94
    movw $0, 0x96
    mov $0x11, %al
    out %al, $0x20
    mov $0x20, %al
    out %al, $0x21
    mov $4, %al
    out %al, $0x21
    mov $1, %al
    out %al, $0x21
    mov $0xdf, %al
    out %al, $0x21
    out %al, $0xf0              # ready
    sti
1:  hlt
    jmp 1b
taken:
    incb 0x500
    out %al, $0xf4
1:  jmp 1b

    .org 0x700                  # memory behind a hole, and the hole
    mov $0x8000, %ax
    mov %ax, %es
    movb $0x33, %es:0x1234
    mov %es:0x3000, %al
    mov %al, 0x500
    mov $0x4000, %ax
    mov %ax, %es
    mov %es:0x1234, %al
    mov %al, 0x501
    out %al, $0xf4
1:  jmp 1b
