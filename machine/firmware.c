/* See firmware.h. */
#include "machine/firmware.h"

#include <endian.h>
#include <string.h>

void firmware_info_write(uint8_t info[FIRMWARE_INFO_BYTES], uint64_t next_gpa)
{
    enum { NEXT_MODE_S = 1 };
    static const uint64_t magic = 0x4942534f; /* "OSBI" */
    const uint64_t words[] = {
        magic,    2,              /* version */
        next_gpa, NEXT_MODE_S, 0, /* options */
        0,                        /* boot hart */
    };

    memset(info, 0, FIRMWARE_INFO_BYTES);
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        uint64_t word = htole64(words[i]);
        memcpy(info + i * sizeof(word), &word, sizeof(word));
    }
}
