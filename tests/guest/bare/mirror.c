/* Loads and stores of hot user code, where pages come, change and go all the time. Beside the guest a model in C says
 * what each access does: value, trap, A and D bits (Privileged Architecture 1.13, sections 3.7, 12.2.1, 12.3, 12.4).
 *
 * A case is a loop around one load or store, written here, that goes through a script of addresses and data. Some
 * addresses lie in a page that is never there: the trap handler takes the one accessed as the number of a change, which
 * it makes to the page tables, satp or mstatus before the loop goes on. Pages lie where regions that reach memory
 * through the host's MMU have their edges (bare_mirror_*): from 0 on, below 2^38, and below 2^64.
 *
 * Layout: ALIAS above 0x80000000 is all memory for U-mode, executable; M-mode does not translate.
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { GOOD = PTE_V | PTE_R | PTE_W | PTE_U | PTE_A | PTE_D };

#define ALIAS 0x40000000ull
#define PAGE 4096ull
#define MENVCFG_ADUE (1ull << 61)

/* ---- where pages are ---- */

enum { LOW, MIDDLE, TOP, HIGH, ZONES, SUPER = ZONES, ALL_ZONES, ZONE_PAGES = 16 };
static const uint16_t zone_root[ZONES] = {0, 4, 255, 511}, zone_middle[ZONES] = {0, 0, 511, 511},
                      zone_leaf[ZONES] = {0, 0, 496, 496};
#define ZONE_START(z)                                                                             \
    ((uint64_t)((int64_t)((uint64_t)zone_root[z] << 55) >> 25) | (uint64_t)zone_middle[z] << 21 | \
     (uint64_t)zone_leaf[z] << 12)
#define SUPER_START 0x100600000ull
#define SUPER_BYTES (2ull << 20)
#define EVENTS_START 0x20000ull

enum { SPACES = 12, FRAMES = 24, PMP_FRAME = 5, PMP_FROM = 256, PMP_TO = 320, TURNS = 3000 };

struct tables {
    uint64_t root[512], middle[ZONES][512], leaf[ZONES][512];
};
static struct tables tables[SPACES] __attribute__((aligned(4096)));
static uint8_t frames[FRAMES][PAGE] __attribute__((aligned(4096)));
static uint8_t big[SUPER_BYTES] __attribute__((aligned(2 << 20)));
static uint8_t code[64 * 1024] __attribute__((aligned(4096)));

static uint8_t model_frames[FRAMES][PAGE], model_big[SUPER_BYTES], model_scratch;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static unsigned below(uint64_t *state, unsigned limit)
{
    return (unsigned)((next_random(state) >> 20) % limit);
}

/* The machine's state, or what the model says it is. */
struct world {
    bool real, mxr, adue;
    unsigned space;
    uint64_t pte[SPACES][ALL_ZONES][ZONE_PAGES]; /* the model's */
};
static struct world machine = {.real = true}, model;

static volatile uint64_t *pte_at(struct world *world, unsigned space, unsigned zone, unsigned page)
{
    if (!world->real)
        return &world->pte[space][zone][page];
    if (zone == SUPER)
        return &tables[space].middle[MIDDLE][SUPER_START >> 21 & 511];
    return &tables[space].leaf[zone][zone_leaf[zone] + page];
}

/* ---- changes ---- */

static void fence(uint64_t va, unsigned space, unsigned kind)
{
    uint64_t asid = space + 1;

    if (kind == 0)
        __asm__ volatile("sfence.vma %0" ::"r"(va) : "memory");
    else if (kind == 1)
        __asm__ volatile("sfence.vma %0, %1" ::"r"(va), "r"(asid) : "memory");
    else if (kind == 2)
        __asm__ volatile("sfence.vma x0, %0" ::"r"(asid) : "memory");
    else
        rt_sfence();
}

static void enter_space(const struct world *world)
{
    if (world->real)
        rt_csr_write(satp, 8ull << 60 | (world->space + 1ull) << 44 | (uint64_t)tables[world->space].root >> 12);
}

static uint64_t random_target(uint64_t *random)
{
    static const uint64_t special[] = {RT_HOLE, RT_BEYOND_RAM, RT_UART};
    unsigned which = below(random, FRAMES + RT_COUNT(special));

    return which < FRAMES ? (uint64_t)frames[which] : special[which - FRAMES];
}

