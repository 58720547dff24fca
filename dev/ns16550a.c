/* The 16550A serial port; see ns16550a.h. Behaviour follows National Semiconductor's PC16550D data sheet (section 8 of
 * it describes the registers) as far as software can see it without a line speed.
 *
 * A received byte carries its errors (only a break can occur here) through the FIFO, and they show in LSR while it is
 * the oldest. The interrupt line is driven under the lock after every change, from nothing but the state: `iir_cause()`
 * is the one place that knows the conditions and their priorities.
 */
#include "dev/ns16550a.h"

#include "base/log.h"
#include "dev/fdt_node.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    REG_DATA = 0, /* RBR, THR; divisor low byte with DLAB */
    REG_IER = 1,  /* divisor high byte with DLAB */
    REG_IIR = 2,  /* FCR when written */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,

    IER_RX = 0x01,
    IER_THRE = 0x02,
    IER_LINE = 0x04,
    IER_MODEM = 0x08,
    IER_MASK = 0x0f,

    IIR_MODEM = 0x00,
    IIR_NONE = 0x01,
    IIR_THRE = 0x02,
    IIR_RX = 0x04,
    IIR_LINE = 0x06,
    IIR_RX_TIMEOUT = 0x0c,
    IIR_FIFOS_ON = 0xc0,

    FCR_ENABLE = 0x01,
    FCR_CLEAR_RX = 0x02,
    FCR_DMA = 0x08,
    FCR_TRIGGER = 0xc0,

    LCR_BREAK = 0x40,
    LCR_DLAB = 0x80,

    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_MASK = 0x1f,

    LSR_DATA = 0x01,
    LSR_OVERRUN = 0x02,
    LSR_BREAK = 0x10,
    LSR_CHARACTER_ERRORS = 0x1c, /* parity, framing, break: belong to a byte */
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    LSR_FIFO_ERROR = 0x80,

    MSR_DELTAS = 0x0f,
    MSR_TERI = 0x04, /* unlike the other deltas: only when RI falls */
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,

    DIVISOR_RESET = 12, /* left open by the data sheet; 9600 baud of a PC's clock */
};

struct ns16550a {
    struct device base;
    pthread_mutex_t lock; /* guards what follows */
    uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
    uint8_t overrun;      /* LSR_OVERRUN or 0 */
    uint8_t thre_pending; /* the transmitter became empty and nobody has looked at IIR since */
    uint8_t rx_head, rx_count;
    uint8_t rx[NS16550A_FIFO_BYTES];
    uint8_t rx_errors[NS16550A_FIFO_BYTES]; /* LSR_CHARACTER_ERRORS of each byte */
    bool host_waiting;                      /* not saved: the host was refused input and waits for can_receive() */
    bool line;                              /* not saved: the level last driven */

    struct ns16550a_config config; /* constant */
};

static const struct device_field ns16550a_fields[] = {
    DEVICE_FIELD(struct ns16550a, ier, 1),
    DEVICE_FIELD(struct ns16550a, fcr, 1),
    DEVICE_FIELD(struct ns16550a, lcr, 1),
    DEVICE_FIELD(struct ns16550a, mcr, 1),
    DEVICE_FIELD(struct ns16550a, msr, 1),
    DEVICE_FIELD(struct ns16550a, scr, 1),
    DEVICE_FIELD(struct ns16550a, dll, 1),
    DEVICE_FIELD(struct ns16550a, dlm, 1),
    DEVICE_FIELD(struct ns16550a, overrun, 1),
    DEVICE_FIELD(struct ns16550a, thre_pending, 1),
    DEVICE_FIELD(struct ns16550a, rx_head, 1),
    DEVICE_FIELD(struct ns16550a, rx_count, 1),
    DEVICE_FIELD_ARRAY(struct ns16550a, rx, 1),
    DEVICE_FIELD_ARRAY(struct ns16550a, rx_errors, 1),
    {0},
};

static bool fifos_on(const struct ns16550a *u)
{
    return u->fcr & FCR_ENABLE;
}

static uint8_t rx_capacity(const struct ns16550a *u)
{
    return fifos_on(u) ? NS16550A_FIFO_BYTES : 1;
}

static uint8_t rx_trigger(const struct ns16550a *u)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return levels[(u->fcr & FCR_TRIGGER) >> 6];
}

