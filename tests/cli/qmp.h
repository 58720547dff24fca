/* A client of the control socket, for tests: one connection, messages in the order in which they come. */
#ifndef TUFF_TESTS_CLI_QMP_H
#define TUFF_TESTS_CLI_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct qmp {
    int fd;
    char *bytes;
    size_t len, capacity;
    json_t *events; /* that came while an answer was awaited: an array */
};

/* Connects, as soon as somebody listens at the path; the greeting is not read. */
void qmp_open(struct qmp *qmp, const char *path);
/* The same, reads the greeting and negotiates. */
void qmp_start(struct qmp *qmp, const char *path);
void qmp_close(struct qmp *qmp);

void qmp_send(struct qmp *qmp, const char *text);
/* The next message, the caller's; NULL: the other side has closed. */
json_t *qmp_receive(struct qmp *qmp);
/* Sends a request and returns the answer, the caller's; events that come before it are kept. */
json_t *qmp_ask(struct qmp *qmp, const char *request);
/* The same for {"execute": command}; the test fails where it is an error. Returns what is in "return". */
json_t *qmp_command(struct qmp *qmp, const char *command);
/* Runs it and throws the answer away. */
void qmp_do(struct qmp *qmp, const char *command);
/* Expects an error whose class is as given and whose text has `what` in it. */
void qmp_expect_error(struct qmp *qmp, const char *request, const char *class, const char *what);
/* Waits for an event of that name. Returns it, the caller's. */
json_t *qmp_event(struct qmp *qmp, const char *name);
/* All harts' instructions so far. */
json_int_t qmp_insns(struct qmp *qmp);
/* Until some have run since the call. */
void qmp_wait_for_progress(struct qmp *qmp);

#endif