static uint64_t random_bits(uint64_t *random)
{
    static const uint8_t bits[] = {GOOD & ~PTE_W,
                                   GOOD & ~PTE_U,
                                   GOOD & ~PTE_A,
                                   GOOD & ~PTE_D,
                                   GOOD & ~PTE_R,
                                   GOOD & ~PTE_V,
                                   GOOD | PTE_X,
                                   GOOD & ~(PTE_A | PTE_D),
                                   PTE_V | PTE_U | PTE_X | PTE_A,
                                   GOOD & ~(PTE_W | PTE_D),
                                   0};

    return below(random, 2) ? GOOD : bits[below(random, RT_COUNT(bits))];
}

static void set_page(struct world *world, unsigned space, unsigned zone, unsigned page, uint64_t *random)
{
    uint64_t start = zone == SUPER ? SUPER_START + PAGE * below(random, 512) : ZONE_START(zone) + PAGE * page;
    uint64_t to = zone == SUPER ? (uint64_t)big : random_target(random);
    volatile uint64_t *pte = pte_at(world, space, zone, page);

    switch (below(random, 5)) {
    case 0:
        *pte &= ~(uint64_t)PTE_W;
        break;
    case 1:
        *pte &= ~(uint64_t)(PTE_A | PTE_D);
        break;
    default:
        *pte = to >> 12 << 10 | random_bits(random);
    }
    unsigned kind = below(random, 4);
    if (world->real)
        fence(start + below(random, PAGE), space, kind);
}

/* Change number `number` of the script with this seed. */
static void change(struct world *world, uint64_t seed, uint64_t number)
{
    uint64_t random = (seed << 16 | number) * 0x9e3779b97f4a7c15ull | 1;
    (void)next_random(&random);
    unsigned kind = below(&random, 16);
    unsigned zone = below(&random, 6) ? below(&random, ZONES) : SUPER;
    unsigned page = zone == SUPER ? 0 : below(&random, ZONE_PAGES), space = world->space;

    switch (kind) {
    case 0:
        world->mxr = !world->mxr;
        if (world->real && world->mxr)
            rt_csr_set(mstatus, MSTATUS_MXR);
        else if (world->real)
            rt_csr_clear(mstatus, MSTATUS_MXR);
        break;
    case 1:
        world->adue = !world->adue;
        if (world->real && world->adue)
            rt_csr_set(menvcfg, MENVCFG_ADUE);
        else if (world->real)
            rt_csr_clear(menvcfg, MENVCFG_ADUE);
        if (world->real)
            rt_sfence();
        break;
    case 2 ... 4:
        world->space = below(&random, SPACES);
        enter_space(world);
        break;
    case 5:
        space = below(&random, SPACES);
        /* fall through */
    default:
        set_page(world, space, zone, page, &random);
    }
}

/* ---- the loops ---- */

enum { IS_STORE = 1, IS_SIGNED = 2, IS_FP = 4 };
static const struct op {
    const char *name;
    uint8_t opcode, funct3, size, what;
} ops[] = {
    {"lb", 0x03, 0, 1, IS_SIGNED},
    {"lh", 0x03, 1, 2, IS_SIGNED},
    {"lw", 0x03, 2, 4, IS_SIGNED},
    {"ld", 0x03, 3, 8, 0},
    {"lbu", 0x03, 4, 1, 0},
    {"lhu", 0x03, 5, 2, 0},
    {"lwu", 0x03, 6, 4, 0},
    {"sb", 0x23, 0, 1, IS_STORE},
    {"sh", 0x23, 1, 2, IS_STORE},
    {"sw", 0x23, 2, 4, IS_STORE},
    {"sd", 0x23, 3, 8, IS_STORE},
    {"flh", 0x07, 1, 2, IS_FP},
    {"flw", 0x07, 2, 4, IS_FP},
    {"fld", 0x07, 3, 8, IS_FP},
    {"fsh", 0x27, 1, 2, IS_FP | IS_STORE},
    {"fsw", 0x27, 2, 4, IS_FP | IS_STORE},
    {"fsd", 0x27, 3, 8, IS_FP | IS_STORE},
};

struct step {
    uint64_t base, data, result, pad;
};
static struct step script[TURNS];
static uint64_t expected[TURNS];

enum { T0 = 5, T1 = 6, T2 = 7, A0 = 10, A1 = 11, A2 = 12, F1 = 1 };

