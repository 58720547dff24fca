# Reset, trap entry and the doors between privilege modes.
#
# Every hart has a `struct hart` (rt.h); mscratch and sscratch point at it, and tp does in C code. A probe runs at
# a chosen privilege through rt_enter() and comes back in one of two ways: it returns to rt_gate, whose ecall the
# M-mode handler knows, or it traps. Both end in rt_unwind(), which restores what rt_enter() saved, so a probe may leave any register,
# stack pointer included, in any state. Offsets below are checked against the struct in rt.c.

    .equ HART_X, 0          # x[32] as they were when the last trap was taken
    .equ HART_SAVED, 256    # ra, sp, s0..s11 of rt_enter()'s caller
    .equ HART_TRAP_SP, 368
    .equ HART_SIZE_SHIFT, 10
    .equ STACK_SHIFT, 14

    .section .text.start, "ax"
    .globl _start
_start:
    csrr a0, mhartid
    li t0, RT_MAX_HARTS
    bgeu a0, t0, park
    la tp, rt_harts
    slli t0, a0, HART_SIZE_SHIFT
    add tp, tp, t0
    la t0, rt_stacks
    addi t1, a0, 1
    slli t1, t1, STACK_SHIFT
    add sp, t0, t1
    la t0, rt_trap_entry_m
    csrw mtvec, t0
    csrw mie, zero
    csrw satp, zero
    # Without a PMP entry that matches, S- and U-mode may access nothing (Privileged Architecture, section 3.7.1).
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    bnez a0, 2f
    la t0, bss_start
    la t1, bss_end
1:
    bgeu t0, t1, 3f
    sd zero, 0(t0)
    addi t0, t0, 8
    j 1b
3:
    la t0, rt_bss_ready
    li t1, 1
    fence rw, w
    sw t1, 0(t0)
    j 4f
2:
    la t0, rt_bss_ready
5:
    lw t1, 0(t0)
    beqz t1, 5b
    fence r, rw
4:
    mv a1, tp
    call rt_start_hart
park:
    wfi
    j park

# Saves everything in the struct hart that `scratch` holds, calls `handler`(hart) on the hart's trap stack and resumes.
    .macro TRAP_ENTRY scratch, handler, return
    csrrw tp, \scratch, tp
    sd x1, HART_X+8(tp)
    sd x2, HART_X+16(tp)
    sd x3, HART_X+24(tp)
    .irp n, 5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd x\n, HART_X+8*\n(tp)
    .endr
    csrr t0, \scratch
    sd t0, HART_X+32(tp)
    csrw \scratch, tp
    ld sp, HART_TRAP_SP(tp)
    mv a0, tp
    call \handler
    ld x1, HART_X+8(tp)
    ld x2, HART_X+16(tp)
    ld x3, HART_X+24(tp)
    .irp n, 5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld x\n, HART_X+8*\n(tp)
    .endr
    ld tp, HART_X+32(tp)
    \return
    .endm

    .text
    .balign 64
    .globl rt_trap_entry_m
rt_trap_entry_m:
    TRAP_ENTRY mscratch, rt_trap_m, mret

    .balign 64
    .globl rt_trap_entry_s
rt_trap_entry_s:
    TRAP_ENTRY sscratch, rt_trap_s, sret

# void rt_enter(struct hart *hart, uint64_t mstatus, uint64_t pc, const uint64_t args[4], uint64_t sp, uint64_t ra)
    .globl rt_enter
rt_enter:
    sd ra, HART_SAVED(a0)
    sd sp, HART_SAVED+8(a0)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11
    sd s\n, HART_SAVED+16+8*\n(a0)
    .endr
    csrw mstatus, a1
    csrw mepc, a2
    mv t0, a3
    mv sp, a4
    mv ra, a5
    ld a0, 0(t0)
    ld a1, 8(t0)
    ld a2, 16(t0)
    ld a3, 24(t0)
    mret

# void rt_unwind(struct hart *hart): returns from the rt_enter() call that is open on this hart. M-mode only.
    .globl rt_unwind
rt_unwind:
    mv tp, a0
    ld ra, HART_SAVED(a0)
    ld sp, HART_SAVED+8(a0)
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11
    ld s\n, HART_SAVED+16+8*\n(a0)
    .endr
    ret

# Where probes return to.
    .balign 4
    .globl rt_gate
rt_gate:
    ecall
    j rt_gate

    .data
    .balign 4
rt_bss_ready:
    .word 0
