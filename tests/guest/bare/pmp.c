/* Physical memory protection: matching, priority, permissions, locks, and what it does to page-table walks.
 * Privileged Architecture 1.13, section 3.7.
 *
 * Entries 0 to 3 are the cases' own, entry 15 opens everything. What an access must do is computed by a model of
 * section 3.7.1 from the values that the CSRs really hold (read back), so a granularity above four bytes would be
 * followed, too.
 */
#include "rt.h"

enum { R = 1, W = 2, X = 4, OFF = 0, TOR = 8, NA4 = 16, NAPOT = 24, L = 128 };
enum access { LOAD, STORE, FETCH };

static const char mode_name[] = {'U', 'S', '?', 'M'};
static const char *const access_name[] = {"load", "store", "fetch"};
static uint8_t area[16384] __attribute__((aligned(16384)));
static uint64_t tables[3][512] __attribute__((aligned(4096)));

static uint64_t addresses[16];
static uint8_t configs[16];

#define READ_PMPADDR(i) addresses[i] = rt_csr_read(pmpaddr##i)

static void read_back(void)
{
    uint64_t low = rt_csr_read(pmpcfg0), high = rt_csr_read(pmpcfg2);
    for (unsigned i = 0; i < 8; i++) {
        configs[i] = (uint8_t)(low >> 8 * i);
        configs[8 + i] = (uint8_t)(high >> 8 * i);
    }
    READ_PMPADDR(0);
    READ_PMPADDR(1);
    READ_PMPADDR(2);
    READ_PMPADDR(3);
    READ_PMPADDR(14);
    READ_PMPADDR(15);
}

static void program(uint64_t cfg, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    rt_csr_write(pmpcfg0, 0);
    rt_csr_write(pmpaddr0, a0);
    rt_csr_write(pmpaddr1, a1);
    rt_csr_write(pmpaddr2, a2);
    rt_csr_write(pmpaddr3, a3);
    rt_csr_write(pmpcfg0, cfg);
    rt_sfence();
    read_back();
}

/* ---- the model ---- */

static bool entry_range(unsigned i, uint64_t *start, uint64_t *end)
{
    switch (configs[i] & 24) {
    case TOR:
        *start = i ? addresses[i - 1] << 2 : 0;
        *end = addresses[i] << 2;
        return *start < *end;
    case NA4:
        *start = addresses[i] << 2;
        *end = *start + 4;
        return true;
    case NAPOT: {
        if (addresses[i] << 10 == -1ull << 10 || addresses[i] == -1ull) {
            *start = 0;
            *end = -1ull;
            return true;
        }
        uint64_t ones = addresses[i] ^ (addresses[i] + 1);
        *start = (addresses[i] & ~ones) << 2;
        *end = *start + ((ones + 1) << 2);
        return true;
    }
    default:
        return false;
    }
}

static bool allowed(uint64_t at, unsigned bytes, int priv, enum access access)
{
    static const uint8_t needs[] = {R, W, X};
    for (unsigned i = 0; i < 16; i++) {
        uint64_t start, end;
        if (!entry_range(i, &start, &end) || at >= end || at + bytes <= start)
            continue;
        if (at < start || at + bytes > end)
            return false;
        if (priv == RT_M && !(configs[i] & L))
            return true;
        return configs[i] & needs[access];
    }
    return priv == RT_M;
}

/* ---- accesses ---- */

static const uint32_t loads[] = {0x00050583, 0x00051583, 0x00052583, 0x00053583};  /* lb, lh, lw, ld a1, (a0) */
static const uint32_t stores[] = {0x00b50023, 0x00b51023, 0x00b52023, 0x00b53023}; /* sb, sh, sw, sd a1, (a0) */
static uint64_t entries[2][4];

static void write_code(void)
{
    for (unsigned size = 0; size < 4; size++) {
        entries[LOAD][size] = (uint64_t)rt_code_buffer + 64 * size;
        entries[STORE][size] = (uint64_t)rt_code_buffer + 64 * size + 32;
        rt_code((void *)entries[LOAD][size], &loads[size], 1);
        rt_code((void *)entries[STORE][size], &stores[size], 1);
    }
    for (unsigned i = 0; i < sizeof(area); i += 2)
        *(volatile uint16_t *)(area + i) = RT_RET;
    rt_fence_i();
}

