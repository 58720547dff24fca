/* Arrays of iovecs; see iov.h. */
#include "dev/block/iov.h"

#include <string.h>

uint64_t iov_bytes(const struct iovec *iov, unsigned count)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

/* A walk over the pieces of a range. */
struct piece {
    const struct iovec *iov;
    unsigned left;
    uint64_t skip, bytes;
    char *base; /* the present piece */
    size_t len;
};

static int piece_next(struct piece *p)
{
    while (p->bytes && p->left) {
        const struct iovec *iov = p->iov++;

        p->left--;
        if (p->skip >= iov->iov_len) {
            p->skip -= iov->iov_len;
            continue;
        }
        p->base = (char *)iov->iov_base + p->skip;
        p->len = iov->iov_len - p->skip;
        if (p->len > p->bytes)
            p->len = p->bytes;
        p->skip = 0;
        p->bytes -= p->len;
        return 1;
    }
    return 0;
}

unsigned iov_part(const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes, struct iovec *out)
{
    struct piece p = {.iov = iov, .left = count, .skip = skip, .bytes = bytes};
    unsigned used = 0;

    while (piece_next(&p))
        out[used++] = (struct iovec){.iov_base = p.base, .iov_len = p.len};
    return used;
}

void iov_copy_out(const struct iovec *iov, unsigned count, uint64_t skip, void *buf, size_t bytes)
{
    struct piece p = {.iov = iov, .left = count, .skip = skip, .bytes = bytes};

    for (char *to = buf; piece_next(&p); to += p.len)
        memcpy(to, p.base, p.len);
}

void iov_copy_in(const struct iovec *iov, unsigned count, uint64_t skip, const void *buf, size_t bytes)
{
    struct piece p = {.iov = iov, .left = count, .skip = skip, .bytes = bytes};

    for (const char *from = buf; piece_next(&p); from += p.len)
        memcpy(p.base, from, p.len);
}

void iov_zero(const struct iovec *iov, unsigned count, uint64_t skip, uint64_t bytes)
{
    struct piece p = {.iov = iov, .left = count, .skip = skip, .bytes = bytes};

    while (piece_next(&p))
        memset(p.base, 0, p.len);
}
