/* --isa: a profile, an ISA string or nothing, then extensions to add or leave out; see values.h.
 *
 * What a name means is data: extensions of the engine have bits; facts are names of the specification that every
 * machine here lives up to, without a switch; profiles are lists of both, by name, so that an extension which the
 * engine gets is in its profiles at once. Names and lists are those of the RISC-V profiles (RVA20, RVA22, RVA23) and of
 * the ISA manual, "ISA Extension Naming Conventions".
 */
#include "cli/values.h"

#include "engine/isa/riscv/isa.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *const extension_names[] = {
#define X(id, name) name,
    ISA_EXTENSIONS(X)
#undef X
};

/* Main memory that can do everything and in any alignment, CSRs of the
 * supervisor as the profiles want them. */
static const char facts[] = " ziccamoa ziccif zicclsm za128rs"
                            " ss1p11 ss1p12 ss1p13 ssccptr sscounterenw sstvala sstvecd ssu64xl sv39 svade svbare ";

/* What a profile may name without this machine keeping it: that an instruction takes as long for any data is nothing an
 * emulator can promise (isa.h), nor a guest find out. The device tree does not tell it. */
static const char waived[] = " zkt zvkt ";

#define RVA20 \
    "i m a f d c zicsr zicntr ziccif ziccrse ziccamoa zicclsm zifencei svbare sv39 svade ssccptr sstvecd sstvala"
#define RVA22                                                                                                       \
    RVA20 " zihpm za64rs zihintpause zba zbb zbs zic64b zicbom zicbop zicboz zfhmin zkt ss1p12 sscounterenw svpbmt" \
          " svinval"
#define RVA23                                                                                                       \
    RVA22 " v zvfhmin zvbb zvkt zihintntl zicond zimop zcmop zcb zfa zawrs supm ss1p13 svnapot sstc sscofpmf ssnpm" \
          " ssu64xl sha"

/* `absent`: mandatory, and not there yet; the profile is taken without them, and the user told. */
static const struct {
    const char *name, *mandatory, *absent;
} profiles[] = {
    {"rva20s64", RVA20 " za128rs ss1p11", ""},
    {"rva22s64", RVA22, ""},
    {"rva23s64", RVA23, " v zvfhmin zvbb sha "},
};

/* What an extension is built on (Unprivileged ISA: F and Zicntr depend on Zicsr, D, Zfa and Zfhmin on F; Zfhmin is a
 * part of Zfh): all of `needs`. An entry stands before those for what it needs. */
static const struct {
    isa_set extension, needs;
    const char *text;
} dependencies[] = {
    {ISA_ALL, ISA_EXT(I), "i is the base and cannot be left out"},
    {ISA_EXT(ZFH), ISA_EXT(ZFHMIN), "zfh contains zfhmin: leave out both"},
    {ISA_EXT(ZFBFMIN), ISA_EXT(ZFHMIN), "zfbfmin has instructions of zfhmin: leave out both"},
    {ISA_EXT(ZFHMIN), ISA_EXT(F), "zfhmin needs f: leave out both"},
    {ISA_EXT(ZFA), ISA_EXT(F), "zfa needs f: leave out both"},
    {ISA_EXT(D), ISA_EXT(F), "d needs f: leave out both"},
    {ISA_EXT(F), ISA_EXT(ZICSR), "f needs zicsr: leave out f and d as well"},
    {ISA_EXT(ZICNTR), ISA_EXT(ZICSR), "zicntr needs zicsr: leave out both"},
    {ISA_EXT(ZICFILP), ISA_EXT(ZICSR), "zicfilp needs zicsr: leave out both"},
    {ISA_EXT(ZICFISS), ISA_EXT(ZICSR) | ISA_EXT(ZIMOP) | ISA_EXT(A),
     "zicfiss needs zicsr, zimop and a: leave it out as well"},
    {ISA_EXT(ZKR), ISA_EXT(ZICSR), "zkr needs zicsr: leave out both"},
    {ISA_EXT(SDTRIG), ISA_EXT(ZICSR), "sdtrig needs zicsr: leave out both"},
    {ISA_EXT(SMDBLTRP), ISA_EXT(ZICSR), "smdbltrp needs zicsr: leave out both"},
    {ISA_EXT(SSDBLTRP), ISA_EXT(ZICSR), "ssdbltrp needs zicsr: leave out both"},
    {ISA_EXT(SMRNMI), ISA_EXT(ZICSR), "smrnmi needs zicsr: leave out both"},
    {ISA_EXT(SMMPM), ISA_EXT(ZICSR), "smmpm needs zicsr: leave out both"},
    {ISA_EXT(SMNPM), ISA_EXT(ZICSR), "smnpm needs zicsr: leave out both"},
    {ISA_EXT(SSNPM), ISA_EXT(ZICSR), "ssnpm needs zicsr: leave out both"},
    {ISA_EXT(SMEPMP), ISA_EXT(ZICSR), "smepmp needs zicsr: leave out both"},
    {ISA_EXT(SMSTATEEN), ISA_EXT(SSSTATEEN), "smstateen contains ssstateen: leave out both"},
    {ISA_EXT(SSSTATEEN), ISA_EXT(ZICSR), "ssstateen needs zicsr: leave out both"},
    {ISA_EXT(SSCOFPMF), ISA_EXT(ZIHPM), "sscofpmf needs zihpm: leave out both"},
    {ISA_EXT(ZIHPM), ISA_EXT(ZICSR), "zihpm needs zicsr: leave out both"},
    {ISA_EXT(SSTC), ISA_EXT(ZICSR), "sstc needs zicsr: leave out both"},
    {ISA_EXT(SV57), ISA_EXT(SV48), "sv57 needs sv48: leave out both"},
    {ISA_EXT(ZABHA), ISA_EXT(A), "zabha needs a: leave out both"},
    {ISA_EXT(ZACAS), ISA_EXT(A), "zacas needs a: leave out both"},
    {ISA_EXT(ZAWRS), ISA_EXT(A), "zawrs needs a: leave out both"},
    {ISA_EXT(ZCB), ISA_EXT(C), "zcb needs c: leave out both"},
    {ISA_EXT(ZCMOP), ISA_EXT(C), "zcmop needs c: leave out both"},
    {ISA_EXT(ZKN), ISA_EXT(ZBKB) | ISA_EXT(ZBKC) | ISA_EXT(ZBKX) | ISA_EXT(ZKND) | ISA_EXT(ZKNE) | ISA_EXT(ZKNH),
     "zkn is zbkb, zbkc, zbkx, zknd, zkne and zknh together: leave it out as well"},
    {ISA_EXT(ZKS), ISA_EXT(ZBKB) | ISA_EXT(ZBKC) | ISA_EXT(ZBKX) | ISA_EXT(ZKSED) | ISA_EXT(ZKSH),
     "zks is zbkb, zbkc, zbkx, zksed and zksh together: leave it out as well"},
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

void values_isa_format(isa_set isa, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < TUFF_ARRAY_LEN(extension_names); i++) {
        if (!(isa & ISA_BIT(i)))
            continue;
        int len = snprintf(out + used, size - used, "%s%s", used ? " " : "", extension_names[i]);
        if (len < 0 || (size_t)len >= size - used) {
            out[used] = '\0';
            return;
        }
        used += (size_t)len;
    }
}

