/* See p9_flags.h. */
#include "dev/share/p9_flags.h"

#include "base/compiler.h"

#include <fcntl.h>
#include <stddef.h>

static const struct {
    uint32_t wire;
    int host;
} names[] = {{01, O_WRONLY},    {02, O_RDWR},           {0200, O_EXCL},        {01000, O_TRUNC},  {02000, O_APPEND},
             {010000, O_DSYNC}, {0200000, O_DIRECTORY}, {01000000, O_NOATIME}, {04000000, O_SYNC}};

int p9_open_flags(uint32_t wire)
{
    int host = 0;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(names); i++) {
        if (wire & names[i].wire)
            host |= names[i].host;
    }
    return host;
}

uint32_t p9_wire_flags(int host)
{
    uint32_t wire = 0;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(names); i++) {
        if ((host & names[i].host) == names[i].host)
            wire |= names[i].wire;
    }
    return wire;
}
