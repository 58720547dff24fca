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

#endif
