/* Floating point outside the host's fast path: the guest's mode and flags in the host's control register, and exact
 * integer arithmetic for rounding modes that the host is not in. Called through sem_fp.h only where a body said
 * SEM_MISS.
 *
 * The soft operations work on finite operands, unpacked to sign, exponent and an integer significand; each gives an
 * exact value or one whose last bit is "sticky" (some lower bit was lost), which pack() then rounds once.
 */
#include "engine/isa/riscv/fp_flags.h"
#include "engine/isa/riscv/sem.h"

/* RISC-V's mode in the host's coding; RMM has none and stays outlined, so any will do. */
static uint32_t host_rounding(uint8_t frm)
{
    static const uint8_t rc[8] = {[RM_RNE] = 0, [RM_RTZ] = 3, [RM_RDN] = 1, [RM_RUP] = 2};

    return (uint32_t)rc[frm & 7] << MXCSR_RC_SHIFT;
}

void fp_load_host(struct hart *h)
{
    if (h->host_fp)
        return;
    h->host_fpcr = mxcsr_read();
    mxcsr_write(MXCSR_MASKS | host_rounding(h->frm));
    h->host_fp = true;
}

void fp_save_host(struct hart *h)
{
    if (!h->host_fp)
        return;
    h->fflags |= flags_from_host(mxcsr_read());
    mxcsr_write(h->host_fpcr);
    h->host_fp = false;
}

void fp_write_frm(struct hart *h, uint8_t frm)
{
    h->frm = frm;
    if (h->host_fp)
        mxcsr_write((mxcsr_read() & (MXCSR_MASKS | MXCSR_FLAGS)) | host_rounding(frm));
}

void fp_raise(struct hart *h, uint8_t flags)
{
    h->fflags |= flags;
}

void fp_fma_nan(struct hart *h, double a, double b)
{
    /* Looked at as bits: comparing would raise flags of its own. */
    uint64_t x = __builtin_bit_cast(uint64_t, a) << 1, y = __builtin_bit_cast(uint64_t, b) << 1;
    const uint64_t infinity = 0x7ffull << 53;

    if ((x == infinity && y == 0) || (x == 0 && y == infinity))
        fp_raise(h, FLAG_NV);
}

/* ---- exact arithmetic ---- */

typedef unsigned __int128 u128;

/* (-1)^negative * sig * 2^exp; sig may be 0. */
struct number {
    bool negative;
    int exp;
    u128 sig;
};

struct format {
    unsigned fraction_bits, exp_bits;
};
static const struct format formats[] = {
    [FP_SINGLE] = {23, 8}, [FP_DOUBLE] = {52, 11}, [FP_HALF] = {10, 5}, [FP_BFLOAT] = {7, 8}};

static int format_bias(const struct format *f)
{
    return (1 << (f->exp_bits - 1)) - 1;
}

static uint64_t infinity_bits(const struct format *f)
{
    return ((1ull << f->exp_bits) - 1) << f->fraction_bits;
}

/* False for infinities and NaN. */
static bool unpack(const struct format *f, uint64_t bits, struct number *n)
{
    unsigned exp = (unsigned)(bits >> f->fraction_bits) & ((1u << f->exp_bits) - 1);
    uint64_t fraction = bits & ((1ull << f->fraction_bits) - 1);

    if (exp == (1u << f->exp_bits) - 1)
        return false;
    n->negative = bits >> (f->fraction_bits + f->exp_bits) & 1;
    n->sig = exp ? fraction | 1ull << f->fraction_bits : fraction;
    n->exp = (exp ? (int)exp : 1) - format_bias(f) - (int)f->fraction_bits;
    return true;
}

static int top_bit(u128 v)
{
    uint64_t high = (uint64_t)(v >> 64);

    return high ? 127 - __builtin_clzll(high) : 63 - __builtin_clzll((uint64_t)v);
}

/* v >> shift with the bits lost or-ed into the last. */
static u128 shift_sticky(u128 v, int shift)
{
    if (shift <= 0)
        return v;
    if (shift >= 128)
        return v != 0;
    return v >> shift | ((v & (((u128)1 << shift) - 1)) != 0);
}

/* Does rounding `sig` (two bits below the last: half and sticky) move away from zero? */
static bool rounds_up(unsigned rm, bool negative, bool odd, unsigned below)
{
    switch (rm) {
    case RM_RNE:
        return below > 2 || (below == 2 && odd);
    case RM_RMM:
        return below >= 2;
    case RM_RDN:
        return negative && below;
    case RM_RUP:
        return !negative && below;
    default:
        return false;
    }
}

