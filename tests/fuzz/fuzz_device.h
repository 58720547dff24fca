/* What the fuzz targets for devices share: saved states with any values. */
#ifndef TUFF_TESTS_FUZZ_DEVICE_H
#define TUFF_TESTS_FUZZ_DEVICE_H

#include "dev/device.h"
#include "dev/device_state.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Saves a device, changes bytes of its fields, makes the checksum right again, and loads. */
static inline void restore(struct device *dev, struct reader *r)
{
    size_t len = device_state_size(dev), at = 48;
    uint8_t *buf = malloc(len);

    require(device_state_save(dev, buf, len) == 0);
    for (const struct device_field *f = dev->ops->fields; f && f->name; f++) {
        size_t bytes = (size_t)f->element_bytes * f->count;
        at += 40;
        if (take(r, 1) & 1)
            buf[at + take(r, 2) % bytes] ^= (uint8_t)take(r, 1);
        at += bytes;
    }
    uint32_t crc = (uint32_t)crc32_z(0, buf, len - 4);
    memcpy(buf + len - 4, &crc, 4);
    require(device_state_load(dev, buf, len, NULL) == 0);
    free(buf);
}

#endif
