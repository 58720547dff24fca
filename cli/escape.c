/* The keys after Ctrl-A; see escape.h. The help text and the switch below name the same keys. */
#include "cli/escape.h"

const char escape_help_text[] = "\ntuff: keys after Ctrl-A:\n"
                                "  x       leave the virtual machine (as pulling the plug)\n"
                                "  s       print statistics\n"
                                "  h       print this help\n"
                                "  Ctrl-A  send Ctrl-A to the guest\n";

enum escape_action escape_feed(struct escape *escape, uint8_t byte, uint8_t out[ESCAPE_MAX_BYTES], size_t *out_len)
{
    *out_len = 0;
    if (!escape->pending) {
        escape->pending = byte == ESCAPE_KEY;
        if (!escape->pending)
            out[(*out_len)++] = byte;
        return ESCAPE_NONE;
    }
    escape->pending = false;
    switch (byte) {
    case 'x':
        return ESCAPE_LEAVE;
    case 's':
        return ESCAPE_STATS;
    case 'h':
        return ESCAPE_HELP;
    case ESCAPE_KEY:
        out[(*out_len)++] = ESCAPE_KEY;
        return ESCAPE_NONE;
    default:
        out[(*out_len)++] = ESCAPE_KEY;
        out[(*out_len)++] = byte;
        return ESCAPE_NONE;
    }
}
