/* The guest's accrued exception flags: those that the host's control register collects while the guest runs, and those
 * that hart.fflags holds. Inline in every tier, since programs read and write them round each quiet comparison. The
 * control register is reached by volatile assembly alone, which compilers move no floating-point operation across
 * where FENV_ACCESS is on.
 */
#ifndef TUFF_ENGINE_ISA_RISCV_FP_FLAGS_H
#define TUFF_ENGINE_ISA_RISCV_FP_FLAGS_H

#include "engine/isa/riscv/hart.h"

enum { FLAG_NX = 1, FLAG_UF = 2, FLAG_OF = 4, FLAG_DZ = 8, FLAG_NV = 16 };

/* MXCSR: flags IE DE ZE OE UE PE in bits 0..5, masks in 7..12, rounding control in 13..14. */
enum { MXCSR_MASKS = 0x1f80, MXCSR_FLAGS = 0x3f, MXCSR_RC_SHIFT = 13 };

TUFF_INLINE uint32_t mxcsr_read(void)
{
    uint32_t value;
    __asm__ volatile("stmxcsr %0" : "=m"(value) : : "memory");
    return value;
}

TUFF_INLINE void mxcsr_write(uint32_t value)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
}

TUFF_INLINE uint8_t flags_from_host(uint32_t mxcsr)
{
    return (uint8_t)((mxcsr & 1) << 4 | (mxcsr & 4) << 1 | (mxcsr & 8) >> 1 | (mxcsr & 16) >> 3 | (mxcsr & 32) >> 5);
}

TUFF_INLINE uint8_t fp_read_flags(struct hart *h)
{
    return h->host_fp ? h->fflags | flags_from_host(mxcsr_read()) : h->fflags;
}

TUFF_INLINE void fp_write_flags(struct hart *h, uint8_t flags)
{
    h->fflags = flags;
    if (!h->host_fp)
        return;
    /* Writing MXCSR costs some 20 cycles, reading it 5: flags that were only saved and restored need no write. */
    uint32_t host = mxcsr_read();
    if (TUFF_UNLIKELY(flags_from_host(host) & ~flags))
        mxcsr_write(host & ~(uint32_t)MXCSR_FLAGS);
}

#endif
