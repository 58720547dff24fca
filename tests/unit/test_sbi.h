/* A machine for the SBI's tests that remembers what it was asked to do. */
#ifndef TUFF_TESTS_UNIT_TEST_SBI_H
#define TUFF_TESTS_UNIT_TEST_SBI_H

#include "machine/sbi.h"
#include "test_boot.h"

#include <errno.h>

enum { TEST_HARTS = 4 };

static struct fake_machine {
    enum sbi_hsm_state states[SBI_HARTS_MAX];
    int result;     /* what fallible ops return */
    uint32_t calls; /* of any op that changes something */
    uint32_t hart;
    uint64_t address, arg, mask, deadline;
    bool retentive, failure;
    enum sbi_reset_type reset;
    struct vcpu_fence fence;
    uint8_t written[128 << 10];
    size_t written_len, write_room;
    const char *input;
    uint32_t csr;
    bool counter_running;
    bool counter_has_value;
    uint64_t counter_value;
    uint32_t event_csr;
    uint64_t event;
    uint64_t environment[TEST_HARTS]; /* menvcfg */
    struct sbi_trigger triggers[TEST_HARTS][SBI_TRIGGERS];
    uint64_t stolen_ns;
} fake;

static bool test_overflow_interrupts;
static isa_set test_isa = ISA_ALL;
static struct sbi *test_sbi;
static struct sbi_ret test_ret;

static enum sbi_hsm_state fake_hart_state(void *opaque, uint32_t hart)
{
    ck_assert_ptr_eq(opaque, &fake);
    return fake.states[hart];
}

static int fake_hart_start(void *opaque, uint32_t hart, uint64_t start_gpa, uint64_t arg)
{
    fake.calls++;
    fake.hart = hart;
    fake.address = start_gpa;
    fake.arg = arg;
    return fake.result;
}

static int fake_hart_stop(void *opaque, uint32_t self)
{
    fake.calls++;
    fake.hart = self;
    return fake.result;
}

static int fake_hart_suspend(void *opaque, uint32_t self, bool retentive, uint64_t resume_gpa, uint64_t arg)
{
    fake.calls++;
    fake.hart = self;
    fake.retentive = retentive;
    fake.address = resume_gpa;
    fake.arg = arg;
    return fake.result;
}

static void fake_send_ipi(void *opaque, uint64_t mask)
{
    fake.calls++;
    fake.mask = mask;
}

static void fake_remote_fence(void *opaque, uint32_t self, uint64_t mask, const struct vcpu_fence *fence)
{
    fake.calls++;
    fake.hart = self;
    fake.mask = mask;
    fake.fence = *fence;
}

static void fake_set_timer(void *opaque, uint32_t self, uint64_t deadline)
{
    fake.calls++;
    fake.hart = self;
    fake.deadline = deadline;
}

static int fake_system_reset(void *opaque, enum sbi_reset_type type, bool system_failure)
{
    fake.calls++;
    fake.reset = type;
    fake.failure = system_failure;
    return fake.result;
}

static size_t fake_console_write(void *opaque, const uint8_t *bytes, size_t len)
{
    size_t taken = len < fake.write_room ? len : fake.write_room;

    ck_assert_uint_le(fake.written_len + taken, sizeof(fake.written));
    memcpy(fake.written + fake.written_len, bytes, taken);
    fake.written_len += taken;
    fake.calls++;
    return taken;
}

static size_t fake_console_read(void *opaque, uint8_t *bytes, size_t len)
{
    size_t given = strlen(fake.input) < len ? strlen(fake.input) : len;

    memcpy(bytes, fake.input, given);
    fake.input += given;
    fake.calls++;
    return given;
}

static void fake_counter_control(void *opaque, uint32_t self, uint32_t csr, bool running, const uint64_t *value)
{
    fake.calls++;
    fake.hart = self;
    fake.csr = csr;
    fake.counter_running = running;
    fake.counter_has_value = value != NULL;
    fake.counter_value = value ? *value : 0;
}

static void fake_counter_event(void *opaque, uint32_t self, uint32_t csr, uint64_t event)
{
    fake.event_csr = csr;
    fake.event = event;
}

static uint64_t fake_environment(void *opaque, uint32_t self, uint64_t mask, uint64_t value)
{
    uint64_t before = fake.environment[self];

    fake.environment[self] = (before & ~mask) | (value & mask);
    return before;
}

/* A hart with triggers of type 6 that knows modes and accesses, and any tdata2; tdata3 is zero. */
static struct sbi_trigger fake_trigger(void *opaque, uint32_t self, uint32_t index, const struct sbi_trigger *set)
{
    struct sbi_trigger *trigger = &fake.triggers[self][index];

    if (set && set->tdata1 >> 60 == 6)
        *trigger = (struct sbi_trigger){.tdata1 = set->tdata1 & (15ull << 60 | 0x1f), .tdata2 = set->tdata2};
    else if (set)
        *trigger = (struct sbi_trigger){.tdata1 = 15ull << 60, .tdata2 = set->tdata2};
    return *trigger;
}

static uint64_t fake_stolen_ns(void *opaque, uint32_t self)
{
    return fake.stolen_ns;
}

static const struct sbi_ops fake_ops = {
    .hart_state = fake_hart_state,
    .hart_start = fake_hart_start,
    .hart_stop = fake_hart_stop,
    .hart_suspend = fake_hart_suspend,
    .send_ipi = fake_send_ipi,
    .remote_fence = fake_remote_fence,
    .set_timer = fake_set_timer,
    .system_reset = fake_system_reset,
    .console_write = fake_console_write,
    .console_read = fake_console_read,
    .counter_control = fake_counter_control,
    .counter_event = fake_counter_event,
    .environment = fake_environment,
    .trigger = fake_trigger,
    .stolen_ns = fake_stolen_ns,
};

static inline void test_sbi_create(uint32_t hart_count)
{
    struct sbi_config config = {.hart_count = hart_count,
                                .mem = test_mem,
                                .ops = &fake_ops,
                                .opaque = &fake,
                                .overflow_interrupts = test_overflow_interrupts,
                                .isa = test_isa};

    sbi_destroy(test_sbi);
    test_sbi = NULL;
    ck_assert_int_eq(sbi_create(&config, &test_sbi), 0);
}

static inline void test_sbi_setup(void)
{
    test_setup();
    memset(&fake, 0, sizeof(fake));
    fake.write_room = SIZE_MAX;
    fake.input = "";
    test_sbi_create(TEST_HARTS);
}

static inline void test_sbi_teardown(void)
{
    sbi_destroy(test_sbi);
    test_sbi = NULL;
    test_teardown();
}

struct call_args {
    uint64_t a[6];
};

/* call(hart, EID, FID, {a0, a1, ...}): the answer is in test_ret. */
#define call(hart, eid, fid, ...) call_with((hart), (eid), (fid), (struct call_args){{__VA_ARGS__}})

static inline enum vcpu_action call_with(uint32_t hart, uint64_t eid, uint64_t fid, struct call_args args)
{
    uint64_t a[8] = {args.a[0], args.a[1], args.a[2], args.a[3], args.a[4], args.a[5], fid, eid};

    test_ret = (struct sbi_ret){.error = 99, .value = 99};
    return sbi_handle(test_sbi, hart, a, &test_ret);
}

#define expect_ret(wanted_error, wanted_value)             \
    do {                                                   \
        ck_assert_int_eq(test_ret.error, (wanted_error));  \
        ck_assert_uint_eq(test_ret.value, (wanted_value)); \
    } while (0)

#endif
