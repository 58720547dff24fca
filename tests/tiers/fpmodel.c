/* The model of RISC-V floating point on MPFR: see fpmodel.h. Not thread-safe (MPFR variables are kept). */
#include "fpmodel.h"
#include "values.h"

#include <mpfr.h>
#include <stddef.h>

/* Sums of products of doubles lie between 2^2048 and 2^-2148: this many bits hold any of them exactly. */
enum { EXACT_BITS = 4400 };
/* Quotients and square roots are truncated to this many bits, more than twice a double's, and the lost remainder is
 * noted. */
enum { TRUNCATED_BITS = 256 };

struct format {
    int precision; /* significand bits with the implicit one */
    int exp_min;   /* exponent of the least normal number */
    unsigned exp_field_bits;
    uint64_t infinity, canonical_nan;
};

static const struct format formats[FP_FORMAT_COUNT] = {
    [FP_S] = {24, -126, 8, 0x7f800000, 0x7fc00000},
    [FP_D] = {53, -1022, 11, 0x7ff0000000000000, 0x7ff8000000000000},
    [FP_H] = {11, -14, 5, 0x7c00, 0x7e00},
    [FP_BF16] = {8, -126, 8, 0x7f80, 0x7fc0},
};

/* A number taken apart. */
struct operand {
    uint64_t bits; /* in its format, box removed */
    bool negative, zero, infinite, nan, signalling;
};

static uint64_t sign_bit(const struct format *format)
{
    return 1ull << (format->precision - 1 + (int)format->exp_field_bits);
}

/* The bits of a register above the format's. */
static uint64_t box_bits(const struct format *format)
{
    return ~(sign_bit(format) | (sign_bit(format) - 1));
}

/* A register as the format sees it: a narrower value whose box is not all ones counts as the canonical NaN (chapter D,
 * "NaN Boxing of Narrower Values"). */
static uint64_t unbox(const struct format *format, uint64_t reg)
{
    uint64_t above = box_bits(format);
    return (reg & above) == above ? reg & ~above : format->canonical_nan;
}

static uint64_t box(const struct format *format, uint64_t bits)
{
    return bits | box_bits(format);
}

static struct operand take_apart(const struct format *format, uint64_t reg)
{
    struct operand op = {.bits = unbox(format, reg)};
    uint64_t magnitude = op.bits & (sign_bit(format) - 1);
    op.negative = op.bits & sign_bit(format);
    op.zero = magnitude == 0;
    op.infinite = magnitude == format->infinity;
    op.nan = magnitude > format->infinity;
    op.signalling = op.nan && !(op.bits >> (format->precision - 2) & 1);
    return op;
}

/* The value of a finite number, exactly. */
static void to_mpfr(mpfr_t out, const struct format *format, const struct operand *op)
{
    int fraction_bits = format->precision - 1;
    uint64_t fraction = op->bits & ((1ull << fraction_bits) - 1);
    int field = (int)((op->bits & (sign_bit(format) - 1)) >> fraction_bits);
    uint64_t significand = field ? fraction | 1ull << fraction_bits : fraction;
    int exponent = (field ? field - 1 : 0) + format->exp_min - fraction_bits;
    mpfr_set_uj_2exp(out, significand, exponent, MPFR_RNDZ);
    if (op->negative)
        mpfr_neg(out, out, MPFR_RNDZ);
}

struct scratch {
    mpfr_t exact[4];     /* EXACT_BITS */
    mpfr_t truncated;    /* TRUNCATED_BITS */
    mpfr_t scaled, part; /* EXACT_BITS */
};

static struct scratch *scratch(void)
{
    static struct scratch s;
    static bool ready;
    if (!ready) {
        for (int i = 0; i < 4; i++)
            mpfr_init2(s.exact[i], EXACT_BITS);
        mpfr_init2(s.truncated, TRUNCATED_BITS);
        mpfr_init2(s.scaled, EXACT_BITS);
        mpfr_init2(s.part, EXACT_BITS);
        ready = true;
    }
    return &s;
}

/* Whether a magnitude between two neighbours goes to the upper one. `half`: the lost part against one half, -1, 0 or 1.
 */
static bool rounds_up(enum fp_rounding rm, bool negative, bool odd, bool inexact, int half)
{
    switch (rm) {
    case FP_RNE:
        return half > 0 || (half == 0 && odd);
    case FP_RMM:
        return half >= 0;
    case FP_RDN:
        return negative && inexact;
    case FP_RUP:
        return !negative && inexact;
    default:
        return false;
    }
}

