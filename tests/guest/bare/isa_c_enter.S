# isa_c_enter: loads all integer and floating-point registers from the table in a0 (x1..x31, then f0..f31; eight bytes each,
# x0's place unused) and jumps to isa_c_slot, which the case has filled.
    .text
    .globl isa_c_enter
isa_c_enter:
    mv x31, a0
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    fld f\n, 256+8*\n(x31)
    .endr
    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    ld x\n, 8*\n(x31)
    .endr
    ld x31, 248(x31)
    j isa_c_slot

# void isa_c_store_f(uint64_t f[32])
    .globl isa_c_store_f
isa_c_store_f:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    fsd f\n, 8*\n(a0)
    .endr
    ret

# The code around the slot is all c.ebreak, so that wherever a jump or branch leads, it ends there.
    .data
    .balign 4096
    .globl isa_c_page, isa_c_slot
isa_c_page:
    .fill 4096, 2, 0x9002
    .set isa_c_slot, isa_c_page + 4096