static uint32_t store_insn(uint32_t opcode, uint32_t funct3, uint32_t rs2, uint32_t rs1, int32_t imm)
{
    return ((uint32_t)imm >> 5 & 127) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | ((uint32_t)imm & 31) << 7 | opcode;
}

static uint32_t branch_back(int32_t bytes)
{
    uint32_t b = (uint32_t)bytes;
    return (b >> 12 & 1) << 31 | (b >> 5 & 63) << 25 | A1 << 15 | 1 << 12 | (b >> 1 & 15) << 8 | (b >> 11 & 1) << 7 |
           0x63; /* bnez a1 */
}

/* a0: script, a1: steps, a2: digest. Returns the address of the access. */
static uint64_t write_loop(uint8_t *at, const struct op *op, int32_t imm)
{
    unsigned data = op->what & IS_FP ? F1 : T0;
    uint32_t access = op->what & IS_STORE ? store_insn(op->opcode, op->funct3, data, T1, imm)
                                          : rt_i(op->opcode, op->funct3, data, T1, (uint32_t)imm);
    const uint32_t insns[] = {
        rt_i(0x03, 3, T1, A0, 0),
        rt_i(0x03, 3, T0, A0, 8),
        rt_r(0x53, 0, 0x79, F1, T0, 0), /* fmv.d.x */
        access,
        op->what & IS_FP ? rt_r(0x53, 0, 0x71, T0, F1, 0) : RT_NOP, /* fmv.x.d */
        rt_i(0x13, 1, T2, A2, 5),
        rt_r(0x33, 0, 0, A2, A2, T2),
        rt_r(0x33, 4, 0, A2, A2, T0),
        store_insn(0x23, 3, T0, A0, 16),
        rt_addi(A0, A0, sizeof(struct step)),
        rt_addi(A1, A1, 0xfff),
        branch_back(-44),
    };
    rt_code(at, insns, RT_COUNT(insns));
    return (uint64_t)at + 12;
}

/* ---- what was seen ---- */

struct record {
    uint64_t count, digest;
};

static void note(struct record *record, uint64_t cause, uint64_t pc, uint64_t tval, uint64_t a1, uint64_t a2,
                 uint64_t t0)
{
    const uint64_t values[] = {cause, pc, tval, a1, a2, t0};
    for (unsigned i = 0; i < RT_COUNT(values); i++) {
        record->digest = (record->digest ^ values[i]) * 0x100000001b3ull;
        record->digest ^= record->digest >> 29;
    }
    record->count++;
    if (rt_verbose)
        rt_print("trap: cause=%x pc=%x tval=%x a1=%x a2=%x t0=%x", cause, pc, tval, a1, a2, t0);
}

static struct record seen;
static uint64_t seed_now;

static bool on_trap(struct hart *hart, char mode)
{
    uint64_t pc = rt_csr_read(mepc) - ALIAS, cause = rt_csr_read(mcause), tval = rt_csr_read(mtval);

    if (pc - (uint64_t)code >= sizeof(code) || cause < CAUSE_LOAD_ACCESS || cause == CAUSE_ECALL_U)
        return false;
    note(&seen, cause, pc, tval, hart->x[A1], hart->x[A2], hart->x[T0]);
    if (tval - EVENTS_START < PAGE)
        change(&machine, seed_now, (tval - EVENTS_START) / 8);
    rt_csr_write(mepc, pc + ALIAS + 4);
    return true;
}

/* ---- the model ---- */

/* The PTE that maps an address, or NULL: none can. */
static volatile uint64_t *model_pte(uint64_t va, uint64_t *offset)
{
    *offset = va & (PAGE - 1);
    for (unsigned zone = 0; zone < ZONES; zone++) {
        uint64_t inside = va - ZONE_START(zone);
        if (inside < ZONE_PAGES * PAGE)
            return pte_at(&model, model.space, zone, (unsigned)(inside / PAGE));
    }
    *offset = va - SUPER_START;
    return *offset < SUPER_BYTES ? pte_at(&model, model.space, SUPER, 0) : 0;
}

static uint64_t target_of(uint64_t pte)
{
    return pte >> 10 << 12;
}

/* Where the model keeps what is at a physical address; NULL: nowhere. */
static uint8_t *model_memory(uint64_t pa)
{
    if (pa - (uint64_t)frames < sizeof(frames))
        return &model_frames[0][0] + (pa - (uint64_t)frames);
    if (pa - (uint64_t)big < sizeof(big))
        return model_big + (pa - (uint64_t)big);
    return pa == RT_UART + 7 ? &model_scratch : 0;
}

