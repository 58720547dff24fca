/* User-mode networking; see user.h.
 *
 * libslirp is a TCP/IP stack that expects to sleep in poll(): it names the descriptors it waits for (fill) and is told
 * which of them are ready (poll). Here they live in an epoll set of their own, whose descriptor the loop watches:
 * between two calls only differences are told to the kernel, and the loop's list stays short however many connections
 * the guest has. libslirp's index of a descriptor is the descriptor.
 *
 * What must stay true:
 * - Everything runs on the loop's thread: libslirp knows no locks.
 * - A descriptor that libslirp closes leaves the kernel's set by itself, so it leaves `interest` too (unregister), or
 *   the next one of the same number would be taken for it.
 * - Packets for the guest keep their order: once one waits in the queue, all go through it.
 * - While QUEUE_HIGH_BYTES wait, no socket is read: the hosts' senders wait then, as the guest does not take what
 *   there is. Answers to what the guest itself sends still come, up to QUEUE_MAX_BYTES; then they are lost, as on any
 *   wire, and TCP sends them again.
 * - libslirp gets a copy of the guest's packet: it must not change under its checks.
 */
#include "dev/net/user.h"

#include "base/library.h"
#include "base/log.h"
#include "base/loop.h"
#include "dev/iov.h"
#include "dev/net/checksum.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    EVENTS_A_TURN = 64,
    QUEUE_HIGH_BYTES = 256 << 10,
    QUEUE_MAX_BYTES = 4 << 20,
    FD_TABLE_STEP = 64,
    NS_PER_MS = 1000 * 1000,
};

#define SLIRP_FUNCTIONS(X) \
    X(slirp_new)           \
    X(slirp_cleanup)       \
    X(slirp_input)         \
    X(slirp_add_hostfwd)   \
    X(slirp_pollfds_fill)  \
    X(slirp_pollfds_poll)

LIBRARY(library, SLIRP_FUNCTIONS, .file = "libslirp.so.0", .package = "libslirp0", .use = "user-mode networking");

struct queued_packet {
    struct queued_packet *next;
    size_t len;
    uint8_t bytes[];
};

/* By descriptor. */
struct interest {
    uint32_t events;  /* epoll's, as the kernel's set has them; 0: not in it */
    uint32_t wanted;  /* as of the last fill */
    uint32_t revents; /* of this turn */
};

struct net_user {
    struct net_backend base;
    struct loop *loop;
    struct {
        SLIRP_FUNCTIONS(LIBRARY_POINTER)
    } lib;
    Slirp *slirp;
    int epoll_fd;
    bool watched;
    struct loop_timer *timer; /* libslirp's own deadlines */
    struct interest *table;
    int table_len, table_used; /* above table_used nothing is of interest */
    struct queued_packet *queue, **queue_tail;
    size_t queue_bytes;
    bool in_front; /* a call from the front end is under way: it need not be told that packets were delivered */
    bool delivered;
    uint8_t frame[NET_FRAME_MAX_BYTES];
};

/* ---- what libslirp calls ---- */

/* All checksums of what libslirp sends are right: it computed them. */
static const struct net_header verified = {.flags = NET_HEADER_DATA_VALID};

static bool deliver(struct net_user *user, const void *frame, size_t len)
{
    if (!user->base.front->deliver(user->base.front_opaque, &verified, frame, len))
        return false;
    user->delivered = true;
    return true;
}

static void enqueue(struct net_user *user, const void *frame, size_t len)
{
    struct queued_packet *packet = NULL;

    if (user->queue_bytes + len <= QUEUE_MAX_BYTES)
        packet = malloc(sizeof(*packet) + len);
    if (!packet) {
        user->base.stats.dropped++;
        return;
    }
    packet->next = NULL;
    packet->len = len;
    memcpy(packet->bytes, frame, len);
    *user->queue_tail = packet;
    user->queue_tail = &packet->next;
    user->queue_bytes += len;
    user->base.stats.queued++;
}

static ssize_t slirp_sends(const void *frame, size_t len, void *opaque)
{
    struct net_user *user = opaque;

    if (!user->base.front || len < NET_FRAME_MIN_BYTES || len > NET_FRAME_MAX_BYTES)
        user->base.stats.dropped++;
    else if (user->queue || !deliver(user, frame, len))
        enqueue(user, frame, len);
    return (ssize_t)len;
}

static void slirp_guest_error(const char *text, void *opaque)
{
    log_guest_error("net user: %s", text);
}

static int64_t slirp_clock_ns(void *opaque)
{
    return (int64_t)loop_now_ns();
}

static void schedule_poll(struct net_user *user);

