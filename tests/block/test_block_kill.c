/* What was flushed is there after the process is killed: a child writes records and flushes, says which of them are
 * durable, and is killed at any time. 10 times for each kind of image, 100 with TUFF_TEST_LONG. */
#include "base/loop.h"
#include "block_test.h"
#include "dev/block/block_image.h"
#include "run_suite.h"

#include <check.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SECTOR_BYTES = 512,
    SECTORS = 8, /* of a record */
    RECORD_BYTES = SECTORS * SECTOR_BYTES,
    RECORDS = 512,
    BATCH = 8,
    DISK_BYTES = RECORDS * RECORD_BYTES
};

static const struct kind {
    enum block_format format;
    enum engine_kind engine;
    unsigned cluster_bytes;
    bool lazy;
} kinds[] = {{BLOCK_FORMAT_RAW, ENGINE_URING, 0, false},
             {BLOCK_FORMAT_QCOW2, ENGINE_URING, 65536, false},
             {BLOCK_FORMAT_QCOW2, ENGINE_THREADS, 512, false},
             {BLOCK_FORMAT_QCOW2, ENGINE_URING, 4096, true}};

static void set_up(void)
{
    folder_make();
}

static void tear_down(void)
{
    folder_remove();
}

/* Record `n` as written in round `round`; 0: as it was created. */
static void fill_record(uint8_t *bytes, uint64_t n, uint64_t round)
{
    uint64_t seed = n << 32 | round;

    memset(bytes, 0, RECORD_BYTES);
    if (round)
        random_fill(&seed, bytes, RECORD_BYTES);
}

/* ---- the child ---- */

static struct writer {
    struct block_image *image;
    struct block_request requests[BATCH + 1];
    struct iovec iov[BATCH];
    uint8_t bytes[BATCH][RECORD_BYTES];
    uint64_t records[BATCH]; /* which ones this batch has */
    uint64_t seed, round;
    unsigned pending;
    int report_fd;
} w;

static void next_batch(void *opaque);

static void flushed(struct block_request *request, int result)
{
    if (result || write(w.report_fd, w.records, sizeof(w.records)) != (ssize_t)sizeof(w.records))
        _exit(2);
    next_batch(NULL);
}

static void written(struct block_request *request, int result)
{
    struct block_request *flush = &w.requests[BATCH];

    if (result)
        _exit(2);
    if (--w.pending)
        return;
    *flush = (struct block_request){.op = BLOCK_FLUSH, .complete = flushed};
    block_image_submit(w.image, flush);
    block_image_kick(w.image);
}

/* Records of eight parts of the disk, so that none is there twice. */
static void next_batch(void *opaque)
{
    w.round++;
    w.pending = BATCH;
    for (unsigned i = 0; i < BATCH; i++) {
        uint64_t n = i * (RECORDS / BATCH) + random_next(&w.seed) % (RECORDS / BATCH);

        w.records[i] = n;
        fill_record(w.bytes[i], n, w.round);
        w.iov[i] = (struct iovec){.iov_base = w.bytes[i], .iov_len = RECORD_BYTES};
        w.requests[i] = (struct block_request){
            .op = BLOCK_WRITE, .offset = n * RECORD_BYTES, .iov = &w.iov[i], .count = 1, .complete = written};
        block_image_submit(w.image, &w.requests[i]);
    }
    block_image_kick(w.image);
}

static void child(const struct kind *kind, const char *path, uint64_t seed, uint64_t round, int report_fd)
{
    const struct block_image_options options = {.format = kind->format, .engine = kind->engine};
    struct loop *loop;
    struct error err;

    w.seed = seed;
    w.round = round;
    w.report_fd = report_fd;
    if (loop_create(&loop) || block_image_open(path, &options, loop, &w.image, &err) ||
        loop_post(loop, next_batch, NULL) || loop_start(loop))
        _exit(3);
    for (;;)
        pause();
}

/* ---- the test ---- */

/* Reads reports until the child has been killed. `durable` gets the round of each sector of each record; returns the
 * last round. */
static uint64_t watch(pid_t pid, int fd, unsigned reports, uint64_t round, uint64_t durable[][SECTORS])
{
    uint64_t records[BATCH];
    bool killed = false;
    int status;

    while (read(fd, records, sizeof(records)) == (ssize_t)sizeof(records)) {
        round++;
        for (unsigned i = 0; i < BATCH * SECTORS; i++)
            durable[records[i / SECTORS]][i % SECTORS] = round;
        if (!killed && --reports == 0) {
            ck_assert_int_eq(kill(pid, SIGKILL), 0);
            killed = true;
        }
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the writer ended by itself: %d", status);
    return round;
}

/* Each sector is whole: of the round that was reported last, or of the one that was under way, of which a disk may have
 * some sectors of a record and not others. */
static void expect_records(const struct kind *kind, const char *path, uint64_t durable[][SECTORS], uint64_t last)
{
    struct block_node *node = open_ok(path, kind->format, true);
    static uint8_t got[RECORD_BYTES], before[RECORD_BYTES], under_way[RECORD_BYTES];

    for (uint64_t n = 0; n < RECORDS; n++) {
        ck_assert_int_eq(node_read(node, got, RECORD_BYTES, n * RECORD_BYTES), 0);
        fill_record(under_way, n, last + 1);
        for (unsigned sector = 0; sector < SECTORS; sector++) {
            size_t at = (size_t)sector * SECTOR_BYTES;
            fill_record(before, n, durable[n][sector]);
            if (memcmp(got + at, before + at, SECTOR_BYTES) == 0)
                continue;
            ck_assert_msg(memcmp(got + at, under_way + at, SECTOR_BYTES) == 0,
                          "record %lu, sector %u: not of round %lu", (unsigned long)n, sector,
                          (unsigned long)durable[n][sector]);
            durable[n][sector] = last + 1;
        }
    }
    close_ok(node);
}

START_TEST(flushed_records_survive_sigkill)
{
    const struct kind *kind = &kinds[_i];
    const struct node_create create = {.format = kind->format,
                                       .size_bytes = DISK_BYTES,
                                       .cluster_bytes = kind->cluster_bytes,
                                       .lazy_refcounts = kind->lazy};
    int kills = getenv("TUFF_TEST_LONG") ? 100 : 10;
    static uint64_t durable[RECORDS][SECTORS];
    uint64_t round = 0, seed = 77 + (uint64_t)_i;
    const char *path = folder_path("disk");
    struct error err = {{0}};

    memset(durable, 0, sizeof(durable));
    ck_assert_int_eq(node_create(path, &create, &err), 0);
    for (int i = 0; i < kills; i++) {
        int ends[2];
        pid_t pid;

        ck_assert_int_eq(pipe(ends), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            close(ends[0]);
            child(kind, path, seed + (uint64_t)i, round, ends[1]);
        }
        close(ends[1]);
        round = watch(pid, ends[0], 1 + (unsigned)(random_next(&seed) % 12), round, durable);
        close(ends[0]);
        expect_records(kind, path, durable, round);
        round++;                                /* some records may be of the round that was under way */
        if (kind->format == BLOCK_FORMAT_QCOW2) /* leaks are allowed: 3 */
            ck_assert_int_ne(command_run("qemu-img check -f qcow2 %s", path), 2);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("block_kill");
    TCase *tcase = tcase_create("kill");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, flushed_records_survive_sigkill, 0, (int)TUFF_ARRAY_LEN(kinds));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
