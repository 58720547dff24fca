/* Several harts: atomics that add up, LR/SC with ABA, interrupts between harts, and remote effects of FENCE.I and
 * SFENCE.VMA. Unprivileged ISA, chapters 13 (A) and 6 (Zifencei); Privileged Architecture 1.13, section 12.2.1.
 *
 * Hart 0 drives: it gives every hart a job, waits for all, prints. Counts depend on the number of harts, which
 * is part of the report.
 */
#include "rt.h"

enum { LOOPS = 20000 };
#define MIX 0x9e3779b97f4a7c15ull

typedef void (*job_fn)(uint64_t id);
static volatile job_fn job;
static volatile uint64_t finished, present;
static volatile uint64_t shared[64] __attribute__((aligned(512)));
static uint64_t harts;

static uint64_t atomic_add(volatile uint64_t *at, uint64_t value)
{
    return __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
}

static uint64_t load(const volatile uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(volatile uint64_t *at, uint64_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* The doorbell is the hart's software interrupt, disabled globally: it sleeps until there is work. */
void bare_secondary(struct hart *self)
{
    atomic_add(&present, 1);
    for (;;) {
        rt_csr_set(mie, 1 << 3);
        while (!(*rt_mmio32(RT_MSIP(self->id)) & 1))
            __asm__ volatile("wfi" ::: "memory");
        *rt_mmio32(RT_MSIP(self->id)) = 0;
        job(self->id);
        atomic_add(&finished, 1);
    }
}

static void on_all(job_fn what)
{
    store(&finished, 0);
    job = what;
    __asm__ volatile("fence rw, rw; fence w, o" ::: "memory");
    for (uint64_t i = 1; i < harts; i++)
        *rt_mmio32(RT_MSIP(i)) = 1;
    /* A job may use the same interrupt: all have taken this one before hart 0 begins. */
    for (uint64_t i = 1; i < harts; i++)
        while (*rt_mmio32(RT_MSIP(i)) & 1)
            ;
    what(0);
    while (load(&finished) != harts - 1)
        ;
}

/* Harts 0 and 1 go at once. */
static volatile uint64_t gathered;
static void gather(void)
{
    uint64_t all = (atomic_add(&gathered, 1) / 2 + 1) * 2;
    while (load(&gathered) < all)
        ;
}

/* ---- atomics ---- */

static void job_amoadd(uint64_t id)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        __asm__ volatile("amoadd.d x0, %1, (%0)" ::"r"(&shared[0]), "r"(1ull) : "memory");
        __asm__ volatile("amoadd.w x0, %1, (%0)" ::"r"(&shared[8]), "r"(1ull) : "memory");
        /* Two halves of one doubleword, by different harts. */
        __asm__ volatile("amoadd.w x0, %1, (%0)" ::"r"((uint64_t)&shared[16] + 4 * (id & 1)), "r"(1ull) : "memory");
    }
}

static void job_minmax(uint64_t id)
{
    for (uint64_t i = 0; i < LOOPS; i++) {
        uint64_t value = i * harts + id;
        __asm__ volatile("amomaxu.d x0, %1, (%0)" ::"r"(&shared[0]), "r"(value) : "memory");
        __asm__ volatile("amominu.d x0, %1, (%0)" ::"r"(&shared[8]), "r"(~value) : "memory");
        __asm__ volatile("amoxor.d x0, %1, (%0)" ::"r"(&shared[16]), "r"(value * MIX) : "memory");
        __asm__ volatile("amoor.w x0, %1, (%0)" ::"r"(&shared[24]), "r"(1ull << value % 31) : "memory");
    }
}

/* A swap lock protects a plain counter. */
static void job_swap_lock(uint64_t id)
{
    for (unsigned i = 0; i < LOOPS / 4; i++) {
        uint64_t old;
        do
            __asm__ volatile("amoswap.d.aq %0, %2, (%1)" : "=r"(old) : "r"(&shared[0]), "r"(1ull) : "memory");
        while (old);
        shared[8] = shared[8] + 1;
        __asm__ volatile("amoswap.d.rl x0, x0, (%0)" ::"r"(&shared[0]) : "memory");
    }
}

