/* The PCI transport of virtio, with a device of two queues and 24 bytes of configuration that records what it is told.
 */
#include "dev/virtio/virtio.h"
#include "dev/virtio/virtio_pci.h"
#include "pci_test.h"

#include <linux/virtio_pci.h>
#include <pthread.h>

enum { SLOT = 3, LINE = 3, DEVICE_ID = 4, QUEUES = 2, CONFIG_BYTES = 24, VECTORS = QUEUES + 1 };
enum { COMMON_CAP = 0x40, ISR_CAP = 0x50, DEVICE_CAP = 0x60, NOTIFY_CAP = 0x70, WINDOW = 0x84, MSIX_CAP = 0x98 };
enum { WINDOW_DATA = WINDOW + 16, NO_VECTOR = 0xffff, RAM_BYTES = 0x10000 };
enum {
    DRIVER = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER,
    NEGOTIATED = DRIVER | VIRTIO_STATUS_FEATURES_OK,
    RUNNING = NEGOTIATED | VIRTIO_STATUS_DRIVER_OK,
};
static const uint64_t ram = 0x80000000, common = 0x400000000, isr = 0x400001000, device_config = 0x400002000,
                      notify = 0x400003000, table = 0x40000000, pba = 0x40000800;

struct thing {
    struct virtio_device dev;
    uint8_t config[CONFIG_BYTES];
    unsigned reads, writes, resets, processed[QUEUES];
};

static struct thing *thing;
static struct loop *loop;
static struct device *transport;

static void thing_config_read(struct virtio_device *dev, uint32_t offset, void *bytes, unsigned len)
{
    struct thing *t = (struct thing *)dev;

    t->reads++;
    memcpy(bytes, t->config + offset, len);
}

static void thing_config_write(struct virtio_device *dev, uint32_t offset, const void *bytes, unsigned len)
{
    struct thing *t = (struct thing *)dev;

    t->writes++;
    memcpy(t->config + offset, bytes, len);
}

static bool thing_process(struct virtio_device *dev, unsigned queue)
{
    ((struct thing *)dev)->processed[queue]++;
    return false;
}

static void thing_reset(struct virtio_device *dev)
{
    ((struct thing *)dev)->resets++;
}

static void thing_destroy(struct virtio_device *dev)
{
    virtio_fini(dev);
    free(dev);
}

static const struct virtio_ops thing_ops = {
    .name = "virtio-thing",
    .device_id = DEVICE_ID,
    .pci_class = 0x010203,
    .state_version = 1,
    .config_read = thing_config_read,
    .config_write = thing_config_write,
    .process = thing_process,
    .reset = thing_reset,
    .destroy = thing_destroy,
};

static uint64_t in(uint64_t gpa, unsigned size_bytes)
{
    return mmio_read(mem, gpa, size_bytes);
}

static void out(uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    mmio_write(mem, gpa, size_bytes, value);
}

static void map_bars(void)
{
    put(SLOT, PCI_BASE_ADDRESS_1, 4, table);
    put(SLOT, PCI_BASE_ADDRESS_4, 4, (uint32_t)common);
    put(SLOT, PCI_BASE_ADDRESS_5, 4, common >> 32);
    set_command(SLOT, ALL);
}

static void setup(void)
{
    make_bus();
    ck_assert_int_eq(mem_add_ram(mem, ram, RAM_BYTES), 0);
    ck_assert_int_eq(loop_create(&loop), 0);
    thing = calloc(1, sizeof(*thing));
    ck_assert_int_eq(virtio_init(&thing->dev, &thing_ops, mem, loop, 1 << 5, QUEUES, CONFIG_BYTES), 0);
    thing->dev.queues[0].size_max = 8;
    thing->dev.queues[1].size_max = 256;
    const struct virtio_pci_config config = {.host = host, .slot = SLOT, .device = &thing->dev};
    ck_assert_int_eq(virtio_pci_create(&config, &transport), 0);
    map_bars();
}

static void teardown(void)
{
    transport->ops->destroy(transport);
    thing->dev.base.ops->destroy(&thing->dev.base);
    host->ops->destroy(host);
    loop_destroy(loop);
    mem_destroy(mem);
}

