/* The common virtio device, the memory-mapped transport and the entropy device, as a driver meets them: Linux's
 * virtio_mmio and virtio_rng where a name stands. */
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_rng.h"
#include "virtq_driver.h"

#include <limits.h>
#include <zlib.h>

enum {
    BASE = VQ_RAM_GPA + 0x100000,
    DATA = VQ_RAM_GPA + 0x400000,
    MMIO = 0x10001000,
    EMPTY = 0x10002000,
    IRQ_RNG = 1,
    IRQ_EMPTY = 2,
    FEATURES_OK = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK,
};

static const uint64_t all_features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
                                     VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER | VIRTIO_F_RING_RESET;

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct device *mmio, *empty;
static struct line_log lines[3];
static struct vq vq;

/* What the entropy device gets, and whether it gets any. */
static _Atomic int fill_result;
static pthread_mutex_t fill_gate = PTHREAD_MUTEX_INITIALIZER;

static int fill(void *opaque, void *buf, size_t len)
{
    pthread_mutex_lock(&fill_gate);
    pthread_mutex_unlock(&fill_gate);
    int result = atomic_load(&fill_result);
    if (result < 0)
        return result;
    size_t got = (size_t)result < len ? (size_t)result : len;
    memset(buf, 0x5a, got);
    return (int)got;
}

static void set_up(void)
{
    mem = vq_make_mem();
    memset(lines, 0, sizeof(lines));
    atomic_store(&fill_result, INT_MAX);
    ck_assert_int_eq(loop_create(&loop), 0);
    const struct virtio_rng_config rng = {.mem = mem, .loop = loop, .fill = fill};
    ck_assert_int_eq(virtio_rng_create(&rng, &dev), 0);
    struct virtio_mmio_config config = {
        .mem = mem, .gpa = MMIO, .irq = line_to(lines, IRQ_RNG), .irq_number = 1, .irq_parent = 3, .device = dev};
    ck_assert_int_eq(virtio_mmio_create(&config, &mmio), 0);
    config = (struct virtio_mmio_config){
        .mem = mem, .gpa = EMPTY, .irq = line_to(lines, IRQ_EMPTY), .irq_number = 2, .irq_parent = 3};
    ck_assert_int_eq(virtio_mmio_create(&config, &empty), 0);
}

static void set_up_running(void)
{
    set_up();
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    loop_stop(loop);
    empty->ops->destroy(empty);
    mmio->ops->destroy(mmio);
    dev->base.ops->destroy(&dev->base);
    loop_destroy(loop);
    mem_destroy(mem);
}

static uint32_t get(uint64_t offset)
{
    return (uint32_t)mmio_read(mem, MMIO + offset, 4);
}

static void set(uint64_t offset, uint32_t value)
{
    mmio_write(mem, MMIO + offset, 4, value);
}

/* Linux's virtio_mmio and virtio core, up to FEATURES_OK. */
static void probe(uint64_t features)
{
    set(0x70, 0);
    ck_assert_uint_eq(get(0x70), 0);
    set(0x70, get(0x70) | VIRTIO_STATUS_ACKNOWLEDGE);
    set(0x70, get(0x70) | VIRTIO_STATUS_DRIVER);
    set(0x24, 1);
    set(0x20, (uint32_t)(features >> 32));
    set(0x24, 0);
    set(0x20, (uint32_t)features);
    set(0x70, get(0x70) | VIRTIO_STATUS_FEATURES_OK);
}

static void give_queue(uint64_t features, uint16_t size)
{
    const uint64_t parts[] = {BASE, BASE + VQ_DRIVER_OFFSET, BASE + VQ_DEVICE_OFFSET};

    vq_init(&vq, mem, BASE, size, features);
    set(0x30, 0);
    ck_assert_uint_eq(get(0x44), 0);
    ck_assert_uint_ge(get(0x34), size);
    set(0x38, size);
    for (uint64_t i = 0; i < 3; i++) {
        set(0x80 + 0x10 * i, (uint32_t)parts[i]);
        set(0x84 + 0x10 * i, (uint32_t)(parts[i] >> 32));
    }
    set(0x44, 1);
}

