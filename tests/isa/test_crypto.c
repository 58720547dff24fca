/* Helpers of the cryptography instructions: the host's instructions and the plain versions agree, and both do what the
 * manual's pseudocode and the standards behind it say. Where the host lacks an instruction only the plain version is
 * tested. */
#include "base/compiler.h"
#include "engine/isa/riscv/crypto.h"
#include "engine/isa/riscv/crypto_internal.h"
#include "run_suite.h"

#include <check.h>

enum { RANDOM_TRIES = 20000 };

static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t random_number(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dull;
}

/* ---- products over GF(2) ---- */

START_TEST(products_are_those_of_polynomials)
{
    static const struct {
        uint64_t a, b, high, low;
    } examples[] = {
        {0, UINT64_MAX, 0, 0},
        {1, UINT64_MAX, 0, UINT64_MAX},
        {3, 3, 0, 5},                                                             /* (x+1)^2 = x^2+1 */
        {7, 0xb, 0, 0x31},                                                        /* (x^2+x+1)(x^3+x+1) */
        {1ull << 63, 1ull << 63, 1ull << 62, 0},                                  /* the highest term */
        {UINT64_MAX, UINT64_MAX, 0x5555555555555555ull, 0x5555555555555555ull},   /* squares spread the bits */
        {0x123456789abcdef0ull, 2, 0, 0x2468acf13579bde0ull},                     /* times x */
        {0x8000000000000001ull, 0x8000000000000001ull, 0x4000000000000000ull, 1}, /* no carry */
    };

    for (size_t i = 0; i < TUFF_ARRAY_LEN(examples); i++) {
        uint64_t a = examples[i].a, b = examples[i].b, high = examples[i].high, low = examples[i].low;

        ck_assert(crypto_product_plain(a, b) == ((unsigned __int128)high << 64 | low));
        ck_assert_uint_eq(crypto_clmul(a, b), low);
        ck_assert_uint_eq(crypto_clmulh(a, b), high);
        ck_assert_uint_eq(crypto_clmulr(a, b), high << 1 | low >> 63);
    }
}
END_TEST

START_TEST(the_hosts_products_are_the_plain_ones)
{
    for (unsigned i = 0; crypto_host_has_clmul() && i < RANDOM_TRIES; i++) {
        uint64_t a = random_number(), b = random_number();
        ck_assert(crypto_product_host(a, b) == crypto_product_plain(a, b));
    }
}
END_TEST

/* ---- S-boxes, from their definitions ---- */

static unsigned field_product(unsigned a, unsigned b, unsigned modulus)
{
    unsigned product = 0;

    for (; b; b >>= 1, a = a & 0x80 ? (a << 1) ^ modulus : a << 1)
        product ^= b & 1 ? a : 0;
    return product;
}

/* x^254, which is 1/x, and 0 for 0. */
static unsigned field_inverse(unsigned x, unsigned modulus)
{
    unsigned result = 1;

    for (unsigned i = 0; i < 254; i++)
        result = field_product(result, x, modulus);
    return result;
}

/* Bit i of the result: the parity of x under `row` rotated left i times; then the constant. */
static unsigned affine(unsigned x, unsigned row, unsigned constant)
{
    unsigned result = 0;

    for (unsigned i = 0; i < 8; i++)
        result |= (unsigned)__builtin_parity(x & __builtin_rotateleft8((unsigned char)row, i)) << i;
    return result ^ constant;
}

/* FIPS 197, 5.1.1: modulo x^8 + x^4 + x^3 + x + 1, then bit i is the sum of bits i, i+4, i+5, i+6, i+7. */
START_TEST(the_s_box_of_aes_is_the_affine_image_of_the_inverse)
{
    for (unsigned x = 0; x < 256; x++) {
        unsigned image = affine(field_inverse(x, 0x11b), 0xf1, 0x63);

        ck_assert_uint_eq(crypto_aes_substitute_plain(x), image | 0x63636300);
        ck_assert_uint_eq(crypto_aes_decrypt_plain(image, 0, false) & 0xff, x);
    }
}
END_TEST