/* `size` bytes inside one page. Returns 0 or the cause, of a load. */
static uint64_t model_translate(uint64_t va, bool store, unsigned size, uint64_t *pa)
{
    uint64_t offset, needed = PTE_A | (store ? PTE_D : 0);
    volatile uint64_t *pte = model_pte(va, &offset);
    bool readable = pte && (*pte & (PTE_R | (model.mxr ? PTE_X : 0)));

    if (!pte || !(*pte & PTE_V) || !(*pte & PTE_U) || (*pte & (PTE_R | PTE_W)) == PTE_W ||
        !(store ? (*pte & PTE_W) != 0 : readable))
        return CAUSE_LOAD_PAGE;
    if ((*pte & needed) != needed && !model.adue)
        return CAUSE_LOAD_PAGE;
    *pte |= needed;
    *pa = target_of(*pte) + offset;
    uint64_t in_frame = *pa - (uint64_t)frames[PMP_FRAME];
    if (!model_memory(*pa) || (in_frame < PMP_TO && in_frame + size > PMP_FROM))
        return CAUSE_LOAD_ACCESS;
    return 0;
}

/* Returns the cause, 0 for none, and where. */
static uint64_t model_access(const struct op *op, uint64_t va, uint64_t *value, uint64_t *tval)
{
    bool store = op->what & IS_STORE;
    uint64_t pa[2] = {0}, cause;
    unsigned first = op->size, room = (unsigned)(PAGE - (va & (PAGE - 1)));

    if (first > room)
        first = room;
    *tval = va;
    cause = model_translate(va, store, first, &pa[0]);
    if (!cause && first < op->size) {
        *tval = va + first;
        cause = model_translate(va + first, store, op->size - first, &pa[1]);
    }
    if (cause)
        return cause + (store ? 2 : 0);
    uint64_t loaded = 0;
    for (unsigned i = 0; i < op->size; i++) {
        uint8_t *byte = model_memory(i < first ? pa[0] + i : pa[1] + i - first);
        if (store)
            *byte = (uint8_t)(*value >> 8 * i);
        loaded |= (uint64_t)*byte << 8 * i;
    }
    if (store)
        return 0;
    unsigned spare = 64 - 8 * op->size;
    *value = loaded;
    if (op->what & IS_SIGNED)
        *value = (uint64_t)((int64_t)(loaded << spare) >> spare);
    else if (op->what & IS_FP && spare)
        *value = loaded | ~0ull << (64 - spare);
    return 0;
}

/* ---- scripts ---- */

/* What only some accesses may reach the same way on every machine: devices and holes by whole aligned ones. */
static bool is_special(uint64_t va)
{
    uint64_t offset;
    volatile uint64_t *pte = model_pte(va, &offset);

    return pte && (target_of(*pte) < (uint64_t)frames || target_of(*pte) >= RT_BEYOND_RAM ||
                   target_of(*pte) == (uint64_t)frames[PMP_FRAME]);
}

static uint64_t random_address(const struct op *op, uint64_t *random)
{
    static const uint64_t odd[] = {1ull << 38,         (1ull << 38) + 8,      ~0ull << 38,        1ull << 39,
                                   1ull << 63,         0x8000000100000000,    0x0000008000000000, 0xffffffbffffffff8,
                                   0x5555555555555550, (1ull << 38) - 0x20000};
    unsigned zone = below(random, 6);
    uint64_t va, offset;

    if (below(random, 60) == 0)
        return odd[below(random, RT_COUNT(odd))] & ~(op->size - 1ull);
    if (zone >= ALL_ZONES)
        zone = MIDDLE;
    va = zone == SUPER ? SUPER_START + PAGE * below(random, 512) : ZONE_START(zone) + PAGE * below(random, ZONE_PAGES);
    if (below(random, 8) == 0)
        va += PAGE - op->size + below(random, op->size); /* the end of the page, or beyond */
    else
        va += below(random, PAGE - 8);
    if (below(random, 3) || is_special(va) || is_special(va + op->size - 1))
        va &= ~(op->size - 1ull);
    volatile uint64_t *pte = model_pte(va, &offset);
    if (pte && target_of(*pte) == RT_UART)
        va = op->size == 1 ? (va & ~(PAGE - 1)) + 7 : ZONE_START(LOW) + EVENTS_START + PAGE;
    return va;
}

