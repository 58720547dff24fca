/* The two ways of crypto.c, apart: the test of one against the other. */
#ifndef TUFF_ENGINE_ISA_RISCV_CRYPTO_INTERNAL_H
#define TUFF_ENGINE_ISA_RISCV_CRYPTO_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/* What the host has. The functions named _host may be called only if it does. */
bool crypto_host_has_clmul(void);
bool crypto_host_has_aes(void);

unsigned __int128 crypto_product_plain(uint64_t a, uint64_t b);
unsigned __int128 crypto_product_host(uint64_t a, uint64_t b);

uint64_t crypto_aes_encrypt_plain(uint64_t low, uint64_t high, bool mix);
uint64_t crypto_aes_decrypt_plain(uint64_t low, uint64_t high, bool mix);
uint64_t crypto_aes_unmix_plain(uint64_t columns);
uint32_t crypto_aes_substitute_plain(uint32_t word);
uint64_t crypto_aes_encrypt_host(uint64_t low, uint64_t high, bool mix);
uint64_t crypto_aes_decrypt_host(uint64_t low, uint64_t high, bool mix);
uint64_t crypto_aes_unmix_host(uint64_t columns);
uint32_t crypto_aes_substitute_host(uint32_t word);

#endif