static uint8_t status(void)
{
    return (uint8_t)in(common + VIRTIO_PCI_COMMON_STATUS, 1);
}

static void set_status(uint8_t value)
{
    out(common + VIRTIO_PCI_COMMON_STATUS, 1, value);
}

static void set_features(uint64_t features)
{
    for (unsigned word = 0; word < 2; word++) {
        out(common + VIRTIO_PCI_COMMON_GFSELECT, 4, word);
        out(common + VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * word));
    }
}

/* Up to FEATURES_OK. */
static void negotiate(uint64_t features)
{
    set_status(0);
    set_status(DRIVER);
    set_features(features);
    set_status(NEGOTIATED);
    ck_assert_uint_eq(status(), NEGOTIATED);
}

static void select_queue(unsigned queue)
{
    out(common + VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
}

static void set_address(unsigned reg, uint64_t gpa)
{
    out(common + reg, 4, (uint32_t)gpa);
    out(common + reg + 4, 4, gpa >> 32);
}

static void give_queue(unsigned queue, unsigned size)
{
    select_queue(queue);
    out(common + VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
    set_address(VIRTIO_PCI_COMMON_Q_DESCLO, ram + queue * 0x4000);
    set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, ram + queue * 0x4000 + 0x1000);
    set_address(VIRTIO_PCI_COMMON_Q_USEDLO, ram + queue * 0x4000 + 0x2000);
    out(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void run(void)
{
    negotiate(VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET);
    give_queue(0, 8);
    give_queue(1, 16);
    set_status(RUNNING);
    ck_assert_uint_eq(status(), RUNNING);
}

/* What the device's next turn on its loop would do. */
static void turn(void)
{
    thing->dev.work.fn(thing->dev.work.opaque);
}

static void interrupt_queue(unsigned queue)
{
    pthread_mutex_lock(&thing->dev.lock);
    thing->dev.transport->interrupt_queue(thing->dev.transport_opaque, queue);
    pthread_mutex_unlock(&thing->dev.lock);
}

static void change_config(void)
{
    pthread_mutex_lock(&thing->dev.lock);
    virtio_config_changed(&thing->dev);
    pthread_mutex_unlock(&thing->dev.lock);
}

static void set_vector(unsigned reg, unsigned vector)
{
    out(common + reg, 2, vector);
    ck_assert_uint_eq(in(common + reg, 2), vector);
}

/* MSI-X with one message each: queue 0, queue 1, configuration. */
static void start_msix(void)
{
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        out(table + 16 * vector, 8, 0x28000000);
        out(table + 16 * vector + 8, 8, vector + 1);
    }
    put(SLOT, MSIX_CAP + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        select_queue(queue);
        set_vector(VIRTIO_PCI_COMMON_Q_MSIX, queue);
    }
    set_vector(VIRTIO_PCI_COMMON_MSIX, QUEUES);
}

static void expect_messages(unsigned count, uint32_t data)
{
    ck_assert_uint_eq(message_count, count);
    ck_assert_uint_eq(messages[count - 1].data, data);
}

/* ---- configuration space ---- */

START_TEST(identity_and_capabilities_are_laid_out_as_qemus)
{
    static const struct {
        unsigned at, kind, len, offset, next;
    } caps[] = {{COMMON_CAP, VIRTIO_PCI_CAP_COMMON_CFG, 16, 0, 0},
                {ISR_CAP, VIRTIO_PCI_CAP_ISR_CFG, 16, 0x1000, COMMON_CAP},
                {DEVICE_CAP, VIRTIO_PCI_CAP_DEVICE_CFG, 16, 0x2000, ISR_CAP},
                {NOTIFY_CAP, VIRTIO_PCI_CAP_NOTIFY_CFG, 20, 0x3000, DEVICE_CAP}};

    ck_assert_uint_eq(get(SLOT, PCI_VENDOR_ID, 4), (0x1040 + DEVICE_ID) << 16 | 0x1af4);
    ck_assert_uint_eq(get(SLOT, PCI_CLASS_REVISION, 4), 0x01020301);
    ck_assert_uint_eq(get(SLOT, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
    ck_assert_uint_eq(get(SLOT, PCI_INTERRUPT_PIN, 1), 1);
    ck_assert_uint_eq(get(SLOT, PCI_CAPABILITY_LIST, 1), MSIX_CAP);
    ck_assert_uint_eq(get(SLOT, MSIX_CAP, 4), (VECTORS - 1) << 16 | WINDOW << 8 | PCI_CAP_ID_MSIX);
    ck_assert_uint_eq(get(SLOT, WINDOW, 4), VIRTIO_PCI_CAP_PCI_CFG << 24 | 20 << 16 | NOTIFY_CAP << 8 | 9);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(caps); i++) {
        ck_assert_uint_eq(get(SLOT, caps[i].at, 4), caps[i].kind << 24 | caps[i].len << 16 | caps[i].next << 8 | 9);
        ck_assert_uint_eq(get(SLOT, caps[i].at + VIRTIO_PCI_CAP_BAR, 4), 4);
        ck_assert_uint_eq(get(SLOT, caps[i].at + VIRTIO_PCI_CAP_OFFSET, 4), caps[i].offset);
        ck_assert_uint_eq(get(SLOT, caps[i].at + VIRTIO_PCI_CAP_LENGTH, 4), 0x1000);
    }
    ck_assert_uint_eq(get(SLOT, NOTIFY_CAP + VIRTIO_PCI_NOTIFY_CAP_MULT, 4), 4);
    put(SLOT, PCI_BASE_ADDRESS_4, 4, UINT32_MAX);
    ck_assert_uint_eq(get(SLOT, PCI_BASE_ADDRESS_4, 4), 0xffffc00c);
    put(SLOT, PCI_BASE_ADDRESS_1, 4, UINT32_MAX);
    ck_assert_uint_eq(get(SLOT, PCI_BASE_ADDRESS_1, 4), 0xfffff000);
}
END_TEST

/* Bytes of the registers from offset 0 on, as (4.1.4.3) has them. */
static const uint8_t widths[] = {4, 4, 4, 4, 2, 2, 1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 2, 2};

START_TEST(registers_are_accessed_as_wide_as_they_are)
{
    unsigned at = 0;

    run();
    for (size_t i = 0; i < TUFF_ARRAY_LEN(widths); at += widths[i++]) {
        for (unsigned size_bytes = 1; size_bytes <= 4; size_bytes *= 2) {
            if (size_bytes == widths[i] || at % size_bytes)
                continue;
            ck_assert_msg(in(common + at, size_bytes) == 0, "%u bytes at 0x%x", size_bytes, at);
            out(common + at, size_bytes, 0);
        }
        for (unsigned inside = 1; inside < widths[i]; inside++)
            ck_assert_uint_eq(in(common + at + inside, 1), 0);
    }
    ck_assert_uint_eq(at, 60);
    for (; at < 0x1000; at += 4) {
        out(common + at, 4, UINT32_MAX);
        ck_assert_uint_eq(in(common + at, 4), 0);
    }
    /* None of it did anything. */
    ck_assert_uint_eq(status(), RUNNING);
    select_queue(0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}
END_TEST

START_TEST(two_halves_in_one_access)
{
    out(common + VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    uint64_t both = in(common + VIRTIO_PCI_COMMON_DFSELECT, 8);
    ck_assert_uint_eq((uint32_t)both, 1);
    ck_assert_uint_eq(both >> 32, in(common + VIRTIO_PCI_COMMON_DF, 4));
    out(common + VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x123456789000);
    ck_assert_uint_eq(thing->dev.queues[0].desc_gpa, 0x123456789000);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x123456789000);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_MSIX, 8), 0);
    out(common + VIRTIO_PCI_COMMON_MSIX, 8, UINT64_MAX);
    ck_assert_uint_eq(status(), 0);
}
END_TEST

START_TEST(reset_values)
{
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_GFSELECT, 4), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_GF, 4), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
    ck_assert_uint_eq(status(), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), 0);
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        select_queue(queue);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SELECT, 2), queue);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SIZE, 2), queue ? 256 : 8);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_NOFF, 2), queue);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_NDATA, 2), 0);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
        for (unsigned reg = VIRTIO_PCI_COMMON_Q_DESCLO; reg <= VIRTIO_PCI_COMMON_Q_USEDHI; reg += 4)
            ck_assert_uint_eq(in(common + reg, 4), 0);
    }
    ck_assert(!lines[LINE].level);
}
END_TEST

