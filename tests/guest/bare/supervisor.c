/* A kernel of its own, started in S-mode, for what the VM's SBI changes in its hart: firmware features (SBI 3.0, FWFT),
 * steal time (STA) and debug triggers (DBTR). Each feature is switched and then tried out. Ends through the test
 * device: exit code 0, or the number of the expectation that failed. With -DDOUBLE_TRAP it ends in a double trap
 * instead.
 */
#include <stdbool.h>
#include <stdint.h>

enum { EID_FWFT = 0x46574654, EID_STA = 0x535441, EID_DBTR = 0x44425452, EID_HSM = 0x48534d, EID_DBCN = 0x4442434e };
enum { MISALIGNED, LANDING_PAD, SHADOW_STACK, DOUBLE_TRAP_FEATURE, PTE_AD, POINTER_MASKING };
enum { LOCK = 1, DENIED_LOCKED = -14 };
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_A = 64, PTE_D = 128 };
enum { CAUSE_ILLEGAL = 2, CAUSE_LOAD_ACCESS = 5, CAUSE_STORE_MISALIGNED = 6, CAUSE_STORE_PAGE = 15, CAUSE_CHECK = 18 };
enum { CAUSE_NONE = -1, CAUSE_BREAKPOINT = 3 };
enum { DBTR_NUM, DBTR_SET_SHMEM, DBTR_READ, DBTR_INSTALL, DBTR_UPDATE, DBTR_UNINSTALL, DBTR_ENABLE, DBTR_DISABLE };
#define SSTATUS_SPELP (1ull << 23)
#define SSTATUS_SDT (1ull << 24)
#define SV39 (8ull << 60)
#define TEST_DEVICE 0x100000ull
#define DATA_GVA 0x40000000ull

__asm__(".section .text.start, \"ax\"\n"
        ".globl _start\n"
        "_start: la sp, stack_top\n"
        "bnez a0, second\n"
        "call kernel\n"
        "second: la sp, second_stack_top\n"
        "call second_hart\n"
        ".text\n"
        ".balign 4\n"
        ".globl trap_entry, resumed, watched\n"
        "watched: jr t2\n"
        ".balign 4\n"
        "trap_entry: csrw sscratch, t0\n"
        "la t0, trap_cause\n"
        "sd t1, 24(t0)\n"
        "csrr t1, scause\n"
        "sd t1, 0(t0)\n"
        "csrr t1, stval\n"
        "sd t1, 8(t0)\n"
        "ld t1, 16(t0)\n"
        "csrw sepc, t1\n"
        "li t1, 0x800000\n" /* SPELP */
        "csrc sstatus, t1\n"
        "ld t1, 24(t0)\n"
        "csrr t0, sscratch\n"
        "sret\n"
        /* A hart that wakes up from a suspend: a1 is what suspend() was given. */
        "resumed: ld sp, 0(a1)\n"
        "ld ra, 8(a1)\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11\n"
        "ld s\\n, 16+8*\\n(a1)\n"
        ".endr\n"
        "ret\n"
        ".globl suspend\n"
        "suspend: sd sp, 0(a0)\n"
        "sd ra, 8(a0)\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11\n"
        "sd s\\n, 16+8*\\n(a0)\n"
        ".endr\n"
        "mv a2, a0\n"
        "li a0, 0x80000000\n"
        "la a1, resumed\n"
        "li a6, 3\n"
        "li a7, 0x48534d\n"
        "ecall\n"
        "ret\n"
        ".data\n"
        ".balign 8\n"
        ".globl trap_cause\n"
        "trap_cause: .dword 0, 0, 0, 0\n"
        ".bss\n"
        ".balign 16\n"
        ".space 8192\n"
        "stack_top:\n"
        ".space 8192\n"
        "second_stack_top:\n"
        ".text\n");

extern volatile uint64_t trap_cause[4]; /* cause, value, where to go on, a saved register */
extern char trap_entry[], watched[];
/* A non-retentive suspend of the hart; `frame` is for the registers that a call keeps. */
void suspend(uint64_t frame[14]);
void kernel(void);
void second_hart(void);

static _Alignas(4096) uint64_t root[512], middle[512], leaves[512];
static _Alignas(4096) volatile uint64_t page[512];
static _Alignas(64) volatile uint64_t steal[8];
static volatile uint64_t triggers[4][4];
static volatile uint64_t second_done;

