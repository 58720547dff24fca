/* Fuzz target: bytes become register accesses over all devices, mixed with what hosts do to them (input, time, saved
 * states with any values). Besides not crashing, the devices keep what software relies on:
 *
 *   - an access gives 0 or -EFAULT, nothing else
 *   - the UART's line is high exactly while IIR would report an interrupt
 *   - a hart whose external interrupt is high gets an interrupt when it claims, and only numbers that exist
 *   - a host whose input was refused is told when there is space
 *   - a hart's line from the IMSIC is high exactly while topei names something and delivery is on
 *   - MTI is the comparison of time and mtimecmp, MSI is msip
 */
#include "dev/aclint.h"
#include "dev/aplic.h"
#include "dev/device_state.h"
#include "dev/goldfish_rtc.h"
#include "dev/htif.h"
#include "dev/imsic.h"
#include "dev/ns16550a.h"
#include "dev/pflash.h"
#include "dev/plic.h"
#include "dev/pvpanic.h"
#include "dev/sunxi_wdt.h"
#include "dev/syscon_test.h"
#include "dev/vmgenid.h"
#include "fuzz_device.h"

#include <errno.h>
#include <libfdt.h>

enum {
    HARTS = 2,
    RAM_GPA = 0x80000000,
    RAM_BYTES = 0x4000,
    TOHOST = RAM_GPA + 0x100,
    FROMHOST = RAM_GPA + 0x140,
    TEST_GPA = 0x100000,
    RTC_GPA = 0x101000,
    ACLINT_GPA = 0x2000000,
    PLIC_GPA = 0xc000000,
    UART_GPA = 0x10000000,
    DEVICES = 11,
    WATCHDOG_GPA = 0x102000,
    VMGENID_GPA = 0x103000,
    PVPANIC_GPA = 0x105000,
    APLIC_GPA = 0x30000000, /* as far as PLIC and APLIC are on one board */
    IMSIC_GPA = 0x38000000,
    FDT_BYTES = 8192,
};

enum { LINE_MSI, LINE_MTI, LINE_MEI, LINE_SEI, LINE_IMSIC_M, LINE_IMSIC_S, LINES };

struct board {
    struct mem *mem;
    struct device *aplic, *imsic, *aclint, *plic, *uart, *rtc, *test, *htif, *watchdog, *vmgenid, *pvpanic;
    struct irq_line uart_to_plic;
    bool lines[LINES * HARTS]; /* kind * HARTS + hart */
    bool uart_line;
    uint64_t ticks, epoch_ns, watchdog_ns, watchdog_deadline_ns;
    bool watchdog_line;
    bool refused; /* the UART took less than offered and did not say yet that it takes more */
};

static void set_line(void *opaque, uint32_t number, bool level)
{
    ((struct board *)opaque)->lines[number] = level;
}

static void set_uart_line(void *opaque, uint32_t number, bool level)
{
    struct board *b = opaque;

    b->uart_line = level;
    irq_set(&b->uart_to_plic, level);
}

static uint64_t time_now(void *opaque)
{
    return ((struct board *)opaque)->ticks;
}

static void time_set(void *opaque, uint64_t ticks)
{
    ((struct board *)opaque)->ticks = ticks;
}

/* In the future, or the value that stands for none. */
static bool is_deadline(const struct board *b, uint64_t deadline)
{
    return deadline > b->ticks || deadline == UINT64_MAX;
}

static void deadline_changed(void *opaque, uint32_t hart, uint64_t deadline)
{
    require(hart < HARTS && is_deadline(opaque, deadline));
}

static uint64_t epoch_now_ns(void *opaque)
{
    return ((struct board *)opaque)->epoch_ns;
}

static void set_watchdog_line(void *opaque, uint32_t number, bool level)
{
    ((struct board *)opaque)->watchdog_line = level;
}

static uint64_t watchdog_now_ns(void *opaque)
{
    return ((struct board *)opaque)->watchdog_ns;
}

static void watchdog_deadline(void *opaque, uint64_t deadline_ns)
{
    ((struct board *)opaque)->watchdog_deadline_ns = deadline_ns;
}

/* Not before anybody started it. */
static void watchdog_reset(void *opaque)
{
}

static void serial_write(void *opaque, const uint8_t *bytes, size_t len)
{
    require(len > 0);
}

static void serial_can_receive(void *opaque)
{
    ((struct board *)opaque)->refused = false;
}