struct rounded {
    uint64_t magnitude; /* multiples of the quantum; may be one more than fits */
    bool inexact;
};

/* |value| as a multiple of 2^quantum, below 2^63. `sticky`: the true magnitude is a little greater than |value|. */
static struct rounded round_to_quantum(mpfr_srcptr value, bool sticky, long quantum, enum fp_rounding rm)
{
    struct scratch *s = scratch();
    mpfr_mul_2si(s->scaled, value, -quantum, MPFR_RNDZ);
    mpfr_abs(s->scaled, s->scaled, MPFR_RNDZ);
    uint64_t whole = (uint64_t)mpfr_get_uj(s->scaled, MPFR_RNDZ);
    mpfr_frac(s->part, s->scaled, MPFR_RNDZ);
    int half = mpfr_cmp_d(s->part, 0.5);
    if (half == 0 && sticky)
        half = 1;
    bool inexact = sticky || !mpfr_zero_p(s->part);
    bool up = rounds_up(rm, mpfr_signbit(value), whole & 1, inexact, half);
    return (struct rounded){whole + up, inexact};
}

static uint64_t overflowed(const struct format *format, bool negative, enum fp_rounding rm)
{
    bool to_infinity = rm == FP_RNE || rm == FP_RMM || (rm == FP_RDN && negative) || (rm == FP_RUP && !negative);
    return (negative ? sign_bit(format) : 0) | (to_infinity ? format->infinity : format->infinity - 1);
}

/* A finite value that is not zero, to a format. */
static struct fp_result round_to_format(mpfr_srcptr value, bool sticky, const struct format *format,
                                        enum fp_rounding rm)
{
    bool negative = mpfr_signbit(value);
    long exponent = mpfr_get_exp(value) - 1; /* 2^exponent <= |value| < 2^(exponent + 1) */
    long least_quantum = format->exp_min - format->precision + 1;
    long free_quantum = exponent - format->precision + 1;
    long quantum = free_quantum > least_quantum ? free_quantum : least_quantum;

    struct rounded r = round_to_quantum(value, sticky, quantum, rm);
    /* Adding the exponent field to the significand also carries 2^precision into the next exponent. */
    uint64_t bits = ((uint64_t)(quantum - least_quantum) << (format->precision - 1)) + r.magnitude;
    if (quantum - least_quantum > 4096 || bits >= format->infinity)
        return (struct fp_result){box(format, overflowed(format, negative, rm)), FP_OF | FP_NX};

    uint8_t flags = r.inexact ? FP_NX : 0;
    if (r.inexact && exponent < format->exp_min) {
        /* Tiny is judged after rounding as if the exponent had no lower end (chapter F, "Subnormal Arithmetic"). */
        struct rounded unbounded = round_to_quantum(value, sticky, free_quantum, rm);
        bool reaches_normal = exponent == format->exp_min - 1 && unbounded.magnitude == 1ull << format->precision;
        if (!reaches_normal)
            flags |= FP_UF;
    }
    return (struct fp_result){box(format, bits | (negative ? sign_bit(format) : 0)), flags};
}

static struct fp_result canonical_nan(const struct format *format, uint8_t flags)
{
    return (struct fp_result){box(format, format->canonical_nan), flags};
}

static struct fp_result infinity(const struct format *format, bool negative, uint8_t flags)
{
    return (struct fp_result){box(format, format->infinity | (negative ? sign_bit(format) : 0)), flags};
}

static struct fp_result zero(const struct format *format, bool negative)
{
    return (struct fp_result){box(format, negative ? sign_bit(format) : 0), 0};
}

/* a + b where a may be a product that is already exact in `sum`'s precision. Signs of zero sums: IEEE 754, section 6.3.
 */
static struct fp_result add_exact(const struct format *format, enum fp_rounding rm, mpfr_srcptr a, bool a_negative,
                                  mpfr_srcptr b, bool b_negative)
{
    struct scratch *s = scratch();
    mpfr_add(s->exact[3], a, b, MPFR_RNDZ);
    if (mpfr_zero_p(s->exact[3])) {
        bool both_zero_same_sign = mpfr_zero_p(a) && mpfr_zero_p(b) && a_negative == b_negative;
        return zero(format, both_zero_same_sign ? a_negative : rm == FP_RDN);
    }
    return round_to_format(s->exact[3], false, format, rm);
}

static uint8_t invalid_if(bool condition)
{
    return condition ? FP_NV : 0;
}

