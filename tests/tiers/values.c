/* Operand values for the differential tests: see values.h. */
#include "values.h"
#include "base/compiler.h"

/* The first 25 of each table are the ones that triples use, so the classes come first. */
const uint64_t value_f64_corners[] = {
    0x0000000000000000,                     /* zeros */
    0x8000000000000000, 0x3ff0000000000000, /* one, and next to it */
    0xbff0000000000000, 0x3ff0000000000001, 0x3fefffffffffffff,
    0x0000000000000001, /* subnormals and the least normal */
    0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
    0x8010000000000000, 0x7fefffffffffffff, /* the greatest, infinities */
    0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
    0x7ff8000000000000,                                         /* quiet and signalling NaNs */
    0x7ff0000000000001, 0xfff7ffffffffffff, 0x3fd5555555555555, /* a third: inexact in everything */
    0x1ff0000000000000,                                         /* its square underflows; the next one's overflows */
    0x5ff0000000000001, 0x0010000000000001, 0x7fe0000000000000,
    0x3ca0000000000000,                     /* half an ulp of one */
    0xffffffffffffffff, 0x4340000000000000, /* 2^53: integers end */
    0x43dfffffffffffff,                     /* around 2^63, 2^64, 2^31, 2^32 */
    0x43e0000000000000, 0xc3e0000000000000, 0xc3e0000000000001,
    0x43efffffffffffff, 0x43f0000000000000, 0x41dfffffffc00000,
    0x41dfffffffe00000, 0xc1e0000000000000, 0xc1e0000000100000,
    0xc1e0000000200000, 0x41efffffffe00000, 0x41effffffff00000,
    0x41f0000000000000, 0x3fe0000000000000, /* halves: ties of conversion */
    0xbfe0000000000000, 0x3ff8000000000000, 0x4004000000000000,
    0xc004000000000000, 0x3fdfffffffffffff, 0x3fe0000000000001,
    0x380fffffffffffff, /* around binary32's least normal and subnormals */
    0x3810000000000000, 0x380ffffff0000000, 0x380fffffe8000000,
    0x36a0000000000000, 0x3690000000000000, 0x3690000000000001,
    0x47efffffe0000000, /* around binary32's greatest */
    0x47efffffefffffff, 0x47effffff0000000, 0x47f0000000000000,
    0x432fffffffffffff,                     /* around 2^52: fractions end */
    0xc330000000000001, 0x4510000000000003, /* modulo 2^32: around 2^82 to 2^84 */
    0x4520000000000001, 0xc520000000000003, 0x4530000000000001,
    0x3ff0000010000000,                                         /* ties of narrowing */
    0x3ff0000030000000, 0x3ff0000010000001, 0x40effc0000000000, /* around binary16's greatest */
    0x40effdffe0000000, 0x40effe0000000000, 0x40effdffffffffff,
    0x3f10000000000000, /* around its least normal and subnormals */
    0x3f0ffdffe0000000, 0x3f0ffc0000000000, 0x3f0ffc0020000000,
    0x3f0ffe0000000000, 0x3f0ffe0020000000, 0x3e70000000000000,
    0x3e60000020000000, 0x3e60000000000000, 0x3e60000000000001,
    0x3ff0020000000000, /* ties of narrowing to it, and twice rounded */
    0x3ff0060000000000, 0x3ff0020020000000, 0x3ff0020000000001,
    0x3ff001ffffffffff,
};
const uint32_t value_f64_corner_count = TUFF_ARRAY_LEN(value_f64_corners);