/* Rounds once to `bits` below the given lowest exponent; returns the significand and whether it was inexact. */
static u128 round_at(const struct number *n, int lowest_exp, unsigned rm, bool *inexact)
{
    u128 v =
        n->exp >= lowest_exp ? n->sig << (n->exp - lowest_exp) << 2 : shift_sticky(n->sig << 2, lowest_exp - n->exp);
    unsigned below = (unsigned)v & 3;

    *inexact = below != 0;
    return (v >> 2) + rounds_up(rm, n->negative, (unsigned)(v >> 2) & 1, below);
}

/* The register bits of a number whose significand has fewer than 126 bits; raises OF, UF, NX. Tininess is detected
 * after rounding (chapter "F", section on subnormal arithmetic): as if the exponent had no lower bound. */
static uint64_t pack(struct hart *h, const struct format *f, const struct number *n, unsigned rm)
{
    uint64_t sign = (uint64_t)n->negative << (f->fraction_bits + f->exp_bits);
    const int min_exp = 1 - format_bias(f) - (int)f->fraction_bits;
    const int max_biased = (1 << f->exp_bits) - 1;
    bool inexact;

    if (!n->sig)
        return sign;
    int natural = n->exp + top_bit(n->sig) - (int)f->fraction_bits;
    int exp = natural < min_exp ? min_exp : natural;
    u128 sig = round_at(n, exp, rm, &inexact);
    if (sig >> (f->fraction_bits + 1)) {
        sig >>= 1;
        exp++;
    }
    if (inexact) {
        fp_raise(h, FLAG_NX);
        if (natural < min_exp) {
            bool ignored;
            u128 unbounded = round_at(n, natural, rm, &ignored);
            bool carried = unbounded >> (f->fraction_bits + 1);
            if (natural + carried < min_exp)
                fp_raise(h, FLAG_UF);
        }
    }
    int biased = (sig >> f->fraction_bits) ? exp - min_exp + 1 : 0;
    if (biased >= max_biased) {
        bool to_infinity = rm == RM_RNE || rm == RM_RMM || rm == (n->negative ? RM_RDN : RM_RUP);
        fp_raise(h, FLAG_OF | FLAG_NX);
        uint64_t infinity = (uint64_t)max_biased << f->fraction_bits;
        return sign | (to_infinity ? infinity : infinity - 1);
    }
    return sign | (uint64_t)biased << f->fraction_bits | ((uint64_t)sig & ((1ull << f->fraction_bits) - 1));
}

/* Significand moved up so that its top bit is bit 125: room for a carry, and for exact or sticky alignment of the
 * other. */
static void normalise(struct number *n)
{
    int shift = 125 - top_bit(n->sig);

    n->sig <<= shift;
    n->exp -= shift;
}

static struct number add_numbers(struct number a, struct number b, unsigned rm)
{
    if (!a.sig && !b.sig) {
        a.negative = a.negative == b.negative ? a.negative : rm == RM_RDN;
        return a;
    }
    if (!a.sig)
        return b;
    if (!b.sig)
        return a;
    normalise(&a);
    normalise(&b);
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct number swap = a;
        a = b;
        b = swap;
    }
    b.sig = shift_sticky(b.sig, a.exp - b.exp);
    if (a.negative == b.negative) {
        a.sig += b.sig;
    } else {
        a.sig -= b.sig;
        if (!a.sig)
            a.negative = rm == RM_RDN;
    }
    /* Below 126 bits again for pack()'s two rounding bits. */
    a.sig = shift_sticky(a.sig, 3);
    a.exp += 3;
    return a;
}

static struct number multiply(const struct number *a, const struct number *b)
{
    return (struct number){.negative = a->negative != b->negative, .exp = a->exp + b->exp, .sig = a->sig * b->sig};
}

static struct number divide(struct number a, struct number b)
{
    struct number q = {.negative = a.negative != b.negative};

    if (!a.sig)
        return q;
    /* Quotient of at least 70 bits: more than any format's 53 and two. */
    int up = 123 - top_bit(a.sig);
    a.sig <<= up;
    q.sig = a.sig / b.sig;
    q.sig = q.sig << 1 | (a.sig % b.sig != 0);
    q.exp = a.exp - up - b.exp - 1;
    return q;
}

