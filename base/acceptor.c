/* Accepting connections; see acceptor.h. The timer fires on the same thread as the socket's events. */
#include "base/acceptor.h"

#include "base/loop.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static const uint64_t retry_ns = 100000000;

struct acceptor {
    struct loop *loop;
    struct loop_timer *retry;
    acceptor_fn fn;
    void *opaque;
    int listen_fd;
};

static void somebody_connects(void *opaque, int listen_fd, uint32_t events)
{
    struct acceptor *acceptor = opaque;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) {
        acceptor->fn(acceptor->opaque, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        if (loop_fd_modify(acceptor->loop, listen_fd, 0) == 0)
            loop_timer_arm(acceptor->retry, loop_now_ns() + retry_ns);
    }
}

static void again(void *opaque)
{
    struct acceptor *acceptor = opaque;

    (void)!loop_fd_modify(acceptor->loop, acceptor->listen_fd, EPOLLIN);
}

void acceptor_destroy(struct acceptor *acceptor)
{
    if (!acceptor)
        return;
    /* The socket's callback arms the timer, so it ends first. */
    loop_fd_remove(acceptor->loop, acceptor->listen_fd);
    loop_timer_destroy(acceptor->retry);
    free(acceptor);
}

int acceptor_create(struct loop *loop, int listen_fd, acceptor_fn fn, void *opaque, struct acceptor **out)
{
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    int rc;

    if (!acceptor)
        return -ENOMEM;
    *acceptor = (struct acceptor){.loop = loop, .fn = fn, .opaque = opaque, .listen_fd = listen_fd};
    rc = loop_timer_create(loop, again, acceptor, &acceptor->retry);
    if (!rc)
        rc = loop_fd_add(loop, listen_fd, EPOLLIN, somebody_connects, acceptor);
    if (rc) {
        acceptor_destroy(acceptor);
        return rc;
    }
    *out = acceptor;
    return 0;
}