static int64_t sbi(uint64_t eid, uint64_t fid, uint64_t a, uint64_t b, uint64_t c, uint64_t *value)
{
    register uint64_t a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register uint64_t a6 __asm__("a6") = fid, a7 __asm__("a7") = eid;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    if (value)
        *value = a1;
    return (int64_t)a0;
}

static int64_t set(uint64_t feature, uint64_t value, uint64_t flags)
{
    return sbi(EID_FWFT, 0, feature, value, flags, 0);
}

static uint64_t get(uint64_t feature)
{
    uint64_t value;

    return sbi(EID_FWFT, 1, feature, 0, 0, &value) ? ~0ull : value;
}

static void end(unsigned code)
{
    *(volatile uint32_t *)TEST_DEVICE = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

static void expect(bool holds, unsigned number)
{
    if (!holds)
        end(number);
}

/* Runs an instruction that may trap, with a0 = a and a1 = b; returns the cause of the trap, or CAUSE_NONE. */
#define PROBE(insn, a, b)                                                                       \
    ({                                                                                          \
        register uint64_t a0_ __asm__("a0") = (uint64_t)(a), a1_ __asm__("a1") = (uint64_t)(b); \
        trap_cause[0] = (uint64_t)CAUSE_NONE;                                                   \
        __asm__ volatile("la t0, 1f; la t1, trap_cause; sd t0, 16(t1);" insn "; 1:"             \
                         : "+r"(a0_), "+r"(a1_)                                                 \
                         :                                                                      \
                         : "t0", "t1", "t2", "memory");                                         \
        probe_result = a1_;                                                                     \
        (int64_t)trap_cause[0];                                                                 \
    })
static uint64_t probe_result;

static uint64_t sstatus(void)
{
    uint64_t value;

    __asm__ volatile("csrr %0, sstatus" : "=r"(value));
    return value;
}

static void check_misaligned(void)
{
    expect(get(MISALIGNED) == 1, 10);
    for (unsigned delegated = 0; delegated < 2; delegated++) {
        expect(set(MISALIGNED, delegated, 0) == 0 && get(MISALIGNED) == delegated, 11);
        expect(PROBE("ld a1, 0(a0)", (uint64_t)page + 1, 0) == CAUSE_NONE, 12);
        expect(PROBE("amoadd.d a1, a1, (a0)", (uint64_t)page + 1, 0) == CAUSE_STORE_MISALIGNED, 13);
    }
}

/* An indirect jump to what is no landing pad, and to one. */
static void check_landing_pads(void)
{
    for (unsigned on = 0; on < 2; on++) {
        expect(set(LANDING_PAD, on, 0) == 0 && get(LANDING_PAD) == on, 20);
        int64_t cause = PROBE("la a1, 2f; jr a1; .balign 4; 2: nop", 0, 0);
        expect(cause == (on ? CAUSE_CHECK : CAUSE_NONE), 21);
        expect(!on || trap_cause[1] == 2, 22);
        cause = PROBE("la a1, 2f; jr a1; .balign 4; 2: auipc x0, 0", 0, 0);
        expect(cause == CAUSE_NONE, 23);
    }
    expect(set(LANDING_PAD, 0, 0) == 0, 24);
}

static void check_shadow_stack(void)
{
    for (unsigned on = 0; on < 2; on++) {
        expect(set(SHADOW_STACK, on, 0) == 0 && get(SHADOW_STACK) == on, 30);
        expect(PROBE("csrr a1, 0x011", 0, 0) == (on ? CAUSE_NONE : CAUSE_ILLEGAL), 31);
    }
    expect(set(SHADOW_STACK, 0, 0) == 0, 32);
}

static void check_double_trap(void)
{
    for (unsigned on = 0; on < 2; on++) {
        expect(set(DOUBLE_TRAP_FEATURE, on, 0) == 0 && get(DOUBLE_TRAP_FEATURE) == on, 40);
        __asm__ volatile("csrs sstatus, %0" ::"r"(SSTATUS_SDT));
        expect(!!(sstatus() & SSTATUS_SDT) == on, 41);
        __asm__ volatile("csrc sstatus, %0" ::"r"(SSTATUS_SDT));
    }
    __asm__ volatile("csrs sstatus, %0" ::"r"(SSTATUS_SDT));
    expect(set(DOUBLE_TRAP_FEATURE, 0, 0) == 0 && !(sstatus() & SSTATUS_SDT), 42);
}

/* The kernel as it is, one page of data at DATA_GVA whose A and D are clear. */
static void map(void)
{
    root[2] = 0x80000000ull >> 12 << 10 | PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D;
    root[1] = (uint64_t)middle >> 12 << 10 | PTE_V;
    middle[0] = (uint64_t)leaves >> 12 << 10 | PTE_V;
    leaves[0] = (uint64_t)page >> 12 << 10 | PTE_V | PTE_R | PTE_W;
    __asm__ volatile("csrw satp, %0; sfence.vma" ::"r"(SV39 | (uint64_t)root >> 12) : "memory");
}

static void check_page_tables(void)
{
    expect(get(PTE_AD) == 1, 50); /* Svadu without Svade */
    map();
    expect(set(PTE_AD, 0, 0) == 0 && get(PTE_AD) == 0, 51);
    expect(PROBE("sd a1, 0(a0)", DATA_GVA, 5) == CAUSE_STORE_PAGE, 52);
    expect(!(leaves[0] & (PTE_A | PTE_D)), 53);
    expect(set(PTE_AD, 1, 0) == 0 && get(PTE_AD) == 1, 54);
    expect(PROBE("sd a1, 0(a0)", DATA_GVA, 5) == CAUSE_NONE, 55);
    expect((leaves[0] & (PTE_A | PTE_D)) == (PTE_A | PTE_D), 56);
    __asm__ volatile("csrw satp, zero; sfence.vma" ::: "memory");
    expect(page[0] == 5, 57);
}

static void check_pointer_masking(void)
{
    uint64_t tagged = (uint64_t)page | 0x55ull << 57, longer = (uint64_t)page | 0x5ull << 50;

    page[0] = 77;
    expect(get(POINTER_MASKING) == 0, 60);
    expect(PROBE("ld a1, 0(a0)", tagged, 0) == CAUSE_LOAD_ACCESS, 61);
    expect(set(POINTER_MASKING, 5, 0) == 0 && get(POINTER_MASKING) == 7, 62);
    expect(PROBE("ld a1, 0(a0)", tagged, 0) == CAUSE_NONE && probe_result == 77, 63);
    expect(PROBE("ld a1, 0(a0)", longer, 0) == CAUSE_LOAD_ACCESS, 64);
    expect(set(POINTER_MASKING, 16, 0) == 0 && get(POINTER_MASKING) == 16, 65);
    expect(PROBE("ld a1, 0(a0)", longer, 0) == CAUSE_NONE && probe_result == 77, 66);
    expect(set(POINTER_MASKING, 0, 0) == 0, 67);
    expect(PROBE("ld a1, 0(a0)", tagged, 0) == CAUSE_LOAD_ACCESS, 68);
}

/* A non-retentive suspend keeps features and locks; another hart has its own. */
static void check_locks(void)
{
    uint64_t frame[14], now;

    expect(set(LANDING_PAD, 1, LOCK) == 0, 70);
    expect(set(LANDING_PAD, 0, 0) == DENIED_LOCKED && get(LANDING_PAD) == 1, 71);
    expect(set(PTE_AD, 0, 0) == 0, 72);
    __asm__ volatile("csrs sie, %0" ::"r"(1ull << 5));
    __asm__ volatile("csrr %0, time" : "=r"(now));
    __asm__ volatile("csrw 0x14d, %0" ::"r"(now + 10000)); /* 1 ms */
    suspend(frame);
    __asm__ volatile("csrw stvec, %0" ::"r"(trap_entry));
    __asm__ volatile("csrw 0x14d, %0" ::"r"(-1ull));
    expect(get(LANDING_PAD) == 1 && set(LANDING_PAD, 0, 0) == DENIED_LOCKED, 73);
    expect(get(PTE_AD) == 0, 74);
    expect(sbi(EID_HSM, 0, 1, (uint64_t)0x80200000ull, 0, 0) == 0, 75);
    while (!second_done)
        ;
    expect(second_done == 1, 76);
}

void second_hart(void)
{
    bool fresh = get(LANDING_PAD) == 0 && get(PTE_AD) == 1 && get(MISALIGNED) == 1 && set(LANDING_PAD, 0, 0) == 0;

    second_done = fresh ? 1 : 2;
    sbi(EID_HSM, 1, 0, 0, 0, 0);
}

/* The time itself depends on the host; what is there is a count that only grows, between two even numbers. */
static void check_steal_time(void)
{
    uint64_t before = 0, now;

    for (unsigned i = 0; i < 8; i++)
        steal[i] = ~0ull;
    expect(sbi(EID_STA, 0, (uint64_t)steal, 0, 0, 0) == 0, 80);
    for (unsigned i = 0; i < 8; i++)
        expect(steal[i] == 0, 81);
    for (unsigned i = 0; i < 1000; i++) {
        __asm__ volatile("csrr %0, time" : "=r"(now));
        __asm__ volatile("csrw 0x14d, %0" ::"r"(now + 1000000));
        expect(!(steal[0] & 1) && steal[0] >> 32 == 0, 82);
        expect(steal[1] >= before && !steal[2], 83);
        before = steal[1];
    }
    __asm__ volatile("csrw 0x14d, %0" ::"r"(-1ull));
    expect(sbi(EID_STA, 0, -1ull, -1ull, 0, 0) == 0, 84);
}

/* Breakpoints and watchpoints of the kernel's own. */
static void check_triggers(void)
{
    const uint64_t in_supervisor = 6ull << 60 | 1 << 4, execute = 4, store = 2;
    uint64_t number;

    expect(sbi(EID_DBTR, DBTR_NUM, 0, 0, 0, &number) == 0 && number == 4, 90);
    expect(sbi(EID_DBTR, DBTR_SET_SHMEM, (uint64_t)triggers, 0, 0, 0) == 0, 91);
    triggers[0][1] = in_supervisor | execute;
    triggers[0][2] = (uint64_t)watched;
    triggers[1][1] = in_supervisor | store;
    triggers[1][2] = (uint64_t)&page[3];
    page[3] = 1;
    expect(PROBE("jalr t2, 0(a0)", watched, 0) == CAUSE_NONE, 92);
    expect(sbi(EID_DBTR, DBTR_INSTALL, 2, 0, 0, 0) == 0 && triggers[0][0] == 0 && triggers[1][0] == 1, 93);
    for (unsigned enabled = 1; enabled < 4; enabled++) {
        int64_t cause = enabled & 1 ? CAUSE_BREAKPOINT : CAUSE_NONE;
        expect(PROBE("jalr t2, 0(a0)", watched, 0) == cause, 94);
        expect(!(enabled & 1) || trap_cause[1] == (uint64_t)watched, 95);
        expect(PROBE("sd a1, 0(a0)", &page[3], enabled + 10) == cause, 96);
        expect(!(enabled & 1) || trap_cause[1] == (uint64_t)&page[3], 97);
        expect(page[3] == (enabled == 1 ? 1 : 12), 98); /* before the store */
        expect(PROBE("sd a1, 0(a0)", &page[4], 0) == CAUSE_NONE, 99);
        expect(sbi(EID_DBTR, enabled & 1 ? DBTR_DISABLE : DBTR_ENABLE, 0, 3, 0, 0) == 0, 100);
    }
    expect(sbi(EID_DBTR, DBTR_READ, 0, 4, 0, 0) == 0, 101);
    expect(triggers[1][0] == (1 << 8 | 1 << 5 | 1 << 2 | 1) && triggers[2][0] == 0, 102);
    expect(sbi(EID_DBTR, DBTR_UNINSTALL, 0, 3, 0, 0) == 0, 103);
    expect(PROBE("jalr t2, 0(a0)", watched, 0) == CAUSE_NONE, 104);
}

void kernel(void)
{
    __asm__ volatile("csrw stvec, %0" ::"r"(trap_entry));
#ifdef DOUBLE_TRAP
    set(DOUBLE_TRAP_FEATURE, 1, 0);
    __asm__ volatile("csrs sstatus, %0; unimp" ::"r"(SSTATUS_SDT));
    end(1);
#endif
    check_misaligned();
    check_landing_pads();
    check_shadow_stack();
    check_double_trap();
    check_page_tables();
    check_pointer_masking();
    check_steal_time();
    check_triggers();
    check_locks();
    end(0);
}
