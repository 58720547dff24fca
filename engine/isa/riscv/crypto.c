/* See crypto.h. The check of the host is a load and a test each time: cheap beside the call. */
#include "engine/isa/riscv/crypto.h"

#include "base/compiler.h"
#include "engine/isa/riscv/crypto_internal.h"

#include <immintrin.h>

/* ---- products over GF(2) ---- */

bool crypto_host_has_clmul(void)
{
    return __builtin_cpu_supports("pclmul");
}

unsigned __int128 crypto_product_plain(uint64_t a, uint64_t b)
{
    unsigned __int128 product = 0;

    for (unsigned i = 0; i < 64; i++)
        product ^= ((unsigned __int128)a << i) & -(unsigned __int128)(b >> i & 1);
    return product;
}

__attribute__((target("pclmul"))) unsigned __int128 crypto_product_host(uint64_t a, uint64_t b)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi64_si128((long long)b), 0);

    return (unsigned __int128)product;
}

static unsigned __int128 product(uint64_t a, uint64_t b)
{
    return TUFF_LIKELY(crypto_host_has_clmul()) ? crypto_product_host(a, b) : crypto_product_plain(a, b);
}

uint64_t crypto_clmul(uint64_t a, uint64_t b)
{
    return (uint64_t)product(a, b);
}

uint64_t crypto_clmulh(uint64_t a, uint64_t b)
{
    return (uint64_t)(product(a, b) >> 64);
}

uint64_t crypto_clmulr(uint64_t a, uint64_t b)
{
    return (uint64_t)(product(a, b) >> 63);
}
