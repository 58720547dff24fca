/* The SCSI adapter over its queues: what Linux's drivers (virtio_scsi, sd) ask of a disk, and what no driver may. */
#include "block_test.h"
#include "dev/block/block_image.h"
#include "dev/virtio/virtio_scsi.h"
#include "run_suite.h"
#include "virtq_driver.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum {
    DISK_BYTES = 1 << 20,
    BLOCKS = DISK_BYTES / 512,
    QUEUE_GPA = VQ_RAM_GPA,
    QUEUE_SIZE = 64,
    QUEUE_STEP = 0x200000
};
enum { HEAD_GPA = VQ_RAM_GPA + (8 << 20), ANSWER_GPA = HEAD_GPA + 4096, DATA_GPA = HEAD_GPA + 8192 };
enum { HEAD = 51, ANSWER = 108, CONTROL = 0, REQUESTS = 2 };
enum { OK = 0, OVERRUN = 1, BAD_TARGET = 3, FAILURE = 9, SUCCEEDED = 10, REJECTED = 11, INCORRECT_LUN = 12 };
enum { GOOD = 0, CHECK = 2 };

static struct loop *loop;
static struct mem *mem;
static struct virtio_device *dev;
static struct vq_interrupts interrupts;
static struct vq queues[3];
static uint8_t disk[DISK_BYTES];
static uint8_t lun[8];
static uint32_t written, residual;
static uint8_t status;

static void start_device(bool read_only)
{
    struct virtio_scsi_unit_config units[2] = {{.serial = "first"}, {0}};
    struct virtio_scsi_config config = {.mem = mem, .loop = loop, .units = units, .unit_count = 2, .queues = 1};
    struct block_image_options options = {.format = BLOCK_FORMAT_RAW, .read_only = read_only};
    struct error err = {{0}};

    if (block_image_open(folder_path("disk"), &options, loop, &units[0].image, &err) ||
        block_image_open(folder_path("other"), &options, loop, &units[1].image, &err))
        ck_abort_msg("%s", err.text);
    ck_assert_int_eq(virtio_scsi_create(&config, &dev), 0);
    vq_attach(dev, &interrupts);
    lun[0] = 1;
    lun[1] = lun[2] = lun[3] = 0;
}

static void give_queues(void)
{
    for (uint32_t i = 0; i < 3; i++)
        vq_give(dev, i, &queues[i], QUEUE_GPA + i * (uint64_t)QUEUE_STEP, QUEUE_SIZE);
    vq_driver_ok(dev);
}

static void negotiate(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1));
    give_queues();
}