static struct operand negated(const struct format *format, struct operand op)
{
    op.negative = !op.negative;
    op.bits ^= sign_bit(format);
    return op;
}

static struct fp_result add(const struct format *format, enum fp_rounding rm, const struct operand *a,
                            const struct operand *b)
{
    struct scratch *s = scratch();
    if (a->nan || b->nan)
        return canonical_nan(format, invalid_if(a->signalling || b->signalling));
    if (a->infinite && b->infinite && a->negative != b->negative)
        return canonical_nan(format, FP_NV);
    if (a->infinite || b->infinite)
        return infinity(format, a->infinite ? a->negative : b->negative, 0);
    to_mpfr(s->exact[0], format, a);
    to_mpfr(s->exact[1], format, b);
    return add_exact(format, rm, s->exact[0], a->negative, s->exact[1], b->negative);
}

static struct fp_result multiply(const struct format *format, enum fp_rounding rm, const struct operand *a,
                                 const struct operand *b)
{
    struct scratch *s = scratch();
    bool negative = a->negative != b->negative;
    if (a->nan || b->nan)
        return canonical_nan(format, invalid_if(a->signalling || b->signalling));
    if ((a->infinite && b->zero) || (a->zero && b->infinite))
        return canonical_nan(format, FP_NV);
    if (a->infinite || b->infinite)
        return infinity(format, negative, 0);
    if (a->zero || b->zero)
        return zero(format, negative);
    to_mpfr(s->exact[0], format, a);
    to_mpfr(s->exact[1], format, b);
    mpfr_mul(s->exact[2], s->exact[0], s->exact[1], MPFR_RNDZ);
    return round_to_format(s->exact[2], false, format, rm);
}

static struct fp_result divide(const struct format *format, enum fp_rounding rm, const struct operand *a,
                               const struct operand *b)
{
    struct scratch *s = scratch();
    bool negative = a->negative != b->negative;
    if (a->nan || b->nan)
        return canonical_nan(format, invalid_if(a->signalling || b->signalling));
    if ((a->infinite && b->infinite) || (a->zero && b->zero))
        return canonical_nan(format, FP_NV);
    if (a->infinite)
        return infinity(format, negative, 0);
    if (b->zero)
        return infinity(format, negative, FP_DZ);
    if (a->zero || b->infinite)
        return zero(format, negative);
    to_mpfr(s->exact[0], format, a);
    to_mpfr(s->exact[1], format, b);
    bool lost = mpfr_div(s->truncated, s->exact[0], s->exact[1], MPFR_RNDZ) != 0;
    return round_to_format(s->truncated, lost, format, rm);
}

static struct fp_result square_root(const struct format *format, enum fp_rounding rm, const struct operand *a)
{
    struct scratch *s = scratch();
    if (a->nan)
        return canonical_nan(format, invalid_if(a->signalling));
    if (a->zero)
        return zero(format, a->negative);
    if (a->negative)
        return canonical_nan(format, FP_NV);
    if (a->infinite)
        return infinity(format, false, 0);
    to_mpfr(s->exact[0], format, a);
    bool lost = mpfr_sqrt(s->truncated, s->exact[0], MPFR_RNDZ) != 0;
    return round_to_format(s->truncated, lost, format, rm);
}

/* a * b + c. Infinity times zero is invalid whatever c is (chapter F, "Computational Instructions"). */
static struct fp_result multiply_add(const struct format *format, enum fp_rounding rm, const struct operand *a,
                                     const struct operand *b, const struct operand *c)
{
    struct scratch *s = scratch();
    bool product_negative = a->negative != b->negative;
    bool product_infinite = a->infinite || b->infinite;
    bool inf_times_zero = (a->infinite && b->zero) || (a->zero && b->infinite);
    if (a->nan || b->nan || c->nan || inf_times_zero)
        return canonical_nan(format, invalid_if(inf_times_zero || a->signalling || b->signalling || c->signalling));
    if (product_infinite && c->infinite && product_negative != c->negative)
        return canonical_nan(format, FP_NV);
    if (product_infinite || c->infinite)
        return infinity(format, product_infinite ? product_negative : c->negative, 0);
    to_mpfr(s->exact[0], format, a);
    to_mpfr(s->exact[1], format, b);
    mpfr_mul(s->exact[2], s->exact[0], s->exact[1], MPFR_RNDZ);
    to_mpfr(s->exact[0], format, c);
    return add_exact(format, rm, s->exact[2], product_negative, s->exact[0], c->negative);
}

