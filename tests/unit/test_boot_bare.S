/* A bare-metal program as ISA test suites build them: code, zero-initialised data, HTIF's two symbols. Linked at 0x80000000. */
    .section .text.init, "ax"
    .globl _start
_start:
    la      t0, tohost
    li      t1, 1
    sd      t1, 0(t0)
1:  j       1b

    .section .tohost, "aw", @progbits
    .balign 64
    .globl tohost, fromhost
tohost:
    .dword 0
    .balign 64
fromhost:
    .dword 0

    .bss
    .balign 8
    .space 8192
