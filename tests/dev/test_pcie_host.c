/* PCI Express bridge and functions: configuration space by ECAM, BARs in their windows, INTx, MSI-X, saved state,
 * device tree. The function here has one BAR of each kind and a vector for each message. */
#include "pci_test.h"

#include <pthread.h>

enum { VECTORS = 5 };
enum { BAR_SMALL = 0, BAR_IO = 1, BAR_WIDE = 2, BAR_MSIX = 5 };
enum { SMALL_BYTES = 0x1000, IO_BYTES = 0x20, WIDE_BYTES = 0x10000 };
enum { VENDOR = 0x1234, DEVICE = 0x5678, MSIX = 0x40, CONTROL_MASK = 1 };

struct function {
    struct pci_device pci;
    bool refuse;
    unsigned bar; /* of the last write */
    uint64_t offset, value;
    unsigned size_bytes, written, commands;
};

static struct function functions[3]; /* slots 1, 2 and 5 */
static const unsigned slots[3] = {1, 2, 5};
/* What a register holds tells where it is: function, BAR and offset. */
static uint64_t pattern(const struct function *f, unsigned bar, uint64_t offset, unsigned size_bytes)
{
    uint64_t tag = (uint64_t)(f - functions) + 1;

    return (tag << 56 | (uint64_t)bar << 48 | tag << 24 | (uint64_t)bar << 20 | offset) &
           (UINT64_MAX >> (64 - 8 * size_bytes));
}

static int bar_read(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    const struct function *f = (const struct function *)dev;

    ck_assert_uint_lt(offset, dev->bars[bar].size_bytes);
    *value = pattern(f, bar, offset, size_bytes);
    return f->refuse ? -EFAULT : 0;
}

static int bar_write(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct function *f = (struct function *)dev;

    f->bar = bar;
    f->offset = offset;
    f->size_bytes = size_bytes;
    f->value = value;
    f->written++;
    return f->refuse ? -EFAULT : 0;
}

static void config_written(struct pci_device *dev, unsigned offset, unsigned size_bytes, uint16_t command)
{
    ((struct function *)dev)->commands = command;
}

static const struct pci_ops function_pci_ops = {
    .bar_read = bar_read, .bar_write = bar_write, .config_written = config_written};

static void function_reset(struct device *dev)
{
    pci_device_reset((struct pci_device *)dev);
}

static void function_post_restore(struct device *dev)
{
    pci_device_post_restore((struct pci_device *)dev);
}

static const struct device_field function_fields[] = {PCI_DEVICE_FIELDS, {0}};
static const struct device_ops function_ops = {.name = "test-function",
                                               .state_version = 1,
                                               .fields = function_fields,
                                               .reset = function_reset,
                                               .post_restore = function_post_restore};

static void make_function(struct function *f, unsigned slot)
{
    static const struct pci_identity identity = {.vendor = VENDOR,
                                                 .device = DEVICE,
                                                 .subsystem_vendor = 0x9abc,
                                                 .subsystem = 0xdef0,
                                                 .class_code = 0x010203,
                                                 .revision = 7,
                                                 .has_intx = true};

    memset(f, 0, sizeof(*f));
    pci_device_init(&f->pci, &function_ops, &function_pci_ops, &identity);
    pci_add_msix(&f->pci, BAR_MSIX, VECTORS);
    pci_add_bar(&f->pci, BAR_SMALL, SMALL_BYTES, 0);
    pci_add_bar(&f->pci, BAR_IO, IO_BYTES, PCI_BAR_IO);
    pci_add_bar(&f->pci, BAR_WIDE, WIDE_BYTES, PCI_BAR_64 | PCI_BAR_PREFETCHABLE);
    ck_assert_int_eq(pcie_host_add(host, &f->pci, slot), 0);
}

static void setup(void)
{
    make_bus();
    for (unsigned i = 0; i < 3; i++)
        make_function(&functions[i], slots[i]);
}

static void teardown(void)
{
    mem_destroy(mem);
    for (unsigned i = 0; i < 3; i++)
        pci_device_fini(&functions[i].pci);
    host->ops->destroy(host);
}

/* ---- accesses ---- */

static void set_bar(unsigned slot, unsigned bar, uint64_t address)
{
    put(slot, PCI_BASE_ADDRESS_0 + 4 * bar, 4, (uint32_t)address);
    if (bar == BAR_WIDE)
        put(slot, PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4, address >> 32);
}

static void expect_register(const struct function *f, unsigned bar, uint64_t gpa, uint64_t offset)
{
    for (unsigned size_bytes = 1; size_bytes <= 8; size_bytes *= 2)
        ck_assert_uint_eq(mmio_read(mem, gpa, size_bytes), pattern(f, bar, offset, size_bytes));
}

