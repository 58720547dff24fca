/* The compiling tier as its user steers it: what is compiled, what is shown of it, and why something was not. The guest
 * is the demonstration; it must behave the same whatever the tier does. */
#include "files.h"
#include "process.h"
#include "run_suite.h"
#include "statistics.h"

#include "base/compiler.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPILE_ALL "--jit-threshold=1", "--jit-sync"

/* Runs the demonstration to the exit code it is told. */
static struct process *run(const char *const *argv)
{
    int code;
    struct process *process = process_run(argv, "help\npoweroff 42\n", &code);

    ck_assert_msg(code == 42, "%s: %d: %s", argv[3], code, process->err_text);
    return process;
}

static json_int_t counter(const char *const *argv, const char *name)
{
    struct process *process = run(argv);
    json_t *root = statistics_of(process);
    json_int_t result = statistics_integer(json_object_get(root, "machine"), name);

    json_decref(root);
    process_free(process);
    return result;
}

START_TEST(bisect_compiles_the_first_regions_only)
{
    ck_assert_int_eq(
        counter(PROCESS_ARGV("run", COMPILE_ALL, "--jit-bisect=0", "--stats=json", files_demo), "regions_compiled"), 0);
    ck_assert_int_eq(
        counter(PROCESS_ARGV("run", COMPILE_ALL, "--jit-bisect=3", "--stats=json", files_demo), "regions_compiled"), 3);
    ck_assert_int_gt(counter(PROCESS_ARGV("run", COMPILE_ALL, "--stats=json", files_demo), "regions_compiled"), 20);
}
END_TEST

START_TEST(both_levels_run_the_guest_alike)
{
    struct process *interpreted = run(PROCESS_ARGV("run", "--tier=interp", files_demo));
    struct process *quick = run(PROCESS_ARGV("run", COMPILE_ALL, files_demo));
    struct process *full = run(PROCESS_ARGV("run", COMPILE_ALL, "--tune=first_level=1", files_demo));

    ck_assert_str_eq(quick->out_text, interpreted->out_text);
    ck_assert_str_eq(full->out_text, interpreted->out_text);
    process_free(interpreted);
    process_free(quick);
    process_free(full);
}
END_TEST

START_TEST(dumps_show_the_region_that_is_named)
{
    static const char *const of_region_2[] = {"; guest code of region_2,", "; ir of region_2\n", "; opt of region_2\n",
                                              "; asm of region_2\n"};
    struct process *process = run(PROCESS_ARGV("run", COMPILE_ALL, "--dump=guest,ir,opt,asm:2", files_demo));

    for (size_t i = 0; i < TUFF_ARRAY_LEN(of_region_2); i++)
        ck_assert_msg(strstr(process->err_text, of_region_2[i]), "%s", of_region_2[i]);
    ck_assert_ptr_null(strstr(process->err_text, "of region_1"));
    ck_assert_ptr_null(strstr(process->err_text, "of region_3"));
    process_free(process);
}
END_TEST

/* Of guest_verify, whose regions lie from _start on; `twice` is its one function, of which no other region has a part.
 */
/* Of accesses to guest memory: to be moved past each other, or not. */
START_TEST(ztso_orders_the_accesses_of_compiled_code)
{
    struct process *weak = run(PROCESS_ARGV("run", COMPILE_ALL, "--dump=opt", files_demo));
    struct process *total = run(PROCESS_ARGV("run", COMPILE_ALL, "--isa=+ztso", "--dump=opt", files_demo));
    struct process *full =
        run(PROCESS_ARGV("run", COMPILE_ALL, "--isa=+ztso", "--tune=first_level=1,mirror=1", "--dump=opt", files_demo));

    ck_assert_ptr_nonnull(strstr(weak->err_text, " unordered, "));
    ck_assert_ptr_null(strstr(weak->err_text, " acquire, "));
    ck_assert_ptr_null(strstr(weak->err_text, " release, "));
    ck_assert_ptr_null(strstr(total->err_text, " unordered, "));
    ck_assert_ptr_nonnull(strstr(total->err_text, " acquire, "));
    ck_assert_ptr_nonnull(strstr(total->err_text, " release, "));
    ck_assert_ptr_null(strstr(full->err_text, " unordered, "));
    ck_assert_ptr_null(strstr(full->err_text, "%gs:"));
    ck_assert_ptr_nonnull(strstr(full->err_text, " release, "));
    ck_assert_str_eq(total->out_text, weak->out_text);
    ck_assert_str_eq(full->out_text, weak->out_text);
    process_free(weak);
    process_free(total);
    process_free(full);
}
END_TEST

static struct process *dump_guest(const char *option)
{
    int code;
    struct process *process =
        process_run(PROCESS_ARGV("run", COMPILE_ALL, "--jit-random=5", option, files_guest("verify")), NULL, &code);

    ck_assert_int_eq(code, 23);
    return process;
}