static bool case_is_right(uint64_t at, unsigned size, int priv, enum access access, struct outcome *out)
{
    uint64_t pc = access == FETCH ? at : entries[access][size];
    *out = rt_probe(priv, pc, at, 0x8082808280828082, 0);
    if (allowed(at, access == FETCH ? 2 : 1u << size, priv, access))
        return !out->trapped;
    uint64_t cause = access == FETCH ? CAUSE_FETCH_ACCESS : access == LOAD ? CAUSE_LOAD_ACCESS : CAUSE_STORE_ACCESS;
    return out->trapped && out->cause == cause && out->tval == at && out->epc == pc;
}

/* All aligned accesses around the area's special places, in each mode. */
static void sweep(const char *name, const uint64_t *places, unsigned count)
{
    static const int modes[] = {RT_M, RT_S, RT_U};
    rt_group_begin(name);
    for (unsigned m = 0; m < 3; m++)
        for (unsigned access = LOAD; access <= FETCH; access++)
            for (unsigned p = 0; p < count; p++)
                for (unsigned size = 0; size < (access == FETCH ? 1 : 4); size++) {
                    uint64_t at = places[p] & ~((1ull << (access == FETCH ? 1 : size)) - 1);
                    struct outcome out;
                    bool right = case_is_right(at, size, modes[m], access, &out);
                    rt_group_line("%c %s%d at %x: %s", mode_name[modes[m]], access_name[access], (int64_t)1 << size,
                                  at - (uint64_t)area, out.trapped ? "fault" : "ok");
                    rt_expect(right, "%s: %c %s%d at %x: %s", name, mode_name[modes[m]], access_name[access],
                              (int64_t)1 << size, at - (uint64_t)area, rt_describe(&out, 0));
                }
    rt_group_end();
}

static uint64_t napot(const void *start, uint64_t bytes)
{
    return (uint64_t)start >> 2 | ((bytes >> 3) - 1);
}

static uint64_t word(uint64_t offset)
{
    return ((uint64_t)area + offset) >> 2;
}

/* ---- directed ---- */

static const uint64_t page_places[] = {0, 8, 4088, 4096, 4104, 8184, 8192, 8200, 12280, 12288, 16376};
static uint64_t absolute[64];

static unsigned places(const uint64_t *offsets, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        absolute[i] = (uint64_t)area + offsets[i];
    return count;
}

static void permission_bits(void)
{
    static const uint8_t legal[] = {0, R, R | W, X, R | X, R | W | X};
    static const char *const names[] = {"napot.none", "napot.r", "napot.rw", "napot.x", "napot.rx", "napot.rwx"};
    static const char *const tor_names[] = {"tor.none", "tor.r", "tor.rw", "tor.x", "tor.rx", "tor.rwx"};
    unsigned count = places(page_places, RT_COUNT(page_places));
    for (unsigned i = 0; i < RT_COUNT(legal); i++) {
        program(legal[i] | NAPOT, napot(area + 4096, 4096), 0, 0, 0);
        sweep(names[i], absolute, count);
        program((uint64_t)(legal[i] | TOR) << 8, word(4096), word(12288), 0, 0);
        sweep(tor_names[i], absolute, count);
    }
}