static bool is_name(const char *name, size_t len, const char *known)
{
    return strlen(known) == len && memcmp(known, name, len) == 0;
}

/* Is the name in a list with a blank before and behind each? */
static bool is_listed(const char *list, const char *name, size_t len)
{
    for (const char *at = list; *++at; at += strcspn(at, " ")) {
        if (strcspn(at, " ") == len && memcmp(at, name, len) == 0)
            return true;
    }
    return false;
}

/* The bits of a name, 0 for one that is not known. */
static isa_set extension_bits(const char *name, size_t len)
{
    if (is_name(name, len, "all"))
        return ISA_COMPATIBLE;
    if (is_name(name, len, "g"))
        return ISA_EXT(I) | ISA_EXT(M) | ISA_EXT(A) | ISA_EXT(F) | ISA_EXT(D) | ISA_EXT(ZICSR) | ISA_EXT(ZIFENCEI);
    if (is_name(name, len, "supm")) /* what Ssnpm is to user programs */
        return ISA_EXT(SSNPM);
    if (is_name(name, len, "b"))
        return ISA_EXT(ZBA) | ISA_EXT(ZBB) | ISA_EXT(ZBS);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(extension_names); i++) {
        if (is_name(name, len, extension_names[i]))
            return ISA_BIT(i);
    }
    return 0;
}

/* A version behind a name, as in "zba1p0": its length, 0 when there is none. */
static size_t version_len(const char *name, size_t len)
{
    size_t minor = len, major;

    while (minor && isdigit((unsigned char)name[minor - 1]))
        minor--;
    if (minor == len || !minor || name[minor - 1] != 'p')
        return 0;
    for (major = minor - 1; major && isdigit((unsigned char)name[major - 1]);)
        major--;
    return major < minor - 1 ? len - major : 0;
}

static int unknown_name(const char *name, size_t len, struct error *err)
{
    return error_set(err, -EINVAL, "--isa, '%.*s', is not an extension; give a list like -zba,-zbb of: %s", (int)len,
                     name, values_isa_names());
}

/* One extension of an ISA string. */
static int add_extension(const char *name, size_t len, isa_set *isa, struct error *err)
{
    size_t version = version_len(name, len);
    isa_set bits = extension_bits(name, len);

    if (!bits && !is_listed(facts, name, len) && version)
        bits = extension_bits(name, len -= version);
    if (!bits && !is_listed(facts, name, len))
        return unknown_name(name, len, err);
    *isa |= bits;
    return 0;
}

