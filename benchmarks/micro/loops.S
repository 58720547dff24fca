# The guest code that the micro-benchmark runs: endless loops, each of one kind of instruction.
#
# Linked at the start of RAM as a flat image: first the table below (name of 16 bytes, address of the loop's first
# instruction, address behind its last; the one without a name is the trap handler), then the loops. On entry the hart is in M-mode, a0 is the address of zeroed
# RAM of 2 MiB, sp is the end of it, floating point is on. A loop adds 1 to s11 each time round, never leaves its addresses
# except by calls into the functions beside it, and never traps.

.macro entry name, label
1:  .ascii "\name"
    .zero 16 - (. - 1b)
    .quad \label
    .quad \label\()_end
.endm

    .section .text
    .globl _start
_start:
    entry "alu", loop_alu
    entry "alu_chain", loop_alu_chain
    entry "word", loop_word
    entry "multiply", loop_multiply
    entry "divide", loop_divide
    entry "load_store", loop_load_store
    entry "load_pages", loop_load_pages
    entry "misaligned", loop_misaligned
    entry "branches", loop_branches
    entry "unpredictable", loop_unpredictable
    entry "calls", loop_calls
    entry "indirect", loop_indirect
    entry "atomics", loop_atomics
    entry "csr", loop_csr
    entry "float", loop_float
    entry "float_single", loop_float_single
    entry "float_divide", loop_float_divide
    entry "straight", loop_straight
    entry "", trapped

# Where a trap goes, and stays: outside every loop.
    .balign 64
trapped:
    j    trapped
trapped_end:

# Independent integer operations, compressed and not, in long blocks.
    .balign 64
loop_alu:
    .rept 4
    add  t0, t0, a1
    xor  t1, t1, a2
    sub  t2, t2, a1
    and  t3, t0, t1
    slli t4, t0, 3
    or   t5, t3, t2
    addi t6, t6, 17
    sltu a3, t0, t1
    .endr
    addi s11, s11, 1
    j    loop_alu
loop_alu_end:

# Each operation needs the one before.
    .balign 64
loop_alu_chain:
    .rept 8
    addi t0, t0, 5
    slli t1, t0, 1
    xor  t0, t1, t0
    srli t0, t0, 2
    .endr
    addi s11, s11, 1
    j    loop_alu_chain
loop_alu_chain_end:

# 32-bit operations, as C's int gives them.
    .balign 64
loop_word:
    .rept 8
    addw  t0, t0, a1
    slliw t1, t0, 2
    subw  t2, t1, t0
    sext.w t3, t2
    .endr
    addi s11, s11, 1
    j    loop_word
loop_word_end:

    .balign 64
loop_multiply:
    li   a1, 0x12345
    .rept 8
    mul  t0, t0, a1
    addi t0, t0, 7
    mulhu t1, t0, a1
    mulw t2, t1, a1
    .endr
    addi s11, s11, 1
    j    loop_multiply
loop_multiply_end:

    .balign 64
loop_divide:
    li   a1, 10
    addi t0, s11, 1000
    .rept 8
    divu t1, t0, a1
    remu t2, t0, a1
    addi t0, t0, 3
    .endr
    addi s11, s11, 1
    j    loop_divide
loop_divide_end:

# Loads and stores that stay in one page.
    .balign 64
loop_load_store:
    .rept 4
    ld   t0, 0(a0)
    lw   t1, 16(a0)
    addi t0, t0, 1
    sd   t0, 8(a0)
    lbu  t2, 33(a0)
    sw   t1, 20(a0)
    lhu  t3, 40(a0)
    sb   t2, 34(a0)
    .endr
    addi s11, s11, 1
    j    loop_load_store
loop_load_store_end:

# A load in each page of 1 MiB in turn, then again.
    .balign 64
loop_load_pages:
    li   t2, 1
    slli t2, t2, 20
    addi t2, t2, -1
    .rept 8
    and  t1, t0, t2
    add  t1, t1, a0
    ld   t3, 0(t1)
    li   t4, 4096 + 64
    add  t0, t0, t4
    .endr
    addi s11, s11, 1
    j    loop_load_pages
loop_load_pages_end:

# Accesses inside a page that are not multiples of their size.
    .balign 64
loop_misaligned:
    .rept 8
    ld   t0, 3(a0)
    addi t0, t0, 1
    sd   t0, 13(a0)
    lw   t1, 22(a0)
    .endr
    addi s11, s11, 1
    j    loop_misaligned
loop_misaligned_end:

# Short blocks whose branches always go the same way.
    .balign 64
loop_branches:
    .rept 8
    addi t0, t0, 1
    bnez t0, 1f
    addi t1, t1, 1
1:  addi t2, t2, 1
    beqz t0, 2f
    addi t3, t3, 1
2:
    .endr
    addi s11, s11, 1
    j    loop_branches
