/* The control socket as its clients meet it: QMP's rules, what the commands do, and that no client disturbs the guest.
 */
#include "files.h"
#include "process.h"
#include "qmp.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void set_up(void)
{
    files_make_folder();
}

static void tear_down(void)
{
    files_remove_all();
}

static const char *socket_path(void)
{
    static char path[128];

    if (!*path)
        snprintf(path, sizeof(path), "%s", files_path("control"));
    return path;
}

static const char *control_option(void)
{
    static char option[128];

    snprintf(option, sizeof(option), "--control=unix:%s", socket_path());
    return option;
}

/* A guest that runs until it is ended, with two harts. */
static struct process *spin(void)
{
    return process_start(PROCESS_ARGV("run", control_option(), "--cpus=2", "--serial=null", files_guest("greet_spin")),
                         PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
}

static void expect_end(struct process *process, int code)
{
    int ended = process_finish(process);

    ck_assert_msg(ended == code, "exit code %d, not %d: %s", ended, code, process->err_text);
    ck_assert_int_ne(access(socket_path(), F_OK), 0);
    process_free(process);
}

/* The guest still goes on, and ends when it is told so. */
static void expect_alive_and_quit(struct process *process)
{
    struct qmp qmp;

    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    qmp_do(&qmp, "quit");
    expect_end(process, 0);
    qmp_close(&qmp);
}

/* ---- the protocol ---- */

START_TEST(greeting_comes_first_and_negotiation_before_commands)
{
    struct process *process = spin();
    struct qmp qmp;

    qmp_open(&qmp, socket_path());
    json_t *greeting = qmp_receive(&qmp), *body = json_object_get(greeting, "QMP");
    ck_assert(json_is_array(json_object_get(body, "capabilities")));
    ck_assert(json_is_integer(json_object_get(json_object_get(json_object_get(body, "version"), "qemu"), "major")));
    json_decref(greeting);
    qmp_expect_error(&qmp, "{\"execute\": \"query-status\"}\n", "CommandNotFound", "qmp_capabilities");
    qmp_expect_error(&qmp, "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}\n",
                     "GenericError", "capability");
    qmp_do(&qmp, "qmp_capabilities");
    qmp_expect_error(&qmp, "{\"execute\": \"qmp_capabilities\"}\n", "CommandNotFound", "already");
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

START_TEST(ids_come_back_and_requests_need_no_lines)
{
    struct process *process = spin();
    struct qmp qmp;

    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    qmp_send(&qmp, "{\"execute\": \"query-status\", \"id\": [1, \"}\"]} {\"execute\":\"query-na");
    json_t *answer = qmp_receive(&qmp);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(answer, "id"), 1)), "}");
    ck_assert(json_is_true(json_object_get(json_object_get(answer, "return"), "running")));
    json_decref(answer);
    answer = qmp_ask(&qmp, "me\",\n\"id\":7}{");
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "id")), 7);
    json_decref(answer);
    answer = qmp_ask(&qmp, "\"id\": \"x\", \"execute\": \"no-such-command\"}");
    ck_assert_str_eq(json_string_value(json_object_get(answer, "id")), "x");
    ck_assert_ptr_nonnull(json_object_get(answer, "error"));
    json_decref(answer);
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