/* Order of two numbers that are not NaN: -1, 0 or 1, zeros equal. */
static int compare(const struct format *format, const struct operand *a, const struct operand *b)
{
    int64_t magnitude_a = (int64_t)(a->bits & (sign_bit(format) - 1));
    int64_t magnitude_b = (int64_t)(b->bits & (sign_bit(format) - 1));
    int64_t x = a->negative ? -magnitude_a : magnitude_a;
    int64_t y = b->negative ? -magnitude_b : magnitude_b;
    return (x > y) - (x < y);
}

/* minimumNumber and maximumNumber; -0 is less than +0 (chapter F, "Computational Instructions"). */
static struct fp_result min_max(const struct format *format, bool max, const struct operand *a, const struct operand *b)
{
    uint8_t flags = invalid_if(a->signalling || b->signalling);
    if (a->nan && b->nan)
        return canonical_nan(format, flags);
    if (a->nan || b->nan)
        return (struct fp_result){box(format, a->nan ? b->bits : a->bits), flags};
    int order = compare(format, a, b);
    if (order == 0)
        order = (int)b->negative - (int)a->negative;
    return (struct fp_result){box(format, (order < 0) != max ? a->bits : b->bits), flags};
}

/* flt and fle signal any NaN, feq and Zfa's others signalling ones (chapter F, "Compare Instructions"). */
static struct fp_result compare_result(const struct format *format, enum fp_operation op, const struct operand *a,
                                       const struct operand *b)
{
    if (a->nan || b->nan)
        return (struct fp_result){0, invalid_if(op == FP_LT || op == FP_LE || a->signalling || b->signalling)};
    int order = compare(format, a, b);
    bool holds = op == FP_EQ ? order == 0 : op == FP_LT || op == FP_LTQ ? order < 0 : order <= 0;
    return (struct fp_result){holds, 0};
}

/* Bits of fclass (chapter F, "Classify Instruction"): -inf, -normal, -subnormal, -0, and the mirror image; then sNaN,
 * qNaN. */
static struct fp_result classify(const struct format *format, const struct operand *a)
{
    uint64_t magnitude = a->bits & (sign_bit(format) - 1);
    int from_zero = a->zero ? 0 : magnitude < 1ull << (format->precision - 1) ? 1 : a->infinite ? 3 : 2;
    int bit = a->nan ? (a->signalling ? 8 : 9) : a->negative ? 3 - from_zero : 4 + from_zero;
    return (struct fp_result){1ull << bit, 0};
}

static struct fp_result sign_inject(const struct format *format, enum fp_operation op, const struct operand *a,
                                    const struct operand *b)
{
    bool negative = op == FP_SGNJ ? b->negative : op == FP_SGNJN ? !b->negative : a->negative != b->negative;
    uint64_t magnitude = a->bits & (sign_bit(format) - 1);
    return (struct fp_result){box(format, magnitude | (negative ? sign_bit(format) : 0)), 0};
}

/* Limits of an integer destination as magnitudes, and its register form (32-bit ones are sign-extended;
 * chapter F, "Conversion and Move Instructions"). */
struct integer_type {
    uint64_t max, min_magnitude;
    bool is_32;
};

/* By operation from FP_TO_W on: w, wu, l, lu. */
static const struct integer_type integer_types[] = {
    {INT32_MAX, 1ull << 31, true},
    {UINT32_MAX, 0, true},
    {INT64_MAX, 1ull << 63, false},
    {UINT64_MAX, 0, false},
};

static struct fp_result integer_result(const struct integer_type *type, bool negative, uint64_t magnitude,
                                       uint8_t flags)
{
    uint64_t value = negative ? 0 - magnitude : magnitude;
    return (struct fp_result){type->is_32 ? (uint64_t)(int64_t)(int32_t)value : value, flags};
}

static struct fp_result to_integer(const struct format *format, const struct integer_type *type, enum fp_rounding rm,
                                   const struct operand *a)
{
    struct scratch *s = scratch();
    if (a->nan)
        return integer_result(type, false, type->max, FP_NV);
    uint64_t limit = a->negative ? type->min_magnitude : type->max;
    if (a->infinite)
        return integer_result(type, a->negative, limit, FP_NV);
    to_mpfr(s->exact[0], format, a);
    if (mpfr_zero_p(s->exact[0]))
        return integer_result(type, false, 0, 0);
    if (mpfr_get_exp(s->exact[0]) > 65)
        return integer_result(type, a->negative, limit, FP_NV);
    mpfr_abs(s->scaled, s->exact[0], MPFR_RNDZ);
    if (mpfr_cmp_d(s->scaled, 0x1p64) >= 0)
        return integer_result(type, a->negative, limit, FP_NV);
    struct rounded r = round_to_quantum(s->exact[0], false, 0, rm);
    if (r.magnitude > limit)
        return integer_result(type, a->negative, limit, FP_NV);
    return integer_result(type, a->negative, r.magnitude, r.inexact ? FP_NX : 0);
}

