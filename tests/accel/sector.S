# A boot sector: a line from real mode, then a reset through the keyboard controller.
    .code16
    .text
    xor %ax, %ax
    mov %ax, %ds
    mov $line, %si
1:  lodsb
    test %al, %al
    jz 2f
    mov $0x3f8, %dx
    out %al, %dx
    jmp 1b
2:  mov $0xfe, %al
    out %al, $0x64
3:  hlt
    jmp 3b
line:
    .asciz "from real mode\n"
    .org 510
    .word 0xaa55
