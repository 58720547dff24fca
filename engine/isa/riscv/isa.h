/* RISC-V ISA extensions as bits of one word, and the names the device tree uses. */
#ifndef TUFF_ENGINE_ISA_RISCV_ISA_H
#define TUFF_ENGINE_ISA_RISCV_ISA_H

#include <stdint.h>

/* X(id, device-tree name). Canonical order (ISA manual, "ISA Extension Naming Conventions"). */
#define ISA_EXTENSIONS(X)   \
    X(I, "i")               \
    X(M, "m")               \
    X(A, "a")               \
    X(F, "f")               \
    X(D, "d")               \
    X(C, "c")               \
    X(ZICBOM, "zicbom")     \
    X(ZICBOP, "zicbop")     \
    X(ZICBOZ, "zicboz")     \
    X(ZICNTR, "zicntr")     \
    X(ZICSR, "zicsr")       \
    X(ZIFENCEI, "zifencei") \
    X(ZABHA, "zabha")       \
    X(ZACAS, "zacas")       \
    X(ZAWRS, "zawrs")       \
    X(ZBA, "zba")           \
    X(ZBB, "zbb")           \
    X(ZBS, "zbs")           \
    X(SSTC, "sstc")         \
    X(SVADU, "svadu")

enum isa_extension {
#define X(id, name) ISA_EXT_BIT_##id,
    ISA_EXTENSIONS(X)
#undef X
        ISA_EXT_COUNT,
};

#define ISA_EXT(id) (1ull << ISA_EXT_BIT_##id)

/* Size of a cache block, which the CMO instructions take and the device tree tells. */
enum { ISA_BLOCK_BYTES = 64 };

/* Everything the engine implements; the default of a machine. */
#define ISA_ALL ((1ull << ISA_EXT_COUNT) - 1)

#endif
