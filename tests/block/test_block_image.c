/* Asynchronous requests to images, with each engine: completion, order, flushes, errors, snapshots. */
#include "base/loop.h"
#include "block_test.h"
#include "dev/block/block_image.h"
#include "dev/block/host_file.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DISK_BYTES = 4 << 20, SLOTS = 32 };

static struct loop *loop;
static struct block_image *image;

static void set_up(void)
{
    folder_make();
    image = NULL;
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    (void)block_image_close(image);
    loop_destroy(loop);
    folder_remove();
}

static void open_image(const char *path, struct block_image_options options)
{
    struct error err = {{0}};

    if (block_image_open(path, &options, loop, &image, &err))
        ck_abort_msg("%s", err.text);
}

static void close_image(void)
{
    int rc = block_image_close(image);

    image = NULL;
    ck_assert_int_eq(rc, 0);
}

/* A request from the test's thread, which waits for it. */
struct call {
    struct block_request request;
    struct iovec iov;
    _Atomic int result; /* 1: not yet */
};

static void call_done(struct block_request *request, int result)
{
    struct call *call = request->opaque;

    atomic_store(&call->result, result);
}

static void call_submit(void *opaque)
{
    struct call *call = opaque;

    block_image_submit(image, &call->request);
    ck_assert_int_eq(atomic_load(&call->result), 1); /* never from within */
    block_image_kick(image);
}

static void call_start(struct call *call, enum block_op op, void *buf, uint64_t bytes, uint64_t offset)
{
    call->iov = (struct iovec){.iov_base = buf, .iov_len = bytes};
    call->request = (struct block_request){.op = op,
                                           .offset = offset,
                                           .bytes = bytes,
                                           .iov = &call->iov,
                                           .count = 1,
                                           .may_unmap = true,
                                           .complete = call_done,
                                           .opaque = call};
    atomic_store(&call->result, 1);
    ck_assert_int_eq(loop_post(loop, call_submit, call), 0);
}

static int call_wait(struct call *call)
{
    for (int i = 0; i < 200000 && atomic_load(&call->result) == 1; i++)
        usleep(100);
    return atomic_load(&call->result);
}

static int do_call(enum block_op op, void *buf, uint64_t bytes, uint64_t offset)
{
    static struct call call;

    call_start(&call, op, buf, bytes, offset);
    return call_wait(&call);
}

/* ---- many requests at the same time, beside a model ---- */

static uint8_t *disk;

struct slot {
    struct block_request request;
    struct iovec iov[4];
    uint8_t *buf;
    bool busy;
};

static struct mix {
    struct slot slots[SLOTS];
    uint64_t seed;
    unsigned left, under_way;
    _Atomic bool done;
} mix;

static void mix_fill(void);

static bool mix_overlaps(const struct slot *slot)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct block_request *o = &mix.slots[i].request, *r = &slot->request;

        if (mix.slots[i].busy && &mix.slots[i] != slot && o->op != BLOCK_FLUSH && r->op != BLOCK_FLUSH &&
            (o->op != BLOCK_READ || r->op != BLOCK_READ) && o->offset < r->offset + r->bytes &&
            r->offset < o->offset + o->bytes)
            return true;
    }
    return false;
}

static void mix_done(struct block_request *request, int result)
{
    struct slot *slot = request->opaque;

    ck_assert_int_eq(result, 0);
    if (request->op == BLOCK_READ && memcmp(slot->buf, disk + request->offset, request->bytes) != 0)
        ck_abort_msg("a read at 0x%lx has wrong contents", (unsigned long)request->offset);
    slot->busy = false;
    mix.under_way--;
    mix_fill();
}

