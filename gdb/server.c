/* The socket and the thread; see server.h. The thread waits for the client, for harts that stop, and for the end. */
#include "gdb/server.h"

#include "base/listener.h"
#include "base/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SEND_TIMEOUT_S = 5 }; /* a client that does not read for so long is gone */

struct gdb_server {
    struct listener listener;
    int event; /* eventfd: something to look at */
    char address[160];
    struct gdb_stub *stub;
    pthread_t thread;
    bool started;
    _Atomic bool ending;
    uint8_t exit_code; /* before `ending` */
    /* the thread's */
    int client; /* -1: none */
    bool standing;
};

/* ---- listening ---- */

static int listen_tcp(struct gdb_server *server, const char *host, const char *port, struct error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);
    char host_text[64], port_text[8];
    const int yes = 1;

    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc)
        return error_set(err, -EINVAL, "--gdb, '%s:%s', is no address: %s", host, port, gai_strerror(rc));
    server->listener.fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok =
        server->listener.fd >= 0 && setsockopt(server->listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
        bind(server->listener.fd, found->ai_addr, found->ai_addrlen) == 0 && listen(server->listener.fd, 1) == 0 &&
        getsockname(server->listener.fd, (struct sockaddr *)&bound, &len) == 0;
    rc = ok ? 0 : -errno;
    freeaddrinfo(found);
    if (rc)
        return error_set(err, rc, "--gdb, %s:%s, cannot be listened at: %s", host, port, strerror(-rc));
    if (getnameinfo((struct sockaddr *)&bound, len, host_text, sizeof(host_text), port_text, sizeof(port_text),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return error_set(err, -EINVAL, "--gdb, %s:%s, has no name", host, port);
    bool v6 = bound.ss_family == AF_INET6;
    snprintf(server->address, sizeof(server->address), "%s%s%s:%s", v6 ? "[" : "", host_text, v6 ? "]" : "", port_text);
    return 0;
}

static int listen_at(struct gdb_server *server, const char *address, struct error *err)
{
    char host[128];
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : 0;

    if (strncmp(address, "unix:", 5) == 0) {
        snprintf(server->address, sizeof(server->address), "%s", address + 5);
        return listener_open_unix("--gdb", address + 5, 1, &server->listener, err);
    }
    if (!colon || !colon[1] || len >= sizeof(host) || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return error_set(err, -EINVAL, "--gdb, '%s', is not understood: give :PORT, HOST:PORT or unix:PATH", address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']')
        snprintf(host, sizeof(host), "%.*s", (int)len - 2, address + 1);
    else
        snprintf(host, sizeof(host), "%.*s", (int)len, address);
    return listen_tcp(server, len ? host : "127.0.0.1", colon + 1, err);
}

int gdb_server_create(const char *address, struct gdb_server **out, struct error *err)
{
    struct gdb_server *server = calloc(1, sizeof(*server));

    if (!server)
        return error_set(err, -ENOMEM, "no memory for --gdb");
    server->listener.fd = server->client = -1;
    server->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = server->event < 0 ? error_set(err, -errno, "--gdb: no event descriptor: %s", strerror(errno))
                               : listen_at(server, address, err);
    if (rc) {
        gdb_server_destroy(server);
        return rc;
    }
    *out = server;
    return 0;
}

void gdb_server_destroy(struct gdb_server *server)
{
    if (!server)
        return;
    gdb_server_stop(server, 0);
    gdb_stub_destroy(server->stub);
    listener_close(&server->listener);
    if (server->event >= 0)
        close(server->event);
    free(server);
}

const char *gdb_server_address(const struct gdb_server *server)
{
    return server->address;
}

/* ---- the client ---- */

static void drop_client(struct gdb_server *server)
{
    if (server->client < 0)
        return;
    close(server->client);
    server->client = -1;
    gdb_stub_detach(server->stub);
}

/* What cannot be sent is lost, and the next read finds that the client is gone. */
static void send_all(void *opaque, const void *bytes, size_t len)
{
    struct gdb_server *server = opaque;
    const char *at = bytes;

    while (len && server->client >= 0) {
        ssize_t sent = send(server->client, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0) {
            (void)shutdown(server->client, SHUT_RDWR);
            return;
        }
        at += sent;
        len -= (size_t)sent;
    }
}

static void take_client(struct gdb_server *server)
{
    const struct timeval timeout = {.tv_sec = SEND_TIMEOUT_S};
    const int yes = 1;
    int fd = accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)); /* of no use to UNIX sockets */
    if (server->client >= 0 || gdb_stub_attach(server->stub, server->standing) != 0) {
        close(fd);
        return;
    }
    server->standing = false;
    server->client = fd;
}

static void read_client(struct gdb_server *server)
{
    uint8_t bytes[4096];
    ssize_t got = recv(server->client, bytes, sizeof(bytes), 0);

    if (got < 0 && errno == EINTR)
        return;
    if (got > 0)
        gdb_stub_input(server->stub, bytes, (size_t)got);
    if (got <= 0 || !gdb_stub_is_attached(server->stub))
        drop_client(server);
}

/* ---- the thread ---- */

static void *serve(void *opaque)
{
    struct gdb_server *server = opaque;

    sandbox_enter(SANDBOX_SERVICE);
    for (;;) {
        struct pollfd fds[] = {{.fd = server->event, .events = POLLIN},
                               {.fd = server->listener.fd, .events = POLLIN},
                               {.fd = server->client, .events = POLLIN}};
        uint64_t count;
        if (poll(fds, TUFF_ARRAY_LEN(fds), -1) < 0)
            continue;
        if (fds[0].revents && read(server->event, &count, sizeof(count)) < 0 && errno != EAGAIN)
            break;
        if (atomic_load(&server->ending))
            break;
        gdb_stub_poll(server->stub);
        if (fds[1].revents)
            take_client(server);
        if (fds[2].revents && server->client >= 0)
            read_client(server);
    }
    gdb_stub_ended(server->stub, server->exit_code);
    if (server->client >= 0)
        close(server->client);
    server->client = -1;
    return NULL;
}

int gdb_server_start(struct gdb_server *server, const struct gdb_target *target, bool standing)
{
    sigset_t all, before;

    int rc = gdb_stub_create(target, send_all, server, &server->stub);
    if (rc)
        return rc;
    server->standing = standing;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = -pthread_create(&server->thread, NULL, serve, server);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return rc;
    server->started = true;
    (void)pthread_setname_np(server->thread, "tuff-gdb");
    return 0;
}

void gdb_server_stop(struct gdb_server *server, uint8_t exit_code)
{
    if (!server->started)
        return;
    server->exit_code = exit_code;
    atomic_store(&server->ending, true);
    gdb_server_notify(server);
    pthread_join(server->thread, NULL);
    server->started = false;
}

void gdb_server_notify(struct gdb_server *server)
{
    const uint64_t one = 1;

    /* It fails only when the counter is full, and then the thread has much to wake up for. */
    (void)!write(server->event, &one, sizeof(one));
}