static void expect_ones(uint64_t gpa)
{
    for (unsigned size_bytes = 1; size_bytes <= 8; size_bytes *= 2)
        ck_assert_uint_eq(mmio_read(mem, gpa, size_bytes), UINT64_MAX >> (64 - 8 * size_bytes));
}

/* ---- configuration space ---- */

START_TEST(bridge_is_function_0_as_qemus)
{
    ck_assert_uint_eq(get(0, PCI_VENDOR_ID, 4), 0x00081b36);
    ck_assert_uint_eq(get(0, PCI_CLASS_REVISION, 4), 0x06000000);
    ck_assert_uint_eq(get(0, PCI_HEADER_TYPE, 1), 0);
    ck_assert_uint_eq(get(0, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
    ck_assert_uint_eq(get(0, PCI_INTERRUPT_PIN, 1), 0);
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        put(0, PCI_BASE_ADDRESS_0 + 4 * bar, 4, UINT32_MAX);
        ck_assert_uint_eq(get(0, PCI_BASE_ADDRESS_0 + 4 * bar, 4), 0);
    }
}
END_TEST

START_TEST(missing_functions_read_ones_and_take_no_writes)
{
    static const uint64_t offsets[] = {3 * 0x8000, 31 * 0x8000, 0x1000, 1 * 0x8000 + 0x7000, 0x100000, 0xffff000};
    uint64_t value;

    for (size_t i = 0; i < TUFF_ARRAY_LEN(offsets); i++) {
        for (unsigned size_bytes = 1; size_bytes <= 4; size_bytes *= 2) {
            mmio_write(mem, ecam + offsets[i], size_bytes, 0);
            ck_assert_uint_eq(mmio_read(mem, ecam + offsets[i], size_bytes), UINT64_MAX >> (64 - 8 * size_bytes));
        }
    }
    /* Extended configuration space is not a conventional function's. */
    ck_assert_uint_eq(get(1, 0x100, 4), UINT32_MAX);
    ck_assert_uint_eq(get(1, 0xffc, 2), 0xffff);
    ck_assert_int_eq(mem_mmio_read(mem, config_gpa(1, 0), 8, &value), -EFAULT);
    ck_assert_int_eq(mem_mmio_write(mem, config_gpa(1, 0), 8, 0), -EFAULT);
    ck_assert_int_eq(mem_mmio_read(mem, config_gpa(1, 2), 4, &value), -EFAULT);
}
END_TEST

START_TEST(reset_shows_identity_and_nothing_decoded)
{
    ck_assert_uint_eq(get(1, PCI_VENDOR_ID, 2), VENDOR);
    ck_assert_uint_eq(get(1, PCI_DEVICE_ID, 2), DEVICE);
    ck_assert_uint_eq(get(1, PCI_COMMAND, 2), 0);
    ck_assert_uint_eq(get(1, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
    ck_assert_uint_eq(get(1, PCI_CLASS_REVISION, 4), 0x01020307);
    ck_assert_uint_eq(get(1, PCI_SUBSYSTEM_VENDOR_ID, 4), 0xdef09abc);
    ck_assert_uint_eq(get(1, PCI_CAPABILITY_LIST, 1), MSIX);
    ck_assert_uint_eq(get(1, PCI_INTERRUPT_PIN, 1), 1);
    ck_assert_uint_eq(get(1, MSIX, 4), (VECTORS - 1) << 16 | PCI_CAP_ID_MSIX);
    ck_assert_uint_eq(get(1, MSIX + PCI_MSIX_TABLE, 4), BAR_MSIX);
    ck_assert_uint_eq(get(1, MSIX + PCI_MSIX_PBA, 4), 0x800 | BAR_MSIX);
    expect_ones(mem32);
    expect_ones(mem64);
    expect_ones(io_window);
}
END_TEST

/* The bits of each 32-bit register that a driver can change; all others are 0. */
static const struct {
    unsigned reg;
    uint32_t bits;
} writable[] = {
    {PCI_COMMAND, 0x0507},
    {PCI_CACHE_LINE_SIZE, 0xff},
    {PCI_BASE_ADDRESS_0 + 4 * BAR_SMALL, ~(SMALL_BYTES - 1u)},
    {PCI_BASE_ADDRESS_0 + 4 * BAR_IO, ~(IO_BYTES - 1u)},
    {PCI_BASE_ADDRESS_0 + 4 * BAR_WIDE, ~(WIDE_BYTES - 1u)},
    {PCI_BASE_ADDRESS_0 + 4 * BAR_WIDE + 4, UINT32_MAX},
    {PCI_BASE_ADDRESS_0 + 4 * BAR_MSIX, ~0xfffu},
    {PCI_INTERRUPT_LINE, 0xff},
    {MSIX, 0xc0000000},
};

static uint32_t writable_bits(unsigned reg)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(writable); i++) {
        if (writable[i].reg == reg)
            return writable[i].bits;
    }
    return 0;
}

/* Ones and then zeroes, in each size: exactly these bits follow. */
START_TEST(only_writable_bits_change)
{
    for (unsigned size_bytes = 1; size_bytes <= 4; size_bytes *= 2) {
        functions[0].pci.base.ops->reset(&functions[0].pci.base);
        for (unsigned reg = 0; reg < PCI_CONFIG_BYTES; reg += 4) {
            uint32_t before = (uint32_t)get(1, reg, 4), bits = writable_bits(reg);
            for (unsigned at = 0; at < 4; at += size_bytes)
                put(1, reg + at, size_bytes, UINT32_MAX >> (32 - 8 * size_bytes));
            ck_assert_msg(get(1, reg, 4) == (before | bits), "0x%x: 0x%x", reg, (unsigned)get(1, reg, 4));
            for (unsigned at = 0; at < 4; at += size_bytes)
                put(1, reg + at, size_bytes, 0);
            ck_assert_msg(get(1, reg, 4) == (before & ~bits), "0x%x: 0x%x", reg, (unsigned)get(1, reg, 4));
        }
    }
}
END_TEST

START_TEST(bytes_and_halves_are_parts_of_the_word)
{
    put(1, PCI_BASE_ADDRESS_0 + 3, 1, 0x45);
    put(1, PCI_BASE_ADDRESS_0 + 1, 1, 0x67);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_0, 4), 0x45006000);
    put(1, PCI_BASE_ADDRESS_0 + 2, 2, 0x89ab);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_0, 4), 0x89ab6000);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_0 + 2, 1), 0xab);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_0 + 2, 2), 0x89ab);
}
END_TEST

