/* See qmp.h. Every wait has a generous limit, at which the test fails. */
#include "qmp.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT_MS = 60000, RETRY_US = 10000 };

void qmp_open(struct qmp *qmp, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *qmp = (struct qmp){.fd = -1, .events = json_array()};
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    for (int waited = 0; waited < LIMIT_MS * 1000 / RETRY_US; waited++) {
        qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_ge(qmp->fd, 0);
        if (connect(qmp->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
            return;
        close(qmp->fd);
        usleep(RETRY_US);
    }
    ck_abort_msg("nobody listens at %s", path);
}

void qmp_close(struct qmp *qmp)
{
    close(qmp->fd);
    free(qmp->bytes);
    json_decref(qmp->events);
}

void qmp_send(struct qmp *qmp, const char *text)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t sent = send(qmp->fd, text, len, MSG_NOSIGNAL);
        ck_assert_msg(sent > 0, "send: %s", strerror(errno));
        text += sent;
        len -= (size_t)sent;
    }
}

/* False at the end. */
static bool read_more(struct qmp *qmp)
{
    struct pollfd wait = {.fd = qmp->fd, .events = POLLIN};

    if (qmp->capacity - qmp->len < 4096) {
        qmp->capacity = 2 * qmp->capacity + 8192;
        qmp->bytes = realloc(qmp->bytes, qmp->capacity);
        ck_assert_ptr_nonnull(qmp->bytes);
    }
    ck_assert_msg(poll(&wait, 1, LIMIT_MS) == 1, "the other side says nothing");
    ssize_t len = recv(qmp->fd, qmp->bytes + qmp->len, qmp->capacity - qmp->len, 0);
    if (len <= 0)
        return false;
    qmp->len += (size_t)len;
    return true;
}

json_t *qmp_receive(struct qmp *qmp)
{
    char *end;
    json_error_t error;

    while (!qmp->len || !(end = memchr(qmp->bytes, '\n', qmp->len))) {
        if (!read_more(qmp))
            return NULL;
    }
    size_t len = (size_t)(end + 1 - qmp->bytes);
    json_t *message = json_loadb(qmp->bytes, len, 0, &error);
    ck_assert_msg(message && json_is_object(message), "not a message: %.*s", (int)len, qmp->bytes);
    memmove(qmp->bytes, qmp->bytes + len, qmp->len - len);
    qmp->len -= len;
    return message;
}

void qmp_start(struct qmp *qmp, const char *path)
{
    qmp_open(qmp, path);
    json_t *greeting = qmp_receive(qmp);
    ck_assert_ptr_nonnull(json_object_get(greeting, "QMP"));
    json_decref(greeting);
    qmp_do(qmp, "qmp_capabilities");
}

json_t *qmp_ask(struct qmp *qmp, const char *request)
{
    qmp_send(qmp, request);
    for (;;) {
        json_t *message = qmp_receive(qmp);
        ck_assert_msg(message != NULL, "no answer to %s", request);
        if (!json_object_get(message, "event"))
            return message;
        json_array_append_new(qmp->events, message);
    }
}

json_t *qmp_command(struct qmp *qmp, const char *command)
{
    char request[256];

    snprintf(request, sizeof(request), "{\"execute\": \"%s\"}\n", command);
    json_t *answer = qmp_ask(qmp, request), *result = json_object_get(answer, "return");
    ck_assert_msg(result != NULL, "%s: %s", command, json_dumps(answer, 0));
    json_incref(result);
    json_decref(answer);
    return result;
}

void qmp_do(struct qmp *qmp, const char *command)
{
    json_decref(qmp_command(qmp, command));
}

void qmp_expect_error(struct qmp *qmp, const char *request, const char *class, const char *what)
{
    json_t *answer = qmp_ask(qmp, request), *error = json_object_get(answer, "error");

    ck_assert_msg(error != NULL, "no error: %s", json_dumps(answer, 0));
    ck_assert_str_eq(json_string_value(json_object_get(error, "class")), class);
    ck_assert_msg(strstr(json_string_value(json_object_get(error, "desc")), what) != NULL, "'%s' is not in %s", what,
                  json_dumps(error, 0));
    json_decref(answer);
}

static bool is_event(const json_t *message, const char *name)
{
    const char *event = json_string_value(json_object_get(message, "event"));

    return event && strcmp(event, name) == 0;
}

json_t *qmp_event(struct qmp *qmp, const char *name)
{
    for (size_t i = 0; i < json_array_size(qmp->events); i++) {
        json_t *event = json_array_get(qmp->events, i);
        if (is_event(event, name)) {
            json_incref(event);
            json_array_remove(qmp->events, i);
            return event;
        }
    }
    for (;;) {
        json_t *message = qmp_receive(qmp);
        ck_assert_msg(message != NULL, "no event %s", name);
        if (is_event(message, name))
            return message;
        json_array_append_new(qmp->events, message);
    }
}

json_int_t qmp_insns(struct qmp *qmp)
{
    static const char request[] = "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"vcpu\"}}\n";
    json_t *answer, *harts;
    json_int_t sum = 0;

    /* Between two boots there is nothing to count. */
    while (answer = qmp_ask(qmp, request), json_object_get(answer, "error"))
        json_decref(answer);
    harts = json_object_get(answer, "return");

    ck_assert_uint_gt(json_array_size(harts), 0);
    for (size_t i = 0; i < json_array_size(harts); i++) {
        const json_t *first = json_array_get(json_object_get(json_array_get(harts, i), "stats"), 0);
        ck_assert_str_eq(json_string_value(json_object_get(first, "name")), "insns");
        sum += json_integer_value(json_object_get(first, "value"));
    }
    json_decref(answer);
    return sum;
}

void qmp_wait_for_progress(struct qmp *qmp)
{
    json_int_t before = qmp_insns(qmp);

    for (int waited = 0; waited < LIMIT_MS * 1000 / RETRY_US; waited++) {
        if (qmp_insns(qmp) > before)
            return;
        usleep(RETRY_US);
    }
    ck_abort_msg("the guest does not go on");
}
