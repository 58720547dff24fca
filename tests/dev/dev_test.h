/* What the device tests share: register accesses as a hart makes them, recorded interrupt lines, device trees to write
 * into. */
#ifndef TUFF_TESTS_DEV_TEST_H
#define TUFF_TESTS_DEV_TEST_H

#include "dev/device.h"
#include "dev/device_state.h"
#include "dev/irq.h"
#include "mem/mem.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#define UNUSED __attribute__((unused))

/* An interrupt line's other end. */
struct line_log {
    bool level;
    unsigned rises; /* changes from low to high */
};

static UNUSED void line_log_set(void *opaque, uint32_t number, bool level)
{
    struct line_log *log = (struct line_log *)opaque + number;

    log->rises += level && !log->level;
    log->level = level;
}

static UNUSED struct irq_line line_to(struct line_log *logs, uint32_t number)
{
    return (struct irq_line){.set = line_log_set, .opaque = logs, .number = number};
}

static UNUSED uint64_t mmio_read(const struct mem *mem, uint64_t gpa, unsigned size_bytes)
{
    uint64_t value = UINT64_C(0xdeadbeefdeadbeef);

    ck_assert_int_eq(mem_mmio_read(mem, gpa, size_bytes, &value), 0);
    return value;
}

static UNUSED void mmio_write(const struct mem *mem, uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    ck_assert_int_eq(mem_mmio_write(mem, gpa, size_bytes, value), 0);
}

static UNUSED struct mem *make_mem(void)
{
    struct mem *mem;

    ck_assert_int_eq(mem_create(&mem), 0);
    return mem;
}

/* The device's saved section, to be freed. */
static UNUSED uint8_t *save(const struct device *dev, size_t *len)
{
    *len = device_state_size(dev);
    uint8_t *buf = malloc(*len);
    ck_assert_int_eq(device_state_save(dev, buf, *len), 0);
    return buf;
}

/* A state saved and loaded into the same device after a reset. */
static UNUSED void save_reset_load(struct device *dev)
{
    size_t len;
    uint8_t *buf = save(dev, &len);

    dev->ops->reset(dev);
    ck_assert_int_eq(device_state_load(dev, buf, len, NULL), 0);
    free(buf);
}

enum { TEST_FDT_BYTES = 8192 };

/* A tree with an empty /soc, to be freed. */
static UNUSED void *make_fdt(void)
{
    void *fdt = malloc(TEST_FDT_BYTES);

    ck_assert_int_eq(fdt_create_empty_tree(fdt, TEST_FDT_BYTES), 0);
    ck_assert_int_gt(fdt_add_subnode(fdt, 0, "soc"), 0);
    return fdt;
}

static UNUSED int node_at(const void *fdt, const char *path)
{
    int node = fdt_path_offset(fdt, path);

    ck_assert_msg(node >= 0, "%s: %s", path, fdt_strerror(node));
    return node;
}

/* Asserts that a property consists of these 32-bit cells. */
static UNUSED void expect_cells(const void *fdt, int node, const char *name, const uint32_t *cells, int count)
{
    int len;
    const fdt32_t *prop = fdt_getprop(fdt, node, name, &len);

    ck_assert_msg(prop != NULL, "no property %s", name);
    ck_assert_int_eq(len, count * 4);
    for (int i = 0; i < count; i++)
        ck_assert_uint_eq(fdt32_to_cpu(prop[i]), cells[i]);
}

#define EXPECT_CELLS(fdt, node, name, ...)                         \
    expect_cells(fdt, node, name, (const uint32_t[]){__VA_ARGS__}, \
                 (int)(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)))

static UNUSED void expect_compatible(const void *fdt, int node, const char *const *strings, int count)
{
    ck_assert_int_eq(fdt_stringlist_count(fdt, node, "compatible"), count);
    for (int i = 0; i < count; i++)
        ck_assert_str_eq(fdt_stringlist_get(fdt, node, "compatible", i, NULL), strings[i]);
}

/* Every device: a tree that is too small gives libfdt's error, wherever the space ends, and never a crash. */
static UNUSED void expect_fdt_survives_every_size(struct device *dev)
{
    int failures = 0;

    for (int bytes = 64; bytes < 2048; bytes += 4) {
        void *fdt = malloc((size_t)bytes);
        if (fdt_create_empty_tree(fdt, bytes) == 0 && fdt_add_subnode(fdt, 0, "soc") > 0) {
            int rc = dev->ops->fdt(dev, fdt);
            ck_assert_msg(rc == 0 || rc == -FDT_ERR_NOSPACE, "%d bytes: %s", bytes, fdt_strerror(rc));
            failures += rc != 0;
        }
        free(fdt);
    }
    ck_assert_int_gt(failures, 0);
}

#endif