static void on_test_event(void *opaque, enum syscon_test_event event, uint32_t code)
{
    require(code <= 0xffff && (event == SYSCON_TEST_FAIL || code == 0));
}

static void on_panic(void *opaque, unsigned events)
{
    require(events && !(events & ~(unsigned)(PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)));
}

static void on_exit_code(void *opaque, uint32_t code)
{
}

static struct irq_line line_of(struct board *b, unsigned kind, unsigned hart)
{
    return (struct irq_line){.set = set_line, .opaque = b, .number = kind * HARTS + hart};
}

static void create_controllers(struct board *b)
{
    static const uint32_t phandles[HARTS] = {1, 2};
    struct irq_line lines[LINES][HARTS];

    for (unsigned kind = 0; kind < LINES; kind++) {
        for (unsigned hart = 0; hart < HARTS; hart++)
            lines[kind][hart] = line_of(b, kind, hart);
    }
    const struct aclint_config aclint = {.mem = b->mem,
                                         .gpa = ACLINT_GPA,
                                         .hart_count = HARTS,
                                         .msi = lines[LINE_MSI],
                                         .mti = lines[LINE_MTI],
                                         .time_now = time_now,
                                         .time_set = time_set,
                                         .deadline_changed = deadline_changed,
                                         .opaque = b,
                                         .intc_phandles = phandles};
    const struct plic_config plic = {.mem = b->mem,
                                     .gpa = PLIC_GPA,
                                     .hart_count = HARTS,
                                     .mei = lines[LINE_MEI],
                                     .sei = lines[LINE_SEI],
                                     .phandle = 3,
                                     .intc_phandles = phandles};
    require(aclint_create(&aclint, &b->aclint) == 0);
    require(plic_create(&plic, &b->plic) == 0);
}

static void on_msi(void *opaque, uint64_t gpa, uint32_t data)
{
    struct board *b = opaque;

    imsic_message(b->imsic, gpa, data);
}

static void create_aia(struct board *b)
{
    static const uint32_t phandles[HARTS] = {1, 2};
    struct irq_line lines[IMSIC_LEVELS][HARTS];

    for (unsigned hart = 0; hart < HARTS; hart++) {
        lines[IMSIC_M][hart] = line_of(b, LINE_IMSIC_M, hart);
        lines[IMSIC_S][hart] = line_of(b, LINE_IMSIC_S, hart);
    }
    const struct imsic_config imsic = {.mem = b->mem,
                                       .gpa = {IMSIC_GPA, IMSIC_GPA + 0x10000},
                                       .hart_count = HARTS,
                                       .lines = {lines[IMSIC_M], lines[IMSIC_S]},
                                       .phandles = {10, 11},
                                       .intc_phandles = phandles};
    const struct aplic_config aplic = {.mem = b->mem,
                                       .gpa = {APLIC_GPA, APLIC_GPA + 0x10000},
                                       .hart_count = HARTS,
                                       .message = on_msi,
                                       .opaque = b,
                                       .msi_gpa = {IMSIC_GPA, IMSIC_GPA + 0x10000},
                                       .msi_phandles = {10, 11},
                                       .phandles = {12, 13},
                                       .intc_phandles = phandles};
    require(imsic_create(&imsic, &b->imsic) == 0);
    require(aplic_create(&aplic, &b->aplic) == 0);
}

static void create_others(struct board *b)
{
    const struct serial_backend backend = {.write = serial_write, .can_receive = serial_can_receive, .opaque = b};
    const struct ns16550a_config uart = {.mem = b->mem,
                                         .gpa = UART_GPA,
                                         .irq = {.set = set_uart_line, .opaque = b},
                                         .irq_number = 10,
                                         .irq_parent = 3,
                                         .backend = backend};
    const struct goldfish_rtc_config rtc = {.mem = b->mem,
                                            .gpa = RTC_GPA,
                                            .irq = plic_source(b->plic, 11),
                                            .irq_number = 11,
                                            .irq_parent = 3,
                                            .epoch_now_ns = epoch_now_ns,
                                            .opaque = b};
    const struct syscon_test_config test = {.mem = b->mem, .gpa = TEST_GPA, .phandle = 4, .event = on_test_event};
    const struct htif_config htif = {.mem = b->mem,
                                     .tohost_gpa = TOHOST,
                                     .has_fromhost = true,
                                     .fromhost_gpa = FROMHOST,
                                     .console = {.write = serial_write},
                                     .exit = on_exit_code};

    b->uart_to_plic = plic_source(b->plic, 10);
    require(ns16550a_create(&uart, &b->uart) == 0);
    require(goldfish_rtc_create(&rtc, &b->rtc) == 0);
    const struct sunxi_wdt_config watchdog = {.mem = b->mem,
                                              .gpa = WATCHDOG_GPA,
                                              .irq = {.set = set_watchdog_line, .opaque = b},
                                              .irq_number = 12,
                                              .irq_parent = 1,
                                              .now_ns = watchdog_now_ns,
                                              .deadline_changed = watchdog_deadline,
                                              .reset = watchdog_reset,
                                              .opaque = b};
    b->watchdog_deadline_ns = UINT64_MAX;
    require(sunxi_wdt_create(&watchdog, &b->watchdog) == 0);
    const struct vmgenid_config vmgenid = {.mem = b->mem, .gpa = VMGENID_GPA, .fixed = true};
    require(vmgenid_create(&vmgenid, &b->vmgenid) == 0);
    const struct pvpanic_config pvpanic = {.mem = b->mem, .gpa = PVPANIC_GPA, .told = on_panic, .opaque = b};
    require(pvpanic_create(&pvpanic, &b->pvpanic) == 0);
    require(syscon_test_create(&test, &b->test) == 0);
    require(htif_create(&htif, &b->htif) == 0);
}