/* LR/SC increments of 32 and 64 bits. */
static void job_lrsc(uint64_t id)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        uint64_t value, failed;
        __asm__ volatile("1: lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                         : "=&r"(value), "=&r"(failed)
                         : "r"(&shared[0])
                         : "memory");
        __asm__ volatile("1: lr.w.aq %0, (%2)\n addi %0, %0, 1\n sc.w.rl %1, %0, (%2)\n bnez %1, 1b"
                         : "=&r"(value), "=&r"(failed)
                         : "r"(&shared[8])
                         : "memory");
    }
}

/* Zacas and Zabha by number: the assembler need not know them. funct3 says how wide. */
#define CAS(width, old, new, at) \
    __asm__ volatile(".insn r 0x2f, " #width ", 0x14, %0, %2, %1" : "+r"(old) : "r"(new), "r"(at) : "memory")

/* Counting by compare-and-swap: 32, 64 and 16 bits; two halves of 128 bits that belong together; and bytes that are
 * neighbours. */
static void job_cas(uint64_t id)
{
    for (unsigned i = 0; i < LOOPS / 4; i++) {
        uint64_t seen, old;
        do {
            old = seen = shared[0];
            CAS(3, old, seen + 1, &shared[0]);
        } while (old != seen);
        do {
            old = seen = (uint64_t)(int32_t)shared[8];
            CAS(2, old, seen + 1, &shared[8]);
        } while (old != seen);
        do {
            old = seen = (uint64_t)(int16_t)shared[8 + 1];
            CAS(1, old, seen + 1, &shared[8 + 1]);
        } while (old != seen);
        register uint64_t low __asm__("a4") = shared[16], high __asm__("a5") = shared[17];
        do {
            register uint64_t new_low __asm__("a6") = low + 1, new_high __asm__("a7") = high + MIX;
            seen = low;
            old = high;
            __asm__ volatile(".insn r 0x2f, 4, 0x14, %0, %4, %2"
                             : "+r"(low), "+r"(high)
                             : "r"(new_low), "r"(new_high), "r"(&shared[16])
                             : "memory");
        } while (low != seen || high != old);
        __asm__ volatile(".insn r 0x2f, 0, 0, x0, %0, %1" ::"r"((uint8_t *)&shared[24] + id), "r"(1ull) : "memory");
        __asm__ volatile(".insn r 0x2f, 1, 0, x0, %0, %1" ::"r"(&shared[26]), "r"(3ull) : "memory");
    }
}

/* LR/SC against AMOs and plain stores to the same granule's other words: every update counts. */
static void job_mixed(uint64_t id)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        uint64_t value, failed;
        if (id & 1)
            __asm__ volatile("1: lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                             : "=&r"(value), "=&r"(failed)
                             : "r"(&shared[0])
                             : "memory");
        else
            __asm__ volatile("amoadd.d x0, %1, (%0)" ::"r"(&shared[0]), "r"(1ull) : "memory");
        shared[1 + id] = i;
    }
}

