/* The slow instances of the semantic bodies as calls from compiled regions: what a TLB miss, a misaligned address or an
 * odd rounding mode comes to. What would trap or access a device is refused, before it has changed anything: the region
 * goes back to where its state is known, and the interpreter comes to the same instruction. */
/* Before the bodies: it governs what follows it. */
#pragma STDC FENV_ACCESS ON

#include "engine/region/installed.h"
#include "engine/region/mirrored.h"
#include "engine/region/policy.h"

#include <string.h>

#include "engine/isa/riscv/sem_crypto.h"
#include "engine/isa/riscv/sem_fp.h"
#include "engine/isa/riscv/sem_int.h"
#include "engine/isa/riscv/sem_mem.h"
#include "engine/isa/riscv/sem_sys.h"

typedef enum sem_next slow_fn(struct hart *h, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, uint64_t pc,
                              uint64_t npc);

#define INSN(id, ...)                                                                                                 \
    static enum sem_next slow_##id(struct hart *h, unsigned rd, unsigned rs1, unsigned rs2, int64_t imm, uint64_t pc, \
                                   uint64_t npc)                                                                      \
    {                                                                                                                 \
        return sem_##id(h, &h->r, rd, rs1, rs2, imm, pc, npc, 0, true);                                               \
    }
#include "engine/isa/riscv/rows.def"

/* Fast instances for loads and stores, which look into the software TLB: what a region that reaches memory through a
 * mirror comes to where there is none. Each keeps what it uses of the host's registers, some tens of instructions less
 * than the thunk below. */
typedef PRESERVE_ALL uint64_t quick_fn(struct hart *h, uint64_t place, uint64_t numbers, uint64_t base);

#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax)                                            \
    PRESERVE_ALL static uint64_t quick_##id(struct hart *h, uint64_t place, uint64_t numbers, uint64_t base)     \
    {                                                                                                            \
        uint64_t pc = base + (uint64_t)((int64_t)numbers >> 32);                                                 \
        if (!((effects) & (RV_LOAD | RV_STORE)))                                                                 \
            return SEM_MISS;                                                                                     \
        return sem_##id(h, &h->r, place >> 16 & 255, place >> 24 & 255, place >> 32 & 255, (int32_t)numbers, pc, \
                        pc + (place >> 40 & 255), 0, false);                                                     \
    }
#include "engine/isa/riscv/rows.def"

