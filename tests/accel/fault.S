# Protected mode, entered by multiboot: a fault with no table of vectors.
    .code32
    .text
    .balign 4
    .long 0x1badb002, 0, -0x1badb002
    .globl _start
_start:
    lidt nothing
    ud2
1:  jmp 1b
nothing:
    .word 0
    .long 0
