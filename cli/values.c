/* Strict parsing of option values; see values.h. Digits are read by hand because strtoull() takes signs, white space
 * and, at base 0, octal numbers, all of which are more likely mistakes than meant. */
#include "cli/values.h"

#include <errno.h>
#include <stdbool.h>

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

/* Reads digits up to the first other character, which *end gets. */
static int read_digits(const char *text, unsigned base, uint64_t *out, const char **end)
{
    uint64_t value = 0;
    const char *at = text;

    for (; digit_value(*at) < (int)base; at++) {
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit_value(*at), &value))
            return -ERANGE;
    }
    if (at == text)
        return -EINVAL;
    *out = value;
    *end = at;
    return 0;
}

int values_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    const char *end;
    uint64_t value;
    int rc = read_digits(text, 10, &value, &end);

    if (rc)
        return rc;
    if (*end)
        return -EINVAL;
    if (value < min || value > max)
        return -ERANGE;
    *out = value;
    return 0;
}

int values_address(const char *text, uint64_t *out)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *end;
    uint64_t value;
    int rc = read_digits(hex ? text + 2 : text, hex ? 16 : 10, &value, &end);

    if (rc)
        return rc;
    if (*end)
        return -EINVAL;
    *out = value;
    return 0;
}

static int unit_shift(char unit)
{
    switch (unit) {
    case '\0':
        return 0;
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    case 't':
    case 'T':
        return 40;
    default:
        return -1;
    }
}

int values_size(const char *text, uint64_t *out)
{
    const char *end;
    uint64_t value;
    int shift;
    int rc = read_digits(text, 10, &value, &end);

    if (rc)
        return rc;
    shift = unit_shift(*end);
    if (shift < 0 || (*end && end[1]))
        return -EINVAL;
    if (value == 0 || value > UINT64_MAX >> shift)
        return -ERANGE;
    *out = value << shift;
    return 0;
}
