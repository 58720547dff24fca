/* What bare-metal test programs stand on: a report on the UART, probes at any privilege, traps as values.
 *
 * A program is `void bare_main(void)` plus an optional `bare_secondary(hart)`. It runs on Tuff and on QEMU's virt board
 * and prints what it observed, one case a line, "case: observation"; the text before the colon names the case, and both
 * machines must print the same lines. Nothing that legitimately differs from run to run (times, addresses of the stack)
 * may be printed. What the specification decides is also checked by the program itself with rt_expect(), which makes
 * the exit code 1.
 *
 * Big tables of cases are groups: each line of the group is hashed and only the hash is printed, unless the program was
 * linked to be verbose, which is how a difference is located.
 */
#ifndef TUFF_TESTS_GUEST_BARE_RT_H
#define TUFF_TESTS_GUEST_BARE_RT_H

#include "report.h"

enum { RT_U = 0, RT_S = 1, RT_M = 3 };

/* Board addresses, those of QEMU's virt. */
#define RT_MSIP(hart) (0x2000000ull + 4 * (hart))
#define RT_MTIMECMP(hart) (0x2004000ull + 8 * (hart))
#define RT_MTIME 0x200bff8ull
#define RT_PLIC 0xc000000ull
#define RT_UART 0x10000000ull
#define RT_UART_IRQ 10
#define RT_PCI_ECAM 0x30000000ull
#define RT_PCI_MEM32 0x40000000ull

/* Addresses with nothing behind them on either machine, given 128 MiB of RAM. */
#define RT_HOLE 0x08000000ull
#define RT_BEYOND_RAM 0x90000000ull

#define MSTATUS_SIE (1ull << 1)
#define MSTATUS_MIE (1ull << 3)
#define MSTATUS_SPIE (1ull << 5)
#define MSTATUS_MPIE (1ull << 7)
#define MSTATUS_SPP (1ull << 8)
#define MSTATUS_MPP(p) ((uint64_t)(p) << 11)
#define MSTATUS_FS(v) ((uint64_t)(v) << 13)
#define MSTATUS_MPRV (1ull << 17)
#define MSTATUS_SUM (1ull << 18)
#define MSTATUS_MXR (1ull << 19)
#define MSTATUS_TVM (1ull << 20)
#define MSTATUS_TW (1ull << 21)
#define MSTATUS_TSR (1ull << 22)

enum {
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAK = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_S = 9,
    CAUSE_ECALL_M = 11,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
};
#define CAUSE_INTERRUPT (1ull << 63)

/* How a probe ended. */
struct outcome {
    bool trapped;
    char by; /* 'M' or 'S': the mode that took the trap; '-' when there was none */
    uint64_t cause, tval, epc, status;
    uint64_t a0, a1; /* the probe's registers at its end */
};

/* x, saved and trap_sp are known to start.S by offset; the struct is padded to 1024 bytes by rt.c's array. */
struct hart {
    uint64_t x[32];
    uint64_t saved[14];
    uint64_t trap_sp;
    uint64_t id;
    struct outcome outcome;
    bool probing;
    bool s_took_trap;
    /* When set, called for each trap in M- or S-mode (`mode` is 'M' or 'S') before anything else. It may change hart->x
     * and the epc CSR. True: return to the trapped code. False: the probe ends there. */
    bool (*hook)(struct hart *hart, char mode);
    uint64_t note[16]; /* for hooks */
};

extern struct hart *rt_hart(uint64_t id);

static inline struct hart *rt_self(void)
{
    struct hart *self;
    __asm__ volatile("mv %0, tp" : "=r"(self));
    return self;
}

/* Supplied by the program. bare_secondary runs on each hart but 0 (a weak default parks them). */
void bare_main(void);
void bare_secondary(struct hart *self);

/* ---- report, beside report.h ---- */

/* "M cause=2 tval=0 epc=+4" with epc relative to `base`; "ok" when nothing was trapped. The buffer is static, one of
 * four in turn. */
const char *rt_describe(const struct outcome *outcome, uint64_t base);

/* ---- probes ---- */

/* Runs `pc` at privilege `priv` (mstatus as it is, but MPP) with a0..a3 and ra = the gate, until it returns or traps.
 * On return MPRV, MIE and MPIE are clear. MRET enters with MIE = MPIE: a probe that wants interrupts in M-mode sets
 * MPIE before. `offset` is added to the probe's stack pointer and return address: 0, or the distance of the alias at
 * which U-mode sees memory. */
struct outcome rt_probe_at(int priv, uint64_t pc, const uint64_t args[4], uint64_t offset);
struct outcome rt_probe(int priv, uint64_t pc, uint64_t a0, uint64_t a1, uint64_t a2);

