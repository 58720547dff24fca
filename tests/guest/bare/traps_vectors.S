# A vector table whose base entry is right and whose other entries report failure (a jump to address 0, which faults fatally).
    .text
    .balign 256
    .globl traps_vector_table
traps_vector_table:
    j rt_trap_entry_m
    .rept 31
    jr zero
    .endr