START_TEST(wrong_requests_are_refused_and_the_next_is_taken)
{
    static const struct {
        const char *request, *class, *what;
    } wrong[] = {
        {"query-status\n", "GenericError", "not a JSON object"},
        {"[1]\n", "GenericError", "not a JSON object"},
        {"{\"execute\" \"stop\"}\n", "GenericError", "not JSON"},
        {"{\"execute\": \"stop\", \"execute\": \"stop\"}\n", "GenericError", "not JSON"},
        {"{\"execute\": \"unfinished\n", "GenericError", "not a JSON object"},
        {"{\"execute\": \"\xff\"}\n", "GenericError", "not JSON"},
        {"{}\n", "GenericError", "'execute'"},
        {"{\"execute\": 1}\n", "GenericError", "'execute'"},
        {"{\"execute\": \"stop\", \"arguments\": []}\n", "GenericError", "'arguments'"},
        {"{\"execute\": \"stop\", \"more\": 1}\n", "GenericError", "nothing else"},
        {"{\"exec-oob\": \"stop\"}\n", "GenericError", "out-of-band"},
        {"{\"execute\": \"\xc3\xa4\"}\n", "CommandNotFound", "\xc3\xa4"},
        {"{\"execute\": \"stop\", \"arguments\": {\"now\": true}}\n", "GenericError", "now"},
        {"{\"execute\": \"balloon\", \"arguments\": {\"value\": \"1\"}}\n", "GenericError", "whole number"},
        {"{\"execute\": \"balloon\"}\n", "GenericError", "missing"},
        {"{\"execute\": \"balloon\", \"arguments\": {\"value\": 1}}\n", "DeviceNotActive", "--balloon"},
        {"{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"disk\"}}\n", "GenericError", "vcpu"},
        {"{\"execute\": \"block_set_io_throttle\", \"arguments\": {\"id\": \"disk0\"}}\n", "DeviceNotFound", "disk0"},
        {"{\"execute\": \"x-net-set-limits\", \"arguments\": {\"id\": \"net-1\"}}\n", "DeviceNotFound", "net-1"},
    };
    struct process *process = spin();
    struct qmp qmp;

    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        qmp_expect_error(&qmp, wrong[i].request, wrong[i].class, wrong[i].what);
        qmp_do(&qmp, "query-status");
    }
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

/* ---- the commands ---- */

static void expect_status(struct qmp *qmp, const char *status)
{
    json_t *result = qmp_command(qmp, "query-status");

    ck_assert_str_eq(json_string_value(json_object_get(result, "status")), status);
    ck_assert_int_eq(json_is_true(json_object_get(result, "running")), strcmp(status, "running") == 0);
    json_decref(result);
}

START_TEST(stop_stands_still_until_cont_also_over_a_reset)
{
    struct process *process = spin();
    struct qmp qmp, other;

    qmp_start(&qmp, socket_path());
    qmp_start(&other, socket_path());
    qmp_wait_for_progress(&qmp);
    qmp_do(&qmp, "stop");
    json_decref(qmp_event(&other, "STOP"));
    expect_status(&other, "paused");
    json_int_t before = qmp_insns(&qmp);
    usleep(50000);
    ck_assert_int_eq(qmp_insns(&qmp), before);
    qmp_do(&qmp, "stop");
    qmp_do(&qmp, "cont");
    json_decref(qmp_event(&other, "RESUME"));
    expect_status(&qmp, "running");
    qmp_wait_for_progress(&qmp);
    qmp_do(&qmp, "stop");
    qmp_do(&qmp, "system_reset");
    json_t *event = qmp_event(&other, "RESET");
    ck_assert_ptr_nonnull(json_object_get(json_object_get(event, "timestamp"), "microseconds"));
    ck_assert(json_is_false(json_object_get(json_object_get(event, "data"), "guest")));
    json_decref(event);
    qmp_do(&qmp, "cont");
    qmp_close(&qmp);
    qmp_close(&other);
    expect_alive_and_quit(process);
}
END_TEST

START_TEST(end_is_told_before_the_socket_goes)
{
    struct process *process = spin();
    struct qmp qmp, other;

    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    qmp_start(&other, socket_path());
    qmp_do(&qmp, "system_reset");
    qmp_do(&qmp, "stop");
    qmp_do(&qmp, "quit");
    json_t *event = qmp_event(&other, "SHUTDOWN");
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(event, "data"), "reason")), "host-qmp-quit");
    json_decref(event);
    ck_assert_ptr_null(qmp_receive(&other));
    expect_end(process, 0);
    qmp_close(&qmp);
    qmp_close(&other);
}
END_TEST