/* A timer of libslirp (router advertisements). What it sends may leave something to wait for. */
struct user_timer {
    struct net_user *user;
    struct loop_timer *timer;
    SlirpTimerCb fn;
    void *fn_opaque;
};

static void front_told(struct net_user *user)
{
    if (user->delivered && user->base.front)
        user->base.front->delivered(user->base.front_opaque);
    user->delivered = false;
}

static void user_timer_fired(void *opaque)
{
    struct user_timer *timer = opaque;

    timer->fn(timer->fn_opaque);
    front_told(timer->user);
    schedule_poll(timer->user);
}

static void *slirp_timer_new(SlirpTimerCb fn, void *fn_opaque, void *opaque)
{
    struct user_timer *timer = calloc(1, sizeof(*timer));

    if (!timer)
        return NULL;
    *timer = (struct user_timer){.user = opaque, .fn = fn, .fn_opaque = fn_opaque};
    if (loop_timer_create(timer->user->loop, user_timer_fired, timer, &timer->timer)) {
        free(timer);
        return NULL;
    }
    return timer;
}

static void slirp_timer_free(void *opaque_timer, void *opaque)
{
    struct user_timer *timer = opaque_timer;

    if (timer)
        loop_timer_destroy(timer->timer);
    free(timer);
}

static void slirp_timer_mod(void *opaque_timer, int64_t expire_ms, void *opaque)
{
    struct user_timer *timer = opaque_timer;

    if (timer)
        loop_timer_arm(timer->timer, expire_ms > 0 ? (uint64_t)expire_ms * NS_PER_MS : 0);
}

static void forget_fd(int fd, void *opaque)
{
    struct net_user *user = opaque;

    if (fd < 0 || fd >= user->table_len)
        return;
    if (user->table[fd].events)
        epoll_ctl(user->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    user->table[fd] = (struct interest){0};
}

static void slirp_notify(void *opaque)
{
}

static const SlirpCb callbacks = {
    .send_packet = slirp_sends,
    .guest_error = slirp_guest_error,
    .clock_get_ns = slirp_clock_ns,
    .timer_new = slirp_timer_new,
    .timer_free = slirp_timer_free,
    .timer_mod = slirp_timer_mod,
    .register_poll_fd = forget_fd, /* a new descriptor: what its number stood for before is gone */
    .unregister_poll_fd = forget_fd,
    .notify = slirp_notify,
};

/* ---- descriptors and deadlines ---- */

static const struct {
    int slirp;
    uint32_t epoll;
} event_names[] = {{SLIRP_POLL_IN, EPOLLIN},
                   {SLIRP_POLL_OUT, EPOLLOUT},
                   {SLIRP_POLL_PRI, EPOLLPRI},
                   {SLIRP_POLL_ERR, EPOLLERR},
                   {SLIRP_POLL_HUP, EPOLLHUP}};

static int table_grow(struct net_user *user, int fd)
{
    int len = fd + FD_TABLE_STEP;
    struct interest *table = reallocarray(user->table, (size_t)len, sizeof(*table));

    if (!table)
        return -ENOMEM;
    memset(table + user->table_len, 0, (size_t)(len - user->table_len) * sizeof(*table));
    user->table = table;
    user->table_len = len;
    return 0;
}

static int slirp_wants(int fd, int events, void *opaque)
{
    struct net_user *user = opaque;

    if (fd < 0 || (fd >= user->table_len && table_grow(user, fd)))
        return -1;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(event_names); i++) {
        if (events & event_names[i].slirp)
            user->table[fd].wanted |= event_names[i].epoll;
    }
    if (user->queue_bytes >= QUEUE_HIGH_BYTES)
        user->table[fd].wanted &= ~(uint32_t)(EPOLLIN | EPOLLPRI);
    if (fd >= user->table_used)
        user->table_used = fd + 1;
    return fd;
}

static int slirp_got(int fd, void *opaque)
{
    const struct net_user *user = opaque;
    int events = 0;

    if (fd < 0 || fd >= user->table_len)
        return 0;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(event_names); i++) {
        if (user->table[fd].revents & event_names[i].epoll)
            events |= event_names[i].slirp;
    }
    return events;
}

static void interest_update(struct net_user *user, int fd)
{
    struct interest *at = &user->table[fd];
    /* Errors and hang-ups are reported in any case: without anything else to wait for they would be for ever. */
    uint32_t wanted = at->wanted & (EPOLLIN | EPOLLOUT | EPOLLPRI) ? at->wanted : 0;
    struct epoll_event event = {.events = wanted, .data.fd = fd};

    at->wanted = 0;
    if (wanted == at->events)
        return;
    if (!wanted)
        epoll_ctl(user->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(user->epoll_fd, at->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event))
        wanted = 0; /* tried again after the next turn */
    at->events = wanted;
}

