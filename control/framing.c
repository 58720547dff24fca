/* See framing.h. Only brackets and strings are followed; a closing bracket of the wrong kind is the JSON library's
 * complaint. */
#include "control/framing.h"

#include <stdlib.h>
#include <string.h>

static bool keep(struct framing *f, char c)
{
    if (f->len == f->capacity) {
        size_t capacity = f->capacity ? 2 * f->capacity : 1024;
        char *bytes = realloc(f->bytes, capacity);
        if (!bytes)
            return false;
        f->bytes = bytes;
        f->capacity = capacity;
    }
    f->bytes[f->len++] = c;
    return true;
}

static void follow(struct framing *f, char c)
{
    if (f->escaped)
        f->escaped = false;
    else if (f->in_string && c == '\\')
        f->escaped = true;
    else if (c == '"')
        f->in_string = !f->in_string;
    else if (!f->in_string && (c == '{' || c == '['))
        f->depth++;
    else if (!f->in_string && (c == '}' || c == ']'))
        f->depth--;
}

/* Between messages. True when the byte is no part of one; *junk when that has to be told. */
static bool passes_over(struct framing *f, char c, bool *junk)
{
    *junk = false;
    if (f->skipping) {
        f->skipping = c != '\n';
        return true;
    }
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        return true;
    if (c == '{')
        return false;
    f->skipping = true;
    *junk = true;
    return true;
}

/* No string goes over the end of a line: who lost the second half of a message begins again there. */
static bool is_broken_off(const struct framing *f, char c)
{
    return f->in_string && c == '\n';
}

enum framing_result framing_take(struct framing *f, const char *bytes, size_t len, size_t *used)
{
    if (!f->depth)
        f->len = 0;
    for (size_t i = 0; i < len; i++) {
        bool junk;
        *used = i + 1;
        if (!f->depth && passes_over(f, bytes[i], &junk)) {
            if (junk)
                return FRAMING_JUNK;
            continue;
        }
        if (is_broken_off(f, bytes[i])) {
            f->depth = 0;
            f->in_string = f->escaped = false;
            return FRAMING_JUNK;
        }
        if (f->len == FRAMING_MESSAGE_BYTES)
            return FRAMING_TOO_LONG;
        if (!keep(f, bytes[i]))
            return FRAMING_NO_MEMORY;
        follow(f, bytes[i]);
        if (f->depth > FRAMING_DEPTH)
            return FRAMING_TOO_LONG;
        if (!f->depth)
            return FRAMING_MESSAGE;
    }
    *used = len;
    return FRAMING_MORE;
}

const char *framing_message(const struct framing *f, size_t *len)
{
    *len = f->len;
    return f->bytes;
}

void framing_free(struct framing *f)
{
    free(f->bytes);
    memset(f, 0, sizeof(*f));
}