/* Errors of the oldest byte. */
static uint8_t top_errors(const struct ns16550a *u)
{
    return u->rx_count ? u->rx_errors[u->rx_head] : 0;
}

/* The highest-priority interrupt condition (PC16550D, table IV). */
static uint8_t iir_cause(const struct ns16550a *u)
{
    if ((u->ier & IER_LINE) && (u->overrun || top_errors(u)))
        return IIR_LINE;
    if ((u->ier & IER_RX) && u->rx_count)
        return fifos_on(u) && u->rx_count < rx_trigger(u) ? IIR_RX_TIMEOUT : IIR_RX;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void drive_irq(struct ns16550a *u)
{
    u->line = iir_cause(u) != IIR_NONE;
    irq_set(&u->config.irq, u->line);
}

/* A guest that polls LSR must not take the interrupt controller's lock each time. */
static void update_irq(struct ns16550a *u)
{
    if ((iir_cause(u) != IIR_NONE) != u->line)
        drive_irq(u);
}

static void rx_clear(struct ns16550a *u)
{
    u->rx_head = 0;
    u->rx_count = 0;
}

/* A byte from the line. Without space it is lost in FIFO mode and replaces the waiting byte otherwise; both are
 * overruns. */
static void rx_push(struct ns16550a *u, uint8_t byte, uint8_t errors)
{
    if (u->rx_count == rx_capacity(u)) {
        u->overrun = LSR_OVERRUN;
        if (fifos_on(u))
            return;
        u->rx_count--;
    }
    unsigned at = (u->rx_head + u->rx_count) % NS16550A_FIFO_BYTES;
    u->rx[at] = byte;
    u->rx_errors[at] = errors;
    u->rx_count++;
}

static uint8_t rx_pop(struct ns16550a *u)
{
    if (!u->rx_count)
        return 0;
    uint8_t byte = u->rx[u->rx_head];
    u->rx_head = (u->rx_head + 1) % NS16550A_FIFO_BYTES;
    u->rx_count--;
    return byte;
}

static uint8_t read_iir(struct ns16550a *u)
{
    uint8_t cause = iir_cause(u);

    if (cause == IIR_THRE)
        u->thre_pending = 0;
    return cause | (fifos_on(u) ? IIR_FIFOS_ON : 0);
}

static uint8_t fifo_error(const struct ns16550a *u)
{
    if (!fifos_on(u))
        return 0;
    for (unsigned i = 0; i < u->rx_count; i++) {
        if (u->rx_errors[(u->rx_head + i) % NS16550A_FIFO_BYTES])
            return LSR_FIFO_ERROR;
    }
    return 0;
}

/* Reading LSR shows errors once. */
static uint8_t read_lsr(struct ns16550a *u)
{
    uint8_t lsr = LSR_THRE | LSR_TEMT | u->overrun | top_errors(u) | fifo_error(u) | (u->rx_count ? LSR_DATA : 0);

    u->overrun = 0;
    if (u->rx_count)
        u->rx_errors[u->rx_head] = 0;
    return lsr;
}

static uint8_t read_msr(struct ns16550a *u)
{
    uint8_t msr = u->msr;

    u->msr &= (uint8_t)~MSR_DELTAS;
    return msr;
}

static uint8_t read_register(struct ns16550a *u, uint64_t offset)
{
    bool dlab = u->lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA:
        return dlab ? u->dll : rx_pop(u);
    case REG_IER:
        return dlab ? u->dlm : u->ier;
    case REG_IIR:
        return read_iir(u);
    case REG_LCR:
        return u->lcr;
    case REG_MCR:
        return u->mcr;
    case REG_LSR:
        return read_lsr(u);
    case REG_MSR:
        return read_msr(u);
    case REG_SCR:
        return u->scr;
    }
    log_guest_error("ns16550a: read of reserved register 0x%" PRIx64, offset);
    return 0;
}

