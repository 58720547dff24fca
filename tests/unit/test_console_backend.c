/* Serial host back ends: every byte arrives in order through files, pipes and pseudo-terminals, and the other side's
 * ways to misbehave (not reading, leaving, a full disk) neither hang nor kill. */
#include "base/loop.h"
#include "machine/console_backend.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum { PATTERN_BYTES = 3 * CONSOLE_RING_BYTES + 17 };

static struct loop *loop;

static void set_up(void)
{
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
}

static void tear_down(void)
{
    loop_destroy(loop);
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static struct console_backend *create(const struct console_backend_config *config)
{
    struct console_backend *backend;
    struct error err = {""};

    ck_assert_msg(console_backend_create(loop, config, &backend, &err) == 0, "%s", err.text);
    return backend;
}

/* Writes the pattern in pieces of uneven size. */
static void *write_pattern(void *opaque)
{
    static uint8_t bytes[PATTERN_BYTES];
    size_t at = 0, piece = 1;

    for (size_t i = 0; i < PATTERN_BYTES; i++)
        bytes[i] = pattern(i);
    while (at < PATTERN_BYTES) {
        size_t len = piece < PATTERN_BYTES - at ? piece : PATTERN_BYTES - at;
        console_backend_write(opaque, bytes + at, len);
        at += len;
        piece = piece * 5 % 8191 + 1;
    }
    return NULL;
}

/* Reads to the end of input and checks the pattern; returns how many bytes came. */
static size_t check_pattern(int fd, size_t want)
{
    static uint8_t bytes[65536];
    size_t at = 0;

    while (at < want) {
        ssize_t count = read(fd, bytes, sizeof(bytes));
        ck_assert_int_ge(count, 0);
        if (count == 0)
            break;
        for (ssize_t i = 0; i < count; i++) {
            /* An assertion for each of the bytes, which Check notes, would take a minute under a sanitizer. */
            if (bytes[i] != pattern(at + (size_t)i))
                ck_abort_msg("byte %zu is %d instead of %d", at + (size_t)i, bytes[i], pattern(at + (size_t)i));
        }
        at += (size_t)count;
    }
    return at;
}

START_TEST(file_gets_every_byte_and_loses_its_old_contents)
{
    char path[] = "/tmp/tuff-console-XXXXXX";
    int fd = mkstemp(path);
    struct console_backend *backend;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "old contents", 12), 12);
    backend = create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_FILE, .path = path});
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
    write_pattern(backend);
    console_backend_destroy(backend);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), PATTERN_BYTES);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_uint_eq(check_pattern(fd, SIZE_MAX), PATTERN_BYTES);
    unlink(path);
    close(fd);
}
END_TEST

START_TEST(file_that_cannot_be_opened_is_reported)
{
    static const char *const paths[] = {"/nonexistent/file", "/", "/dev/null/x"};
    struct console_backend *backend;
    struct error err;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct console_backend_config config = {.kind = CONSOLE_BACKEND_FILE, .path = paths[i]};
        ck_assert_int_lt(console_backend_create(loop, &config, &backend, &err), 0);
        ck_assert_ptr_nonnull(strstr(err.text, paths[i]));
    }
}
END_TEST

START_TEST(full_disk_drops_output_and_counts_it)
{
    struct console_backend *backend =
        create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_FILE, .path = "/dev/full"});

    console_backend_write(backend, (const uint8_t *)"hello", 5);
    console_backend_flush(backend);
    ck_assert_uint_eq(console_backend_dropped(backend), 5);
    console_backend_write(backend, (const uint8_t *)"hello", 5);
    ck_assert_uint_eq(console_backend_dropped(backend), 10);
    console_backend_destroy(backend);
}
END_TEST

