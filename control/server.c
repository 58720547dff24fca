/* Clients of the control socket and their bytes; see control.h. All of it runs on the loop's thread but creation,
 * attaching and the end. A client that does not read what it is sent is dropped at CONTROL_OUTPUT_BYTES, one that
 * sends what is no message is told so; nothing waits for either. */
#include "control/control_internal.h"

#include "base/acceptor.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_BYTES = 16 << 10, FAREWELL_MS = 1000, OUTPUT_WAITS_BYTES = 64 << 10 };

struct event {
    struct control *control;
    json_t *message;
};

/* ---- one client ---- */

static void client_free(struct control_client *client)
{
    struct control *control = client->control;
    struct control_client **link = &control->clients;

    while (*link != client)
        link = &(*link)->next;
    *link = client->next;
    control->client_count--;
    loop_fd_remove(control->loop, client->fd);
    close(client->fd);
    framing_free(&client->input);
    free(client->output);
    free(client);
}

static bool has_output(const struct control_client *client)
{
    return client->output_len > client->output_start;
}

/* Writes what the client takes. */
static void client_write(struct control_client *client)
{
    while (has_output(client) && !client->lost) {
        ssize_t sent = send(client->fd, client->output + client->output_start,
                            client->output_len - client->output_start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (sent < 0)
            client->lost = true;
        else
            client->output_start += (size_t)sent;
    }
    if (!has_output(client))
        client->output_start = client->output_len = 0;
}

/* While much waits to be read by the client, nothing more is read from it. */
static void client_wait(struct control_client *client)
{
    size_t waiting = client->output_len - client->output_start;
    uint32_t events = (waiting ? EPOLLOUT : 0) | (waiting < OUTPUT_WAITS_BYTES && !client->closing ? EPOLLIN : 0);

    if (loop_fd_modify(client->control->loop, client->fd, events))
        client->lost = true;
}

static int make_room(struct control_client *client, size_t len)
{
    if (client->output_start) {
        memmove(client->output, client->output + client->output_start, client->output_len - client->output_start);
        client->output_len -= client->output_start;
        client->output_start = 0;
    }
    if (client->output_len + len > CONTROL_OUTPUT_BYTES)
        return -ENOBUFS;
    if (client->output_len + len > client->output_capacity) {
        size_t capacity = 2 * (client->output_len + len);
        char *output = realloc(client->output, capacity);
        if (!output)
            return -ENOMEM;
        client->output = output;
        client->output_capacity = capacity;
    }
    return 0;
}

/* Queues a message, which it takes over, as one line; what does not go out at once goes when the client reads. */
static void client_send(struct control_client *client, json_t *message)
{
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t len = text ? strlen(text) : 0;

    json_decref(message);
    if (!text || make_room(client, len + 2)) {
        client->lost = true;
    } else {
        memcpy(client->output + client->output_len, text, len);
        memcpy(client->output + client->output_len + len, "\r\n", 2);
        client->output_len += len + 2;
        client_write(client);
    }
    free(text);
}

static void client_refuse(struct control_client *client, const char *text)
{
    client_send(client, qmp_error("GenericError", text, NULL));
}

static void client_take(struct control_client *client, const char *bytes, size_t len)
{
    while (len && !client->lost && !client->closing) {
        size_t used, text_len;
        const char *text;
        switch (framing_take(&client->input, bytes, len, &used)) {
        case FRAMING_MORE:
            break;
        case FRAMING_MESSAGE:
            text = framing_message(&client->input, &text_len);
            client_send(client, qmp_answer(client, text, text_len));
            break;
        case FRAMING_JUNK:
            client_refuse(client, "what was sent is not a JSON object");
            break;
        case FRAMING_TOO_LONG:
            client_refuse(client, "what was sent is too long or too deep: this connection ends");
            client->closing = true;
            break;
        case FRAMING_NO_MEMORY:
            client->lost = true;
            break;
        }
        bytes += used;
        len -= used;
    }
}

static void client_read(struct control_client *client)
{
    char bytes[READ_BYTES];
    ssize_t len = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (len > 0)
        client_take(client, bytes, (size_t)len);
    else if (len == 0 || (errno != EAGAIN && errno != EINTR))
        client->lost = true;
}

static void on_client(void *opaque, int fd, uint32_t events)
{
    struct control_client *client = opaque;

    if (events & EPOLLOUT)
        client_write(client);
    if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN))
        client->lost = true;
    if (events & EPOLLIN && !client->lost)
        client_read(client);
    if (client->closing && !has_output(client))
        client->lost = true;
    if (!client->lost)
        client_wait(client);
    if (client->lost)
        client_free(client);
}

/* ---- all of them ---- */

