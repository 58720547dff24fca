# A guest that makes code for ever anew: writes small functions, runs each in a loop, and writes the next over an old one.
# Each '+' on the serial port asks for 100 functions, after which it says '.'; 'q' ends it, with code 1 if a result was
# wrong. Functions take two sets of places in turn: 8 that are written over soon, 240 that are left alone for long.
    .section .text.start, "ax"
    .globl _start
_start:
    lui     s0, 0x10000             # the serial port
    la      s1, code
    li      s2, 0                   # functions so far
    li      s3, 0                   # wrong results
wait:
    lbu     t0, 5(s0)
    andi    t0, t0, 1
    beqz    t0, wait
    lbu     t0, 0(s0)
    li      t1, '+'
    beq     t0, t1, work
    li      t1, 'q'
    bne     t0, t1, wait
    lui     t0, 0x100
    li      t1, 0x5555
    beqz    s3, 1f
    li      t1, 0x13333
1:  sw      t1, 0(t0)
    j       1b

work:
    li      s4, 100
2:  andi    t0, s2, 1
    srli    t1, s2, 1
    beqz    t0, 3f
    li      t2, 240                 # places 8 to 247
    remu    t1, t1, t2
    addi    t1, t1, 8
    j       4f
3:  andi    t1, t1, 7
4:  slli    t1, t1, 6
    add     s5, s1, t1              # where it goes
    andi    s6, s2, 0x3ff
    addi    s6, s6, 1               # what it adds in each turn
    slli    t0, s6, 20              # addi a1, a1, s6
    li      t1, 0x00058593
    or      t0, t0, t1
    sw      t0, 0(s5)
    li      t0, 0xfff50513          # addi a0, a0, -1
    sw      t0, 4(s5)
    li      t0, 0xfe051ce3          # bnez a0, -8
    sw      t0, 8(s5)
    li      t0, 0x00008067          # ret
    sw      t0, 12(s5)
    fence.i
    li      a0, 16
    li      a1, 0
    jalr    ra, 0(s5)
    slli    t0, s6, 4
    sub     t0, t0, a1
    or      s3, s3, t0
    addi    s2, s2, 1
    addi    s4, s4, -1
    bnez    s4, 2b
    li      t0, '.'
    sb      t0, 0(s0)
    j       wait

    .bss
    .balign 4096
code:
    .space  65536