static void mix_start(struct slot *slot)
{
    struct block_request *r = &slot->request;
    uint64_t a, b;

    do {
        uint64_t choice = random_next(&mix.seed) % 16;

        r->op = choice < 7 ? BLOCK_WRITE : choice < 13 ? BLOCK_READ : choice < 14 ? BLOCK_WRITE_ZEROES : BLOCK_FLUSH;
        r->offset = random_next(&mix.seed) % DISK_BYTES / 512 * 512;
        r->bytes = (random_next(&mix.seed) % (random_next(&mix.seed) % 4 ? 8192 : 200000) / 512 + 1) * 512;
        if (r->bytes > DISK_BYTES - r->offset)
            r->bytes = DISK_BYTES - r->offset;
    } while (mix_overlaps(slot));
    if (r->op == BLOCK_WRITE) {
        random_fill(&mix.seed, slot->buf, r->bytes);
        memcpy(disk + r->offset, slot->buf, r->bytes);
    } else if (r->op == BLOCK_WRITE_ZEROES) {
        memset(disk + r->offset, 0, r->bytes);
    }
    a = random_next(&mix.seed) % (r->bytes / 512 + 1) * 512;
    b = a + random_next(&mix.seed) % (r->bytes - a + 1);
    slot->iov[0] = (struct iovec){.iov_base = slot->buf, .iov_len = a};
    slot->iov[1] = (struct iovec){.iov_base = slot->buf + a, .iov_len = b - a};
    slot->iov[2] = (struct iovec){.iov_base = slot->buf + b, .iov_len = r->bytes - b};
    r->iov = slot->iov;
    r->count = 3;
    r->may_unmap = random_next(&mix.seed) % 2;
    r->complete = mix_done;
    r->opaque = slot;
    slot->busy = true;
    mix.under_way++;
    mix.left--;
    block_image_submit(image, r);
}

static void mix_fill(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!mix.slots[i].busy && mix.left)
            mix_start(&mix.slots[i]);
    }
    block_image_kick(image);
    if (!mix.left && !mix.under_way)
        atomic_store(&mix.done, true);
}

static void mix_begin(void *opaque)
{
    mix_fill();
}

static void run_mix(unsigned requests, uint64_t seed)
{
    mix.seed = seed;
    mix.left = requests;
    atomic_store(&mix.done, false);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (!mix.slots[i].buf)
            mix.slots[i].buf = aligned_alloc(4096, 204800);
    }
    ck_assert_int_eq(loop_post(loop, mix_begin, NULL), 0);
    for (int i = 0; i < 600000 && !atomic_load(&mix.done); i++)
        usleep(100);
    ck_assert(atomic_load(&mix.done));
    block_image_drain(image); /* the last callback has returned */
}

static const struct setting {
    enum engine_kind engine;
    enum block_format format;
    unsigned cluster_bytes;
    bool snapshot, direct, backing;
} settings[] = {
    {ENGINE_URING, BLOCK_FORMAT_RAW, 0, false, false, false},
    {ENGINE_THREADS, BLOCK_FORMAT_RAW, 0, false, false, false},
    {ENGINE_URING, BLOCK_FORMAT_RAW, 0, false, true, false},
    {ENGINE_THREADS, BLOCK_FORMAT_RAW, 0, false, true, false},
    {ENGINE_URING, BLOCK_FORMAT_QCOW2, 65536, false, false, false},
    {ENGINE_THREADS, BLOCK_FORMAT_QCOW2, 4096, false, false, true},
    {ENGINE_URING, BLOCK_FORMAT_QCOW2, 512, false, false, true},
    {ENGINE_URING, BLOCK_FORMAT_QCOW2, 512, false, true, false},
    {ENGINE_URING, BLOCK_FORMAT_RAW, 0, true, false, false},
    {ENGINE_THREADS, BLOCK_FORMAT_QCOW2, 4096, true, true, true},
};

static void make_disk(const struct setting *s, const char *path)
{
    uint64_t seed = 7;
    struct node_create create = {.format = s->format, .size_bytes = DISK_BYTES, .cluster_bytes = s->cluster_bytes};
    struct error err = {{0}};

    if (s->backing || s->format == BLOCK_FORMAT_RAW)
        random_fill(&seed, disk, DISK_BYTES);
    if (s->format == BLOCK_FORMAT_RAW) {
        file_write(path, disk, DISK_BYTES);
        return;
    }
    if (s->backing) {
        file_write(folder_path("base.raw"), disk, DISK_BYTES);
        create.backing = "base.raw";
        create.backing_format = BLOCK_FORMAT_RAW;
    }
    if (node_create(path, &create, &err))
        ck_abort_msg("%s", err.text);
}

