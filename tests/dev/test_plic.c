/* PLIC: registers, gateways, claims by several contexts, state, device tree, and threads that hammer it. */
#include "dev/plic.h"
#include "dev_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BASE = 0xc000000, HARTS = 2, M0 = 0, S0 = 1, M1 = 2, S1 = 3, CONTEXTS = 4, UART = 10 };

static struct mem *mem;
static struct device *dev;
static struct line_log out[CONTEXTS]; /* by context */

static uint64_t priority_reg(unsigned source)
{
    return BASE + 4 * source;
}

static uint64_t enable_reg(unsigned context, unsigned word)
{
    return BASE + 0x2000 + 0x80 * context + 4 * word;
}

static uint64_t threshold_reg(unsigned context)
{
    return BASE + 0x200000 + 0x1000 * context;
}

static uint64_t claim_reg(unsigned context)
{
    return threshold_reg(context) + 4;
}

static void create(bool hide_machine_mode)
{
    const struct irq_line mei[HARTS] = {line_to(out, M0), line_to(out, M1)};
    const struct irq_line sei[HARTS] = {line_to(out, S0), line_to(out, S1)};
    const uint32_t phandles[HARTS] = {1, 2};
    const struct plic_config config = {.mem = mem,
                                       .gpa = BASE,
                                       .hart_count = HARTS,
                                       .mei = mei,
                                       .sei = sei,
                                       .phandle = 0x100,
                                       .intc_phandles = phandles,
                                       .hide_machine_mode = hide_machine_mode};

    ck_assert_int_eq(plic_create(&config, &dev), 0);
}

static void setup(void)
{
    memset(out, 0, sizeof(out));
    mem = make_mem();
    create(false);
}

static void teardown(void)
{
    mem_destroy(mem);
    dev->ops->destroy(dev);
}

static void drive(unsigned source, bool level)
{
    struct irq_line line = plic_source(dev, source);

    irq_set(&line, level);
}

static void set_priority(unsigned source, unsigned priority)
{
    mmio_write(mem, priority_reg(source), 4, priority);
}

static void enable(unsigned context, unsigned source)
{
    uint64_t reg = enable_reg(context, source / 32);

    mmio_write(mem, reg, 4, mmio_read(mem, reg, 4) | UINT64_C(1) << source % 32);
}

static uint64_t claim(unsigned context)
{
    return mmio_read(mem, claim_reg(context), 4);
}

static void complete(unsigned context, uint64_t source)
{
    mmio_write(mem, claim_reg(context), 4, source);
}

static bool is_pending(unsigned source)
{
    return mmio_read(mem, BASE + 0x1000 + source / 32 * 4, 4) >> source % 32 & 1;
}

START_TEST(reset_reads_zero_everywhere)
{
    for (unsigned source = 0; source <= PLIC_SOURCES; source++)
        ck_assert_uint_eq(mmio_read(mem, priority_reg(source), 4), 0);
    for (unsigned context = 0; context < CONTEXTS; context++) {
        ck_assert_uint_eq(mmio_read(mem, threshold_reg(context), 4), 0);
        ck_assert_uint_eq(claim(context), 0);
        ck_assert(!out[context].level);
    }
}
END_TEST

START_TEST(priorities_hold_three_bits_and_source_0_none)
{
    for (unsigned source = 0; source <= PLIC_SOURCES + 1; source++)
        set_priority(source, UINT32_MAX);
    ck_assert_uint_eq(mmio_read(mem, priority_reg(0), 4), 0);
    ck_assert_uint_eq(mmio_read(mem, priority_reg(1), 4), 7);
    ck_assert_uint_eq(mmio_read(mem, priority_reg(PLIC_SOURCES), 4), 7);
    ck_assert_uint_eq(mmio_read(mem, priority_reg(PLIC_SOURCES + 1), 4), 0);
    set_priority(3, 0xfffffffd);
    ck_assert_uint_eq(mmio_read(mem, priority_reg(3), 4), 5);
}
END_TEST