loop_branches_end:

# Branches on the bits of a pseudo-random number.
    .balign 64
loop_unpredictable:
    beqz t0, 9f
8:  slli t1, t0, 13
    xor  t0, t0, t1
    srli t1, t0, 7
    xor  t0, t0, t1
    slli t1, t0, 17
    xor  t0, t0, t1
    .irp bit, 3, 11, 19, 23, 31, 37, 41, 53
    srli t1, t0, \bit
    andi t1, t1, 1
    beqz t1, 1f
    addi t2, t2, 1
1:
    .endr
    addi s11, s11, 1
    j    loop_unpredictable
9:  li   t0, 88172645
    j    8b
loop_unpredictable_end:

# Direct calls and returns, two deep.
    .balign 64
loop_calls:
    .rept 4
    call function_outer
    .endr
    addi s11, s11, 1
    j    loop_calls
function_outer:
    addi sp, sp, -16
    sd   ra, 8(sp)
    call function_inner
    ld   ra, 8(sp)
    addi sp, sp, 16
    ret
function_inner:
    addi t0, t0, 1
    ret
loop_calls_end:

# Indirect jumps to eight targets in turn, from one place.
    .balign 64
loop_indirect:
    la   t4, targets
5:  andi t1, s11, 7
    slli t1, t1, 4
    add  t1, t1, t4
    addi s11, s11, 1
    jr   t1
    .balign 16
    .option push
    .option norvc
targets:
    .rept 8
    addi t0, t0, 1
    xor  t2, t2, t0
    j    5b
    nop
    .endr
    .option pop
loop_indirect_end:

    .balign 64
loop_atomics:
    .rept 4
    amoadd.d t0, t1, (a0)
    amoor.w  t0, t1, (a0)
1:  lr.d t2, (a0)
    addi t2, t2, 1
    sc.d t3, t2, (a0)
    bnez t3, 1b
    .endr
    addi s11, s11, 1
    j    loop_atomics
loop_atomics_end:

# CSR accesses that change nothing the translation depends on.
    .balign 64
loop_csr:
    .rept 8
    csrr t0, mscratch
    addi t0, t0, 1
    csrw mscratch, t0
    csrr t1, minstret
    .endr
    addi s11, s11, 1
    j    loop_csr
loop_csr_end:

# Double precision: four chains of multiply, add and fused operations on values that stay finite and inexact.
    .balign 64
loop_float:
    li   t0, 3
    fcvt.d.l ft8, t0
    li   t0, 1
    fcvt.d.l ft9, t0
    fdiv.d ft9, ft9, ft8
    .rept 4
    fmul.d  ft0, ft0, ft9
    fadd.d  ft0, ft0, ft8
    fmadd.d ft1, ft1, ft9, ft8
    fsub.d  ft2, ft0, ft1
    fmul.d  ft3, ft2, ft9
    fadd.d  ft4, ft3, ft0
    fsd     ft4, 64(a0)
    fld     ft5, 72(a0)
    .endr
    addi s11, s11, 1
    j    loop_float
loop_float_end:

    .balign 64
loop_float_single:
    li   t0, 3
    fcvt.s.l ft8, t0
    li   t0, 1
    fcvt.s.l ft9, t0
    fdiv.s ft9, ft9, ft8
    .rept 4
    fmul.s  ft0, ft0, ft9
    fadd.s  ft0, ft0, ft8
    fmadd.s ft1, ft1, ft9, ft8
    fsub.s  ft2, ft0, ft1
    fmul.s  ft3, ft2, ft9
    fadd.s  ft4, ft3, ft0
    fsw     ft4, 64(a0)
    flw     ft5, 72(a0)
    .endr
    addi s11, s11, 1
    j    loop_float_single
loop_float_single_end:

# Divisions, roots, comparisons and conversions.
    .balign 64
loop_float_divide:
    addi t0, s11, 3
    fcvt.d.l ft8, t0
    .rept 4
    fsqrt.d ft0, ft8
    fdiv.d  ft1, ft8, ft0
    flt.d   t1, ft1, ft0
    fcvt.w.d t2, ft1, rtz
    fsgnjn.d ft2, ft1, ft0
    fadd.d  ft8, ft1, ft0
    .endr
    addi s11, s11, 1
    j    loop_float_divide
loop_float_divide_end:

# 2,048 short blocks in a row: what a code cache and a jump cache have to hold. The decoding cost is measured on this one, as
# the difference between the first time round and the next.
    .balign 64
loop_straight:
    addi s11, s11, 1
    .rept 2048
    addi t0, t0, 1
    ld   t1, 0(a0)
    add  t2, t2, t1
    slli t3, t2, 2
    xor  t4, t3, t0
    bnez t0, 1f
    nop
1:
    .endr
    j    loop_straight
loop_straight_end:
