/* The KVM back end by itself: small pieces of real-mode code (real.S) on a virtual machine without a board. */
#include "accel/accel.h"
#include "dev/device_state.h"
#include "mem/mem.h"
#include "run_suite.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    SKIPPED = 77,
    RAM_BYTES = 64 << 10,
    MMIO_GPA = 0xd0000,
    RESULTS = 0x500,
    ENTRY_ACCESSES = 0x1000,
    ENTRY_STORES = 0x1100,
    ENTRY_COUNTS = 0x1200,
    ENTRY_TRIPLE_FAULT = 0x1300,
    ENTRY_MSR = 0x1400,
    ENTRY_CPUID = 0x1500,
    ENTRY_INTERRUPT = 0x1600,
    ENTRY_BEHIND_HOLE = 0x1700,
    HOLE_GPA = 0x40000,
    HIGH_GPA = 0x80000,
};

/* A virtual machine of one vCPU, and what its program did. */
struct machine {
    struct mem *mem;
    struct accel_vm *vm;
    struct vcpu *vcpu;
    char log[256]; /* port accesses and stores: "10<42 11> ..." */
    bool ended;
};

static void note(struct machine *m, const char *format, unsigned where, unsigned long long value)
{
    size_t len = strlen(m->log);

    snprintf(m->log + len, sizeof(m->log) - len, format, where, value);
}

static uint64_t port_read(void *opaque, uint16_t port, unsigned size_bytes)
{
    note(opaque, "%x? ", port, size_bytes);
    return 0x77;
}

static void port_write(void *opaque, uint16_t port, unsigned size_bytes, uint64_t value)
{
    struct machine *m = opaque;

    (void)size_bytes;
    if (port == 0xf4) {
        m->ended = true;
        vcpu_kick(m->vcpu);
    } else if (port == 0xf0) {
        /* The program is ready for an interrupt. */
        struct irq_line line;
        ck_assert_int_eq(accel_irq_edge(m->vm, 5, &line), 0);
        irq_set(&line, true);
        irq_set(&line, false);
    } else {
        note(m, "%x=%llx ", port, value);
    }
}

static const struct vcpu_env_ops env = {.port_read = port_read, .port_write = port_write};

static int device_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    (void)opaque, (void)size_bytes;
    *value = 0xcafe0000 + offset;
    return offset == 0x18 ? -EFAULT : 0;
}

static int device_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    (void)size_bytes;
    note(opaque, "m%x=%llx ", (unsigned)offset, value);
    return 0;
}

static const struct mem_ops device_ops = {
    .name = "test", .read = device_read, .write = device_write, .min_access_bytes = 1, .max_access_bytes = 4};

static void load(struct machine *m)
{
    uint8_t bytes[4096];
    FILE *file = fopen(REAL_BIN, "rb");

    ck_assert_ptr_nonnull(file);
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    ck_assert_uint_gt(len, 0x600);
    ck_assert_int_eq(mem_write(m->mem, 0x1000, bytes, len), 0);
}

static void make_with(struct machine *m, const struct mem_ram_config *ram)
{
    struct error err = {""};

    memset(m, 0, sizeof(*m));
    ck_assert_int_eq(mem_create(&m->mem), 0);
    ck_assert_int_eq(mem_add_ram_as(m->mem, ram), 0);
    ck_assert_int_eq(mem_add_mmio(m->mem, MMIO_GPA, MEM_PAGE_BYTES, &device_ops, m), 0);
    struct accel_vm_config config = {.mem = m->mem, .guest = VCPU_GUEST_X86_64, .vcpu_count = 1};
    ck_assert_msg(accel_vm_create(&config, &m->vm, &err) == 0, "%s", err.text);
    struct vcpu_config vcpu = {.hart_count = 1, .mem = m->mem, .env = &env, .env_opaque = m, .accel = m->vm};
    ck_assert_int_eq(vcpu_create(accel_vcpu_ops(VCPU_GUEST_X86_64), &vcpu, &m->vcpu), 0);
    load(m);
}

static void make(struct machine *m)
{
    const struct mem_ram_config ram = {.size_bytes = RAM_BYTES};

    make_with(m, &ram);
}

static void destroy(struct machine *m)
{
    vcpu_destroy(m->vcpu);
    accel_vm_destroy(m->vm);
    mem_destroy(m->mem);
}

/* As out of reset, but with segments at 0 and at `entry`. */
static void enter_at(struct machine *m, uint64_t entry)
{
    struct vcpu_state state;

    vcpu_get_state(m->vcpu, &state);
    for (unsigned i = VCPU_X86_ES; i <= VCPU_X86_GS; i++)
        state.x86.segments[i].base = state.x86.segments[i].selector = 0;
    state.x86.rip = entry;
    state.x86.gpr[VCPU_X86_RSP] = 0x8000;
    ck_assert_int_eq(vcpu_set_state(m->vcpu, &state), 0);
}

static enum vcpu_exit run_at(struct machine *m, uint64_t entry)
{
    enter_at(m, entry);
    return vcpu_run(m->vcpu, UINT64_MAX);
}

static uint32_t result(struct machine *m, unsigned offset)
{
    uint32_t value;

    ck_assert_int_eq(mem_read(m->mem, RESULTS + offset, &value, sizeof(value)), 0);
    return value;
}

static struct machine a, b;

static void setup(void)
{
    make(&a);
}

static void teardown(void)
{
    destroy(&a);
}

START_TEST(accesses_reach_ports_and_devices_with_their_size)
{
    struct vcpu_counters counters;

    ck_assert_int_eq(run_at(&a, ENTRY_ACCESSES), VCPU_EXIT_INTERRUPTED);
    ck_assert(a.ended);
    ck_assert_str_eq(a.log, "10=42 11? 30=1234 30=89abcdef 12=61 12=62 12=63 m10=11223344 ");
    ck_assert_uint_eq(result(&a, 0) & 0xff, 0x77);
    ck_assert_uint_eq(result(&a, 4), 0xcafe0014);
    ck_assert_uint_eq(result(&a, 8) & 0xff, 0xff);
    vcpu_counters_read(a.vcpu, &counters);
    ck_assert_uint_eq(counters.mmio_accesses, 3);
    ck_assert_uint_eq(counters.port_accesses, 8);
    ck_assert_uint_ge(counters.exits, 9);
    ck_assert_uint_gt(counters.guest_ns, 0);
}
END_TEST

START_TEST(stores_of_guest_and_devices_are_in_the_dirty_log)
{
    uint64_t words[1], byte = 1;

    /* Some 16 pages: one word. Before the log began nothing counts. */
    ck_assert_int_eq(mem_dirty_start(a.mem), 0);
    ck_assert_int_eq(run_at(&a, ENTRY_STORES), VCPU_EXIT_INTERRUPTED);
    ck_assert_int_eq(mem_write(a.mem, 0x9000, &byte, 1), 0);
    ck_assert_int_eq(mem_dirty_fetch(a.mem, words, 1), 0);
    ck_assert_uint_eq(words[0], 1u << 5 | 1u << 7 | 1u << 9);
    ck_assert_int_eq(mem_dirty_fetch(a.mem, words, 1), 0);
    ck_assert_uint_eq(words[0], 0);
    ck_assert_int_eq(run_at(&a, ENTRY_STORES), VCPU_EXIT_INTERRUPTED);
    mem_dirty_stop(a.mem);
    ck_assert_int_eq(mem_dirty_fetch(a.mem, words, 1), -EINVAL);
}
END_TEST

START_TEST(memory_behind_a_hole_is_the_guests_and_in_the_dirty_log)
{
    const struct mem_ram_config ram = {
        .size_bytes = 2 * HOLE_GPA, .hole_gpa = HOLE_GPA, .hole_bytes = HIGH_GPA - HOLE_GPA};
    uint64_t words[2];
    uint8_t byte = 0x44;

    make_with(&b, &ram);
    ck_assert_int_eq(mem_write(b.mem, HIGH_GPA + 0x3000, &byte, 1), 0);
    ck_assert_int_eq(mem_dirty_start(b.mem), 0);
    ck_assert_int_eq(run_at(&b, ENTRY_BEHIND_HOLE), VCPU_EXIT_INTERRUPTED);
    ck_assert_uint_eq(result(&b, 0) & 0xffff, 0xff44);
    ck_assert_int_eq(mem_read(b.mem, HIGH_GPA + 0x1234, &byte, 1), 0);
    ck_assert_uint_eq(byte, 0x33);
    ck_assert_int_eq(mem_dirty_fetch(b.mem, words, 2), 0);
    ck_assert_uint_eq(words[0], 1);
    ck_assert_uint_eq(words[1], 1 << 1);
    mem_dirty_stop(b.mem);
    destroy(&b);
}
END_TEST

START_TEST(triple_fault_is_a_critical_end)
{
    ck_assert_int_eq(run_at(&a, ENTRY_TRIPLE_FAULT), VCPU_EXIT_CRITICAL);
}
END_TEST

START_TEST(unknown_model_specific_register_faults_and_is_counted)
{
    struct vcpu_counters counters;

    ck_assert_int_eq(run_at(&a, ENTRY_MSR), VCPU_EXIT_INTERRUPTED);
    ck_assert_uint_eq(result(&a, 0) & 0xff, 1);
    vcpu_counters_read(a.vcpu, &counters);
    ck_assert_uint_le(counters.msr_exits, 1);
}
END_TEST