/* Everything that is shown under such a heading has an instruction from `first` to `last`; lines with one begin with
 * `line`. Returns how many there are. */
static unsigned check_shown(const char *text, const char *heading, const char *line, uint64_t first, uint64_t last)
{
    unsigned shown = 0;

    for (const char *at = text; (at = strstr(at, heading));) {
        const char *end = strstr(at + 1, heading);
        bool found = false;
        for (at = strstr(at, line); at && (!end || at < end); at = strstr(at + 1, line)) {
            uint64_t address = strtoull(at + strspn(at, "\n; "), NULL, 16);
            found |= address >= first && address <= last;
        }
        ck_assert(found);
        shown++;
        if (!end)
            break;
        at = end;
    }
    return shown;
}

static unsigned check_regions_shown(const char *text, uint64_t first, uint64_t last)
{
    return check_shown(text, "; guest code of region_", "\n    ", first, last);
}

static uint64_t address_of(const char *name)
{
    char command[600], line[80] = "";

    (void)snprintf(command, sizeof(command), "nm %s | grep ' %s$'", files_guest("verify"), name);
    FILE *nm = popen(command, "re"); // NOLINT(cert-env33-c)
    ck_assert_ptr_nonnull(nm);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), nm));
    ck_assert_int_eq(pclose(nm), 0);
    return strtoull(line, NULL, 16);
}

START_TEST(dumps_show_the_regions_at_an_address)
{
    uint64_t twice = address_of("twice");
    char option[80];
    struct process *all = dump_guest("--dump=guest");
    unsigned count = check_regions_shown(all->err_text, 0, UINT64_MAX);

    ck_assert_uint_gt(count, 5);
    process_free(all);
    all = dump_guest("--dump=guest:0x80000000-0x80010000");
    ck_assert_uint_eq(check_regions_shown(all->err_text, 0, UINT64_MAX), count);
    process_free(all);
    /* Its first instruction's second byte, and the last byte before it. */
    (void)snprintf(option, sizeof(option), "--dump=guest:0x%" PRIx64, twice + 1);
    struct process *one = dump_guest(option);
    unsigned at = check_regions_shown(one->err_text, twice, twice);
    ck_assert_uint_ge(at, 1);
    ck_assert_uint_lt(at, count);
    process_free(one);
    (void)snprintf(option, sizeof(option), "--dump=guest:0x%" PRIx64 "-0x%" PRIx64, twice - 1, twice);
    struct process *before = dump_guest(option);
    ck_assert_uint_lt(check_regions_shown(before->err_text, twice - 4, twice - 1), count);
    process_free(before);
    struct process *none = dump_guest("--dump=guest,ir,opt,asm:0x80010000-0xffffffffffffffff");
    ck_assert_str_eq(none->err_text, "");
    process_free(none);
}
END_TEST

START_TEST(dumps_show_the_regions_of_a_symbol)
{
    struct process *own = dump_guest("--dump=guest,asm:twice"); /* the program's own symbols */
    unsigned count = check_regions_shown(own->err_text, address_of("twice"), address_of("trap") - 1);

    ck_assert_uint_ge(count, 1);
    ck_assert_ptr_nonnull(strstr(own->err_text, "; asm of region_"));
    ck_assert_ptr_null(strstr(own->err_text, "; ir of region_"));
    process_free(own);
    process_expect_refusal(PROCESS_ARGV("run", "--dump=asm:thrice", files_guest("verify")), "symbol 'thrice'");
    files_make_folder();
    char map[200], symbols[600];
    (void)snprintf(map, sizeof(map), "%016" PRIx64 " T thrice\n%016" PRIx64 " T past\n", address_of("twice"),
                   address_of("trap"));
    (void)snprintf(symbols, sizeof(symbols), "--symbols=%s", files_write("map", map, strlen(map)));
    int code;
    struct process *given = process_run(
        PROCESS_ARGV("run", COMPILE_ALL, "--jit-random=5", symbols, "--dump=guest:thrice", files_guest("verify")), NULL,
        &code);
    ck_assert_int_eq(code, 23);
    ck_assert_uint_eq(check_regions_shown(given->err_text, address_of("twice"), address_of("trap") - 1), count);
    process_free(given);
    files_remove_all();
}
END_TEST

/* The same of blocks, of which each instruction has host code. */
static unsigned check_blocks_shown(const char *text, uint64_t first, uint64_t last)
{
    static const char line[] = "\n; 8";

    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
        ck_assert_msg(strncmp(strchr(at + 1, '\n'), "\n    ", 5) == 0, "%.160s", at);
    return check_shown(text, "; block at ", line, first, last);
}