START_TEST(enables_exist_for_sources_1_to_95)
{
    for (unsigned context = 0; context < CONTEXTS; context++) {
        for (unsigned word = 0; word < 32; word++)
            mmio_write(mem, enable_reg(context, word), 4, UINT32_MAX);
        ck_assert_uint_eq(mmio_read(mem, enable_reg(context, 0), 4), 0xfffffffe);
        ck_assert_uint_eq(mmio_read(mem, enable_reg(context, 1), 4), 0xffffffff);
        ck_assert_uint_eq(mmio_read(mem, enable_reg(context, 2), 4), 0xffffffff);
        ck_assert_uint_eq(mmio_read(mem, enable_reg(context, 3), 4), 0);
    }
}
END_TEST

START_TEST(enables_of_contexts_are_apart)
{
    enable(S0, UART);
    for (unsigned context = 0; context < CONTEXTS; context++)
        ck_assert_uint_eq(mmio_read(mem, enable_reg(context, 0), 4), context == S0 ? 1u << UART : 0);
}
END_TEST

START_TEST(pending_bits_cannot_be_written)
{
    mmio_write(mem, BASE + 0x1000, 4, UINT32_MAX);
    ck_assert_uint_eq(mmio_read(mem, BASE + 0x1000, 4), 0);
    drive(UART, true);
    mmio_write(mem, BASE + 0x1000, 4, 0);
    ck_assert_uint_eq(mmio_read(mem, BASE + 0x1000, 4), 1u << UART);
}
END_TEST

START_TEST(accesses_of_other_sizes_fault)
{
    uint64_t value;

    for (unsigned size = 1; size <= 8; size *= 2) {
        ck_assert_int_eq(mem_mmio_read(mem, BASE, size, &value), size == 4 ? 0 : -EFAULT);
        ck_assert_int_eq(mem_mmio_write(mem, BASE, size, 0), size == 4 ? 0 : -EFAULT);
    }
}
END_TEST

START_TEST(absent_contexts_read_zero_and_ignore_writes)
{
    drive(UART, true);
    set_priority(UART, 1);
    mmio_write(mem, enable_reg(CONTEXTS, 0), 4, UINT32_MAX);
    mmio_write(mem, threshold_reg(CONTEXTS), 4, 7);
    ck_assert_uint_eq(mmio_read(mem, enable_reg(CONTEXTS, 0), 4), 0);
    ck_assert_uint_eq(mmio_read(mem, threshold_reg(CONTEXTS), 4), 0);
    ck_assert_uint_eq(claim(CONTEXTS), 0);
    ck_assert_uint_eq(mmio_read(mem, BASE + PLIC_BYTES - 4, 4), 0);
    ck_assert_uint_eq(mmio_read(mem, threshold_reg(S0) + 8, 4), 0);
    ck_assert(is_pending(UART));
}
END_TEST

START_TEST(line_needs_level_priority_and_enable)
{
    drive(UART, true);
    ck_assert(is_pending(UART));
    ck_assert(!out[S0].level);
    enable(S0, UART);
    ck_assert(!out[S0].level);
    set_priority(UART, 1);
    ck_assert(out[S0].level);
    ck_assert(!out[M0].level && !out[M1].level && !out[S1].level);
    mmio_write(mem, enable_reg(S0, 0), 4, 0);
    ck_assert(!out[S0].level);
    ck_assert(is_pending(UART));
}
END_TEST

START_TEST(threshold_masks_equal_and_lower_priorities)
{
    enable(S1, UART);
    set_priority(UART, 3);
    mmio_write(mem, threshold_reg(S1), 4, 3);
    drive(UART, true);
    ck_assert(!out[S1].level);
    mmio_write(mem, threshold_reg(S1), 4, 2);
    ck_assert(out[S1].level);
    mmio_write(mem, threshold_reg(S1), 4, 0xffffffff);
    ck_assert(!out[S1].level);
    ck_assert_uint_eq(mmio_read(mem, threshold_reg(S1), 4), 7);
}
END_TEST

START_TEST(claim_is_not_affected_by_the_threshold)
{
    enable(S0, UART);
    set_priority(UART, 3);
    mmio_write(mem, threshold_reg(S0), 4, 7);
    drive(UART, true);
    ck_assert(!out[S0].level);
    ck_assert_uint_eq(claim(S0), UART);
}
END_TEST

