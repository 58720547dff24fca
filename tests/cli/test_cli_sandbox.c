/* The sandbox as a running machine has it (--sandbox): what /proc says of its threads and its memory. test_sandbox.c
 * tries what such threads could do. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "sanitized.h"

#include "base/compiler.h"

#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct thread_state {
    char name[32];
    unsigned long long seccomp, filters, no_new_privs, capabilities;
};

static struct process *start(const char *sandbox)
{
    struct process *process = process_start(PROCESS_ARGV("run", "--cpus=2", "--jit-threshold=0", "--serial=stdio",
                                                         sandbox, "--clock=host", files_guest("greet_spin")),
                                            PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);

    process_wait_for(process, "hello");
    return process;
}

static void end(struct process *process)
{
    process_signal(process, SIGTERM);
    ck_assert_int_eq(process_finish(process), 128 + SIGTERM);
    ck_assert_str_eq(process->err_text, ""); /* nothing was refused */
    process_free(process);
}

static unsigned long long field(const char *text, const char *name, int base)
{
    const char *at = strstr(text, name);

    ck_assert_msg(at != NULL, "%s in %s", name, text);
    return strtoull(at + strlen(name), NULL, base);
}

static struct thread_state read_thread(pid_t pid, const char *id)
{
    char path[96], text[8192];
    struct thread_state state = {0};
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, id);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    ck_assert_int_eq(sscanf(text, "Name: %31s", state.name), 1);
    state.seccomp = field(text, "\nSeccomp:", 10);
    state.filters = field(text, "\nSeccomp_filters:", 10);
    state.no_new_privs = field(text, "\nNoNewPrivs:", 10);
    state.capabilities = field(text, "\nCapEff:", 16);
    return state;
}

static size_t read_threads(pid_t pid, struct thread_state *out, size_t max)
{
    char path[64];
    size_t count = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry; (entry = readdir(dir)) && count < max;) {
        if (entry->d_name[0] != '.')
            out[count++] = read_thread(pid, entry->d_name);
    }
    closedir(dir);
    return count;
}

static bool is_guests(const char *name)
{
    return strncmp(name, "hart", 4) == 0 || strcmp(name, "tuff-devices") == 0;
}

static bool has_newcomer(const struct thread_state *threads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_guests(threads[i].name) && threads[i].filters < 2)
            return true;
    }
    return false;
}

START_TEST(threads_of_a_run_are_confined_and_those_of_the_guest_without_capabilities)
{
    static const char *const sandbox[] = {"--sandbox=on", "--no-reboot" /* nothing said of it */};
    struct thread_state threads[64];
    struct process *process = start(sandbox[_i]);
    size_t count = read_threads(process->pid, threads, TUFF_ARRAY_LEN(threads)), guests = 0;

    /* A hart that the first one did not need for its greeting may still be on its way. */
    for (unsigned tries = 0; tries < 1000 && has_newcomer(threads, count); tries++) {
        usleep(10000);
        count = read_threads(process->pid, threads, TUFF_ARRAY_LEN(threads));
    }
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(threads[i].seccomp == 2 && threads[i].no_new_privs == 1, "thread %s", threads[i].name);
        if (!is_guests(threads[i].name))
            continue;
        guests++;
        ck_assert_msg(threads[i].filters >= 2, "thread %s has the process' filter alone", threads[i].name);
        ck_assert_msg(threads[i].capabilities == 0, "thread %s has %llx", threads[i].name, threads[i].capabilities);
    }
    ck_assert_uint_ge(guests, 3);
    end(process);
}
END_TEST

START_TEST(sandbox_off_confines_nothing)
{
    struct thread_state threads[64];
    struct process *process = start("--sandbox=off");
    size_t count = read_threads(process->pid, threads, TUFF_ARRAY_LEN(threads));
    char id[16];
    snprintf(id, sizeof(id), "%d", (int)getpid());
    struct thread_state own = read_thread(getpid(), id);

    ck_assert_uint_ge(count, 3);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(threads[i].filters, own.filters);
    end(process);
}
END_TEST

/* With compiled code of both compilers in it. */
START_TEST(no_memory_is_writable_and_executable_at_once)
{
    static const char *const sandbox[] = {"--sandbox=on", "--sandbox=off"};
    struct process *process = start(sandbox[_i]);
    char path[64], line[512], perms[8];
    unsigned executable = 0;
    FILE *maps;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)process->pid);
    maps = fopen(path, "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps)) {
        ck_assert_int_eq(sscanf(line, "%*s %7s", perms), 1);
        executable += perms[2] == 'x';
        ck_assert_msg(perms[1] != 'w' || perms[2] != 'x', "%s", line);
    }
    fclose(maps);
    ck_assert_uint_gt(executable, 0);
    end(process);
}
END_TEST

START_TEST(statistics_say_what_is_in_force)
{
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", "--sandbox=on", "--stats", files_guest("pass")), NULL, &code);

    ck_assert_int_eq(code, 0);
    ck_assert_ptr_nonnull(strstr(process->err_text, "no new privileges, capabilities dropped"));
    ck_assert_ptr_nonnull(strstr(process->err_text, ", 0 refused"));
    process_free(process);
}
END_TEST

START_TEST(value_that_is_not_known_is_refused)
{
    process_expect_refusal(PROCESS_ARGV("run", "--sandbox=maybe", files_guest("pass")), "on or off");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox of the command");
    TCase *tc = tcase_create("sandbox");

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, files_make_folder, files_remove_all);
    tcase_add_test(tc, value_that_is_not_known_is_refused);
    /* Builds with sanitizers have no sandbox. */
    if (TEST_SANITIZED) {
        suite_add_tcase(suite, tc);
        return run_suite(suite);
    }
    tcase_add_loop_test(tc, threads_of_a_run_are_confined_and_those_of_the_guest_without_capabilities, 0, 2);
    tcase_add_test(tc, sandbox_off_confines_nothing);
    tcase_add_loop_test(tc, no_memory_is_writable_and_executable_at_once, 0, 2);
    tcase_add_test(tc, statistics_say_what_is_in_force);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