START_TEST(features_by_word)
{
    uint64_t offered = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET | 1 << 5;

    for (unsigned word = 0; word < 2; word++) {
        out(common + VIRTIO_PCI_COMMON_DFSELECT, 4, word);
        uint32_t bits = (uint32_t)(offered >> 32 * word);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_DF, 4) & bits, bits);
    }
    out(common + VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_DF, 4), 0);
    out(common + VIRTIO_PCI_COMMON_DF, 4, UINT32_MAX);
    set_features(offered);
    ck_assert_uint_eq(thing->dev.driver_features, offered);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_GF, 4), (uint32_t)(offered >> 32));
    out(common + VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_GF, 4), 1 << 5);
    out(common + VIRTIO_PCI_COMMON_GFSELECT, 4, UINT32_MAX);
    out(common + VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_GF, 4), 0);
    ck_assert_uint_eq(thing->dev.driver_features, offered);
    set_status(NEGOTIATED);
    ck_assert_uint_eq(status(), NEGOTIATED);
    set_features(0);
    ck_assert_uint_eq(thing->dev.driver_features, offered);
    set_status(0);
    set_status(DRIVER);
    set_features(1 << 5);
    set_status(NEGOTIATED);
    ck_assert_uint_eq(status(), DRIVER);
}
END_TEST

