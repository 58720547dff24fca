/* Bounded gzip decompression (RFC 1952) with zlib.
 *
 * A few bytes of gzip can stand for terabytes: the output never grows beyond the limit the caller gives, which is the
 * guest's RAM. Several members one after another are one stream; zero padding after the last is ignored, anything else
 * there means that the file is not what it seems. */
#include "machine/loader_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { GZIP_WINDOW = 16 + MAX_WBITS, /* 16: a gzip header, not zlib's */ GZIP_CHUNK_BYTES = 1 << 30 };

struct inflation {
    const char *name;
    z_stream z;
    const uint8_t *next; /* input behind what z has been given */
    size_t left;
    uint8_t *out;
    size_t capacity, len;
    uint64_t limit;
};

bool loader_is_gzip(const uint8_t *data, size_t len)
{
    return len >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

/* One byte above the limit may be produced: that is how an excess is seen. */
static int grow(struct inflation *in, struct error *err)
{
    if (in->len > in->limit)
        return error_set(err, -EFBIG,
                         "kernel '%s' inflates to more than the guest's %" PRIu64
                         " bytes of memory; give a larger --memory or check the file",
                         in->name, in->limit);
    uint64_t capacity = in->capacity ? (uint64_t)in->capacity * 2 : 1 << 20;
    if (capacity > in->limit + 1)
        capacity = in->limit + 1;
    uint8_t *out = realloc(in->out, capacity);
    if (!out)
        return error_set(err, -ENOMEM, "no host memory to inflate kernel '%s' (%" PRIu64 " bytes)", in->name, capacity);
    in->out = out;
    in->capacity = capacity;
    return 0;
}

/* zlib counts in 32 bits: input and output are handed over in chunks. */
static void feed(struct inflation *in)
{
    size_t room = in->capacity - in->len;

    if (in->z.avail_in == 0) {
        size_t chunk = in->left < GZIP_CHUNK_BYTES ? in->left : GZIP_CHUNK_BYTES;
        in->z.next_in = (Bytef *)(uintptr_t)in->next;
        in->z.avail_in = (uInt)chunk;
        in->next += chunk;
        in->left -= chunk;
    }
    in->z.next_out = in->out + in->len;
    in->z.avail_out = (uInt)(room < GZIP_CHUNK_BYTES ? room : GZIP_CHUNK_BYTES);
}

static bool all_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i])
            return false;
    return true;
}

/* Behind a member: another one, padding, or garbage. Returns 1 to go on, 0 at the end, negative on error. */
static int after_member(struct inflation *in, struct error *err)
{
    const uint8_t *rest = in->z.avail_in ? in->z.next_in : in->next;
    size_t len = in->z.avail_in + in->left;

    if (all_zero(rest, len))
        return 0;
    if (loader_is_gzip(rest, len) && inflateReset(&in->z) == Z_OK)
        return 1;
    return error_set(err, -ENOEXEC, "kernel '%s' has %zu bytes behind its gzip data; compress it again", in->name, len);
}

static int inflate_step(struct inflation *in, struct error *err)
{
    if (in->len == in->capacity) {
        int rc = grow(in, err);
        if (rc)
            return rc;
    }
    feed(in);
    uInt room = in->z.avail_out, input = in->z.avail_in;
    int z = inflate(&in->z, Z_NO_FLUSH);
    in->len += room - in->z.avail_out;
    switch (z) {
    case Z_STREAM_END:
        return after_member(in, err);
    case Z_OK:
        return 1;
    case Z_BUF_ERROR:
        if (input == 0)
            return error_set(err, -ENOEXEC, "kernel '%s' is truncated: its gzip data ends early; download it again",
                             in->name);
        return 1;
    case Z_MEM_ERROR:
        return error_set(err, -ENOMEM, "no host memory to inflate kernel '%s'", in->name);
    default:
        return error_set(err, -ENOEXEC, "kernel '%s' has damaged gzip data (%s); download it again", in->name,
                         in->z.msg ? in->z.msg : "unknown format");
    }
}

int loader_gunzip(const char *name, const uint8_t *data, size_t len, uint64_t limit_bytes, struct loader_bytes *out,
                  struct error *err)
{
    struct inflation in = {.name = name, .next = data, .left = len, .limit = limit_bytes};
    int rc;

    if (inflateInit2(&in.z, GZIP_WINDOW) != Z_OK)
        return error_set(err, -ENOMEM, "no host memory to inflate kernel '%s'", name);
    do
        rc = inflate_step(&in, err);
    while (rc > 0);
    inflateEnd(&in.z);
    if (rc == 0 && in.len > limit_bytes) /* the last member ended on the one byte too many */
        rc = grow(&in, err);
    if (rc) {
        free(in.out);
        return rc;
    }
    *out = (struct loader_bytes){.data = in.out, .len = in.len, .heap = in.out};
    return 0;
}