static void reader_slower_than_writer(int ends[2])
{
    struct console_backend *backend =
        create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_FD, .fd = ends[1]});
    pthread_t writer;

    ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, backend), 0);
    usleep(50000); /* let the ring fill up */
    ck_assert_uint_eq(check_pattern(ends[0], PATTERN_BYTES), PATTERN_BYTES);
    pthread_join(writer, NULL);
    console_backend_destroy(backend);
    ck_assert_int_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
}

START_TEST(pipe_with_slow_reader_loses_nothing)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    reader_slower_than_writer(ends);
}
END_TEST

START_TEST(socket_with_slow_reader_loses_nothing)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    reader_slower_than_writer(ends);
}
END_TEST

START_TEST(closed_pipe_drops_output_and_goes_on)
{
    int ends[2];
    struct console_backend *backend;

    ck_assert_int_eq(pipe(ends), 0);
    backend = create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_FD, .fd = ends[1]});
    close(ends[0]);
    write_pattern(backend);
    console_backend_flush(backend);
    ck_assert_uint_eq(console_backend_dropped(backend), PATTERN_BYTES);
    console_backend_destroy(backend);
    close(ends[1]);
}
END_TEST

START_TEST(cancel_releases_a_writer_that_waits)
{
    int ends[2];
    struct console_backend *backend;
    pthread_t writer;

    ck_assert_int_eq(pipe(ends), 0);
    backend = create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_FD, .fd = ends[1]});
    ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, backend), 0);
    usleep(50000);
    console_backend_cancel(backend);
    pthread_join(writer, NULL);
    ck_assert_uint_gt(console_backend_dropped(backend), 0);
    console_backend_destroy(backend);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(output_arrives_without_flush)
{
    int ends[2];
    struct console_backend *backend;
    char byte = 0;

    ck_assert_int_eq(pipe(ends), 0);
    backend = create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_FD, .fd = ends[1]});
    console_backend_write(backend, (const uint8_t *)"x", 1);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    console_backend_destroy(backend);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* A device with a FIFO of 16 bytes, which the test empties. */
struct device {
    pthread_mutex_t lock;
    uint8_t fifo[16];
    size_t len;
};

static size_t device_receive(void *opaque, const uint8_t *bytes, size_t len)
{
    struct device *device = opaque;
    size_t taken;

    pthread_mutex_lock(&device->lock);
    taken = sizeof(device->fifo) - device->len;
    taken = len < taken ? len : taken;
    memcpy(device->fifo + device->len, bytes, taken);
    device->len += taken;
    pthread_mutex_unlock(&device->lock);
    return taken;
}

/* Takes up to `want` bytes out of the device and checks the pattern. */
static void device_check(struct device *device, struct console_backend *backend, size_t want)
{
    size_t at = 0;

    for (int tries = 0; at < want && tries < 10000; tries++) {
        uint8_t fifo[16];
        size_t len;
        pthread_mutex_lock(&device->lock);
        len = device->len;
        memcpy(fifo, device->fifo, len);
        device->len = 0;
        pthread_mutex_unlock(&device->lock);
        for (size_t i = 0; i < len; i++)
            ck_assert_uint_eq(fifo[i], pattern(at + i));
        at += len;
        console_backend_can_receive(backend);
        if (!len)
            usleep(1000);
    }
    ck_assert_uint_eq(at, want);
}

START_TEST(input_larger_than_the_fifo_arrives_in_order)
{
    struct device device = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct console_backend *backend = create(&(struct console_backend_config){
        .kind = CONSOLE_BACKEND_NULL, .receive = device_receive, .receive_opaque = &device});
    uint8_t bytes[CONSOLE_INPUT_BYTES + 100];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    /* At most the FIFO's 16 can be gone before the call returns. */
    size_t taken = console_backend_input(backend, bytes, sizeof(bytes));
    ck_assert_uint_ge(taken, CONSOLE_INPUT_BYTES);
    ck_assert_uint_le(taken, CONSOLE_INPUT_BYTES + 16);
    device_check(&device, backend, taken);
    console_backend_destroy(backend);
}
END_TEST

