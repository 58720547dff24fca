/* The two ways of crypto.c, apart: the test of one against the other. */
#ifndef TUFF_ENGINE_ISA_RISCV_CRYPTO_INTERNAL_H
#define TUFF_ENGINE_ISA_RISCV_CRYPTO_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/* What the host has. The functions named _host may be called only if it does. */
bool crypto_host_has_clmul(void);

unsigned __int128 crypto_product_plain(uint64_t a, uint64_t b);
unsigned __int128 crypto_product_host(uint64_t a, uint64_t b);

#endif
