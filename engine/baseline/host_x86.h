/* What translation needs to know of the host that stencils cannot say: instructions that do nothing. */
#ifndef TUFF_ENGINE_BASELINE_HOST_X86_H
#define TUFF_ENGINE_BASELINE_HOST_X86_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Intel SDM, volume 2, NOP, "Recommended Multi-Byte Sequence of NOP Instruction": as few as may be. */
static inline void host_fill_nothing(uint8_t *at, size_t bytes)
{
    static const uint8_t nops[8][8] = {
        {0x90},
        {0x66, 0x90},
        {0x0f, 0x1f, 0x00},
        {0x0f, 0x1f, 0x40, 0x00},
        {0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
        {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    };

    while (bytes) {
        size_t n = bytes < 8 ? bytes : 8;
        memcpy(at, nops[n - 1], n);
        at += n;
        bytes -= n;
    }
}

#endif
