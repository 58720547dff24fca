/* What every device has in common: reset, destruction, its device-tree node and the fields a snapshot saves.
 *
 * A device is one file: a creating function of its own (typed parameters, maps its registers into `struct mem`),
 * and a const `struct device_ops`. The machine keeps devices in creation order and calls the ops.
 */
#ifndef TUFF_DEV_DEVICE_H
#define TUFF_DEV_DEVICE_H

#include <stddef.h>
#include <stdint.h>

/* One saved field: where it lies in the device's struct, how large it is, since which version of the
 * section it exists. Integers are saved in host order of 1, 2, 4 or 8 bytes; arrays by `count`. A table ends with a
 * NULL name. */
struct device_field {
    const char *name;
    uint32_t offset;
    uint32_t element_bytes;
    uint32_t count;
    uint32_t since_version;
};

#define DEVICE_FIELD(type, member, version) {#member, offsetof(type, member), sizeof(((type *)0)->member), 1, version}
#define DEVICE_FIELD_ARRAY(type, member, version)                     \
    {#member, offsetof(type, member), sizeof(((type *)0)->member[0]), \
     sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]), version}

struct device;

/* State whose size is not always the same: columns of integers of 1, 2, 4 or 8 bytes, each of any length. */
struct device_column {
    const char *name;
    uint32_t element_bytes;
    uint32_t count;
    const void *value;
};

enum { DEVICE_COLUMNS_MAX = 8 };

struct device_columns {
    const char *name; /* of their section */
    uint32_t version;
    unsigned count;
    struct device_column list[DEVICE_COLUMNS_MAX];
};

struct device_ops {
    const char *name;       /* unique among kinds, e.g. "ns16550a" */
    uint32_t state_version; /* version of the saved section */
    const struct device_field *fields;
    void (*reset)(struct device *dev);
    void (*destroy)(struct device *dev); /* frees the device */
    /* Writes the device's node under /soc of the tree `fdt` (libfdt sequential-independent, rw API). Returns 0 or a
     * negative libfdt error. NULL where the board writes the node itself. */
    int (*fdt)(struct device *dev, void *fdt);
    /* Called before fields are saved, where they have to be fetched from somewhere else. May be NULL. */
    void (*pre_save)(struct device *dev);
    /* Called after fields were restored, to raise lines and timers again. May be NULL. */
    void (*post_restore)(struct device *dev);
    /* Columns besides the fields: `out` is filled in and good until columns_done(), which may be called without.
     * Returns 0 or a negative errno. NULL, as all three: there are never any. */
    const char *columns_name;
    int (*columns_save)(struct device *dev, struct device_columns *out);
    void (*columns_done)(struct device *dev);
    /* Before the fields are loaded; `in`, whose values and counts are a stranger's, in the order of their names, is
     * gone after the call. Without a call none were saved. */
    int (*columns_load)(struct device *dev, const struct device_columns *in);
};

/* First member of each device's struct. */
struct device {
    const struct device_ops *ops;
};

#endif
