/* A sorted array and one pool of names; see symbols.h. */
#include "base/symbols.h"

#include "base/hex.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t unknown_size_bytes = 1 << 20;

struct symbol {
    uint64_t address, size;
    uint32_t name;  /* in the pool */
    uint32_t order; /* of adding: among equals the first counts */
};

struct symbols {
    struct symbol *symbols;
    size_t count, capacity;
    char *names;
    size_t names_len, names_capacity;
};

struct symbols *symbols_create(void)
{
    return calloc(1, sizeof(struct symbols));
}

void symbols_destroy(struct symbols *s)
{
    if (!s)
        return;
    free(s->symbols);
    free(s->names);
    free(s);
}

size_t symbols_count(const struct symbols *s)
{
    return s->count;
}

static int make_room(struct symbols *s)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 1024;
        struct symbol *more = reallocarray(s->symbols, capacity, sizeof(*more));
        if (!more)
            return -ENOMEM;
        s->symbols = more;
        s->capacity = capacity;
    }
    if (s->names_capacity - s->names_len < SYMBOLS_NAME_BYTES) {
        size_t capacity = s->names_capacity ? s->names_capacity * 2 : 16384;
        char *more = realloc(s->names, capacity);
        if (!more)
            return -ENOMEM;
        s->names = more;
        s->names_capacity = capacity;
    }
    return 0;
}

static int add(struct symbols *s, uint64_t address, uint64_t size, const char *name, size_t len)
{
    int rc = s->count < SYMBOLS_MAX ? make_room(s) : -E2BIG;

    if (rc)
        return rc;
    if (len > SYMBOLS_NAME_BYTES - 1)
        len = SYMBOLS_NAME_BYTES - 1;
    s->symbols[s->count] =
        (struct symbol){.address = address, .size = size, .name = (uint32_t)s->names_len, .order = (uint32_t)s->count};
    s->count++;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        s->names[s->names_len++] = c > ' ' && c < 0x7f ? (char)c : '?';
    }
    s->names[s->names_len++] = '\0';
    return 0;
}

int symbols_add(struct symbols *s, uint64_t address, uint64_t size, const char *name)
{
    return add(s, address, size, name, strnlen(name, SYMBOLS_NAME_BYTES));
}

/* ---- text ---- */

struct text_line {
    uint64_t address;
    char type;
    const char *name;
    size_t name_len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* "ffffffff80001234 T name", in kallsyms followed by a tab and "[module]". */
static bool read_line(const char *at, const char *end, struct text_line *out)
{
    const char *start = at;

    for (; at < end && hex_digit(*at) >= 0; at++)
        out->address = out->address << 4 | (uint64_t)hex_digit(*at);
    if (at == start || at - start > 16 || end - at < 4 || *at != ' ' || at[2] != ' ')
        return false;
    out->type = at[1];
    out->name = at += 3;
    while (at < end && !is_blank(*at))
        at++;
    out->name_len = (size_t)(at - out->name);
    return out->name_len > 0;
}

/* nm(1): text, and weak functions. */
static bool is_code(char type)
{
    return type == 't' || type == 'T' || type == 'w' || type == 'W';
}

static int check_text(const char *path, size_t code, bool any_address, struct error *err)
{
    if (!code)
        return error_set(err, -EINVAL,
                         "symbols '%s' names no code (Debian's System.map is a stub): save the guest's "
                         "/proc/kallsyms",
                         path);
    if (!any_address)
        return error_set(err, -EINVAL,
                         "symbols '%s' has address 0 everywhere: save /proc/kallsyms as root, with 0 in "
                         "/proc/sys/kernel/kptr_restrict",
                         path);
    return 0;
}

int symbols_add_text(struct symbols *s, const char *path, const char *text, size_t len, struct error *err)
{
    const char *at = text, *end = text + len;
    size_t number = 0, code = 0;
    bool any_address = false;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        struct text_line line = {0};
        number++;
        if (line_end > at && !read_line(at, line_end, &line))
            return error_set(err, -EINVAL, "symbols '%s', line %zu, is not \"address type name\" (nor is it an ELF)",
                             path, number);
        if (is_code(line.type)) {
            int rc = add(s, line.address, 0, line.name, line.name_len);
            if (rc)
                return error_set(err, rc, "symbols '%s' are too many: %s", path, strerror(-rc));
            code++;
            any_address |= line.address != 0;
        }
        at = line_end + 1;
    }
    return check_text(path, code, any_address, err);
}

/* ---- reading ---- */

static int compare(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    /* One whose size is known says more. */
    if (!x->size != !y->size)
        return x->size ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

void symbols_sort(struct symbols *s)
{
    size_t kept = 0;

    if (!s->count)
        return;
    qsort(s->symbols, s->count, sizeof(*s->symbols), compare);
    for (size_t i = 0; i < s->count; i++) {
        if (!kept || s->symbols[kept - 1].address != s->symbols[i].address)
            s->symbols[kept++] = s->symbols[i];
    }
    s->count = kept;
}

const char *symbols_find(const struct symbols *s, uint64_t address, uint64_t *offset)
{
    size_t low = 0, high = s->count;

    /* The first behind it. */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->symbols[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    const struct symbol *found = &s->symbols[low - 1];
    *offset = address - found->address;
    return *offset < (found->size ? found->size : unknown_size_bytes) ? s->names + found->name : NULL;
}

bool symbols_has(const struct symbols *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->names + s->symbols[i].name, name) == 0)
            return true;
    }
    return false;
}

const char *symbols_label(const struct symbols *s, uint64_t address, char *out)
{
    uint64_t offset = 0;
    const char *name = s ? symbols_find(s, address, &offset) : NULL;

    if (!name)
        (void)snprintf(out, SYMBOLS_LABEL_BYTES, "0x%" PRIx64, address);
    else if (!offset)
        (void)snprintf(out, SYMBOLS_LABEL_BYTES, "%s", name);
    else
        (void)snprintf(out, SYMBOLS_LABEL_BYTES, "%s+0x%" PRIx64, name, offset);
    return out;
}
