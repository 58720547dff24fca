/* Bytes to packets and back; see packet.h. */
#include "gdb/packet.h"

#include "base/hex.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void begin(struct gdb_reader *r)
{
    r->state = GDB_READ_DATA;
    r->bad = false;
    r->sum = 0;
    r->len = 0;
}

static void take_data(struct gdb_reader *r, uint8_t byte)
{
    if (r->len == GDB_PACKET_MAX)
        r->bad = true;
    else
        r->data[r->len++] = (char)byte;
}

static enum gdb_event take_idle(struct gdb_reader *r, uint8_t byte)
{
    switch (byte) {
    case '$':
        begin(r);
        return GDB_EVENT_NONE;
    case '-':
        return GDB_EVENT_RESEND;
    case 3:
        return GDB_EVENT_BREAK;
    default:
        return GDB_EVENT_NONE;
    }
}

static enum gdb_event finish(struct gdb_reader *r)
{
    r->state = GDB_READ_IDLE;
    r->data[r->len] = 0;
    return r->bad || r->given != r->sum ? GDB_EVENT_REFUSED : GDB_EVENT_PACKET;
}

enum gdb_event gdb_reader_take(struct gdb_reader *r, uint8_t byte)
{
    int digit = hex_digit((char)byte);

    switch (r->state) {
    case GDB_READ_IDLE:
        return take_idle(r, byte);
    case GDB_READ_DATA:
        if (byte == '$') {
            begin(r); /* the last one was cut off */
        } else if (byte == '#') {
            r->state = GDB_READ_SUM_HIGH;
        } else {
            r->sum = (uint8_t)(r->sum + byte);
            if (byte == '}')
                r->state = GDB_READ_ESCAPED;
            else
                take_data(r, byte);
        }
        return GDB_EVENT_NONE;
    case GDB_READ_ESCAPED:
        r->sum = (uint8_t)(r->sum + byte);
        take_data(r, byte ^ 0x20);
        r->state = GDB_READ_DATA;
        return GDB_EVENT_NONE;
    case GDB_READ_SUM_HIGH:
        r->bad |= digit < 0;
        r->given = (uint8_t)((unsigned)digit << 4);
        r->state = GDB_READ_SUM_LOW;
        return GDB_EVENT_NONE;
    case GDB_READ_SUM_LOW:
        r->bad |= digit < 0;
        r->given |= (uint8_t)digit;
        return finish(r);
    }
    return GDB_EVENT_NONE;
}

/* ---- writing: data[0] is '$', and "#CK" finds room behind ---- */

static size_t room(const struct gdb_writer *w)
{
    return GDB_PACKET_MAX + 1 - w->len;
}

void gdb_writer_begin(struct gdb_writer *w)
{
    w->full = false;
    w->data[0] = '$';
    w->len = 1;
}

void gdb_writer_print(struct gdb_writer *w, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(text) || (size_t)len > room(w)) {
        w->full = true;
        return;
    }
    memcpy(w->data + w->len, text, (size_t)len);
    w->len += (size_t)len;
}

void gdb_writer_hex(struct gdb_writer *w, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = bytes;

    if (2 * len > room(w)) {
        w->full = true;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        w->data[w->len++] = digits[at[i] >> 4];
        w->data[w->len++] = digits[at[i] & 15];
    }
}

size_t gdb_writer_binary(struct gdb_writer *w, const void *bytes, size_t len)
{
    const char *at = bytes;
    size_t taken = 0;

    while (taken < len && room(w) >= 2) {
        char c = at[taken++];
        if (c == '$' || c == '#' || c == '}' || c == '*') {
            w->data[w->len++] = '}';
            c ^= 0x20;
        }
        w->data[w->len++] = c;
    }
    return taken;
}

void gdb_writer_end(struct gdb_writer *w)
{
    uint8_t sum = 0;

    for (size_t i = 1; i < w->len; i++)
        sum = (uint8_t)(sum + (uint8_t)w->data[i]);
    w->len += (size_t)snprintf(w->data + w->len, sizeof(w->data) - w->len, "#%02x", sum);
}

long gdb_parse_hex(const char *text, size_t len, uint8_t *bytes, size_t max)
{
    if (len % 2 || len / 2 > max)
        return -1;
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return (long)(len / 2);
}

bool gdb_parse_number(const char **at, uint64_t *value)
{
    unsigned digits = 0;

    *value = 0;
    for (; hex_digit(**at) >= 0; (*at)++) {
        if (++digits > 16)
            return false;
        *value = *value << 4 | (uint64_t)hex_digit(**at);
    }
    return digits != 0;
}

bool gdb_parse_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}