/* Asks libslirp what it waits for now. After anything that changed its state. */
static void update(struct net_user *user)
{
    uint32_t timeout_ms = UINT32_MAX;
    int highest = 0;

    user->lib.slirp_pollfds_fill(user->slirp, &timeout_ms, slirp_wants, user);
    for (int fd = 0; fd < user->table_used; fd++) {
        if (user->table[fd].wanted != user->table[fd].events)
            interest_update(user, fd);
        user->table[fd].wanted = 0;
        if (user->table[fd].events)
            highest = fd + 1;
    }
    user->table_used = highest;
    loop_timer_arm(user->timer,
                   timeout_ms == UINT32_MAX ? UINT64_MAX : loop_now_ns() + (uint64_t)timeout_ms * NS_PER_MS);
}

static void poll_turn(struct net_user *user)
{
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(user->epoll_fd, events, EVENTS_A_TURN, 0);

    for (int i = 0; i < count; i++) {
        if (events[i].data.fd < user->table_len)
            user->table[events[i].data.fd].revents = events[i].events;
    }
    user->lib.slirp_pollfds_poll(user->slirp, 0, slirp_got, user);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd < user->table_len)
            user->table[events[i].data.fd].revents = 0;
    }
    front_told(user);
    update(user);
}

static void fds_ready(void *opaque, int fd, uint32_t events)
{
    poll_turn(opaque);
}

static void timer_fired(void *opaque)
{
    poll_turn(opaque);
}

static void schedule_poll(struct net_user *user)
{
    loop_timer_arm(user->timer, 0);
}

/* ---- what the front end calls ---- */

static int user_send(struct net_backend *backend, unsigned pair, const struct net_header *header,
                     const struct iovec *iov, unsigned count, size_t len)
{
    struct net_user *user = (struct net_user *)backend;
    size_t at = iov_to_buf(iov, count, 0, user->frame, len);

    if (header->flags & NET_HEADER_NEEDS_CSUM) {
        struct iovec copy = {.iov_base = user->frame, .iov_len = at};
        uint16_t sum = net_checksum_finish(header, &copy, 1);
        memcpy(user->frame + header->csum_start + header->csum_offset, &sum, sizeof(sum));
    }
    user->lib.slirp_input(user->slirp, user->frame, (int)at);
    return 0;
}

static void user_flush(struct net_backend *backend)
{
    struct net_user *user = (struct net_user *)backend;

    user->delivered = false; /* the front end looks for itself */
    update(user);
}

static void user_room(struct net_backend *backend)
{
    struct net_user *user = (struct net_user *)backend;
    bool was_high = user->queue_bytes >= QUEUE_HIGH_BYTES;
    struct queued_packet *packet;

    while ((packet = user->queue) && deliver(user, packet->bytes, packet->len)) {
        user->queue = packet->next;
        user->queue_bytes -= packet->len;
        free(packet);
    }
    if (!user->queue)
        user->queue_tail = &user->queue;
    user->delivered = false;
    if (was_high && user->queue_bytes < QUEUE_HIGH_BYTES)
        update(user);
}

static void user_destroy(struct net_backend *backend)
{
    struct net_user *user = (struct net_user *)backend;
    struct queued_packet *packet;

    if (user->watched)
        loop_fd_remove(user->loop, user->epoll_fd);
    user->base.front = NULL;
    if (user->slirp)
        user->lib.slirp_cleanup(user->slirp);
    loop_timer_destroy(user->timer);
    if (user->epoll_fd >= 0)
        close(user->epoll_fd);
    while ((packet = user->queue)) {
        user->queue = packet->next;
        free(packet);
    }
    free(user->table);
    free(user);
}

static const struct net_backend_ops user_ops = {
    .name = "user",
    .send = user_send,
    .flush = user_flush,
    .room = user_room,
    .destroy = user_destroy,
};

/* ---- creation ---- */

static struct in_addr ipv4(uint8_t last)
{
    return (struct in_addr){.s_addr = htonl(UINT32_C(0x0a000200) | last)};
}

static Slirp *start_slirp(struct net_user *user, const struct net_user_config *config)
{
    SlirpConfig settings = {
        .version = 1,
        .restricted = config->restricted,
        .in_enabled = true,
        .vnetwork = ipv4(0),
        .vnetmask = {.s_addr = htonl(0xffffff00)},
        .vhost = ipv4(2),
        .vnameserver = ipv4(3),
        .vdhcp_start = ipv4(15),
        .in6_enabled = true,
        .vprefix_len = 64,
        .if_mtu = user->base.mtu,
        .if_mru = user->base.mtu,
    };

    inet_pton(AF_INET6, "fec0::", &settings.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &settings.vhost6);
    inet_pton(AF_INET6, "fec0::3", &settings.vnameserver6);
    return user->lib.slirp_new(&settings, &callbacks, user);
}

