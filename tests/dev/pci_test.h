/* A bus to plug functions into: the bridge with its windows where QEMU's board has them, lines and messages recorded,
 * and configuration space as a hart accesses it. */
#ifndef TUFF_TESTS_PCI_TEST_H
#define TUFF_TESTS_PCI_TEST_H

#include "dev/pci/pci_device.h"
#include "dev/pci/pcie_host.h"
#include "dev_test.h"

#include <linux/pci_regs.h>
#include <stdatomic.h>

static UNUSED const uint64_t ecam = 0x30000000, io_window = 0x3000000, mem32 = 0x40000000, mem64 = 0x400000000;

enum { LINES = 4, MESSAGES = 16 };
enum { ALL = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER };

static struct mem *mem;
static struct device *host;
static struct line_log lines[LINES];
static struct {
    uint64_t gpa;
    uint32_t data;
} messages[MESSAGES];
static _Atomic unsigned message_count;

static UNUSED void on_message(void *opaque, uint64_t gpa, uint32_t data)
{
    unsigned n = message_count++;

    messages[n % MESSAGES].gpa = gpa;
    messages[n % MESSAGES].data = data;
}

static UNUSED struct pcie_host_config make_config(uint32_t irq_parent, uint32_t msi_parent)
{
    struct pcie_host_config config = {.mem = mem,
                                      .ecam_gpa = ecam,
                                      .io = {io_window, 0x10000},
                                      .mem32 = {mem32, 0x40000000},
                                      .mem64 = {mem64, 0x400000000},
                                      .intx_number = 32,
                                      .irq_parent = irq_parent,
                                      .msi_parent = msi_parent,
                                      .message = on_message};

    for (uint32_t line = 0; line < LINES; line++)
        config.intx[line] = line_to(lines, line);
    return config;
}

/* `mem` and the bridge, wired to a PLIC of phandle 3. */
static UNUSED void make_bus(void)
{
    memset(lines, 0, sizeof(lines));
    message_count = 0;
    mem = make_mem();
    const struct pcie_host_config config = make_config(3, 0);
    ck_assert_int_eq(pcie_host_create(&config, &host), 0);
}

static UNUSED uint64_t config_gpa(unsigned slot, unsigned reg)
{
    return ecam + slot * 0x8000u + reg;
}

static UNUSED uint64_t get(unsigned slot, unsigned reg, unsigned size_bytes)
{
    return mmio_read(mem, config_gpa(slot, reg), size_bytes);
}

static UNUSED void put(unsigned slot, unsigned reg, unsigned size_bytes, uint64_t value)
{
    mmio_write(mem, config_gpa(slot, reg), size_bytes, value);
}

static UNUSED void set_command(unsigned slot, unsigned command)
{
    put(slot, PCI_COMMAND, 2, command);
}

#endif
