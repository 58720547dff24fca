/* Smepmp: the truth table of mseccfg.MML for each mode and access, locks and RLB, MMWP, rules that may not be added.
 *
 * Under MML nothing is both writable and executable for M-mode, so the program's text and data have an entry each and
 * no code is generated. Entry 0 is the cases' own; 2 is text, 3 the rest of RAM, 5 the devices. RLB keeps the locks
 * open until the end, since MML, MMWP and a cleared RLB stay as they are.
 */
#include "rt.h"

enum { R = 1, W = 2, X = 4, TOR = 8, NAPOT = 24, L = 128 };
enum { MML = 1, MMWP = 2, RLB = 4 };
enum access { LOAD, STORE, FETCH, ACCESSES };

static const char mode_name[] = {'U', 'S', '?', 'M'};
static const char *const access_name[] = {"load", "store", "fetch"};
static _Alignas(4096) uint16_t area[2048];
extern uint8_t text_end[];

void probe_load(void);
void probe_store(void);
void probe_fetch(void);
__asm__(".text\n.balign 4\n"
        "probe_load: ld a1, 0(a0)\nret\n"
        ".balign 4\nprobe_store: sd a1, 0(a0)\nret\n"
        ".balign 4\nprobe_fetch: jr a0\n");

static uint64_t entry_of(enum access access)
{
    return access == LOAD ? (uint64_t)probe_load : access == STORE ? (uint64_t)probe_store : (uint64_t)probe_fetch;
}

#define mseccfg_read() rt_csr_read(0x747)
#define mseccfg_write(value) rt_csr_write(0x747, value)

static void set_entry(unsigned i, uint8_t cfg)
{
    uint64_t all = rt_csr_read(pmpcfg0);
    rt_csr_write(pmpcfg0, (all & ~(0xffull << 8 * i)) | (uint64_t)cfg << 8 * i);
    rt_sfence();
}

static uint8_t get_entry(unsigned i)
{
    return (uint8_t)(rt_csr_read(pmpcfg0) >> 8 * i);
}

/* Permissions of L, R, W, X under MML as the specification's table has them: M-mode's, then the others'. */
static const uint8_t table[16][2] = {
    {0, 0}, {0, X}, {R | W, R}, {R | W, R | W}, {0, R}, {0, R | X}, {0, R | W}, {0, R | W | X},
    {0, 0}, {X, 0}, {X, X},     {R | X, X},     {R, 0}, {R | X, 0}, {R | W, 0}, {R, R},
};

static void cases(bool mml)
{
    static const int modes[] = {RT_M, RT_S, RT_U};
    static const uint8_t needs[] = {R, W, X};
    for (unsigned row = 0; row < 16; row++) {
        uint8_t rwx = (uint8_t)((row & 4 ? R : 0) | (row & 2 ? W : 0) | (row & 1 ? X : 0));
        uint8_t cfg = (uint8_t)((row & 8 ? L : 0) | NAPOT | rwx);
        if (!mml && (rwx & (R | W)) == W)
            continue; /* reserved */
        set_entry(0, cfg);
        rt_expect(get_entry(0) == cfg, "mml%d.%x: reads %x", (int64_t)mml, (uint64_t)row, (uint64_t)get_entry(0));
        for (unsigned m = 0; m < 3; m++)
            for (unsigned access = 0; access < ACCESSES; access++) {
                struct outcome out =
                    rt_probe(modes[m], entry_of(access), (uint64_t)&area[8], 0x8082808280828082 /* c.jr ra */, 0);
                rt_print("mml%d.%x.%c.%s: %s", (int64_t)mml, (uint64_t)row, mode_name[modes[m]], access_name[access],
                         rt_describe(&out, access == FETCH ? (uint64_t)&area[8] : entry_of(access)));
                bool machine = modes[m] == RT_M;
                uint8_t allowed = mml ? table[row][!machine] : machine && !(row & 8) ? R | W | X : rwx;
                rt_expect(out.trapped == !(allowed & needs[access]), "mml%d.%x.%c.%s", (int64_t)mml, (uint64_t)row,
                          mode_name[modes[m]], access_name[access]);
            }
    }
    set_entry(0, 0);
}

