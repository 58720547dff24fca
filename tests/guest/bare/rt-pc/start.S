# Entry of the PC's bare-metal programs: multiboot (32 bits) to long mode, vectors, ring 3, other processors' start.
    .section .text.start, "ax"
    .code32
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .globl _start
_start:
    mov $rt_tables, %edi            # page tables: rt.c's, zero until now
    lea 4096(%edi), %eax
    or $7, %eax
    mov %eax, (%edi)
    lea 4096(%edi), %ebx
    mov $4, %ecx
    lea 8192 + 7(%edi), %eax
1:  mov %eax, (%ebx)
    add $4096, %eax
    add $8, %ebx
    loop 1b
    lea 8192(%edi), %ebx
    mov $2048, %ecx
    mov $0x87, %eax                 # present, writable, user, 2 MiB
1:  mov %eax, (%ebx)
    add $0x200000, %eax
    add $8, %ebx
    loop 1b
    xor %ebp, %ebp                  # the first processor
enter:
    lgdt gdt_pointer
    mov $rt_tables, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x620, %eax                 # PAE, SSE
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    and $~4, %eax                   # no emulation of the FPU
    or $0x80000003, %eax
    mov %eax, %cr0
    ljmp $0x10, $long_mode

    .code64
long_mode:
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %ebp, %edi
    mov %edi, %eax
    inc %eax
    shl $14, %eax                   # 16 KiB of stack each
    lea rt_stacks(%rax), %rsp
    call rt_begin
1:  hlt
    jmp 1b

# ---- other processors: copied to 0x8000, entered there in real mode ----
    .globl rt_trampoline, rt_trampoline_end
rt_trampoline:
    .code16
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x8000 + (gdt_pointer_low - rt_trampoline)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x08, $secondary
    .balign 8
gdt_pointer_low:
    .word 47
    .long rt_gdt
rt_trampoline_end:

    .code32
secondary:
    mov $0x18, %eax
    mov %eax, %ds
    mov 0xfee00020, %ebp            # the local APIC's number
    shr $24, %ebp
    jmp enter

# ---- descriptors ----
    .data
    .balign 16
    .globl rt_gdt
rt_gdt:
    .quad 0
    .quad 0x00cf9a000000ffff        # 0x08 code, 32 bits
    .quad 0x00af9a000000ffff        # 0x10 code, 64 bits
    .quad 0x00cf92000000ffff        # 0x18 data
    .quad 0x00affa000000ffff        # 0x20 code of ring 3
    .quad 0x00cff2000000ffff        # 0x28 data of ring 3
    .globl rt_gdt_task
rt_gdt_task:
    .quad 0, 0                      # 0x30 the first processor's task segment, rt.c's
    .globl gdt_pointer
gdt_pointer:
    .word . - rt_gdt - 1
    .long rt_gdt
    .long 0

# ---- vectors: 16 bytes each ----
    .code64
    .text
    .balign 16
    .globl rt_vectors
rt_vectors:
vector = 0
    .rept 256
    .balign 16
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
    push $0
    .endif
    push $vector
    jmp common
    vector = vector + 1
    .endr

common:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    mov %rsp, %rdi
    cld
    call rt_vector
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

# ---- uint64_t rt_call(fn, argument, bool user): returns at the end of fn, or when rt_unwind() is called ----
    .globl rt_call
rt_call:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, rt_saved_sp
    mov %rdi, %rax
    mov %rsi, %rdi
    test %edx, %edx
    jnz 1f
    call *%rax
    jmp rt_unwind_now
1:  push $0x2b                      # SS, RSP, RFLAGS, CS, RIP of ring 3
    push $rt_user_stack_top
    push $2
    push $0x23
    push $user_entry
    iretq
user_entry:
    call *%rax
    .globl rt_user_end
rt_user_end:
    ud2                             # the result is in rax

    .globl rt_unwind
rt_unwind:
    mov %rdi, %rax
rt_unwind_now:
    mov rt_saved_sp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .balign 8
rt_saved_sp:
    .quad 0