/* The buffer that rt_code() and rt_run() write instructions to: page-aligned, two pages. */
extern uint8_t rt_code_buffer[8192];
/* Writes instructions (2-byte ones have low bits != 3) at `at`, then c.jr ra, then FENCE.I. Returns the address behind.
 */
uint64_t rt_code(void *at, const uint32_t *insns, size_t count);
/* rt_code() into the buffer, then a probe of it. */
struct outcome rt_run(int priv, const uint32_t *insns, size_t count, uint64_t a0, uint64_t a1, uint64_t a2);
struct outcome rt_run1(int priv, uint32_t insn, uint64_t a0, uint64_t a1, uint64_t a2);

/* ---- CSRs and memory ---- */

#define rt_csr_read(name)                                                \
    ({                                                                   \
        uint64_t rt_value_;                                              \
        __asm__ volatile("csrr %0, " #name : "=r"(rt_value_)::"memory"); \
        rt_value_;                                                       \
    })
#define rt_csr_write(name, value) __asm__ volatile("csrw " #name ", %0" ::"r"((uint64_t)(value)) : "memory")
#define rt_csr_set(name, value) __asm__ volatile("csrs " #name ", %0" ::"r"((uint64_t)(value)) : "memory")
#define rt_csr_clear(name, value) __asm__ volatile("csrc " #name ", %0" ::"r"((uint64_t)(value)) : "memory")

static inline void rt_fence_i(void)
{
    __asm__ volatile("fence.i" ::: "memory");
}

static inline void rt_sfence(void)
{
    __asm__ volatile("sfence.vma" ::: "memory");
}

/* Encodings of the few instructions that tests patch together. Registers by number. */
enum { RT_RET = 0x8082, RT_NOP = 0x13 };
static inline uint32_t rt_i(uint32_t opcode, uint32_t funct3, uint32_t rd, uint32_t rs1, uint32_t imm12)
{
    return (imm12 & 0xfff) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode;
}
static inline uint32_t rt_r(uint32_t opcode, uint32_t funct3, uint32_t funct7, uint32_t rd, uint32_t rs1, uint32_t rs2)
{
    return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode;
}
static inline uint32_t rt_addi(uint32_t rd, uint32_t rs1, uint32_t imm12)
{
    return rt_i(0x13, 0, rd, rs1, imm12);
}
static inline uint32_t rt_csrrw(uint32_t rd, uint32_t csr, uint32_t rs1)
{
    return rt_i(0x73, 1, rd, rs1, csr);
}
static inline uint32_t rt_csrrs(uint32_t rd, uint32_t csr, uint32_t rs1)
{
    return rt_i(0x73, 2, rd, rs1, csr);
}

/* ---- what programs for several machines go by ---- */

#define RT_VIRTIO 0x10001000ull /* the first of eight slots */

static inline void rt_fence_io(void)
{
    __asm__ volatile("fence iorw, iorw" ::: "memory");
}

/* A clock of some 10 MHz. */
static inline uint64_t rt_now(void)
{
    return *rt_mmio64(RT_MTIME);
}

/* A byte that came on the serial port; -1: none. */
static inline int rt_console_get(void)
{
    volatile uint8_t *uart = (volatile uint8_t *)RT_UART;
    return uart[5] & 1 ? uart[0] : -1;
}

/* A timer that rings once, in about so many milliseconds. */
static inline void rt_timer_arm(uint64_t ms)
{
    *rt_mmio64(RT_MTIMECMP(0)) = rt_now() + ms * 10000;
}

static inline bool rt_timer_rang(void)
{
    return rt_csr_read(mip) & 1 << 7;
}

/* The first virtio slot's line into the interrupt controller. */
static inline void rt_line_enable(void)
{
    *rt_mmio32(RT_PLIC + 4) = 1;
    *rt_mmio32(RT_PLIC + 0x2000) = 2;
    *rt_mmio32(RT_PLIC + 0x200000) = 0;
}

static inline bool rt_line_pending(void)
{
    return *rt_mmio32(RT_PLIC + 0x1000) & 2;
}

/* Takes the interrupt: 1, or 0 when there is none. */
static inline uint32_t rt_line_claim(void)
{
    return *rt_mmio32(RT_PLIC + 0x200004);
}

static inline void rt_line_complete(void)
{
    *rt_mmio32(RT_PLIC + 0x200004) = 1;
}

static inline void rt_line_disable(void)
{
    *rt_mmio32(RT_PLIC + 0x2000) = 0;
}

#endif