static void locks(void)
{
    rt_print("reset: %x", mseccfg_read());
    /* Without RLB a lock holds; with it not, and it can be set only while nothing is locked. */
    mseccfg_write(RLB);
    rt_expect(mseccfg_read() == RLB, "rlb");
    set_entry(0, L | NAPOT | R);
    set_entry(0, NAPOT | R | W);
    rt_print("rlb.unlocked: %x", (uint64_t)get_entry(0));
    rt_expect(get_entry(0) == (NAPOT | R | W), "rlb.unlocked");
    uint64_t address = rt_csr_read(pmpaddr0);
    set_entry(0, L | NAPOT | R);
    rt_csr_write(pmpaddr0, 0x1234);
    rt_expect(rt_csr_read(pmpaddr0) == 0x1234, "rlb.address");
    rt_csr_write(pmpaddr0, address);
    set_entry(0, 0);
}

static void write_protect(void)
{
    set_entry(5, 0);
    struct outcome before = rt_probe(RT_M, entry_of(LOAD), RT_MTIME, 0, 0);
    mseccfg_write(RLB | MML | MMWP);
    struct outcome after = rt_probe(RT_M, entry_of(LOAD), RT_MTIME, 0, 0);
    set_entry(5, L | TOR | R | W);
    struct outcome again = rt_probe(RT_M, entry_of(LOAD), RT_MTIME, 0, 0);
    rt_print("mmwp: %s, %s, %s", rt_describe(&before, 0), rt_describe(&after, entry_of(LOAD)), rt_describe(&again, 0));
    rt_expect(!before.trapped && after.trapped && after.cause == CAUSE_LOAD_ACCESS && !again.trapped, "mmwp");
}

static void sticky(void)
{
    mseccfg_write(RLB);
    rt_print("sticky: %x", mseccfg_read());
    rt_expect(mseccfg_read() == (RLB | MML | MMWP), "sticky: %x", mseccfg_read());
    mseccfg_write(0);
    mseccfg_write(RLB);
    rt_print("rlb.gone: %x", mseccfg_read());
    rt_expect(mseccfg_read() == (MML | MMWP), "rlb.gone: %x", mseccfg_read());
    uint8_t text = get_entry(2);
    set_entry(2, 0);
    rt_expect(get_entry(2) == text, "locked");
    for (unsigned row = 0; row < 16; row++) {
        uint8_t cfg = (uint8_t)(L | NAPOT | (row & 4 ? R : 0) | (row & 2 ? W : 0) | (row & 1 ? X : 0));
        if (!table[8 | (row & 7)][0] || !(table[8 | (row & 7)][0] & X))
            continue;
        set_entry(6, cfg);
        rt_print("no_code.%x: %x", (uint64_t)row, (uint64_t)get_entry(6));
        rt_expect(get_entry(6) == 0, "no_code.%x", (uint64_t)row);
    }
    set_entry(6, L | NAPOT | R);
    rt_print("data: %x", (uint64_t)get_entry(6));
    rt_expect(get_entry(6) == (L | NAPOT | R), "data");
}

void bare_main(void)
{
    for (unsigned i = 0; i < RT_COUNT(area); i++)
        area[i] = RT_RET;
    rt_fence_i();
    /* Entry 0 was everything's: entry 7 takes over. */
    rt_csr_write(pmpaddr7, -1ull);
    set_entry(7, NAPOT | R | W | X);
    set_entry(0, 0);
    rt_csr_write(pmpaddr0, (uint64_t)area >> 2 | 0x1ff);
    rt_csr_write(pmpaddr1, 0x80000000 >> 2);
    rt_csr_write(pmpaddr2, (uint64_t)text_end >> 2);
    rt_csr_write(pmpaddr3, 0x88000000 >> 2);
    rt_csr_write(pmpaddr4, 0);
    rt_csr_write(pmpaddr5, 0x80000000 >> 2);
    rt_csr_write(pmpaddr6, 0x1ff); /* the first page, where nothing is of use */
    locks();
    cases(false);
    set_entry(2, L | TOR | R | X);
    set_entry(3, L | TOR | R | W);
    set_entry(5, L | TOR | R | W);
    mseccfg_write(RLB | MML);
    set_entry(2, L | TOR | W | X); /* text: M-mode reads and executes, the others execute */
    set_entry(3, TOR | W | X);     /* data: all read and write */
    set_entry(7, 0);
    cases(true);
    write_protect();
    sticky();
}