START_TEST(queues_that_do_not_exist)
{
    static const unsigned numbers[] = {QUEUES, VIRTIO_QUEUES_MAX - 1, VIRTIO_QUEUES_MAX, 0xffff};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(numbers); i++) {
        select_queue(numbers[i]);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SELECT, 2), numbers[i]);
        for (unsigned reg = VIRTIO_PCI_COMMON_Q_SIZE; reg <= VIRTIO_PCI_COMMON_Q_RESET;
             reg += reg >= VIRTIO_PCI_COMMON_Q_DESCLO && reg < VIRTIO_PCI_COMMON_Q_NDATA ? 4 : 2) {
            unsigned size_bytes = reg >= VIRTIO_PCI_COMMON_Q_DESCLO && reg < VIRTIO_PCI_COMMON_Q_NDATA ? 4 : 2;
            out(common + reg, size_bytes, 1);
            ck_assert_uint_eq(in(common + reg, size_bytes), reg == VIRTIO_PCI_COMMON_Q_MSIX ? NO_VECTOR : 0);
        }
    }
}
END_TEST

START_TEST(enable_takes_one_and_queue_stays_until_a_reset)
{
    run();
    select_queue(0);
    out(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    out(common + VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 8);
    set_address(VIRTIO_PCI_COMMON_Q_USEDLO, 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_USEDLO, 4), ram + 0x2000);
    set_status(0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_USEDLO, 4), 0);
    negotiate(VIRTIO_F_VERSION_1);
    select_queue(0);
    out(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
}
END_TEST

