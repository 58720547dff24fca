/* The balloon: pages go back to the host (seen by mincore()), lists of any length and content, statistics, reporting.
 */
#include "dev/virtio/virtio_balloon.h"
#include "virtq_driver.h"

#include <sys/mman.h>

enum {
    BASE = VQ_RAM_GPA + 0x100000,
    RING_STEP = 0x200000,
    LIST = VQ_RAM_GPA + 0x800000,
    DATA = VQ_RAM_GPA + 0xa00000,
    PAGE = VIRTIO_BALLOON_PAGE_BYTES,
    INFLATE = 0,
    DEFLATE = 1,
};

static const uint64_t STATS_VQ = 1 << 1, REPORTING = 1 << 5;

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[3]; /* of which the third is statistics or reporting */

static void set_up(void)
{
    mem = vq_make_mem();
    interrupts = (struct vq_interrupts){0};
    ck_assert_int_eq(loop_create(&loop), 0);
    const struct virtio_balloon_config config = {.mem = mem, .loop = loop, .target_pages = 7};
    ck_assert_int_eq(virtio_balloon_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
}

static void tear_down(void)
{
    dev->base.ops->destroy(&dev->base);
    loop_destroy(loop);
    mem_destroy(mem);
}

static void start(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    for (unsigned i = 0; i < 3; i++)
        vq_give(dev, i, &queues[i], BASE + i * (uint64_t)RING_STEP, 64);
    vq_driver_ok(dev);
    vq_turn(dev);
}

/* Is the page in the host's memory? */
static bool is_resident(uint64_t gpa)
{
    unsigned char there;

    ck_assert_int_eq(mincore(mem_ram_ptr(mem, gpa, PAGE), PAGE, &there), 0);
    return there & 1;
}

static void touch(uint64_t gpa, unsigned pages)
{
    memset(mem_ram_ptr(mem, gpa, (uint64_t)pages * PAGE), 0xa5, (size_t)pages * PAGE);
}

static void put_list(const uint32_t *numbers, unsigned count)
{
    memcpy(mem_ram_ptr(mem, LIST, count * 4), numbers, count * sizeof(numbers[0]));
}

static void send_list(unsigned queue, uint32_t bytes)
{
    const struct vq_buffer buffer = {LIST, bytes, false};

    ck_assert_int_ge(vq_send(dev, queue, &queues[queue], &buffer, 1), 0);
}

static unsigned take_used(unsigned queue)
{
    uint16_t id;
    uint32_t written;
    unsigned count = 0;

    for (; vq_next_used(&queues[queue], &id, &written); count++)
        ck_assert_uint_eq(written, 0);
    return count;
}

static uint32_t config32(uint32_t offset)
{
    uint32_t value;

    virtio_config_read(dev, offset, &value, sizeof(value));
    return value;
}

START_TEST(inflated_pages_leave_the_host_and_read_as_zero)
{
    const uint32_t first = DATA / PAGE;
    /* Up, down, alone; not RAM; the same twice. */
    const uint32_t numbers[] = {first, first + 1, first + 2, first + 9, first + 8, first + 5, 0, UINT32_MAX, first + 5};

    start(0);
    touch(DATA, 12);
    put_list(numbers, 9);
    send_list(INFLATE, sizeof(numbers));
    vq_turn(dev);
    ck_assert_uint_eq(take_used(INFLATE), 1);
    ck_assert_uint_ge(interrupts.queue, 1);
    for (unsigned i = 0; i < 12; i++) {
        bool given = i <= 2 || i == 5 || i == 8 || i == 9;
        ck_assert_msg(is_resident(DATA + i * (uint64_t)PAGE) == !given, "page %u", i);
    }
    ck_assert_uint_eq(*(uint8_t *)mem_ram_ptr(mem, DATA, 1), 0);
    ck_assert_uint_eq(*(uint8_t *)mem_ram_ptr(mem, DATA + 3 * PAGE, 1), 0xa5);
    send_list(DEFLATE, sizeof(numbers));
    vq_turn(dev);
    ck_assert_uint_eq(take_used(DEFLATE), 1);
}
END_TEST

/* A giant list is worked on bit by bit, other queues have their turn meanwhile, and a reset ends it. */
START_TEST(list_of_a_million_pages_takes_many_turns)
{
    struct vq_buffer buffers[8];
    unsigned turns = 0;

    start(0);
    for (unsigned i = 0; i < 8; i++)
        buffers[i] = (struct vq_buffer){VQ_RAM_GPA + 0xc00000, 512 << 10, false};
    ck_assert_int_ge(vq_send(dev, INFLATE, &queues[INFLATE], buffers, 8), 0);
    for (; !take_used(INFLATE); turns++) {
        vq_turn(dev);
        if (turns == 3) {
            send_list(DEFLATE, 4);
            vq_turn(dev);
            ck_assert_uint_eq(take_used(DEFLATE), 1);
        }
    }
    ck_assert_uint_ge(turns, 100);
    ck_assert_int_ge(vq_send(dev, INFLATE, &queues[INFLATE], buffers, 8), 0);
    vq_turn(dev);
    start(0);
    touch(DATA, 1);
    const uint32_t number = DATA / PAGE;
    put_list(&number, 1);
    send_list(INFLATE, 4);
    vq_turn(dev);
    ck_assert_uint_eq(take_used(INFLATE), 1);
    ck_assert(!is_resident(DATA));
}
END_TEST

START_TEST(odd_lists_are_given_back)
{
    static const uint32_t sizes[] = {0, 1, 3, 4, 7, 1024, 1027};

    start(0);
    const struct vq_buffer writable = {LIST, 64, true};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        send_list(INFLATE, sizes[i]);
    ck_assert_int_ge(vq_send(dev, INFLATE, &queues[INFLATE], &writable, 1), 0);
    for (int i = 0; i < 10; i++)
        vq_turn(dev);
    ck_assert_uint_eq(take_used(INFLATE), 8);
    ck_assert(!(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
}
END_TEST

START_TEST(reported_ranges_leave_the_host_as_whole_pages)
{
    start(REPORTING); /* without statistics the third queue is this one */
    touch(DATA, 8);
    const struct vq_buffer ranges[] = {{DATA + 100, 3 * PAGE, true}, {DATA + 5 * PAGE, PAGE, true}};
    ck_assert_int_ge(vq_send(dev, 2, &queues[2], ranges, 2), 0);
    vq_turn(dev);
    ck_assert_uint_eq(take_used(2), 1);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_msg(is_resident(DATA + i * (uint64_t)PAGE) == (i != 1 && i != 2 && i != 5), "page %u", i);
    ck_assert_uint_eq(*(uint8_t *)mem_ram_ptr(mem, DATA, 1), 0xa5);
    ck_assert_uint_eq(*(uint8_t *)mem_ram_ptr(mem, DATA + 3 * PAGE + 100, 1), 0xa5);
}
END_TEST

START_TEST(config_has_target_and_actual)
{
    start(0);
    ck_assert_uint_eq(config32(0), 7);
    ck_assert_uint_eq(config32(4), 0);
    ck_assert_uint_eq(config32(8), 0);
    const uint32_t value = 0x12345678;
    virtio_config_write(dev, 4, &value, 4);
    virtio_config_write(dev, 0, &value, 4); /* not the driver's */
    ck_assert_uint_eq(virtio_balloon_actual(dev), value);
    ck_assert_uint_eq(config32(0), 7);
    virtio_balloon_set_target(dev, 7);
    ck_assert_uint_eq(interrupts.config, 0);
    virtio_balloon_set_target(dev, 8);
    ck_assert_uint_eq(interrupts.config, 1);
    ck_assert_uint_eq(config32(0), 8);
    ck_assert_uint_eq(dev->config_generation, 1);
    uint16_t middle;
    virtio_config_read(dev, 5, &middle, 2);
    ck_assert_uint_eq(middle, 0x3456);
}
END_TEST

static void put_stat(unsigned index, uint16_t tag, uint64_t value)
{
    uint8_t *at = mem_ram_ptr(mem, LIST + 10 * (uint64_t)index, 10);

    memcpy(at, &tag, sizeof(tag));
    memcpy(at + 2, &value, sizeof(value));
}

START_TEST(statistics_come_when_they_are_asked_for)
{
    uint64_t stats[VIRTIO_BALLOON_STATS_COUNT];
    const struct vq_buffer buffer = {LIST, 30, false};

    start(STATS_VQ);
    virtio_balloon_request_stats(dev); /* nothing to ask with */
    ck_assert_uint_eq(virtio_balloon_guest_stats(dev, stats), 0);
    put_stat(0, 4, 1000);
    put_stat(1, 0xffff, 5); /* unknown */
    put_stat(2, 9, 77);
    vq_send(dev, 2, &queues[2], &buffer, 1);
    vq_turn(dev);
    ck_assert_uint_eq(take_used(2), 0); /* kept */
    ck_assert_uint_eq(virtio_balloon_guest_stats(dev, stats), 1);
    ck_assert_uint_eq(stats[4], 1000);
    ck_assert_uint_eq(stats[9], 77);
    ck_assert_uint_eq(stats[5], UINT64_MAX);
    virtio_balloon_request_stats(dev);
    ck_assert_uint_eq(take_used(2), 1);
    virtio_balloon_request_stats(dev);
    ck_assert_uint_eq(take_used(2), 0);
    put_stat(0, 4, 2000);
    vq_send(dev, 2, &queues[2], &buffer, 1);
    vq_turn(dev);
    ck_assert_uint_eq(virtio_balloon_guest_stats(dev, stats), 2);
    ck_assert_uint_eq(stats[4], 2000);
    /* A second buffer sends the first one back. */
    vq_send(dev, 2, &queues[2], &buffer, 1);
    vq_turn(dev);
    ck_assert_uint_eq(take_used(2), 1);
}
END_TEST

START_TEST(saved_balloon_still_has_the_statistics_buffer)
{
    uint64_t stats[VIRTIO_BALLOON_STATS_COUNT];
    const struct vq_buffer buffer = {LIST, 10, false};
    size_t len;

    start(STATS_VQ);
    put_stat(0, 4, 1000);
    vq_send(dev, 2, &queues[2], &buffer, 1);
    vq_turn(dev);
    virtio_balloon_set_target(dev, 99);
    uint8_t *saved = save(&dev->base, &len);
    virtio_reset(dev);
    virtio_balloon_set_target(dev, 1);
    ck_assert_int_eq(device_state_load(&dev->base, saved, len, NULL), 0);
    ck_assert_uint_eq(config32(0), 99);
    put_stat(0, 4, 3000);
    vq_turn(dev);
    ck_assert_uint_eq(virtio_balloon_guest_stats(dev, stats), 2);
    ck_assert_uint_eq(stats[4], 3000);
    virtio_balloon_request_stats(dev);
    ck_assert_uint_eq(take_used(2), 1);
    free(saved);
}
END_TEST

START_TEST(period_asks_again_and_again)
{
    uint64_t stats[VIRTIO_BALLOON_STATS_COUNT];
    const struct vq_buffer buffer = {LIST, 10, false};

    dev->base.ops->destroy(&dev->base);
    const struct virtio_balloon_config config = {.mem = mem, .loop = loop, .stats_period_ns = 1000000};
    ck_assert_int_eq(virtio_balloon_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
    ck_assert_int_eq(loop_start(loop), 0);
    ck_assert(vq_negotiate(dev, STATS_VQ | VIRTIO_F_VERSION_1));
    vq_give(dev, 2, &queues[2], BASE, 64);
    vq_driver_ok(dev);
    for (int i = 0; i < 3; i++) {
        uint32_t written;
        vq_send(dev, 2, &queues[2], &buffer, 1);
        vq_wait_used(&queues[2], &written);
    }
    ck_assert_uint_eq(virtio_balloon_guest_stats(dev, stats), 3);
    loop_stop(loop);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_balloon");
    TCase *tcase = tcase_create("virtio_balloon");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, inflated_pages_leave_the_host_and_read_as_zero);
    tcase_add_test(tcase, list_of_a_million_pages_takes_many_turns);
    tcase_add_test(tcase, odd_lists_are_given_back);
    tcase_add_test(tcase, reported_ranges_leave_the_host_as_whole_pages);
    tcase_add_test(tcase, config_has_target_and_actual);
    tcase_add_test(tcase, statistics_come_when_they_are_asked_for);
    tcase_add_test(tcase, saved_balloon_still_has_the_statistics_buffer);
    tcase_add_test(tcase, period_asks_again_and_again);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
