/* What the fuzz targets for devices share: saved states with any values. */
#ifndef TUFF_TESTS_FUZZ_DEVICE_H
#define TUFF_TESTS_FUZZ_DEVICE_H

#include "dev/device.h"
#include "dev/device_state.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Half of the fields change: for devices of few fields. */
static inline void change_often(uint8_t *field, size_t bytes, struct reader *r)
{
    if (take(r, 1) & 1)
        field[take(r, 2) % bytes] ^= (uint8_t)take(r, 1);
}

/* A quarter, the first bytes more often than later ones. */
static inline void change_rarely(uint8_t *field, size_t bytes, struct reader *r)
{
    uint64_t choice = take(r, 1);

    if (choice % 4 == 0 && choice)
        field[choice / 4 % bytes] = (uint8_t)take(r, 1);
}

/* Saves a device, changes bytes of its fields, makes the checksum right again, and loads. */
static inline void reload(struct device *dev, struct reader *r,
                          void (*change)(uint8_t *field, size_t bytes, struct reader *r))
{
    enum { HEADER_BYTES = 48, FIELD_HEADER_BYTES = 40 };
    size_t len = device_state_size(dev), at = HEADER_BYTES;
    uint8_t *buf = malloc(len);

    require(buf && device_state_save(dev, buf, len) == 0);
    for (const struct device_field *f = dev->ops->fields; f && f->name; f++) {
        size_t bytes = (size_t)f->element_bytes * f->count;
        at += FIELD_HEADER_BYTES;
        change(buf + at, bytes, r);
        at += bytes;
    }
    uint32_t crc = (uint32_t)crc32_z(0, buf, len - 4);
    memcpy(buf + len - 4, &crc, 4);
    require(device_state_load(dev, buf, len, NULL) == 0);
    free(buf);
}

#endif