START_TEST(queue_reset_where_it_was_negotiated)
{
    negotiate(VIRTIO_F_VERSION_1);
    give_queue(0, 8);
    out(common + VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    run();
    select_queue(0);
    out(common + VIRTIO_PCI_COMMON_Q_RESET, 2, 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    out(common + VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 8);
    select_queue(1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    ck_assert_uint_eq(status(), RUNNING);
    give_queue(0, 4);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SIZE, 2), 4);
}
END_TEST

/* ---- notifications ---- */

START_TEST(notification_address_names_the_queue)
{
    run();
    turn();
    memset(thing->processed, 0, sizeof(thing->processed));
    out(notify + 4, 2, 1);
    ck_assert_uint_eq(thing->dev.kicked, 2);
    turn();
    ck_assert_uint_eq(thing->processed[1], 1);
    ck_assert_uint_eq(thing->processed[0], 0);
    out(notify, 4, 0);
    turn();
    ck_assert_uint_eq(thing->processed[0], 1);
    for (uint64_t at = 0; at < 0x1000; at += 2) {
        ck_assert_uint_eq(in(notify + at, 2), 0);
        if (at % 4 || at >= 4 * QUEUES)
            out(notify + at, 2, 0);
    }
    ck_assert_uint_eq(thing->dev.kicked, 0);
    ck_assert_uint_eq(thing->dev.kicks, 2);
}
END_TEST

/* ---- interrupts ---- */

START_TEST(intx_is_the_isr_status_and_reading_takes_it)
{
    run();
    interrupt_queue(1);
    ck_assert(lines[LINE].level);
    ck_assert_uint_eq(get(SLOT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
    change_config();
    out(isr, 1, 0xff);
    ck_assert_uint_eq(in(isr + 1, 1), 0);
    ck_assert_uint_eq(in(isr + 4, 4), 0);
    ck_assert_uint_eq(in(isr, 1), 3);
    ck_assert(!lines[LINE].level);
    ck_assert_uint_eq(get(SLOT, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
    ck_assert_uint_eq(in(isr, 1), 0);
    change_config();
    ck_assert_uint_eq(in(isr, 4), 2);
    interrupt_queue(0);
    interrupt_queue(1);
    ck_assert_uint_eq(lines[LINE].rises, 3);
    set_status(0);
    ck_assert(!lines[LINE].level);
    ck_assert_uint_eq(in(isr, 1), 0);
    ck_assert_uint_eq(message_count, 0);
}
END_TEST

START_TEST(vectors_choose_the_message)
{
    uint64_t sent, rises;

    run();
    start_msix();
    interrupt_queue(0);
    expect_messages(1, 1);
    interrupt_queue(1);
    expect_messages(2, 2);
    change_config();
    expect_messages(3, 3);
    ck_assert(!lines[LINE].level);
    ck_assert_uint_eq(in(isr, 1), 0);
    select_queue(1);
    set_vector(VIRTIO_PCI_COMMON_Q_MSIX, 2); /* shared */
    interrupt_queue(1);
    expect_messages(4, 3);
    set_vector(VIRTIO_PCI_COMMON_Q_MSIX, NO_VECTOR);
    set_vector(VIRTIO_PCI_COMMON_MSIX, NO_VECTOR);
    interrupt_queue(1);
    change_config();
    ck_assert_uint_eq(message_count, 4);
    ck_assert(!lines[LINE].level);
    virtio_pci_counters(transport, &sent, &rises);
    ck_assert_uint_eq(sent, 4);
    ck_assert_uint_eq(rises, 0);
}
END_TEST

START_TEST(vector_that_does_not_exist_reads_back_as_none)
{
    static const unsigned numbers[] = {VECTORS, 63, 64, 0xfffe};

    select_queue(0);
    for (size_t i = 0; i < TUFF_ARRAY_LEN(numbers); i++) {
        set_vector(VIRTIO_PCI_COMMON_MSIX, 1);
        set_vector(VIRTIO_PCI_COMMON_Q_MSIX, 1);
        out(common + VIRTIO_PCI_COMMON_MSIX, 2, numbers[i]);
        out(common + VIRTIO_PCI_COMMON_Q_MSIX, 2, numbers[i]);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
    }
}
END_TEST

START_TEST(reset_forgets_vectors_and_pending_messages)
{
    run();
    start_msix();
    out(table + 12, 4, 1);
    interrupt_queue(0);
    ck_assert_uint_eq(in(pba, 8), 1);
    set_status(0);
    ck_assert_uint_eq(in(pba, 8), 0);
    out(table + 12, 4, 0);
    ck_assert_uint_eq(message_count, 0);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_MSIX, 2), NO_VECTOR);
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        select_queue(queue);
        ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_MSIX, 2), NO_VECTOR);
    }
    ck_assert_uint_eq(in(table, 8), 0x28000000); /* the table is not the device's */
}
END_TEST