static struct device *device_at(const struct board *b, unsigned index)
{
    struct device *const devices[DEVICES] = {b->aclint, b->plic,  b->uart,     b->rtc,     b->test,   b->htif,
                                             b->aplic,  b->imsic, b->watchdog, b->vmgenid, b->pvpanic};

    return devices[index % DEVICES];
}

/* Register blocks worth hitting; the offset within one comes from the input. */
static uint64_t access_gpa(struct reader *r, unsigned size_bytes)
{
    static const struct {
        uint64_t gpa, span;
    } blocks[] = {
        {UART_GPA, 8},
        {UART_GPA, 0x1000},
        {PLIC_GPA, 4 * 128},
        {PLIC_GPA + 0x1000, 0x20},
        {PLIC_GPA + 0x2000, 0x280},
        {PLIC_GPA + 0x200000, 0x10},
        {PLIC_GPA + 0x201000, 0x10},
        {PLIC_GPA + 0x203000, 0x10},
        {PLIC_GPA, 0x600000},
        {ACLINT_GPA, 16},
        {ACLINT_GPA + 0x4000, 0x20},
        {ACLINT_GPA + 0xbff0, 0x18},
        {ACLINT_GPA, 0x10000},
        {RTC_GPA, 0x24},
        {RTC_GPA, 0x1000},
        {TEST_GPA, 0x10},
        {WATCHDOG_GPA, 0x20},
        {VMGENID_GPA, 0x18},
        {PVPANIC_GPA, 2},
        {APLIC_GPA, 0x200},
        {APLIC_GPA, 0x8000},
        {APLIC_GPA + 0x10000, 0x8000},
        {APLIC_GPA + 0x1bc0, 0x10},
        {APLIC_GPA + 0x13000, 0x180},
        {IMSIC_GPA, 0x2000},
        {IMSIC_GPA + 0x10000, 0x2000},
    };
    unsigned block = (unsigned)take(r, 1) % (sizeof(blocks) / sizeof(blocks[0]));
    uint64_t offset = take(r, blocks[block].span > 0x100 ? 3 : 1) % blocks[block].span;

    return (blocks[block].gpa + offset) & ~(uint64_t)(size_bytes - 1);
}

/* The line of the context whose claim register this is, else -1. */
static int claim_line(uint64_t gpa)
{
    uint64_t offset = gpa - PLIC_GPA;

    if (gpa < PLIC_GPA || offset < 0x200000 || offset % 0x1000 != 4 || (offset - 0x200000) / 0x1000 >= 2 * HARTS)
        return -1;
    unsigned context = (unsigned)(offset - 0x200000) / 0x1000;
    return (int)((context % 2 ? LINE_SEI : LINE_MEI) * HARTS + context / 2);
}

static void check_read(const struct board *before, uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    int line = claim_line(gpa);

    require(size_bytes == 8 || value >> 8 * size_bytes == 0);
    if (gpa == UART_GPA + 2)
        require(!(value & 1) == before->uart_line);
    if (line >= 0)
        require(value <= PLIC_SOURCES && (value != 0 || !before->lines[line]));
}