START_TEST(cpuid_says_hypervisor_and_hides_what_is_not_carried_along)
{
    ck_assert_int_eq(run_at(&a, ENTRY_CPUID), VCPU_EXIT_INTERRUPTED);
    ck_assert_uint_eq(result(&a, 0) >> 24, 0);               /* APIC ID */
    ck_assert_uint_eq(result(&a, 0) >> 16 & 0xff, 1);        /* processors */
    ck_assert_uint_eq(result(&a, 4) >> 31, 1);               /* hypervisor */
    ck_assert_uint_eq(result(&a, 4) & (1 << 5 | 1 << 3), 0); /* VMX, MONITOR */
    ck_assert_uint_eq(result(&a, 8) & (1 << 2), 0);          /* SVM */
    ck_assert_uint_eq(result(&a, 12), 0x4b4d564b);           /* "KVMK" */
}
END_TEST

START_TEST(edge_of_an_eventfd_line_interrupts_a_halted_guest)
{
    struct vcpu_counters counters;
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool counts = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_BINARY_STATS_FD) > 0;

    close(fd);
    ck_assert_int_eq(run_at(&a, ENTRY_INTERRUPT), VCPU_EXIT_INTERRUPTED);
    ck_assert(a.ended);
    ck_assert_uint_eq(result(&a, 0) & 0xff, 1);
    vcpu_counters_read(a.vcpu, &counters);
    ck_assert_uint_ge(counters.interrupts, counts);
}
END_TEST

/* Waits until the guest has counted on from `from`. */
static void *kicker(void *opaque)
{
    struct machine *m = opaque;
    const volatile uint32_t *count = mem_ram_ptr(m->mem, RESULTS, 4);
    uint32_t from = *count;

    while (*count == from)
        usleep(1000);
    vcpu_kick(m->vcpu);
    return NULL;
}

static enum vcpu_exit run_until_kicked(struct machine *m)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, kicker, m), 0);
    enum vcpu_exit exit = vcpu_run(m->vcpu, UINT64_MAX);
    pthread_join(thread, NULL);
    return exit;
}

START_TEST(kick_from_another_thread_ends_a_run_in_the_guest)
{
    enter_at(&a, ENTRY_COUNTS);
    ck_assert_int_eq(run_until_kicked(&a), VCPU_EXIT_INTERRUPTED);
    ck_assert_uint_gt(result(&a, 0), 0);
    /* One before the run ends it at once. */
    vcpu_kick(a.vcpu);
    ck_assert_int_eq(vcpu_run(a.vcpu, UINT64_MAX), VCPU_EXIT_INTERRUPTED);
}
END_TEST

/* The counters of time go on by themselves. */
static bool is_time(uint32_t msr)
{
    return msr == 0x10 || msr == 0x6e0;
}

static void compare(const struct vcpu_x86_state *x, const struct vcpu_x86_state *y)
{
    ck_assert_mem_eq(x->gpr, y->gpr, sizeof(x->gpr));
    ck_assert_uint_eq(x->rip, y->rip);
    ck_assert_uint_eq(x->rflags, y->rflags);
    ck_assert_uint_eq(x->cr0, y->cr0);
    ck_assert_uint_eq(x->efer, y->efer);
    ck_assert_uint_eq(x->segments[VCPU_X86_CS].attributes, y->segments[VCPU_X86_CS].attributes);
    ck_assert_uint_eq(x->segments[VCPU_X86_CS].base, y->segments[VCPU_X86_CS].base);
    ck_assert_uint_eq(x->activity, y->activity);
    ck_assert_mem_eq(x->xsave, y->xsave, 512);
    ck_assert_uint_eq(x->msr_count, y->msr_count);
    for (uint32_t i = 0; i < x->msr_count; i++) {
        ck_assert_uint_eq(x->msrs[i].index, y->msrs[i].index);
        if (!is_time(x->msrs[i].index))
            ck_assert_msg(x->msrs[i].value == y->msrs[i].value, "0x%x: %llx, %llx", x->msrs[i].index,
                          (unsigned long long)x->msrs[i].value, (unsigned long long)y->msrs[i].value);
    }
}