START_TEST(masked_vector_interrupts_later)
{
    run();
    start_msix();
    put(SLOT, MSIX_CAP + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    interrupt_queue(1);
    ck_assert_uint_eq(in(pba, 8), 2);
    put(SLOT, MSIX_CAP + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
    expect_messages(1, 2);
}
END_TEST

/* ---- device configuration ---- */

START_TEST(device_configuration_in_every_size)
{
    for (unsigned i = 0; i < CONFIG_BYTES; i++)
        thing->config[i] = (uint8_t)(i + 1);
    ck_assert_uint_eq(in(device_config + 3, 1), 4);
    ck_assert_uint_eq(in(device_config + 2, 2), 0x0403);
    ck_assert_uint_eq(in(device_config + 4, 4), 0x08070605);
    ck_assert_uint_eq(in(device_config + 8, 8), 0x100f0e0d0c0b0a09);
    ck_assert_uint_eq(thing->reads, 4);
    out(device_config + 8, 8, 0x1122334455667788);
    out(device_config + 17, 1, 0x99);
    ck_assert_uint_eq(in(device_config + 8, 8), 0x1122334455667788);
    ck_assert_uint_eq(thing->config[17], 0x99);
    ck_assert_uint_eq(thing->writes, 2);
    for (uint64_t at = CONFIG_BYTES; at < 0x1000; at += 8) {
        out(device_config + at, 8, UINT64_MAX);
        ck_assert_uint_eq(in(device_config + at, 8), 0);
    }
    ck_assert_uint_eq(thing->writes, 2);
}
END_TEST

START_TEST(generation_counts_changes)
{
    change_config();
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1);
    ck_assert(!lines[LINE].level); /* no driver yet */
    for (unsigned i = 0; i < 255; i++)
        change_config();
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), 0);
}
END_TEST

/* ---- the window in configuration space ---- */