START_TEST(owner_hears_of_a_write_and_what_the_command_was)
{
    set_command(1, PCI_COMMAND_MASTER);
    ck_assert_uint_eq(functions[0].commands, 0);
    set_command(1, 0);
    ck_assert_uint_eq(functions[0].commands, PCI_COMMAND_MASTER);
}
END_TEST

START_TEST(slot_takes_one_function)
{
    struct function other;
    static const struct pci_identity identity = {.vendor = 1};

    memset(&other, 0, sizeof(other));
    pci_device_init(&other.pci, &function_ops, &function_pci_ops, &identity);
    ck_assert_int_eq(pcie_host_add(host, &other.pci, 0), -EINVAL);
    ck_assert_int_eq(pcie_host_add(host, &other.pci, 32), -EINVAL);
    ck_assert_int_eq(pcie_host_add(host, &other.pci, 5), -EEXIST);
    ck_assert_int_eq(pcie_host_add(host, &other.pci, 31), 0);
    ck_assert_uint_eq(get(31, PCI_VENDOR_ID, 4), 1);
    ck_assert_uint_eq(get(5, PCI_VENDOR_ID, 2), VENDOR);
    pci_device_fini(&other.pci);
}
END_TEST

START_TEST(bridge_at_a_taken_address_is_refused)
{
    const struct pcie_host_config config = make_config(3, 0);
    struct device *other;

    ck_assert_int_eq(pcie_host_create(&config, &other), -EEXIST);
}
END_TEST

/* ---- BARs ---- */

START_TEST(sizing_writes_give_sizes_and_kinds)
{
    set_bar(1, BAR_SMALL, UINT32_MAX);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_0, 4), ~(SMALL_BYTES - 1u));
    set_bar(1, BAR_IO, UINT32_MAX);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_1, 4), ~(IO_BYTES - 1u) | PCI_BASE_ADDRESS_SPACE_IO);
    set_bar(1, BAR_WIDE, UINT64_MAX);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_2, 4),
                      ~(WIDE_BYTES - 1u) | PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_3, 4), UINT32_MAX);
    put(1, PCI_BASE_ADDRESS_4, 4, UINT32_MAX);
    ck_assert_uint_eq(get(1, PCI_BASE_ADDRESS_4, 4), 0);
    put(1, PCI_ROM_ADDRESS, 4, UINT32_MAX);
    ck_assert_uint_eq(get(1, PCI_ROM_ADDRESS, 4), 0);
}
END_TEST

