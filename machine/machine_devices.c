/* The board's devices and what each is wired to: interrupt lines to the interrupt controller, its outputs to the harts,
 * clocks to callbacks, the serial port to its host back end. */
#include "base/log.h"
#include "dev/aclint.h"
#include "dev/goldfish_rtc.h"
#include "dev/htif.h"
#include "dev/ns16550a.h"
#include "dev/pvpanic.h"
#include "dev/sswi.h"
#include "dev/sunxi_wdt.h"
#include "dev/syscon_test.h"
#include "dev/virtio/virtio_console.h"
#include "dev/vmgenid.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A line into a hart: the number is the interrupt's (enum vcpu_irq). */
static void set_hart_line(void *opaque, uint32_t number, bool level)
{
    vcpu_set_irq(opaque, (enum vcpu_irq)number, level);
}

struct irq_line machine_hart_line(struct machine *m, uint32_t hart, enum vcpu_irq irq)
{
    return (struct irq_line){.set = set_hart_line, .opaque = m->vcpus[hart], .number = irq};
}

int machine_device_keep(struct machine *m, struct device *dev)
{
    if (m->device_count == MACHINE_DEVICES_MAX) {
        dev->ops->destroy(dev);
        return -ENOSPC;
    }
    m->devices[m->device_count++] = dev;
    return 0;
}

static uint64_t ticks_now(void *opaque)
{
    return machine_ticks(opaque);
}

static void set_ticks(void *opaque, uint64_t ticks)
{
    struct machine *m = opaque;

    atomic_fetch_add(&m->tick_offset, (int64_t)(ticks - machine_ticks(m)));
    for (uint32_t i = 0; i < m->hart_count; i++)
        vcpu_timer_expired(m->vcpus[i]);
}

static void machine_timer_changed(void *opaque, uint32_t hart, uint64_t deadline)
{
    struct machine *m = opaque;

    vcpu_set_machine_timer(m->vcpus[hart], deadline);
}

static int create_aclint(struct machine *m, const uint32_t *intc)
{
    struct irq_line msi[BOARD_HARTS_MAX], mti[BOARD_HARTS_MAX];
    struct device *dev;

    for (uint32_t i = 0; i < m->hart_count; i++) {
        msi[i] = machine_hart_line(m, i, VCPU_IRQ_MSI);
        mti[i] = machine_hart_line(m, i, VCPU_IRQ_MTI);
    }
    struct aclint_config config = {
        .mem = m->mem,
        .gpa = BOARD_CLINT_GPA,
        .hart_count = m->hart_count,
        .msi = msi,
        .mti = mti,
        .time_now = ticks_now,
        .time_set = m->config.clock == MACHINE_CLOCK_HOST ? set_ticks : NULL,
        .deadline_changed = machine_timer_changed,
        .opaque = m,
        .intc_phandles = intc,
        .hidden = m->sbi != NULL,
    };
    int rc = aclint_create(&config, &dev);
    return rc ? rc : machine_device_keep(m, dev);
}

static int create_sswi(struct machine *m, const uint32_t *intc)
{
    struct irq_line ssi[BOARD_HARTS_MAX];
    struct device *dev;

    for (uint32_t i = 0; i < m->hart_count; i++)
        ssi[i] = machine_hart_line(m, i, VCPU_IRQ_SSI);
    struct sswi_config config = {
        .mem = m->mem, .gpa = BOARD_SSWI_GPA, .hart_count = m->hart_count, .ssi = ssi, .intc_phandles = intc};
    int rc = sswi_create(&config, &dev);
    return rc ? rc : machine_device_keep(m, dev);
}

static int create_uart(struct machine *m, uint64_t gpa, uint32_t irq, struct console_backend *console,
                       struct device **out)
{
    struct ns16550a_config config = {
        .mem = m->mem,
        .gpa = gpa,
        .irq = machine_irq_source(m, irq),
        .irq_number = irq,
        .irq_parent = m->irq_parent,
        .backend = {.write = console_backend_write, .can_receive = console_backend_can_receive, .opaque = console},
    };
    int rc = ns16550a_create(&config, out);
    return rc ? rc : machine_device_keep(m, *out);
}

static int create_uarts(struct machine *m)
{
    int rc = create_uart(m, BOARD_UART_GPA, BOARD_IRQ_UART, m->console, &m->uart);

    if (rc || !m->config.second_serial)
        return rc;
    return create_uart(m, BOARD_UART1_GPA, BOARD_IRQ_UART1, m->second_console, &m->second_uart);
}

