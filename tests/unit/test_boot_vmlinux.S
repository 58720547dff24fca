/* The shape of Linux's vmlinux: virtual addresses at the top, load addresses from 0, an Image header at the start. */
    .section .head, "ax"
    .globl _start
_start:
    j       _start_kernel
    .balign 8
    .dword 0x200000         /* text_offset */
    .dword 0x4000           /* image_size */
    .dword 0                /* flags */
    .word 2                 /* version 0.2 */
    .word 0
    .dword 0
    .ascii "RISCV\0\0\0"
    .ascii "RSC\005"
    .word 0
_start_kernel:
    j       _start_kernel

    .data
    .globl tohost
tohost:
    .dword 0x1122334455667788
