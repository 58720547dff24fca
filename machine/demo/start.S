# Entry in M-mode: a0 is the hart's number, a1 the device tree. The first hart to come gets the machine, the others sleep. The
# flag must not be in .bss, which the first hart clears while the others look.

    .section .text.start, "ax"
    .globl _start
_start:
    csrw    mie, zero
    la      t0, first_come
    li      t1, 1
    amoadd.w.aqrl t1, t1, (t0)
    bnez    t1, sleep

    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b
2:  la      sp, stack_top
    la      t0, trap
    csrw    mtvec, t0
    li      t0, 1 << 13             # mstatus.FS = Initial: floating point on
    csrs    mstatus, t0
    fscsr   zero
    call    demo_main               # (hart, device tree); does not come back

sleep:
    wfi
    j       sleep

# Nothing here traps unless something is broken: report it and power off with a failure.
    .balign 4
trap:
    la      sp, stack_top
    csrr    a0, mcause
    csrr    a1, mepc
    csrr    a2, mtval
    call    demo_trap
    j       sleep

    .section .data
    .balign 4
first_come:
    .word   0
