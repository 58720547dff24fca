/* Strict parsing of option values; see values.h. Digits are read by hand because strtoull() takes signs, white space
 * and, at base 0, octal numbers, all of which are more likely mistakes than meant. */
#include "cli/values.h"

#include "engine/isa/riscv/isa.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

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

static const char *const extension_names[] = {
#define X(id, name) name,
    ISA_EXTENSIONS(X)
#undef X
};

const char *values_isa_names(void)
{
    static const char spaced[] =
#define X(id, name) " " name
        ISA_EXTENSIONS(X)
#undef X
        ;
    return &spaced[1];
}

static uint64_t extension_bits(const char *name, size_t len)
{
    if (len == 3 && memcmp(name, "all", 3) == 0)
        return ISA_ALL;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(extension_names); i++) {
        if (strlen(extension_names[i]) == len && memcmp(extension_names[i], name, len) == 0)
            return 1ull << i;
    }
    return 0;
}

/* What an extension is built on (Unprivileged ISA: F and Zicntr depend on Zicsr, D, Zfa and Zfhmin on F; Zfhmin is a
 * part of Zfh). */
static const struct {
    uint64_t extension, needs;
    const char *text;
} dependencies[] = {
    {ISA_ALL, ISA_EXT(I), "i is the base and cannot be left out"},
    {ISA_EXT(D), ISA_EXT(F), "d needs f: leave out both"},
    {ISA_EXT(F), ISA_EXT(ZICSR), "f needs zicsr: leave out f and d as well"},
    {ISA_EXT(ZFA), ISA_EXT(F), "zfa needs f: leave out both"},
    {ISA_EXT(ZFHMIN), ISA_EXT(F), "zfhmin needs f: leave out both"},
    {ISA_EXT(ZFH), ISA_EXT(ZFHMIN), "zfh contains zfhmin: leave out both"},
    {ISA_EXT(ZFBFMIN), ISA_EXT(ZFHMIN), "zfbfmin has instructions of zfhmin: leave out both"},
    {ISA_EXT(ZICNTR), ISA_EXT(ZICSR), "zicntr needs zicsr: leave out both"},
    {ISA_EXT(ZCB), ISA_EXT(C), "zcb needs c: leave out both"},
    {ISA_EXT(ZCMOP), ISA_EXT(C), "zcmop needs c: leave out both"},
    {ISA_EXT(ZKN), ISA_EXT(ZBKB) | ISA_EXT(ZBKC) | ISA_EXT(ZBKX) | ISA_EXT(ZKND) | ISA_EXT(ZKNE) | ISA_EXT(ZKNH),
     "zkn is zbkb, zbkc, zbkx, zknd, zkne and zknh together: leave it out as well"},
    {ISA_EXT(ZKS), ISA_EXT(ZBKB) | ISA_EXT(ZBKC) | ISA_EXT(ZBKX) | ISA_EXT(ZKSED) | ISA_EXT(ZKSH),
     "zks is zbkb, zbkc, zbkx, zksed and zksh together: leave it out as well"},
    {ISA_EXT(SSTC), ISA_EXT(ZICSR), "sstc needs zicsr: leave out both"},
};

static int check_dependencies(const char *text, uint64_t isa, struct error *err)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(dependencies); i++) {
        bool wanted = dependencies[i].extension == ISA_ALL || (isa & dependencies[i].extension);
        if (wanted && (dependencies[i].needs & ~isa))
            return error_set(err, -EINVAL, "--isa, '%s', does not make a machine: %s", text, dependencies[i].text);
    }
    return 0;
}

int values_isa(const char *text, uint64_t *out, struct error *err)
{
    uint64_t isa = ISA_ALL;
    const char *at = text;

    for (;;) {
        size_t item_len = strcspn(at, ",");
        bool signed_item = *at == '-' || *at == '+';
        const char *name = at + signed_item;
        size_t len = item_len - signed_item;
        uint64_t bits = len ? extension_bits(name, len) : 0;

        if (!bits)
            return error_set(err, -EINVAL, "--isa, '%.*s', is not an extension; give a list like -zba,-zbb of: %s",
                             (int)item_len, at, values_isa_names());
        isa = *at == '-' ? isa & ~bits : isa | bits;
        at += item_len;
        if (!*at)
            break;
        at++;
    }
    int rc = check_dependencies(text, isa, err);
    if (rc)
        return rc;
    *out = isa;
    return 0;
}
