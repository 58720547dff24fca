/* x86-64 processors under KVM: exceptions, ring 3, ports and devices in memory, interrupts from the APICs, CPUID and
 * model-specific registers, and with several processors their start and messages between them. */
#include "rt.h"

enum { DIVIDE = 0, UNDEFINED = 6, PROTECTION = 13, PAGE = 14 };

static uint64_t add_three(uint64_t argument)
{
    return argument + 3;
}

static uint64_t divide(uint64_t argument)
{
    uint32_t low = 1, high = 0;

    __asm__ volatile("divl %2" : "+a"(low), "+d"(high) : "r"((uint32_t)argument));
    return low;
}

static uint64_t undefined(uint64_t argument)
{
    __asm__ volatile("ud2");
    return argument;
}

static uint64_t load(uint64_t argument)
{
    return *(volatile uint64_t *)argument;
}

static uint64_t privileged(uint64_t argument)
{
    __asm__ volatile("hlt");
    return argument;
}

static uint64_t in_port(uint64_t argument)
{
    return rt_in8((uint16_t)argument);
}

static uint64_t read_msr(uint64_t argument)
{
    return rt_rdmsr((uint32_t)argument);
}

/* A loop as ring 3 runs it at full speed: the sum of a linear generator's values. */
static uint64_t compute(uint64_t argument)
{
    uint64_t x = argument, sum = 0;

    for (unsigned i = 0; i < 20000000; i++) {
        x = x * 6364136223846793005 + 1442695040888963407;
        sum ^= x >> 33;
    }
    return sum;
}

static uint64_t vectors(uint64_t argument)
{
    double a = (double)argument, b = 1.5;

    __asm__ volatile("mulsd %1, %0" : "+x"(a) : "x"(b));
    return (uint64_t)a;
}

static void check(const char *name, bool faulted, bool expected, const struct rt_exception *e, uint64_t vector)
{
    rt_print("%s: faulted %d vector %d", name, (int64_t)faulted, faulted ? (int64_t)e->vector : -1);
    rt_expect(faulted == expected && (!faulted || e->vector == vector), "%s", name);
}

static void exceptions(void)
{
    struct rt_exception e;
    uint64_t result;
    bool faulted = rt_try(add_three, 4, &e, &result);

    check("none", faulted, false, &e, 0);
    rt_expect(result == 7, "the result is %d", (int64_t)result);
    check("divide", rt_try(divide, 0, &e, &result), true, &e, DIVIDE);
    check("undefined", rt_try(undefined, 0, &e, &result), true, &e, UNDEFINED);
    check("page", rt_try(load, 0x123456789000, &e, &result), true, &e, PAGE);
    rt_expect(e.address == 0x123456789000 && e.error == 0, "cr2 %x error %x", e.address, e.error);
}

static void ring3(void)
{
    struct rt_exception e;
    uint64_t result;
    bool faulted = rt_try_user(add_three, 4, &e, &result);

    check("user.none", faulted, false, &e, 0);
    rt_expect(result == 7, "the result is %d", (int64_t)result);
    check("user.privileged", rt_try_user(privileged, 0, &e, &result), true, &e, PROTECTION);
    check("user.port", rt_try_user(in_port, 0x3f8, &e, &result), true, &e, PROTECTION);
    check("user.page", rt_try_user(load, 0x123456789000, &e, &result), true, &e, PAGE);
    rt_expect(e.error == 4, "error %x", e.error);
    faulted = rt_try_user(vectors, 10, &e, &result);
    check("user.vectors", faulted, false, &e, 0);
    rt_expect(result == 15, "10 times 1.5 is %d", (int64_t)result);
    faulted = rt_try_user(compute, 1, &e, &result);
    check("user.compute", faulted, false, &e, 0);
    rt_print("user.compute: %x", result);
    rt_expect(result == 0x4c250254, "the sum");
}

static void ports(void)
{
    /* The clock's memory; 16 and 32 bits where nothing is; a device's register as parts. */
    rt_out8(0x70, 0x50);
    rt_out8(0x71, 0xa5);
    rt_out8(0x70, 0x50);
    rt_print("cmos: %x", (uint64_t)rt_in8(0x71));
    rt_expect(rt_in8(0x71) == 0xa5, "the clock's memory keeps");
    rt_out8(0x70, 0x32);
    rt_expect(rt_in8(0x71) == 0x20, "the century is %x", (uint64_t)rt_in8(0x71));
    rt_print("nothing: %x %x %x", (uint64_t)rt_in8(0x510), (uint64_t)rt_in16(0x510), (uint64_t)rt_in32(0x510));
    rt_expect(rt_in32(0x510) == 0xffffffff, "ones");
    rt_out32(0xcf8, 0x80000000);
    rt_print("pci.bridge: %x", (uint64_t)rt_in32(0xcfc));
    rt_expect(rt_in32(0xcfc) == *rt_mmio32(0xe0000000), "both ways to configuration space");
    rt_expect(rt_in16(0xcfe) == rt_in32(0xcfc) >> 16, "and its halves");
    rt_out8(0x3f8 + 7, 0x5a);
    rt_expect(rt_in8(0x3f8 + 7) == 0x5a, "the serial port's scratch register");
    rt_print("hole: %x", *rt_mmio64(RT_HOLE));
    rt_expect(*rt_mmio64(RT_HOLE) == UINT64_MAX, "ones");
}