static void priorities(void)
{
    unsigned count = places(page_places, RT_COUNT(page_places));
    /* The lowest-numbered entry decides, also when it allows less or more than a later one. */
    program((R | NAPOT) | (uint64_t)(R | W | X | NAPOT) << 8, napot(area, 4096), napot(area, 16384), 0, 0);
    sweep("priority.narrow_first", absolute, count);
    program((R | W | X | NAPOT) | (uint64_t)(R | NAPOT) << 8, napot(area, 16384), napot(area, 4096), 0, 0);
    sweep("priority.wide_first", absolute, count);
    program((NAPOT) | (uint64_t)(R | TOR) << 8 | (uint64_t)(X | TOR) << 16, napot(area + 8192, 4096), word(4096),
            word(12288), 0);
    sweep("priority.tor_chain", absolute, count);
    /* TOR with an upper bound at or below the lower one matches nothing; entry 0 as TOR starts at address 0. */
    program((uint64_t)TOR << 8, word(8192), word(4096), 0, 0);
    sweep("tor.empty", absolute, count);
    program(R | TOR, word(4096), 0, 0, 0);
    rt_print("tor.from_zero: cfg=%x", rt_csr_read(pmpcfg0) & 0xff);
    struct outcome below = rt_probe(RT_M, entries[LOAD][3], (uint64_t)area, 0, 0);
    rt_expect(!below.trapped, "tor.from_zero");
}

static const uint64_t small_places[] = {0x7e0, 0x7e8, 0x7f0, 0x7f8, 0x7fc, 0x800, 0x804,
                                        0x808, 0x80c, 0x810, 0x818, 0x81c, 0x820, 0x840};

static void small_regions(void)
{
    unsigned count = places(small_places, RT_COUNT(small_places));
    program(R | NA4, word(0x800), 0, 0, 0);
    rt_print("na4.cfg: %x addr=%x", rt_csr_read(pmpcfg0), addresses[0] << 2 == (uint64_t)area + 0x800);
    sweep("na4.r", absolute, count);
    program(NA4, word(0x804), 0, 0, 0);
    sweep("na4.none", absolute, count);
    program(R | W | NAPOT, napot(area + 0x808, 8), 0, 0, 0);
    sweep("napot8.rw", absolute, count);
    program(X | NAPOT, napot(area + 0x800, 32), 0, 0, 0);
    sweep("napot32.x", absolute, count);
    program((uint64_t)R << 8 | (uint64_t)TOR << 8, word(0x7fc), word(0x80c), 0, 0);
    sweep("tor12.r", absolute, count);
    program((uint64_t)(TOR) << 8 | (uint64_t)(R | W | X | NAPOT) << 16, word(0x804), word(0x810), napot(area, 4096), 0);
    sweep("tor12.hole_in_rwx", absolute, count);
}

/* Random entries over the area, a few places each: the model decides. */
static void random_entries(void)
{
    static const uint8_t legal[] = {0, R, R | W, X, R | X, R | W | X};
    uint64_t seed = 88172645463325252ull;
    for (unsigned round = 0; round < 200; round++) {
        uint64_t cfg = 0, address[4];
        for (unsigned i = 0; i < 4; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            /* TOR in entry 0 begins at address 0 and would take the code with it. */
            uint64_t mode = i || (seed >> 8 & 3) != 1 ? seed >> 8 & 3 : 2;
            cfg |= (uint64_t)(legal[seed % 6] | mode << 3) << 8 * i;
            address[i] = word(0) + (seed >> 16 & 0xfff);
            if (mode == 3) {
                uint64_t bits = (1ull << (seed >> 40) % 11) - 1;
                address[i] = (address[i] & ~(bits + 1)) | bits;
            }
        }
        program(cfg, address[0], address[1], address[2], address[3]);
        unsigned count = 0;
        for (unsigned i = 0; i < 4; i++)
            for (int64_t delta = -8; delta <= 8; delta += 4) {
                uint64_t at = (address[i] << 2) + (uint64_t)delta;
                if (at >= (uint64_t)area && at + 8 <= (uint64_t)area + sizeof(area))
                    absolute[count++] = at;
            }
        sweep("random", absolute, count);
    }
}

/* ---- with translation and MPRV ---- */