static void counters(void)
{
    on_all(job_amoadd);
    rt_print("amoadd: %d %d %d", shared[0], shared[8], (shared[16] & 0xffffffff) + (shared[16] >> 32));
    rt_expect(shared[0] == harts * LOOPS && shared[8] == harts * LOOPS &&
                  (shared[16] & 0xffffffff) + (shared[16] >> 32) == harts * LOOPS,
              "amoadd");
    shared[0] = 0;
    shared[8] = -1ull;
    shared[16] = shared[24] = 0;
    on_all(job_minmax);
    uint64_t top = harts * LOOPS - 1, parity = 0;
    for (uint64_t i = 0; i <= top; i++)
        parity ^= i * MIX;
    rt_print("minmax: %x %x %x %x", shared[0], ~shared[8], shared[16], shared[24]);
    rt_expect(shared[0] == top && ~shared[8] == top && shared[16] == parity && shared[24] == 0x7fffffff, "minmax");
    shared[0] = shared[8] = 0;
    on_all(job_swap_lock);
    rt_print("swap_lock: %d", shared[8]);
    rt_expect(shared[8] == harts * (LOOPS / 4), "swap_lock");
    shared[0] = shared[8] = 0;
    on_all(job_lrsc);
    rt_print("lrsc: %d %d", shared[0], shared[8]);
    rt_expect(shared[0] == harts * LOOPS && shared[8] == harts * LOOPS, "lrsc");
    for (unsigned i = 0; i < 32; i++)
        shared[i] = 0;
    on_all(job_cas);
    uint64_t rounds = harts * (LOOPS / 4), bytes = 0;
    for (uint64_t i = 0; i < harts; i++)
        bytes |= (uint64_t)(LOOPS / 4 & 255) << 8 * i;
    rt_print("cas: %d %d %x %d %x %x %x", shared[0], shared[8], shared[9], shared[16], shared[17], shared[24],
             shared[26]);
    rt_expect(shared[0] == rounds && shared[8] == (uint32_t)rounds && shared[9] == (rounds & 0xffff) &&
                  shared[16] == rounds && shared[17] == rounds * MIX && shared[24] == bytes &&
                  shared[26] == (3 * rounds & 0xffff),
              "cas");
    shared[0] = 0;
    on_all(job_mixed);
    rt_print("mixed: %d", shared[0]);
    rt_expect(shared[0] == harts * LOOPS, "mixed");
}

/* ---- reservations ---- */

/* What another hart does between LR and SC of hart 0; `step` hands over without touching the granule. */
static volatile uint64_t step, interference;
enum {
    NONE,
    STORE_OTHER,
    STORE_SAME,
    STORE_AND_BACK,
    AMO_ZERO,
    SC_SAME,
    STORE_HALF,
    ZERO_BLOCK,
    CAS_FAILS,
    CAS_SAME,
    NEIGHBOUR_GRANULE
};
static const char *const interference_name[] = {"none",      "store_other", "store_same", "aba",
                                                "amo_add_0", "sc_same",     "store_half", "zero_block",
                                                "cas_fails", "cas_same",    "elsewhere"};

static void job_interfere(uint64_t id)
{
    if (id != 1)
        return;
    while (load(&step) != 1)
        ;
    uint64_t value, failed;
    switch (interference) {
    case STORE_OTHER:
        store(&shared[0], 7);
        break;
    case STORE_SAME:
        store(&shared[0], shared[0]);
        break;
    case STORE_AND_BACK:
        value = shared[0];
        store(&shared[0], value + 1);
        store(&shared[0], value);
        break;
    case AMO_ZERO:
        __asm__ volatile("amoadd.d x0, x0, (%0)" ::"r"(&shared[0]) : "memory");
        break;
    case SC_SAME:
        __asm__ volatile("1: lr.d %0, (%2)\n sc.d %1, %0, (%2)\n bnez %1, 1b"
                         : "=&r"(value), "=&r"(failed)
                         : "r"(&shared[0])
                         : "memory");
        break;
    case STORE_HALF:
        ((volatile uint32_t *)&shared[0])[1] = (uint32_t)(shared[0] >> 32);
        break;
    case ZERO_BLOCK:
        __asm__ volatile(".insn i 0x0f, 2, x0, %0, 4" ::"r"(&shared[3]) : "memory"); /* cbo.zero */
        break;
    case CAS_FAILS: /* no store */
        value = 99;
        CAS(3, value, 1ull, &shared[0]);
        break;
    case CAS_SAME:
        value = shared[0];
        CAS(3, value, value, &shared[0]);
        break;
    case NEIGHBOUR_GRANULE:
        store(&shared[32], 9);
        break;
    default:
        break;
    }
    store(&step, 2);
}

static uint64_t interrupted_sc(uint64_t *value)
{
    uint64_t failed, seen;
    __asm__ volatile("lr.d %1, (%2)\n"
                     "fence rw, rw\n"
                     "sd %4, (%3)\n" /* step = 1: the other hart's turn */
                     "1: ld t0, (%3)\n"
                     "beq t0, %4, 1b\n"
                     "fence rw, rw\n"
                     "sc.d %0, %5, (%2)"
                     : "=&r"(failed), "=&r"(seen)
                     : "r"(&shared[0]), "r"(&step), "r"(1ull), "r"(0x1234ull)
                     : "t0", "memory");
    *value = seen;
    return failed;
}

