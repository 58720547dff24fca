# Vector tables for M- and S-mode whose entries note their number in hart->note[0] (offset below, checked in interrupts.c) and go on
# to the ordinary trap entry.
    .equ NOTE, 456

    .macro SLOT number, scratch, entry
    .option push
    .option norvc
    j vec_\scratch\number
    .option pop
    .endm

    .macro BODY number, scratch, entry
vec_\scratch\number:
    csrrw tp, \scratch, tp
    sd t0, NOTE+8(tp)
    li t0, \number
    sd t0, NOTE(tp)
    ld t0, NOTE+8(tp)
    csrrw tp, \scratch, tp
    j \entry
    .endm

    .macro TABLE name, scratch, entry
    .balign 256
    .globl \name
\name:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    SLOT \n, \scratch, \entry
    .endr
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    BODY \n, \scratch, \entry
    .endr
    .endm

    .text
    TABLE interrupts_vectors_m, mscratch, rt_trap_entry_m
    TABLE interrupts_vectors_s, sscratch, rt_trap_entry_s
