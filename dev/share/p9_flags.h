/* Flags of open(2) as the protocol has them: Linux' generic numbers. */
#ifndef TUFF_DEV_SHARE_P9_FLAGS_H
#define TUFF_DEV_SHARE_P9_FLAGS_H

#include <stdint.h>

/* The host's flags. What the protocol has no number for is left out, here and there. */
int p9_open_flags(uint32_t wire);
uint32_t p9_wire_flags(int host);

#endif