/* Length of the single letter at `text` with its version, or of the name with several that ends at an underscore. */
static size_t extension_len(const char *text, size_t len)
{
    const char *underscore = memchr(text, '_', len);
    size_t to_underscore = underscore ? (size_t)(underscore - text) : len;
    size_t at = 1;

    if (strchr("zsx", text[0]))
        return to_underscore;
    while (at < to_underscore && isdigit((unsigned char)text[at]))
        at++;
    if (at > 1 && at + 1 < to_underscore && text[at] == 'p' && isdigit((unsigned char)text[at + 1])) {
        at++;
        while (at < to_underscore && isdigit((unsigned char)text[at]))
            at++;
    }
    return at;
}

/* What follows from what was named (dependencies of the manual). */
static isa_set with_implied(isa_set isa)
{
    for (size_t i = 1; i < TUFF_ARRAY_LEN(dependencies); i++)
        isa |= isa & dependencies[i].extension ? dependencies[i].needs : 0;
    return isa;
}

/* "rv64imac_zba": [text, text + len). */
static int parse_string(const char *text, size_t len, isa_set *isa, struct error *err)
{
    const char *end = text + len, *at = text + 4;

    if (len < 5 || memcmp(text, "rv64", 4) != 0 || !strchr("ig", *at))
        return error_set(err, -EINVAL,
                         "--isa, '%.*s', is not an ISA string of this machine, which starts rv64i or rv64g", (int)len,
                         text);
    *isa = 0;
    while (at < end) {
        size_t part = extension_len(at, (size_t)(end - at));
        int rc = add_extension(at, part, isa, err);
        if (rc)
            return rc;
        at += part;
        at += at < end && *at == '_' && at + 1 < end;
    }
    *isa = with_implied(*isa);
    return 0;
}

static int parse_profile(size_t profile, isa_set *isa, struct error *err)
{
    char missing[256] = "";
    size_t used = 0, len;

    *isa = 0;
    for (const char *at = profiles[profile].mandatory; *at; at += len + (at[len] == ' ')) {
        len = strcspn(at, " ");
        isa_set bits = extension_bits(at, len);
        *isa |= bits;
        bool known = is_listed(facts, at, len) || is_listed(waived, at, len) ||
                     (profiles[profile].absent[0] && is_listed(profiles[profile].absent, at, len));
        if (!bits && !known && used < sizeof(missing))
            used += (size_t)snprintf(missing + used, sizeof(missing) - used, " %.*s", (int)len, at);
    }
    if (used)
        return error_set(err, -ENOTSUP, "--isa, '%s': this build lacks mandatory extensions of the profile:%s",
                         profiles[profile].name, missing);
    return 0;
}

/* What stands before the list. *end gets where that goes on. */
static int parse_start(const char *text, isa_set *isa, const char **end, struct error *err)
{
    size_t len = strcspn(text, ",+-");

    *end = text;
    *isa = ISA_DEFAULT;
    if (len < 2 || memcmp(text, "rv", 2) != 0)
        return 0;
    *end = text + len;
    for (size_t i = 0; i < TUFF_ARRAY_LEN(profiles); i++) {
        if (is_name(text, len, profiles[i].name))
            return parse_profile(i, isa, err);
    }
    if (len > 2 && text[2] == 'a')
        return error_set(err, -EINVAL, "--isa, '%.*s', is not a profile known here: rva20s64, rva22s64, rva23s64",
                         (int)len, text);
    return parse_string(text, len, isa, err);
}

const char *values_isa_absent(const char *text)
{
    size_t len = strcspn(text, ",+-");

    for (size_t i = 0; i < TUFF_ARRAY_LEN(profiles); i++) {
        if (is_name(text, len, profiles[i].name) && profiles[i].absent[0])
            return profiles[i].absent;
    }
    return NULL;
}

static int check_dependencies(const char *text, isa_set isa, struct error *err)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(dependencies); i++) {
        bool wanted = dependencies[i].extension == ISA_ALL || (isa & dependencies[i].extension);
        if (wanted && (dependencies[i].needs & ~isa))
            return error_set(err, -EINVAL, "--isa, '%s', does not make a machine: %s", text, dependencies[i].text);
    }
    return 0;
}

int values_isa(const char *text, isa_set *out, struct error *err)
{
    const char *at;
    isa_set isa;
    int rc = parse_start(text, &isa, &at, err);
    bool more = rc == 0 && (at == text || *at);

    if (more && at != text && *at == ',')
        at++;
    while (more) {
        char sign = *at == '-' || *at == '+' ? *at : 0;
        const char *name = at + (sign != 0);
        size_t len = strcspn(name, ",+-");
        isa_set bits = len ? extension_bits(name, len) : 0;

        if (!bits)
            return unknown_name(at, len + (sign != 0), err);
        isa = sign == '-' ? isa & ~bits : isa | bits;
        at = name + len;
        more = *at;
        at += *at == ',';
    }
    if (rc == 0)
        rc = check_dependencies(text, isa, err);
    if (rc == 0)
        *out = isa;
    return rc;
}