static void walks(void)
{
    program(0, 0, 0, 0, 0);
    tables[0][2] = 0x80000000ull >> 2 | 0xcf;
    tables[0][4] = (uint64_t)tables[1] >> 2 | 1;
    tables[1][0] = (uint64_t)tables[2] >> 2 | 1;
    tables[2][0] = (uint64_t)area >> 2 | 0xcf;
    tables[2][1] = (uint64_t)area >> 2 | 0x0f; /* A and D clear: the walk writes */
    static const struct {
        const char *name;
        unsigned table; /* 3: the page itself */
        uint8_t cfg;
    } cases[] = {{"open", 2, R | W | X | NAPOT},  {"root.none", 0, NAPOT},      {"level1.none", 1, NAPOT},
                 {"level0.none", 2, NAPOT},       {"level0.x", 2, X | NAPOT},   {"level0.r", 2, R | NAPOT},
                 {"level0.rw", 2, R | W | NAPOT}, {"page.none", 3, NAPOT},      {"page.r", 3, R | NAPOT},
                 {"page.x", 3, X | NAPOT},        {"page.rw", 3, R | W | NAPOT}};
    for (unsigned c = 0; c < RT_COUNT(cases); c++)
        for (unsigned access = LOAD; access <= FETCH; access++)
            for (unsigned page = 0; page < 2; page++) {
                const void *target = cases[c].table == 3 ? (const void *)area : (const void *)tables[cases[c].table];
                tables[2][1] = (uint64_t)area >> 2 | 0x0f;
                program(cases[c].cfg, napot(target, 4096), 0, 0, 0);
                rt_csr_write(satp, 8ull << 60 | (uint64_t)tables[0] >> 12);
                rt_sfence();
                uint64_t va = 0x100000000ull + page * 4096 + 64;
                uint64_t pc = access == FETCH ? va : entries[access][3];
                struct outcome out = rt_probe(RT_S, pc, va, 0x8082808280828082, 0);
                rt_csr_write(satp, 0);
                rt_sfence();
                rt_print("walk.%s.%s.%s: %s pte=%x", cases[c].name, access_name[access], page ? "update" : "clean",
                         rt_describe(&out, pc), out.trapped ? 0 : tables[2][1] & 0xff);
                bool level0 = cases[c].table == 2, reads = cases[c].cfg & R, writes = cases[c].cfg & W;
                bool walk = cases[c].table == 3 || (reads && (writes || !page || !level0));
                static const uint8_t needs[] = {R, W, X};
                bool data = cases[c].table != 3 || (cases[c].cfg & needs[access]);
                static const uint64_t faults[] = {CAUSE_LOAD_ACCESS, CAUSE_STORE_ACCESS, CAUSE_FETCH_ACCESS};
                rt_expect(out.trapped == !(walk && data), "walk.%s.%s.%d", cases[c].name, access_name[access],
                          (int64_t)page);
                /* With the root closed, the code's own fetch is the first to fail. */
                uint64_t fault = cases[c].table ? faults[access] : CAUSE_FETCH_ACCESS;
                rt_expect(!out.trapped || (out.cause == fault && out.tval == (cases[c].table ? va : pc)),
                          "walk.%s.%s.%d: cause", cases[c].name, access_name[access], (int64_t)page);
            }
}

static void mprv(void)
{
    static const uint32_t code[] = {0x3005a073 /* csrs mstatus, a1 */, 0x00053603 /* ld a2, (a0) */, 0x3005b073};
    program(NAPOT, napot(area, 4096), 0, 0, 0);
    for (uint64_t mpp = 0; mpp < 4; mpp++)
        for (uint64_t at = 0; mpp != 2 && at <= 4096; at += 4096) {
            rt_code(rt_code_buffer + 4096, code, 3);
            struct outcome out = rt_probe(RT_M, (uint64_t)rt_code_buffer + 4096, (uint64_t)area + at,
                                          MSTATUS_MPRV | MSTATUS_MPP(mpp), 0);
            rt_print("mprv.%c.%d: %s", mode_name[mpp], (int64_t)at, rt_describe(&out, (uint64_t)rt_code_buffer + 4096));
            rt_expect(out.trapped == (mpp != 3 && at == 0), "mprv.%c.%d", mode_name[mpp], (int64_t)at);
        }
    rt_csr_clear(mstatus, MSTATUS_MPP(3));
}