static struct fp_result from_integer(const struct format *format, enum fp_operation op, enum fp_rounding rm, uint64_t x)
{
    struct scratch *s = scratch();
    if (op == FP_FROM_W)
        x = (uint64_t)(int64_t)(int32_t)x;
    if (op == FP_FROM_WU)
        x = (uint32_t)x;
    if (x == 0)
        return zero(format, false);
    if (op == FP_FROM_WU || op == FP_FROM_LU)
        mpfr_set_uj(s->exact[0], x, MPFR_RNDZ);
    else
        mpfr_set_sj(s->exact[0], (int64_t)x, MPFR_RNDZ);
    return round_to_format(s->exact[0], false, format, rm);
}

/* From another format. */
static struct fp_result from_other(const struct format *format, const struct format *other, enum fp_rounding rm,
                                   uint64_t reg)
{
    struct scratch *s = scratch();
    struct operand a = take_apart(other, reg);
    if (a.nan)
        return canonical_nan(format, invalid_if(a.signalling));
    if (a.infinite)
        return infinity(format, a.negative, 0);
    if (a.zero)
        return zero(format, a.negative);
    to_mpfr(s->exact[0], other, &a);
    return round_to_format(s->exact[0], false, format, rm);
}

/* The low bits, whatever the box is, sign-extended in an x register (chapter F, "Conversion and Move Instructions"). */
static struct fp_result move(enum fp_operation op, const struct format *format, uint64_t reg)
{
    uint64_t bits = reg & ~box_bits(format);
    bool extend = op == FP_MV_FROM_X || (bits & sign_bit(format));
    return (struct fp_result){extend ? box(format, bits) : bits, 0};
}

/* Zfa's minimum and maximum: NaN if either is. */
static struct fp_result min_max_nan(const struct format *format, bool max, const struct operand *a,
                                    const struct operand *b)
{
    if (a->nan || b->nan)
        return canonical_nan(format, invalid_if(a->signalling || b->signalling));
    return min_max(format, max, a, b);
}

/* To an integer in the same format; `exact` reports inexactness (Zfa, "Round-to-Integer Instructions"). */
static struct fp_result round_integral(const struct format *format, bool exact, enum fp_rounding rm,
                                       const struct operand *a)
{
    struct scratch *s = scratch();
    if (a->nan)
        return canonical_nan(format, invalid_if(a->signalling));
    if (a->infinite || a->zero)
        return (struct fp_result){box(format, a->bits), 0};
    to_mpfr(s->exact[0], format, a);
    if (mpfr_integer_p(s->exact[0]))
        return (struct fp_result){box(format, a->bits), 0};
    struct rounded r = round_to_quantum(s->exact[0], false, 0, rm);
    if (r.magnitude == 0)
        return (struct fp_result){zero(format, a->negative).bits, exact ? FP_NX : 0};
    mpfr_set_uj(s->exact[0], r.magnitude, MPFR_RNDZ);
    if (a->negative)
        mpfr_neg(s->exact[0], s->exact[0], MPFR_RNDZ);
    return (struct fp_result){round_to_format(s->exact[0], false, format, rm).bits, exact ? FP_NX : 0};
}

/* The truncated value modulo 2^32, with FCVT.W's flags (Zfa, "Modular Convert-to-Integer Instruction"). */
static struct fp_result to_integer_modulo(const struct format *format, const struct operand *a)
{
    struct scratch *s = scratch();
    uint8_t flags = to_integer(format, &integer_types[0], FP_RTZ, a).flags;
    if (a->nan || a->infinite)
        return (struct fp_result){0, flags};
    to_mpfr(s->exact[0], format, a);
    mpfr_trunc(s->exact[0], s->exact[0]);
    mpfr_set_ui_2exp(s->exact[1], 1, 32, MPFR_RNDZ);
    mpfr_fmod(s->exact[2], s->exact[0], s->exact[1], MPFR_RNDZ);
    return (struct fp_result){(uint64_t)(int64_t)(int32_t)mpfr_get_sj(s->exact[2], MPFR_RNDZ), flags};
}