START_TEST(command_decides_what_is_decoded)
{
    const struct function *f = &functions[0];

    set_bar(1, BAR_SMALL, mem32 + 0x5000);
    set_bar(1, BAR_IO, 0x80);
    set_bar(1, BAR_WIDE, mem64 + WIDE_BYTES);
    expect_ones(mem32 + 0x5000);
    set_command(1, PCI_COMMAND_MEMORY);
    expect_register(f, BAR_SMALL, mem32 + 0x5000, 0);
    expect_register(f, BAR_SMALL, mem32 + 0x5ff8, 0xff8);
    expect_register(f, BAR_WIDE, mem64 + WIDE_BYTES + 0x1238, 0x1238);
    expect_ones(mem32 + 0x4ff8);
    expect_ones(mem32 + 0x6000);
    expect_ones(mem64 + WIDE_BYTES - 8);
    expect_ones(mem64 + 2 * WIDE_BYTES);
    expect_ones(io_window + 0x80);
    set_command(1, PCI_COMMAND_IO);
    expect_register(f, BAR_IO, io_window + 0x80, 0);
    expect_register(f, BAR_IO, io_window + 0x98, 0x18);
    expect_ones(io_window + 0xa0);
    expect_ones(mem32 + 0x5000);
    expect_ones(mem64 + WIDE_BYTES);
    set_command(1, 0);
    expect_ones(io_window + 0x80);
}
END_TEST

START_TEST(writes_arrive_with_their_size)
{
    struct function *f = &functions[0];

    set_bar(1, BAR_SMALL, mem32);
    set_command(1, ALL);
    for (unsigned size_bytes = 1; size_bytes <= 8; size_bytes *= 2) {
        mmio_write(mem, mem32 + 0x10 + size_bytes * 8, size_bytes, size_bytes);
        ck_assert_uint_eq(f->bar, BAR_SMALL);
        ck_assert_uint_eq(f->offset, 0x10 + size_bytes * 8);
        ck_assert_uint_eq(f->size_bytes, size_bytes);
        ck_assert_uint_eq(f->value, size_bytes);
    }
    ck_assert_uint_eq(f->written, 4);
    mmio_write(mem, mem32 + SMALL_BYTES, 4, 0);
    ck_assert_uint_eq(f->written, 4);
    f->refuse = true;
    mmio_write(mem, mem32, 4, 0);
    expect_ones(mem32);
}
END_TEST

START_TEST(bars_move_while_decoded)
{
    const struct function *f = &functions[0];

    set_command(1, ALL);
    set_bar(1, BAR_WIDE, mem64);
    expect_register(f, BAR_WIDE, mem64, 0);
    put(1, PCI_BASE_ADDRESS_3, 4, 0); /* the lower half is still that of mem64, which is 0 */
    expect_ones(mem64);
    set_bar(1, BAR_WIDE, mem32 + WIDE_BYTES);
    expect_register(f, BAR_WIDE, mem32 + WIDE_BYTES + 8, 8);
    set_bar(1, BAR_WIDE, mem64 + 0x3ffff0000); /* the window's last bytes */
    expect_register(f, BAR_WIDE, mem64 + 0x3fffffff8, WIDE_BYTES - 8);
    /* Over RAM, over the ECAM, nowhere: not in a window, so not there. */
    set_bar(1, BAR_SMALL, 0x80000000);
    set_bar(1, BAR_SMALL, ecam);
    ck_assert_uint_eq(get(0, PCI_VENDOR_ID, 4), 0x00081b36);
    set_bar(1, BAR_SMALL, UINT32_MAX);
    set_bar(1, BAR_WIDE, UINT64_MAX);
    expect_ones(mem64);
    set_bar(1, BAR_SMALL, mem32 + 0x3ffff000);
    expect_register(f, BAR_SMALL, mem32 + 0x3ffffff8, 0xff8);
}
END_TEST

/* Two BARs at one address: the first function's, also where one is inside the other. */
START_TEST(overlapping_bars_have_one_answer)
{
    set_command(1, ALL);
    set_command(2, ALL);
    set_bar(1, BAR_SMALL, mem32 + 0x1000);
    set_bar(2, BAR_SMALL, mem32 + 0x1000);
    expect_register(&functions[0], BAR_SMALL, mem32 + 0x1010, 0x10);
    set_bar(2, BAR_WIDE, mem32);
    expect_register(&functions[0], BAR_SMALL, mem32 + 0x1010, 0x10);
    expect_register(&functions[1], BAR_WIDE, mem32 + 0x2000, 0x2000);
    set_command(1, 0);
    expect_register(&functions[1], BAR_SMALL, mem32 + 0x1010, 0x10);
}
END_TEST

START_TEST(io_and_memory_are_different_spaces)
{
    set_command(1, ALL);
    set_bar(1, BAR_IO, 0);
    expect_register(&functions[0], BAR_IO, io_window, 0);
    set_bar(1, BAR_IO, 0x10000); /* beyond the window */
    expect_ones(io_window);
    set_bar(1, BAR_IO, mem32);
    expect_ones(mem32);
    set_bar(1, BAR_SMALL, 0);
    expect_ones(io_window);
}
END_TEST

/* ---- INTx ---- */

static void set_intx(struct function *f, bool level)
{
    pthread_mutex_lock(&f->pci.lock);
    pci_set_intx(&f->pci, level);
    pthread_mutex_unlock(&f->pci.lock);
}