const uint32_t value_f32_corners[] = {
    0x00000000,                                                 /* zeros */
    0x80000000, 0x3f800000,                                     /* one, and next to it */
    0xbf800000, 0x3f800001, 0x3f7fffff, 0x00000001,             /* subnormals and the least normal */
    0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff, /* the greatest, infinities */
    0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000,             /* quiet and signalling NaNs */
    0x7f800001, 0xffbfffff, 0x3eaaaaab,                         /* a third */
    0x1f800000,                                                 /* its square underflows; the next one's overflows */
    0x5f800001, 0x00800001, 0x7f000000, 0x33000000,             /* half an ulp of one */
    0xffffffff, 0x4b000000,                                     /* 2^23 and 2^24 */
    0x4b800000, 0x5effffff,                                     /* around 2^63, 2^64, 2^31, 2^32 */
    0x5f000000, 0xdf000000, 0xdf000001, 0x5f7fffff, 0x5f800000, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001,
    0x4f7fffff, 0x4f800000, 0x3f000000,                                                 /* halves: ties of conversion */
    0xbf000000, 0x3fc00000, 0x40200000, 0xc0200000, 0x3effffff, 0x3f000001, 0x4affffff, /* below 2^23: fractions end */
    0x477fe000, 0x477fefff, 0x477ff000, /* narrowing to binary16: the greatest, */
    0x38800000, 0x387fefff, 0x387fe000, 0x387fe001, 0x387ff000, 0x387ff001, 0x33800000, 0x33000001, /* the least normal,
                                                                                                       subnormals, */
    0x3f801000, 0x3f803000, 0x3f801001,                                                             /* ties */
    0x7f7f0000, 0x7f7f7fff, 0x7f7f8000, /* the same to bfloat16 */
    0x007f8000, 0x007fc000, 0x007fc001, 0x00008000, 0x00008001, 0x00018000, 0x3f808000, 0x3f818000, 0x3f808001,
};
const uint32_t value_f32_corner_count = TUFF_ARRAY_LEN(value_f32_corners);

const uint16_t value_f16_corners[] = {
    0x0000,                                         /* zeros */
    0x8000, 0x3c00,                                 /* one, and next to it */
    0xbc00, 0x3c01, 0x3bff, 0x0001,                 /* subnormals and the least normal */
    0x8001, 0x03ff, 0x0400, 0x8400, 0x7bff,         /* the greatest, infinities */
    0xfbff, 0x7c00, 0xfc00, 0x7e00,                 /* quiet and signalling NaNs */
    0x7c01, 0xfdff, 0x3555,                         /* a third */
    0x1c00,                                         /* its square underflows; the next one's overflows */
    0x5c01, 0x0401, 0x7800, 0x1000,                 /* half an ulp of one */
    0xffff, 0x6400, 0x6800, 0x63ff, 0x3800, 0xb800, /* 2^10, 2^11, below 2^10: fractions end; halves */
    0x3e00, 0x4100, 0xc100, 0x37ff, 0x3801, 0xbbff,
};
const uint32_t value_f16_corner_count = TUFF_ARRAY_LEN(value_f16_corners);

const uint16_t value_bf16_corners[] = {
    0x0000, 0x8000, 0x3f80, 0xbf80, 0x3f81, 0x3f7f, 0x0001, 0x8001, 0x007f, 0x0080, 0x8080, 0x7f7f,
    0xff7f, 0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffbf, 0xffff, 0x3eab, 0x3f00, 0x4e80, 0xcf00, 0x5f00,
};
const uint32_t value_bf16_corner_count = TUFF_ARRAY_LEN(value_bf16_corners);

static const uint64_t integer_corners[] = {
    0,
    1,
    2,
    UINT64_MAX,
    (uint64_t)INT64_MAX,
    (uint64_t)INT64_MIN,
    INT32_MAX,
    (uint64_t)INT32_MIN,
    UINT32_MAX,
    0x80000000,
    0x100000000,
    0xffffffff7fffffff,
    0x7fff,
    0x8000,
    0xffff,
    0x7f,
    0x80,
    0xff,
    63,
    64,
    31,
    32,
    0x5555555555555555,
    0xaaaaaaaaaaaaaaaa,
    0x0101010101010101,
    0x00ff00ff00ff00ff,
};