/* Mostly what does not trap. */
static uint64_t choose_address(const struct op *op, uint64_t *random)
{
    uint64_t va = random_address(op, random);

    for (unsigned tries = 0; tries < 6; tries++) {
        uint64_t offset;
        volatile uint64_t *pte = model_pte(va, &offset);
        if (pte && (*pte & GOOD) == GOOD && !is_special(va))
            break;
        va = random_address(op, random);
    }
    return va;
}

static void play_model(const struct op *op, int32_t imm, uint64_t pc, struct record *record, uint64_t *digest)
{
    uint64_t random = seed_now * 0x2545f4914f6cdd1dull | 1, changes = 0, a2 = 0;

    for (unsigned i = 0; i < TURNS; i++) {
        uint64_t value = next_random(&random), tval;
        bool changes_now = i % 64 == 50 || (i > TURNS - 300 && i % 8 == 0);
        uint64_t va = changes_now ? EVENTS_START + 8 * changes++ : choose_address(op, &random);
        script[i] = (struct step){va - (uint64_t)(int64_t)imm, value, 0, 0};
        uint64_t before = value, cause = model_access(op, va, &value, &tval);
        if (cause) {
            value = before;
            note(record, cause, pc, tval, TURNS - i, a2, value);
        }
        if (changes_now)
            change(&model, seed_now, (tval - EVENTS_START) / 8);
        expected[i] = value;
        a2 += a2 << 5;
        a2 ^= value;
    }
    *digest = a2;
}

static uint64_t differences(void)
{
    uint64_t different = 0;

    for (unsigned i = 0; i < sizeof(frames); i += 8)
        different += *(uint64_t *)(&frames[0][0] + i) != *(uint64_t *)(&model_frames[0][0] + i);
    for (unsigned i = 0; i < sizeof(big); i += 8)
        different += *(uint64_t *)(big + i) != *(uint64_t *)(model_big + i);
    return different;
}

static uint64_t different_ptes(void)
{
    uint64_t different = 0;

    for (unsigned space = 0; space < SPACES; space++)
        for (unsigned zone = 0; zone < ALL_ZONES; zone++)
            for (unsigned page = 0; page < (zone == SUPER ? 1 : ZONE_PAGES); page++)
                different += *pte_at(&machine, space, zone, page) != *pte_at(&model, space, zone, page);
    return different;
}

static void play(unsigned number, const struct op *op, int32_t imm)
{
    uint8_t *at = code + 128ul * number;
    uint64_t pc = write_loop(at, op, imm), digest, wrong = 0;
    struct record record = {0};

    seed_now = number + 1;
    play_model(op, imm, pc, &record, &digest);
    seen = (struct record){0};
    enter_space(&machine);
    rt_self()->hook = on_trap;
    const uint64_t args[4] = {(uint64_t)script + ALIAS, TURNS, 0, 0};
    struct outcome out = rt_probe_at(RT_U, (uint64_t)at + ALIAS, args, ALIAS);
    rt_self()->hook = 0;
    rt_csr_write(satp, 0);
    for (unsigned i = 0; i < TURNS; i++) {
        if (script[i].result != expected[i] && !wrong++)
            rt_print("FAIL %s.%d: step %d, base %x: %x, not %x", op->name, (int64_t)imm, (int64_t)i, script[i].base,
                     script[i].result, expected[i]);
    }
    uint64_t memory = differences(), ptes = different_ptes();
    rt_print("%d.%s.%d: %s traps=%d digest=%x wrong=%d memory=%d ptes=%d", (int64_t)number, op->name, (int64_t)imm,
             rt_describe(&out, (uint64_t)at + ALIAS), (int64_t)seen.count, seen.digest, (int64_t)wrong, (int64_t)memory,
             (int64_t)ptes);
    rt_expect(!out.trapped && !wrong && !memory && !ptes, "%d.%s: a value", (int64_t)number, op->name);
    rt_expect(seen.count == record.count && seen.digest == record.digest, "%d.%s: traps, %d, not %d", (int64_t)number,
              op->name, (int64_t)seen.count, (int64_t)record.count);
}

