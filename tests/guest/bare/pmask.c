/* Pointer masking (Smmpm, Smnpm, Ssnpm): the field PMM in each register, what an address means in each mode with and
 * without translation, which accesses it is for, MPRV and MXR, what traps report, and hot loops over tagged addresses.
 * Privileged Architecture, chapter "Pointer Masking Extensions".
 *
 * All memory is mapped twice for S-mode and, ALIAS further up, for U-mode: from 0x80000000 and from 0xffffffff80000000.
 * Under Sv57 the two root slots lead to the same table, so that it is there four times.
 */
#include "rt.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { FULL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D };
enum { LEVELS_MAX = 5, PMM_SHIFT = 32 };
#define ALIAS 0x40000000ull
#define UPPER 0xffffffff00000000ull
#define RAM 0x80000000ull
#define RAM_BYTES (128ull << 20)
#define MSECCFG 0x747

static const char mode_name[] = {'U', 'S', '?', 'M'};
static _Alignas(4096) uint64_t table[LEVELS_MAX][512];
static _Alignas(4096) uint8_t page[3][4096];
static _Alignas(4096) uint8_t code[4096];

static void translate(unsigned levels)
{
    rt_csr_write(satp, 0);
    for (unsigned level = 0; level < LEVELS_MAX; level++)
        for (unsigned i = 0; i < 512; i++)
            table[level][i] = 0;
    for (unsigned half = 0; half < 2; half++) {
        table[2][half ? 510 : 2] = RAM >> 2 | FULL;
        table[2][half ? 511 : 3] = RAM >> 2 | FULL | PTE_U;
        for (unsigned level = 3; level < LEVELS_MAX; level++)
            table[level][half ? 511 : 0] = (uint64_t)table[level - 1] >> 2 | PTE_V;
    }
    if (levels)
        rt_csr_write(satp, (uint64_t)(levels + 5) << 60 | (uint64_t)table[levels - 1] >> 12);
    rt_sfence();
}

static void set_masking(int priv, uint64_t pmm)
{
    uint64_t bits = pmm << PMM_SHIFT, field = 3ull << PMM_SHIFT;

    if (priv == RT_M)
        rt_csr_write(0x747, (rt_csr_read(0x747) & ~field) | bits);
    else if (priv == RT_S)
        rt_csr_write(menvcfg, (rt_csr_read(menvcfg) & ~field) | bits);
    else
        rt_csr_write(0x10a, (rt_csr_read(0x10a) & ~field) | bits);
}

static uint64_t get_masking(int priv)
{
    uint64_t value = priv == RT_M ? rt_csr_read(0x747) : priv == RT_S ? rt_csr_read(menvcfg) : rt_csr_read(0x10a);
    return value >> PMM_SHIFT & 3;
}

static void fields(void)
{
    for (int priv = RT_U; priv <= RT_M; priv += priv == RT_S ? 2 : 1) {
        for (uint64_t old = 0; old < 4; old++)
            for (uint64_t pmm = 0; pmm < 4; pmm++) {
                /* QEMU takes the reserved value into mseccfg and aborts at the next load; test_traps has this case. */
                if (priv == RT_M && (old == 1 || pmm == 1))
                    continue;
                set_masking(priv, 0);
                set_masking(priv, old);
                uint64_t before = get_masking(priv);
                set_masking(priv, pmm);
                uint64_t after = get_masking(priv);
                /* 1 is reserved: WARL, any legal value; here the field stays. */
                rt_expect(before == (old == 1 ? 0 : old) && after == (pmm == 1 ? before : pmm), "pmm.%c.%d.%d: %d, %d",
                          mode_name[priv], old, pmm, before, after);
                if (old != 1 && pmm != 1)
                    rt_print("pmm.%c.%d.%d: %d", mode_name[priv], old, pmm, after);
            }
        set_masking(priv, 0);
    }
}

/* ---- what an address means ---- */

static uint64_t meaning(uint64_t address, uint64_t pmm, bool virtual)
{
    unsigned bits = pmm == 2 ? 7 : pmm == 3 ? 16 : 0;
    uint64_t shifted = address << bits;
    return virtual ? (uint64_t)((int64_t)shifted >> bits) : shifted >> bits;
}

static bool canonical(uint64_t address, unsigned levels)
{
    unsigned shift = 64 - 12 - 9 * levels;
    return (uint64_t)((int64_t)(address << shift) >> shift) == address;
}

