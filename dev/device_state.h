/* A device's saved fields as bytes and back, driven by its field table (dev/device.h).
 *
 * A section names its device and each of its fields with their shape, and ends in a CRC-32. Loading checks all of it
 * before it touches the device. A checksum does not make a file trustworthy: whoever wrote it chose the values too, so
 * a device's post_restore() brings every value that is used as an index or a count back into range, and saved flags are
 * uint8_t, never bool (a bool that holds 2 is undefined).
 *
 * Tables only grow: a field keeps its name and shape for ever, a new one goes to the end with a new version. So an
 * older section lacks exactly the fields of later versions, which then have their reset values.
 *
 * The device must be idle: no vCPU runs and no host thread calls it.
 */
#ifndef TUFF_DEV_DEVICE_STATE_H
#define TUFF_DEV_DEVICE_STATE_H

#include "base/compiler.h"
#include "base/error.h"
#include "dev/device.h"

/* Bytes that device_state_save() writes; constant for a kind of device. */
size_t device_state_size(const struct device *dev);

/* Writes exactly device_state_size() bytes. Returns 0, or -ENOSPC when `len` is smaller. */
TUFF_MUST_CHECK int device_state_save(const struct device *dev, uint8_t *buf, size_t len);

/* Resets the device, sets its fields from a section and calls post_restore(). Returns 0, or with the device untouched
 * and a line in `err`: -EINVAL (damaged, or another device's) or -ENOTSUP (written by a newer version). */
TUFF_MUST_CHECK int device_state_load(struct device *dev, const uint8_t *buf, size_t len, struct error *err);

/* The same fields one by one, for a file that keeps each of them under its name. `value` is the field in the device. */
void device_state_each(const struct device *dev,
                       void (*fn)(void *opaque, const struct device_field *field, const void *value), void *opaque);

/* Gives the value of a field as it was saved: element_bytes * count bytes, valid during device_state_set(). NULL: it
 * was not saved, or has another shape. */
typedef const void *(*device_state_get)(void *opaque, const struct device_field *field);
/* As device_state_load(), from fields that `version` of the device saved, `field_count` of them. */
TUFF_MUST_CHECK int device_state_set(struct device *dev, uint32_t version, unsigned field_count, device_state_get get,
                                     void *opaque, struct error *err);

#endif