/* The modem inputs: the cable's, or in loopback the port's own outputs (PC16550D, section 8.7). */
static uint8_t modem_inputs(const struct ns16550a *u)
{
    if (!(u->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_OUT1 ? MSR_RI : 0) |
           (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct ns16550a *u, uint8_t value)
{
    u->mcr = value & MCR_MASK;
    uint8_t inputs = modem_inputs(u);
    uint8_t deltas = (uint8_t)((inputs ^ u->msr) >> 4);
    if (inputs & MSR_RI)
        deltas &= (uint8_t)~MSR_TERI;
    u->msr = inputs | (u->msr & MSR_DELTAS) | deltas;
}

/* Other bits count only together with FCR_ENABLE; switching the FIFOs on or off empties them. */
static void write_fcr(struct ns16550a *u, uint8_t value)
{
    if ((u->fcr ^ value) & FCR_ENABLE || ((value & FCR_ENABLE) && (value & FCR_CLEAR_RX)))
        rx_clear(u);
    u->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_DMA | FCR_TRIGGER) : 0;
}

static void write_lcr(struct ns16550a *u, uint8_t value)
{
    bool break_begins = (value & LCR_BREAK) && !(u->lcr & LCR_BREAK);

    u->lcr = value;
    if (break_begins && (u->mcr & MCR_LOOP))
        rx_push(u, 0, LSR_BREAK);
}

/* Switching the interrupt on while the transmitter is empty raises it: drivers begin to transmit that way. */
static void write_ier(struct ns16550a *u, uint8_t value)
{
    if ((value & IER_THRE) && !(u->ier & IER_THRE))
        u->thre_pending = 1;
    u->ier = value & IER_MASK;
}

/* A byte into THR, which is empty again at once. Returns true when it is for the host. The word length in LCR is not
 * applied: small programs write without setting up the line, and mean all 8 bits. */
static bool transmit(struct ns16550a *u, uint8_t byte)
{
    u->thre_pending = 1;
    if (!(u->mcr & MCR_LOOP))
        return true;
    rx_push(u, byte, 0);
    return false;
}

/* Returns true when `value` is to be transmitted to the host. */
static bool write_register(struct ns16550a *u, uint64_t offset, uint8_t value)
{
    bool dlab = u->lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA:
        if (!dlab)
            return transmit(u, value);
        u->dll = value;
        return false;
    case REG_IER:
        if (dlab)
            u->dlm = value;
        else
            write_ier(u, value);
        return false;
    case REG_IIR:
        write_fcr(u, value);
        return false;
    case REG_LCR:
        write_lcr(u, value);
        return false;
    case REG_MCR:
        write_mcr(u, value);
        return false;
    case REG_LSR: /* for factory tests */
    case REG_MSR:
        return false;
    case REG_SCR:
        u->scr = value;
        return false;
    }
    log_guest_error("ns16550a: write of 0x%02x to reserved register 0x%" PRIx64, value, offset);
    return false;
}

/* True once, when input that was refused would be taken now. Waits until the receiver is empty, so that the host brings
 * a FIFO full at a time and not one byte per byte read. */
static bool take_host_waiting(struct ns16550a *u)
{
    if (!u->host_waiting || u->rx_count || (u->mcr & MCR_LOOP))
        return false;
    u->host_waiting = false;
    return true;
}

/* Wide accesses act on the one register at their offset, as on QEMU's board. */
static int ns16550a_read(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    struct ns16550a *u = opaque;

    pthread_mutex_lock(&u->lock);
    *value = read_register(u, offset);
    update_irq(u);
    bool wake_host = take_host_waiting(u);
    pthread_mutex_unlock(&u->lock);
    if (wake_host)
        serial_backend_can_receive(&u->config.backend);
    return 0;
}

static int ns16550a_write(void *opaque, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    struct ns16550a *u = opaque;
    uint8_t byte = (uint8_t)value;

    pthread_mutex_lock(&u->lock);
    bool to_host = write_register(u, offset, byte);
    update_irq(u);
    bool wake_host = take_host_waiting(u);
    pthread_mutex_unlock(&u->lock);
    if (to_host)
        serial_backend_write(&u->config.backend, &byte, 1);
    if (wake_host)
        serial_backend_can_receive(&u->config.backend);
    return 0;
}

static const struct mem_ops ns16550a_mem_ops = {
    .name = "ns16550a",
    .read = ns16550a_read,
    .write = ns16550a_write,
    .min_access_bytes = 1,
    .max_access_bytes = 8,
};