/* Zfa's constants 0..29 (table of FLI.S); 1, the least normal number, depends on the format. */
static const double constants[] = {
    -1.0,  0.0, 0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625, 0.125, 0.25, 0.3125, 0.375, 0.4375, 0.5,   0.625,  0.75,
    0.875, 1.0, 1.25,    1.5,     1.75,   2.0,    2.5,    3.0,   4.0,  8.0,    16.0,  128.0,  256.0, 0x1p15, 0x1p16,
};

static struct fp_result load_constant(const struct format *format, uint64_t number)
{
    struct scratch *s = scratch();
    if (number == 31)
        return canonical_nan(format, 0);
    if (number == 30)
        return infinity(format, false, 0);
    if (number == 1)
        mpfr_set_ui_2exp(s->exact[0], 1, format->exp_min, MPFR_RNDZ);
    else
        mpfr_set_d(s->exact[0], constants[number], MPFR_RNDZ);
    return (struct fp_result){round_to_format(s->exact[0], false, format, FP_RNE).bits, 0};
}

static struct fp_result fused(const struct format *format, enum fp_operation op, enum fp_rounding rm,
                              const struct operand operands[3])
{
    struct operand a = operands[0], c = operands[2];
    if (op == FP_NMSUB || op == FP_NMADD)
        a = negated(format, a);
    if (op == FP_MSUB || op == FP_NMADD)
        c = negated(format, c);
    return multiply_add(format, rm, &a, &operands[1], &c);
}

struct fp_result fp_expected(enum fp_operation op, enum fp_format format_name, enum fp_rounding rm, const uint64_t a[3])
{
    const struct format *format = &formats[format_name];
    struct operand o[3] = {take_apart(format, a[0]), take_apart(format, a[1]), take_apart(format, a[2])};
    struct operand negative_b = negated(format, o[1]);
    switch (op) {
    case FP_ADD:
        return add(format, rm, &o[0], &o[1]);
    case FP_SUB:
        return add(format, rm, &o[0], &negative_b);
    case FP_MUL:
        return multiply(format, rm, &o[0], &o[1]);
    case FP_DIV:
        return divide(format, rm, &o[0], &o[1]);
    case FP_SQRT:
        return square_root(format, rm, &o[0]);
    case FP_MADD:
    case FP_MSUB:
    case FP_NMSUB:
    case FP_NMADD:
        return fused(format, op, rm, o);
    case FP_MIN:
    case FP_MAX:
        return min_max(format, op == FP_MAX, &o[0], &o[1]);
    case FP_MINM:
    case FP_MAXM:
        return min_max_nan(format, op == FP_MAXM, &o[0], &o[1]);
    case FP_EQ:
    case FP_LT:
    case FP_LE:
    case FP_LTQ:
    case FP_LEQ:
        return compare_result(format, op, &o[0], &o[1]);
    case FP_CLASS:
        return classify(format, &o[0]);
    case FP_SGNJ:
    case FP_SGNJN:
    case FP_SGNJX:
        return sign_inject(format, op, &o[0], &o[1]);
    case FP_TO_W:
    case FP_TO_WU:
    case FP_TO_L:
    case FP_TO_LU:
        return to_integer(format, &integer_types[op - FP_TO_W], rm, &o[0]);
    case FP_FROM_W:
    case FP_FROM_WU:
    case FP_FROM_L:
    case FP_FROM_LU:
        return from_integer(format, op, rm, a[0]);
    case FP_TO_W_MODULO:
        return to_integer_modulo(format, &o[0]);
    case FP_FROM_S:
        return from_other(format, &formats[FP_S], rm, a[0]);
    case FP_FROM_D:
        return from_other(format, &formats[FP_D], rm, a[0]);
    case FP_FROM_H:
        return from_other(format, &formats[FP_H], rm, a[0]);
    case FP_FROM_BF16:
        return from_other(format, &formats[FP_BF16], rm, a[0]);
    case FP_MV_TO_X:
    case FP_MV_FROM_X:
        return move(op, format, a[0]);
    case FP_ROUND:
    case FP_ROUNDNX:
        return round_integral(format, op == FP_ROUNDNX, rm, &o[0]);
    case FP_LI:
        return load_constant(format, a[0]);
    }
    return (struct fp_result){0, 0};
}