static void set_up(void)
{
    uint64_t seed = 5;

    folder_make();
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    mem = vq_make_mem();
    random_fill(&seed, disk, sizeof(disk));
    file_write(folder_path("disk"), disk, sizeof(disk));
    file_write(folder_path("other"), disk, 64 << 10);
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

static uint8_t *guest(uint64_t gpa)
{
    return mem_ram_ptr(mem, gpa, 1);
}

static void put_head(const uint8_t *cdb, size_t cdb_len)
{
    memset(guest(HEAD_GPA), 0, HEAD);
    memcpy(guest(HEAD_GPA), lun, 8);
    memcpy(guest(HEAD_GPA) + 19, cdb, cdb_len);
    memset(guest(ANSWER_GPA), 0xee, ANSWER);
}

/* Sends a command with `out` bytes of data at DATA_GPA, or room for `in`. Returns the response. */
static uint8_t command(const uint8_t *cdb, size_t cdb_len, uint32_t out, uint32_t in)
{
    struct vq_buffer buffers[4] = {{HEAD_GPA, HEAD, false}};
    unsigned count = 1;

    put_head(cdb, cdb_len);
    if (out)
        buffers[count++] = (struct vq_buffer){DATA_GPA, out, false};
    buffers[count++] = (struct vq_buffer){ANSWER_GPA, ANSWER, true};
    if (in)
        buffers[count++] = (struct vq_buffer){DATA_GPA, in, true};
    ck_assert_int_ge(vq_send(dev, REQUESTS, &queues[REQUESTS], buffers, count), 0);
    (void)vq_wait_used(&queues[REQUESTS], &written);
    ck_assert_uint_ge(written, ANSWER);
    memcpy(&residual, guest(ANSWER_GPA) + 4, 4);
    status = guest(ANSWER_GPA)[10];
    return guest(ANSWER_GPA)[11];
}

#define COMMAND(out, in, ...) \
    command((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), (out), (in))

static void expect_good(uint8_t response)
{
    ck_assert_uint_eq(response, OK);
    ck_assert_msg(status == GOOD, "sense %x %02x%02x", guest(ANSWER_GPA)[12 + 2] & 15, guest(ANSWER_GPA)[12 + 12],
                  guest(ANSWER_GPA)[12 + 13]);
}

static void expect_sense(uint8_t response, uint8_t key, uint16_t code)
{
    uint32_t len;

    memcpy(&len, guest(ANSWER_GPA), 4);
    const uint8_t *sense = guest(ANSWER_GPA) + 12;
    ck_assert_uint_eq(response, OK);
    ck_assert_uint_eq(status, CHECK);
    ck_assert_uint_eq(len, 18);
    ck_assert_uint_eq(sense[0], 0x70);
    ck_assert_uint_eq(sense[2], key);
    ck_assert_uint_eq(sense[12] << 8 | sense[13], code);
}

/* The attention that a unit has after a reset, which every command but a few is told first. */
static void take_attention(void)
{
    expect_sense(COMMAND(0, 0, 0x00), 6, 0x2900);
    expect_good(COMMAND(0, 0, 0x00));
}

static uint64_t big(uint64_t gpa, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | guest(gpa)[i];
    return value;
}

START_TEST(adapter_tells_its_units)
{
    uint32_t word;

    start_device(false);
    virtio_config_read(dev, 0, &word, 4);
    ck_assert_uint_eq(word, 1);
    virtio_config_read(dev, 20, &word, 4);
    ck_assert_uint_eq(word, 96);
    virtio_config_read(dev, 32, &word, 4);
    ck_assert_uint_eq(word, 1);
    negotiate(0);
    expect_good(COMMAND(0, 256, 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    ck_assert_uint_eq(big(DATA_GPA, 4), 16);
    ck_assert_uint_eq(guest(DATA_GPA)[9], 0);
    ck_assert_uint_eq(guest(DATA_GPA)[17], 1);
    ck_assert_uint_eq(written, ANSWER + 24);
    ck_assert_uint_eq(residual, 256 - 24);
    expect_good(COMMAND(0, 36, 0x12, 0, 0, 0, 36));
    ck_assert_uint_eq(guest(DATA_GPA)[0], 0);
    ck_assert_mem_eq(guest(DATA_GPA) + 8, "TUFF    Virtual disk    ", 24);
    expect_good(COMMAND(0, 255, 0x12, 1, 0x80, 0, 255));
    ck_assert_mem_eq(guest(DATA_GPA), "\0\x80\0\5first", 9);
    expect_good(COMMAND(0, 255, 0x12, 1, 0, 0, 255));
    ck_assert_mem_eq(guest(DATA_GPA) + 4, "\0\x80\x83\xb0\xb1\xb2", 6);
    expect_good(COMMAND(0, 4, 0x12, 1, 0xb0, 0, 64)); /* no more than there is room for */
    ck_assert_uint_eq(written, ANSWER + 4);
    expect_good(COMMAND(0, 64, 0x12, 1, 0xb0, 0, 64));
    ck_assert_uint_eq(big(DATA_GPA + 24, 4), 64);
    expect_good(COMMAND(0, 64, 0x12, 1, 0x83, 0, 64));
    ck_assert_mem_eq(guest(DATA_GPA) + 8, "TUFF    first", 13);
    expect_good(COMMAND(0, 64, 0x12, 1, 0xb2, 0, 64));
    ck_assert_uint_eq(guest(DATA_GPA)[5], 0xe0);
    expect_sense(COMMAND(0, 64, 0x12, 1, 0xc5, 0, 64), 5, 0x2400);
    take_attention();
    expect_good(COMMAND(0, 8, 0x25));
    ck_assert_uint_eq(big(DATA_GPA, 4), BLOCKS - 1);
    ck_assert_uint_eq(big(DATA_GPA + 4, 4), 512);
    expect_good(COMMAND(0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32));
    ck_assert_uint_eq(big(DATA_GPA, 8), BLOCKS - 1);
    ck_assert_uint_eq(guest(DATA_GPA)[13], 3);
    ck_assert_uint_eq(guest(DATA_GPA)[14], 0x80);
    expect_good(COMMAND(0, 255, 0x1a, 8, 0x08, 0, 255)); /* caching, without descriptors */
    ck_assert_mem_eq(guest(DATA_GPA), "\x17\0\x10\0\x08\x12\x04", 7);
    expect_good(COMMAND(0, 255, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255));
    ck_assert_uint_eq(big(DATA_GPA, 2), 8 + 8 + 20 + 12 - 2);
    ck_assert_uint_eq(big(DATA_GPA + 8, 4), BLOCKS);
    expect_sense(COMMAND(0, 255, 0x1a, 0, 0xc8, 0, 255), 5, 0x3900);
    expect_sense(COMMAND(0, 255, 0x1a, 0, 0x19, 0, 255), 5, 0x2400);
    expect_sense(COMMAND(0, 0, 0xee), 5, 0x2000);
}
END_TEST

START_TEST(units_that_there_are_not)
{
    start_device(false);
    negotiate(0);
    lun[3] = 1;
    take_attention();
    expect_good(COMMAND(0, 8, 0x25));
    ck_assert_uint_eq(big(DATA_GPA, 4), (64 << 10) / 512 - 1);
    lun[3] = 2;
    expect_good(COMMAND(0, 36, 0x12, 0, 0, 0, 36));
    ck_assert_uint_eq(guest(DATA_GPA)[0], 0x7f);
    expect_sense(COMMAND(0, 36, 0x12, 1, 0x80, 0, 36), 5, 0x2400);
    expect_sense(COMMAND(0, 8, 0x25), 5, 0x2500);
    expect_good(COMMAND(0, 18, 0x03, 0, 0, 0, 18));
    ck_assert_uint_eq(guest(DATA_GPA)[2], 5);
    lun[1] = 1;
    ck_assert_uint_eq(COMMAND(0, 36, 0x12, 0, 0, 0, 36), BAD_TARGET);
    lun[0] = 0;
    lun[1] = 0;
    ck_assert_uint_eq(COMMAND(0, 36, 0x12, 0, 0, 0, 36), BAD_TARGET);
}
END_TEST

START_TEST(reads_and_writes_move_the_disks_contents)
{
    start_device(false);
    negotiate(_i & 1 ? VIRTIO_F_RING_PACKED : 0);
    take_attention();
    expect_good(COMMAND(0, 4096, 0x28, 0, 0, 0, 0, 3, 0, 0, 8));
    ck_assert_mem_eq(guest(DATA_GPA), disk + 3 * 512, 4096);
    ck_assert_uint_eq(written, ANSWER + 4096);
    expect_good(COMMAND(0, 131072, 0x08, 0, 0, 2, 0)); /* READ(6): 0 blocks are 256 */
    ck_assert_mem_eq(guest(DATA_GPA), disk + 2 * 512, 131072);
    expect_good(COMMAND(0, 8192, 0x88, 0, 0, 0, 0, 0, 0, 0, 7, 0xf8, 0, 0, 0, 8));
    ck_assert_mem_eq(guest(DATA_GPA), disk + DISK_BYTES - 4096, 4096);
    ck_assert_uint_eq(residual, 4096);
    memset(guest(DATA_GPA), 0x77, 8192);
    expect_good(COMMAND(8192, 0, 0x8a, 8, 0, 0, 0, 0, 0, 0, 7, 0xf0, 0, 0, 0, 16)); /* durable */
    memset(disk + DISK_BYTES - 8192, 0x77, 8192);
    memset(guest(DATA_GPA), 0x33, 512);
    expect_good(COMMAND(512, 0, 0x2a, 0, 0, 0, 0, 9, 0, 0, 1));
    memset(disk + 9 * 512, 0x33, 512);
    expect_good(COMMAND(0, 512, 0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 1));
    ck_assert_mem_eq(guest(DATA_GPA), disk + 9 * 512, 512);
    expect_good(COMMAND(0, 0, 0x35));
    expect_good(COMMAND(0, 0, 0x91));
    expect_good(COMMAND(0, 0, 0x28, 0, 0, 0, 0, 3, 0, 0, 0)); /* nothing */
    expect_good(COMMAND(0, 0, 0x2f, 0, 0, 0, 0, 3, 0, 0, 1));
    ck_assert_uint_gt(atomic_load(&interrupts.queue), 0);
    stop_device();
    expect_contents(folder_path("disk"), BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

START_TEST(requests_may_be_cut_anywhere)
{
    start_device(false);
    negotiate(0);
    take_attention();
    for (uint32_t cut = 1; cut < ANSWER + 1024; cut += 37) {
        const uint8_t cdb[] = {0x28, 0, 0, 0, 0, 10, 0, 0, 2};
        struct vq_buffer in[] = {{HEAD_GPA, 20, false},
                                 {HEAD_GPA + 20, HEAD - 20, false},
                                 {DATA_GPA, cut, true},
                                 {DATA_GPA + cut, ANSWER + 1024 - cut, true}};
        put_head(cdb, sizeof(cdb));
        ck_assert_int_ge(vq_send(dev, REQUESTS, &queues[REQUESTS], in, 4), 0);
        (void)vq_wait_used(&queues[REQUESTS], &written);
        ck_assert_uint_eq(written, ANSWER + 1024);
        ck_assert_uint_eq(guest(DATA_GPA)[10], GOOD);
        ck_assert_mem_eq(guest(DATA_GPA) + ANSWER, disk + 5120, 1024);
    }
}
END_TEST

START_TEST(ranges_outside_and_wrong_fields_are_refused)
{
    start_device(false);
    negotiate(0);
    take_attention();
    expect_sense(COMMAND(0, 512, 0x28, 0, 0, 0, 8, 0, 0, 0, 1), 5, 0x2100);
    expect_sense(COMMAND(0, 1024, 0x28, 0, 0, 0, 7, 0xff, 0, 0, 2), 5, 0x2100);
    expect_sense(COMMAND(0, 512, 0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1), 5, 0x2100);
    expect_sense(COMMAND(512, 0, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255), 5, 0x2100);
    expect_sense(COMMAND(0, 512, 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1), 5, 0x2400); /* protection information */
    expect_sense(COMMAND(0, 0, 0x35, 0, 0, 0, 8, 1), 5, 0x2100);
    expect_sense(COMMAND(512, 0, 0x2f, 2, 0, 0, 0, 0, 0, 0, 1), 5, 0x2400);
    ck_assert_uint_eq(COMMAND(0, 511, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), OVERRUN);
    ck_assert_uint_eq(COMMAND(511, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1), OVERRUN);
    stop_device();
    expect_contents(folder_path("disk"), BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

static void put_big(uint64_t gpa, unsigned bytes, uint64_t value)
{
    for (unsigned i = bytes; i--; value >>= 8)
        guest(gpa)[i] = (uint8_t)value;
}

static void put_unmap(unsigned count, uint64_t first, uint32_t blocks)
{
    memset(guest(DATA_GPA), 0, 8);
    put_big(DATA_GPA, 2, 6 + 16 * count);
    put_big(DATA_GPA + 2, 2, 16 * count);
    for (unsigned i = 0; i < count; i++, first += 2 * blocks) {
        put_big(DATA_GPA + 8 + 16 * i, 8, first);
        put_big(DATA_GPA + 16 + 16 * i, 4, blocks);
        put_big(DATA_GPA + 20 + 16 * i, 4, 0);
    }
}

START_TEST(unmap_gives_back_what_it_names)
{
    start_device(false);
    negotiate(0);
    take_attention();
    put_unmap(3, 16, 8);
    expect_good(COMMAND(56, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 56));
    for (unsigned i = 0; i < 3; i++) { /* zeroes on a raw file whose file system can, else as before */
        expect_good(COMMAND(0, 8192, 0x28, 0, 0, 0, 0, (uint8_t)(16 + 16 * i), 0, 0, 16));
        bool zero = !guest(DATA_GPA)[0];
        for (unsigned at = 0; at < 4096; at++)
            ck_assert_uint_eq(guest(DATA_GPA)[at], zero ? 0 : disk[(16 + 16 * i) * 512 + at]);
        ck_assert_mem_eq(guest(DATA_GPA) + 4096, disk + (24 + 16 * i) * 512, 4096);
    }
    put_unmap(1, BLOCKS - 1, 2);
    expect_sense(COMMAND(24, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 24), 5, 0x2100);
    put_unmap(65, 0, 1);
    expect_sense(COMMAND(1048, 0, 0x42, 0, 0, 0, 0, 0, 0, 4, 24), 5, 0x2600);
    put_unmap(4, 0, 1);
    expect_sense(COMMAND(24, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 72), 5, 0x2600); /* not all of it came */
    expect_sense(COMMAND(4, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 4), 5, 0x1a00);
    expect_sense(COMMAND(24, 0, 0x42, 1, 0, 0, 0, 0, 0, 0, 24), 5, 0x2400);
    expect_good(COMMAND(0, 0, 0x42));
    expect_good(COMMAND(0, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    ck_assert_mem_eq(guest(DATA_GPA), disk, 512);
}
END_TEST

START_TEST(write_same_writes_the_block_everywhere)
{
    start_device(false);
    negotiate(0);
    take_attention();
    for (unsigned i = 0; i < 512; i++)
        guest(DATA_GPA)[i] = (uint8_t)(i + 1);
    for (unsigned i = 0; i < 700; i++) /* more than goes to the host at once */
        memcpy(disk + (100 + i) * 512, guest(DATA_GPA), 512);
    expect_good(COMMAND(512, 0, 0x41, 0, 0, 0, 0, 100, 0, 2, 0xbc));
    memset(guest(DATA_GPA), 0, 512);
    memset(disk + 1000 * 512, 0, 10 * 512);
    expect_good(COMMAND(512, 0, 0x93, 8, 0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 10));
    memset(disk + 2040 * 512, 0, 8 * 512); /* 0: to the end; without data: zeroes */
    expect_good(COMMAND(0, 0, 0x93, 1, 0, 0, 0, 0, 0, 0, 7, 0xf8, 0, 0, 0, 0));
    expect_sense(COMMAND(100, 0, 0x41, 0, 0, 0, 0, 100, 0, 0, 1), 5, 0x1a00);
    expect_sense(COMMAND(512, 0, 0x93, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), 5, 0x2400);
    expect_sense(COMMAND(512, 0, 0x41, 0, 0, 0, 8, 0, 0, 0, 1), 5, 0x2100);
    stop_device();
    expect_contents(folder_path("disk"), BLOCK_FORMAT_RAW, disk, DISK_BYTES);
}
END_TEST

START_TEST(read_only_units_are_protected)
{
    start_device(true);
    negotiate(0);
    take_attention();
    expect_sense(COMMAND(512, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1), 7, 0x2700);
    put_unmap(1, 0, 1);
    expect_sense(COMMAND(24, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 24), 7, 0x2700);
    expect_sense(COMMAND(512, 0, 0x41, 0, 0, 0, 0, 0, 0, 0, 1), 7, 0x2700);
    expect_good(COMMAND(0, 255, 0x1a, 8, 0x3f, 0, 255));
    ck_assert_uint_eq(guest(DATA_GPA)[2], 0x90);
    expect_good(COMMAND(0, 512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1));
    ck_assert_mem_eq(guest(DATA_GPA), disk, 512);
}
END_TEST

static uint8_t control(const void *request, uint32_t len, uint32_t room)
{
    const struct vq_buffer buffers[] = {{HEAD_GPA, len, false}, {ANSWER_GPA, room, true}};

    memcpy(guest(HEAD_GPA), request, len);
    memset(guest(ANSWER_GPA), 0xee, 8);
    ck_assert_int_ge(vq_send(dev, CONTROL, &queues[CONTROL], buffers, 2), 0);
    (void)vq_wait_used(&queues[CONTROL], &written);
    return guest(ANSWER_GPA)[0];
}

static uint8_t task_function(uint32_t subtype, uint64_t id)
{
    uint8_t request[24] = {0};

    memcpy(request + 4, &subtype, 4);
    memcpy(request + 8, lun, 8);
    memcpy(request + 16, &id, 8);
    return control(request, sizeof(request), 1);
}

START_TEST(task_management_answers)
{
    const uint32_t query[4] = {1, 1 | 0x100}, odd[2] = {77};

    start_device(false);
    negotiate(0);
    take_attention();
    ck_assert_uint_eq(task_function(0, 5), OK);
    ck_assert_uint_eq(task_function(1, 0), OK);
    ck_assert_uint_eq(task_function(6, 5), OK);
    ck_assert_uint_eq(task_function(7, 5), OK);
    expect_good(COMMAND(0, 0, 0x00));
    ck_assert_uint_eq(task_function(5, 0), OK);
    take_attention(); /* after the reset */
    ck_assert_uint_eq(task_function(4, 0), OK);
    expect_good(COMMAND(0, 18, 0x03, 0, 0, 0, 18)); /* which REQUEST SENSE may tell */
    ck_assert_uint_eq(guest(DATA_GPA)[2], 6);
    expect_good(COMMAND(0, 0, 0x00));
    ck_assert_uint_eq(task_function(99, 0), REJECTED);
    lun[3] = 7;
    ck_assert_uint_eq(task_function(5, 0), INCORRECT_LUN);
    lun[1] = 7;
    ck_assert_uint_eq(task_function(5, 0), BAD_TARGET);
    ck_assert_uint_eq(control(query, 16, 5), 0);
    ck_assert_uint_eq(written, 5);
    ck_assert_uint_eq(control(odd, 8, 8), FAILURE);
    ck_assert_uint_eq(control(odd, 3, 8), FAILURE);
}
END_TEST

/* Aborts come while writes and flushes are under way: each is answered, and so is each of the writes. */
START_TEST(task_management_waits_for_what_is_under_way)
{
    uint8_t abort_set[24] = {0, 0, 0, 0, 1, 0, 0, 0, 1};
    const uint8_t cdb[] = {0x2a, 8, 0, 0, 0, 0, 0, 0, 8};
    const struct vq_buffer buffers[] = {{HEAD_GPA, HEAD, false}, {DATA_GPA, 4096, false}, {ANSWER_GPA, ANSWER, true}};
    const struct vq_buffer control_buffers[] = {{HEAD_GPA + 1024, 24, false}, {ANSWER_GPA + 1024, 1, true}};

    start_device(false);
    negotiate(0);
    take_attention();
    put_head(cdb, sizeof(cdb));
    memcpy(guest(HEAD_GPA + 1024), abort_set, sizeof(abort_set));
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 10; i++)
            ck_assert_int_ge(vq_send(dev, REQUESTS, &queues[REQUESTS], buffers, 3), 0);
        guest(ANSWER_GPA + 1024)[0] = 0xee;
        ck_assert_int_ge(vq_send(dev, CONTROL, &queues[CONTROL], control_buffers, 2), 0);
        (void)vq_wait_used(&queues[CONTROL], &written);
        ck_assert_uint_eq(guest(ANSWER_GPA + 1024)[0], OK);
        for (unsigned i = 0; i < 10; i++)
            (void)vq_wait_used(&queues[REQUESTS], &written);
    }
    ck_assert_uint_eq(guest(ANSWER_GPA)[10], GOOD);
}
END_TEST

START_TEST(malformed_requests_do_no_harm)
{
    const struct vq_buffer no_answer[] = {{HEAD_GPA, HEAD, false}, {ANSWER_GPA, ANSWER - 1, true}};
    const struct vq_buffer short_head[] = {{HEAD_GPA, HEAD - 1, false}, {ANSWER_GPA, ANSWER, true}};
    const uint8_t cdb[] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1};

    start_device(false);
    negotiate(0);
    put_head(cdb, sizeof(cdb));
    vq_send(dev, REQUESTS, &queues[REQUESTS], no_answer, 2);
    (void)vq_wait_used(&queues[REQUESTS], &written);
    ck_assert_uint_eq(written, 0);
    vq_send(dev, REQUESTS, &queues[REQUESTS], short_head, 2);
    (void)vq_wait_used(&queues[REQUESTS], &written);
    ck_assert_uint_eq(written, ANSWER);
    ck_assert_uint_eq(guest(ANSWER_GPA)[11], FAILURE);
    ck_assert(!(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET));
    take_attention();
}
END_TEST

/* 5.6.4: before it runs the driver chooses how large the parts of a request are. */
START_TEST(driver_sets_sizes_of_sense_data_and_command_blocks)
{
    uint32_t sense = 4, cdb_bytes = 16, word;
    const uint8_t cdb[16] = {0x00};
    const struct vq_buffer buffers[] = {{HEAD_GPA, 35, false}, {ANSWER_GPA, 16, true}};

    start_device(false);
    ck_assert(vq_negotiate(dev, VIRTIO_F_VERSION_1));
    virtio_config_write(dev, 20, &sense, 4);
    virtio_config_write(dev, 24, &cdb_bytes, 4);
    word = 253;
    virtio_config_write(dev, 20, &word, 4);
    word = 5;
    virtio_config_write(dev, 24, &word, 4);
    give_queues();
    virtio_config_write(dev, 20, &word, 4); /* too late */
    put_head(cdb, sizeof(cdb));
    vq_send(dev, REQUESTS, &queues[REQUESTS], buffers, 2);
    (void)vq_wait_used(&queues[REQUESTS], &written);
    ck_assert_uint_eq(written, 16);
    ck_assert_uint_eq(guest(ANSWER_GPA)[0], 4);
    ck_assert_uint_eq(guest(ANSWER_GPA)[10], CHECK);
    ck_assert_uint_eq(guest(ANSWER_GPA)[12 + 2], 6);
    vq_settle(loop);
    save_reset_load(&dev->base);
    virtio_config_read(dev, 20, &word, 4);
    ck_assert_uint_eq(word, sense);
    virtio_config_read(dev, 24, &word, 4);
    ck_assert_uint_eq(word, cdb_bytes);
    put_head(cdb, sizeof(cdb));
    vq_send(dev, REQUESTS, &queues[REQUESTS], buffers, 2);
    (void)vq_wait_used(&queues[REQUESTS], &written);
    ck_assert_uint_eq(guest(ANSWER_GPA)[10], GOOD); /* the attention was told before the state was saved */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_scsi");
    TCase *tcase = tcase_create("virtio_scsi");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, adapter_tells_its_units);
    tcase_add_test(tcase, units_that_there_are_not);
    tcase_add_loop_test(tcase, reads_and_writes_move_the_disks_contents, 0, 2);
    tcase_add_test(tcase, requests_may_be_cut_anywhere);
    tcase_add_test(tcase, ranges_outside_and_wrong_fields_are_refused);
    tcase_add_test(tcase, unmap_gives_back_what_it_names);
    tcase_add_test(tcase, write_same_writes_the_block_everywhere);
    tcase_add_test(tcase, read_only_units_are_protected);
    tcase_add_test(tcase, task_management_answers);
    tcase_add_test(tcase, task_management_waits_for_what_is_under_way);
    tcase_add_test(tcase, malformed_requests_do_no_harm);
    tcase_add_test(tcase, driver_sets_sizes_of_sense_data_and_command_blocks);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
