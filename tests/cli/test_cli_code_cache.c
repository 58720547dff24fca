/* Compiled code that is made and given up again and again: it stays within its bound, and so do the process's memory
 * and mappings. The guest is churn.S, which writes and runs functions without end. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCTIONS_A_TURN = 100, WARM_TURNS = 2, CODE_KIB = 256 };

/* Bounds of growth after the first turns. A region that is not freed costs two mappings and 12 KiB of code at least. */
enum { MAPPINGS_MORE = 60, RSS_KIB_MORE = 4096 };

struct footprint {
    long mappings, rss_kib;
};

static struct footprint footprint_of(pid_t pid)
{
    struct footprint result = {0};
    char path[64], line[512];

    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps))
        result.mappings++;
    (void)fclose(maps);
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    ck_assert_ptr_nonnull(status);
    while (fgets(line, sizeof(line), status)) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            result.rss_kib = strtol(line + 6, NULL, 10);
    }
    (void)fclose(status);
    ck_assert_int_gt(result.rss_kib, 0);
    return result;
}

static void turn(struct process *process)
{
    process_forget(process);
    process_write(process, "+");
    process_wait_for(process, ".");
}

/* Has the guest make functions, looks at the process after the first turns and at the end, and returns the machine's
 * counters, which the caller frees. */
static json_t *churn(const char *const *argv, unsigned turns, struct footprint *warm, struct footprint *end)
{
    struct process *process = process_start(argv, PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);

    for (unsigned i = 0; i < turns; i++) {
        turn(process);
        if (i + 1 == WARM_TURNS)
            *warm = footprint_of(process->pid);
    }
    *end = footprint_of(process->pid);
    process_write(process, "q");
    ck_assert_msg(process_finish(process) == 0, "a function's result was wrong");
    json_t *root = statistics_of(process);
    json_t *machine = json_incref(json_object_get(root, "machine"));
    json_decref(root);
    process_free(process);
    return machine;
}

static unsigned turns_wanted(void)
{
    /* 10000 functions, or some hundred. */
    return getenv("TUFF_TEST_LONG") ? 100 : 5;
}

START_TEST(memory_and_mappings_stay_flat)
{
    struct footprint warm = {0}, end = {0};
    unsigned turns = turns_wanted();
    json_t *machine = churn(PROCESS_ARGV("run", "--jit-threshold=0", "--jit-sync", "--tune=code_kib=256",
                                         "--stats=json", files_guest("churn")),
                            turns, &warm, &end);

    ck_assert_int_gt(statistics_integer(machine, "regions_compiled"), turns * FUNCTIONS_A_TURN);
    ck_assert_int_eq(statistics_integer(machine, "regions_failed"), 0);
    /* What is written over has been evicted before, mostly or, where regions are larger, always. */
    ck_assert_int_gt(statistics_integer(machine, "regions_evicted"), turns);
    ck_assert_int_le(statistics_integer(machine, "code_bytes_live"), CODE_KIB * 1024);
    ck_assert_msg(end.mappings <= warm.mappings + MAPPINGS_MORE, "%ld mappings, then %ld", warm.mappings, end.mappings);
    ck_assert_msg(end.rss_kib <= warm.rss_kib + RSS_KIB_MORE, "%ld KiB, then %ld", warm.rss_kib, end.rss_kib);
    json_decref(machine);
}
END_TEST

/* With room for all of it nothing goes but what was written over. */
START_TEST(nothing_is_evicted_while_there_is_room)
{
    struct footprint warm = {0}, end = {0};
    json_t *machine =
        churn(PROCESS_ARGV("run", "--jit-threshold=0", "--jit-sync", "--stats=json", files_guest("churn")), WARM_TURNS,
              &warm, &end);

    ck_assert_int_eq(statistics_integer(machine, "regions_evicted"), 0);
    ck_assert_int_gt(statistics_integer(machine, "regions_dropped"), 0);
    ck_assert_int_gt(statistics_integer(machine, "regions_compiled"), WARM_TURNS * FUNCTIONS_A_TURN);
    json_decref(machine);
}
END_TEST

/* What compiles and frees is another thread; what is compiled is up to it. The guest wants more than that: what the
 * full queue has no room for is not even chosen, but for a few in between. */
START_TEST(code_is_made_and_freed_beside_the_guest)
{
    struct footprint warm = {0}, end = {0};
    json_t *machine = churn(PROCESS_ARGV("run", "--cpus=2", "--jit-threshold=0", "--tune=code_kib=16", "--stats=json",
                                         files_guest("churn")),
                            turns_wanted(), &warm, &end);

    ck_assert_int_eq(statistics_integer(machine, "regions_failed"), 0);
    ck_assert_int_le(statistics_integer(machine, "regions_submitted"),
                     statistics_integer(machine, "regions_compiled") + statistics_integer(machine, "regions_waiting") +
                         FUNCTIONS_A_TURN);
    ck_assert_msg(end.mappings <= warm.mappings + MAPPINGS_MORE, "%ld mappings, then %ld", warm.mappings, end.mappings);
    json_decref(machine);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_code_cache");
    TCase *churning = tcase_create("churn");

    tcase_set_timeout(churning, getenv("TUFF_TEST_LONG") ? 1800 : 240);
    tcase_add_test(churning, memory_and_mappings_stay_flat);
    tcase_add_test(churning, nothing_is_evicted_while_there_is_room);
    tcase_add_test(churning, code_is_made_and_freed_beside_the_guest);
    suite_add_tcase(suite, churning);
    return run_suite(suite);
}
