/* The console's escape key: Ctrl-A and one more key, for what is meant for the virtual machine and not for the guest.
 * Pure: the tests drive it byte by byte. */
#ifndef TUFF_CLI_ESCAPE_H
#define TUFF_CLI_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum escape_action { ESCAPE_NONE, ESCAPE_LEAVE, ESCAPE_HELP, ESCAPE_STATS };

enum { ESCAPE_KEY = 0x01, ESCAPE_MAX_BYTES = 2 };

/* Zero-initialised: no escape key was seen. */
struct escape {
    bool pending;
};

/* Feeds one byte typed. Writes what the guest is to get (up to ESCAPE_MAX_BYTES) and how many. A key that means nothing
 * after Ctrl-A goes to the guest with it: in a shell there, Ctrl-A is the start of the line. */
enum escape_action escape_feed(struct escape *escape, uint8_t byte, uint8_t out[ESCAPE_MAX_BYTES], size_t *out_len);

/* What Ctrl-A h prints: lines with newlines. */
extern const char escape_help_text[];

#endif
