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

int main(void)
{
    Suite *suite = suite_create("isa_crypto");
    TCase *products = tcase_create("products");

    tcase_add_test(products, products_are_those_of_polynomials);
    tcase_add_test(products, the_hosts_products_are_the_plain_ones);
    suite_add_tcase(suite, products);
    return run_suite(suite);
}
