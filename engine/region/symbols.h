/* What compiled regions may refer to by name: helpers of the semantic bodies, and where a region goes on. A tier makes
 * these known to its linker; a body that calls something else fails the build.
 */
#ifndef TUFF_ENGINE_REGION_SYMBOLS_H
#define TUFF_ENGINE_REGION_SYMBOLS_H

#include "engine/interp/interp.h"
#include "engine/isa/riscv/crypto.h"
#include "engine/region/region.h"
#include "engine/region/verify.h"

/* Where a region is left: the name, and what stands behind it under --verify, where regions return. */
#define REGION_WAYS_OUT(X)      \
    X(interp_go, verify_go)     \
    X(interp_past, verify_past) \
    X(interp_region_decline, verify_region_decline)

#define REGION_SYMBOLS(X)        \
    X(region_slow)               \
    X(region_exit)               \
    X(region_reach)              \
    X(region_poll)               \
    X(region_forget_pages)       \
    X(mmu_load_reserved)         \
    X(mmu_store_conditional)     \
    X(mmu_compare_and_swap_pair) \
    X(mmu_block_zero)            \
    X(mmu_block_check)           \
    X(csr_cbo_enabled)           \
    X(fp_fma_nan)                \
    X(fp_rounded)                \
    X(fp_soft)                   \
    X(fp_to_int)                 \
    X(fp_from_int)               \
    X(fp_narrow)                 \
    X(fp_round_integral)         \
    X(fp_to_int_modulo)          \
    X(fp_raise)                  \
    X(crypto_clmul)              \
    X(crypto_clmulh)             \
    X(crypto_clmulr)             \
    X(crypto_aes_encrypt)        \
    X(crypto_aes_encrypt_last)   \
    X(crypto_aes_decrypt)        \
    X(crypto_aes_decrypt_last)   \
    X(crypto_aes_unmix)          \
    X(crypto_aes_substitute)     \
    X(crypto_sm4_substitute)

#endif