static void do_access(struct board *b, struct reader *r, bool write)
{
    unsigned size_bytes = 1u << take(r, 1) % 4;
    uint64_t gpa = access_gpa(r, size_bytes), value = 0;
    struct board before = *b;
    int rc;

    if (write)
        rc = mem_mmio_write(b->mem, gpa, size_bytes, take(r, size_bytes));
    else
        rc = mem_mmio_read(b->mem, gpa, size_bytes, &value);
    require(rc == 0 || rc == -EFAULT);
    if (rc == 0 && !write)
        check_read(&before, gpa, size_bytes, value);
}

static void do_receive(struct board *b, struct reader *r)
{
    uint8_t bytes[32];
    size_t len = take(r, 1) % sizeof(bytes);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)take(r, 1);
    size_t taken = ns16550a_receive(b->uart, bytes, len);
    require(taken <= len && taken <= NS16550A_FIFO_BYTES);
    b->refused |= taken < len;
}

static void do_time(struct board *b, struct reader *r)
{
    b->ticks += take(r, 4);
    b->epoch_ns += take(r, 6) - (UINT64_C(1) << 40);
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        uint64_t deadline = aclint_timer_check(b->aclint, hart, b->ticks);
        require(is_deadline(b, deadline));
    }
    goldfish_rtc_alarm_check(b->rtc);
    b->watchdog_ns += take(r, 5);
    sunxi_wdt_check(b->watchdog);
    /* What is still to come lies ahead. */
    require(b->watchdog_deadline_ns > b->watchdog_ns);
}

static void do_htif(struct board *b, struct reader *r)
{
    unsigned size_bytes = 1u << take(r, 1) % 4;
    uint64_t gpa = RAM_GPA + (0x100 + take(r, 1) % 0x80) / size_bytes * size_bytes;
    uint64_t value = take(r, size_bytes);
    uint8_t byte = 'x';

    require(mem_write(b->mem, gpa, &value, size_bytes) == 0);
    htif_stored(b->htif, gpa, size_bytes);
    require(htif_receive(b->htif, &byte, 1) <= 1);
    if (take(r, 1) & 1)
        htif_poll(b->htif);
}

/* Arbitrary bytes as a section. */
static void do_load(struct board *b, struct reader *r)
{
    struct device *dev = device_at(b, (unsigned)take(r, 1));
    struct error err;
    size_t len = take(r, 1) % ((size_t)(r->end - r->at) + 1);
    uint8_t *copy = malloc(len ? len : 1);

    memcpy(copy, r->at, len);
    int rc = device_state_load(dev, copy, len, &err);
    require(rc == 0 || rc == -EINVAL || rc == -ENOTSUP);
    free(copy);
}

static void do_fdt(struct board *b, struct reader *r)
{
    struct device *dev = device_at(b, (unsigned)take(r, 1));
    int bytes = (int)take(r, 2) % FDT_BYTES;
    void *fdt = malloc((size_t)bytes + 1);

    if (dev->ops->fdt && fdt_create_empty_tree(fdt, bytes) == 0 && fdt_add_subnode(fdt, 0, "soc") > 0) {
        int rc = dev->ops->fdt(dev, fdt);
        require(rc == 0 || rc == -FDT_ERR_NOSPACE);
        require(fdt_check_full(fdt, (size_t)bytes) == 0);
    }
    free(fdt);
}

/* The flash is too large to be made for each input: one for all, reset before use. */
static void do_flash(struct reader *r)
{
    static struct mem *mem;
    static struct device *dev;
    enum { FLASH_GPA = 0x20000000 };

    if (!mem) {
        require(mem_create(&mem) == 0 && mem_add_ram(mem, RAM_GPA, RAM_BYTES) == 0);
        const struct pflash_config config = {.mem = mem, .gpa = FLASH_GPA, .read_only = {true, false}};
        require(pflash_create(&config, &dev) == 0);
    }
    dev->ops->reset(dev);
    for (unsigned left = (unsigned)take(r, 1) % 32; left; left--) {
        static const uint8_t commands[] = {0xff, 0x90, 0x98, 0x70, 0x40, 0x20, 0xd0, 0xe8, 0x60, 0x50};
        unsigned size_bytes = 1u << take(r, 1) % 4;
        uint64_t gpa = FLASH_GPA + take(r, 4) % (2 * (uint64_t)PFLASH_BANK_BYTES) / size_bytes * size_bytes;
        uint64_t value = take(r, 1), word;
        if (value < sizeof(commands))
            value = commands[value];
        require(mem_mmio_write(mem, gpa, size_bytes, value) == 0);
        require(mem_mmio_read(mem, gpa, size_bytes, &word) == 0 && (size_bytes == 8 || word >> 8 * size_bytes == 0));
    }
    dev->ops->reset(dev);
    require(*pflash_bank(dev, 0) == 0xff);
}

