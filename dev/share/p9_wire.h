/* 9P2000.L messages: their numbers and how they are read and written. The protocol is that of Plan 9 (intro(5), 9P2000)
 * with the extension that Linux' client speaks; numbers are little-endian, strings have a 16-bit length in front. */
#ifndef TUFF_DEV_SHARE_P9_WIRE_H
#define TUFF_DEV_SHARE_P9_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Requests; the reply's number is one larger. */
enum p9_type {
    P9_RLERROR = 7,
    P9_TSTATFS = 8,
    P9_TLOPEN = 12,
    P9_TLCREATE = 14,
    P9_TSYMLINK = 16,
    P9_TMKNOD = 18,
    P9_TRENAME = 20,
    P9_TREADLINK = 22,
    P9_TGETATTR = 24,
    P9_TSETATTR = 26,
    P9_TXATTRWALK = 30,
    P9_TXATTRCREATE = 32,
    P9_TREADDIR = 40,
    P9_TFSYNC = 50,
    P9_TLOCK = 52,
    P9_TGETLOCK = 54,
    P9_TLINK = 70,
    P9_TMKDIR = 72,
    P9_TRENAMEAT = 74,
    P9_TUNLINKAT = 76,
    P9_TVERSION = 100,
    P9_TAUTH = 102,
    P9_TATTACH = 104,
    P9_TFLUSH = 108,
    P9_TWALK = 110,
    P9_TREAD = 116,
    P9_TWRITE = 118,
    P9_TCLUNK = 120,
    P9_TREMOVE = 122,
};

enum {
    P9_HEADER_BYTES = 7, /* size, type, tag */
    P9_READ_HEADER_BYTES = P9_HEADER_BYTES + 4,
    P9_WRITE_HEADER_BYTES = P9_HEADER_BYTES + 4 + 8 + 4,
    P9_QID_BYTES = 13,
    P9_WALK_MAX = 16,
    P9_MSIZE_MIN = 4096,
    P9_MSIZE_MAX = 512 << 10,
};
#define P9_NO_FID UINT32_C(0xffffffff)

/* A message that is read. What is not there reads as zero, and `bad` is set. */
struct p9_in {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static inline const uint8_t *p9_take(struct p9_in *in, size_t len)
{
    const uint8_t *at = in->at;

    if (in->left < len) {
        in->bad = true;
        in->left = 0;
        return NULL;
    }
    in->at += len;
    in->left -= len;
    return at;
}

#define P9_NUMBER(bits)                                       \
    static inline uint##bits##_t p9_u##bits(struct p9_in *in) \
    {                                                         \
        uint##bits##_t value = 0;                             \
        const uint8_t *at = p9_take(in, sizeof(value));       \
        if (at)                                               \
            memcpy(&value, at, sizeof(value));                \
        return value;                                         \
    }
P9_NUMBER(8)
P9_NUMBER(16)
P9_NUMBER(32)
P9_NUMBER(64)
#undef P9_NUMBER

/* A string of less than `size` bytes without a zero in it, into `text`; anything else is bad. */
static inline void p9_string(struct p9_in *in, char *text, size_t size)
{
    uint16_t len = p9_u16(in);
    const uint8_t *at = p9_take(in, len);

    text[0] = '\0';
    if (!at || len >= size || memchr(at, 0, len)) {
        in->bad = true;
        return;
    }
    memcpy(text, at, len);
    text[len] = '\0';
}

/* A message that is written. What does not fit is left out, and `full` is set. */
struct p9_out {
    uint8_t *start;
    size_t len, size;
    bool full;
};

static inline void p9_put(struct p9_out *out, const void *bytes, size_t len)
{
    if (out->size - out->len < len) {
        out->full = true;
        return;
    }
    memcpy(out->start + out->len, bytes, len);
    out->len += len;
}

#define P9_PUT_NUMBER(bits)                                                     \
    static inline void p9_put_u##bits(struct p9_out *out, uint##bits##_t value) \
    {                                                                           \
        p9_put(out, &value, sizeof(value));                                     \
    }
P9_PUT_NUMBER(8)
P9_PUT_NUMBER(16)
P9_PUT_NUMBER(32)
P9_PUT_NUMBER(64)
#undef P9_PUT_NUMBER

static inline void p9_put_string(struct p9_out *out, const char *text, size_t len)
{
    p9_put_u16(out, (uint16_t)len);
    p9_put(out, text, len);
}

#endif