static uint64_t sc_results[2];
static void job_reservation(uint64_t id)
{
    if (id == 0)
        sc_results[0] = interrupted_sc(&sc_results[1]);
    else
        job_interfere(id);
}

/* A successful SC of another store's granule would lose that store: SC must fail, whatever value was stored. Without
 * interference it may fail (the sequence is not a constrained loop), so only the forbidden outcome is reported. */
static void reservations(void)
{
    for (uint64_t what = NONE; what <= NEIGHBOUR_GRANULE; what++) {
        uint64_t successes = 0, lost = 0;
        for (unsigned round = 0; round < 50; round++) {
            shared[0] = 5;
            step = 0;
            interference = what;
            on_all(job_reservation);
            successes += !sc_results[0];
            lost += sc_results[0] ? shared[0] == 0x1234 : shared[0] != 0x1234;
        }
        if (what == CAS_FAILS) { /* may break it or not */
            rt_expect(!lost, "reservation.cas_fails");
            continue;
        }
        bool must_fail = what != NONE && what != NEIGHBOUR_GRANULE;
        rt_print("reservation.%s: %s lost=%d", interference_name[what],
                 must_fail   ? successes ? "sc succeeded" : "sc failed"
                 : successes ? "sc may succeed"
                             : "sc never succeeds",
                 lost);
        rt_expect(!lost && (must_fail ? !successes : successes), "reservation.%s: %d of 50 succeeded",
                  interference_name[what], successes);
    }
}

static void single_hart_reservations(void)
{
    uint64_t failed, again, value;
    shared[0] = 5;
    /* SC without any LR since the last SC. */
    __asm__ volatile("lr.d %2, (%3)\n sc.d %0, %2, (%3)\n sc.d %1, %2, (%3)"
                     : "=&r"(failed), "=&r"(again), "=&r"(value)
                     : "r"(&shared[0])
                     : "memory");
    rt_print("sc.twice: %d %d", (int64_t)(failed != 0), (int64_t)(again != 0));
    rt_expect(!failed && again, "sc.twice");
    /* SC to another address than LR's. */
    __asm__ volatile("lr.d %1, (%2)\n sc.d %0, %1, (%3)"
                     : "=&r"(failed), "=&r"(value)
                     : "r"(&shared[0]), "r"(&shared[32])
                     : "memory");
    rt_print("sc.elsewhere: %d", (int64_t)(failed != 0));
    rt_expect(failed, "sc.elsewhere");
    /* A failing SC ends the reservation, too. */
    __asm__ volatile("lr.d %2, (%3)\n sc.d %0, %2, (%4)\n sc.d %1, %2, (%3)"
                     : "=&r"(failed), "=&r"(again), "=&r"(value)
                     : "r"(&shared[0]), "r"(&shared[32])
                     : "memory");
    rt_print("sc.after_failed: %d", (int64_t)(again != 0));
    rt_expect(again, "sc.after_failed");
    /* Failed SCs store nothing. */
    shared[0] = 5;
    __asm__ volatile("lr.d %1, (%2)\n sc.d %0, %1, (%2)\n sc.d %0, %3, (%2)"
                     : "=&r"(failed), "=&r"(value)
                     : "r"(&shared[0]), "r"(77ull)
                     : "memory");
    rt_print("sc.failed_stores: %d", (int64_t)shared[0]);
    rt_expect(shared[0] == 5, "sc.failed_stores");
    /* Forward progress with an exception taken in every LR/SC loop's first attempt. */
    uint64_t count = 0;
    for (unsigned i = 0; i < 100; i++) {
        rt_run1(RT_M, 0xffffffff, 0, 0, 0);
        __asm__ volatile("1: lr.d %1, (%2)\n addi %1, %1, 1\n sc.d %0, %1, (%2)\n bnez %0, 1b"
                         : "=&r"(failed), "=&r"(value)
                         : "r"(&shared[0])
                         : "memory");
        count++;
    }
    rt_print("sc.progress: %d", (int64_t)(shared[0] - 5 - count));
    rt_expect(shared[0] == 5 + count, "sc.progress");
}

