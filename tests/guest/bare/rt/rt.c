/* The runtime of the bare-metal programs: report, traps, probes. Hart 0 alone prints. */
#include "rt.h"

enum { STACK_BYTES = 1 << 14 };

struct hart_slot {
    struct hart hart;
    uint8_t pad[1024 - sizeof(struct hart)];
};

_Static_assert(offsetof(struct hart, saved) == 256, "start.S: HART_SAVED");
_Static_assert(offsetof(struct hart, trap_sp) == 368, "start.S: HART_TRAP_SP");
_Static_assert(sizeof(struct hart_slot) == 1024, "start.S: HART_SIZE_SHIFT");

struct hart_slot rt_harts[RT_MAX_HARTS];
uint8_t rt_stacks[RT_MAX_HARTS][STACK_BYTES] __attribute__((aligned(16)));
static uint8_t trap_stacks[RT_MAX_HARTS][STACK_BYTES] __attribute__((aligned(16)));
static uint8_t probe_stacks[RT_MAX_HARTS][STACK_BYTES] __attribute__((aligned(16)));
uint8_t rt_code_buffer[8192] __attribute__((aligned(4096)));

void rt_enter(struct hart *hart, uint64_t mstatus, uint64_t pc, const uint64_t args[4], uint64_t sp, uint64_t ra);
_Noreturn void rt_unwind(struct hart *hart);
void rt_trap_m(struct hart *hart);
void rt_trap_s(struct hart *hart);
void rt_start_hart(uint64_t id, struct hart *self);
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int value, size_t len);
extern char rt_gate[], rt_trap_entry_s[];

/* clang may call these for struct copies. */
void *memcpy(void *to, const void *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *memset(void *to, int value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

struct hart *rt_hart(uint64_t id)
{
    return &rt_harts[id].hart;
}

/* ---- report ---- */

void rt_console_char(char c)
{
    volatile uint8_t *uart = (volatile uint8_t *)RT_UART;
    while (!(uart[5] & 0x20))
        ;
    uart[0] = (uint8_t)c;
}

const char *rt_describe(const struct outcome *outcome, uint64_t base)
{
    static char buffers[4][128];
    static unsigned turn;
    char *buffer = buffers[turn++ % 4];
    int64_t distance = (int64_t)(outcome->epc - base);
    if (outcome->trapped)
        rt_format(buffer, sizeof(buffers[0]), "%c cause=%x tval=%x epc=%s%d", outcome->by, outcome->cause,
                  outcome->tval, distance >= 0 ? "+" : "", distance);
    else
        rt_format(buffer, sizeof(buffers[0]), "ok");
    return buffer;
}

void rt_exit(unsigned code)
{
    *rt_mmio32(0x100000) = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

/* ---- traps ---- */

_Noreturn static void unexpected(struct hart *hart)
{
    rt_print("FAIL unexpected trap: hart=%d cause=%x tval=%x epc=%x", (int64_t)hart->id, rt_csr_read(mcause),
             rt_csr_read(mtval), rt_csr_read(mepc));
    rt_exit(2);
}

static bool at_gate(uint64_t epc)
{
    /* The alias at which U-mode sees the gate differs in the upper bits only. */
    return (epc & 0x3fffffff) == ((uint64_t)rt_gate & 0x3fffffff);
}

void rt_trap_m(struct hart *hart)
{
    uint64_t status = rt_csr_read(mstatus);
    rt_csr_clear(mstatus, MSTATUS_MPRV);
    if (hart->hook && hart->hook(hart, 'M'))
        return;
    if (!hart->probing)
        unexpected(hart);
    struct outcome *out = &hart->outcome;
    uint64_t cause = rt_csr_read(mcause), epc = rt_csr_read(mepc);
    if (!hart->s_took_trap) {
        bool returned = at_gate(epc) && cause >= CAUSE_ECALL_U && cause <= CAUSE_ECALL_M;
        *out = (struct outcome){.trapped = !returned,
                                .by = returned ? '-' : 'M',
                                .cause = cause,
                                .epc = epc,
                                .tval = rt_csr_read(mtval),
                                .status = status,
                                .a0 = hart->x[10],
                                .a1 = hart->x[11]};
    }
    rt_unwind(hart);
}

/* S-mode cannot unwind by itself: it records the trap, then goes through the gate. */
void rt_trap_s(struct hart *hart)
{
    if (hart->hook && hart->hook(hart, 'S'))
        return;
    hart->outcome = (struct outcome){.trapped = true,
                                     .by = 'S',
                                     .cause = rt_csr_read(scause),
                                     .epc = rt_csr_read(sepc),
                                     .tval = rt_csr_read(stval),
                                     .status = rt_csr_read(sstatus),
                                     .a0 = hart->x[10],
                                     .a1 = hart->x[11]};
    hart->s_took_trap = true;
    __asm__ volatile("j rt_gate");
    __builtin_unreachable();
}

/* ---- probes ---- */

struct outcome rt_probe_at(int priv, uint64_t pc, const uint64_t args[4], uint64_t offset)
{
    struct hart *self = rt_self();
    uint64_t mstatus = (rt_csr_read(mstatus) & ~MSTATUS_MPP(3)) | MSTATUS_MPP(priv);
    uint64_t sp = (uint64_t)probe_stacks[self->id] + STACK_BYTES - 64;
    self->probing = true;
    self->s_took_trap = false;
    rt_enter(self, mstatus, pc, args, sp + offset, (uint64_t)rt_gate + offset);
    self->probing = false;
    rt_csr_clear(mstatus, MSTATUS_MIE | MSTATUS_MPIE);
    return self->outcome;
}

struct outcome rt_probe(int priv, uint64_t pc, uint64_t a0, uint64_t a1, uint64_t a2)
{
    uint64_t args[4] = {a0, a1, a2, 0};
    return rt_probe_at(priv, pc, args, 0);
}

uint64_t rt_code(void *at, const uint32_t *insns, size_t count)
{
    volatile uint16_t *parcel = at;
    for (size_t i = 0; i < count; i++) {
        *parcel++ = (uint16_t)insns[i];
        if ((insns[i] & 3) == 3)
            *parcel++ = (uint16_t)(insns[i] >> 16);
    }
    *parcel++ = RT_RET;
    rt_fence_i();
    return (uint64_t)parcel;
}

struct outcome rt_run(int priv, const uint32_t *insns, size_t count, uint64_t a0, uint64_t a1, uint64_t a2)
{
    rt_code(rt_code_buffer, insns, count);
    return rt_probe(priv, (uint64_t)rt_code_buffer, a0, a1, a2);
}

struct outcome rt_run1(int priv, uint32_t insn, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return rt_run(priv, &insn, 1, a0, a1, a2);
}

/* ---- start ---- */

__attribute__((weak)) void bare_secondary(struct hart *self)
{
}

void rt_start_hart(uint64_t id, struct hart *self)
{
    self->id = id;
    self->trap_sp = (uint64_t)trap_stacks[id] + STACK_BYTES;
    rt_csr_write(mscratch, self);
    rt_csr_write(sscratch, self);
    rt_csr_write(stvec, rt_trap_entry_s);
    rt_csr_write(mstatus, MSTATUS_FS(1));
    rt_csr_write(medeleg, 0);
    rt_csr_write(mideleg, 0);
    if (id) {
        bare_secondary(self);
        return;
    }
    bare_main();
    rt_print(rt_failed() ? "end: failed" : "end: passed");
    rt_exit(rt_failed() ? 1 : 0);
}