static bool status_bit(unsigned slot)
{
    return get(slot, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

START_TEST(intx_is_a_level_and_the_command_gates_it)
{
    set_intx(&functions[0], true);
    ck_assert(lines[1].level && status_bit(1));
    set_command(1, PCI_COMMAND_INTX_DISABLE);
    ck_assert(!lines[1].level && status_bit(1));
    set_command(1, 0);
    ck_assert(lines[1].level);
    put(1, PCI_STATUS, 2, 0xffff);
    ck_assert(lines[1].level && status_bit(1));
    set_intx(&functions[0], false);
    ck_assert(!lines[1].level && !status_bit(1));
    ck_assert_uint_eq(lines[1].rises, 2);
    ck_assert_uint_eq(functions[0].pci.intx_rises, 2);
}
END_TEST

START_TEST(slots_take_turns_at_lines_and_share_them)
{
    set_intx(&functions[1], true); /* slot 2 */
    ck_assert(lines[2].level && !lines[1].level);
    set_intx(&functions[0], true); /* slots 1 and 5 */
    set_intx(&functions[2], true);
    ck_assert_uint_eq(lines[1].rises, 1);
    set_intx(&functions[0], false);
    ck_assert(lines[1].level);
    ck_assert(!status_bit(1) && status_bit(5));
    set_intx(&functions[2], false);
    ck_assert(!lines[1].level && lines[2].level);
    ck_assert(!lines[0].level && !lines[3].level);
}
END_TEST

START_TEST(reset_lowers_the_line)
{
    set_intx(&functions[0], true);
    functions[0].pci.base.ops->reset(&functions[0].pci.base);
    ck_assert(!lines[1].level && !status_bit(1));
}
END_TEST

/* ---- MSI-X ---- */

static const uint64_t table = 0x40100000, pba = 0x40100800;

static void notify(struct function *f, uint32_t vector)
{
    pthread_mutex_lock(&f->pci.lock);
    pci_msix_notify(&f->pci, vector);
    pthread_mutex_unlock(&f->pci.lock);
}

static void set_flags(unsigned flags)
{
    put(1, MSIX + PCI_MSIX_FLAGS, 2, flags);
}

static void set_entry(unsigned vector, uint64_t gpa, uint32_t data, uint32_t control)
{
    mmio_write(mem, table + vector * 16, 8, gpa);
    mmio_write(mem, table + vector * 16 + 8, 4, data);
    mmio_write(mem, table + vector * 16 + 12, 4, control);
}

/* MSI-X is on, each vector has a message of its own and is not masked. */
static void start_msix(void)
{
    set_command(1, ALL);
    set_bar(1, BAR_MSIX, table);
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    for (unsigned vector = 0; vector < VECTORS; vector++)
        set_entry(vector, 0x128000000 + vector * 0x1000, 100 + vector, 0);
}

static void expect_messages(unsigned count, unsigned vector)
{
    ck_assert_uint_eq(message_count, count);
    if (count) {
        ck_assert_uint_eq(messages[count - 1].gpa, 0x128000000 + vector * 0x1000);
        ck_assert_uint_eq(messages[count - 1].data, 100 + vector);
    }
}

START_TEST(vectors_send_what_the_table_says)
{
    start_msix();
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        notify(&functions[0], vector);
        expect_messages(vector + 1, vector);
    }
    notify(&functions[0], VECTORS);
    notify(&functions[0], 0xffff);
    notify(&functions[0], UINT32_MAX);
    expect_messages(VECTORS, VECTORS - 1);
    ck_assert_uint_eq(functions[0].pci.messages, VECTORS);
    ck_assert(!lines[1].level);
}
END_TEST

START_TEST(reset_masks_each_vector)
{
    start_msix();
    functions[0].pci.base.ops->reset(&functions[0].pci.base);
    set_command(1, ALL);
    set_bar(1, BAR_MSIX, table);
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        ck_assert_uint_eq(mmio_read(mem, table + vector * 16, 8), 0);
        ck_assert_uint_eq(mmio_read(mem, table + vector * 16 + 8, 8), UINT64_C(1) << 32);
    }
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    notify(&functions[0], 0);
    expect_messages(0, 0);
}
END_TEST

START_TEST(masked_vector_is_pending_until_unmasked)
{
    start_msix();
    mmio_write(mem, table + 2 * 16 + 12, 4, CONTROL_MASK);
    notify(&functions[0], 2);
    notify(&functions[0], 2);
    expect_messages(0, 0);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), 1 << 2);
    ck_assert_uint_eq(mmio_read(mem, pba, 4), 1 << 2);
    ck_assert_uint_eq(mmio_read(mem, pba + 4, 4), 0);
    notify(&functions[0], 1); /* the others are not held back */
    expect_messages(1, 1);
    mmio_write(mem, table + 2 * 16 + 8, 8, 102); /* data and vector control in one store */
    expect_messages(2, 2);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), 0);
    mmio_write(mem, table + 2 * 16 + 12, 4, CONTROL_MASK);
    mmio_write(mem, table + 2 * 16 + 12, 4, 0);
    expect_messages(2, 2);
}
END_TEST