/* Nothing matches: M-mode may, S- and U-mode may not (section 3.7.1). */
static void no_entry(void)
{
    program(0, 0, 0, 0, 0);
    rt_csr_write(pmpcfg2, 0);
    rt_sfence();
    for (int priv = RT_M; priv >= RT_U; priv--) {
        if (priv == 2)
            continue;
        struct outcome out = rt_probe(priv, entries[LOAD][3], (uint64_t)area, 0, 0);
        rt_print("no_entry.%c: %s", mode_name[priv], rt_describe(&out, entries[LOAD][3]));
        rt_expect(out.trapped == (priv != RT_M) && (!out.trapped || out.cause == CAUSE_FETCH_ACCESS), "no_entry.%c",
                  mode_name[priv]);
    }
    rt_csr_write(pmpcfg2, 0x1full << 56);
    rt_sfence();
}

static void granularity(void)
{
    rt_csr_write(pmpcfg0, 0);
    rt_csr_write(pmpaddr0, -1ull);
    uint64_t ones = rt_csr_read(pmpaddr0) & ((1ull << 54) - 1);
    rt_print("granularity: %x", ones & -ones);
    for (uint64_t cfg = 0; cfg < 256; cfg++) {
        bool locks = cfg & L, reserved = (cfg & (R | W)) == W;
        if (locks || reserved)
            continue;
        rt_csr_write(pmpcfg0, cfg << 16);
        uint64_t got = rt_csr_read(pmpcfg0) >> 16;
        rt_print("cfg.%x: %x", cfg, got & ~0x60ull);
        /* Bits 5 and 6 are zero (section 3.7.1). */
        rt_expect(got == (cfg & ~0x60ull), "cfg.%x: %x", cfg, got);
    }
    rt_csr_write(pmpcfg0, 0);
}

/* Last, for locks stay until reset. */
static void locks(void)
{
    unsigned count = places(page_places, RT_COUNT(page_places));
    program((R | L | NAPOT), napot(area + 4096, 4096), 0, 0, 0);
    sweep("lock.r", absolute, count);
    rt_csr_write(pmpaddr0, 0);
    rt_csr_write(pmpcfg0, 0x1f);
    rt_print("lock.unchanged: cfg=%x addr=%d", rt_csr_read(pmpcfg0), (int64_t)(rt_csr_read(pmpaddr0) == addresses[0]));
    rt_expect((rt_csr_read(pmpcfg0) & 0xff) == (R | L | NAPOT) && rt_csr_read(pmpaddr0) == addresses[0],
              "lock.unchanged");
    /* A locked TOR entry locks the address register below it, too. */
    rt_csr_write(pmpaddr1, word(8192));
    rt_csr_write(pmpaddr2, word(12288));
    rt_csr_write(pmpcfg0, (uint64_t)(R | X | L | TOR) << 16);
    read_back();
    sweep("lock.tor", absolute, count);
    rt_csr_write(pmpaddr1, 0);
    rt_csr_write(pmpaddr2, 0);
    rt_csr_write(pmpaddr3, 0x1234);
    read_back();
    rt_print("lock.tor_below: addr1=%d addr2=%d addr3=%x", (int64_t)(addresses[1] == word(8192)),
             (int64_t)(addresses[2] == word(12288)), addresses[3]);
    rt_expect(addresses[1] == word(8192) && addresses[2] == word(12288), "lock.tor_below");
    /* A locked entry that is off is locked all the same, and decides nothing. */
    rt_csr_write(pmpcfg0, rt_csr_read(pmpcfg0) | (uint64_t)L << 24);
    rt_csr_write(pmpaddr3, 0x5678);
    read_back();
    rt_print("lock.off: cfg=%x addr3=%x", (uint64_t)configs[3], addresses[3]);
    rt_expect(configs[3] == L && addresses[3] == 0x1234, "lock.off");
    sweep("lock.all", absolute, count);
}

void bare_main(void)
{
    rt_csr_write(pmpaddr15, -1ull);
    rt_csr_write(pmpcfg2, 0x1full << 56);
    write_code();
    granularity();
    permission_bits();
    priorities();
    small_regions();
    random_entries();
    walks();
    mprv();
    no_entry();
    locks();
}