static struct number square_root(struct number a)
{
    if (!a.sig)
        return a;
    int up = 124 - top_bit(a.sig);
    up -= (a.exp - up) & 1; /* the exponent must be even */
    a.sig <<= up;
    a.exp -= up;
    u128 root = 0;
    for (int bit = 62; bit >= 0; bit--) {
        u128 trial = root | (u128)1 << bit;
        if (trial * trial <= a.sig)
            root = trial;
    }
    return (struct number){.exp = a.exp / 2 - 1, .sig = root << 1 | (root * root != a.sig)};
}

bool fp_rounded(struct hart *h, enum fp_op op, enum fp_format format, uint64_t a, uint64_t b, uint64_t c, unsigned rm,
                uint64_t *result)
{
    const struct format *f = &formats[format];
    struct number x, y, z, out;

    if (!unpack(f, a, &x) || !unpack(f, b, &y) || !unpack(f, c, &z))
        return false;
    switch (op) {
    case FP_ADD:
        out = add_numbers(x, y, rm);
        break;
    case FP_MUL:
        out = multiply(&x, &y);
        break;
    case FP_FMA:
        out = add_numbers(multiply(&x, &y), z, rm);
        break;
    case FP_DIV:
        if (!y.sig)
            return false;
        out = divide(x, y);
        break;
    case FP_SQRT:
        if (x.negative && x.sig)
            return false;
        out = square_root(x);
        break;
    default:
        return false;
    }
    *result = pack(h, f, &out, rm);
    return true;
}

static bool is_nan(const struct format *f, uint64_t bits)
{
    uint64_t magnitude = bits & ((1ull << (f->fraction_bits + f->exp_bits)) - 1);

    return magnitude > infinity_bits(f);
}

/* Raises invalid if it signals. */
static uint64_t quiet_nan(struct hart *h, const struct format *from, uint64_t bits, const struct format *to)
{
    if (is_nan(from, bits) && !(bits >> (from->fraction_bits - 1) & 1))
        fp_raise(h, FLAG_NV);
    return infinity_bits(to) | 1ull << (to->fraction_bits - 1);
}

/* An operand that may be anything. */
struct special {
    bool negative, nan, infinite, zero;
};

static struct special look_at(const struct format *f, uint64_t bits)
{
    uint64_t magnitude = bits & ((1ull << (f->fraction_bits + f->exp_bits)) - 1);

    return (struct special){.negative = magnitude != bits,
                            .nan = magnitude > infinity_bits(f),
                            .infinite = magnitude == infinity_bits(f),
                            .zero = magnitude == 0};
}

/* What fp_rounded() leaves: some operand is infinite (and none NaN), a division by zero, or the root of a negative
 * number. IEEE 754, sections 6.1, 7.2 and 7.3. */
static uint64_t special_result(struct hart *h, enum fp_op op, const struct format *f, struct special a,
                               struct special b, struct special c)
{
    const unsigned sign_at = f->fraction_bits + f->exp_bits;
    bool negative =
        op == FP_ADD || op == FP_SQRT ? a.negative : a.negative != b.negative; /* of a sum: its first term */
    bool infinite = a.infinite || (b.infinite && op != FP_ADD), invalid = false;
    struct special addend = op == FP_ADD ? b : c;

    switch (op) {
    case FP_MUL:
    case FP_FMA:
    case FP_ADD:
        invalid = op != FP_ADD && ((a.infinite && b.zero) || (a.zero && b.infinite));
        if (op != FP_MUL && addend.infinite) {
            invalid |= infinite && negative != addend.negative;
            negative = addend.negative;
        }
        break;
    case FP_DIV:
        invalid = (a.infinite && b.infinite) || (a.zero && b.zero);
        if (b.infinite && !invalid)
            return (uint64_t)negative << sign_at;
        if (b.zero && !a.infinite && !invalid)
            fp_raise(h, FLAG_DZ);
        break;
    case FP_SQRT:
        invalid = a.negative;
        break;
    }
    if (invalid) {
        fp_raise(h, FLAG_NV);
        return infinity_bits(f) | 1ull << (f->fraction_bits - 1);
    }
    return (uint64_t)negative << sign_at | infinity_bits(f);
}