/* As Linux moves an interrupt: the message that comes at last is the new one. */
START_TEST(entry_changed_while_masked_sends_the_new_message)
{
    start_msix();
    mmio_write(mem, table + 12, 4, CONTROL_MASK);
    notify(&functions[0], 0);
    mmio_write(mem, table, 4, 0x28003000);
    mmio_write(mem, table + 4, 4, 0);
    mmio_write(mem, table + 8, 4, 77);
    ck_assert_uint_eq(message_count, 0);
    mmio_write(mem, table + 12, 4, 0);
    ck_assert_uint_eq(message_count, 1);
    ck_assert_uint_eq(messages[0].gpa, 0x28003000);
    ck_assert_uint_eq(messages[0].data, 77);
}
END_TEST

START_TEST(function_mask_and_bus_master_hold_back_all)
{
    start_msix();
    set_flags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    notify(&functions[0], 0);
    notify(&functions[0], 4);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), 0x11);
    mmio_write(mem, table + 12, 4, CONTROL_MASK);
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    expect_messages(1, 4);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), 1);
    set_command(1, PCI_COMMAND_MEMORY);
    mmio_write(mem, table + 12, 4, 0);
    expect_messages(1, 4);
    set_command(1, ALL);
    expect_messages(2, 0);
}
END_TEST

START_TEST(without_enable_nothing_is_sent_or_kept)
{
    start_msix();
    set_flags(0);
    notify(&functions[0], 0);
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    expect_messages(0, 0);
    set_flags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    notify(&functions[0], 0);
    pthread_mutex_lock(&functions[0].pci.lock);
    pci_msix_clear_pending(&functions[0].pci);
    pthread_mutex_unlock(&functions[0].pci.lock);
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    expect_messages(0, 0);
}
END_TEST

START_TEST(msix_takes_intx_away)
{
    set_intx(&functions[0], true);
    ck_assert(lines[1].level);
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    ck_assert(!lines[1].level && !status_bit(1));
    set_flags(PCI_MSIX_FLAGS_MASKALL);
    ck_assert(lines[1].level && status_bit(1));
}
END_TEST

START_TEST(table_keeps_what_it_may_and_pending_bits_are_read_only)
{
    uint64_t end = table + VECTORS * 16ull;

    start_msix();
    set_flags(0);
    for (unsigned word = 0; word < 4 * VECTORS; word++) {
        static const uint32_t kept[4] = {~3u, UINT32_MAX, UINT32_MAX, 1};
        mmio_write(mem, table + 4 * word, 4, UINT32_MAX);
        ck_assert_uint_eq(mmio_read(mem, table + 4 * word, 4), kept[word % 4]);
    }
    for (uint64_t gpa = end; gpa < table + 0x1000; gpa += 8) {
        mmio_write(mem, gpa, 8, UINT64_MAX);
        ck_assert_uint_eq(mmio_read(mem, gpa, 8), 0);
    }
    /* Smaller accesses mean nothing. */
    ck_assert_uint_eq(mmio_read(mem, table, 1), 0xff);
    ck_assert_uint_eq(mmio_read(mem, table + 2, 2), 0xffff);
    mmio_write(mem, table, 2, 0);
    mmio_write(mem, table + 1, 1, 0);
    ck_assert_uint_eq(mmio_read(mem, table, 4), ~3u);
}
END_TEST

/* ---- saved state ---- */

START_TEST(saved_state_restores_everything)
{
    struct device *dev = &functions[0].pci.base;

    start_msix();
    set_bar(1, BAR_SMALL, mem32 + 0x7000);
    mmio_write(mem, table + 3 * 16 + 12, 4, CONTROL_MASK);
    notify(&functions[0], 3);
    put(1, PCI_INTERRUPT_LINE, 1, 0x2a);
    set_flags(0);
    set_intx(&functions[0], true);
    save_reset_load(dev);
    ck_assert(lines[1].level && status_bit(1));
    expect_register(&functions[0], BAR_SMALL, mem32 + 0x7000, 0);
    ck_assert_uint_eq(get(1, PCI_INTERRUPT_LINE, 1), 0x2a);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), 1 << 3);
    ck_assert_uint_eq(mmio_read(mem, table + 4 * 16, 8), 0x128004000);
    set_flags(PCI_MSIX_FLAGS_ENABLE);
    mmio_write(mem, table + 3 * 16 + 12, 4, 0);
    expect_messages(1, 3);
    save_reset_load(host);
    ck_assert_uint_eq(get(0, PCI_VENDOR_ID, 4), 0x00081b36);
}
END_TEST

