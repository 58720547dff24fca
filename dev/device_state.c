/* Saved sections of devices; the rules are in device_state.h.
 *
 *   header   magic u32 | format u32 | state_version u32 | field count u32 | device name, 32 bytes, zero-padded
 *   field    name, 32 bytes, zero-padded | element_bytes u32 | count u32 | element_bytes * count bytes
 *   ...
 *   end      CRC-32 (zlib's) of everything before it
 *
 * Integers are little-endian, which is host order on every host supported.
 */
#include "dev/device_state.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

enum { SECTION_MAGIC = 0x56454454, SECTION_FORMAT = 1, NAME_BYTES = 32 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "sections are written in host order");

struct section_header {
    uint32_t magic;
    uint32_t format;
    uint32_t state_version;
    uint32_t field_count;
    char device[NAME_BYTES];
};

struct field_header {
    char name[NAME_BYTES];
    uint32_t element_bytes;
    uint32_t count;
};

_Static_assert(sizeof(struct section_header) == 48 && sizeof(struct field_header) == 40, "no padding in the file");

static size_t field_data_bytes(const struct device_field *field)
{
    return (size_t)field->element_bytes * field->count;
}

/* Size of the section as `version` of the device wrote it, and how many fields that had. */
static size_t section_bytes(const struct device_ops *ops, uint32_t version, uint32_t *field_count)
{
    size_t bytes = sizeof(struct section_header) + sizeof(uint32_t);

    *field_count = 0;
    for (const struct device_field *f = ops->fields; f && f->name; f++) {
        if (f->since_version > version)
            continue;
        bytes += sizeof(struct field_header) + field_data_bytes(f);
        ++*field_count;
    }
    return bytes;
}

size_t device_state_size(const struct device *dev)
{
    uint32_t field_count;

    return section_bytes(dev->ops, dev->ops->state_version, &field_count);
}

static struct section_header make_section_header(const struct device_ops *ops, uint32_t field_count)
{
    struct section_header header = {.magic = SECTION_MAGIC,
                                    .format = SECTION_FORMAT,
                                    .state_version = ops->state_version,
                                    .field_count = field_count};

    assert(strlen(ops->name) < NAME_BYTES);
    strcpy(header.device, ops->name);
    return header;
}

static struct field_header make_field_header(const struct device_field *field)
{
    struct field_header header = {.element_bytes = field->element_bytes, .count = field->count};

    assert(strlen(field->name) < NAME_BYTES);
    strcpy(header.name, field->name);
    return header;
}

int device_state_save(const struct device *dev, uint8_t *buf, size_t len)
{
    uint32_t field_count;
    size_t bytes = section_bytes(dev->ops, dev->ops->state_version, &field_count);
    uint8_t *at = buf;

    if (len < bytes)
        return -ENOSPC;
    if (dev->ops->pre_save)
        dev->ops->pre_save((struct device *)(uintptr_t)dev); /* whose fields are then what the device is */
    struct section_header header = make_section_header(dev->ops, field_count);
    memcpy(at, &header, sizeof(header));
    at += sizeof(header);
    for (const struct device_field *f = dev->ops->fields; f && f->name; f++) {
        struct field_header field = make_field_header(f);
        memcpy(at, &field, sizeof(field));
        at += sizeof(field);
        memcpy(at, (const uint8_t *)dev + f->offset, field_data_bytes(f));
        at += field_data_bytes(f);
    }
    uint32_t crc = (uint32_t)crc32_z(0, buf, (size_t)(at - buf));
    memcpy(at, &crc, sizeof(crc));
    return 0;
}

static int check_header(const struct device_ops *ops, const uint8_t *buf, size_t len, struct section_header *header,
                        struct error *err)
{
    uint32_t crc, field_count;