static int add_forward(struct net_user *user, const struct net_forward *forward, struct error *err)
{
    char text[INET_ADDRSTRLEN];

    errno = 0;
    if (user->lib.slirp_add_hostfwd(user->slirp, forward->udp, forward->host_addr, forward->host_port,
                                    forward->guest_addr, forward->guest_port) == 0)
        return 0;
    int rc = errno ? -errno : -EINVAL;
    inet_ntop(AF_INET, &forward->host_addr, text, sizeof(text));
    return error_set(err, rc, "%s port %u of %s cannot be forwarded: %s", forward->udp ? "udp" : "tcp",
                     forward->host_port, text, strerror(-rc));
}

int net_user_create(const struct net_user_config *config, struct net_backend **out, struct error *err)
{
    struct net_user *user = calloc(1, sizeof(*user));

    if (!user)
        return error_set(err, -ENOMEM, "no memory for a network");
    int rc = library_load(&library, &user->lib, err);
    if (rc) {
        free(user);
        return rc;
    }
    user->base.ops = &user_ops;
    /* Segments of any size are what it is sent: a packet is read whole. It never sends larger ones than the MTU. */
    user->base.can = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_ECN | NET_TAKES_UFO | NET_GIVES_CSUM;
    user->base.mtu = config->mtu ? config->mtu : NET_MTU_MAX;
    user->base.pairs = NET_PAIRS_MAX;
    user->base.any_pair = true;
    user->loop = config->loop;
    user->queue_tail = &user->queue;
    user->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (user->epoll_fd < 0)
        rc = -errno;
    if (!rc)
        rc = loop_timer_create(user->loop, timer_fired, user, &user->timer);
    if (!rc && !(user->slirp = start_slirp(user, config)))
        rc = -EINVAL;
    if (rc) {
        user_destroy(&user->base);
        return error_set(err, rc, "user-mode networking cannot be started (MTU %u): %s", config->mtu, strerror(-rc));
    }
    for (unsigned i = 0; i < config->forward_count && !rc; i++)
        rc = add_forward(user, &config->forwards[i], err);
    if (!rc) {
        rc = loop_fd_add(user->loop, user->epoll_fd, EPOLLIN, fds_ready, user);
        user->watched = rc == 0;
        if (rc)
            error_set(err, rc, "user-mode networking cannot be started: %s", strerror(-rc));
    }
    if (rc) {
        user_destroy(&user->base);
        return rc;
    }
    schedule_poll(user); /* on the loop's thread: the first look at what libslirp waits for */
    *out = &user->base;
    return 0;
}

/* ---- forwarded ports ---- */

enum { FORWARD_PARTS = 5 };

static bool parse_port(const char *text, uint16_t *out)
{
    char *end;
    unsigned long port;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    port = strtoul(text, &end, 10);
    if (errno || *end || port == 0 || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

int net_forward_parse(const char *text, struct net_forward *out, struct error *err)
{
    char copy[128], *parts[FORWARD_PARTS], *rest = copy, *part;
    struct net_forward forward = {.host_addr.s_addr = htonl(INADDR_LOOPBACK), .guest_addr = ipv4(15)};
    unsigned count = 0;
    bool good = strlen(text) < sizeof(copy);

    if (good)
        strcpy(copy, text);
    while (good && (part = strsep(&rest, ":"))) {
        good = count < FORWARD_PARTS;
        if (good)
            parts[count++] = part;
    }
    good = good && count >= 3;
    if (good) {
        forward.udp = strcmp(parts[0], "udp") == 0;
        good = (forward.udp || strcmp(parts[0], "tcp") == 0) &&
               (count < 4 || inet_pton(AF_INET, parts[1], &forward.host_addr) == 1) &&
               parse_port(parts[count < 4 ? 1 : 2], &forward.host_port) &&
               (count < 5 || inet_pton(AF_INET, parts[3], &forward.guest_addr) == 1) &&
               parse_port(parts[count - 1], &forward.guest_port);
    }
    if (!good)
        return error_set(err, -EINVAL,
                         "'%s' is not a forwarded port: give PROTO:[HOSTADDR:]HOSTPORT:[GUESTADDR:]GUESTPORT, like "
                         "tcp:2222:22",
                         text);
    *out = forward;
    return 0;
}