static void set_window(unsigned bar, uint32_t offset, uint32_t len)
{
    put(SLOT, WINDOW + VIRTIO_PCI_CAP_BAR, 1, bar);
    put(SLOT, WINDOW + VIRTIO_PCI_CAP_OFFSET, 4, offset);
    put(SLOT, WINDOW + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

START_TEST(window_reaches_registers_while_bars_are_off)
{
    set_command(SLOT, 0);
    set_window(4, VIRTIO_PCI_COMMON_NUMQ, 2);
    ck_assert_uint_eq(get(SLOT, WINDOW_DATA, 2), QUEUES);
    set_window(4, VIRTIO_PCI_COMMON_Q_SELECT, 2);
    put(SLOT, WINDOW_DATA, 4, 0xdead0001);
    set_window(4, VIRTIO_PCI_COMMON_Q_SIZE, 2);
    ck_assert_uint_eq(get(SLOT, WINDOW_DATA, 2), 256);
    set_window(4, VIRTIO_PCI_COMMON_STATUS, 1);
    put(SLOT, WINDOW_DATA, 1, DRIVER);
    ck_assert_uint_eq(get(SLOT, WINDOW_DATA, 1), DRIVER);
    set_window(4, 0x2000, 4);
    put(SLOT, WINDOW_DATA, 4, 0x12345678);
    ck_assert_uint_eq(pci_get(thing->config, 4), 0x12345678);
    set_window(1, 12, 4); /* MSI-X's control */
    put(SLOT, WINDOW_DATA, 4, 0);
    set_command(SLOT, ALL);
    ck_assert_uint_eq(in(table + 12, 4), 0);
    interrupt_queue(0);
    set_window(4, 0x1000, 1);
    ck_assert_uint_eq(get(SLOT, WINDOW_DATA, 1), 1);
    ck_assert(!lines[LINE].level);
}
END_TEST

START_TEST(window_that_is_none_does_nothing)
{
    static const struct {
        unsigned bar;
        uint32_t offset, len;
    } windows[] = {{4, 20, 0},     {4, 20, 3},     {4, 20, 5},         {4, 20, 8}, {4, 20, 1u << 31}, {4, 0x1ffe, 4},
                   {4, 0x4000, 1}, {4, 0x3fff, 2}, {4, UINT32_MAX, 1}, {0, 20, 1}, {2, 20, 1},        {5, 20, 1},
                   {6, 20, 1},     {255, 20, 1},   {1, 0x1000, 4},     {1, 12, 1}, {4, 21, 2}};

    run();
    for (size_t i = 0; i < TUFF_ARRAY_LEN(windows); i++) {
        put(SLOT, WINDOW_DATA, 4, 0);
        set_window(windows[i].bar, windows[i].offset, windows[i].len);
        put(SLOT, WINDOW_DATA, 4, 0x5a5a5a00);
        ck_assert_uint_eq(get(SLOT, WINDOW_DATA, 4), 0x5a5a5a00);
        ck_assert_uint_eq(status(), RUNNING);
        ck_assert_uint_eq(in(table + 12, 4), 1);
    }
}
END_TEST

/* ---- bus master ---- */

START_TEST(device_without_bus_master_does_not_run_on)
{
    run();
    unsigned resets = thing->resets;
    set_command(SLOT, ALL | PCI_COMMAND_INTX_DISABLE);
    ck_assert_uint_eq(status(), RUNNING);
    interrupt_queue(0);
    set_command(SLOT, PCI_COMMAND_MEMORY);
    ck_assert_uint_eq(status(), 0);
    ck_assert_uint_eq(thing->resets, resets + 1);
    ck_assert(!lines[LINE].level);
    set_command(SLOT, ALL);
    run();
    ck_assert_uint_eq(status(), RUNNING);
    /* One that does not run yet may be set up without. */
    negotiate(VIRTIO_F_VERSION_1);
    set_command(SLOT, PCI_COMMAND_MEMORY);
    ck_assert_uint_eq(status(), NEGOTIATED);
}
END_TEST

/* ---- saved state ---- */

START_TEST(saved_state_restores_everything)
{
    run();
    start_msix();
    out(common + VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    out(common + VIRTIO_PCI_COMMON_GFSELECT, 4, 7);
    out(table + 16 + 12, 4, 1);
    interrupt_queue(1);
    save_reset_load(transport);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_DFSELECT, 4), 1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_GFSELECT, 4), 7);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_SELECT, 2), 1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
    ck_assert_uint_eq(in(common + VIRTIO_PCI_COMMON_MSIX, 2), 2);
    ck_assert_uint_eq(status(), RUNNING); /* the device's own, which nobody touched */
    interrupt_queue(0);
    expect_messages(1, 1);
    out(table + 16 + 12, 4, 0);
    expect_messages(2, 2);
    put(SLOT, MSIX_CAP + PCI_MSIX_FLAGS, 2, 0);
    interrupt_queue(0);
    save_reset_load(transport);
    ck_assert(lines[LINE].level);
    ck_assert_uint_eq(in(isr, 1), 1);
    ck_assert(!lines[LINE].level);
}
END_TEST

/* Every bit set, by a field at a time. */
START_TEST(hostile_state_is_harmless)
{
    run();
    for (const struct device_field *f = transport->ops->fields; f->name; f++) {
        memset((uint8_t *)transport + f->offset, 0xff, (size_t)f->element_bytes * f->count);
        save_reset_load(transport);
        interrupt_queue(0);
        change_config();
        map_bars();
        (void)in(common + VIRTIO_PCI_COMMON_Q_MSIX, 2);
        (void)get(SLOT, WINDOW_DATA, 4);
        put(SLOT, WINDOW_DATA, 4, 0);
        ck_assert_uint_le(in(isr, 1), 3);
        ck_assert(!lines[LINE].level);
    }
    ck_assert_uint_eq(get(SLOT, PCI_VENDOR_ID, 4), (0x1040 + DEVICE_ID) << 16 | 0x1af4);
}
END_TEST

START_TEST(device_can_outlive_its_transport)
{
    transport->ops->destroy(transport);
    ck_assert_ptr_null(thing->dev.transport);
    change_config();
    virtio_reset(&thing->dev);
    /* For the teardown: in another slot, as the bridge never lets go of one. */
    const struct virtio_pci_config config = {.host = host, .slot = SLOT + 1, .device = &thing->dev};
    ck_assert_int_eq(virtio_pci_create(&config, &transport), 0);
}
END_TEST