START_TEST(many_requests_match_the_model)
{
    const struct setting *s = &settings[_i];
    const char *path = folder_path("disk");
    uint8_t *before = malloc(DISK_BYTES);

    disk = calloc(1, DISK_BYTES);
    ck_assert(before && disk);
    make_disk(s, path);
    memcpy(before, disk, DISK_BYTES);
    open_image(path, (struct block_image_options){
                         .format = s->format, .snapshot = s->snapshot, .direct = s->direct, .engine = s->engine});
    ck_assert_str_eq(block_image_engine(image), s->engine == ENGINE_URING ? "io_uring" : "threads");
    run_mix(3000, 40 + (uint64_t)_i);
    if (!s->direct)
        ck_assert_uint_gt(block_image_stats(image).direct, 100);
    close_image();
    if (s->format == BLOCK_FORMAT_QCOW2)
        expect_clean(path);
    expect_contents(path, s->format, s->snapshot ? before : disk, DISK_BYTES);
    free(before);
    free(disk);
}
END_TEST

/* ---- single requests ---- */

static const enum engine_kind engines[] = {ENGINE_URING, ENGINE_THREADS};

START_TEST(requests_beyond_the_end_and_writes_to_read_only_are_refused)
{
    static uint8_t bytes[1024];
    const char *path = folder_path("disk");

    file_write(path, bytes, 1024);
    open_image(path, (struct block_image_options){.read_only = true, .engine = engines[_i]});
    ck_assert_uint_eq(block_image_size(image), 1024);
    ck_assert(block_image_is_read_only(image));
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 1024, 0), 0);
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 1024, 512), -EINVAL);
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 512, UINT64_MAX - 511), -EINVAL);
    ck_assert_int_eq(do_call(BLOCK_WRITE, bytes, 512, 0), -EROFS);
    ck_assert_int_eq(do_call(BLOCK_DISCARD, NULL, 512, 0), -EROFS);
    ck_assert_int_eq(do_call(BLOCK_WRITE_ZEROES, NULL, 512, 0), -EROFS);
    ck_assert_int_eq(do_call(BLOCK_FLUSH, NULL, 0, 0), 0);
}
END_TEST

START_TEST(size_that_is_no_multiple_of_a_sector)
{
    uint8_t bytes[1000], sector[512], zeroes[512] = {0};
    const char *path = folder_path("disk");

    memset(bytes, 0xa5, sizeof(bytes));
    file_write(path, bytes, sizeof(bytes));
    open_image(path, (struct block_image_options){.engine = engines[_i]});
    ck_assert_uint_eq(block_image_size(image), 1024);
    ck_assert_int_eq(do_call(BLOCK_READ, sector, 512, 512), 0);
    ck_assert_mem_eq(sector, bytes, 488);
    ck_assert_mem_eq(sector + 488, zeroes, 24);
    memset(sector, 0x3c, sizeof(sector));
    ck_assert_int_eq(do_call(BLOCK_WRITE, sector, 512, 512), 0);
    memset(bytes, 0, sizeof(bytes));
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 512, 512), 0);
    ck_assert_mem_eq(bytes, sector, 512);
}
END_TEST

START_TEST(file_cut_off_behind_our_back_is_an_error)
{
    static uint8_t bytes[8192];
    const char *path = folder_path("disk");

    file_write(path, bytes, sizeof(bytes));
    open_image(path, (struct block_image_options){.engine = engines[_i]});
    ck_assert_int_eq(truncate(path, 4096), 0);
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 4096, 0), 0);
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 4096, 2048), -EIO);
    ck_assert_int_eq(do_call(BLOCK_READ, bytes, 512, 6144), -EIO);
}
END_TEST

