/* The block device driven over its queues: what the stock driver does, and what no driver may. */
#include "block_test.h"
#include "dev/block/block_image.h"
#include "dev/virtio/virtio_blk.h"
#include "run_suite.h"
#include "virtq_driver.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { DISK_BYTES = 1 << 20, SECTORS = DISK_BYTES / 512, QUEUE_GPA = VQ_RAM_GPA, QUEUE_SIZE = 64 };
enum { HEADER_GPA = VQ_RAM_GPA + (8 << 20), STATUS_GPA = HEADER_GPA + 64, DATA_GPA = HEADER_GPA + 4096 };
enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

static const uint64_t F_RO = 1 << 5, F_FLUSH = 1 << 9, F_WCE = 1 << 11, F_DISCARD = 1 << 13, F_ZEROES = 1 << 14;

static struct loop *loop;
static struct mem *mem;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq vq;
static uint8_t disk[DISK_BYTES];
static const char *path;

static void start_device(struct virtio_blk_config config, struct block_image_options options)
{
    struct error err = {{0}};

    config.mem = mem;
    config.loop = loop;
    config.queues = config.queues ? config.queues : 1;
    if (block_image_open(path, &options, loop, &config.image, &err))
        ck_abort_msg("%s", err.text);
    ck_assert_int_eq(virtio_blk_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
}

static void negotiate(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    vq_give(dev, 0, &vq, QUEUE_GPA, QUEUE_SIZE);
    vq_driver_ok(dev);
}

static void set_up(void)
{
    uint64_t seed = 5;

    folder_make();
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    mem = vq_make_mem();
    random_fill(&seed, disk, sizeof(disk));
    path = folder_path("disk");
    file_write(path, disk, sizeof(disk));
    dev = NULL;
}

static void stop_device(void)
{
    if (dev)
        dev->base.ops->destroy(&dev->base);
    dev = NULL;
}

static void tear_down(void)
{
    stop_device();
    loop_destroy(loop);
    mem_destroy(mem);
    folder_remove();
}

static void *guest(uint64_t gpa)
{
    return mem_ram_ptr(mem, gpa, 1);
}

static void put_header(uint32_t type, uint64_t sector)
{
    uint32_t words[2] = {type, 0};

    memcpy(guest(HEADER_GPA), words, 8);
    memcpy((uint8_t *)guest(HEADER_GPA) + 8, &sector, 8);
    *(uint8_t *)guest(STATUS_GPA) = UNTOUCHED;
}

static uint8_t send(const struct vq_buffer *buffers, unsigned count, uint32_t *written)
{
    ck_assert_int_ge(vq_send(dev, 0, &vq, buffers, count), 0);
    (void)vq_wait_used(&vq, written);
    return *(uint8_t *)guest(STATUS_GPA);
}

/* A request as Linux makes it: header, data, status in a buffer each. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t bytes)
{
    bool reads = type == IN || type == GET_ID;
    struct vq_buffer buffers[3] = {{HEADER_GPA, 16, false}, {DATA_GPA, bytes, reads}, {STATUS_GPA, 1, true}};
    uint32_t written;
    uint8_t status;

    put_header(type, sector);
    if (!bytes)
        buffers[1] = buffers[2];
    status = send(buffers, bytes ? 3 : 2, &written);
    ck_assert_uint_eq(written, (reads ? bytes : 0) + 1);
    return status;
}

static uint8_t ranges(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *at = (uint8_t *)guest(DATA_GPA) + 16 * (size_t)i;

        memcpy(at, &sector, 8);
        memcpy(at + 8, &sectors, 4);
        memcpy(at + 12, &flags, 4);
        sector += sectors;
    }
    return request(type, 0, 16 * count);
}

/* ---- what drivers do ---- */

START_TEST(reads_and_writes_move_the_disks_contents)
{
    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate((_i & 1 ? VIRTIO_F_RING_PACKED : 0) | F_FLUSH);
    ck_assert_int_eq(request(IN, 3, 4096), OK);
    ck_assert_mem_eq(guest(DATA_GPA), disk + 3 * 512, 4096);
    memset(guest(DATA_GPA), 0x77, 8192);
    ck_assert_int_eq(request(OUT, SECTORS - 16, 8192), OK);
    memset(disk + DISK_BYTES - 8192, 0x77, 8192);
    ck_assert_int_eq(request(FLUSH, 0, 0), OK);
    ck_assert_int_eq(request(IN, SECTORS - 16, 8192), OK);
    ck_assert_mem_eq(guest(DATA_GPA), disk + DISK_BYTES - 8192, 8192);
    ck_assert_uint_gt(atomic_load(&interrupts.queue), 0);
    stop_device();
    expect_contents(path, BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

/* 2.7.4: the device makes no assumption about how a request is cut into buffers. */
START_TEST(requests_may_be_cut_anywhere)
{
    const uint64_t base = DATA_GPA;
    uint32_t written;

    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate(F_FLUSH);
    for (uint32_t cut = 1; cut < 1025; cut += 37) {
        /* Data and status in two buffers that end anywhere. */
        struct vq_buffer in[] = {
            {HEADER_GPA, 5, false}, {HEADER_GPA + 5, 11, false}, {base, cut, true}, {base + cut, 1025 - cut, true}};
        put_header(IN, 10);
        (void)send(in, 4, &written);
        ck_assert_uint_eq(written, 1025);
        ck_assert_mem_eq(guest(base), disk + 5120, 1024);
        ck_assert_int_eq(((uint8_t *)guest(base))[1024], OK);
    }
    for (uint32_t cut = 1; cut < 528; cut += 41) { /* header and data together */
        uint8_t *at = guest(base);
        struct vq_buffer out[] = {{base, cut, false}, {base + cut, 528 - cut, false}, {STATUS_GPA, 1, true}};

        put_header(OUT, 20);
        memcpy(at, guest(HEADER_GPA), 16);
        memset(at + 16, (int)cut, 512);
        ck_assert_int_eq(send(out, 3, &written), OK);
        ck_assert_uint_eq(written, 1);
        ck_assert_int_eq(request(IN, 20, 512), OK);
        ck_assert_int_eq(at[0], (uint8_t)cut);
        ck_assert_int_eq(at[511], (uint8_t)cut);
    }
}
END_TEST

START_TEST(configuration_tells_the_disk)
{
    uint64_t capacity;
    uint32_t word;
    uint16_t queues;
    uint8_t serial[20];

    start_device((struct virtio_blk_config){.queues = 4, .serial = "a-serial-number"}, (struct block_image_options){0});
    ck_assert_uint_eq(virtio_offered_features(dev, 0) & 0x7266, 0x7246); /* all but RO */
    virtio_config_read(dev, 0, &capacity, 8);
    ck_assert_uint_eq(capacity, SECTORS);
    virtio_config_read(dev, 12, &word, 4);
    ck_assert_uint_eq(word, 254);
    virtio_config_read(dev, 20, &word, 4);
    ck_assert_uint_eq(word, 512);
    virtio_config_read(dev, 34, &queues, 2);
    ck_assert_uint_eq(queues, 4);
    virtio_config_read(dev, 40, &word, 4);
    ck_assert_uint_eq(word, 16);
    virtio_config_read(dev, 60, &word, 4);
    ck_assert_uint_eq(word, 0);
    negotiate(F_FLUSH);
    memset(serial, 0, sizeof(serial));
    memcpy(serial, "a-serial-number", sizeof("a-serial-number"));
    ck_assert_int_eq(request(GET_ID, 0, 20), OK);
    ck_assert_mem_eq(guest(DATA_GPA), serial, 20);
}
END_TEST

START_TEST(read_only_disk_refuses_changes)
{
    start_device((struct virtio_blk_config){0}, (struct block_image_options){.read_only = true});
    ck_assert_uint_eq(virtio_offered_features(dev, 0) & (F_RO | F_DISCARD | F_ZEROES | F_WCE), F_RO);
    negotiate(F_FLUSH); /* a driver that does not know RO */
    ck_assert_int_eq(request(OUT, 0, 512), IOERR);
    ck_assert_int_eq(request(IN, 0, 512), OK);
    ck_assert_int_eq(ranges(DISCARD, 0, 8, 0, 1), UNSUPP);
    ck_assert_int_eq(request(FLUSH, 0, 0), OK);
    stop_device();
    expect_contents(path, BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

START_TEST(discard_and_write_zeroes)
{
    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate(F_FLUSH | F_DISCARD | F_ZEROES);
    ck_assert_int_eq(ranges(ZEROES, 8, 3, 0, 5), OK);
    ck_assert_int_eq(ranges(ZEROES, 100, 7, 1, 16), OK);
    ck_assert_int_eq(ranges(DISCARD, 1000, 8, 0, 2), OK);
    memset(disk + 8 * 512, 0, 15 * 512);
    memset(disk + 100 * 512, 0, 112 * 512);
    memset(disk + 1000 * 512, 0, 16 * 512); /* punched out of the file */
    ck_assert_int_eq(ranges(DISCARD, 8, 3, 1, 1), UNSUPP);
    ck_assert_int_eq(ranges(ZEROES, 8, 3, 2, 1), UNSUPP);
    ck_assert_int_eq(ranges(ZEROES, SECTORS - 1, 2, 0, 1), IOERR);
    ck_assert_int_eq(ranges(ZEROES, UINT64_MAX, 2, 0, 1), IOERR);
    ck_assert_int_eq(ranges(ZEROES, 0, UINT32_MAX, 0, 1), IOERR);
    ck_assert_int_eq(ranges(DISCARD, 8, 0, 0, 1), OK);
    ck_assert_int_eq(ranges(ZEROES, 8, 1, 0, 17), IOERR); /* one segment too many */
    ck_assert_int_eq(request(ZEROES, 0, 15), IOERR);
    ck_assert_int_eq(request(DISCARD, 0, 0), IOERR);
    stop_device();
    expect_contents(path, BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

/* ---- the write cache (5.2.5) ---- */

static _Atomic unsigned syncs;

static int count_syncs(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    if (op == HOST_SYNC)
        atomic_fetch_add(&syncs, 1);
    return 0;
}

START_TEST(without_a_write_cache_each_write_is_durable)
{
    static const struct {
        uint64_t features;
        int writeback; /* written to the configuration; -1: not */
        bool durable;
    } rows[] = {{0, -1, true},
                {F_FLUSH, -1, false},
                {F_FLUSH | F_WCE, -1, false},
                {F_FLUSH | F_WCE, 0, true},
                {F_FLUSH | F_WCE, 1, false},
                {F_FLUSH, 0, false}};
    struct virtio_blk_config config = {.mem = mem, .loop = loop, .queues = 1};
    const struct block_image_options options = {0};
    struct error err = {{0}};
    uint8_t byte;

    ck_assert_int_eq(block_image_open(path, &options, loop, &config.image, &err), 0);
    host_file_set_fault(node_file(block_image_node(config.image)), count_syncs, NULL);
    ck_assert_int_eq(virtio_blk_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        negotiate(rows[i].features);
        if (rows[i].writeback >= 0) {
            byte = (uint8_t)rows[i].writeback;
            virtio_config_write(dev, 32, &byte, 1);
        }
        virtio_config_read(dev, 32, &byte, 1);
        ck_assert_uint_eq(byte, !rows[i].durable);
        atomic_store(&syncs, 0);
        ck_assert_int_eq(request(OUT, 1, 512), OK);
        ck_assert_uint_eq(atomic_load(&syncs), rows[i].durable);
        ck_assert_int_eq(request(FLUSH, 0, 0), OK);
        ck_assert_uint_eq(atomic_load(&syncs), rows[i].durable + 1);
    }
}
END_TEST

/* ---- what drivers must not do ---- */

START_TEST(wrong_requests_are_answered)
{
    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate(F_FLUSH);
    ck_assert_int_eq(request(IN, SECTORS, 512), IOERR);
    ck_assert_int_eq(request(IN, SECTORS - 1, 1024), IOERR);
    ck_assert_int_eq(request(OUT, SECTORS, 512), IOERR);
    ck_assert_int_eq(request(IN, UINT64_MAX, 512), IOERR);
    ck_assert_int_eq(request(IN, UINT64_MAX / 512, 512), IOERR);
    ck_assert_int_eq(request(IN, 0, 511), IOERR);
    ck_assert_int_eq(request(OUT, 0, 513), IOERR);
    ck_assert_int_eq(request(2, 0, 512), UNSUPP); /* SCSI commands of old */
    ck_assert_int_eq(request(UINT32_MAX, 0, 0), UNSUPP);
    ck_assert_int_eq(request(14, 0, 16), UNSUPP);          /* secure erase */
    ck_assert_int_eq(ranges(DISCARD, 0, 8, 0, 1), UNSUPP); /* not negotiated */
    ck_assert_int_eq(request(IN, 0, 0), OK);
    ck_assert_int_eq(request(IN, SECTORS, 0), OK);
    ck_assert_int_eq(request(GET_ID, 0, 4), OK);
    ck_assert_int_eq(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET, 0);
    stop_device();
    expect_contents(path, BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

START_TEST(chains_without_header_or_status_come_back)
{
    struct vq_buffer no_status[] = {{HEADER_GPA, 16, false}, {DATA_GPA, 512, false}};
    struct vq_buffer short_header[] = {{HEADER_GPA, 15, false}, {STATUS_GPA, 1, true}};
    struct vq_buffer only_status[] = {{STATUS_GPA, 1, true}};
    uint32_t written;

    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate(F_FLUSH);
    put_header(OUT, 0);
    ck_assert_int_eq(send(no_status, 2, &written), UNTOUCHED);
    ck_assert_uint_eq(written, 0);
    ck_assert_int_eq(send(short_header, 2, &written), IOERR);
    put_header(IN, 0);
    ck_assert_int_eq(send(only_status, 1, &written), IOERR);
    ck_assert_int_eq(request(IN, 0, 512), OK);
}
END_TEST

/* Buffers that name the same RAM again and again: the total is bounded, not the host's memory used. */
START_TEST(request_larger_than_was_offered_is_refused)
{
    struct vq_buffer buffers[20] = {{HEADER_GPA, 16, false}};
    uint32_t written;

    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    command_ok("truncate -s 1G %s", path);
    stop_device();
    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate(F_FLUSH);
    for (int i = 1; i < 19; i++)
        buffers[i] = (struct vq_buffer){DATA_GPA, 4 << 20, true};
    buffers[19] = (struct vq_buffer){STATUS_GPA, 1, true};
    put_header(IN, 0);
    ck_assert_int_eq(send(buffers, 20, &written), IOERR);
}
END_TEST

/* ---- resets and limits ---- */

static _Atomic bool hold;
static _Atomic unsigned reads_begun;

static int hold_reads(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    if (op != HOST_READ)
        return 0;
    atomic_fetch_add(&reads_begun, 1);
    while (atomic_load(&hold))
        usleep(100);
    return 0;
}

static void *release_later(void *opaque)
{
    usleep(50000);
    atomic_store(&hold, false);
    return NULL;
}

/* When a reset is over nothing is written to guest memory any more. */
START_TEST(reset_waits_for_host_calls)
{
    struct virtio_blk_config config = {.mem = mem, .loop = loop, .queues = 1};
    const struct block_image_options options = {.engine = ENGINE_THREADS};
    struct error err = {{0}};
    pthread_t thread;

    ck_assert_int_eq(block_image_open(path, &options, loop, &config.image, &err), 0);
    host_file_set_fault(node_file(block_image_node(config.image)), hold_reads, NULL);
    ck_assert_int_eq(virtio_blk_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
    negotiate(F_FLUSH);
    atomic_store(&hold, true);
    put_header(IN, 0);
    for (unsigned i = 0; i < 4; i++) {
        const struct vq_buffer buffers[3] = {
            {HEADER_GPA, 16, false}, {DATA_GPA + 512 * i, 512, true}, {STATUS_GPA + i, 1, true}};
        (void)vq_send(dev, 0, &vq, buffers, 3);
    }
    while (!atomic_load(&reads_begun))
        usleep(100);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_later, NULL), 0);
    if (_i == 0)
        virtio_set_status(dev, 0);
    else
        virtio_queue_reset(dev, 0);
    ck_assert(!atomic_load(&hold));
    memset(guest(DATA_GPA), 0x11, 512);
    usleep(20000);
    ck_assert_int_eq(*(uint8_t *)guest(DATA_GPA), 0x11);
    pthread_join(thread, NULL);
    negotiate(F_FLUSH);
    ck_assert_int_eq(request(IN, 0, 512), OK);
    ck_assert_mem_eq(guest(DATA_GPA), disk, 512);
}
END_TEST

/* A lower bound only: waiting longer is the machine's business. */
START_TEST(limit_of_operations_holds_and_can_be_lifted)
{
    uint64_t before;

    start_device((struct virtio_blk_config){.ops_per_second = 100}, (struct block_image_options){0});
    negotiate(F_FLUSH);
    before = loop_now_ns();
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(request(IN, 0, 512), OK);
    ck_assert_uint_ge(loop_now_ns() - before, 180000000); /* ten at once, then twenty at 10 ms each */
    virtio_blk_set_limits(dev, 512, 0);
    ck_assert_int_eq(request(IN, 0, 4096), OK);
    virtio_blk_set_limits(dev, 0, 0); /* or the next one would wait for 7 s */
    before = loop_now_ns();
    ck_assert_int_eq(request(IN, 0, 4096), OK);
    ck_assert_uint_lt(loop_now_ns() - before, 5000000000);
}
END_TEST

START_TEST(saved_state_is_put_back_into_range)
{
    uint8_t byte = 0, state[4096];
    struct error err = {{0}};
    size_t len;

    start_device((struct virtio_blk_config){0}, (struct block_image_options){0});
    negotiate(F_FLUSH | F_WCE);
    virtio_config_write(dev, 32, &byte, 1);
    len = device_state_size(&dev->base);
    ck_assert_uint_le(len, sizeof(state));
    ck_assert_int_eq(device_state_save(&dev->base, state, len), 0);
    virtio_set_status(dev, 0);
    ck_assert_int_eq(device_state_load(&dev->base, state, len, &err), 0);
    virtio_config_read(dev, 32, &byte, 1);
    ck_assert_uint_eq(byte, 0);
    ck_assert_int_eq(request(IN, 0, 512), OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_blk");
    TCase *tcase = tcase_create("virtio_blk");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, reads_and_writes_move_the_disks_contents, 0, 2);
    tcase_add_test(tcase, requests_may_be_cut_anywhere);
    tcase_add_test(tcase, configuration_tells_the_disk);
    tcase_add_test(tcase, read_only_disk_refuses_changes);
    tcase_add_test(tcase, discard_and_write_zeroes);
    tcase_add_test(tcase, without_a_write_cache_each_write_is_durable);
    tcase_add_test(tcase, wrong_requests_are_answered);
    tcase_add_test(tcase, chains_without_header_or_status_come_back);
    tcase_add_test(tcase, request_larger_than_was_offered_is_refused);
    tcase_add_loop_test(tcase, reset_waits_for_host_calls, 0, 2);
    tcase_add_test(tcase, limit_of_operations_holds_and_can_be_lifted);
    tcase_add_test(tcase, saved_state_is_put_back_into_range);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