START_TEST(panic_of_the_guest_is_told_and_kept)
{
    const char *file = files_path("panic.snap");
    char option[512];
    struct qmp qmp;
    int code;

    (void)snprintf(option, sizeof(option), "--snapshot-file=%s", file);
    struct process *process = process_start(PROCESS_ARGV("run", control_option(), option, files_guest("panic")),
                                            PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    qmp_start(&qmp, socket_path());
    process_wait_for(process, "hello");
    process_write(process, "x");
    json_t *event = qmp_event(&qmp, "GUEST_PANICKED");
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(event, "data"), "action")), "run");
    json_decref(event);
    json_decref(qmp_event(&qmp, "GUEST_CRASHLOADED"));
    qmp_do(&qmp, "quit");
    process_wait_for_error(process, "the guest's kernel has panicked");
    expect_end(process, 0);
    qmp_close(&qmp);
    process = process_run(PROCESS_ARGV("events", file), NULL, &code);
    ck_assert_int_eq(code, 0);
    const char *panicked = strstr(process->out_text, "guest panic");
    ck_assert_ptr_nonnull(panicked);
    ck_assert_ptr_nonnull(strstr(panicked, "crash kernel loaded"));
    ck_assert_ptr_nonnull(strstr(process->out_text, "device added"));
    ck_assert_ptr_nonnull(strstr(process->out_text, "virtio-rng"));
    process_free(process);
}
END_TEST

/* Changed for one machine, said of the next. */
START_TEST(limits_are_shown_changed_and_kept_over_a_reset)
{
    char disk[128];
    struct qmp qmp;

    snprintf(disk, sizeof(disk), "--disk=%s,format=raw,iops=77,serial=first", files_write("disk", "", 1));
    ck_assert_int_eq(truncate(files_path("disk"), 1 << 20), 0);
    struct process *process =
        process_start(PROCESS_ARGV("run", control_option(), disk, "--net=user,rate=5M", "--balloon=64M",
                                   "--memory=128M", "--serial=null", files_guest("greet_spin")),
                      PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    for (int boot = 0; boot < 2; boot++) {
        json_t *disks = qmp_command(&qmp, "query-block"), *inserted;
        inserted = json_object_get(json_array_get(disks, 0), "inserted");
        ck_assert_str_eq(json_string_value(json_object_get(json_array_get(disks, 0), "device")), "disk0");
        ck_assert_str_eq(json_string_value(json_object_get(inserted, "file")), files_path("disk"));
        ck_assert_str_eq(json_string_value(json_object_get(inserted, "drv")), "raw");
        ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(inserted, "image"), "virtual-size")),
                         1 << 20);
        ck_assert_int_eq(json_integer_value(json_object_get(inserted, "iops")), boot ? 99 : 77);
        json_decref(disks);
        json_t *counts = qmp_command(&qmp, "query-blockstats"), *count = json_array_get(counts, 0);
        ck_assert_str_eq(json_string_value(json_object_get(count, "device")), "disk0");
        json_t *read = json_object_get(json_object_get(count, "stats"), "rd_bytes");
        ck_assert(json_is_integer(read) && json_integer_value(read) == 0);
        json_decref(counts);
        json_t *nets = qmp_command(&qmp, "x-query-net");
        ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(nets, 0), "bps")), boot ? 1000 : 5 << 20);
        json_decref(nets);
        if (boot)
            break;
        json_decref(qmp_ask(&qmp,
                            "{\"execute\": \"block_set_io_throttle\", \"arguments\": {\"id\": \"disk0\", \"bps\": 0, "
                            "\"bps_rd\": 0, \"bps_wr\": 0, \"iops\": 99, \"iops_rd\": 0, \"iops_wr\": 0}}"));
        qmp_expect_error(&qmp,
                         "{\"execute\": \"block_set_io_throttle\", \"arguments\": {\"id\": \"disk0\", \"bps_rd\": 5}}",
                         "GenericError", "bps_rd");
        qmp_expect_error(&qmp,
                         "{\"execute\": \"block_set_io_throttle\", \"arguments\": {\"id\": \"disk0\", \"bps\": -5}}",
                         "GenericError", "-5");
        json_decref(
            qmp_ask(&qmp, "{\"execute\": \"x-net-set-limits\", \"arguments\": {\"id\": \"net0\", \"bps\": 1000}}"));
        qmp_expect_error(&qmp, "{\"execute\": \"balloon\", \"arguments\": {\"value\": 134217729}}", "GenericError",
                         "134217729");
        json_decref(qmp_ask(&qmp, "{\"execute\": \"balloon\", \"arguments\": {\"value\": 33554432}}"));
        qmp_do(&qmp, "system_reset");
        json_decref(qmp_event(&qmp, "RESET"));
        /* Until the next machine is there. */
        json_t *answer;
        while (answer = qmp_ask(&qmp, "{\"execute\": \"query-block\"}"), json_object_get(answer, "error"))
            json_decref(answer);
        json_decref(answer);
    }
    /* No driver has given anything yet. */
    json_t *balloon = qmp_command(&qmp, "query-balloon");
    ck_assert_int_eq(json_integer_value(json_object_get(balloon, "actual")), 128 << 20);
    json_decref(balloon);
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