/* RLIMIT_FSIZE stands for a full disk: what was there stays, and later writes succeed. */
START_TEST(full_disk_is_an_error_and_nothing_else)
{
    static uint8_t data[256 << 10], got[256 << 10];
    const char *path = folder_path("disk");
    const struct node_create create = {.format = BLOCK_FORMAT_QCOW2, .size_bytes = DISK_BYTES, .cluster_bytes = 4096};
    struct rlimit limit, before;
    struct error err = {{0}};
    uint64_t seed = 3;

    random_fill(&seed, data, sizeof(data));
    ck_assert_int_eq(node_create(path, &create, &err), 0);
    open_image(path, (struct block_image_options){.format = BLOCK_FORMAT_QCOW2, .engine = engines[_i]});
    ck_assert_int_eq(do_call(BLOCK_WRITE, data, sizeof(data) / 2, 0), 0);
    ck_assert_int_eq(do_call(BLOCK_FLUSH, NULL, 0, 0), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 200 << 10;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(do_call(BLOCK_WRITE, data, sizeof(data), 1 << 20), -EFBIG);
    ck_assert_int_eq(do_call(BLOCK_READ, got, sizeof(data) / 2, 0), 0);
    ck_assert_mem_eq(got, data, sizeof(data) / 2);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(do_call(BLOCK_WRITE, data, sizeof(data), 1 << 20), 0);
    close_image();
    expect_clean(path);
    open_image(path, (struct block_image_options){.format = BLOCK_FORMAT_QCOW2, .engine = engines[_i]});
    ck_assert_int_eq(do_call(BLOCK_READ, got, sizeof(data), 1 << 20), 0);
    ck_assert_mem_eq(got, data, sizeof(data));
}
END_TEST

static _Atomic int fault_error, fault_shorten;

static int fault(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    if (op != HOST_READ && op != HOST_WRITE)
        return 0;
    if (atomic_load(&fault_shorten) && *bytes > 100)
        *bytes = 100;
    return atomic_load(&fault_error);
}

START_TEST(errors_of_the_host_arrive_and_short_transfers_do_not)
{
    static uint8_t data[4096], got[4096];
    const char *path = folder_path("disk");
    uint64_t seed = 9;

    random_fill(&seed, data, sizeof(data));
    file_write(path, got, sizeof(got));
    open_image(path, (struct block_image_options){.engine = engines[_i]});
    host_file_set_fault(node_file(block_image_node(image)), fault, NULL);
    atomic_store(&fault_shorten, 1);
    ck_assert_int_eq(do_call(BLOCK_WRITE, data, sizeof(data), 0), 0);
    ck_assert_int_eq(do_call(BLOCK_READ, got, sizeof(got), 0), 0);
    ck_assert_mem_eq(got, data, sizeof(data));
    atomic_store(&fault_error, -EIO);
    ck_assert_int_eq(do_call(BLOCK_WRITE, data, sizeof(data), 0), -EIO);
    ck_assert_int_eq(do_call(BLOCK_READ, got, sizeof(got), 0), -EIO);
    atomic_store(&fault_error, 0);
    atomic_store(&fault_shorten, 0);
    ck_assert_int_eq(do_call(BLOCK_READ, got, sizeof(got), 0), 0);
}
END_TEST

/* ---- flushes ---- */

static _Atomic int writes_done, syncs_begun;
static _Atomic bool hold_writes, flush_saw_all;

/* Writes wait; a sync says whether all of them were over. */
static int slow_host(void *opaque, enum host_op op, uint64_t offset, uint64_t *bytes)
{
    if (op == HOST_WRITE) {
        while (atomic_load(&hold_writes))
            usleep(100);
        usleep(3000);
        atomic_fetch_add(&writes_done, 1);
    } else if (op == HOST_SYNC) {
        atomic_fetch_add(&syncs_begun, 1);
        atomic_store(&flush_saw_all, atomic_load(&writes_done) >= 6);
    }
    return 0;
}

START_TEST(flush_waits_for_the_writes_before_it)
{
    enum { WRITES = 6, FLUSHES = 3 };
    static uint8_t data[512], other[512];
    static struct call writes[WRITES], flushes[FLUSHES], read;
    const char *path = folder_path("disk");

    file_write(path, data, sizeof(data));
    command_ok("truncate -s 1M %s", path);
    open_image(path, (struct block_image_options){.engine = ENGINE_THREADS});
    host_file_set_fault(node_file(block_image_node(image)), slow_host, NULL);
    atomic_store(&hold_writes, true);
    for (int i = 0; i < WRITES; i++)
        call_start(&writes[i], BLOCK_WRITE, data, sizeof(data), 4096 * (uint64_t)i);
    for (int i = 0; i < FLUSHES; i++)
        call_start(&flushes[i], BLOCK_FLUSH, NULL, 0, 0);
    call_start(&read, BLOCK_READ, other, sizeof(other), 65536); /* which does not wait for them */
    ck_assert_int_eq(call_wait(&read), 0);
    ck_assert_int_eq(atomic_load(&flushes[0].result), 1);
    ck_assert_int_eq(atomic_load(&syncs_begun), 0);
    atomic_store(&hold_writes, false);
    for (int i = 0; i < FLUSHES; i++)
        ck_assert_int_eq(call_wait(&flushes[i]), 0);
    ck_assert(atomic_load(&flush_saw_all));
    ck_assert_int_eq(atomic_load(&syncs_begun), 1); /* one for all three */
    for (int i = 0; i < WRITES; i++)
        ck_assert_int_eq(call_wait(&writes[i]), 0);
    host_file_set_fault(node_file(block_image_node(image)), NULL, NULL);
}
END_TEST

START_TEST(close_waits_for_what_is_under_way)
{
    static uint8_t data[512], other[512];
    static struct call writes[4];
    const char *path = folder_path("disk");

    command_ok("truncate -s 1M %s", path);
    open_image(path, (struct block_image_options){.engine = ENGINE_THREADS});
    host_file_set_fault(node_file(block_image_node(image)), slow_host, NULL);
    for (int i = 0; i < 4; i++)
        call_start(&writes[i], BLOCK_WRITE, data, sizeof(data), 4096 * (uint64_t)i);
    ck_assert_int_eq(do_call(BLOCK_READ, other, sizeof(other), 65536), 0); /* so all of them were submitted */
    block_image_drain(image);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(atomic_load(&writes[i].result), 0);
    atomic_store(&writes_done, 0);
    for (int i = 0; i < 4; i++)
        call_start(&writes[i], BLOCK_WRITE, data, sizeof(data), 4096 * (uint64_t)i);
    ck_assert_int_eq(do_call(BLOCK_READ, other, sizeof(other), 65536), 0);
    close_image();
    ck_assert_int_eq(atomic_load(&writes_done), 4);
}
END_TEST

/* ---- locks ---- */

START_TEST(image_in_use_is_refused)
{
    const struct block_image_options read_write = {0}, read_only = {.read_only = true}, snapshot = {.snapshot = true};
    const char *path = folder_path("disk");
    struct block_image *second = NULL;
    struct error err = {{0}};

    command_ok("truncate -s 1M %s", path);
    open_image(path, read_write);
    ck_assert_int_eq(block_image_open(path, &read_write, loop, &second, &err), -EBUSY);
    ck_assert_ptr_nonnull(strstr(err.text, "in use"));
    ck_assert_int_eq(block_image_open(path, &read_only, loop, &second, &err), -EBUSY);
    ck_assert_int_eq(block_image_open(path, &snapshot, loop, &second, &err), -EBUSY);
    ck_assert_int_ne(command_run("qemu-io -f raw -c 'read 0 512' %s", path), 0);
    close_image();
    open_image(path, read_only);
    ck_assert_int_eq(block_image_open(path, &read_only, loop, &second, &err), 0);
    ck_assert_int_eq(block_image_close(second), 0);
    ck_assert_int_eq(block_image_open(path, &read_write, loop, &second, &err), -EBUSY);
    command_ok("qemu-io -r -f raw -c 'read 0 512' %s", path);
    ck_assert_int_ne(command_run("qemu-io -f raw -c 'write 0 512' %s", path), 0);
    close_image();
    command_ok("qemu-io -f raw -c 'write 0 512' %s", path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block_image");
    TCase *tcase = tcase_create("requests");
    int both = (int)TUFF_ARRAY_LEN(engines);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, many_requests_match_the_model, 0, (int)TUFF_ARRAY_LEN(settings));
    tcase_add_loop_test(tcase, requests_beyond_the_end_and_writes_to_read_only_are_refused, 0, both);
    tcase_add_loop_test(tcase, size_that_is_no_multiple_of_a_sector, 0, both);
    tcase_add_loop_test(tcase, file_cut_off_behind_our_back_is_an_error, 0, both);
    tcase_add_loop_test(tcase, full_disk_is_an_error_and_nothing_else, 0, both);
    tcase_add_loop_test(tcase, errors_of_the_host_arrive_and_short_transfers_do_not, 0, both);
    tcase_add_test(tcase, flush_waits_for_the_writes_before_it);
    tcase_add_test(tcase, close_waits_for_what_is_under_way);
    tcase_add_test(tcase, image_in_use_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