/* Modulo x^8 + x^7 + x^6 + x^5 + x^4 + x^2 + 1, between two applications of one affine map. */
START_TEST(the_s_box_of_sm4_is_an_inverse_between_affine_maps)
{
    for (unsigned x = 0; x < 256; x++) {
        unsigned image = affine(field_inverse(affine(x, 0xa7, 0xd3), 0x1f5), 0xa7, 0xd3);
        ck_assert_uint_eq(crypto_sm4_substitute(0xabcdef00 | x), image);
    }
    ck_assert_uint_eq(crypto_sm4_substitute(0), 0xd6);
    ck_assert_uint_eq(crypto_sm4_substitute(0xff), 0x48);
}
END_TEST

/* ---- rounds of AES ---- */

/* FIPS 197, appendix B, round 1: the state at its start, after the S-box and the shift of rows, and mixed. */
START_TEST(a_round_is_the_standards_example)
{
    const uint64_t start[] = {0x2be2f4a0bee33d19, 0x0848f8e92a8dc69a};
    const uint64_t shifted[] = {0xae52b4e0305dbfd4, 0xe598271ef11141b8};
    const uint64_t done[] = {0x9a19cbe0e5816604, 0x4c2606287ad3f848};

    for (unsigned half = 0; half < 2; half++) {
        unsigned other = !half;

        ck_assert_uint_eq(crypto_aes_encrypt_plain(start[half], start[other], false), shifted[half]);
        ck_assert_uint_eq(crypto_aes_encrypt_plain(start[half], start[other], true), done[half]);
        ck_assert_uint_eq(crypto_aes_encrypt(start[half], start[other]), done[half]);
        ck_assert_uint_eq(crypto_aes_encrypt_last(start[half], start[other]), shifted[half]);
        ck_assert_uint_eq(crypto_aes_decrypt_last(shifted[half], shifted[other]), start[half]);
        ck_assert_uint_eq(crypto_aes_unmix(done[half]), shifted[half]);
        ck_assert_uint_eq(crypto_aes_decrypt(shifted[half], shifted[other]), crypto_aes_unmix_plain(start[half]));
    }
}
END_TEST

START_TEST(the_hosts_rounds_are_the_plain_ones)
{
    for (unsigned i = 0; crypto_host_has_aes() && i < RANDOM_TRIES; i++) {
        uint64_t a = random_number(), b = random_number();

        ck_assert_uint_eq(crypto_aes_encrypt_host(a, b, i & 1), crypto_aes_encrypt_plain(a, b, i & 1));
        ck_assert_uint_eq(crypto_aes_decrypt_host(a, b, i & 1), crypto_aes_decrypt_plain(a, b, i & 1));
        ck_assert_uint_eq(crypto_aes_unmix_host(a), crypto_aes_unmix_plain(a));
        ck_assert_uint_eq(crypto_aes_substitute_host((uint32_t)a), crypto_aes_substitute_plain((uint32_t)a));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("isa_crypto");
    TCase *products = tcase_create("products");

    tcase_add_test(products, products_are_those_of_polynomials);
    tcase_add_test(products, the_hosts_products_are_the_plain_ones);
    suite_add_tcase(suite, products);
    TCase *ciphers = tcase_create("ciphers");
    tcase_add_test(ciphers, the_s_box_of_aes_is_the_affine_image_of_the_inverse);
    tcase_add_test(ciphers, the_s_box_of_sm4_is_an_inverse_between_affine_maps);
    tcase_add_test(ciphers, a_round_is_the_standards_example);
    tcase_add_test(ciphers, the_hosts_rounds_are_the_plain_ones);
    suite_add_tcase(suite, ciphers);
    return run_suite(suite);
}