/* ---- interrupts between harts ---- */

static volatile uint64_t ipis[RT_MAX_HARTS];

static bool ipi_hook(struct hart *self, char mode)
{
    if (rt_csr_read(mcause) != (CAUSE_INTERRUPT | 3))
        return false;
    *rt_mmio32(RT_MSIP(self->id)) = 0;
    ipis[self->id]++;
    return true;
}

/* A token goes round by software interrupts; whoever waits for it sleeps in WFI. */
static void job_ring(uint64_t id)
{
    struct hart *self = rt_self();
    self->hook = ipi_hook;
    uint64_t before = ipis[id];
    rt_csr_set(mie, 1 << 3);
    rt_csr_set(mstatus, MSTATUS_MIE);
    for (unsigned round = 0; round < 200; round++) {
        if (id == 0)
            *rt_mmio32(RT_MSIP(1 % harts)) = 1;
        /* Checked with interrupts off: WFI wakes for a pending one all the same, and none is missed. */
        for (;;) {
            rt_csr_clear(mstatus, MSTATUS_MIE);
            if (ipis[id] != before)
                break;
            __asm__ volatile("wfi" ::: "memory");
            rt_csr_set(mstatus, MSTATUS_MIE);
        }
        rt_csr_set(mstatus, MSTATUS_MIE);
        before++;
        if (id != 0)
            *rt_mmio32(RT_MSIP((id + 1) % harts)) = 1;
    }
    rt_csr_clear(mstatus, MSTATUS_MIE);
    rt_csr_clear(mie, 1 << 3);
    self->hook = 0;
}

static void ring(void)
{
    on_all(job_ring);
    for (uint64_t i = 0; i < harts; i++) {
        rt_print("ring.hart%d: %d interrupts", i, ipis[i]);
        rt_expect(ipis[i] == 200, "ring.hart%d", i);
    }
}

/* ---- code and mappings across harts ---- */

static volatile uint64_t told, answered;

/* Hart 0 writes a function, tells hart 1, which executes FENCE.I and calls it. */
static void job_fence_i(uint64_t id)
{
    uint64_t (*code)(void) = (uint64_t (*)(void))rt_code_buffer;
    if (id > 1)
        return;
    for (uint64_t round = 1; round <= 300; round++) {
        if (id == 0) {
            *(volatile uint32_t *)rt_code_buffer = rt_addi(10, 0, (uint32_t)round);
            *(volatile uint16_t *)(rt_code_buffer + 4) = RT_RET;
            store(&told, round);
            while (load(&answered) != round)
                ;
        } else {
            while (load(&told) != round)
                ;
            rt_fence_i();
            shared[40] += code() != round;
            store(&answered, round);
        }
    }
}

/* Both write functions on one page, run their own, and run the other's as it is when they look: what was announced
 * before their FENCE.I, or something newer. */
static volatile uint64_t announced[2];

static void job_one_page(uint64_t id)
{
    if (id > 1)
        return;
    uint8_t *mine = rt_code_buffer + 1024 + 64 * id, *other = rt_code_buffer + 1024 + 64 * !id;
    for (uint32_t round = 1; round <= 1500; round++) {
        __atomic_store_n((uint32_t *)mine, rt_addi(10, 0, round), __ATOMIC_RELAXED);
        store(&announced[id], round);
        uint64_t least = load(&announced[!id]);
        rt_fence_i();
        uint64_t own_errors = 0, other_errors = 0;
        for (unsigned i = 0; i < 30; i++) {
            own_errors += ((uint64_t (*)(void))mine)() != round;
            uint64_t value = ((uint64_t (*)(void))other)();
            other_errors += value < least || value > 1500;
        }
        atomic_add(&shared[40], own_errors);
        atomic_add(&shared[41], other_errors);
    }
}

