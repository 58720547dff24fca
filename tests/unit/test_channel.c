/* Channels: bytes in both directions, a guest without room, programs that come, leave and do not read. */
#include "base/loop.h"
#include "machine/channel.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATTERN_BYTES = 100000 };

static struct loop *loop;
static struct channel *channel;
static char path[64];
static _Atomic size_t room, received;
static _Atomic bool wrong;

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

/* The guest: takes as much as it has room for, which is the pattern. */
static size_t receive(void *opaque, const uint8_t *bytes, size_t len)
{
    size_t take = len < room ? len : room;

    for (size_t i = 0; i < take; i++) {
        if (bytes[i] != pattern(received + i))
            wrong = true;
    }
    room -= take;
    received += take;
    return take;
}

static void set_up(void)
{
    struct error err = {{0}};

    snprintf(path, sizeof(path), "/tmp/tuff-channel-%d", getpid());
    room = received = 0;
    wrong = false;
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    ck_assert_msg(channel_create(loop, path, receive, NULL, &channel, &err) == 0, "%s", err.text);
}

static void tear_down(void)
{
    loop_stop(loop);
    channel_destroy(channel);
    loop_destroy(loop);
    ck_assert_int_ne(access(path, F_OK), 0);
}

static int connect_to_it(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Writes until a byte arrives, which is when the channel has taken the connection. False: it refused it. */
static bool is_taken(int fd)
{
    char byte = 0;
    ssize_t got;

    while ((got = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
        channel_write(channel, (const uint8_t *)"!", 1);
        usleep(1000);
    }
    /* Nobody writes now, and what was written is there: channel_write() sends. */
    while (got == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
        ;
    return got == 1;
}

/* The only program, as soon as the channel has noticed that the one before has gone. */
static int become_the_one(void)
{
    int fd = connect_to_it();

    while (!is_taken(fd)) {
        close(fd);
        fd = connect_to_it();
    }
    return fd;
}

static void wait_received(size_t bytes)
{
    for (int i = 0; received < bytes && i < 10000; i++)
        usleep(1000);
    ck_assert_uint_eq(received, bytes);
    ck_assert(!wrong);
}

START_TEST(bytes_reach_the_guest_as_it_has_room)
{
    static uint8_t bytes[PATTERN_BYTES];
    int fd = connect_to_it();

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    ck_assert_int_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    usleep(5000);
    ck_assert_uint_eq(received, 0);
    for (size_t given = 0; given < sizeof(bytes); given += 10000) {
        room += 10000;
        for (int i = 0; received < given + 10000 && i < 10000; i++) {
            channel_can_receive(channel);
            usleep(1000);
        }
    }
    wait_received(sizeof(bytes));
    close(fd);
}
END_TEST

static void *write_pattern(void *opaque)
{
    static uint8_t bytes[PATTERN_BYTES * 10];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = pattern(i);
    channel_write(channel, bytes, sizeof(bytes));
    return NULL;
}

START_TEST(slow_reader_gets_everything)
{
    pthread_t writer;
    uint8_t bytes[1000];
    int fd = become_the_one();

    ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, NULL), 0);
    usleep(20000);
    for (size_t at = 0; at < PATTERN_BYTES * 10;) {
        ssize_t got = read(fd, bytes, sizeof(bytes));
        ck_assert_int_gt(got, 0);
        for (ssize_t i = 0; i < got; i++, at++) {
            if (bytes[i] != pattern(at))
                ck_abort_msg("byte %zu", at);
        }
    }
    pthread_join(writer, NULL);
    close(fd);
}
END_TEST

START_TEST(reader_that_never_reads_is_left_at_the_end)
{
    pthread_t writer;
    int fd = become_the_one();

    ck_assert_int_eq(pthread_create(&writer, NULL, write_pattern, NULL), 0);
    usleep(20000);
    channel_end(channel);
    pthread_join(writer, NULL);
    close(fd);
}
END_TEST

START_TEST(programs_come_one_after_the_other)
{
    int fd, second;

    channel_write(channel, (const uint8_t *)"lost", 4);
    for (int i = 0; i < 20; i++) {
        fd = become_the_one();
        second = connect_to_it();
        ck_assert(!is_taken(second)); /* one at a time */
        close(second);
        close(fd);
    }
}
END_TEST

START_TEST(path_that_is_in_use_is_refused)
{
    struct channel *other;
    struct error err = {{0}};

    ck_assert_int_eq(channel_create(loop, path, receive, NULL, &other, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, path));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("channel");
    TCase *tcase = tcase_create("channel");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, bytes_reach_the_guest_as_it_has_room);
    tcase_add_test(tcase, slow_reader_gets_everything);
    tcase_add_test(tcase, reader_that_never_reads_is_left_at_the_end);
    tcase_add_test(tcase, programs_come_one_after_the_other);
    tcase_add_test(tcase, path_that_is_in_use_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