static void ns16550a_reset(struct device *dev)
{
    struct ns16550a *u = (struct ns16550a *)dev;

    pthread_mutex_lock(&u->lock);
    u->ier = u->fcr = u->lcr = u->mcr = u->scr = 0;
    u->dll = DIVISOR_RESET;
    u->dlm = 0;
    u->overrun = 0;
    u->thre_pending = 0;
    u->msr = modem_inputs(u);
    rx_clear(u);
    drive_irq(u);
    bool wake_host = take_host_waiting(u);
    pthread_mutex_unlock(&u->lock);
    if (wake_host)
        serial_backend_can_receive(&u->config.backend);
}

static void clamp_restored(struct ns16550a *u)
{
    u->ier &= IER_MASK;
    u->mcr &= MCR_MASK;
    u->fcr &= FCR_ENABLE | FCR_DMA | FCR_TRIGGER;
    u->msr = modem_inputs(u) | (u->msr & MSR_DELTAS);
    u->overrun &= LSR_OVERRUN;
    u->rx_head %= NS16550A_FIFO_BYTES;
    if (u->rx_count > rx_capacity(u))
        u->rx_count = rx_capacity(u);
    for (unsigned i = 0; i < NS16550A_FIFO_BYTES; i++)
        u->rx_errors[i] &= LSR_CHARACTER_ERRORS;
}

static void ns16550a_post_restore(struct device *dev)
{
    struct ns16550a *u = (struct ns16550a *)dev;

    pthread_mutex_lock(&u->lock);
    clamp_restored(u);
    drive_irq(u);
    pthread_mutex_unlock(&u->lock);
}

static void ns16550a_destroy(struct device *dev)
{
    struct ns16550a *u = (struct ns16550a *)dev;

    pthread_mutex_destroy(&u->lock);
    free(u);
}

static int ns16550a_fdt(struct device *dev, void *fdt)
{
    static const char *const compatible[] = {"ns16550a", NULL};
    const struct ns16550a *u = (const struct ns16550a *)dev;
    int node = fdt_node_add(fdt, "serial", u->config.gpa, NS16550A_BYTES, compatible);
    int rc;

    if (node < 0)
        return node;
    rc = fdt_setprop_u32(fdt, node, "clock-frequency", NS16550A_CLOCK_HZ);
    return rc ? rc : fdt_node_set_irq(fdt, node, u->config.irq_parent, u->config.irq_number);
}

static const struct device_ops ns16550a_ops = {
    .name = "ns16550a",
    .state_version = 1,
    .fields = ns16550a_fields,
    .reset = ns16550a_reset,
    .destroy = ns16550a_destroy,
    .fdt = ns16550a_fdt,
    .post_restore = ns16550a_post_restore,
};

size_t ns16550a_receive(struct device *dev, const uint8_t *bytes, size_t len)
{
    struct ns16550a *u = (struct ns16550a *)dev;
    size_t taken = 0;

    assert(dev->ops == &ns16550a_ops);
    pthread_mutex_lock(&u->lock);
    while (taken < len && !(u->mcr & MCR_LOOP) && u->rx_count < rx_capacity(u))
        rx_push(u, bytes[taken++], 0);
    if (taken < len)
        u->host_waiting = true;
    update_irq(u);
    pthread_mutex_unlock(&u->lock);
    return taken;
}

void ns16550a_receive_break(struct device *dev)
{
    struct ns16550a *u = (struct ns16550a *)dev;

    assert(dev->ops == &ns16550a_ops);
    pthread_mutex_lock(&u->lock);
    if (!(u->mcr & MCR_LOOP))
        rx_push(u, 0, LSR_BREAK);
    update_irq(u);
    pthread_mutex_unlock(&u->lock);
}

int ns16550a_create(const struct ns16550a_config *config, struct device **out)
{
    struct ns16550a *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    u->base.ops = &ns16550a_ops;
    u->config = *config;
    pthread_mutex_init(&u->lock, NULL);
    /* The memory map deals in pages: the rest of this one reads as zero, like the reserved offsets of the node's range.
     */
    int rc = mem_add_mmio(config->mem, config->gpa, config->size_bytes ? config->size_bytes : MEM_PAGE_BYTES,
                          &ns16550a_mem_ops, u);
    if (rc) {
        ns16550a_destroy(&u->base);
        return rc;
    }
    ns16550a_reset(&u->base);
    *out = &u->base;
    return 0;
}