static void do_imsic(struct board *b, struct reader *r)
{
    uint32_t hart = (uint32_t)take(r, 1) % HARTS, select = 0x70 + (uint32_t)take(r, 1) % 0x98;
    enum imsic_level level = take(r, 1) & 1 ? IMSIC_S : IMSIC_M;
    uint64_t old, value = take(r, 8), mask = take(r, 8);
    int rc = imsic_access(b->imsic, hart, level, select, &old, value, mask);

    require(rc == 0 || rc == -EINVAL);
    uint64_t top = imsic_top(b->imsic, hart, level, take(r, 1) & 1);
    require((top >> 16) <= IMSIC_IDS && (top >> 16) == (top & 0x7ff));
}

static void check_imsic_lines(const struct board *b)
{
    for (uint32_t hart = 0; hart < HARTS; hart++) {
        for (enum imsic_level level = IMSIC_M; level < IMSIC_LEVELS; level++) {
            uint64_t on;
            require(imsic_access(b->imsic, hart, level, 0x70, &on, 0, 0) == 0);
            bool line = b->lines[(LINE_IMSIC_M + level) * HARTS + hart];
            require(line == (on && imsic_top(b->imsic, hart, level, false)));
        }
    }
}

static void check_timer_lines(const struct board *b)
{
    for (unsigned hart = 0; hart < HARTS; hart++) {
        uint64_t mtimecmp = 0, msip = 0;
        require(mem_mmio_read(b->mem, ACLINT_GPA + 0x4000 + 8 * hart, 8, &mtimecmp) == 0);
        require(mem_mmio_read(b->mem, ACLINT_GPA + 4 * hart, 4, &msip) == 0);
        require(b->lines[LINE_MTI * HARTS + hart] == (b->ticks >= mtimecmp));
        require(b->lines[LINE_MSI * HARTS + hart] == msip);
    }
}

static void step(struct board *b, struct reader *r)
{
    switch (take(r, 1) % 16) {
    case 0:
        do_receive(b, r);
        break;
    case 1:
        ns16550a_receive_break(b->uart);
        break;
    case 2:
        do_time(b, r);
        break;
    case 3:
        do_htif(b, r);
        break;
    case 4:
        reload(device_at(b, (unsigned)take(r, 1)), r, change_often);
        break;
    case 5:
        do_load(b, r);
        break;
    case 6:
        do_fdt(b, r);
        break;
    case 7: {
        struct device *dev = device_at(b, (unsigned)take(r, 1));
        dev->ops->reset(dev);
        break;
    }
    case 8: {
        uint32_t source = 1 + (uint32_t)take(r, 1) % PLIC_SOURCES;
        struct irq_line line = plic_source(b->plic, source), wire = aplic_source(b->aplic, source);
        bool level = take(r, 1) & 1;
        irq_set(&line, level);
        irq_set(&wire, level);
        break;
    }
    case 10:
        do_imsic(b, r);
        break;
    case 9:
        do_flash(r);
        break;
    default:
        do_access(b, r, take(r, 1) & 1);
    }
    check_timer_lines(b);
    check_imsic_lines(b);
}

/* A host that was refused must hear of it once the guest has emptied the receiver, or its input stops for ever. */
static void check_input_goes_on(struct board *b)
{
    uint64_t value;

    require(mem_mmio_write(b->mem, UART_GPA + 3, 1, 0x03) == 0);
    require(mem_mmio_write(b->mem, UART_GPA + 4, 1, 0x00) == 0);
    for (unsigned i = 0; i < NS16550A_FIFO_BYTES; i++)
        require(mem_mmio_read(b->mem, UART_GPA, 1, &value) == 0);
    require(!b->refused);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = {data, data + len};
    struct board b = {.ticks = 1000, .epoch_ns = UINT64_C(1790000000000000000)};

    require(mem_create(&b.mem) == 0);
    require(mem_add_ram(b.mem, RAM_GPA, RAM_BYTES) == 0);
    create_controllers(&b);
    create_others(&b);
    create_aia(&b);
    while (r.at < r.end)
        step(&b, &r);
    check_input_goes_on(&b);
    for (unsigned i = 0; i < DEVICES; i++) {
        struct device *dev = device_at(&b, i);
        dev->ops->destroy(dev);
    }
    mem_destroy(b.mem);
    return 0;
}