START_TEST(claim_never_returns_priority_0)
{
    enable(S0, UART);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), 0);
    ck_assert(is_pending(UART));
}
END_TEST

START_TEST(claim_lowers_line_and_pending_until_complete)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), UART);
    ck_assert(!out[S0].level);
    ck_assert(!is_pending(UART));
    ck_assert_uint_eq(claim(S0), 0);
    drive(UART, false);
    complete(S0, UART);
    ck_assert(!out[S0].level);
    ck_assert(!is_pending(UART));
}
END_TEST

START_TEST(level_still_high_at_complete_interrupts_again)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), UART);
    complete(S0, UART);
    ck_assert(out[S0].level);
    ck_assert_uint_eq(out[S0].rises, 2);
    ck_assert_uint_eq(claim(S0), UART);
}
END_TEST

START_TEST(edges_during_service_are_seen_at_complete_only)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), UART);
    drive(UART, false);
    drive(UART, true);
    ck_assert(!is_pending(UART));
    ck_assert(!out[S0].level);
    complete(S0, UART);
    ck_assert(out[S0].level);
}
END_TEST

START_TEST(request_stays_pending_when_the_level_falls_before_the_claim)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    drive(UART, false);
    ck_assert(is_pending(UART));
    ck_assert(out[S0].level);
    ck_assert_uint_eq(claim(S0), UART);
    complete(S0, UART);
    ck_assert(!is_pending(UART));
}
END_TEST

START_TEST(claims_go_by_priority_then_by_lowest_number)
{
    static const unsigned sources[] = {40, 95, 3, 12};
    static const unsigned priorities[] = {2, 7, 2, 5};
    static const unsigned order[] = {95, 12, 3, 40};

    for (unsigned i = 0; i < 4; i++) {
        enable(M0, sources[i]);
        set_priority(sources[i], priorities[i]);
        drive(sources[i], true);
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(out[M0].level);
        ck_assert_uint_eq(claim(M0), order[i]);
    }
    ck_assert(!out[M0].level);
    ck_assert_uint_eq(claim(M0), 0);
}
END_TEST

START_TEST(one_interrupt_is_claimed_by_one_of_two_contexts)
{
    enable(S0, UART);
    enable(S1, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert(out[S0].level && out[S1].level);
    ck_assert_uint_eq(claim(S1), UART);
    ck_assert(!out[S0].level && !out[S1].level);
    ck_assert_uint_eq(claim(S0), 0);
}
END_TEST

START_TEST(complete_by_another_context_with_the_source_enabled_counts)
{
    enable(S0, UART);
    enable(S1, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), UART);
    complete(S1, UART);
    ck_assert(is_pending(UART));
}
END_TEST

START_TEST(complete_of_a_disabled_source_is_ignored)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), UART);
    mmio_write(mem, enable_reg(S0, 0), 4, 0);
    complete(S0, UART);
    ck_assert(!is_pending(UART));
    enable(S0, UART);
    complete(S0, UART);
    ck_assert(is_pending(UART));
}
END_TEST

START_TEST(complete_of_impossible_numbers_is_ignored)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    ck_assert_uint_eq(claim(S0), UART);
    static const uint32_t numbers[] = {0, PLIC_SOURCES + 1, 1000, 0x7fffffff, 0xffffffff, 0x10000 + UART};
    for (unsigned i = 0; i < 6; i++)
        complete(S0, numbers[i]);
    ck_assert(!is_pending(UART));
}
END_TEST

START_TEST(reset_forgets_requests_but_not_levels)
{
    enable(S0, UART);
    set_priority(UART, 1);
    drive(UART, true);
    drive(20, true);
    drive(20, false);
    dev->ops->reset(dev);
    ck_assert(!out[S0].level);
    ck_assert(is_pending(UART));
    ck_assert(!is_pending(20));
    ck_assert_uint_eq(mmio_read(mem, priority_reg(UART), 4), 0);
}
END_TEST