static void expect_monitor(struct qmp *qmp, const char *line, const char *what)
{
    char request[256];

    snprintf(request, sizeof(request),
             "{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"%s\"}}", line);
    json_t *answer = qmp_ask(qmp, request);
    const char *text = json_string_value(json_object_get(answer, "return"));
    ck_assert_msg(text && strstr(text, what), "'%s' is not in '%s'", what, text ? text : "an error");
    json_decref(answer);
}

static const json_t *find_entity(const json_t *schema, const char *name)
{
    for (size_t i = 0; i < json_array_size(schema); i++) {
        if (strcmp(json_string_value(json_object_get(json_array_get(schema, i), "name")), name) == 0)
            return json_array_get(schema, i);
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    ck_assert_msg(text != NULL, "no %s", name);
    return text;
}

/* Every command is there, and every type that one names. */
static void expect_schema(struct qmp *qmp)
{
    json_t *listed = qmp_command(qmp, "query-commands"), *schema = qmp_command(qmp, "query-qmp-schema");

    for (size_t i = 0; i < json_array_size(listed); i++) {
        const json_t *command = find_entity(schema, text_of(json_array_get(listed, i), "name"));
        ck_assert_msg(command && strcmp(text_of(command, "meta-type"), "command") == 0, "command %zu", i);
        ck_assert_ptr_nonnull(find_entity(schema, text_of(command, "ret-type")));
        const json_t *members = json_object_get(find_entity(schema, text_of(command, "arg-type")), "members");
        ck_assert(json_is_array(members));
        for (size_t k = 0; k < json_array_size(members); k++)
            ck_assert_ptr_nonnull(find_entity(schema, text_of(json_array_get(members, k), "type")));
    }
    const json_t *balloon = json_object_get(find_entity(schema, "q_obj_balloon-arg"), "members");
    ck_assert_uint_eq(json_array_size(balloon), 1);
    ck_assert_str_eq(text_of(json_array_get(balloon, 0), "name"), "value");
    ck_assert_str_eq(text_of(json_array_get(balloon, 0), "type"), "int");
    ck_assert_ptr_null(json_object_get(json_array_get(balloon, 0), "default"));
    ck_assert_str_eq(text_of(find_entity(schema, "SHUTDOWN"), "meta-type"), "event");
    json_decref(schema);
    json_decref(listed);
}

START_TEST(questions_have_answers_and_all_commands_are_listed)
{
    static const char *const questions[] = {
        "query-version",   "query-name",     "query-target", "query-memory-size-summary",
        "query-cpus-fast", "x-query-virtio", "x-query-help", "query-chardev"};
    char name[] = "--name=one";
    struct process *process = process_start(
        PROCESS_ARGV("run", control_option(), name, "--cpus=2", "--serial=null", files_guest("greet_spin")),
        PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    struct qmp qmp;

    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    json_t *listed = qmp_command(&qmp, "query-commands");
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        bool found = false;
        for (size_t k = 0; k < json_array_size(listed); k++)
            found |= strcmp(json_string_value(json_object_get(json_array_get(listed, k), "name")), questions[i]) == 0;
        ck_assert_msg(found, "%s is not listed", questions[i]);
        json_t *result = qmp_command(&qmp, questions[i]);
        ck_assert_msg(json_object_size(result) || json_array_size(result), "%s is answered by nothing", questions[i]);
        if (strcmp(questions[i], "query-cpus-fast") == 0) {
            ck_assert_uint_eq(json_array_size(result), 2);
            ck_assert_int_gt(json_integer_value(json_object_get(json_array_get(result, 1), "thread-id")), 1);
        }
        json_decref(result);
    }
    json_decref(listed);
    expect_schema(&qmp);
    expect_monitor(&qmp, "info status", "VM status: running");
    expect_monitor(&qmp, "  info   cpus ", "* CPU #0: thread_id=");
    expect_monitor(&qmp, "info name", "one");
    expect_monitor(&qmp, "info version", "tuff ");
    expect_monitor(&qmp, "info block", "");
    expect_monitor(&qmp, "info balloon", "Error: ");
    expect_monitor(&qmp, "balloon 64", "Error: ");
    expect_monitor(&qmp, "system_powerdown", "--input=keyboard");
    expect_monitor(&qmp, "stop", "");
    expect_monitor(&qmp, "info status", "paused");
    expect_monitor(&qmp, "cont", "");
    expect_monitor(&qmp, "help", "info network");
    expect_monitor(&qmp, "make tea", "unknown command");
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

/* Until the job has ended; query-jobs' row about it, the caller's. */
static json_t *finish_job(struct qmp *qmp)
{
    for (bool concluded = false; !concluded;) {
        json_t *event = qmp_event(qmp, "JOB_STATUS_CHANGE");
        const char *status = json_string_value(json_object_get(json_object_get(event, "data"), "status"));
        concluded = strcmp(status, "concluded") == 0;
        json_decref(event);
    }
    json_t *jobs = qmp_command(qmp, "query-jobs"), *job = json_array_get(jobs, 0);
    json_incref(job);
    json_decref(jobs);
    return job;
}

START_TEST(snapshots_are_jobs)
{
    char file[128];
    struct qmp qmp;

    snprintf(file, sizeof(file), "--snapshot-file=%s", files_path("snapshots"));
    struct process *process = process_start(
        PROCESS_ARGV("run", control_option(), file, "--memory=64M", "--serial=null", files_guest("greet_spin")),
        PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    for (int i = 0; i < 2; i++) {
        json_decref(
            qmp_ask(&qmp, "{\"execute\": \"snapshot-save\", \"arguments\": {\"job-id\": \"j\", \"tag\": \"one\"}}"));
        json_t *job = finish_job(&qmp);
        ck_assert_str_eq(json_string_value(json_object_get(job, "tag")), "one");
        /* The name is taken the second time. */
        ck_assert_int_eq(json_object_get(job, "error") != NULL, i);
        json_decref(job);
    }
    qmp_expect_error(&qmp, "{\"execute\": \"job-dismiss\", \"arguments\": {\"id\": \"k\"}}", "GenericError",
                     "no such job");
    json_decref(qmp_ask(&qmp, "{\"execute\": \"job-dismiss\", \"arguments\": {\"id\": \"j\"}}"));
    json_t *jobs = qmp_command(&qmp, "query-jobs");
    ck_assert_uint_eq(json_array_size(jobs), 0);
    json_decref(jobs);
    for (int i = 0; i < 2; i++) {
        struct process *create = process_start(PROCESS_ARGV("snapshot", "create", socket_path(), "two"), PROCESS_PIPE,
                                               PROCESS_PIPE, PROCESS_PIPE);
        ck_assert_int_eq(process_finish(create), i ? 3 : 0);
        process_free(create);
    }
    /* The end waits for one that has begun. */
    qmp_do(&qmp, "snapshot-save");
    qmp_do(&qmp, "quit");
    expect_end(process, 0);
    qmp_close(&qmp);
}
END_TEST

START_TEST(snapshot_without_a_file_is_a_job_that_fails)
{
    struct process *process = spin();
    struct qmp qmp;

    qmp_start(&qmp, socket_path());
    qmp_wait_for_progress(&qmp);
    qmp_do(&qmp, "snapshot-save");
    json_t *job = finish_job(&qmp);
    ck_assert_ptr_nonnull(json_object_get(job, "error"));
    json_decref(job);
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

/* ---- bad clients ---- */

START_TEST(half_a_request_waits_and_a_vanished_client_is_forgotten)
{
    struct process *process = spin();
    struct qmp half, gone;

    qmp_open(&half, socket_path());
    qmp_send(&half, "{\"execute\": \"qmp_capa");
    for (int i = 0; i < 100; i++) {
        qmp_open(&gone, socket_path());
        qmp_send(&gone, "{\"execute\": \"qmp_capabilities\"}{\"execute\": \"query-commands\"}{\"execute\": \"sto");
        /* Sometimes by a reset in the middle of an answer. */
        const struct linger reset = {.l_onoff = 1};
        if (i % 2)
            setsockopt(gone.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        qmp_close(&gone);
    }
    struct qmp other;
    qmp_start(&other, socket_path());
    qmp_wait_for_progress(&other);
    json_decref(qmp_receive(&half));
    json_t *answer = qmp_ask(&half, "bilities\"}");
    ck_assert_ptr_nonnull(json_object_get(answer, "return"));
    json_decref(answer);
    qmp_close(&half);
    qmp_close(&other);
    expect_alive_and_quit(process);
}
END_TEST

/* Sends until the other side closes, or `limit` bytes. Returns how many it took. */
static size_t pour(struct qmp *qmp, const char *piece, size_t limit)
{
    size_t sent = 0, len = strlen(piece);

    while (sent < limit) {
        ssize_t n = send(qmp->fd, piece, len, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    return sent;
}

START_TEST(megabytes_without_an_end_are_refused)
{
    struct process *process = spin();
    char piece[4097];
    struct qmp qmp;
    json_t *message, *last = NULL;

    memset(piece, 'x', sizeof(piece) - 1);
    piece[sizeof(piece) - 1] = '\0';
    /* No object: skipped, however long, and told once. */
    qmp_start(&qmp, socket_path());
    ck_assert_uint_ge(pour(&qmp, piece, 2 << 20), 2 << 20);
    qmp_expect_error(&qmp, "\n", "GenericError", "not a JSON object");
    qmp_do(&qmp, "query-status");
    /* One that never ends: refused, and the connection closed. */
    qmp_send(&qmp, "{\"execute\": \"");
    pour(&qmp, piece, 2 << 20);
    while ((message = qmp_receive(&qmp))) {
        json_decref(last);
        last = message;
    }
    if (last)
        ck_assert_ptr_nonnull(
            strstr(json_string_value(json_object_get(json_object_get(last, "error"), "desc")), "too long"));
    json_decref(last);
    qmp_close(&qmp);
    qmp_start(&qmp, socket_path());
    qmp_send(&qmp, "{\"id\": ");
    memset(piece, '[', sizeof(piece) - 1);
    pour(&qmp, piece, 1 << 20);
    while ((message = qmp_receive(&qmp)))
        json_decref(message);
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

START_TEST(client_that_does_not_read_makes_nobody_wait)
{
    struct process *process = spin();
    struct qmp deaf, other;

    /* It asks for ever and never takes an answer: the other side stops reading, and then this one cannot send. */
    qmp_start(&deaf, socket_path());
    qmp_start(&other, socket_path());
    ck_assert_int_eq(fcntl(deaf.fd, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 20; i++) {
        pour(&deaf, "{\"execute\": \"x-query-help\"}\n", 16 << 20);
        qmp_do(&other, "stop");
        qmp_do(&other, "cont");
    }
    qmp_close(&deaf);
    qmp_close(&other);
    expect_alive_and_quit(process);
}
END_TEST

START_TEST(two_hundred_connections_leave_room_afterwards)
{
    enum { MANY = 200 };
    static struct qmp clients[MANY];
    struct process *process = spin();
    unsigned greeted = 0;

    for (int i = 0; i < MANY; i++) {
        qmp_open(&clients[i], socket_path());
        json_t *message = qmp_receive(&clients[i]);
        greeted += message && json_object_get(message, "QMP");
        json_decref(message);
    }
    ck_assert_uint_ge(greeted, 32);
    ck_assert_uint_lt(greeted, MANY);
    /* The first is served all the while. */
    qmp_do(&clients[0], "qmp_capabilities");
    qmp_wait_for_progress(&clients[0]);
    for (int i = 0; i < MANY; i++)
        qmp_close(&clients[i]);
    expect_alive_and_quit(process);
}
END_TEST

/* ---- the socket ---- */

START_TEST(socket_is_the_users_alone_and_replaces_a_dead_one)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    char option[128];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, socket_path());
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    struct process *process = spin();
    struct qmp qmp;
    qmp_start(&qmp, socket_path());
    ck_assert_int_eq(stat(socket_path(), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    process_expect_refusal(PROCESS_ARGV("run", control_option(), files_demo), "in use");
    snprintf(option, sizeof(option), "--control=unix:%s", files_write("file", "x", 1));
    process_expect_refusal(PROCESS_ARGV("run", option, files_demo), "no socket");
    process_expect_refusal(PROCESS_ARGV("run", "--control=unix:", files_demo), "unix:");
    process_expect_refusal(PROCESS_ARGV("run", "--control=tcp::1", files_demo), "unix:PATH");
    process_expect_refusal(PROCESS_ARGV("run", "--control=unix:/nonexistent/x", files_demo), "/nonexistent");
    process_expect_refusal(PROCESS_ARGV("run", "--name=../x", files_demo), "../x");
    qmp_close(&qmp);
    expect_alive_and_quit(process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_control");
    TCase *tcase = tcase_create("control");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, greeting_comes_first_and_negotiation_before_commands);
    tcase_add_test(tcase, ids_come_back_and_requests_need_no_lines);
    tcase_add_test(tcase, wrong_requests_are_refused_and_the_next_is_taken);
    tcase_add_test(tcase, stop_stands_still_until_cont_also_over_a_reset);
    tcase_add_test(tcase, end_is_told_before_the_socket_goes);
    tcase_add_test(tcase, panic_of_the_guest_is_told_and_kept);
    tcase_add_test(tcase, limits_are_shown_changed_and_kept_over_a_reset);
    tcase_add_test(tcase, questions_have_answers_and_all_commands_are_listed);
    tcase_add_test(tcase, snapshots_are_jobs);
    tcase_add_test(tcase, snapshot_without_a_file_is_a_job_that_fails);
    tcase_add_test(tcase, half_a_request_waits_and_a_vanished_client_is_forgotten);
    tcase_add_test(tcase, megabytes_without_an_end_are_refused);
    tcase_add_test(tcase, client_that_does_not_read_makes_nobody_wait);
    tcase_add_test(tcase, two_hundred_connections_leave_room_afterwards);
    tcase_add_test(tcase, socket_is_the_users_alone_and_replaces_a_dead_one);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