START_TEST(hostile_state_is_brought_back_into_range)
{
    struct pci_device *dev = &functions[0].pci;
    uint32_t before[64];

    for (unsigned reg = 0; reg < PCI_CONFIG_BYTES; reg += 4)
        before[reg / 4] = (uint32_t)get(1, reg, 4);
    memset(dev->config, 0xff, sizeof(dev->config));
    memset(dev->msix.table, 0xff, sizeof(dev->msix.table));
    dev->msix.pending = UINT64_MAX;
    dev->intx = 0xfe;
    save_reset_load(&dev->base);
    for (unsigned reg = 0; reg < PCI_CONFIG_BYTES; reg += 4)
        ck_assert_uint_eq(get(1, reg, 4), before[reg / 4] | writable_bits(reg));
    ck_assert(!lines[1].level);
    ck_assert_uint_eq(message_count, 0); /* all are masked */
    set_bar(1, BAR_MSIX, table);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), (1 << VECTORS) - 1);
    ck_assert_uint_eq(mmio_read(mem, table, 4), ~3u);
    ck_assert_uint_eq(mmio_read(mem, table + 12, 4), 1);
}
END_TEST

/* ---- device tree ---- */

static void add_controller(void *fdt, uint32_t phandle, uint32_t cells)
{
    int node = fdt_add_subnode(fdt, node_at(fdt, "/soc"), "controller");

    ck_assert_int_eq(fdt_setprop_u32(fdt, node, "#interrupt-cells", cells), 0);
    ck_assert_int_eq(fdt_setprop_u32(fdt, node, "phandle", phandle), 0);
}

START_TEST(node_has_qemus_properties)
{
    static const char *const compatible[] = {"pci-host-ecam-generic"};
    void *fdt = make_fdt();
    uint32_t map[16 * 6];
    unsigned n = 0;

    add_controller(fdt, 3, 1);
    ck_assert_int_eq(host->ops->fdt(host, fdt), 0);
    int node = node_at(fdt, "/soc/pci@30000000");
    expect_compatible(fdt, node, compatible, 1);
    ck_assert_str_eq(fdt_getprop(fdt, node, "device_type", NULL), "pci");
    EXPECT_CELLS(fdt, node, "reg", 0, 0x30000000, 0, 0x10000000);
    EXPECT_CELLS(fdt, node, "#address-cells", 3);
    EXPECT_CELLS(fdt, node, "#size-cells", 2);
    EXPECT_CELLS(fdt, node, "#interrupt-cells", 1);
    EXPECT_CELLS(fdt, node, "bus-range", 0, 0xff);
    EXPECT_CELLS(fdt, node, "linux,pci-domain", 0);
    EXPECT_CELLS(fdt, node, "interrupt-map-mask", 0x1800, 0, 0, 7);
    EXPECT_CELLS(fdt, node, "ranges", 0x1000000, 0, 0, 0, 0x3000000, 0, 0x10000, 0x2000000, 0, 0x40000000, 0,
                 0x40000000, 0, 0x40000000, 0x3000000, 4, 0, 4, 0, 4, 0);
    ck_assert_ptr_nonnull(fdt_getprop(fdt, node, "dma-coherent", NULL));
    ck_assert_ptr_null(fdt_getprop(fdt, node, "msi-parent", NULL));
    for (uint32_t slot = 0; slot < 4; slot++) {
        for (uint32_t pin = 0; pin < 4; pin++) {
            const uint32_t entry[6] = {slot << 11, 0, 0, pin + 1, 3, 32 + (slot + pin) % 4};
            memcpy(map + n, entry, sizeof(entry));
            n += 6;
        }
    }
    expect_cells(fdt, node, "interrupt-map", map, (int)n);
    free(fdt);
    expect_fdt_survives_every_size(host);
}
END_TEST

START_TEST(node_names_msi_parent_and_kinds_of_interrupts)
{
    struct mem *other_mem = make_mem();
    struct pcie_host_config config = make_config(9, 0x77);
    struct device *other;
    void *fdt = make_fdt();

    config.mem = other_mem;
    ck_assert_int_eq(pcie_host_create(&config, &other), 0);
    add_controller(fdt, 9, 2);
    ck_assert_int_eq(other->ops->fdt(other, fdt), 0);
    int len, node = node_at(fdt, "/soc/pci@30000000");
    EXPECT_CELLS(fdt, node, "msi-parent", 0x77);
    const fdt32_t *map = fdt_getprop(fdt, node, "interrupt-map", &len);
    ck_assert_int_eq(len, 16 * 7 * 4);
    ck_assert_uint_eq(fdt32_to_cpu(map[6]), 4);
    ck_assert_uint_eq(fdt32_to_cpu(map[7 * 5 + 5]), 34); /* slot 1, INTB */
    free(fdt);
    mem_destroy(other_mem);
    other->ops->destroy(other);
}
END_TEST