START_TEST(saved_state_restores_service_pending_and_lines)
{
    enable(S0, UART);
    enable(S0, 64);
    enable(M1, 64);
    set_priority(UART, 1);
    set_priority(64, 6);
    mmio_write(mem, threshold_reg(M1), 4, 6);
    drive(UART, true);
    drive(64, true);
    ck_assert_uint_eq(claim(S0), 64);
    save_reset_load(dev);
    ck_assert(out[S0].level);
    ck_assert(!is_pending(64));
    ck_assert_uint_eq(mmio_read(mem, threshold_reg(M1), 4), 6);
    ck_assert_uint_eq(mmio_read(mem, enable_reg(S0, 2), 4), 1);
    ck_assert_uint_eq(claim(S0), UART);
    complete(S0, 64);
    ck_assert(is_pending(64));
}
END_TEST

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"sifive,plic-1.0.0", "riscv,plic0"};
    void *fdt = make_fdt();

    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    int node = node_at(fdt, "/soc/plic@c000000");
    expect_compatible(fdt, node, compatible, 2);
    EXPECT_CELLS(fdt, node, "reg", 0, 0xc000000, 0, 0x600000);
    EXPECT_CELLS(fdt, node, "interrupts-extended", 1, 11, 1, 9, 2, 11, 2, 9);
    EXPECT_CELLS(fdt, node, "riscv,ndev", 95);
    EXPECT_CELLS(fdt, node, "#interrupt-cells", 1);
    EXPECT_CELLS(fdt, node, "#address-cells", 0);
    EXPECT_CELLS(fdt, node, "phandle", 0x100);
    ck_assert(fdt_getprop(fdt, node, "interrupt-controller", NULL) != NULL);
    ck_assert_int_eq(fdt_node_offset_by_phandle(fdt, 0x100), node);
    free(fdt);
    expect_fdt_survives_every_size(dev);
}
END_TEST

START_TEST(node_for_a_supervisor_guest_marks_machine_contexts_absent)
{
    teardown();
    mem = make_mem();
    create(true);
    void *fdt = make_fdt();
    ck_assert_int_eq(dev->ops->fdt(dev, fdt), 0);
    EXPECT_CELLS(fdt, node_at(fdt, "/soc/plic@c000000"), "interrupts-extended", 1, UINT32_MAX, 1, 9, 2, UINT32_MAX, 2,
                 9);
    free(fdt);
}
END_TEST

START_TEST(create_refuses_impossible_hart_counts_and_taken_addresses)
{
    const struct irq_line lines[1] = {{0}};
    const uint32_t phandles[1] = {1};
    struct plic_config config = {
        .mem = mem, .gpa = BASE, .hart_count = 1, .mei = lines, .sei = lines, .intc_phandles = phandles};
    struct device *other;

    ck_assert_int_eq(plic_create(&config, &other), -EEXIST);
    config.gpa = 0x20000000;
    config.hart_count = 0;
    ck_assert_int_eq(plic_create(&config, &other), -EINVAL);
    config.hart_count = PLIC_HARTS_MAX + 1;
    ck_assert_int_eq(plic_create(&config, &other), -EINVAL);
}
END_TEST

/* Two harts claim and complete while two devices pulse their lines: a source is never in two hands, and nothing that
 * was raised is lost. */
enum { PULSES = 4000 };

static atomic_int holders[PLIC_SOURCES + 1];
static atomic_uint handled[PLIC_SOURCES + 1];
static atomic_bool level[PLIC_SOURCES + 1];
static atomic_bool double_claim;
static atomic_int devices_running;

static void locked_set(void *opaque, uint32_t number, bool line_level)
{
    atomic_store((atomic_bool *)opaque + number, line_level);
}

static void *device_thread(void *arg)
{
    unsigned source = *(unsigned *)arg;

    for (int i = 0; i < PULSES; i++) {
        unsigned before = atomic_load(&handled[source]);
        atomic_store(&level[source], true);
        drive(source, true);
        while (atomic_load(&handled[source]) == before)
            sched_yield();
    }
    atomic_fetch_sub(&devices_running, 1);
    return NULL;
}

