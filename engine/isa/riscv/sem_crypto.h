/* Semantic bodies: scalar cryptography (Unprivileged ISA, chapter "Cryptography Extensions: Scalar & Entropy Source
 * Instructions"). Zbkb, Zbkc and Zbkx stand in sem_int.h, beside the rest of bit manipulation. */
#ifndef TUFF_ENGINE_ISA_RISCV_SEM_CRYPTO_H
#define TUFF_ENGINE_ISA_RISCV_SEM_CRYPTO_H

#include "engine/isa/riscv/crypto.h"
#include "engine/isa/riscv/sem.h"

/* Zknd, Zkne: rs1 and rs2 are the lower and upper half of AES's state as it lies in memory, and a round gives the lower
 * half; with the operands exchanged it gives the upper one. */
SEM(aes64ds)
{
    SET_RD(crypto_aes_decrypt_last(RS1, RS2));
    NEXT;
}
SEM(aes64dsm)
{
    SET_RD(crypto_aes_decrypt(RS1, RS2));
    NEXT;
}
SEM(aes64es)
{
    SET_RD(crypto_aes_encrypt_last(RS1, RS2));
    NEXT;
}
SEM(aes64esm)
{
    SET_RD(crypto_aes_encrypt(RS1, RS2));
    NEXT;
}
SEM(aes64im)
{
    SET_RD(crypto_aes_unmix(RS1));
    NEXT;
}
/* Round 10 is the step of a 256-bit key without rotation and constant; constant 8 is 2^8 in AES's field, reduced. */
SEM(aes64ks1i)
{
    uint32_t word = (uint32_t)(RS1 >> 32);
    uint32_t constant = imm < 8 ? 1u << (imm & 7) : imm == 8 ? 0x1b : imm == 9 ? 0x36 : 0;
    uint64_t result = crypto_aes_substitute(imm == 10 ? word : __builtin_rotateright32(word, 8)) ^ constant;
    SET_RD(result | result << 32);
    NEXT;
}
SEM(aes64ks2)
{
    uint64_t low = (RS1 >> 32 ^ RS2) & UINT32_MAX;
    SET_RD(low | (low ^ RS2 >> 32) << 32);
    NEXT;
}
/* Zknh: the functions of SHA-256 and SHA-512 (FIPS 180-4, 4.1.2 and 4.1.3) */
SEM(sha256sum0)
{
    uint32_t v = RS1_W;
    SET_RD_W(__builtin_rotateright32(v, 2) ^ __builtin_rotateright32(v, 13) ^ __builtin_rotateright32(v, 22));
    NEXT;
}
SEM(sha256sum1)
{
    uint32_t v = RS1_W;
    SET_RD_W(__builtin_rotateright32(v, 6) ^ __builtin_rotateright32(v, 11) ^ __builtin_rotateright32(v, 25));
    NEXT;
}
SEM(sha256sig0)
{
    uint32_t v = RS1_W;
    SET_RD_W(__builtin_rotateright32(v, 7) ^ __builtin_rotateright32(v, 18) ^ v >> 3);
    NEXT;
}
SEM(sha256sig1)
{
    uint32_t v = RS1_W;
    SET_RD_W(__builtin_rotateright32(v, 17) ^ __builtin_rotateright32(v, 19) ^ v >> 10);
    NEXT;
}
SEM(sha512sum0)
{
    uint64_t v = RS1;
    SET_RD(__builtin_rotateright64(v, 28) ^ __builtin_rotateright64(v, 34) ^ __builtin_rotateright64(v, 39));
    NEXT;
}
SEM(sha512sum1)
{
    uint64_t v = RS1;
    SET_RD(__builtin_rotateright64(v, 14) ^ __builtin_rotateright64(v, 18) ^ __builtin_rotateright64(v, 41));
    NEXT;
}
SEM(sha512sig0)
{
    uint64_t v = RS1;
    SET_RD(__builtin_rotateright64(v, 1) ^ __builtin_rotateright64(v, 8) ^ v >> 7);
    NEXT;
}
SEM(sha512sig1)
{
    uint64_t v = RS1;
    SET_RD(__builtin_rotateright64(v, 19) ^ __builtin_rotateright64(v, 61) ^ v >> 6);
    NEXT;
}
/* Zksed: one byte of rs2 goes through the S-box, then through the linear transformation, which is SM4's on big-endian
 * words read as little-endian ones. */
SEM(sm4ed)
{
    uint32_t v = crypto_sm4_substitute(RS2 >> (imm & 3) * 8);
    uint32_t spread = v ^ v << 8 ^ v << 2 ^ v << 18 ^ (v & 0x3f) << 26 ^ (v & 0xc0) << 10;
    SET_RD_W(RS1_W ^ __builtin_rotateleft32(spread, (uint32_t)(imm & 3) * 8));
    NEXT;
}
SEM(sm4ks)
{
    uint32_t v = crypto_sm4_substitute(RS2 >> (imm & 3) * 8);
    uint32_t spread = v ^ (v & 0x07) << 29 ^ (v & 0xfe) << 7 ^ (v & 0x01) << 23 ^ (v & 0xf8) << 13;
    SET_RD_W(RS1_W ^ __builtin_rotateleft32(spread, (uint32_t)(imm & 3) * 8));
    NEXT;
}
/* Zksh: the permutations of SM3 */
SEM(sm3p0)
{
    uint32_t v = RS1_W;
    SET_RD_W(v ^ __builtin_rotateleft32(v, 9) ^ __builtin_rotateleft32(v, 17));
    NEXT;
}
SEM(sm3p1)
{
    uint32_t v = RS1_W;
    SET_RD_W(v ^ __builtin_rotateleft32(v, 15) ^ __builtin_rotateleft32(v, 23));
    NEXT;
}

#endif