START_TEST(pty_carries_bytes_both_ways)
{
    struct device device = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct console_backend *backend = create(&(struct console_backend_config){
        .kind = CONSOLE_BACKEND_PTY, .receive = device_receive, .receive_opaque = &device});
    uint8_t bytes[CONSOLE_INPUT_BYTES + 512];
    int fd = open(console_backend_pty_path(backend), O_RDWR | O_NOCTTY | O_NONBLOCK);
    size_t at = 0;
    char text[8];

    ck_assert_int_ge(fd, 0);
    console_backend_write(backend, (const uint8_t *)"hi\n", 3);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, 10000), 1);
    ck_assert_int_eq(read(fd, text, sizeof(text)), 3);
    ck_assert_mem_eq(text, "hi\n", 3);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    while (at < CONSOLE_INPUT_BYTES) { /* more than the FIFO holds, less than queue and line discipline */
        ssize_t count = write(fd, bytes + at, 512);
        ck_assert_int_gt(count, 0);
        at += (size_t)count;
    }
    device_check(&device, backend, at);
    close(fd);
    console_backend_destroy(backend);
}
END_TEST

START_TEST(pty_without_reader_neither_blocks_nor_ends)
{
    struct console_backend *backend = create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_PTY});
    char byte;
    int fd;

    write_pattern(backend);
    ck_assert_uint_gt(console_backend_dropped(backend), 0);
    for (int i = 0; i < 2; i++) { /* readers come and go */
        fd = open(console_backend_pty_path(backend), O_RDWR | O_NOCTTY);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(read(fd, &byte, 1), 1);
        close(fd);
    }
    console_backend_destroy(backend);
}
END_TEST

static void collect(void *opaque, const uint8_t *bytes, size_t len)
{
    strncat(opaque, (const char *)bytes, len);
}

START_TEST(sink_gets_output_at_once)
{
    char text[16] = "";
    struct console_backend *backend =
        create(&(struct console_backend_config){.kind = CONSOLE_BACKEND_SINK, .sink = collect, .sink_opaque = text});

    console_backend_write(backend, (const uint8_t *)"abc", 3);
    ck_assert_str_eq(text, "abc");
    ck_assert_ptr_null(console_backend_pty_path(backend));
    console_backend_destroy(backend);
}
END_TEST

START_TEST(destroy_with_undelivered_input_is_safe)
{
    struct device device = {.lock = PTHREAD_MUTEX_INITIALIZER, .len = sizeof(device.fifo)};

    for (int i = 0; i < 200; i++) {
        struct console_backend *backend = create(&(struct console_backend_config){
            .kind = CONSOLE_BACKEND_NULL, .receive = device_receive, .receive_opaque = &device});
        ck_assert_uint_eq(console_backend_input(backend, (const uint8_t *)"xyz", 3), 3);
        console_backend_destroy(backend);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("console_backend");
    TCase *tcase = tcase_create("console_backend");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, file_gets_every_byte_and_loses_its_old_contents);
    tcase_add_test(tcase, file_that_cannot_be_opened_is_reported);
    tcase_add_test(tcase, full_disk_drops_output_and_counts_it);
    tcase_add_test(tcase, pipe_with_slow_reader_loses_nothing);
    tcase_add_test(tcase, socket_with_slow_reader_loses_nothing);
    tcase_add_test(tcase, closed_pipe_drops_output_and_goes_on);
    tcase_add_test(tcase, cancel_releases_a_writer_that_waits);
    tcase_add_test(tcase, output_arrives_without_flush);
    tcase_add_test(tcase, input_larger_than_the_fifo_arrives_in_order);
    tcase_add_test(tcase, pty_carries_bytes_both_ways);
    tcase_add_test(tcase, pty_without_reader_neither_blocks_nor_ends);
    tcase_add_test(tcase, sink_gets_output_at_once);
    tcase_add_test(tcase, destroy_with_undelivered_input_is_safe);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