static void prepare(void)
{
    uint64_t random = 0x1234567;

    for (unsigned i = 0; i < sizeof(frames); i += 8)
        *(uint64_t *)(&frames[0][0] + i) = *(uint64_t *)(&model_frames[0][0] + i) = next_random(&random);
    for (unsigned i = 0; i < sizeof(big); i += 8)
        *(uint64_t *)(big + i) = *(uint64_t *)(model_big + i) = next_random(&random);
    for (unsigned space = 0; space < SPACES; space++) {
        struct tables *t = &tables[space];
        t->root[3] = 0x80000000ull >> 2 | GOOD | PTE_X;
        for (unsigned zone = 0; zone < ZONES; zone++) {
            t->root[zone_root[zone]] = (uint64_t)t->middle[zone] >> 2 | PTE_V;
            t->middle[zone][zone_middle[zone]] = (uint64_t)t->leaf[zone] >> 2 | PTE_V;
        }
        for (unsigned zone = 0; zone < ALL_ZONES; zone++)
            for (unsigned page = 0; page < (zone == SUPER ? 1 : ZONE_PAGES); page++) {
                uint64_t to = zone == SUPER ? (uint64_t)big : (uint64_t)frames[below(&random, FRAMES)];
                *pte_at(&machine, space, zone, page) = *pte_at(&model, space, zone, page) = to >> 2 | GOOD;
            }
    }
    /* A hole in one frame; everything else is open. */
    rt_csr_write(pmpaddr1, -1);
    rt_csr_write(pmpcfg0, 0x1f00);
    rt_csr_write(pmpaddr0, ((uint64_t)frames[PMP_FRAME] + PMP_FROM) >> 2 | (PMP_TO - PMP_FROM) / 8 - 1);
    rt_csr_write(pmpcfg0, 0x1f18);
    rt_csr_clear(menvcfg, MENVCFG_ADUE);
    *(volatile uint8_t *)(RT_UART + 7) = model_scratch = 0x5a;
    rt_sfence();
}

/* ---- stores beside code ---- */

/* a0: a page with a function at its start and room for data behind it, a1: turns, a2: what to add to the function's
 * first instruction each 64 turns, so that it returns one more, a3: another address of the same page. */
extern char beside[];
__asm__(".text\n.globl beside\nbeside:\n"
        "  mv t6, ra\n"
        "  li t0, 0\n"
        "1:\n"
        "  andi t1, a1, 63\n"
        "  bnez t1, 2f\n"
        "  lw t2, 0(a3)\n"
        "  add t2, t2, a2\n"
        "  sw t2, 0(a3)\n"
        "  fence.i\n"
        "2:\n"
        "  sd t0, 2040(a3)\n"
        "  jalr a0\n"
        "  add t0, t0, t3\n"
        "  ld t1, 2040(a0)\n"
        "  slli t2, t1, 3\n"
        "  xor t0, t0, t2\n"
        "  addi a1, a1, -1\n"
        "  bnez a1, 1b\n"
        "  mv a0, t0\n"
        "  jr t6\n");

static void stores_beside_code(void)
{
    enum { BESIDE_TURNS = 1920 };
    const uint32_t function[] = {rt_addi(28, 0, 1)};
    uint64_t t0 = 0, value = 1;
    volatile uint64_t *pte = pte_at(&machine, 0, LOW, 3);

    rt_code(frames[0], function, 1);
    for (unsigned turn = BESIDE_TURNS; turn; turn--) {
        value += turn % 64 == 0;
        uint64_t stored = t0;
        t0 += value;
        t0 ^= stored << 3;
    }
    machine.space = 0;
    *pte = (uint64_t)frames[0] >> 2 | GOOD;
    rt_sfence();
    enter_space(&machine);
    const uint64_t args[4] = {(uint64_t)frames[0] + ALIAS, BESIDE_TURNS, 1 << 20, ZONE_START(LOW) + 3 * PAGE};
    struct outcome out = rt_probe_at(RT_U, (uint64_t)beside + ALIAS, args, ALIAS);
    rt_csr_write(satp, 0);
    rt_print("beside_code: %s result=%x", rt_describe(&out, (uint64_t)beside + ALIAS), out.a0);
    rt_expect(!out.trapped && out.a0 == t0, "beside_code: %x, not %x", out.a0, t0);
}

void bare_main(void)
{
    static const int16_t imms[] = {0, 8, -8, 2047, -2048, -1, 16};
    unsigned number = 0;

    prepare();
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < RT_COUNT(ops); i++, number++)
            play(number, &ops[i], imms[number % RT_COUNT(imms)]);
    stores_beside_code();
}
