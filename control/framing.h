/* Messages out of a stream of bytes: where a JSON object begins and ends, without looking at what it says (the JSON
 * library does that). Objects need not stand on lines of their own. The bytes are a stranger's: what is kept of them is
 * bounded.
 */
#ifndef TUFF_CONTROL_FRAMING_H
#define TUFF_CONTROL_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

enum { FRAMING_MESSAGE_BYTES = 256 << 10, FRAMING_DEPTH = 64 };

/* Zero-initialised before the first use. One thread. */
struct framing {
    char *bytes; /* of the message at hand */
    size_t len, capacity;
    unsigned depth; /* of brackets; 0: between messages */
    bool in_string, escaped;
    bool skipping; /* to the end of a line that began with no object */
};

enum framing_result {
    FRAMING_MORE,     /* all bytes were taken, no message is complete */
    FRAMING_MESSAGE,  /* framing_message() has one */
    FRAMING_JUNK,     /* something else than an object; told once a line */
    FRAMING_TOO_LONG, /* FRAMING_MESSAGE_BYTES, or FRAMING_DEPTH brackets within each other: the stream is lost */
    FRAMING_NO_MEMORY,
};

/* Takes bytes up to the end of a message, at most `len`; *used says how many. */
enum framing_result framing_take(struct framing *framing, const char *bytes, size_t len, size_t *used);

/* After FRAMING_MESSAGE: its text, not terminated, valid until the next framing_take(). */
const char *framing_message(const struct framing *framing, size_t *len);

void framing_free(struct framing *framing);

#endif
