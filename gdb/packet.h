/* Framing of gdb's remote protocol ("Remote Serial Protocol", appendix E of gdb's manual): bytes to packets and back.
 *
 *     $DATA#CK      CK: the sum of DATA's bytes mod 256 in hexadecimal; in DATA, '}' and the next byte ^ 0x20 stand for
 *                   a byte that would be mistaken
 *     + -           the last packet has come, or is to be sent again
 *     0x03          break-in
 *
 * Nothing here is trusted: a packet that is too long, badly escaped or has a wrong sum is refused, and the next '$' is
 * where reading goes on.
 */
#ifndef TUFF_GDB_PACKET_H
#define TUFF_GDB_PACKET_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GDB_PACKET_MAX = 16384 }; /* bytes of DATA, as it is sent */

enum gdb_event {
    GDB_EVENT_NONE,
    GDB_EVENT_PACKET, /* reader.data has reader.len bytes, and a zero behind them */
    GDB_EVENT_REFUSED,
    GDB_EVENT_RESEND,
    GDB_EVENT_BREAK,
};

/* Zero-initialise. */
struct gdb_reader {
    enum { GDB_READ_IDLE, GDB_READ_DATA, GDB_READ_ESCAPED, GDB_READ_SUM_HIGH, GDB_READ_SUM_LOW } state;
    bool bad;
    uint8_t sum, given;
    size_t len;
    char data[GDB_PACKET_MAX + 1];
};

/* Takes one byte. */
enum gdb_event gdb_reader_take(struct gdb_reader *reader, uint8_t byte);

/* A packet that is being made. What does not fit is left out and `full` set. */
struct gdb_writer {
    size_t len;
    bool full;
    char data[GDB_PACKET_MAX + 8];
};

void gdb_writer_begin(struct gdb_writer *writer);
/* Of the protocol's own characters, which are not escaped. */
TUFF_PRINTF(2, 3) void gdb_writer_print(struct gdb_writer *writer, const char *format, ...);
void gdb_writer_hex(struct gdb_writer *writer, const void *bytes, size_t len);
/* As they are, escaped where that must be. Returns how many were taken. */
size_t gdb_writer_binary(struct gdb_writer *writer, const void *bytes, size_t len);
/* Finishes it: data and len are what goes over the wire. */
void gdb_writer_end(struct gdb_writer *writer);

/* Two hexadecimal digits a byte. Returns the number of bytes, or -1: odd, not hexadecimal, more than `max`. */
long gdb_parse_hex(const char *text, size_t len, uint8_t *bytes, size_t max);
/* A hexadecimal number of up to 16 digits; *at moves behind it. False: there is none, or it is too long. */
bool gdb_parse_number(const char **at, uint64_t *value);
/* This character; *at moves behind it. False: another one is there. */
bool gdb_parse_char(const char **at, char c);

#endif
