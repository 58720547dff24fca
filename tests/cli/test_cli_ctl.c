/* What people and scripts reach a running machine by: tuff ctl, tuff top, metrics; and options from a file. */
#include "files.h"
#include "process.h"
#include "qmp.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATH_BYTES = 128 };

static void set_up(void)
{
    files_make_folder();
}

static void tear_down(void)
{
    files_remove_all();
}

/* The folder of the test, for run-time files. */
static const char *run_time_folder(void)
{
    static char folder[PATH_BYTES];

    snprintf(folder, sizeof(folder), "%s", files_path(""));
    setenv("XDG_RUNTIME_DIR", folder, 1);
    return folder;
}

static const char *disk_path(void)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s", files_write("disk", "", 1));
    ck_assert_int_eq(truncate(path, 1 << 20), 0);
    return path;
}

/* A guest that runs until it is ended, called "one"; its socket's path. */
static struct process *spin_named(char socket[PATH_BYTES])
{
    char disk[PATH_BYTES + 32];

    snprintf(socket, PATH_BYTES, "%s/tuff/one.sock", run_time_folder());
    snprintf(disk, sizeof(disk), "--disk=%s,format=raw", disk_path());
    return process_start(PROCESS_ARGV("run", "--name=one", "--cpus=2", "--memory=64M", "--balloon=64M", "--serial=null",
                                      disk, files_guest("greet_spin")),
                         PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
}

static void end_named(struct process *process, const char *socket)
{
    struct qmp qmp;

    qmp_start(&qmp, socket);
    qmp_wait_for_progress(&qmp);
    qmp_do(&qmp, "quit");
    int code = process_finish(process);
    ck_assert_msg(code == 0, "exit code %d: %s", code, process->err_text);
    qmp_close(&qmp);
    process_free(process);
    char folder[PATH_BYTES];
    snprintf(folder, sizeof(folder), "%s/tuff", run_time_folder());
    ck_assert_int_eq(rmdir(folder), 0);
}

static void expect_said(const char *const *argv, const char *what)
{
    int code;
    struct process *process = process_run(argv, NULL, &code);

    ck_assert_msg(code == 0, "exit code %d: %s", code, process->err_text);
    ck_assert_msg(strstr(process->out_text, what) != NULL, "'%s' is not in '%s'", what, process->out_text);
    process_free(process);
}

/* ---- tuff ctl ---- */

START_TEST(ctl_asks_and_steers_by_name_and_path)
{
    char socket[PATH_BYTES];
    struct process *process = spin_named(socket);
    struct qmp qmp;

    qmp_start(&qmp, socket); /* it is there */
    qmp_close(&qmp);
    expect_said(PROCESS_ARGV("ctl", "one"), "\"status\": \"running\"");
    expect_said(PROCESS_ARGV("ctl", socket, "pause"), "");
    expect_said(PROCESS_ARGV("ctl", "one", "status"), "\"status\": \"paused\"");
    expect_said(PROCESS_ARGV("ctl", "one", "cont"), "");
    expect_said(PROCESS_ARGV("ctl", "one", "query-name"), "\"name\": \"one\"");
    expect_said(PROCESS_ARGV("ctl", "one", "cpus"), "\"cpu-index\": 1");
    expect_said(PROCESS_ARGV("ctl", "one", "help"), "balloon value=integer\n");
    expect_said(PROCESS_ARGV("ctl", "one", "monitor", "info", "status"), "VM status: running");
    expect_said(PROCESS_ARGV("ctl", "one", "balloon", "value=32M"), "");
    expect_said(PROCESS_ARGV("ctl", "one", "limit-disk", "id=disk0", "bps=4K", "iops=12"), "");
    expect_said(PROCESS_ARGV("ctl", "one", "disks"), "\"bps\": 4096");
    process_expect_refusal(PROCESS_ARGV("ctl", "one", "balloon", "value=128M"), "134217728");
    process_expect_refusal(PROCESS_ARGV("ctl", "one", "balloon", "value=much"), "integer");
    process_expect_refusal(PROCESS_ARGV("ctl", "one", "balloon", "much"), "KEY=VALUE");
    process_expect_refusal(PROCESS_ARGV("ctl", "one", "make-tea"), "make-tea");
    process_expect_refusal(PROCESS_ARGV("ctl", "two"), "is it running?");
    process_expect_refusal(PROCESS_ARGV("ctl", "../one"), "is it running?");
    process_expect_refusal(PROCESS_ARGV("ctl", "-x"), "-x");
    process_expect_refusal(PROCESS_ARGV("ctl", "a b"), "a b");
    process_expect_refusal(PROCESS_ARGV("ctl"), "NAME");
    end_named(process, socket);
}
END_TEST

START_TEST(events_are_printed_until_the_end)
{
    char socket[PATH_BYTES];
    struct process *process = spin_named(socket);
    struct qmp qmp;

    qmp_start(&qmp, socket);
    struct process *events =
        process_start(PROCESS_ARGV("ctl", "one", "events"), PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    /* Until it listens, events pass it by. */
    struct pollfd said = {.fd = events->out, .events = POLLIN};
    do {
        qmp_do(&qmp, "stop");
        qmp_do(&qmp, "cont");
    } while (poll(&said, 1, 20) == 0);
    process_wait_for(events, "{\"event\":\"");
    qmp_close(&qmp);
    end_named(process, socket);
    ck_assert_int_eq(process_finish(events), 0);
    ck_assert_ptr_nonnull(strstr(events->out_text, "{\"event\":\"SHUTDOWN\",\"timestamp\":{\"seconds\":"));
    process_free(events);
}
END_TEST

/* ---- tuff top ---- */

START_TEST(top_prints_lines_where_there_is_no_terminal)
{
    char socket[PATH_BYTES];
    struct process *process = spin_named(socket);
    struct qmp qmp;
    double mips = 0;
    int code;

    qmp_start(&qmp, socket);
    qmp_close(&qmp);
    struct process *top = process_run(PROCESS_ARGV("top", "--count=3", "one"), NULL, &code);
    ck_assert_int_eq(code, 0);
    ck_assert_ptr_nonnull(strstr(top->out_text, "one: running, 2 harts, "));
    ck_assert_ptr_nonnull(strstr(top->out_text, "\n   0 "));
    /* A hart that this computer is too busy for may stand at 0 now and then. */
    for (const char *at = top->out_text; mips < 0.1 && (at = strstr(at, "\n   1 ")); at++)
        ck_assert_int_eq(sscanf(at, " 1 %lf", &mips), 1);
    ck_assert_msg(mips > 0.1, "no speed in '%s'", top->out_text);
    ck_assert_ptr_null(strchr(top->out_text, '\033'));
    process_free(top);
    process_expect_refusal(PROCESS_ARGV("top"), "NAME");
    process_expect_refusal(PROCESS_ARGV("top", "one", "two"), "one alone");
    process_expect_refusal(PROCESS_ARGV("top", "--interval=0", "one"), "--interval");
    process_expect_refusal(PROCESS_ARGV("top", "--count=x", "one"), "--count");
    process_expect_refusal(PROCESS_ARGV("top", "two"), "is it running?");
    end_named(process, socket);
}
END_TEST

START_TEST(top_on_a_terminal_has_keys_and_ends_with_the_machine)
{
    char socket[PATH_BYTES];
    struct process *process = spin_named(socket);
    struct qmp qmp;

    setenv("TERM", "xterm", 1);
    qmp_start(&qmp, socket);
    struct process *top = process_start_on_terminal(PROCESS_ARGV("top", "one"));
    process_wait_for(top, "MIPS");
    process_write(top, "s");
    json_decref(qmp_event(&qmp, "STOP"));
    process_write(top, "c");
    json_decref(qmp_event(&qmp, "RESUME"));
    process_write(top, "q");
    ck_assert_int_eq(process_finish(top), 0);
    process_free(top);
    top = process_start_on_terminal(PROCESS_ARGV("top", "one"));
    process_wait_for(top, "MIPS");
    qmp_close(&qmp);
    end_named(process, socket);
    ck_assert_int_eq(process_finish(top), 0);
    process_free(top);
}
END_TEST

/* ---- metrics ---- */

/* Sends the request and reads to the end. */
static char *http(const char *path, uint16_t port, const char *request)
{
    static char text[1 << 20];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = -1;
    size_t len = 0;
    ssize_t got;

    if (path)
        strcpy(un.sun_path, path);
    for (int i = 0; i < 3000 && rc; i++) {
        rc = path ? connect(fd, (const struct sockaddr *)&un, sizeof(un))
                  : connect(fd, (const struct sockaddr *)&in, sizeof(in));
        if (rc)
            usleep(10000);
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    while ((got = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    close(fd);
    return text;
}

static const char get[] = "GET /metrics HTTP/1.0\r\n\r\n";

START_TEST(metrics_have_all_counters_by_hart_and_machine)
{
    char option[PATH_BYTES + 32], path[PATH_BYTES], control[PATH_BYTES + 32];
    unsigned long long insns = 0;

    snprintf(path, sizeof(path), "%s", files_path("metrics"));
    snprintf(option, sizeof(option), "--metrics=unix:%s", path);
    snprintf(control, sizeof(control), "--control=unix:%s", files_path("control"));
    struct process *process = process_start(
        PROCESS_ARGV("run", option, control, "--name=one", "--cpus=2", "--serial=null", files_guest("greet_spin")),
        PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    struct qmp qmp;
    qmp_start(&qmp, files_path("control"));
    qmp_wait_for_progress(&qmp);
    const char *text;
    /* The second hart may come to run seconds later, where the machine is busy. */
    do {
        text = http(path, 0, get);
        ck_assert_msg(strncmp(text, "HTTP/1.", 7) == 0 && strstr(text, " 200 "), "%.200s", text);
        const char *second = strstr(text, "tuff_insns_total{vm=\"one\",hart=\"1\"} ");
        ck_assert(!second || sscanf(strchr(second, ' '), "%llu", &insns) == 1);
    } while (insns == 0);
    ck_assert_ptr_nonnull(strstr(text, "# HELP tuff_insns_total instructions retired\n# TYPE tuff_insns_total counter\n"
                                       "tuff_insns_total{vm=\"one\",hart=\"0\"} "));
    ck_assert_ptr_nonnull(strstr(text, "# TYPE tuff_code_bytes_live gauge\ntuff_code_bytes_live{vm=\"one\"} "));
    ck_assert_ptr_nonnull(strstr(text, "\ntuff_running{vm=\"one\"} 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\ntuff_virtio_rng_kicks_total{vm=\"one\"} 0\n"));
    qmp_do(&qmp, "stop");
    ck_assert_ptr_nonnull(strstr(http(path, 0, get), "\ntuff_running{vm=\"one\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(http(path, 0, "GET / HTTP/1.0\r\n\r\n"), " 404 "));
    ck_assert_ptr_nonnull(strstr(http(path, 0, "DELETE /metrics HTTP/1.0\r\n\r\n"), " 405 "));
    http(path, 0, "\377\376 nonsense\r\n\r\n");
    qmp_do(&qmp, "quit");
    ck_assert_int_eq(process_finish(process), 0);
    ck_assert_int_ne(access(path, F_OK), 0);
    qmp_close(&qmp);
    process_free(process);
}
END_TEST

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    close(fd);
    return ntohs(in.sin_port);
}

START_TEST(metrics_listen_on_the_loopback_interface_only)
{
    static const char *const refused[] = {"--metrics=0.0.0.0:9", "--metrics=10.0.2.15:9", "--metrics=[::]:9",
                                          "--metrics=9",         "--metrics=localhost:9", "--metrics=:x",
                                          "--metrics=:70000",    "--metrics=unix:"};
    char option[64];
    uint16_t port = free_port();
    static struct sockaddr_in in = {.sin_family = AF_INET};
    int idle[200];

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        process_expect_refusal(PROCESS_ARGV("run", refused[i], files_demo), "--metrics");
    snprintf(option, sizeof(option), "--metrics=:%u", port);
    struct process *process = process_start(PROCESS_ARGV("run", option, "--serial=null", files_guest("greet_spin")),
                                            PROCESS_PIPE, PROCESS_PIPE, PROCESS_PIPE);
    /* The socket is there before the machine is. */
    while (!strstr(http(NULL, port, get), "\ntuff_insns_total{hart=\"0\"} "))
        usleep(10000);
    /* Those that say nothing, or half of it, hold up nobody for longer than their time. */
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 200; i++) {
        idle[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(idle[i], (const struct sockaddr *)&in, sizeof(in));
        (void)!send(idle[i], "GET /met", 8, MSG_NOSIGNAL);
    }
    for (int i = 0; i < 200; i++)
        close(idle[i]);
    ck_assert_ptr_nonnull(strstr(http(NULL, port, get), "\ntuff_running 1\n"));
    process_signal(process, 15);
    ck_assert_int_eq(process_finish(process), 143);
    process_free(process);
}
END_TEST

/* ---- --config ---- */

static const char *config_option(const char *json)
{
    static char option[PATH_BYTES + 16];

    snprintf(option, sizeof(option), "--config=%s", files_write("config.json", json, strlen(json)));
    return option;
}

START_TEST(config_file_gives_options_and_the_command_line_replaces_them)
{
    char option[PATH_BYTES], json[1024], disk[PATH_BYTES + 32];
    int code;

    snprintf(disk, sizeof(disk), "%s,format=raw,readonly", disk_path());
    snprintf(json, sizeof(json),
             "{\"memory\": \"64M\", \"cpus\": 3, \"serial\": [\"null\"], \"stats\": \"json\", \"no-reboot\": true,\n"
             " \"verify\": false, \"disk\": [\"%s\", \"%s\"]}",
             disk, disk);
    snprintf(option, sizeof(option), "%s", config_option(json));
    struct process *process = process_run(PROCESS_ARGV("run", option, files_guest("reboot")), NULL, &code);
    ck_assert_msg(code == 0, "exit code %d: %s", code, process->err_text);
    ck_assert_str_eq(process->out_text, "");
    ck_assert_ptr_nonnull(strstr(process->err_text, "\"hart\":2"));
    ck_assert_ptr_null(strstr(process->err_text, "\"hart\":3"));
    ck_assert_ptr_nonnull(strstr(process->err_text, "\"virtio_blk1_kicks\""));
    process_free(process);
    process = process_run(
        PROCESS_ARGV("run", "--cpus=1", "--serial=stdio", option, "--disk", disk, files_guest("pass")), NULL, &code);
    ck_assert_msg(code == 0, "exit code %d: %s", code, process->err_text);
    ck_assert_str_eq(process->out_text, "hello\n");
    ck_assert_ptr_null(strstr(process->err_text, "\"hart\":1"));
    ck_assert_ptr_null(strstr(process->err_text, "\"virtio_blk1_kicks\""));
    process_free(process);
}
END_TEST

START_TEST(config_file_that_cannot_be_is_refused)
{
    static const struct {
        const char *json, *what;
    } wrong[] = {
        {"", "line"},
        {"{\"memory\": \"64M\"", "line"},
        {"[\"memory\"]", "otherwise"},
        {"{\"memory\": 1, \"memory\": 2}", "line 1"},
        {"{\"memmory\": \"64M\"}", "memmory"},
        {"{\"hex\": true}", "hex"},
        {"{\"config\": \"x\"}", "config"},
        {"{\"help\": true}", "help"},
        {"{\"memory\": true}", "memory"},
        {"{\"memory\": [\"64M\"]}", "memory"},
        {"{\"memory\": 1.5}", "memory"},
        {"{\"memory\": \"lots\"}", "lots"},
        {"{\"no-reboot\": \"yes\"}", "no-reboot"},
        {"{\"stats\": \"xml\"}", "xml"},
        {"{\"disk\": [[\"a\"]]}", "disk"},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        process_expect_refusal(PROCESS_ARGV("run", config_option(wrong[i].json), files_demo), wrong[i].what);
    process_expect_refusal(PROCESS_ARGV("run", "--config=/nonexistent", files_demo), "/nonexistent");
    process_expect_refusal(PROCESS_ARGV("run", "--config=/", files_demo), "--config");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_ctl");
    TCase *tcase = tcase_create("ctl");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, ctl_asks_and_steers_by_name_and_path);
    tcase_add_test(tcase, events_are_printed_until_the_end);
    tcase_add_test(tcase, top_prints_lines_where_there_is_no_terminal);
    tcase_add_test(tcase, top_on_a_terminal_has_keys_and_ends_with_the_machine);
    tcase_add_test(tcase, metrics_have_all_counters_by_hart_and_machine);
    tcase_add_test(tcase, metrics_listen_on_the_loopback_interface_only);
    tcase_add_test(tcase, config_file_gives_options_and_the_command_line_replaces_them);
    tcase_add_test(tcase, config_file_that_cannot_be_is_refused);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
