/* Instructions for cryptography that are worth a host instruction of their own where the host has it, which a run-time
 * check finds out; elsewhere plain C. Helpers of sem_crypto.h and sem_int.h: functions of their operands alone, any
 * thread. */
#ifndef TUFF_ENGINE_ISA_RISCV_CRYPTO_H
#define TUFF_ENGINE_ISA_RISCV_CRYPTO_H

#include <stdint.h>

#define CRYPTO_PURE __attribute__((const))

/* The product of two polynomials over GF(2), which has 127 bits: bits 63..0, 127..64 and 126..63 (Unprivileged ISA,
 * chapter "B", sections of Zbc). */
CRYPTO_PURE uint64_t crypto_clmul(uint64_t a, uint64_t b);
CRYPTO_PURE uint64_t crypto_clmulh(uint64_t a, uint64_t b);
CRYPTO_PURE uint64_t crypto_clmulr(uint64_t a, uint64_t b);

/* AES (FIPS 197): a round without the key's addition, on the state that `low` and `high` are the bytes of as they lie
 * in memory; gives the lower half. _last is the round without the mixing of columns. */
CRYPTO_PURE uint64_t crypto_aes_encrypt(uint64_t low, uint64_t high);
CRYPTO_PURE uint64_t crypto_aes_encrypt_last(uint64_t low, uint64_t high);
CRYPTO_PURE uint64_t crypto_aes_decrypt(uint64_t low, uint64_t high);
CRYPTO_PURE uint64_t crypto_aes_decrypt_last(uint64_t low, uint64_t high);
/* The inverse mixing of two columns. */
CRYPTO_PURE uint64_t crypto_aes_unmix(uint64_t columns);
/* AES's S-box on each byte. */
CRYPTO_PURE uint32_t crypto_aes_substitute(uint32_t word);

/* SM4's S-box on the lowest byte; the rest of the result is zero. */
CRYPTO_PURE uint32_t crypto_sm4_substitute(uint64_t byte);

#endif