/* Is one byte there for the mode? */
static bool exists(uint64_t address, int priv, unsigned levels)
{
    if (levels) {
        bool found = canonical(address, levels);
        for (unsigned level = 3; level < levels; level++) {
            uint64_t index = address >> (12 + 9 * level) & 511;
            found &= index == 0 || index == 511;
        }
        uint64_t slot = address >> 30 & 511;
        return found && (slot == (priv == RT_U ? 3 : 2) || slot == (priv == RT_U ? 511 : 510));
    }
    return address >= RAM && address < RAM + RAM_BYTES;
}

struct access {
    const char *name;
    uint32_t insn; /* address in a0, result in a1, operand a2 */
    unsigned bytes;
    bool store;
};

static const struct access accesses[] = {
    {"lb", 0x00050583, 1, false},        {"ld", 0x00053583, 8, false},        {"fld", 0x00053087, 8, false},
    {"sd", 0x00c53023, 8, true},         {"sh", 0x00c51023, 2, true},         {"amoadd.d", 0x00c535af, 8, true},
    {"amocas.d", 0x28c535af, 8, true},   {"lr.d", 0x100535af, 8, false},      {"cbo.zero", 0x0045200f, 64, true},
    {"cbo.clean", 0x0015200f, 64, true}, {"cbo.flush", 0x0025200f, 64, true},
};

enum { CBO_CLEAN = 9 };

static struct outcome access_at(int priv, const struct access *access, uint64_t address, unsigned levels)
{
    uint64_t offset = priv == RT_U && levels ? ALIAS : 0;
    uint64_t args[4] = {address, 0, 0x1234, 0};
    rt_code(code, &access->insn, 1);
    return rt_probe_at(priv, (uint64_t)code + offset, args, offset);
}

/* Bits that a tag may have: alone and together, below and above where masking begins. */
static const uint64_t tags[] = {
    0,          1ull << 63,     1ull << 57,      0x7full << 57, 0x55ull << 57,   1ull << 56,
    1ull << 48, 0x1ffull << 48, 0xffffull << 48, 1ull << 47,    0xdeadull << 48, 1ull << 46};

/* `blocks`: the instructions of Zicbom alone, else all others. */
static void tagged(int priv, unsigned levels, uint64_t pmm, bool mxr, bool blocks)
{
    uint64_t window = priv == RT_U && levels ? ALIAS : 0;
    for (unsigned half = 0; half < (levels ? 2u : 1u); half++)
        for (unsigned t = 0; t < RT_COUNT(tags); t++)
            for (unsigned i = blocks ? CBO_CLEAN : 0; i < (blocks ? RT_COUNT(accesses) : CBO_CLEAN); i++) {
                const struct access *access = &accesses[i];
                uint64_t address = (((uint64_t)page[1] + 64 + window) | (half ? UPPER : 0)) ^ tags[t];
                uint64_t means = meaning(address, mxr ? 0 : pmm, levels != 0);
                bool works = exists(means, priv, levels);
                *(volatile uint64_t *)(page[1] + 64) = 0x1122334455667788;
                struct outcome out = access_at(priv, access, address, levels);
                rt_group_line("%s.%d.%d: %s a1=%x memory=%x", access->name, (int64_t)half, (int64_t)t,
                              rt_describe(&out, (uint64_t)code), out.a1, *(volatile uint64_t *)(page[1] + 64));
                uint64_t cause = access->store ? levels ? CAUSE_STORE_PAGE : CAUSE_STORE_ACCESS
                                 : levels      ? CAUSE_LOAD_PAGE
                                               : CAUSE_LOAD_ACCESS;
                rt_expect(works ? !out.trapped : out.trapped && out.cause == cause && out.tval == means,
                          "tagged.%c.%d.%d.%s.%x: %s", mode_name[priv], (int64_t)levels, pmm, access->name, address,
                          rt_describe(&out, (uint64_t)code));
            }
}

