# A loop of twelve turns that is entered 20,000 times.
    .section .text.start, "ax"
    .globl _start
_start:
    li      s0, 20000
enter:
    li      t0, 12
    j       turn                    # a block of its own: the first turn is none of it
turn:
    xor     s1, s1, t0
    addi    t0, t0, -1
    bnez    t0, turn
    addi    s0, s0, -1
    bnez    s0, enter
    li      t0, 0x100000            # the test device: well
    li      t1, 0x5555
    sw      t1, 0(t0)
1:  j       1b

    .section .tohost, "aw", @progbits
    .balign 4096
    .zero   16