static int client_create(struct control *control, int fd)
{
    struct control_client *client = calloc(1, sizeof(*client));

    if (!client)
        return -ENOMEM;
    client->control = control;
    client->fd = fd;
    int rc = loop_fd_add(control->loop, fd, EPOLLIN, on_client, client);
    if (rc) {
        free(client);
        return rc;
    }
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
    client_send(client, qmp_greeting(control));
    client_wait(client);
    if (client->lost)
        client_free(client);
    return 0;
}

/* More than there is room for are told so, if their socket takes the line, and closed. */
static void turn_away(int fd)
{
    static const char line[] = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"too many clients\"}}\r\n";

    (void)!send(fd, line, sizeof(line) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void on_connection(void *opaque, int fd)
{
    struct control *control = opaque;

    if (control->client_count == CONTROL_CLIENTS_MAX || client_create(control, fd))
        turn_away(fd);
}

static void deliver(void *opaque)
{
    struct event *event = opaque;
    struct control_client *client, *next;

    for (client = event->control->clients; client; client = next) {
        next = client->next;
        if (!client->negotiated || client->closing)
            continue;
        client_send(client, json_incref(event->message));
        if (!client->lost)
            client_wait(client);
        if (client->lost)
            client_free(client);
    }
    json_decref(event->message);
    free(event);
}

void control_event(struct control *control, const char *name, json_t *data)
{
    struct event *event = malloc(sizeof(*event));
    struct timeval now;

    gettimeofday(&now, NULL);
    json_t *message = json_pack("{s:s, s:{s:I, s:I}, s:o*}", "event", name, "timestamp", "seconds",
                                (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_usec, "data", data);
    if (!event || !message) {
        json_decref(message);
        free(event);
        return;
    }
    *event = (struct event){.control = control, .message = message};
    if (loop_post(control->loop, deliver, event)) {
        json_decref(message);
        free(event);
    }
}

/* ---- machines come and go ---- */

/* The guest goes on as it likes. */
static void panicked(void *opaque, bool crash_loaded)
{
    control_event(opaque, crash_loaded ? "GUEST_CRASHLOADED" : "GUEST_PANICKED", json_pack("{s:s}", "action", "run"));
}

void control_attach(struct control *control, struct machine *machine)
{
    machine_set_panicked(machine, panicked, control);
    pthread_mutex_lock(&control->lock);
    control->machine = machine;
    control_set_again(control);
    pthread_mutex_unlock(&control->lock);
}

void control_detach(struct control *control, const struct machine_result *result)
{
    pthread_mutex_lock(&control->lock);
    control->machine = NULL;
    control_job_wait(control);
    control->paused = false;
    pthread_mutex_unlock(&control->lock);
    control_tell_end(control, result);
}

/* ---- beginning and end ---- */

/* What clients have not taken yet is offered once more, to all of them together. */
static void farewell(struct control *control)
{
    uint64_t until_ns = loop_now_ns() + FAREWELL_MS * 1000000ull;

    for (struct control_client *client = control->clients; client; client = client->next) {
        struct pollfd wait = {.fd = client->fd, .events = POLLOUT};
        client_write(client);
        while (has_output(client) && !client->lost && loop_now_ns() < until_ns) {
            if (poll(&wait, 1, (int)((until_ns - loop_now_ns()) / 1000000) + 1) > 0)
                client_write(client);
        }
    }
}

void control_destroy(struct control *control)
{
    if (!control)
        return;
    if (control->loop)
        loop_stop(control->loop);
    farewell(control);
    for (struct control_client *client = control->clients, *next; client; client = next) {
        next = client->next;
        client_free(client);
    }
    acceptor_destroy(control->acceptor);
    listener_close(&control->listener);
    loop_destroy(control->loop);
    pthread_cond_destroy(&control->job_ended);
    pthread_mutex_destroy(&control->lock);
    free(control);
}

static int start(struct control *control)
{
    int rc = loop_create(&control->loop);

    if (rc)
        return rc;
    loop_set_name(control->loop, "tuff-control");
    loop_set_service(control->loop);
    rc = acceptor_create(control->loop, control->listener.fd, on_connection, control, &control->acceptor);
    return rc ? rc : loop_start(control->loop);
}

int control_create(const struct control_config *config, struct control **out, struct error *err)
{
    struct control *control = calloc(1, sizeof(*control));

    if (!control)
        return error_set(err, -ENOMEM, "--control, not enough host memory, free some");
    control->config = *config;
    control->status = "prelaunch";
    control->listener.fd = -1;
    pthread_mutex_init(&control->lock, NULL);
    pthread_cond_init(&control->job_ended, NULL);
    int rc = control_listen("--control", config->where, false, &control->listener, err);
    if (!rc) {
        rc = start(control);
        if (rc)
            error_set(err, rc, "--control, %s, cannot be served (%s): free memory or descriptors", config->where,
                      strerror(-rc));
    }
    if (rc) {
        control_destroy(control);
        return rc;
    }
    *out = control;
    return 0;
}