/* ---- threads ---- */

static _Atomic bool stop;

static void *move_bars(void *opaque)
{
    for (unsigned i = 0; !stop; i++) {
        set_bar(1, BAR_WIDE, i % 3 == 0 ? mem64 : i % 3 == 1 ? mem64 + WIDE_BYTES : mem32 + WIDE_BYTES);
        set_command(1, i % 5 ? ALL : 0);
    }
    return NULL;
}

/* Another hart moves the BAR: an access meets it somewhere inside, or nothing. */
START_TEST(accesses_race_with_moving_bars)
{
    const struct function *f = &functions[0];
    pthread_t thread;
    unsigned met = 0;

    stop = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, move_bars, NULL), 0);
    for (unsigned i = 0; i < 200000 || met == 0; i++) {
        uint64_t offset = i % (2 * WIDE_BYTES / 8) * 8, value = mmio_read(mem, mem64 + offset, 8);
        ck_assert(value == UINT64_MAX || value == pattern(f, BAR_WIDE, offset % WIDE_BYTES, 8));
        met += value != UINT64_MAX;
    }
    stop = true;
    pthread_join(thread, NULL);
}
END_TEST

static void *notify_always(void *opaque)
{
    while (!stop) {
        notify(&functions[0], 1);
        set_intx(&functions[2], true);
        set_intx(&functions[2], false);
    }
    return NULL;
}

/* A device interrupts while a driver masks: once the driver has read the mask back no message comes any more. */
START_TEST(masking_is_complete_when_it_is_read_back)
{
    pthread_t thread;

    start_msix();
    stop = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, notify_always, NULL), 0);
    for (unsigned i = 0; i < 3000; i++) {
        mmio_write(mem, table + 16 + 12, 4, CONTROL_MASK);
        ck_assert_uint_eq(mmio_read(mem, table + 16 + 12, 4), CONTROL_MASK);
        unsigned count = message_count;
        for (volatile unsigned spin = 0; spin < 200; spin++) {
        }
        ck_assert_uint_eq(message_count, count);
        mmio_write(mem, table + 16 + 12, 4, 0);
    }
    while (message_count == 0) {
    }
    stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_eq(mmio_read(mem, pba, 8), 0);
    ck_assert(!lines[1].level);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pcie_host");
    TCase *tc = tcase_create("bus");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, bridge_is_function_0_as_qemus);
    tcase_add_test(tc, missing_functions_read_ones_and_take_no_writes);
    tcase_add_test(tc, reset_shows_identity_and_nothing_decoded);
    tcase_add_test(tc, only_writable_bits_change);
    tcase_add_test(tc, bytes_and_halves_are_parts_of_the_word);
    tcase_add_test(tc, owner_hears_of_a_write_and_what_the_command_was);
    tcase_add_test(tc, slot_takes_one_function);
    tcase_add_test(tc, bridge_at_a_taken_address_is_refused);
    tcase_add_test(tc, sizing_writes_give_sizes_and_kinds);
    tcase_add_test(tc, command_decides_what_is_decoded);
    tcase_add_test(tc, writes_arrive_with_their_size);
    tcase_add_test(tc, bars_move_while_decoded);
    tcase_add_test(tc, overlapping_bars_have_one_answer);
    tcase_add_test(tc, io_and_memory_are_different_spaces);
    tcase_add_test(tc, intx_is_a_level_and_the_command_gates_it);
    tcase_add_test(tc, slots_take_turns_at_lines_and_share_them);
    tcase_add_test(tc, reset_lowers_the_line);
    tcase_add_test(tc, vectors_send_what_the_table_says);
    tcase_add_test(tc, reset_masks_each_vector);
    tcase_add_test(tc, masked_vector_is_pending_until_unmasked);
    tcase_add_test(tc, entry_changed_while_masked_sends_the_new_message);
    tcase_add_test(tc, function_mask_and_bus_master_hold_back_all);
    tcase_add_test(tc, without_enable_nothing_is_sent_or_kept);
    tcase_add_test(tc, msix_takes_intx_away);
    tcase_add_test(tc, table_keeps_what_it_may_and_pending_bits_are_read_only);
    tcase_add_test(tc, saved_state_restores_everything);
    tcase_add_test(tc, hostile_state_is_brought_back_into_range);
    tcase_add_test(tc, node_has_qemus_properties);
    tcase_add_test(tc, node_names_msi_parent_and_kinds_of_interrupts);
    tcase_add_test(tc, accesses_race_with_moving_bars);
    tcase_add_test(tc, masking_is_complete_when_it_is_read_back);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
