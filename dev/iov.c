/* Arrays of iovecs; see iov.h. */
#include "dev/iov.h"

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

static unsigned list_pieces(struct piece *p, struct iovec *out, unsigned out_max)
{
    unsigned used = 0;

    while (used < out_max && piece_next(p))
        out[used++] = (struct iovec){.iov_base = p->base, .iov_len = p->len};
    return used;
}

unsigned iov_part(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t bytes, struct iovec *out,
                  unsigned out_max)
{
    struct piece p = {.iov = iov, .left = count, .skip = offset, .bytes = bytes};

    return list_pieces(&p, out, out_max);
}

unsigned iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t bytes, struct iovec *out,
                   unsigned out_max)
{
    struct piece p = {.iov = iov, .left = count, .skip = offset, .bytes = bytes};
    unsigned used = list_pieces(&p, out, out_max);

    return p.bytes ? 0 : used;
}

size_t iov_to_buf(const struct iovec *iov, unsigned count, uint64_t offset, void *buf, size_t bytes)
{
    struct piece p = {.iov = iov, .left = count, .skip = offset, .bytes = bytes};
    size_t done = 0;

    for (; piece_next(&p); done += p.len)
        memcpy((char *)buf + done, p.base, p.len);
    return done;
}

size_t iov_from_buf(const struct iovec *iov, unsigned count, uint64_t offset, const void *buf, size_t bytes)
{
    struct piece p = {.iov = iov, .left = count, .skip = offset, .bytes = bytes};
    size_t done = 0;

    for (; piece_next(&p); done += p.len)
        memcpy(p.base, (const char *)buf + done, p.len);
    return done;
}

void iov_zero(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t bytes)
{
    struct piece p = {.iov = iov, .left = count, .skip = offset, .bytes = bytes};

    while (piece_next(&p))
        memset(p.base, 0, p.len);
}