static void each_mode(void)
{
    static const unsigned schemes[] = {0, 3, 4, 5};
    for (unsigned s = 0; s < RT_COUNT(schemes); s++) {
        translate(schemes[s]);
        for (int priv = RT_U; priv <= RT_M; priv += priv == RT_S ? 2 : 1) {
            for (uint64_t pmm = 0; pmm < 4; pmm += pmm ? 1 : 2)
                for (unsigned blocks = 0; blocks < 2; blocks++) {
                    char name[] = "tagged.?.?.?";
                    __builtin_memcpy(name, blocks ? "blocks" : "tagged", 6);
                    name[7] = mode_name[priv];
                    name[9] = (char)('0' + schemes[s]);
                    name[11] = (char)('0' + pmm);
                    set_masking(priv, pmm);
                    rt_group_begin(name);
                    tagged(priv, priv == RT_M ? 0 : schemes[s], pmm, false, blocks);
                    rt_group_end();
                }
            /* MXR is in effect whether there is paging or not. */
            char name[] = "mxr.?.?";
            name[4] = mode_name[priv];
            name[6] = (char)('0' + schemes[s]);
            rt_csr_set(mstatus, MSTATUS_MXR);
            rt_group_begin(name);
            tagged(priv, priv == RT_M ? 0 : schemes[s], 3, true, false);
            rt_group_end();
            rt_csr_clear(mstatus, MSTATUS_MXR);
            set_masking(priv, 0);
        }
    }
    translate(0);
}

/* ---- fetches, misaligned accesses, another mode's data ---- */

static void fetches(void)
{
    for (uint64_t pmm = 0; pmm < 4; pmm += pmm ? 1 : 2)
        for (int priv = RT_U; priv <= RT_M; priv += priv == RT_S ? 2 : 1) {
            uint32_t jump = 0x00050067; /* jr a0 */
            set_masking(priv, pmm);
            rt_code(page[2], NULL, 0);
            uint64_t target = (uint64_t)page[2] | 1ull << 63;
            struct outcome out = rt_run1(priv, jump, target, 0, 0);
            rt_print("fetch.%c.%d: %s", mode_name[priv], pmm, rt_describe(&out, target));
            rt_expect(out.trapped && out.cause == CAUSE_FETCH_ACCESS && out.tval == target, "fetch.%c.%d: %s",
                      mode_name[priv], pmm, rt_describe(&out, target));
            set_masking(priv, 0);
        }
}

/* Each byte is masked by itself: at the very end of what the mask leaves the next byte is at the beginning. */
static void misaligned(void)
{
    translate(3);
    for (uint64_t pmm = 2; pmm < 4; pmm++) {
        set_masking(RT_S, pmm);
        for (uint64_t at = 4089; at < 4097; at++) {
            *(volatile uint64_t *)(page[0] + 4088) = 0x0706050403020100;
            *(volatile uint64_t *)(page[1]) = 0x1716151413121110;
            uint64_t address = ((uint64_t)page[0] + at) | 0x2aull << 57;
            struct outcome out = access_at(RT_S, &accesses[1], address, 3);
            rt_print("misaligned.%d.%d: %s %x", pmm, at, rt_describe(&out, (uint64_t)code), out.a1);
            rt_expect(!out.trapped && (out.a1 & 0xff) == at - 4088 + (at == 4096 ? 8 : 0), "misaligned.%d.%d: %x", pmm,
                      at, out.a1);
        }
        /* The highest address that is left, and the lowest: unmapped, both, under Sv39. */
        uint64_t last = ~(pmm == 2 ? 0x7full << 57 : 0xffffull << 48) - 3;
        struct outcome out = access_at(RT_S, &accesses[1], last, 3);
        rt_expect(out.trapped && out.cause == CAUSE_LOAD_PAGE && out.tval == -4ull, "misaligned.%d.end: %s", pmm,
                  rt_describe(&out, 0));
        set_masking(RT_S, 0);
    }
    translate(0);
}

/* MPRV takes the masking of the mode whose memory it is. */
static void other_modes_data(void)
{
    static const unsigned schemes[] = {0, 3};
    for (unsigned s = 0; s < 2; s++)
        for (int data = RT_U; data <= RT_S; data++)
            for (int masked = RT_U; masked <= RT_M; masked += masked == RT_S ? 2 : 1) {
                translate(schemes[s]);
                set_masking(masked, 2);
                uint64_t address = ((uint64_t)page[1] + (data == RT_U && schemes[s] ? ALIAS : 0)) | 0x31ull << 57;
                uint32_t insns[] = {rt_csrrw(0, 0x300, 12), 0x00053583 /* ld a1, (a0) */};
                uint64_t status = (rt_csr_read(mstatus) & ~MSTATUS_MPP(3)) | MSTATUS_MPRV | MSTATUS_MPP(data);
                struct outcome out = rt_run(RT_M, insns, 2, address, 0, status);
                rt_print("mprv.%d.%c.%c: %s", (int64_t)schemes[s], mode_name[data], mode_name[masked],
                         rt_describe(&out, (uint64_t)rt_code_buffer));
                rt_expect(out.trapped == (data != masked), "mprv.%d.%c.%c: %s", (int64_t)schemes[s], mode_name[data],
                          mode_name[masked], rt_describe(&out, 0));
                set_masking(masked, 0);
            }
    translate(0);
}

