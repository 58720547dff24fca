/* See qmp_client.h. */
#include "cli/qmp_client.h"

#include "cli/names.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Nothing that a machine says is near it. */
enum { MESSAGE_BYTES_MAX = 64 << 20, READ_BYTES = 16384 };

struct qmp_client {
    int fd;
    char *bytes;
    size_t len, capacity;
    json_t *events; /* that came while an answer was awaited */
};

/* ---- messages ---- */

static int fill(struct qmp_client *client, int wait_ms)
{
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    ssize_t got;

    if (client->capacity - client->len < READ_BYTES) {
        size_t capacity = 2 * client->capacity + READ_BYTES;
        char *bytes = capacity > MESSAGE_BYTES_MAX ? NULL : realloc(client->bytes, capacity);
        if (!bytes)
            return -ENOMEM;
        client->bytes = bytes;
        client->capacity = capacity;
    }
    int ready = poll(&wait, 1, wait_ms);
    if (ready <= 0)
        return ready ? -errno : -ETIMEDOUT;
    got = recv(client->fd, client->bytes + client->len, client->capacity - client->len, 0);
    if (got <= 0)
        return -EPIPE;
    client->len += (size_t)got;
    return 0;
}

/* The next message. Returns 0 or a negative errno: -EBADMSG for one that is no JSON object. */
static int receive(struct qmp_client *client, int wait_ms, json_t **out)
{
    char *end;

    while (!client->len || !(end = memchr(client->bytes, '\n', client->len))) {
        int rc = fill(client, wait_ms);
        if (rc)
            return rc;
    }
    size_t len = (size_t)(end + 1 - client->bytes);
    *out = json_loadb(client->bytes, len, 0, NULL);
    client->len -= len;
    memmove(client->bytes, client->bytes + len, client->len);
    return *out ? 0 : -EBADMSG;
}

static int send_message(struct qmp_client *client, json_t *message)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t len = text ? strlen(text) : 0, at = 0;
    int rc = text ? 0 : -ENOMEM;

    json_decref(message);
    if (text)
        text[len++] = '\n'; /* in the place of the terminator */
    while (!rc && at < len) {
        ssize_t sent = send(client->fd, text + at, len - at, MSG_NOSIGNAL);
        if (sent < 0)
            rc = errno == EINTR ? 0 : -EPIPE;
        else
            at += (size_t)sent;
    }
    free(text);
    return rc;
}

/* ---- commands ---- */

static int refused(const json_t *answer, struct error *err)
{
    const char *text = json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));

    return error_set(err, -EREMOTEIO, "virtual machine, refuses: %s", text ? text : "no reason given");
}

static int talk(struct qmp_client *client, json_t *request, json_t **result, struct error *err)
{
    json_t *message = NULL;
    int rc = send_message(client, request);

    while (!rc) {
        rc = receive(client, QMP_CLIENT_WAIT_MS, &message);
        if (rc || !json_object_get(message, "event"))
            break;
        json_array_append_new(client->events, message);
    }
    if (rc)
        return error_set(err, rc, "virtual machine, %s", rc == -EPIPE ? "has gone" : strerror(-rc));
    *result = json_object_get(message, "return");
    if (*result)
        json_incref(*result);
    else
        rc = refused(message, err);
    json_decref(message);
    return rc;
}

int qmp_client_run(struct qmp_client *client, const char *command, json_t *arguments, json_t **result,
                   struct error *err)
{
    return talk(client, json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments), result, err);
}

json_t *qmp_client_event(struct qmp_client *client)
{
    json_t *event = json_array_get(client->events, 0);

    if (event) {
        json_incref(event);
        json_array_remove(client->events, 0);
        return event;
    }
    for (;;) {
        int rc = receive(client, -1, &event);
        if (rc && rc != -EINTR)
            return NULL;
        if (!rc && json_object_get(event, "event"))
            return event;
        if (!rc)
            json_decref(event);
    }
}

/* ---- beginning and end ---- */

static int find_socket(const char *who, struct sockaddr_un *address, struct error *err)
{
    static const char prefix[] = "unix:";
    char *where = NULL;
    int rc = 0;

    if (strncmp(who, prefix, strlen(prefix)) == 0)
        who += strlen(prefix);
    else if (!strchr(who, '/'))
        rc = names_socket(who, false, &where, err);
    if (where)
        who = where + strlen(prefix);
    if (!rc && (!*who || strlen(who) >= sizeof(address->sun_path)))
        rc = error_set(err, -EINVAL, "socket, %s, has a name that is too long or empty", who);
    if (!rc)
        strcpy(address->sun_path, who);
    free(where);
    return rc;
}

static int begin(struct qmp_client *client, const char *who, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    json_t *message = NULL;
    int rc = find_socket(who, &address, err);

    if (rc)
        return rc;
    client->events = json_array();
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (const struct sockaddr *)&address, sizeof(address)))
        return error_set(err, -errno, "virtual machine, %s, is not there (%s: %s): is it running?", who,
                         address.sun_path, strerror(errno));
    rc = receive(client, QMP_CLIENT_WAIT_MS, &message);
    bool greeted = !rc && json_object_get(message, "QMP");
    if (!rc && !greeted)
        rc = json_object_get(message, "error") ? refused(message, err)
                                               : error_set(err, -EPROTO, "socket, %s, is no control socket", who);
    else if (rc)
        error_set(err, rc, "virtual machine, %s, does not answer (%s)", who, strerror(-rc));
    json_decref(message);
    if (rc)
        return rc;
    rc = qmp_client_run(client, "qmp_capabilities", NULL, &message, err);
    if (!rc)
        json_decref(message);
    return rc;
}

int qmp_client_open(const char *who, struct qmp_client **out, struct error *err)
{
    struct qmp_client *client = calloc(1, sizeof(*client));

    if (!client)
        return error_set(err, -ENOMEM, "not enough host memory, free some");
    client->fd = -1;
    int rc = begin(client, who, err);
    if (rc) {
        qmp_client_close(client);
        return rc;
    }
    *out = client;
    return 0;
}

void qmp_client_close(struct qmp_client *client)
{
    if (!client)
        return;
    if (client->fd >= 0)
        close(client->fd);
    json_decref(client->events);
    free(client->bytes);
    free(client);
}