    if (len < sizeof(*header) + sizeof(crc))
        return error_set(err, -EINVAL, "saved state of %s is cut off at %zu bytes", ops->name, len);
    memcpy(header, buf, sizeof(*header));
    memcpy(&crc, buf + len - sizeof(crc), sizeof(crc));
    if (header->magic != SECTION_MAGIC || crc != (uint32_t)crc32_z(0, buf, len - sizeof(crc)))
        return error_set(err, -EINVAL, "saved state of %s is damaged", ops->name);
    if (memcmp(header->device, make_section_header(ops, 0).device, NAME_BYTES) != 0)
        return error_set(err, -EINVAL, "saved state of %s belongs to another device", ops->name);
    if (header->format != SECTION_FORMAT || header->state_version > ops->state_version)
        return error_set(err, -ENOTSUP, "saved state of %s has version %u.%u, newer than %d.%u: use a newer tuff",
                         ops->name, header->format, header->state_version, SECTION_FORMAT, ops->state_version);
    if (header->state_version == 0 || len != section_bytes(ops, header->state_version, &field_count) ||
        header->field_count != field_count)
        return error_set(err, -EINVAL, "saved state of %s does not have the size of its version %u", ops->name,
                         header->state_version);
    return 0;
}

/* Walks the fields of a section whose total size is right; copies them into the device only when `apply` is set, so
 * that a first walk can check all of them. */
static int walk_fields(struct device *dev, const uint8_t *buf, uint32_t version, bool apply, struct error *err)
{
    const uint8_t *at = buf + sizeof(struct section_header);

    for (const struct device_field *f = dev->ops->fields; f && f->name; f++) {
        if (f->since_version > version)
            continue;
        struct field_header expected = make_field_header(f);
        if (memcmp(at, &expected, sizeof(expected)) != 0)
            return error_set(err, -EINVAL, "saved state of %s has no usable field %s", dev->ops->name, f->name);
        at += sizeof(expected);
        if (apply)
            memcpy((uint8_t *)dev + f->offset, at, field_data_bytes(f));
        at += field_data_bytes(f);
    }
    return 0;
}

int device_state_load(struct device *dev, const uint8_t *buf, size_t len, struct error *err)
{
    struct section_header header;
    int rc = check_header(dev->ops, buf, len, &header, err);

    if (rc)
        return rc;
    rc = walk_fields(dev, buf, header.state_version, false, err);
    if (rc)
        return rc;
    if (dev->ops->reset)
        dev->ops->reset(dev);
    rc = walk_fields(dev, buf, header.state_version, true, err);
    assert(rc == 0); /* the first walk passed over the same bytes */
    if (dev->ops->post_restore)
        dev->ops->post_restore(dev);
    return rc;
}

/* ---- field by field ---- */

void device_state_each(const struct device *dev,
                       void (*fn)(void *opaque, const struct device_field *field, const void *value), void *opaque)
{
    for (const struct device_field *f = dev->ops->fields; f && f->name; f++)
        fn(opaque, f, (const uint8_t *)dev + f->offset);
}

int device_state_set(struct device *dev, uint32_t version, unsigned field_count, device_state_get get, void *opaque,
                     struct error *err)
{
    const struct device_ops *ops = dev->ops;
    unsigned expected = 0;

    if (version > ops->state_version)
        return error_set(err, -ENOTSUP, "saved state of %s has version %u, newer than %u: use a newer tuff", ops->name,
                         version, ops->state_version);
    for (const struct device_field *f = ops->fields; f && f->name; f++) {
        if (f->since_version > version)
            continue;
        expected++;
        if (!get(opaque, f))
            return error_set(err, -EINVAL, "saved state of %s has no usable field %s", ops->name, f->name);
    }
    if (version == 0 || field_count != expected)
        return error_set(err, -EINVAL, "saved state of %s has %u fields, its version %u has %u", ops->name, field_count,
                         version, expected);
    if (ops->reset)
        ops->reset(dev);
    for (const struct device_field *f = ops->fields; f && f->name; f++) {
        if (f->since_version <= version)
            memcpy((uint8_t *)dev + f->offset, get(opaque, f), field_data_bytes(f));
    }
    if (ops->post_restore)
        ops->post_restore(dev);
    return 0;
}