static uint64_t tables[2][512] __attribute__((aligned(4096)));
static uint64_t leaves[512] __attribute__((aligned(4096)));
static uint64_t frames[2][512] __attribute__((aligned(4096)));
static uint8_t load_code[64] __attribute__((aligned(64)));

/* Hart 0 changes a PTE, tells hart 1, which fences and loads in S-mode. */
static void job_sfence(uint64_t id)
{
    if (id > 1)
        return;
    if (id == 1)
        rt_csr_write(satp, 8ull << 60 | (uint64_t)tables[0] >> 12);
    for (uint64_t round = 1; round <= 300; round++) {
        if (id == 0) {
            leaves[0] = (uint64_t)frames[round & 1] >> 2 | 0xcf;
            store(&told, round);
            while (load(&answered) != round)
                ;
        } else {
            while (load(&told) != round)
                ;
            rt_sfence();
            struct outcome out = rt_probe(RT_S, (uint64_t)load_code, 0x100000000, 0, 0);
            shared[40] += out.trapped || out.a1 != 100 + (round & 1);
            store(&answered, round);
        }
    }
    if (id == 1)
        rt_csr_write(satp, 0);
}

static void remote_effects(void)
{
    shared[40] = 0;
    on_all(job_fence_i);
    rt_print("fence_i: errors=%d", shared[40]);
    rt_expect(!shared[40], "fence_i");
    for (unsigned i = 0; i < 2; i++) {
        uint32_t code[] = {rt_addi(10, 0, 0)};
        rt_code(rt_code_buffer + 1024 + 64ul * i, code, 1);
    }
    on_all(job_one_page);
    rt_print("one_page: own=%d other=%d", shared[40], shared[41]);
    rt_expect(!shared[40] && !shared[41], "one_page: %d %d", shared[40], shared[41]);
    shared[40] = 0;
    static const uint32_t ld = 0x00053583; /* ld a1, (a0) */
    rt_code(load_code, &ld, 1);
    tables[0][2] = 0x80000000ull >> 2 | 0xcf;
    tables[0][4] = (uint64_t)tables[1] >> 2 | 1;
    tables[1][0] = (uint64_t)leaves >> 2 | 1;
    frames[0][0] = 100;
    frames[1][0] = 101;
    told = answered = 0;
    on_all(job_sfence);
    rt_print("sfence: errors=%d", shared[40]);
    rt_expect(!shared[40], "sfence");
}

/* ---- ordering ---- */

/* Message passing and store buffering with fences: the outcomes that the fences forbid (Unprivileged ISA, chapter 17).
 */
static volatile uint64_t forbidden[2], seen_by[2];
static void job_litmus(uint64_t id)
{
    if (id > 1)
        return;
    for (uint64_t round = 1; round <= 1000; round++) {
        gather();
        if (id == 0) {
            shared[48] = round;
            __asm__ volatile("fence w, w" ::: "memory");
            shared[56] = round;
        } else {
            uint64_t flag = shared[56];
            __asm__ volatile("fence r, r" ::: "memory");
            uint64_t data = shared[48];
            forbidden[0] += flag == round && data != round;
        }
        gather();
        shared[id ? 32 : 24] = round;
        __asm__ volatile("fence rw, rw" ::: "memory");
        seen_by[id] = shared[id ? 24 : 32];
        gather();
        if (id == 0)
            forbidden[1] += seen_by[0] != round && seen_by[1] != round;
    }
}

static void litmus(void)
{
    on_all(job_litmus);
    rt_print("litmus: mp=%d sb=%d", forbidden[0], forbidden[1]);
    rt_expect(!forbidden[0] && !forbidden[1], "litmus");
}

void bare_main(void)
{
    uint64_t until = *rt_mmio64(RT_MTIME) + 5000000; /* 500 ms for the others to arrive, on a busy host too */
    while (*rt_mmio64(RT_MTIME) < until && load(&present) < RT_MAX_HARTS - 1)
        ;
    harts = load(&present) + 1;
    rt_print("harts: %d", harts);
    rt_expect(harts > 1, "harts: %d", harts);
    if (harts < 2)
        return;
    counters();
    reservations();
    single_hart_reservations();
    ring();
    remote_effects();
    litmus();
}
