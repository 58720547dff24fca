/* Instructions for cryptography that are worth a host instruction of their own where the host has it, which a run-time
 * check finds out; elsewhere plain C. Helpers of sem_int.h: functions of their operands alone, any thread. */
#ifndef TUFF_ENGINE_ISA_RISCV_CRYPTO_H
#define TUFF_ENGINE_ISA_RISCV_CRYPTO_H

#include <stdint.h>

#define CRYPTO_PURE __attribute__((const))

/* The product of two polynomials over GF(2), which has 127 bits: bits 63..0, 127..64 and 126..63 (Unprivileged ISA,
 * chapter "B", sections of Zbc). */
CRYPTO_PURE uint64_t crypto_clmul(uint64_t a, uint64_t b);
CRYPTO_PURE uint64_t crypto_clmulh(uint64_t a, uint64_t b);
CRYPTO_PURE uint64_t crypto_clmulr(uint64_t a, uint64_t b);

#endif