static void *hart_thread(void *arg)
{
    unsigned context = *(unsigned *)arg;

    while (atomic_load(&devices_running)) {
        uint64_t source;
        if (mem_mmio_read(mem, claim_reg(context), 4, &source) || source == 0) {
            sched_yield();
            continue;
        }
        if (atomic_fetch_add(&holders[source], 1))
            atomic_store(&double_claim, true);
        drive((unsigned)source, false);
        if (atomic_exchange(&level[source], false))
            atomic_fetch_add(&handled[source], 1);
        atomic_fetch_sub(&holders[source], 1);
        if (mem_mmio_write(mem, claim_reg(context), 4, source))
            break;
    }
    return NULL;
}

START_TEST(threads_neither_share_nor_lose_interrupts)
{
    static atomic_bool lines[CONTEXTS];
    static const unsigned contexts[2] = {S0, S1};
    static const unsigned sources[2] = {UART, 70};
    const struct irq_line mei[HARTS] = {{locked_set, lines, M0}, {locked_set, lines, M1}};
    const struct irq_line sei[HARTS] = {{locked_set, lines, S0}, {locked_set, lines, S1}};
    const uint32_t phandles[HARTS] = {1, 2};
    const struct plic_config config = {
        .gpa = BASE, .hart_count = HARTS, .mei = mei, .sei = sei, .intc_phandles = phandles};
    struct plic_config with_mem = config;
    pthread_t threads[4];

    teardown();
    with_mem.mem = mem = make_mem();
    ck_assert_int_eq(plic_create(&with_mem, &dev), 0);
    for (unsigned i = 0; i < 2; i++) {
        set_priority(sources[i], 1 + i);
        enable(S0, sources[i]);
        enable(S1, sources[i]);
    }
    atomic_store(&devices_running, 2);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hart_thread, (void *)&contexts[i]), 0);
        ck_assert_int_eq(pthread_create(&threads[2 + i], NULL, device_thread, (void *)&sources[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert(!atomic_load(&double_claim));
    ck_assert_uint_ge(atomic_load(&handled[UART]), PULSES);
    ck_assert_uint_ge(atomic_load(&handled[70]), PULSES);
    ck_assert(!atomic_load(&lines[M0]) && !atomic_load(&lines[M1]));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plic");
    TCase *tc = tcase_create("registers");
    TCase *threads = tcase_create("threads");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, reset_reads_zero_everywhere);
    tcase_add_test(tc, priorities_hold_three_bits_and_source_0_none);
    tcase_add_test(tc, enables_exist_for_sources_1_to_95);
    tcase_add_test(tc, enables_of_contexts_are_apart);
    tcase_add_test(tc, pending_bits_cannot_be_written);
    tcase_add_test(tc, accesses_of_other_sizes_fault);
    tcase_add_test(tc, absent_contexts_read_zero_and_ignore_writes);
    tcase_add_test(tc, line_needs_level_priority_and_enable);
    tcase_add_test(tc, threshold_masks_equal_and_lower_priorities);
    tcase_add_test(tc, claim_is_not_affected_by_the_threshold);
    tcase_add_test(tc, claim_never_returns_priority_0);
    tcase_add_test(tc, claim_lowers_line_and_pending_until_complete);
    tcase_add_test(tc, level_still_high_at_complete_interrupts_again);
    tcase_add_test(tc, edges_during_service_are_seen_at_complete_only);
    tcase_add_test(tc, request_stays_pending_when_the_level_falls_before_the_claim);
    tcase_add_test(tc, claims_go_by_priority_then_by_lowest_number);
    tcase_add_test(tc, one_interrupt_is_claimed_by_one_of_two_contexts);
    tcase_add_test(tc, complete_by_another_context_with_the_source_enabled_counts);
    tcase_add_test(tc, complete_of_a_disabled_source_is_ignored);
    tcase_add_test(tc, complete_of_impossible_numbers_is_ignored);
    tcase_add_test(tc, reset_forgets_requests_but_not_levels);
    tcase_add_test(tc, saved_state_restores_service_pending_and_lines);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, node_for_a_supervisor_guest_marks_machine_contexts_absent);
    tcase_add_test(tc, create_refuses_impossible_hart_counts_and_taken_addresses);
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(threads, setup, teardown);
    tcase_set_timeout(threads, 120);
    tcase_add_test(threads, threads_neither_share_nor_lose_interrupts);
    suite_add_tcase(suite, threads);
    return run_suite(suite);
}
