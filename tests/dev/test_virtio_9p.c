/* The 9P device between the tests' own driver and a directory: messages by the ring, many at once, flushes, resets. */
#include "dev/device_state.h"
#include "dev/share/p9_wire.h"
#include "dev/virtio/virtio_9p.h"
#include "virtq_driver.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

enum {
    BASE = VQ_RAM_GPA + 0x100000,
    MESSAGES = VQ_RAM_GPA + 0x400000,
    STEP = 0x12000, /* of memory a message */
    REPLY = 0x1000, /* where its reply is */
    REPLY_BYTES = 0x11000,
    ENTRIES = 128,
    FILE_BYTES = 60000,
};

static struct mem *mem;
static struct loop *loop;
static struct virtio_device *dev, *replaced; /* the second: until the loop has stopped, NULL: none */
static struct vq_interrupts interrupts;
static struct vq vq;
static char dir[64], path[96];
static unsigned used_message[ENTRIES]; /* by id */

static void set_up(void)
{
    struct virtio_9p_config config = {.tag = "there", .share.path = dir};
    struct error err;

    strcpy(dir, "/tmp/tuff-9p-dev-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    for (unsigned i = 0; i < FILE_BYTES; i++)
        fputc('a' + i % 26, file);
    fclose(file);
    mem = vq_make_mem();
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    config.mem = mem;
    config.loop = loop;
    ck_assert_msg(virtio_9p_create(&config, &dev, &err) == 0, "%s", err.text);
    vq_attach(dev, &interrupts);
}

static void tear_down(void)
{
    loop_stop(loop);
    dev->base.ops->destroy(&dev->base);
    if (replaced) {
        virtio_unsettle(replaced);
        replaced->base.ops->destroy(&replaced->base);
    }
    replaced = NULL;
    loop_destroy(loop);
    mem_destroy(mem);
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void drive(uint64_t features)
{
    ck_assert(vq_negotiate(dev, features | VIRTIO_F_VERSION_1 | 1));
    vq_give(dev, 0, &vq, BASE, ENTRIES);
    vq_driver_ok(dev);
}

static uint8_t *at(unsigned n, unsigned offset)
{
    return vq_at(&vq, MESSAGES + n * (uint64_t)STEP + offset, 1);
}

/* Puts together message n; `numbers` are pairs of a size and a value. */
static void add(unsigned n, uint8_t type, uint16_t tag, unsigned count, const uint64_t (*numbers)[2])
{
    struct p9_out out = {.start = at(n, 0), .size = REPLY};

    p9_put_u32(&out, 0);
    p9_put_u8(&out, type);
    p9_put_u16(&out, tag);
    for (unsigned i = 0; i < count; i++) {
        if (numbers[i][0])
            p9_put(&out, &numbers[i][1], (size_t)numbers[i][0]);
        else
            p9_put_string(&out, (const char *)(uintptr_t)numbers[i][1], strlen((const char *)(uintptr_t)numbers[i][1]));
    }
    uint32_t len = (uint32_t)out.len;
    memcpy(out.start, &len, sizeof(len));
    struct vq_buffer buffers[] = {{MESSAGES + n * (uint64_t)STEP, len, false},
                                  {MESSAGES + n * (uint64_t)STEP + REPLY, 11, true},
                                  {MESSAGES + n * (uint64_t)STEP + REPLY + 11, REPLY_BYTES - 11, true}};
    int id = vq_add(&vq, buffers, 3, 0);
    ck_assert_int_ge(id, 0);
    used_message[id] = n;
}

#define ADD(n, type, tag, ...) \
    add(n, type, tag, sizeof((const uint64_t[][2]){__VA_ARGS__}) / 16, (const uint64_t[][2]){__VA_ARGS__})
#define TEXT(text) {0, (uintptr_t)(text)}

/* Which message was answered next. */
static unsigned wait_one(void)
{
    uint32_t written, size;
    unsigned n = used_message[vq_wait_used(&vq, &written)];

    memcpy(&size, at(n, REPLY), 4);
    ck_assert_uint_eq(size, written);
    ck_assert_mem_eq(at(n, REPLY + 5), at(n, 5), 2);
    return n;
}

static uint8_t ask(void)
{
    virtio_kick(dev, 0);
    return *at(wait_one(), REPLY + 4);
}

static void open_file(void)
{
    ADD(0, P9_TVERSION, 0xffff, {4, 65536 + 24}, TEXT("9P2000.L"));
    ck_assert_uint_eq(ask(), P9_TVERSION + 1);
    ADD(0, P9_TATTACH, 1, {4, 1}, {4, P9_NO_FID}, TEXT("root"), TEXT(""), {4, P9_NO_FID});
    ck_assert_uint_eq(ask(), P9_TATTACH + 1);
    ADD(0, P9_TWALK, 1, {4, 1}, {4, 2}, {2, 1}, TEXT("file"));
    ck_assert_uint_eq(ask(), P9_TWALK + 1);
    ADD(0, P9_TLOPEN, 1, {4, 2}, {4, 0});
    ck_assert_uint_eq(ask(), P9_TLOPEN + 1);
}

static const uint64_t formats[] = {0, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX};

START_TEST(configuration_has_the_tag)
{
    uint8_t config[7];

    for (unsigned i = 0; i < 7; i++)
        virtio_config_read(dev, i, config + i, 1);
    ck_assert_mem_eq(config, "\5\0there", 7);
}
END_TEST

START_TEST(file_is_read_into_the_guests_buffers)
{
    uint32_t count;

    drive(formats[_i]);
    open_file();
    ADD(3, P9_TREAD, 5, {4, 2}, {8, 10}, {4, FILE_BYTES});
    ck_assert_uint_eq(ask(), P9_TREAD + 1);
    memcpy(&count, at(3, REPLY + 7), 4);
    ck_assert_uint_eq(count, FILE_BYTES - 10);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(*at(3, REPLY + 11 + i), 'a' + (i + 10) % 26);
    ck_assert_uint_gt(interrupts.queue, 0);
}
END_TEST

/* More than the device works on at a time. */
START_TEST(many_requests_at_once_are_all_answered)
{
    enum { COUNT = 40 };

    drive(formats[_i]);
    open_file();
    for (unsigned round = 0; round < 5; round++) {
        bool seen[COUNT] = {false};
        for (unsigned n = 0; n < COUNT; n++)
            ADD(n, P9_TREAD, (uint16_t)n, {4, 2}, {8, n * 1000}, {4, 5000});
        virtio_kick(dev, 0);
        for (unsigned i = 0; i < COUNT; i++) {
            unsigned n = wait_one();
            ck_assert(!seen[n]);
            seen[n] = true;
            ck_assert_uint_eq(*at(n, REPLY + 11), 'a' + n * 1000 % 26);
        }
    }
}
END_TEST

START_TEST(flush_is_answered_after_what_it_is_about)
{
    drive(formats[_i]);
    open_file();
    for (unsigned round = 0; round < 50; round++) {
        bool answered[20] = {false};
        for (unsigned n = 0; n < 19; n++)
            ADD(n, P9_TREAD, (uint16_t)n, {4, 2}, {8, 0}, {4, FILE_BYTES});
        ADD(19, P9_TFLUSH, 100, {2, 18});
        virtio_kick(dev, 0);
        for (unsigned i = 0; i < 20; i++) {
            unsigned n = wait_one();
            answered[n] = true;
            ck_assert(n != 19 || answered[18]);
        }
    }
    ADD(0, P9_TFLUSH, 100, {2, 77}); /* of nothing */
    ck_assert_uint_eq(ask(), P9_TFLUSH + 1);
}
END_TEST

static unsigned open_descriptors(void)
{
    DIR *fds = opendir("/proc/self/fd");
    unsigned count = 0;

    ck_assert_ptr_nonnull(fds);
    while (readdir(fds))
        count++;
    closedir(fds);
    return count;
}

START_TEST(reset_waits_for_requests_and_forgets_fids)
{
    unsigned before = open_descriptors();

    for (unsigned round = 0; round < 20; round++) {
        drive(formats[_i]);
        open_file();
        for (unsigned n = 0; n < 20; n++)
            ADD(n, P9_TREAD, (uint16_t)n, {4, 2}, {8, 0}, {4, FILE_BYTES});
        virtio_kick(dev, 0);
        if (round % 2)
            usleep(500);
        virtio_set_status(dev, 0);
        ck_assert_uint_eq(open_descriptors(), before);
    }
}
END_TEST

START_TEST(saved_session_is_loaded_before_the_queues_go_on)
{
    const struct device_ops *ops = dev->base.ops;
    struct device_columns saved;
    uint8_t *state = malloc(device_state_size(&dev->base));
    struct error err;

    drive(formats[_i]);
    open_file();
    struct virtio_device *first = dev;
    virtio_settle(first);
    ck_assert_int_eq(ops->columns_save(&first->base, &saved), 0);
    ck_assert_int_eq(device_state_save(&first->base, state, device_state_size(&first->base)), 0);
    struct virtio_9p_config config = {.mem = mem, .loop = loop, .tag = "there", .share.path = dir};
    ck_assert_int_eq(virtio_9p_create(&config, &dev, &err), 0);
    vq_attach(dev, &interrupts);
    ck_assert_int_eq(ops->columns_load(&dev->base, &saved), 0);
    ops->columns_done(&first->base);
    ck_assert_int_eq(device_state_load(&dev->base, state, device_state_size(&first->base), &err), 0);
    replaced = first; /* it stands still: its queue is the other one's now */
    free(state);
    ADD(0, P9_TREAD, 5, {4, 2}, {8, 26}, {4, 3});
    ck_assert_uint_eq(ask(), P9_TREAD + 1);
    ck_assert_mem_eq(at(0, REPLY + 11), "abc", 3);
}
END_TEST

START_TEST(columns_that_contradict_themselves_are_refused)
{
    const struct device_ops *ops = dev->base.ops;
    struct device_columns saved, changed;
    uint32_t ends[] = {4, 2};

    drive(0);
    open_file();
    virtio_settle(dev);
    ck_assert_int_eq(ops->columns_save(&dev->base, &saved), 0);
    ck_assert_uint_eq(saved.list[0].count, 2);
    for (unsigned i = 0; i < saved.count; i++) {
        changed = saved;
        changed.list[i].count--;
        ck_assert_int_eq(ops->columns_load(&dev->base, &changed), -EINVAL);
        changed = saved;
        changed.list[i].element_bytes = 2;
        ck_assert_int_eq(ops->columns_load(&dev->base, &changed), -EINVAL);
        changed = saved;
        changed.list[i].name = "other";
        ck_assert_int_eq(ops->columns_load(&dev->base, &changed), -EINVAL);
        changed = saved;
        if (strcmp(changed.list[i].name, "path_ends") == 0) {
            changed.list[i].value = ends;
            ck_assert_int_eq(ops->columns_load(&dev->base, &changed), -EINVAL);
        }
    }
    changed = saved;
    changed.count--;
    ck_assert_int_eq(ops->columns_load(&dev->base, &changed), -EINVAL);
    changed = saved;
    changed.version++;
    ck_assert_int_eq(ops->columns_load(&dev->base, &changed), -EINVAL);
    ops->columns_done(&dev->base);
    virtio_unsettle(dev);
}
END_TEST

START_TEST(messages_that_are_none_fail_the_device)
{
    struct vq_buffer none[] = {{MESSAGES, 6, false}, {MESSAGES + REPLY, 100, true}};

    drive(formats[_i]);
    ck_assert_int_ge(vq_send(dev, 0, &vq, none, 2), 0);
    for (int i = 0; i < 10000 && !(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET); i++)
        usleep(1000);
    ck_assert(virtio_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
    drive(formats[_i]);
    open_file();
}
END_TEST

START_TEST(tags_that_cannot_be_are_reported)
{
    struct virtio_device *other;
    struct error err;

    for (const char *const *tag = (const char *const[]){"", "a-tag-of-more-bytes-than-there-can-be", NULL}; *tag;
         tag++) {
        struct virtio_9p_config config = {.mem = mem, .loop = loop, .tag = *tag, .share.path = dir};
        ck_assert_int_eq(virtio_9p_create(&config, &other, &err), -EINVAL);
    }
    struct virtio_9p_config config = {.mem = mem, .loop = loop, .tag = "x", .share.path = "/nonexistent"};
    ck_assert_int_eq(virtio_9p_create(&config, &other, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_9p");
    TCase *tcase = tcase_create("virtio_9p");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, configuration_has_the_tag);
    tcase_add_test(tcase, tags_that_cannot_be_are_reported);
    tcase_add_loop_test(tcase, file_is_read_into_the_guests_buffers, 0, 3);
    tcase_add_loop_test(tcase, many_requests_at_once_are_all_answered, 0, 3);
    tcase_add_loop_test(tcase, flush_is_answered_after_what_it_is_about, 0, 3);
    tcase_add_loop_test(tcase, reset_waits_for_requests_and_forgets_fids, 0, 3);
    tcase_add_loop_test(tcase, saved_session_is_loaded_before_the_queues_go_on, 0, 3);
    tcase_add_test(tcase, columns_that_contradict_themselves_are_refused);
    tcase_add_loop_test(tcase, messages_that_are_none_fail_the_device, 0, 3);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
