/* SiFive's test device; see syscon_test.h. It has no state: nothing to save, nothing to lock. */
#include "dev/syscon_test.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdlib.h>

enum { TEST_FAIL = 0x3333, TEST_PASS = 0x5555, TEST_RESET = 0x7777 };

struct syscon_test {
    struct device base;
    struct syscon_test_config config; /* constant */
};

static int syscon_test_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    *value = 0;
    return 0;
}

static int syscon_test_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    const struct syscon_test *test = opaque;

    if (offset == 0 && (value & 0xffff) == TEST_PASS)
        test->config.event(test->config.opaque, SYSCON_TEST_POWEROFF, 0);
    else if (offset == 0 && (value & 0xffff) == TEST_FAIL)
        test->config.event(test->config.opaque, SYSCON_TEST_FAIL, (uint32_t)value >> 16);
    else if (offset == 0 && (value & 0xffff) == TEST_RESET)
        test->config.event(test->config.opaque, SYSCON_TEST_RESET, 0);
    else
        log_guest_error("syscon-test: write of 0x%" PRIx64 " at 0x%" PRIx64 " means nothing", value, offset);
    return 0;
}

/* Two bytes are enough for power-off and reset, and QEMU's takes them. */
static const struct mem_ops syscon_test_mem_ops = {
    .name = "syscon-test",
    .read = syscon_test_read,
    .write = syscon_test_write,
    .min_access_bytes = 2,
    .max_access_bytes = 4,
};

static void syscon_test_reset(struct device *dev)
{
    (void)dev;
}

static void syscon_test_destroy(struct device *dev)
{
    free(dev);
}

/* A root node that tells the kernel to write `value` to the test register. */
static int add_action(void *fdt, const char *name, const char *compatible, uint32_t phandle, uint32_t value)
{
    int node = fdt_add_subnode(fdt, 0, name);
    int rc;

    if (node < 0)
        return node;
    rc = fdt_setprop_string(fdt, node, "compatible", compatible);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "regmap", phandle);
    if (!rc)
        rc = fdt_setprop_u32(fdt, node, "offset", 0);
    return rc ? rc : fdt_setprop_u32(fdt, node, "value", value);
}

static int syscon_test_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"sifive,test1", "sifive,test0", "syscon", NULL};
    const struct syscon_test *test = (const struct syscon_test *)dev;
    int node = fdt_node_add(fdt, "test", test->config.gpa, SYSCON_TEST_BYTES, compatible);
    int rc;

    if (node < 0)
        return node;
    rc = fdt_setprop_u32(fdt, node, "phandle", test->config.phandle);
    if (!rc)
        rc = add_action(fdt, "poweroff", "syscon-poweroff", test->config.phandle, TEST_PASS);
    return rc ? rc : add_action(fdt, "reboot", "syscon-reboot", test->config.phandle, TEST_RESET);
}

static const struct device_ops syscon_test_ops = {
    .name = "syscon-test",
    .state_version = 1,
    .reset = syscon_test_reset,
    .destroy = syscon_test_destroy,
    .fdt = syscon_test_fdt,
};

int syscon_test_create(const struct syscon_test_config *config, struct device **out)
{
    struct syscon_test *test = calloc(1, sizeof(*test));

    if (!test)
        return -ENOMEM;
    test->base.ops = &syscon_test_ops;
    test->config = *config;
    int rc = mem_add_mmio(config->mem, config->gpa, SYSCON_TEST_BYTES, &syscon_test_mem_ops, test);
    if (rc) {
        syscon_test_destroy(&test->base);
        return rc;
    }
    *out = &test->base;
    return 0;
}