START_TEST(state_and_memory_go_on_in_another_virtual_machine)
{
    struct vcpu_state state, again;
    uint8_t ram[RAM_BYTES];

    enter_at(&a, ENTRY_COUNTS);
    ck_assert_int_eq(run_until_kicked(&a), VCPU_EXIT_INTERRUPTED);
    vcpu_get_state(a.vcpu, &state);
    ck_assert_uint_eq(state.guest, VCPU_GUEST_X86_64);
    ck_assert_uint_gt(state.x86.msr_count, 20);
    ck_assert_int_eq(mem_read(a.mem, 0, ram, sizeof(ram)), 0);

    make(&b);
    ck_assert_int_eq(mem_write(b.mem, 0, ram, sizeof(ram)), 0);
    ck_assert_int_eq(vcpu_set_state(b.vcpu, &state), 0);
    vcpu_get_state(b.vcpu, &again);
    compare(&state.x86, &again.x86);
    uint32_t before = result(&b, 0);
    ck_assert_uint_eq(before, result(&a, 0));
    ck_assert_int_eq(run_until_kicked(&b), VCPU_EXIT_INTERRUPTED);
    ck_assert_uint_gt(result(&b, 0), before);
    destroy(&b);
}
END_TEST

/* The program has told the 8259 its vector; then the chips go on in another virtual machine. */
START_TEST(chips_are_saved_and_go_on_in_another_virtual_machine)
{
    struct error err = {""};
    uint8_t state[4096], again[4096];
    struct device *chip = accel_vm_take_chip(a.vm), *other;

    ck_assert_ptr_nonnull(chip);
    ck_assert_ptr_null(accel_vm_take_chip(a.vm));
    ck_assert_int_eq(run_at(&a, ENTRY_INTERRUPT), VCPU_EXIT_INTERRUPTED);
    size_t len = device_state_size(chip);
    ck_assert_uint_le(len, sizeof(state));
    ck_assert_int_eq(device_state_save(chip, state, len), 0);

    make(&b);
    other = accel_vm_take_chip(b.vm);
    ck_assert_int_eq(device_state_save(other, again, len), 0);
    ck_assert_int_ne(memcmp(state, again, len), 0);
    ck_assert_msg(device_state_load(other, state, len, &err) == 0, "%s", err.text);
    ck_assert_int_eq(device_state_save(other, again, len), 0);
    /* Up to the timer, whose time goes on: the controllers' registers. */
    ck_assert_mem_eq(state, again, len / 2);
    other->ops->destroy(other);
    destroy(&b);
    chip->ops->destroy(chip);
}
END_TEST

START_TEST(state_that_is_not_well_formed_is_refused)
{
    struct vcpu_state state, bad;

    vcpu_get_state(a.vcpu, &state);
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &state), 0);
    bad = state;
    bad.version--;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -EINVAL);
    bad = state;
    bad.guest = VCPU_GUEST_RISCV64;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -EINVAL);
    bad = state;
    bad.x86.msr_count = VCPU_X86_MSRS_MAX + 1;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -EINVAL);
    bad = state;
    bad.x86.msrs[0].index = 0x12345678;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -EINVAL);
    bad = state;
    bad.x86.activity = 99;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -EINVAL);
    bad = state;
    bad.x86.cr4 = UINT64_MAX;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -EINVAL);
    /* A processor that had everything. */
    ck_assert_uint_ne(state.x86.features[0], 0);
    bad = state;
    bad.x86.features[0] = UINT32_MAX;
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &bad), -ENOTSUP);
    ck_assert_int_eq(vcpu_set_state(a.vcpu, &state), 0);
}
END_TEST

START_TEST(more_vcpus_than_the_host_runs_are_refused_with_the_number)
{
    struct error err = {""};

    ck_assert_int_eq(accel_probe(VCPU_GUEST_X86_64, UINT32_MAX, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "4294967295 were asked for"));
}
END_TEST

int main(void)
{
    struct error reason;

    if (accel_probe(VCPU_GUEST_X86_64, 1, &reason)) {
        printf("skipped: %s\n", reason.text);
        return SKIPPED;
    }
    Suite *suite = suite_create("kvm");
    TCase *tcase = tcase_create("vcpu");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, accesses_reach_ports_and_devices_with_their_size);
    tcase_add_test(tcase, stores_of_guest_and_devices_are_in_the_dirty_log);
    tcase_add_test(tcase, memory_behind_a_hole_is_the_guests_and_in_the_dirty_log);
    tcase_add_test(tcase, triple_fault_is_a_critical_end);
    tcase_add_test(tcase, unknown_model_specific_register_faults_and_is_counted);
    tcase_add_test(tcase, cpuid_says_hypervisor_and_hides_what_is_not_carried_along);
    tcase_add_test(tcase, edge_of_an_eventfd_line_interrupts_a_halted_guest);
    tcase_add_test(tcase, kick_from_another_thread_ends_a_run_in_the_guest);
    tcase_add_test(tcase, state_and_memory_go_on_in_another_virtual_machine);
    tcase_add_test(tcase, chips_are_saved_and_go_on_in_another_virtual_machine);
    tcase_add_test(tcase, state_that_is_not_well_formed_is_refused);
    tcase_add_test(tcase, more_vcpus_than_the_host_runs_are_refused_with_the_number);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
