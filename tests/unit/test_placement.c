/* Lists of CPUs, the host's topology, NUMA nodes, and threads that go where they were put. */
#include "machine/placement.h"
#include "mem/mem.h"
#include "run_suite.h"

#include <errno.h>
#include <numa.h>
#include <stdio.h>
#include <string.h>

static struct placement p;
static struct error err;
static cpu_set_t usable;
static unsigned first;

static void setup(void)
{
    ck_assert_int_eq(sched_getaffinity(0, sizeof(usable), &usable), 0);
    for (first = 0; !CPU_ISSET(first, &usable);)
        first++;
}

static int make(const char *affinity, const char *numa, uint32_t vcpus)
{
    const struct placement_config config = {.affinity = affinity, .numa = numa, .vcpu_count = vcpus};

    return placement_make(&config, &p, &err);
}

START_TEST(nothing_asked_for_leaves_threads_where_they_are)
{
    cpu_set_t now;
    char text[1024];

    ck_assert_int_eq(make(NULL, NULL, 2), 0);
    placement_enter(&p, PLACEMENT_VCPU, 0, NULL);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(now), &now), 0);
    ck_assert(CPU_EQUAL(&now, &usable));
    struct mem *mem;
    ck_assert_int_eq(mem_create(&mem), 0);
    ck_assert_int_eq(mem_add_ram(mem, 0, MEM_PAGE_BYTES), 0);
    placement_describe(&p, mem, text, sizeof(text));
    mem_destroy(mem);
    ck_assert_ptr_nonnull(strstr(text, "vcpu CPUs any"));
    ck_assert_ptr_nonnull(strstr(text, "RAM on any node"));
    ck_assert_ptr_nonnull(strstr(text, "huge pages asked for (host: "));
}
END_TEST

START_TEST(threads_enter_their_kinds_cpus_and_leave_them)
{
    cpu_set_t before, now;
    char list[64];

    snprintf(list, sizeof(list), "vcpu=%u,io=%u", first, first);
    ck_assert_msg(make(list, NULL, 4) == 0, "%s", err.text);
    placement_enter(&p, PLACEMENT_VCPU, 3, &before);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(now), &now), 0);
    ck_assert_int_eq(CPU_COUNT(&now), 1);
    ck_assert(CPU_ISSET(first, &now));
    placement_leave(&before);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(now), &now), 0);
    ck_assert(CPU_EQUAL(&now, &usable));
    ck_assert_int_eq(CPU_COUNT(&p.sets[PLACEMENT_COMPILE]), 0);
}
END_TEST

START_TEST(lists_that_are_not_understood_or_not_usable_are_refused)
{
    static const char *const bad[] = {"",        "vcpu",    "vcpu=",    "vcpu=x",        "gpu=0",      "vcpu=3-1",
                                      "vcpu=0,", "vcpu=0+", "vcpu=0;1", "vcpu=99999999", "vcpu=0 io=1"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(make(bad[i], NULL, 1) == -EINVAL, "'%s' is taken", bad[i]);
        ck_assert_ptr_nonnull(strstr(err.text, "not understood"));
    }
    ck_assert(!CPU_ISSET(1023, &usable));
    ck_assert_int_eq(make("vcpu=1023", NULL, 1), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "CPU 1023 (vcpu)"));
}
END_TEST

START_TEST(topology_gives_each_vcpu_a_usable_cpu_and_none_twice_while_there_are_any)
{
    unsigned count = (unsigned)CPU_COUNT(&usable);

    for (uint32_t vcpus = 1; vcpus <= count + 1; vcpus++) {
        ck_assert_msg(make("auto", NULL, vcpus) == 0, "%s", err.text);
        ck_assert_uint_eq(p.vcpu_count, vcpus < count ? vcpus : count);
        ck_assert_int_eq(CPU_COUNT(&p.sets[PLACEMENT_VCPU]), (int)p.vcpu_count);
        for (unsigned kind = 0; kind < PLACEMENT_KINDS; kind++) {
            cpu_set_t both;
            CPU_AND(&both, &p.sets[kind], &usable);
            ck_assert(CPU_EQUAL(&both, &p.sets[kind]));
            CPU_AND(&both, &p.sets[kind], &p.sets[PLACEMENT_VCPU]);
            ck_assert(kind == PLACEMENT_VCPU || CPU_COUNT(&both) == 0);
        }
    }
}
END_TEST

START_TEST(numa_nodes_are_those_of_the_host)
{
    static char memory[1 << 16] __attribute__((aligned(4096)));

    if (numa_available() < 0) {
        ck_assert_int_eq(make(NULL, "0", 1), -ENOTSUP);
        return;
    }
    ck_assert_int_eq(make(NULL, "interleave", 1), 0);
    ck_assert(p.interleave);
    ck_assert_int_eq(make(NULL, "100000", 1), -EINVAL);
    ck_assert_int_eq(make(NULL, "first", 1), -EINVAL);
    ck_assert_int_eq(make(NULL, "0", 1), 0);
    ck_assert_int_eq(p.numa_node, 0);
    int rc = placement_bind(&p, memory, sizeof(memory), &err);
    ck_assert_msg(rc == 0 || rc == -EPERM || rc == -ENOSYS, "%s", err.text); /* a sandbox may forbid it */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("placement");
    TCase *tcase = tcase_create("placement");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, nothing_asked_for_leaves_threads_where_they_are);
    tcase_add_test(tcase, threads_enter_their_kinds_cpus_and_leave_them);
    tcase_add_test(tcase, lists_that_are_not_understood_or_not_usable_are_refused);
    tcase_add_test(tcase, topology_gives_each_vcpu_a_usable_cpu_and_none_twice_while_there_are_any);
    tcase_add_test(tcase, numa_nodes_are_those_of_the_host);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