uint64_t fp_soft(struct hart *h, enum fp_op op, enum fp_format format, uint64_t a, uint64_t b, uint64_t c, unsigned rm)
{
    const struct format *f = &formats[format];
    uint64_t result;

    if (fp_rounded(h, op, format, a, b, c, rm == RM_HOST ? h->frm : rm, &result))
        return result;
    struct special x = look_at(f, a), y = look_at(f, b), z = look_at(f, c);
    if (x.nan || y.nan || z.nan) {
        /* Infinity times zero is invalid whatever is added (chapter "F", on FMA). */
        if (op == FP_FMA && ((x.infinite && y.zero) || (x.zero && y.infinite)))
            fp_raise(h, FLAG_NV);
        (void)quiet_nan(h, f, a, f);
        (void)quiet_nan(h, f, b, f);
        return quiet_nan(h, f, c, f);
    }
    return special_result(h, op, f, x, y, z);
}

uint64_t fp_narrow(struct hart *h, enum fp_format format, uint64_t bits, unsigned rm)
{
    const struct format *from = &formats[FP_DOUBLE], *to = &formats[format];
    struct number n;

    if (is_nan(from, bits))
        return quiet_nan(h, from, bits, to);
    if (!unpack(from, bits, &n))
        return infinity_bits(to) | (bits >> 63) << (to->fraction_bits + to->exp_bits);
    return pack(h, to, &n, rm == RM_HOST ? h->frm : rm);
}

uint64_t fp_from_int(struct hart *h, enum fp_format format, bool negative, uint64_t magnitude, unsigned rm)
{
    struct number n = {.negative = negative, .sig = magnitude};

    return pack(h, &formats[format], &n, rm == RM_HOST ? h->frm : rm);
}

/* Table "Domains of float-to-integer conversions": out of range and NaN saturate and are invalid, without inexact. */
uint64_t fp_to_int(struct hart *h, enum fp_int kind, uint64_t bits, unsigned rm)
{
    bool is_signed = kind == FP_INT32 || kind == FP_INT64;
    unsigned width = kind == FP_INT32 || kind == FP_UINT32 ? 32 : 64;
    uint64_t max = is_signed ? (1ull << (width - 1)) - 1 : UINT64_MAX >> (64 - width);
    uint64_t min_magnitude = is_signed ? 1ull << (width - 1) : 0;
    struct number n;
    u128 magnitude = 0;
    bool inexact = false;
    bool too_large = false;

    if (rm == RM_HOST)
        rm = h->frm;
    if (!unpack(&formats[FP_DOUBLE], bits, &n)) {
        n.negative = (bits << 12) == 0 && bits >> 63; /* NaN goes to the largest */
        too_large = true;
    } else if (n.sig) {
        if (n.exp > 64)
            too_large = true;
        else
            magnitude = round_at(&n, 0, rm, &inexact);
    }
    too_large |= magnitude > (n.negative ? min_magnitude : max);
    uint64_t value;
    if (too_large) {
        fp_raise(h, FLAG_NV);
        value = n.negative ? -min_magnitude : max;
    } else {
        if (inexact)
            fp_raise(h, FLAG_NX);
        value = n.negative ? -(uint64_t)magnitude : (uint64_t)magnitude;
    }
    return width == 32 ? (uint64_t)(int64_t)(int32_t)value : value;
}

uint64_t fp_round_integral(struct hart *h, enum fp_format format, uint64_t bits, unsigned rm, bool exact)
{
    const struct format *f = &formats[format];
    struct number n;
    bool inexact;

    if (!unpack(f, bits, &n) || n.exp >= 0)
        return bits;
    uint64_t whole = (uint64_t)round_at(&n, 0, rm == RM_HOST ? h->frm : rm, &inexact);
    uint64_t sign = (uint64_t)n.negative << (f->fraction_bits + f->exp_bits);
    if (inexact && exact)
        fp_raise(h, FLAG_NX);
    if (!whole)
        return sign;
    /* At most 2^fraction_bits. The significand's top bit adds one to the exponent field. */
    unsigned top = (unsigned)top_bit(whole);
    uint64_t field = (uint64_t)format_bias(f) + top - 1;
    return sign | ((field << f->fraction_bits) + (whole << (f->fraction_bits - top)));
}

uint64_t fp_to_int_modulo(struct hart *h, uint64_t bits)
{
    struct number n;

    (void)fp_to_int(h, FP_INT32, bits, RM_RTZ); /* for its flags */
    if (!unpack(&formats[FP_DOUBLE], bits, &n) || n.exp >= 32 || n.exp <= -64)
        return 0;
    uint64_t magnitude = n.exp >= 0 ? (uint64_t)n.sig << n.exp : (uint64_t)n.sig >> -n.exp;
    return (uint64_t)(int64_t)(int32_t)(n.negative ? -magnitude : magnitude);
}