static void start(uint64_t features)
{
    probe(features);
    ck_assert_uint_eq(get(0x70), FEATURES_OK);
    give_queue(features, 64);
    ck_assert_uint_eq(get(0x44), 1);
    set(0x70, FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

static void add_bytes(uint64_t gpa, uint32_t len)
{
    const struct vq_buffer buffer = {gpa, len, true};

    ck_assert_int_ge(vq_add(&vq, &buffer, 1, 0), 0);
    if (vq_must_kick(&vq))
        set(0x50, 0);
}

static void take_used(uint32_t expected)
{
    uint16_t id;
    uint32_t written;

    ck_assert(vq_next_used(&vq, &id, &written));
    ck_assert_uint_eq(written, expected);
}

/* ---- registers ---- */

START_TEST(probe_finds_the_device_and_passes_over_an_empty_slot)
{
    ck_assert_uint_eq(get(0), 0x74726976);
    ck_assert_uint_eq(get(4), 2);
    ck_assert_uint_eq(get(8), 4);
    ck_assert_uint_eq(mmio_read(mem, EMPTY, 4), 0x74726976);
    ck_assert_uint_eq(mmio_read(mem, EMPTY + 4, 4), 2);
    ck_assert_uint_eq(mmio_read(mem, EMPTY + 8, 4), 0);
    for (uint64_t offset = 0x10; offset < 0x200; offset += 4) {
        mmio_write(mem, EMPTY + offset, 4, UINT32_MAX);
        ck_assert_uint_eq(mmio_read(mem, EMPTY + offset, 4), 0);
    }
    ck_assert(!lines[IRQ_EMPTY].level);
}
END_TEST

START_TEST(features_are_read_by_words)
{
    uint64_t features = 0;

    for (uint32_t word = 0; word < 2; word++) {
        set(0x14, word);
        features |= (uint64_t)get(0x10) << 32 * word;
    }
    ck_assert_uint_eq(features, all_features);
    set(0x14, 2);
    ck_assert_uint_eq(get(0x10), 0);
    set(0x14, UINT32_MAX);
    ck_assert_uint_eq(get(0x10), 0);
}
END_TEST

START_TEST(features_that_cannot_be_are_refused)
{
    probe(VIRTIO_F_EVENT_IDX); /* without VERSION_1 */
    ck_assert_uint_eq(get(0x70), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    probe(VIRTIO_F_VERSION_1 | 1); /* not offered */
    ck_assert_uint_eq(get(0x70), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    /* DRIVER_OK does not come without. */
    set(0x70, VIRTIO_STATUS_DRIVER_OK);
    ck_assert_uint_eq(get(0x70), VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    probe(VIRTIO_F_VERSION_1);
    ck_assert_uint_eq(get(0x70), FEATURES_OK);
    /* And are fixed from then on. */
    set(0x20, UINT32_MAX);
    ck_assert_uint_eq(dev->driver_features, VIRTIO_F_VERSION_1);
}
END_TEST

START_TEST(status_bits_stay_until_a_reset)
{
    start(VIRTIO_F_VERSION_1);
    set(0x70, VIRTIO_STATUS_ACKNOWLEDGE);
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    set(0x70, VIRTIO_STATUS_NEEDS_RESET | 0x20); /* not the driver's */
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    set(0x70, 0);
    ck_assert_uint_eq(get(0x70), 0);
    ck_assert_uint_eq(get(0x44), 0);
}
END_TEST

START_TEST(queue_registers_are_fixed_while_it_is_ready)
{
    struct virtq before, after;

    start(VIRTIO_F_VERSION_1);
    ck_assert(virtio_queue_get(dev, 0, &before));
    for (uint64_t offset = 0x80; offset < 0xa8; offset += 4)
        set(offset, 0x12345678);
    set(0x38, 3);
    set(0x44, 1);
    ck_assert(virtio_queue_get(dev, 0, &after));
    ck_assert_mem_eq(&before, &after, sizeof(before));
    /* Queues that are not there. */
    static const uint32_t others[] = {1, 31, 32, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        set(0x30, others[i]);
        set(0x38, 4);
        set(0x80, 0x1000);
        set(0x44, 1);
        set(0x50, others[i]);
        ck_assert_uint_eq(get(0x34), 0);
        ck_assert_uint_eq(get(0x44), 0);
    }
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}
END_TEST

START_TEST(queue_before_features_is_ignored)
{
    set(0x70, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    give_queue(VIRTIO_F_VERSION_1, 8);
    ck_assert_uint_eq(get(0x44), 0);
}
END_TEST

START_TEST(queue_outside_ram_fails_the_device)
{
    probe(VIRTIO_F_VERSION_1);
    set(0x38, 8);
    set(0x44, 1);
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_NEEDS_RESET);
    ck_assert(!lines[IRQ_RNG].level); /* nobody is there to be told yet */
    start(VIRTIO_F_VERSION_1);
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}
END_TEST

START_TEST(accesses_of_other_sizes_mean_nothing)
{
    start(VIRTIO_F_VERSION_1);
    for (unsigned size = 1; size <= 8; size *= 2) {
        if (size == 4)
            continue;
        ck_assert_uint_eq(mmio_read(mem, MMIO, size), 0);
        mmio_write(mem, MMIO + 0x70, size, 0);
    }
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    /* This device has no configuration: zero, at any size and place. */
    for (unsigned size = 1; size <= 8; size *= 2) {
        ck_assert_uint_eq(mmio_read(mem, MMIO + 0x100, size), 0);
        mmio_write(mem, MMIO + 0x1000 - size, size, UINT64_MAX);
        ck_assert_uint_eq(mmio_read(mem, MMIO + 0x1000 - size, size), 0);
    }
}
END_TEST

START_TEST(shared_memory_regions_do_not_exist)
{
    set(0xac, 0);
    for (uint64_t offset = 0xb0; offset <= 0xbc; offset += 4)
        ck_assert_uint_eq(get(offset), UINT32_MAX);
}
END_TEST

/* ---- working ---- */

static const uint64_t settings[] = {
    VIRTIO_F_VERSION_1,
    VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED,
    VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_RESET,
};
enum { SETTINGS = sizeof(settings) / sizeof(settings[0]) };

START_TEST(interrupt_stays_until_it_is_acknowledged)
{
    start(settings[_i]);
    add_bytes(DATA, 64);
    ck_assert(!lines[IRQ_RNG].level); /* no turn yet */
    vq_turn(dev);
    take_used(64);
    ck_assert_uint_eq(*(uint8_t *)vq_at(&vq, DATA + 63, 1), 0x5a);
    ck_assert_uint_eq(*(uint8_t *)vq_at(&vq, DATA + 64, 1), 0);
    ck_assert(lines[IRQ_RNG].level);
    ck_assert_uint_eq(get(0x60), 1);
    set(0x64, 2); /* of the other cause */
    ck_assert(lines[IRQ_RNG].level);
    set(0x64, 1);
    ck_assert(!lines[IRQ_RNG].level);
    ck_assert_uint_eq(get(0x60), 0);
    /* A reset takes an interrupt back. */
    vq_want_interrupts(&vq, true);
    add_bytes(DATA, 64);
    vq_turn(dev);
    ck_assert(lines[IRQ_RNG].level);
    set(0x70, 0);
    ck_assert(!lines[IRQ_RNG].level);
}
END_TEST

START_TEST(interrupts_that_are_not_wanted_do_not_come)
{
    start(settings[_i]);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
    set(0x64, 1);
    vq_want_interrupts(&vq, false);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
    ck_assert(!lines[IRQ_RNG].level);
}
END_TEST

/* A buffer that is made available while the device is at work is seen, or a kick asked for. */
START_TEST(kicks_are_asked_for_only_when_nothing_is_there)
{
    start(settings[_i]);
    vq_turn(dev);
    for (int i = 0; i < 200; i++) {
        const struct vq_buffer buffer = {DATA, 16, true};
        ck_assert_int_ge(vq_add(&vq, &buffer, 1, 0), 0);
        ck_assert(vq_must_kick(&vq));
        set(0x50, 0);
        vq_turn(dev);
        take_used(16);
    }
}
END_TEST

START_TEST(turn_is_bounded_and_goes_on)
{
    start(settings[_i]);
    for (int i = 0; i < 64; i++)
        add_bytes(DATA, 1);
    vq_turn(dev);
    for (int i = 0; i < 64; i++)
        take_used(1);
    /* Exactly a turn's worth: there is to be another, which finds nothing and asks for kicks. */
    ck_assert(dev->work.queued);
    vq_turn(dev);
    add_bytes(DATA, 1);
    vq_turn(dev);
    take_used(1);
    ck_assert_uint_eq(dev->chains, 65);
}
END_TEST

START_TEST(long_buffers_get_a_part)
{
    const struct vq_buffer buffers[] = {{DATA, 3000, true}, {DATA + 0x10000, 3000, true}};

    start(settings[_i]);
    vq_add(&vq, buffers, 2, 0);
    set(0x50, 0);
    vq_turn(dev);
    take_used(VIRTIO_RNG_BUFFER_BYTES);
    atomic_store(&fill_result, 100); /* less than was asked of the host */
    vq_add(&vq, buffers, 2, 0);
    set(0x50, 0);
    vq_turn(dev);
    take_used(100);
    /* Nothing to write to. */
    const struct vq_buffer readable = {DATA, 16, false};
    vq_add(&vq, &readable, 1, 0);
    set(0x50, 0);
    vq_turn(dev);
    take_used(0);
}
END_TEST

START_TEST(host_without_random_numbers_fails_the_device)
{
    uint16_t id;
    uint32_t written;

    start(settings[_i]);
    atomic_store(&fill_result, -EIO);
    add_bytes(DATA, 64);
    vq_turn(dev);
    ck_assert(!vq_next_used(&vq, &id, &written));
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET);
    ck_assert_uint_eq(get(0x60), 2);
    ck_assert(lines[IRQ_RNG].level);
    atomic_store(&fill_result, INT_MAX);
    start(settings[_i]);
    ck_assert(!lines[IRQ_RNG].level);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
}
END_TEST

START_TEST(bad_ring_fails_the_device_until_a_reset)
{
    start(settings[_i]);
    add_bytes(0x1000, 64);
    vq_turn(dev);
    ck_assert(get(0x70) & VIRTIO_STATUS_NEEDS_RESET);
    ck_assert_uint_eq(get(0x60), 2);
    set(0x50, 0);
    vq_turn(dev);
    start(settings[_i]);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
}
END_TEST

START_TEST(buffers_before_driver_ok_are_found_afterwards)
{
    probe(settings[_i]);
    give_queue(settings[_i], 8);
    add_bytes(DATA, 64);
    vq_turn(dev);
    set(0x70, FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    ck_assert(dev->work.queued);
    vq_turn(dev);
    take_used(64);
}
END_TEST

START_TEST(one_queue_is_reset_where_that_was_negotiated)
{
    start(settings[_i]);
    set(0xc0, 1);
    bool negotiated = settings[_i] & VIRTIO_F_RING_RESET;
    ck_assert_uint_eq(get(0xc0), 0);
    ck_assert_uint_eq(get(0x44), !negotiated);
    if (!negotiated)
        return;
    give_queue(settings[_i], 16);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
}
END_TEST

/* ---- saved state ---- */

START_TEST(saved_device_goes_on)
{
    size_t len, mmio_len;

    start(settings[_i]);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
    add_bytes(DATA, 32); /* not yet worked on */
    set(0x30, 5);
    uint8_t *saved = save(&dev->base, &len), *saved_mmio = save(mmio, &mmio_len);
    set(0x70, 0);
    vq_turn(dev);
    mmio->ops->reset(mmio);
    ck_assert(!lines[IRQ_RNG].level);
    ck_assert_int_eq(device_state_load(&dev->base, saved, len, NULL), 0);
    ck_assert_int_eq(device_state_load(mmio, saved_mmio, mmio_len, NULL), 0);
    ck_assert(lines[IRQ_RNG].level);
    ck_assert_uint_eq(get(0x60), 1);
    ck_assert_uint_eq(get(0x70), FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    vq_turn(dev);
    take_used(32);
    free(saved);
    free(saved_mmio);
}
END_TEST

/* Any bytes with a right checksum. */
START_TEST(hostile_state_does_no_harm)
{
    size_t len;

    start(settings[_i]);
    uint8_t *saved = save(&dev->base, &len), *copy = malloc(len);
    const struct device_field *fields = dev->base.ops->fields;
    uint32_t state = 7;

    for (int round = 0; round < 2000; round++) {
        memcpy(copy, saved, len);
        size_t at = 48;
        for (const struct device_field *f = fields; f->name; f++) {
            at += 40;
            for (uint32_t i = 0; i < f->element_bytes * f->count; i++, at++) {
                state = state * 1664525 + 1013904223;
                if ((state >> 8) % 100 < (unsigned)round % 20)
                    copy[at] = round % 3 ? (uint8_t)(state >> 24) : 0xff;
            }
        }
        uint32_t crc = (uint32_t)crc32_z(0, copy, len - 4);
        memcpy(copy + len - 4, &crc, 4);
        ck_assert_int_eq(device_state_load(&dev->base, copy, len, NULL), 0);
        vq_turn(dev);
        set(0x50, 0);
        vq_turn(dev);
        (void)get(0x70);
    }
    start(settings[_i]);
    add_bytes(DATA, 64);
    vq_turn(dev);
    take_used(64);
    free(saved);
    free(copy);
}
END_TEST

/* ---- threads ---- */

START_TEST(loop_serves_a_driver_that_waits)
{
    start(settings[_i]);
    for (int i = 0; i < 3000; i++) {
        uint32_t written;
        add_bytes(DATA, 16);
        vq_wait_used(&vq, &written);
        if (i % 16 == 0)
            set(0x64, 3);
    }
    ck_assert_uint_le(atomic_load(&dev->kicks), 3000);
}
END_TEST

static void *reset_it(void *opaque)
{
    set(0x70, 0);
    return NULL;
}

/* A reset while the host's side is at work waits for it: afterwards nothing is stored any more. */
START_TEST(reset_waits_for_the_host)
{
    pthread_t thread;
    uint8_t *bytes = mem_ram_ptr(mem, DATA, 64);

    start(settings[_i]);
    pthread_mutex_lock(&fill_gate);
    add_bytes(DATA, 64);
    set(0x50, 0);
    usleep(20000);
    ck_assert_int_eq(pthread_create(&thread, NULL, reset_it, NULL), 0);
    usleep(20000);
    pthread_mutex_unlock(&fill_gate);
    pthread_join(thread, NULL);
    uint8_t before = __atomic_load_n(&bytes[63], __ATOMIC_RELAXED);
    usleep(20000);
    ck_assert_uint_eq(__atomic_load_n(&bytes[63], __ATOMIC_RELAXED), before);
    ck_assert_uint_eq(get(0x70), 0);
}
END_TEST

/* Harts that all drive the same device, each as if it were alone. */
static void *abuse(void *opaque)
{
    uint32_t state = (uint32_t)(uintptr_t)opaque;
    static const uint16_t offsets[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x90, 0xa0, 0xc0};

    for (int i = 0; i < 3000; i++) {
        state = state * 1664525 + 1013904223;
        uint64_t offset = offsets[(state >> 8) % (sizeof(offsets) / sizeof(offsets[0]))];
        (void)get(offset);
        set(offset, (state >> 16) % 5 ? (state >> 20) % 16 : BASE);
    }
    return NULL;
}

START_TEST(several_harts_at_once_do_no_harm)
{
    pthread_t threads[3];

    start(settings[_i]);
    for (uintptr_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, abuse, (void *)(i + 1)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    start(settings[_i]);
    uint32_t written;
    add_bytes(DATA, 16);
    vq_wait_used(&vq, &written);
    ck_assert_uint_eq(written, 16);
}
END_TEST

/* ---- device tree ---- */

START_TEST(node_has_qemus_binding)
{
    static const char *const compatible[] = {"virtio,mmio"};
    void *fdt = make_fdt();

    ck_assert_int_eq(mmio->ops->fdt(mmio, fdt), 0);
    int node = node_at(fdt, "/soc/virtio_mmio@10001000");
    expect_compatible(fdt, node, compatible, 1);
    EXPECT_CELLS(fdt, node, "reg", 0, MMIO, 0, 0x1000);
    EXPECT_CELLS(fdt, node, "interrupts", 1);
    EXPECT_CELLS(fdt, node, "interrupt-parent", 3);
    free(fdt);
    expect_fdt_survives_every_size(mmio);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio");
    TCase *registers = tcase_create("registers");
    TCase *working = tcase_create("working");
    TCase *threads = tcase_create("threads");

    tcase_add_checked_fixture(registers, set_up, tear_down);
    tcase_add_test(registers, probe_finds_the_device_and_passes_over_an_empty_slot);
    tcase_add_test(registers, features_are_read_by_words);
    tcase_add_test(registers, features_that_cannot_be_are_refused);
    tcase_add_test(registers, status_bits_stay_until_a_reset);
    tcase_add_test(registers, queue_registers_are_fixed_while_it_is_ready);
    tcase_add_test(registers, queue_before_features_is_ignored);
    tcase_add_test(registers, queue_outside_ram_fails_the_device);
    tcase_add_test(registers, accesses_of_other_sizes_mean_nothing);
    tcase_add_test(registers, shared_memory_regions_do_not_exist);
    tcase_add_test(registers, node_has_qemus_binding);
    suite_add_tcase(suite, registers);

    tcase_add_checked_fixture(working, set_up, tear_down);
    tcase_add_loop_test(working, interrupt_stays_until_it_is_acknowledged, 0, SETTINGS);
    tcase_add_loop_test(working, interrupts_that_are_not_wanted_do_not_come, 0, SETTINGS);
    tcase_add_loop_test(working, kicks_are_asked_for_only_when_nothing_is_there, 0, SETTINGS);
    tcase_add_loop_test(working, turn_is_bounded_and_goes_on, 0, SETTINGS);
    tcase_add_loop_test(working, long_buffers_get_a_part, 0, SETTINGS);
    tcase_add_loop_test(working, host_without_random_numbers_fails_the_device, 0, SETTINGS);
    tcase_add_loop_test(working, bad_ring_fails_the_device_until_a_reset, 0, SETTINGS);
    tcase_add_loop_test(working, buffers_before_driver_ok_are_found_afterwards, 0, SETTINGS);
    tcase_add_loop_test(working, one_queue_is_reset_where_that_was_negotiated, 0, SETTINGS);
    tcase_add_loop_test(working, saved_device_goes_on, 0, SETTINGS);
    tcase_add_loop_test(working, hostile_state_does_no_harm, 0, SETTINGS);
    suite_add_tcase(suite, working);

    tcase_add_checked_fixture(threads, set_up_running, tear_down);
    tcase_set_timeout(threads, 60);
    tcase_add_loop_test(threads, loop_serves_a_driver_that_waits, 0, SETTINGS);
    tcase_add_loop_test(threads, reset_waits_for_the_host, 0, SETTINGS);
    tcase_add_loop_test(threads, several_harts_at_once_do_no_harm, 0, SETTINGS);
    suite_add_tcase(suite, threads);
    return run_suite(suite);
}
