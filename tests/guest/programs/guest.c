/* The common part of the test programs for a Linux guest; see guest.h. */
#include "guest.h"

__asm__(".globl _start\n"
        "_start:\n"
        ".option push\n"
        ".option norelax\n"
        "la gp, __global_pointer$\n"
        ".option pop\n"
        "ld a0, 0(sp)\n"
        "addi a1, sp, 8\n"
        "andi sp, sp, -16\n"
        "call guest_main\n"
        "li a7, 93\n"
        "ecall\n");

/* The compiler may call these for loops and assignments. */
void *memset(void *at, int value, size_t len);
void *memcpy(void *to, const void *from, size_t len);

void *memset(void *at, int value, size_t len)
{
    for (volatile uint8_t *byte = at; len; len--)
        *byte++ = (uint8_t)value;
    return at;
}

void *memcpy(void *to, const void *from, size_t len)
{
    volatile uint8_t *out = to;

    for (const uint8_t *in = from; len; len--)
        *out++ = *in++;
    return to;
}

size_t length(const char *text)
{
    size_t len = 0;

    while (text[len])
        len++;
    return len;
}

bool same(const char *a, const char *b)
{
    for (; *a && *a == *b; a++)
        b++;
    return *a == *b;
}

void write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len) {
        long done = sys(SYS_WRITE, fd, (long)at, (long)len, 0, 0);
        if (done <= 0)
            return;
        at += done;
        len -= (size_t)done;
    }
}

void say(const char *text)
{
    write_all(1, text, length(text));
}

void say_hex(const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        const char pair[] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
        write_all(1, pair, sizeof(pair));
    }
    say("\n");
}

long must(const char *what, long result)
{
    if (result >= 0)
        return result;
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t value = (uint64_t)-result;
    do {
        digits[--at] = (char)('0' + value % 10);
    } while (value /= 10);
    say(what);
    say(": error ");
    write_all(1, digits + at, sizeof(digits) - at);
    say("\n");
    sys(SYS_EXIT, 1, 0, 0, 0, 0);
    return result;
}

uint64_t number(const char *text)
{
    uint64_t value = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

void copy(int from, int to)
{
    static char buffer[1 << 16];
    long len;

    while ((len = sys(SYS_READ, from, (long)buffer, sizeof(buffer), 0, 0)) > 0)
        write_all(to, buffer, (size_t)len);
}