START_TEST(taken_slot_is_refused)
{
    const struct virtio_pci_config config = {.host = host, .slot = SLOT, .device = &thing->dev};
    struct device *other;

    ck_assert_int_eq(virtio_pci_create(&config, &other), -EEXIST);
}
END_TEST

/* ---- threads ---- */

static _Atomic unsigned produced;
static _Atomic bool stop;

enum { ROUNDS = 20000 };

static void *produce(void *opaque)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        produced++;
        interrupt_queue(i % QUEUES);
    }
    return NULL;
}

/* A driver that looks for work when the line was high misses none of it. */
START_TEST(no_interrupt_is_lost_to_a_reading_driver)
{
    pthread_t thread;
    unsigned seen = 0;

    run();
    produced = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, produce, NULL), 0);
    while (seen < ROUNDS) {
        if (in(isr, 1) & 1)
            seen = produced;
    }
    pthread_join(thread, NULL);
    (void)in(isr, 1);
    ck_assert(!lines[LINE].level);
}
END_TEST

static void *interrupt_always(void *opaque)
{
    while (!stop) {
        interrupt_queue(1);
        change_config();
    }
    return NULL;
}

/* Everything that a second hart may do at the same time; the sanitizers look. */
START_TEST(registers_race_with_interrupts)
{
    pthread_t thread;

    stop = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_always, NULL), 0);
    for (unsigned i = 0; i < 300; i++) {
        run();
        start_msix();
        set_window(4, 0x1000, 1);
        (void)get(SLOT, WINDOW_DATA, 1);
        put(SLOT, MSIX_CAP + PCI_MSIX_FLAGS, 2, i % 2 ? PCI_MSIX_FLAGS_MASKALL : 0);
        (void)in(isr, 1);
        out(notify, 2, 0);
        set_command(SLOT, i % 3 ? ALL : PCI_COMMAND_MEMORY);
        map_bars();
    }
    stop = true;
    pthread_join(thread, NULL);
    set_status(0);
    ck_assert(!lines[LINE].level);
    ck_assert_uint_eq(in(pba, 8), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_pci");
    TCase *tc = tcase_create("transport");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, identity_and_capabilities_are_laid_out_as_qemus);
    tcase_add_test(tc, registers_are_accessed_as_wide_as_they_are);
    tcase_add_test(tc, two_halves_in_one_access);
    tcase_add_test(tc, reset_values);
    tcase_add_test(tc, features_by_word);
    tcase_add_test(tc, queues_that_do_not_exist);
    tcase_add_test(tc, enable_takes_one_and_queue_stays_until_a_reset);
    tcase_add_test(tc, queue_reset_where_it_was_negotiated);
    tcase_add_test(tc, notification_address_names_the_queue);
    tcase_add_test(tc, intx_is_the_isr_status_and_reading_takes_it);
    tcase_add_test(tc, vectors_choose_the_message);
    tcase_add_test(tc, vector_that_does_not_exist_reads_back_as_none);
    tcase_add_test(tc, reset_forgets_vectors_and_pending_messages);
    tcase_add_test(tc, masked_vector_interrupts_later);
    tcase_add_test(tc, device_configuration_in_every_size);
    tcase_add_test(tc, generation_counts_changes);
    tcase_add_test(tc, window_reaches_registers_while_bars_are_off);
    tcase_add_test(tc, window_that_is_none_does_nothing);
    tcase_add_test(tc, device_without_bus_master_does_not_run_on);
    tcase_add_test(tc, saved_state_restores_everything);
    tcase_add_test(tc, hostile_state_is_harmless);
    tcase_add_test(tc, device_can_outlive_its_transport);
    tcase_add_test(tc, taken_slot_is_refused);
    tcase_add_test(tc, no_interrupt_is_lost_to_a_reading_driver);
    tcase_add_test(tc, registers_race_with_interrupts);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
