# A bare-metal program for --verify: of everything that a compiled region does a little, in loops, and the same in each run. Its exit
# code is a checksum of what it computed. One hart.
    .section .text.start, "ax"
    .globl _start
_start:
    la      t0, trap
    csrw    mtvec, t0
    li      t0, 1 << 13
    csrs    mstatus, t0             # floating point on
    la      s0, area
    li      s1, 1                   # the checksum
    li      s2, 60                  # rounds
    li      s3, 0                   # what traps have added
    li      t0, 3
    fcvt.d.l fs1, t0

round:
    mv      t0, s0                  # stores of every size over three pages
    li      t1, 0x2fd0
    add     t1, t1, s0
1:  sd      s1, 0(t0)
    sw      s1, 10(t0)              # misaligned
    sh      t0, 20(t0)
    sb      s1, 23(t0)
    ld      t2, 16(t0)
    slli    t3, s1, 5
    xor     s1, s1, t2
    add     s1, s1, t3
    addi    t0, t0, 168
    bltu    t0, t1, 1b

    li      t0, 0xffd               # accesses that cross a page
    add     t0, t0, s0
    sd      s1, 0(t0)
    lw      t1, 1(t0)
    lhu     t2, 2(t0)
    add     s1, s1, t1
    xor     s1, s1, t2

    srli    t0, s1, 20              # floating point, with its flags
    fcvt.d.l fa0, t0
    fdiv.d  fa1, fa0, fs1
    fsqrt.d fa2, fa0
    fmadd.d fa3, fa1, fa2, fs1
    fcvt.s.d fa4, fa3
    fsd     fa3, 64(s0)
    fsw     fa4, 76(s0)
    fcvt.l.d t1, fa3, rtz
    fcvt.l.d t2, fa3, rup
    flt.d   t3, fa1, fa2
    add     s1, s1, t1
    xor     s1, s1, t2
    add     s1, s1, t3
    fmv.x.d t1, fa3
    xor     s1, s1, t1

    addi    t0, s0, 512             # atomics
    amoadd.d t1, s1, (t0)
    amomaxu.w t2, s1, (t0)
2:  lr.d    t3, (t0)
    add     t3, t3, t2
    sc.d    t4, t3, (t0)
    bnez    t4, 2b
    xor     s1, s1, t3

    call    twice                   # a call and a return
    addi    t0, s0, 513
    amoadd.w t1, s1, (t0)           # misaligned: traps
    li      t0, 8
    .option push
    .option norvc
    ld      t1, 0(t0)               # nothing is there: traps
    .option pop
    add     s1, s1, s3

    lui     t0, 0x10000             # a device: the serial port's line status
    lbu     t1, 5(t0)
    add     s1, s1, t1
    addi    s2, s2, -1
    bnez    s2, round

    li      t0, 100000              # a loop that is longer than a stretch
3:  slli    t1, s1, 13
    xor     s1, s1, t1
    srli    t1, s1, 7
    xor     s1, s1, t1
    addi    t0, t0, -1
    bnez    t0, 3b

    csrr    t0, fflags
    add     s1, s1, t0
    srli    t0, s1, 32
    xor     s1, s1, t0
    srli    t0, s1, 16
    xor     s1, s1, t0
    andi    s1, s1, 0x3f
    ori     s1, s1, 1
    slli    s1, s1, 16
    li      t1, 0x3333
    or      t1, t1, s1
    lui     t0, 0x100               # the test device
    sw      t1, 0(t0)
4:  j       4b

twice:
    slli    t0, s1, 1
    xor     s1, s1, t0
    ret

    .balign 4
trap:                               # counts the cause and goes on behind the instruction, of four bytes
    csrr    t5, mcause
    add     s3, s3, t5
    csrr    t5, mtval
    add     s3, s3, t5
    csrr    t5, mepc
    addi    t5, t5, 4
    csrw    mepc, t5
    mret

    .section .tohost, "aw", @progbits
    .balign 4096
area:
    .zero   0x4000