static bool wait_taken(unsigned vector, uint64_t before)
{
    for (uint64_t end = rt_now() + 50000000; rt_taken[vector] == before && rt_now() < end;)
        rt_open();
    return rt_taken[vector] != before;
}

static void interrupts(void)
{
    uint64_t before = rt_taken[RT_VECTOR_IPI];

    *rt_lapic(0x310) = 0;
    *rt_lapic(0x300) = RT_VECTOR_IPI;
    bool came = wait_taken(RT_VECTOR_IPI, before);
    rt_print("apic.self: %d", (int64_t)came);
    rt_expect(came, "an interrupt to oneself");

    before = rt_taken[RT_VECTOR_TIMER];
    *rt_lapic(0x3e0) = 0;
    *rt_lapic(0x320) = RT_VECTOR_TIMER; /* once */
    *rt_lapic(0x380) = 100000;
    came = wait_taken(RT_VECTOR_TIMER, before);
    rt_print("apic.timer: %d", (int64_t)came);
    rt_expect(came, "the local timer");

    /* The 8254 through input 0 of the I/O APIC, and HLT until it comes. */
    before = rt_taken[0x30];
    rt_ioapic_route(0, 0x30);
    rt_out8(0x43, 0x30);
    rt_out8(0x40, 0x00);
    rt_out8(0x40, 0x10);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    rt_print("pit.halt: %d", (int64_t)(rt_taken[0x30] - before));
    rt_expect(rt_taken[0x30] == before + 1, "the 8254 wakes");
    rt_ioapic_route(0, 1 << 16);
}

static void identity(void)
{
    uint32_t leaf[4];
    struct rt_exception e;
    uint64_t result;

    rt_cpuid(1, 0, leaf);
    rt_print("cpuid: apic %d hypervisor %d", (int64_t)(leaf[1] >> 24), (int64_t)(leaf[2] >> 31));
    rt_expect(leaf[1] >> 24 == 0 && leaf[2] >> 31, "leaf 1");
    rt_cpuid(0x40000000, 0, leaf);
    rt_expect(leaf[1] == 0x4b4d564b, "KVM's signature");
    rt_wrmsr(0xc0000102, 0x123456789); /* KernelGSBase */
    rt_expect(rt_rdmsr(0xc0000102) == 0x123456789, "a register keeps");
    check("msr.unknown", rt_try(read_msr, 0x12345678, &e, &result), true, &e, PROTECTION);
    rt_print("apic.base: %x", rt_rdmsr(0x1b) & ~0xffull);
}

/* ---- several ---- */

static volatile uint32_t counts[RT_PROCESSORS_MAX];
static volatile uint32_t shared;

void bare_secondary(unsigned id)
{
    for (unsigned i = 0; i < 1000; i++)
        __atomic_fetch_add(&shared, 1, __ATOMIC_SEQ_CST);
    counts[id] = id;
    /* Answers one message. */
    uint64_t before = rt_taken[RT_VECTOR_IPI];
    while (rt_taken[RT_VECTOR_IPI] == before)
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    counts[id] = 100 + id;
}

static bool wait_count(unsigned id, uint32_t value)
{
    for (uint64_t end = rt_now() + 100000000; counts[id] != value && rt_now() < end;)
        ;
    return counts[id] == value;
}

static void processors(void)
{
    unsigned count = 1;

    while (count < RT_PROCESSORS_MAX && count < BARE_PROCESSORS && rt_start_processor(count))
        count++;
    rt_print("processors: %d", (int64_t)count);
    rt_expect(count == BARE_PROCESSORS, "processors that start");
    for (unsigned i = 1; i < count; i++) {
        rt_expect(wait_count(i, i), "processor %d runs", (int64_t)i);
        /* Again and again: it may not have come to its wait yet. */
        for (unsigned tries = 0; tries < 100 && counts[i] != 100 + i; tries++) {
            *rt_lapic(0x310) = i << 24;
            *rt_lapic(0x300) = RT_VECTOR_IPI;
            for (uint64_t end = rt_now() + 100000; counts[i] != 100 + i && rt_now() < end;)
                ;
        }
        rt_expect(wait_count(i, 100 + i), "processor %d takes a message", (int64_t)i);
    }
    rt_print("shared: %d", (int64_t)shared);
    rt_expect(shared == 1000 * (count - 1), "sums of several");
}

void bare_main(void)
{
    exceptions();
    ring3();
    ports();
    interrupts();
    identity();
    processors();
}
