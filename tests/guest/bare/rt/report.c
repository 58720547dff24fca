/* The report of a bare-metal program; see report.h. */
#include "report.h"

static bool failed;

bool rt_failed(void)
{
    return failed;
}

struct text {
    char *at;
    char *end;
};

static void text_char(struct text *text, char c)
{
    if (text->at < text->end)
        *text->at++ = c;
}

static void text_number(struct text *text, uint64_t value, unsigned base)
{
    char digits[24];
    unsigned count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count)
        text_char(text, digits[--count]);
}

static void text_signed(struct text *text, int64_t value)
{
    if (value < 0)
        text_char(text, '-');
    text_number(text, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

static void text_format(struct text *text, const char *format, va_list args)
{
    for (; *format; format++) {
        if (*format != '%') {
            text_char(text, *format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s; s++)
                text_char(text, *s);
            break;
        case 'c':
            text_char(text, (char)va_arg(args, int));
            break;
        case 'd':
            text_signed(text, va_arg(args, int64_t));
            break;
        case 'x':
            text_number(text, va_arg(args, uint64_t), 16);
            break;
        default:
            text_char(text, *format);
        }
    }
}

static void put_line(const char *text)
{
    for (; *text; text++)
        rt_console_char(*text);
    rt_console_char('\n');
}

#define FORMAT_LINE(buffer, format)                                \
    char buffer[512];                                              \
    do {                                                           \
        struct text text_ = {buffer, buffer + sizeof(buffer) - 1}; \
        va_list args_;                                             \
        va_start(args_, format);                                   \
        text_format(&text_, format, args_);                        \
        va_end(args_);                                             \
        *text_.at = 0;                                             \
    } while (0)

void rt_print(const char *format, ...)
{
    FORMAT_LINE(line, format);
    put_line(line);
}

void rt_expect(bool ok, const char *format, ...)
{
    if (ok)
        return;
    failed = true;
    FORMAT_LINE(line, format);
    rt_print("FAIL %s", line);
}

static struct {
    const char *name;
    uint64_t hash, count;
} group;

void rt_group_begin(const char *name)
{
    group.name = name;
    group.hash = 0xcbf29ce484222325ull;
    group.count = 0;
}

void rt_group_line(const char *format, ...)
{
    FORMAT_LINE(line, format);
    /* FNV-1a, 64 bits; the terminator separates lines. */
    const char *c = line;
    do
        group.hash = (group.hash ^ (uint8_t)*c) * 0x100000001b3ull;
    while (*c++);
    group.count++;
    if (rt_verbose)
        rt_print("%s/%s", group.name, line);
}

void rt_group_numbers(const char *what, const uint64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        group.hash = (group.hash ^ values[i]) * 0x100000001b3ull;
        group.hash ^= group.hash >> 29; /* a plain product never carries high bits down */
    }
    group.count++;
    if (rt_verbose) {
        char line[512];
        struct text text = {line, line + sizeof(line) - 1};
        for (size_t i = 0; i < count; i++) {
            text_char(&text, ' ');
            text_number(&text, values[i], 16);
        }
        *text.at = 0;
        rt_print("%s/%s:%s", group.name, what, line);
    }
}

void rt_group_end(void)
{
    rt_print("%s: cases=%d hash=%x", group.name, (int64_t)group.count, group.hash);
}

void rt_format(char *buffer, size_t size, const char *format, ...)
{
    struct text text = {buffer, buffer + size - 1};
    va_list args;

    va_start(args, format);
    text_format(&text, format, args);
    va_end(args);
    *text.at = 0;
}
