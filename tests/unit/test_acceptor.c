/* Accepting on the loop: what arrives is handed over once, and without descriptors the loop neither spins nor forgets.
 */
#include "base/acceptor.h"
#include "base/loop.h"
#include "run_suite.h"

#include <check.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;
static struct acceptor *acceptor;
static int listening;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static _Atomic int accepted;

static void take(void *opaque, int fd)
{
    close(fd);
    atomic_fetch_add(&accepted, 1);
}

static void set_up(void)
{
    listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "tuff-test-acceptor-%d", (int)getpid());
    atomic_store(&accepted, 0);
    ck_assert_int_ge(listening, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listening, 8), 0);
    ck_assert_int_eq(loop_create(&loop), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    ck_assert_int_eq(acceptor_create(loop, listening, take, NULL, &acceptor), 0);
}

static void tear_down(void)
{
    acceptor_destroy(acceptor);
    close(listening);
    loop_destroy(loop);
}

static int new_client(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

static bool reaches(int want)
{
    for (int i = 0; i < 10000 && atomic_load(&accepted) < want; i++)
        usleep(1000);
    return atomic_load(&accepted) == want;
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

START_TEST(each_connection_is_handed_over_once)
{
    for (int i = 1; i <= 20; i++) {
        int fd = new_client();
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert(reaches(i));
        close(fd);
    }
}
END_TEST

START_TEST(without_descriptors_it_waits_and_tries_again)
{
    int fd = new_client();
    struct rlimit before, none;
    double cpu;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0; /* those that are open stay */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cpu = cpu_seconds();
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    /* A loop that spins uses as much CPU time as it is given, on a host with other work less than there is. */
    usleep(1000000);
    cpu = cpu_seconds() - cpu;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_double_lt(cpu, 0.05);
    ck_assert(reaches(1));
    close(fd);
}
END_TEST

START_TEST(destroyed_while_it_waits_for_descriptors)
{
    int fd = new_client();
    struct rlimit before, none;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    usleep(50000);
    acceptor_destroy(acceptor);
    acceptor = NULL;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    usleep(200000);
    ck_assert_int_eq(atomic_load(&accepted), 0);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("acceptor");
    TCase *tcase = tcase_create("acceptor");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, each_connection_is_handed_over_once);
    tcase_add_test(tcase, without_descriptors_it_waits_and_tries_again);
    tcase_add_test(tcase, destroyed_while_it_waits_for_descriptors);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
