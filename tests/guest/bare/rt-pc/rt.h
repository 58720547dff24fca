/* What bare-metal programs stand on on the PC board: the report, I/O ports, interrupts and exceptions as values, ring
 * 3, other processors. Long mode, the first 4 GiB mapped to themselves; code and data of all of it are open to ring 3.
 */
#ifndef TUFF_TESTS_GUEST_BARE_PC_RT_H
#define TUFF_TESTS_GUEST_BARE_PC_RT_H

#include "report.h"

/* Nothing is there. */
#define RT_HOLE 0xd8000000ull
#define RT_VIRTIO 0xd0000000ull
#define RT_TEST 0xd0010000ull
#define RT_PCI_ECAM 0xe0000000ull
#define RT_PCI_MEM32 0xc0000000ull
#define RT_IOAPIC 0xfec00000ull
#define RT_LAPIC 0xfee00000ull

enum {
    RT_CODE32 = 0x08, /* selectors of start.S's table */
    RT_CODE64 = 0x10,
    RT_DATA = 0x18,
    RT_CODE3 = 0x20 | 3,
    RT_DATA3 = 0x28 | 3,

    RT_VECTOR_LINE = 0x35, /* the first virtio slot's interrupt */
    RT_VECTOR_IPI = 0x41,
    RT_VECTOR_TIMER = 0x42,
    RT_VECTOR_SPURIOUS = 0xff,
    RT_PROCESSORS_MAX = 4,
};

void bare_main(void);
/* Run by each processor that rt_start_processor() started; it then halts. */
void bare_secondary(unsigned id);

/* How often each vector was taken, and of the last exception the rest. */
extern volatile uint64_t rt_taken[256];
struct rt_exception {
    uint64_t vector, error, rip, address; /* address: CR2 */
};

/* Runs fn(argument); an exception in it ends it. True: there was one, described in `*out`. */
bool rt_try(uint64_t (*fn)(uint64_t argument), uint64_t argument, struct rt_exception *out, uint64_t *result);
/* The same in ring 3. */
bool rt_try_user(uint64_t (*fn)(uint64_t argument), uint64_t argument, struct rt_exception *out, uint64_t *result);

/* Sends INIT and two SIPIs. False: the processor has not come within some seconds. */
bool rt_start_processor(unsigned id);

static inline void rt_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void rt_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void rt_out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline uint8_t rt_in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint16_t rt_in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t rt_in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint64_t rt_rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void rt_wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr) : "memory");
}

static inline void rt_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

static inline void rt_fence_io(void)
{
    __asm__ volatile("mfence" ::: "memory");
}

/* A clock of some 10 MHz: the time-stamp counter, of between 2 and 5 GHz. */
static inline uint64_t rt_now(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return ((uint64_t)high << 32 | low) >> 8;
}

/* Lets interrupts in for a moment. */
static inline void rt_open(void)
{
    __asm__ volatile("sti; nop; nop; cli" ::: "memory");
}

static inline volatile uint32_t *rt_lapic(uint32_t offset)
{
    return rt_mmio32(RT_LAPIC + offset);
}

static inline void rt_ioapic_route(uint32_t input, uint64_t entry)
{
    *rt_mmio32(RT_IOAPIC) = 0x10 + 2 * input;
    *rt_mmio32(RT_IOAPIC + 0x10) = (uint32_t)entry;
    *rt_mmio32(RT_IOAPIC) = 0x11 + 2 * input;
    *rt_mmio32(RT_IOAPIC + 0x10) = (uint32_t)(entry >> 32);
}

/* A byte that came on the serial port; -1: none. */
static inline int rt_console_get(void)
{
    return rt_in8(0x3f8 + 5) & 1 ? rt_in8(0x3f8) : -1;
}

/* The local APIC's timer, of 1 GHz divided by 16, rings once, in about so many milliseconds. */
static inline void rt_timer_arm(uint64_t ms)
{
    rt_taken[RT_VECTOR_TIMER] = 0;
    *rt_lapic(0x3e0) = 3;
    *rt_lapic(0x320) = RT_VECTOR_TIMER;
    *rt_lapic(0x380) = (uint32_t)(ms * 62500);
}

static inline bool rt_timer_rang(void)
{
    rt_open();
    return rt_taken[RT_VECTOR_TIMER] != 0;
}

/* The first virtio slot's line: input 5 of the I/O APIC, by its edge. */
static inline void rt_line_enable(void)
{
    rt_ioapic_route(5, RT_VECTOR_LINE);
}

static inline bool rt_line_pending(void)
{
    return *rt_lapic(0x200 + (RT_VECTOR_LINE / 32) * 0x10) >> RT_VECTOR_LINE % 32 & 1;
}

static inline uint32_t rt_line_claim(void)
{
    uint64_t before = rt_taken[RT_VECTOR_LINE];
    rt_open();
    return (uint32_t)(rt_taken[RT_VECTOR_LINE] - before);
}

static inline void rt_line_complete(void)
{
}

static inline void rt_line_disable(void)
{
    rt_ioapic_route(5, 1 << 16);
}

#endif
