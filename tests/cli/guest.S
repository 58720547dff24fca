# Bare-metal programs for the tests of the command, one for each macro: END_TEST (what is stored to the test device),
# END_HTIF (what is stored to tohost), POLL (reads a device for ever), FLOOD, COUNT (times
# round a loop), MODIFY (changes a function that ran), PANIC (waits for a byte, then says that it has panicked and of its crash kernel). With GREET the first hart says "hello" first.
    .section .text.start, "ax"
    .globl _start
_start:
#ifdef GREET
#ifdef POLL
    bnez    a0, 2f                  # a0: the hart's number
#else
    bnez    a0, 4f                  # or the machine might end before the first hart has spoken
#endif
    lui     t0, 0x10000             # the serial port
    la      t1, text
1:  lbu     t2, 0(t1)
    beqz    t2, 2f
    sb      t2, 0(t0)
    addi    t1, t1, 1
    j       1b
2:
#endif
#ifdef MISUSE
    lui     t0, 0x10000
    lbu     t1, 0x80(t0)            # no such register
#endif
#ifdef TRAP
    unimp
#endif
#ifdef END_TEST
    lui     t0, 0x100
    li      t1, END_TEST
    sw      t1, 0(t0)
#endif
#ifdef END_HTIF
    la      t0, tohost
    li      t1, END_HTIF
    sd      t1, 0(t0)
#endif
#ifdef FLOOD
    lui     t0, 0x10000
    li      t1, 'x'
3:  sb      t1, 0(t0)
    j       3b
#endif
#ifdef POLL
    lui     t0, 0x10000
3:  lbu     t1, 5(t0)               # the line status: counted, without a word to the console
    j       3b
#endif
#ifdef PANIC
    lui     t0, 0x10000
3:  lbu     t1, 5(t0)
    andi    t1, t1, 1
    beqz    t1, 3b
    lui     t0, 0x105
    lbu     t1, 0(t0)               # what it takes: 3
    sb      t1, 0(t0)
#endif
#ifdef COUNT
    li      t0, COUNT
5:  csrw    mscratch, t0            # for the interpreter alone, so what follows is entered each time round
    addi    t0, t0, -1
    xori    t1, t0, 1
    bnez    t0, 5b
    lui     t0, 0x100
    li      t1, 0x5555
    sw      t1, 0(t0)
#endif
#ifdef MODIFY
    li      s0, 100
6:  jal     changing
    addi    s0, s0, -1
    bnez    s0, 6b
    la      t0, changing
    lw      t1, changed
    sw      t1, 0(t0)
    fence.i
    jal     changing
    lui     t0, 0x100
    li      t1, 0x5555
    sw      t1, 0(t0)
#endif
4:  addi    a2, a2, 1
    j       4b
#ifdef MODIFY
    .option push
    .option norvc
    .balign 4
changing:
    addi    a3, a3, 1
    ret
changed:
    addi    a3, a3, 2
    .option pop
#endif
text:
    .asciz  "hello\n"

#ifdef END_HTIF
    .section .tohost, "aw", @progbits
    .balign 64
    .globl tohost, fromhost
tohost:
    .dword  0
    .balign 64
fromhost:
    .dword  0
#endif