/* SFENCE.VMA is told the address itself, and reaches what was accessed by another name. */
static void fences(void)
{
    translate(3);
    set_masking(RT_S, 2);
    uint64_t address = (uint64_t)page[1] | 0x15ull << 57;
    struct outcome before = access_at(RT_S, &accesses[3], address, 3);
    rt_expect(!before.trapped, "fence.before");
    table[2][2] &= ~(uint64_t)PTE_W;
    __asm__ volatile("sfence.vma %0" ::"r"(page[1]) : "memory");
    struct outcome after = access_at(RT_S, &accesses[3], address, 3);
    rt_print("fence: %s", rt_describe(&after, (uint64_t)code));
    rt_expect(after.trapped && after.cause == CAUSE_STORE_PAGE && after.tval == (uint64_t)page[1], "fence: %s",
              rt_describe(&after, (uint64_t)code));
    set_masking(RT_S, 0);
    translate(0);
}

/* ---- hot ---- */

/* Walks a ring of tagged pointers: loads, stores, an AMO. a0: first pointer, a1: turns; sum in a0. */
void walk(void);
__asm__(".text\n.balign 4\n"
        "walk: li a2, 0\nli a4, 1\n"
        "1: ld a3, 8(a0)\n add a2, a2, a3\n sd a2, 16(a0)\n amoadd.d a3, a4, (a0)\n addi a5, a3, 0\n"
        "   lw a3, 28(a0)\n add a2, a2, a3\n sub a5, a5, a3\n ld a0, 32(a0)\n addi a1, a1, -1\n bnez a1, 1b\n"
        "   mv a0, a2\n ret\n");

enum { NODES = 48, TURNS = 20000 };
struct node {
    uint64_t count, value, seen;
    uint32_t half, other;
    uint64_t next, pad[3];
};
static _Alignas(4096) struct node nodes[NODES * 2];

static void hot(int priv, unsigned levels, uint64_t pmm)
{
    uint64_t offset = priv == RT_U && levels ? ALIAS : 0, random = 77;
    uint64_t shift = pmm == 2 ? 57 : 48, sum = 0;
    for (unsigned i = 0; i < NODES; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t tag = (i % 3 ? random >> 33 : 0) << shift;
        nodes[2 * i] = (struct node){.value = i * 3 + 1, .other = i};
        uint64_t at = (uint64_t)&nodes[2 * ((i + 1) % NODES)] + offset;
        if (levels && i % 2)
            at |= UPPER;
        nodes[2 * i].next = pmm ? (at & ((1ull << shift) - 1)) | tag : at;
    }
    translate(levels);
    set_masking(priv, pmm);
    uint64_t args[4] = {(uint64_t)nodes + offset, TURNS, 0, 0};
    struct outcome out = rt_probe_at(priv, (uint64_t)walk + offset, args, offset);
    set_masking(priv, 0);
    translate(0);
    uint64_t want = 0;
    for (unsigned turn = 0; turn < TURNS; turn++)
        want += turn % NODES * 3 + 1 + turn % NODES;
    for (unsigned i = 0; i < NODES; i++)
        sum += nodes[2 * i].count;
    rt_print("hot.%c.%d.%d: %s a0=%x sum=%d", mode_name[priv], (int64_t)levels, pmm, rt_describe(&out, (uint64_t)walk),
             out.a0, sum);
    /* Without translation, and where bit 47 or 56 does not say so, an address in the upper half is another one. */
    rt_expect(!out.trapped && out.a0 == want && sum == TURNS, "hot.%c.%d.%d: %x, not %x", mode_name[priv],
              (int64_t)levels, pmm, out.a0, want);
}

void bare_main(void)
{
    rt_csr_set(menvcfg, 0xf0); /* cache blocks below M-mode */
    rt_csr_set(0x10a, 0xf0);
    fields();
    each_mode();
    fetches();
    misaligned();
    other_modes_data();
    fences();
    for (uint64_t pmm = 0; pmm < 4; pmm += pmm ? 1 : 2) {
        hot(RT_M, 0, pmm);
        hot(RT_S, 0, pmm);
        hot(RT_S, 3, pmm);
        hot(RT_U, 0, pmm);
        hot(RT_U, 3, pmm);
        hot(RT_U, 4, pmm);
    }
}