START_TEST(dumps_show_the_blocks_of_a_symbol)
{
    int code;
    struct process *process = process_run(
        PROCESS_ARGV("run", "--jit-threshold=1000", "--tune=baseline=1", "--dump=block:twice", files_guest("verify")),
        NULL, &code);

    ck_assert_int_eq(code, 23);
    ck_assert_uint_ge(check_blocks_shown(process->err_text, address_of("twice"), address_of("trap") - 1), 1);
    /* Ways out are functions of the program's. */
    ck_assert_ptr_nonnull(strstr(process->err_text, "interp_"));
    ck_assert_ptr_null(strstr(process->err_text, "(not an instruction)"));
    process_free(process);
    process_expect_refusal(PROCESS_ARGV("run", "--dump=block:1", files_guest("verify")), "'block:1', names a region");
    process_expect_refusal(PROCESS_ARGV("run", "--dump=block", "--tier=llvm", files_guest("verify")),
                           "leave out --tier");
    process_expect_refusal(PROCESS_ARGV("run", "--dump=block", "--tier=baseline", files_guest("verify")),
                           "leave out --tier");
}
END_TEST

/* --jit-random: whatever share of the blocks is for which tier, the guest comes to the same end with as many
 * instructions, and what it read of its counters is in the checksum. */
START_TEST(random_tiers_come_to_the_interpreters_end)
{
    json_int_t insns = 0, compiled[2] = {0};

    for (unsigned seed = 0; seed <= 12; seed++) {
        char option[40];
        int code;
        (void)snprintf(option, sizeof(option), "--jit-random=%u", seed);
        struct process *process = process_run(PROCESS_ARGV("run", COMPILE_ALL, "--clock=insns", "--stats=json",
                                                           seed ? option : "--tier=interp", files_guest("verify")),
                                              NULL, &code);
        json_t *root = statistics_of(process);
        json_int_t count = statistics_integer(root, "instructions");
        ck_assert_int_eq(code, 23);
        if (!seed)
            insns = count;
        ck_assert_msg(count == insns, "seed %u: %lld instructions, not %lld", seed, (long long)count, (long long)insns);
        /* Both levels were there, and not all of it was compiled. */
        json_t *row;
        size_t i;
        json_array_foreach(json_object_get(root, "regions"), i, row) compiled[statistics_integer(row, "level") > 0]++;
        json_decref(root);
        process_free(process);
    }
    ck_assert_int_gt(compiled[0], 12);
    ck_assert_int_gt(compiled[1], 12);
}
END_TEST

START_TEST(the_log_says_why_a_region_was_not_compiled)
{
    struct process *process = run(PROCESS_ARGV("run", COMPILE_ALL, "--passes=nonsense", "--log=jit", files_demo));

    ck_assert_ptr_nonnull(strstr(process->err_text, "was not compiled: LLVM refuses the list of passes"));
    process_free(process);
    ck_assert_int_eq(
        counter(PROCESS_ARGV("run", COMPILE_ALL, "--passes=nonsense", "--stats=json", files_demo), "regions_compiled"),
        0);
}
END_TEST

/* The loop is compiled alone first, then again with what is around it. It still goes round twelve times. */
START_TEST(entries_of_a_region_are_no_turns_of_its_loop)
{
    int code;
    struct process *process = process_run(PROCESS_ARGV("run", "--jit-sync", "--jit-threshold=2000",
                                                       "--tune=promote=1000", "--dump=guest", files_guest("turns")),
                                          NULL, &code);

    ck_assert_int_eq(code, 0);
    const char *full = strstr(process->err_text, ", level 1:");

    ck_assert_msg(full != NULL, "%s", process->err_text);
    const char *cycle = strstr(full, " (cycle) (");
    ck_assert_msg(cycle != NULL, "%s", process->err_text);
    const char *line = cycle;
    while (*line != ';')
        line--;
    const char *then = strstr(line, ", then ");
    ck_assert_msg(then != NULL && then < cycle, "%s", process->err_text);
    double around = strtod(cycle + strlen(" (cycle) ("), NULL), out = strtod(strchr(then, '(') + 1, NULL);
    ck_assert_msg(around > 10 * out && around < 12 * out, "%s", process->err_text);
    process_free(process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_jit");
    TCase *jit = tcase_create("jit");

    tcase_set_timeout(jit, 120);
    tcase_add_test(jit, bisect_compiles_the_first_regions_only);
    tcase_add_test(jit, both_levels_run_the_guest_alike);
    tcase_add_test(jit, dumps_show_the_region_that_is_named);
    tcase_add_test(jit, ztso_orders_the_accesses_of_compiled_code);
    tcase_add_test(jit, dumps_show_the_regions_at_an_address);
    tcase_add_test(jit, dumps_show_the_regions_of_a_symbol);
    tcase_add_test(jit, dumps_show_the_blocks_of_a_symbol);
    tcase_add_test(jit, entries_of_a_region_are_no_turns_of_its_loop);
    tcase_add_test(jit, random_tiers_come_to_the_interpreters_end);
    tcase_add_test(jit, the_log_says_why_a_region_was_not_compiled);
    suite_add_tcase(suite, jit);
    return run_suite(suite);
}