/* Wall time; a run that counts time in instructions starts at a fixed moment, so that it repeats. */
static uint64_t epoch_now_ns(void *opaque)
{
    enum { REPRODUCIBLE_EPOCH_S = 1700000000 };
    struct machine *m = opaque;
    struct timespec now;

    if (m->config.clock == MACHINE_CLOCK_INSNS)
        return REPRODUCIBLE_EPOCH_S * 1000000000ull + machine_ticks(m) * (1000000000 / BOARD_TIMEBASE_HZ);
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void rtc_alarm_changed(void *opaque, uint64_t deadline_ns)
{
    struct machine *m = opaque;
    uint64_t now = epoch_now_ns(m);
    uint64_t wait = deadline_ns > now ? deadline_ns - now : 0;

    loop_timer_arm(m->rtc_timer, deadline_ns == UINT64_MAX ? UINT64_MAX : loop_now_ns() + wait);
}

static void rtc_alarm(void *opaque)
{
    struct machine *m = opaque;

    goldfish_rtc_alarm_check(m->rtc);
}

static int create_rtc(struct machine *m)
{
    int rc = loop_timer_create(m->loop, rtc_alarm, m, &m->rtc_timer);
    if (rc)
        return rc;
    struct goldfish_rtc_config config = {
        .mem = m->mem,
        .gpa = BOARD_RTC_GPA,
        .irq = machine_irq_source(m, BOARD_IRQ_RTC),
        .irq_number = BOARD_IRQ_RTC,
        .irq_parent = m->irq_parent,
        .epoch_now_ns = epoch_now_ns,
        /* Alarms follow the host's clock; where time is instructions they stay silent, as nothing else could repeat
           them. */
        .alarm_changed = m->config.clock == MACHINE_CLOCK_HOST ? rtc_alarm_changed : NULL,
        .opaque = m,
    };
    rc = goldfish_rtc_create(&config, &m->rtc);
    return rc ? rc : machine_device_keep(m, m->rtc);
}

/* The watchdog's time goes on while the machine exists, whatever the guest does to mtime. */
static uint64_t watchdog_now(void *opaque)
{
    struct machine *m = opaque;

    if (m->config.clock == MACHINE_CLOCK_INSNS)
        return machine_ticks(m) * (1000000000 / BOARD_TIMEBASE_HZ);
    return machine_guest_ns(m);
}

static void watchdog_deadline(void *opaque, uint64_t deadline_ns)
{
    struct machine *m = opaque;

    loop_timer_arm(m->watchdog_timer, machine_guest_to_ns(m, deadline_ns));
}

static void watchdog_tick(void *opaque)
{
    struct machine *m = opaque;

    sunxi_wdt_check(m->watchdog);
}

static void watchdog_reset(void *opaque)
{
    log_warn(LOG_MACHINE, "the watchdog resets the machine");
    machine_end(opaque, MACHINE_END_REBOOT, 0);
}

static int create_watchdog(struct machine *m)
{
    int rc = loop_timer_create(m->loop, watchdog_tick, m, &m->watchdog_timer);
    if (rc)
        return rc;
    struct sunxi_wdt_config config = {
        .mem = m->mem,
        .gpa = BOARD_WATCHDOG_GPA,
        .irq = machine_irq_source(m, BOARD_IRQ_WATCHDOG),
        .irq_number = BOARD_IRQ_WATCHDOG,
        .irq_parent = m->irq_parent,
        .now_ns = watchdog_now,
        /* As the clock's alarm: where time is instructions, nothing comes from the host's. */
        .deadline_changed = m->config.clock == MACHINE_CLOCK_HOST ? watchdog_deadline : NULL,
        .reset = watchdog_reset,
        .opaque = m,
    };
    rc = sunxi_wdt_create(&config, &m->watchdog);
    return rc ? rc : machine_device_keep(m, m->watchdog);
}

/* The guest's own word, which may be anything: some of it is kept. It goes on as it likes. */
static void guest_panicked(void *opaque, unsigned events)
{
    enum { TOLD_MAX = 16 };
    struct machine *m = opaque;

    for (unsigned event = PVPANIC_PANICKED; event <= PVPANIC_CRASH_LOADED; event <<= 1) {
        bool crash_loaded = event == PVPANIC_CRASH_LOADED;
        if (!(events & event) || atomic_fetch_add(&m->panics, 1) >= TOLD_MAX)
            continue;
        log_warn(LOG_MACHINE,
                 crash_loaded ? "the guest's kernel gives way to its crash kernel" : "the guest's kernel has panicked");
        machine_event(m, "guest panic", crash_loaded ? "crash kernel loaded" : "");
        if (m->panicked)
            m->panicked(m->panicked_opaque, crash_loaded);
    }
}

/* Snapshots of earlier versions are of machines without one. */
static int create_pvpanic(struct machine *m)
{
    if (m->config.restore && !machine_restore_has(m, "pvpanic"))
        return 0;
    struct pvpanic_config config = {.mem = m->mem, .gpa = BOARD_PVPANIC_GPA, .told = guest_panicked, .opaque = m};
    int rc = pvpanic_create(&config, &m->pvpanic);
    return rc ? rc : machine_device_keep(m, m->pvpanic);
}

/* Those as well. */
static int create_vmgenid(struct machine *m)
{
    if (m->config.restore && !machine_restore_has(m, "vmgenid"))
        return 0;
    struct vmgenid_config config = {
        .mem = m->mem,
        .gpa = BOARD_VMGENID_GPA,
        .irq = machine_irq_source(m, BOARD_IRQ_VMGENID),
        .irq_number = BOARD_IRQ_VMGENID,
        .irq_parent = m->irq_parent,
        .fixed = m->config.clock == MACHINE_CLOCK_INSNS,
    };
    int rc = vmgenid_create(&config, &m->vmgenid);
    return rc ? rc : machine_device_keep(m, m->vmgenid);
}

static void test_event(void *opaque, enum syscon_test_event event, uint32_t code)
{
    machine_end(opaque, event == SYSCON_TEST_RESET ? MACHINE_END_REBOOT : MACHINE_END_POWEROFF, code);
}

int machine_test_create(struct machine *m, uint64_t gpa)
{
    struct device *dev;
    struct syscon_test_config config = {
        .mem = m->mem,
        .gpa = gpa,
        .phandle = BOARD_PHANDLE_TEST,
        .event = test_event,
        .opaque = m,
    };
    int rc = syscon_test_create(&config, &dev);
    return rc ? rc : machine_device_keep(m, dev);
}

static void htif_exit(void *opaque, uint32_t code)
{
    machine_end(opaque, MACHINE_END_POWEROFF, code);
}

static void htif_store(void *opaque, uint64_t gpa, unsigned len_bytes)
{
    struct machine *m = opaque;

    htif_stored(m->htif, gpa, len_bytes);
}

/* Programs that store only the low half of tohost are noticed by looking now and then. */
static void htif_tick(void *opaque)
{
    enum { HTIF_TICK_NS = 50000000 };
    struct machine *m = opaque;

    htif_poll(m->htif);
    loop_timer_arm(m->htif_timer, loop_now_ns() + HTIF_TICK_NS);
}

static int create_htif(struct machine *m)
{
    if (!m->has_image || !m->image.has_tohost)
        return 0;
    struct htif_config config = {
        .mem = m->mem,
        .tohost_gpa = m->image.tohost,
        .has_fromhost = m->image.has_fromhost,
        .fromhost_gpa = m->image.fromhost,
        .console = {.write = console_backend_write, .can_receive = console_backend_can_receive, .opaque = m->console},
        .exit = htif_exit,
        .opaque = m,
    };
    int rc = htif_create(&config, &m->htif);
    if (rc)
        return rc;
    mem_watch_stores(m->mem, m->image.tohost, htif_store, m);
    (void)machine_device_keep(m, m->htif);
    rc = loop_timer_create(m->loop, htif_tick, m, &m->htif_timer);
    if (rc == 0)
        loop_timer_arm(m->htif_timer, 0);
    return rc;
}

/* ---- console ---- */

static void console_sink(void *opaque, const uint8_t *bytes, size_t len)
{
    struct machine *m = opaque;

    if (m->console_output)
        m->console_output(m->console_output_opaque, bytes, len);
}

static size_t console_receive(void *opaque, const uint8_t *bytes, size_t len)
{
    struct machine *m = opaque;

    /* Linux's driver opens the port when it finds it, long before anybody reads there; so what counts is who writes. */
    if (m->virtio_console && atomic_load(&m->virtio_console_spoke)) {
        if (virtio_console_is_open(m->virtio_console, 0))
            return virtio_console_receive(m->virtio_console, 0, bytes, len);
        atomic_store(&m->virtio_console_spoke, false);
    }
    if (m->htif) {
        size_t taken = htif_receive(m->htif, bytes, len);
        if (taken)
            return taken;
    }
    return m->uart ? ns16550a_receive(m->uart, bytes, len) : len;
}

static void second_sink(void *opaque, const uint8_t *bytes, size_t len)
{
    struct machine *m = opaque;

    if (m->second_output)
        m->second_output(m->second_output_opaque, bytes, len);
}

static size_t second_receive(void *opaque, const uint8_t *bytes, size_t len)
{
    struct machine *m = opaque;

    return m->second_uart ? ns16550a_receive(m->second_uart, bytes, len) : len;
}

static int create_second_console(struct machine *m, struct error *err)
{
    struct console_backend_config config = {.kind = CONSOLE_BACKEND_SINK,
                                            .sink = second_sink,
                                            .sink_opaque = m,
                                            .receive = second_receive,
                                            .receive_opaque = m};

    return m->config.second_serial ? console_backend_create(m->loop, &config, &m->second_console, err) : 0;
}

static int create_console(struct machine *m, struct error *err)
{
    static const enum console_backend_kind kinds[] = {
        [MACHINE_SERIAL_STDIO] = CONSOLE_BACKEND_SINK,
        [MACHINE_SERIAL_NULL] = CONSOLE_BACKEND_NULL,
        [MACHINE_SERIAL_FILE] = CONSOLE_BACKEND_FILE,
        [MACHINE_SERIAL_PTY] = CONSOLE_BACKEND_PTY,
    };
    struct console_backend_config config = {
        .kind = kinds[m->config.serial],
        .path = m->config.serial_path,
        .sink = console_sink,
        .sink_opaque = m,
        .receive = console_receive,
        .receive_opaque = m,
    };

    return console_backend_create(m->loop, &config, &m->console, err);
}

/* ---- all of them ---- */

int machine_consoles_create(struct machine *m, struct error *err)
{
    int rc = create_console(m, err);

    return rc ? rc : create_second_console(m, err);
}

void machine_devices_reset(struct machine *m)
{
    for (unsigned i = 0; i < m->device_count; i++) {
        if (m->devices[i]->ops->reset)
            m->devices[i]->ops->reset(m->devices[i]);
    }
}

int machine_devices_create(struct machine *m, struct error *err)
{
    uint32_t intc[BOARD_HARTS_MAX];
    int rc = machine_consoles_create(m, err);

    if (rc)
        return rc;
    for (uint32_t i = 0; i < m->hart_count; i++)
        intc[i] = BOARD_PHANDLE_INTC0 + i;
    rc = machine_test_create(m, BOARD_TEST_GPA);
    /* The kernel's harts have timers of their own, and interrupt each other by the kernel's SBI. */
    if (rc == 0 && !m->accel)
        rc = create_aclint(m, intc);
    if (rc == 0 && !m->accel)
        rc = create_sswi(m, intc);
    if (rc == 0)
        rc = machine_irqs_create(m, intc);
    if (rc == 0)
        rc = machine_pci_create(m);
    if (rc == 0)
        rc = create_rtc(m);
    if (rc == 0)
        rc = create_watchdog(m);
    if (rc == 0)
        rc = create_pvpanic(m);
    if (rc == 0)
        rc = create_vmgenid(m);
    if (rc == 0)
        rc = create_uarts(m);
    if (rc == 0)
        rc = create_htif(m);
    if (rc)
        return error_set(err, rc, "the board's devices could not be created: %s", strerror(-rc));
    rc = machine_virtio_create(m, err);
    if (rc == 0)
        machine_devices_reset(m);
    return rc;
}

int machine_devices_fdt(struct machine *m, void *fdt, struct error *err)
{
    for (unsigned i = 0; i < m->device_count; i++) {
        const struct device_ops *ops = m->devices[i]->ops;
        int rc = ops->fdt ? ops->fdt(m->devices[i], fdt) : 0;
        if (rc)
            return error_set(err, -EINVAL, "the device tree has no room for %s (libfdt error %d)", ops->name, rc);
    }
    return 0;
}

void machine_devices_destroy(struct machine *m)
{
    loop_timer_destroy(m->htif_timer);
    while (m->device_count) {
        struct device *dev = m->devices[--m->device_count];
        dev->ops->destroy(dev);
    }
    machine_pflash_close(m);
    loop_timer_destroy(m->rtc_timer);
    loop_timer_destroy(m->watchdog_timer);
    console_backend_destroy(m->second_console);
    console_backend_destroy(m->console);
}