static quick_fn *const quick_bodies[RV_SEM_COUNT] = {
#define INSN(id, mnemonic, format, match, mask, isa, effects, syntax) \
    [RV_SEM_##id] = (effects) & (RV_LOAD | RV_STORE) && !((effects) & RV_ATOMIC) ? quick_##id : NULL,
#include "engine/isa/riscv/rows.def"
};

/* What the thunks below saved of the host's registers, general ones in DWARF order. */
struct frame {
    uint64_t general[16];
    uint64_t vector[16][4];
    uint64_t return_address;
};
_Static_assert(offsetof(struct frame, vector) == 128 && offsetof(struct frame, return_address) == 640,
               "known to thunks");

enum { DWARF_XMM0 = 17 };

static uint64_t value_of(const struct frame *frame, const struct region_value *value)
{
    if (value->place == REGION_CONSTANT)
        return (uint64_t)value->number;
    uint64_t host = value->host < DWARF_XMM0 ? frame->general[value->host] : frame->vector[value->host - DWARF_XMM0][0];
    if (value->place == REGION_IN_MEMORY)
        memcpy(&host, (const void *)(host + (uint64_t)value->number), sizeof(host));
    return host;
}

static const struct region_exit *find_exit(const struct region *r, uint32_t offset)
{
    uint32_t low = 0;
    uint32_t high = r->exit_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (r->exits[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return &r->exits[low];
}

static void bring_up_to_date(struct hart *h, const struct block *block, const struct frame *frame)
{
    const struct region *r = block->use->region;

    if (!r->exit_count)
        return;
    const struct region_exit *exit = find_exit(r, (uint32_t)(frame->return_address - (uint64_t)r->code));
    const struct region_value *value = &r->values[exit->first_value];

    for (uint32_t x = exit->x; x; x &= x - 1)
        h->r.x[__builtin_ctz(x)] = value_of(frame, value++);
    for (uint32_t f = exit->f; f; f &= f - 1)
        h->r.f[__builtin_ctz(f)] = value_of(frame, value++);
}

__attribute__((used)) static uint64_t slow_call(struct hart *h, uint64_t place, uint64_t numbers, uint64_t base)
{
    static slow_fn *const bodies[RV_SEM_COUNT] = {
#define INSN(id, ...) [RV_SEM_##id] = slow_##id,
#include "engine/isa/riscv/rows.def"
    };

    int64_t imm = (int32_t)numbers;
    uint64_t pc = base + (uint64_t)((int64_t)numbers >> 32);

    bool mirrored = quick_bodies[place & 0xffff] != NULL;
    uint64_t gva = h->r.x[place >> 24 & 31] + (uint64_t)imm;
    if (h->mirror_wanted && h->bank->mirror_wanted >= h->mirror_wanted)
        mirrored_start(h);
    h->ram_only = true;
    enum sem_next next = bodies[place & 0xffff](h, place >> 16 & 255, place >> 24 & 255, place >> 32 & 255, imm, pc,
                                                pc + (place >> 40 & 255));
    h->ram_only = false;
    if (next == SEM_NEXT && mirrored && h->mirror_limit)
        mirrored_touched(h, gva, rv_sem_effects(place & 0xffff) & RV_STORE);
    return next;
}

__attribute__((used)) static uint64_t exit_call(struct hart *h, uint32_t left, uint64_t base, uint64_t offset,
                                                struct block *block, const struct frame *frame)
{
    bring_up_to_date(h, block, frame);
    atomic_store_explicit(&h->countdown.insns, left, memory_order_relaxed);
    h->pc = base + offset;
    if (atomic_load_explicit(&h->countdown.attention, memory_order_relaxed))
        region_sampled(h, block);
    return SEM_NEXT;
}

/* Saves everything in a struct frame (r11, which the convention leaves out, is on the stack: it may hold a register of
 * the guest's), calls what r11 says with the frame's address as the sixth argument, and puts everything back but for
 * rax, the result. */
__asm__(".text\n.type region_thunk,@function\nregion_thunk:\n"
        "push %rbp\n mov %rsp, %rbp\n sub $672, %rsp\n and $-32, %rsp\n"
        "mov %rax, (%rsp)\n mov %rdx, 8(%rsp)\n mov %rcx, 16(%rsp)\n mov %rbx, 24(%rsp)\n mov %rsi, 32(%rsp)\n"
        "mov %rdi, 40(%rsp)\n mov %r8, 64(%rsp)\n mov %r9, 72(%rsp)\n mov %r10, 80(%rsp)\n"
        "mov %r12, 96(%rsp)\n mov %r13, 104(%rsp)\n mov %r14, 112(%rsp)\n mov %r15, 120(%rsp)\n"
        "mov (%rbp), %rax\n mov %rax, 48(%rsp)\n lea 24(%rbp), %rax\n mov %rax, 56(%rsp)\n"
        "mov 8(%rbp), %rax\n mov %rax, 88(%rsp)\n mov 16(%rbp), %rax\n mov %rax, 640(%rsp)\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n vmovaps %ymm\\n, 128 + 32 * \\n(%rsp)\n.endr\n"
        "mov %rsp, %r9\n call *%r11\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n vmovaps 128 + 32 * \\n(%rsp), %ymm\\n\n.endr\n"
        "mov 8(%rsp), %rdx\n mov 16(%rsp), %rcx\n mov 24(%rsp), %rbx\n mov 32(%rsp), %rsi\n"
        "mov 40(%rsp), %rdi\n mov 64(%rsp), %r8\n mov 72(%rsp), %r9\n mov 80(%rsp), %r10\n"
        "mov 96(%rsp), %r12\n mov 104(%rsp), %r13\n mov 112(%rsp), %r14\n mov 120(%rsp), %r15\n"
        "mov %rbp, %rsp\n pop %rbp\n pop %r11\n ret\n.size region_thunk, .-region_thunk\n");

#define THUNK(name, callee)                                                    \
    __asm__(".text\n.globl " #name "\n.type " #name ",@function\n" #name ":\n" \
            "push %r11\n lea " #callee "(%rip), %r11\n jmp region_thunk\n.size " #name ", .-" #name "\n")

THUNK(region_slow_body, slow_call);
THUNK(region_exit, exit_call);

PRESERVE_ALL uint64_t region_slow_body(struct hart *h, uint64_t place, uint64_t numbers, uint64_t base);

PRESERVE_ALL uint64_t region_slow(struct hart *h, uint64_t place, uint64_t numbers, uint64_t base)
{
    quick_fn *quick = quick_bodies[place & 0xffff];

    /* Below the limit it was a fault: the page is to be mapped, or cannot be. */
    if (quick && h->r.x[place >> 24 & 31] >= h->mirror_limit && h->bank->mirror_wanted < h->mirror_wanted) {
        h->bank->mirror_wanted++;
        if (quick(h, place, numbers, base) == SEM_NEXT)
            return SEM_NEXT;
    }
    return region_slow_body(h, place, numbers, base);
}

PRESERVE_ALL bool region_reach(struct hart *h, uint64_t gva, uint64_t what)
{
    const struct tlb_entry *entry = &h->bank->entries[tlb_index(gva)];
    uint64_t tag = what >> 8 & 1 ? entry->tag_write : entry->tag_read;

    if ((gva & (TLB_PAGE_MASK | ((what & 255) - 1))) != tag)
        return false;
    h->base_page[what >> 16] = *entry;
    return true;
}

PRESERVE_ALL int32_t region_poll(struct hart *h, int32_t left, int32_t reserve)
{
    int32_t whole = left + (int32_t)h->region_rest;
    uint32_t attention = atomic_load_explicit(&h->countdown.attention, memory_order_relaxed);

    if (whole < reserve || (int32_t)attention < 0)
        return left;
    left = (whole < REGION_POLL_INSNS ? whole : REGION_POLL_INSNS) - reserve;
    h->region_rest = (uint32_t)(whole - left);
    return left;
}

PRESERVE_ALL void region_forget_pages(struct hart *h)
{
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(h->base_page); i++)
        h->base_page[i].tag_read = h->base_page[i].tag_write = TLB_TAG_NONE;
    h->base_page_stamp = h->bank->stamp;
}