uint64_t value_integer(struct rng *rng)
{
    uint64_t bits = rng_next(rng);
    switch (rng_below(rng, 6)) {
    case 0:
        return integer_corners[rng_below(rng, TUFF_ARRAY_LEN(integer_corners))];
    case 1: /* any width, either sign */
        return (uint64_t)((int64_t)bits >> rng_below(rng, 64));
    case 2: /* one bit, and next to it */
        return (1ull << rng_below(rng, 64)) + (uint64_t)rng_between(rng, -1, 1);
    case 3:
        return (uint64_t)(int64_t)(int32_t)bits;
    case 4: /* some bytes zero: orc.b, clz, packed data */
        return bits & rng_next(rng) & (0xffull << 8 * rng_below(rng, 8) | 0xff00ff0000ffull);
    default:
        return bits;
    }
}

/* A number of a format with `fraction_bits` and an exponent field up to `exponent_max`. */
static uint64_t value_number(struct rng *rng, unsigned fraction_bits, uint32_t exponent_max)
{
    uint64_t fraction_mask = (1ull << fraction_bits) - 1;
    uint64_t fraction = rng_next(rng) & fraction_mask;
    uint64_t bias = exponent_max >> 1;
    uint64_t exponent = rng_below(rng, exponent_max + 1);
    switch (rng_below(rng, 8)) {
    case 0: /* few significant bits: exact results, ties */
        fraction &= fraction_mask << rng_below(rng, fraction_bits);
        exponent = bias - 8 + rng_below(rng, 24);
        break;
    case 1: /* near integers' ranges */
        exponent = bias + rng_below(rng, 68);
        break;
    case 2: /* nearly a power of two from below or above */
        fraction = rng_one_in(rng, 2) ? fraction_mask - rng_below(rng, 4) : rng_below(rng, 4);
        break;
    case 3: /* near overflow */
        exponent = exponent_max - 1 - rng_below(rng, 3);
        break;
    case 4: /* near underflow, subnormals */
        exponent = rng_below(rng, 3);
        break;
    case 5: /* sums that cancel */
        exponent = bias + rng_below(rng, 3);
        break;
    case 6: /* products that underflow or overflow */
        exponent = (rng_one_in(rng, 2) ? bias / 2 : bias + bias / 2) - 4 + rng_below(rng, 8);
        break;
    default:
        break;
    }
    if (exponent > exponent_max)
        exponent = exponent_max;
    return (rng_next(rng) & 1) * ((uint64_t)exponent_max + 1) << fraction_bits | exponent << fraction_bits | fraction;
}

uint64_t value_f64(struct rng *rng)
{
    if (rng_one_in(rng, 4))
        return value_f64_corners[rng_below(rng, value_f64_corner_count)];
    return value_number(rng, 52, 0x7ff);
}

uint32_t value_f32(struct rng *rng)
{
    if (rng_one_in(rng, 4))
        return value_f32_corners[rng_below(rng, value_f32_corner_count)];
    return (uint32_t)value_number(rng, 23, 0xff);
}

uint16_t value_f16(struct rng *rng)
{
    if (rng_one_in(rng, 4))
        return value_f16_corners[rng_below(rng, value_f16_corner_count)];
    return (uint16_t)value_number(rng, 10, 0x1f);
}

uint16_t value_bf16(struct rng *rng)
{
    if (rng_one_in(rng, 4))
        return value_bf16_corners[rng_below(rng, value_bf16_corner_count)];
    return (uint16_t)value_number(rng, 7, 0xff);
}

uint64_t value_f_register(struct rng *rng)
{
    switch (rng_below(rng, 16)) {
    case 0: /* a box with one bit missing */
        return value_box(value_f32(rng)) & ~(1ull << (32 + rng_below(rng, 32)));
    case 1:
        return rng_next(rng);
    case 2: /* the same of a half */
        return value_box16(value_f16(rng)) & ~(1ull << (16 + rng_below(rng, 48)));
    case 3:
    case 4:
    case 5:
    case 6:
        return value_box16(value_f16(rng));
    default:
        return rng_one_in(rng, 2) ? value_f64(rng) : value_box(value_f32(rng));
    }
}
