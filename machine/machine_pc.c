/* A PC: the board's parts around what KVM emulates itself (machine/board_pc.h has the map). Devices with registers in
 * memory are those of the other board; their interrupts go into the kernel's controllers, and the doorbells of virtio
 * queues come as eventfds to the devices' loop without waking the program's vCPU thread.
 */
#include "accel/accel.h"
#include "base/log.h"
#include "dev/ns16550a.h"
#include "dev/pc/cmos_rtc.h"
#include "dev/pc/pc_ports.h"
#include "dev/pci/pci_device.h"
#include "dev/pci/pcie_host.h"
#include "dev/virtio/virtio_mmio.h"
#include "dev/virtio/virtio_pci.h"
#include "machine/board_pc.h"
#include "machine/machine_internal.h"
#include "machine/machine_snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BELLS_MAX = 64, VIRTIO_QUEUE_NOTIFY = 0x50 };

/* A queue's doorbell. */
struct bell {
    struct virtio_device *device;
    uint32_t queue;
    int fd;
};

/* A virtio device on the PCI bus. */
struct function {
    struct machine *machine;
    uint64_t gpa; /* of queue 0's doorbell, or PCI_NOT_DECODED; under the function's lock */
    const struct bell *bells;
    unsigned bell_count;
};

struct machine_pc {
    struct mem *ports;
    struct loader_pc_image image;
    struct boot_range initrd;
    struct bell bells[BELLS_MAX];
    unsigned bell_count;
    struct function functions[PCIE_HOST_SLOTS]; /* by slot */
};

int machine_pc_check(const struct machine_config *config, struct error *err)
{
    static const char only[] = "is of the riscv64 board, the kernel is for x86: leave it out";

    if (config->accel == MACHINE_ACCEL_TIERS)
        return error_set(err, -ENOTSUP, "the guest is for x86, and only KVM runs it: give --accel=kvm or auto");
    if (config->memory_bytes > BOARD_PC_RAM_MAX_BYTES || config->memory_bytes < (UINT64_C(4) << 20))
        return error_set(err, -EINVAL, "%" PRIu64 " MiB of memory: an x86 machine has 4M to 256G",
                         config->memory_bytes >> 20);
    if (config->cpus > BOARD_PC_VCPUS_MAX)
        return error_set(err, -EINVAL, "%u vCPUs: an x86 machine has 1 to %d", config->cpus, BOARD_PC_VCPUS_MAX);
    if (config->dtb)
        return error_set(err, -EINVAL, "a device tree %s", only);
    if (config->pflash[0] || config->pflash[1])
        return error_set(err, -EINVAL, "flash %s", only);
    if (config->aia != MACHINE_AIA_NONE)
        return error_set(err, -EINVAL, "the Advanced Interrupt Architecture %s", only);
    if (config->isa != ISA_DEFAULT)
        return error_set(err, -EINVAL, "an ISA %s", only);
    if (config->files)
        return error_set(err, -EINVAL, "a file that is loaded besides %s", only);
    if (config->clock == MACHINE_CLOCK_INSNS || config->max_insns != UINT64_MAX)
        return error_set(err, -EINVAL, "KVM does not count instructions: leave --clock=insns and --max-insns out");
    if (config->snapshots.at_insns)
        return error_set(err, -EINVAL, "KVM does not count instructions: leave --snapshot-at out");
    if (config->jit.verify)
        return error_set(err, -EINVAL, "KVM runs the guest: there is no compiled code to verify");
    const char *image = config->kernel ? config->kernel : config->bare;
    struct error reason;
    int rc = accel_probe(VCPU_GUEST_X86_64, config->cpus, &reason);
    if (rc && image)
        return error_set(err, rc, "'%s' is for x86-64, which only KVM runs. %s", image, reason.text);
    return rc ? error_set(err, rc, "%s", reason.text) : 0;
}

/* ---- ports ---- */

/* In halves where the device does not take it whole. */
static uint64_t read_bus(const struct mem *mem, uint64_t at, unsigned size_bytes)
{
    uint64_t value;

    if (mem_mmio_read(mem, at, size_bytes, &value) == 0)
        return value;
    if (size_bytes == 1)
        return 0xff;
    unsigned half = size_bytes / 2;
    uint64_t low = read_bus(mem, at, half) & ((1u << 8 * half) - 1);
    return low | read_bus(mem, at + half, half) << 8 * half;
}

static void write_bus(const struct mem *mem, uint64_t at, unsigned size_bytes, uint64_t value)
{
    if (mem_mmio_write(mem, at, size_bytes, value) == 0 || size_bytes == 1)
        return;
    unsigned half = size_bytes / 2;
    write_bus(mem, at, half, value & ((1u << 8 * half) - 1));
    write_bus(mem, at + half, half, value >> 8 * half);
}

static uint64_t port_read(void *opaque, uint16_t port, unsigned size_bytes)
{
    const struct machine *m = opaque;

    return port >= BOARD_PC_PCI_IO_PORT ? read_bus(m->mem, BOARD_PC_PCI_IO_GPA + port, size_bytes)
                                        : read_bus(m->pc->ports, port, size_bytes);
}

static void port_write(void *opaque, uint16_t port, unsigned size_bytes, uint64_t value)
{
    const struct machine *m = opaque;

    if (port >= BOARD_PC_PCI_IO_PORT)
        write_bus(m->mem, BOARD_PC_PCI_IO_GPA + port, size_bytes, value);
    else
        write_bus(m->pc->ports, port, size_bytes, value);
}

/* ---- devices ---- */

static int create_uart(struct machine *m, uint64_t port, uint32_t irq, struct console_backend *console,
                       struct device **out)
{
    struct ns16550a_config config = {
        .mem = m->pc->ports,
        .gpa = port,
        .size_bytes = BOARD_PC_UART_PORTS,
        .irq = accel_irq_line(m->accel, irq),
        .backend = {.write = console_backend_write, .can_receive = console_backend_can_receive, .opaque = console},
    };
    int rc = ns16550a_create(&config, out);

    return rc ? rc : machine_device_keep(m, *out);
}

static uint64_t epoch_now_ns(void *opaque)
{
    struct timespec now;

    (void)opaque;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int create_cmos(struct machine *m)
{
    struct cmos_rtc_config config = {.ports = m->pc->ports, .port = BOARD_PC_CMOS_PORT, .epoch_now_ns = epoch_now_ns};
    int rc = cmos_rtc_create(&config, &m->rtc);

    return rc ? rc : machine_device_keep(m, m->rtc);
}

static void reset_line(void *opaque)
{
    machine_end(opaque, MACHINE_END_REBOOT, 0);
}

static int create_reset(struct machine *m)
{
    struct pc_reset_config config = {.ports = m->pc->ports, .reset = reset_line, .opaque = m};
    struct device *dev;
    int rc = pc_reset_create(&config, &dev);

    return rc ? rc : machine_device_keep(m, dev);
}

/* A message to the local APICs' range is an interrupt; elsewhere it is a store to RAM. */
static void send_message(void *opaque, uint64_t gpa, uint32_t data)
{
    struct machine *m = opaque;

    if (gpa % sizeof(data) == 0 && mem_ram_ptr(m->mem, gpa, sizeof(data)))
        (void)!mem_write(m->mem, gpa, &data, sizeof(data));
    else
        accel_message(m->accel, gpa, data);
}

static uint64_t high_ram_end(const struct mem *mem)
{
    return BOARD_PC_HIGH_RAM_GPA + (mem_ram_bytes(mem) - mem_ram_low_bytes(mem));
}

static int create_pci(struct machine *m)
{
    struct pcie_host_config config = {
        .mem = m->mem,
        .ecam_gpa = BOARD_PC_PCI_ECAM_GPA,
        .io = {BOARD_PC_PCI_IO_GPA, BOARD_PC_PCI_IO_BYTES},
        .mem32 = {BOARD_PC_PCI_MEM32_GPA, BOARD_PC_PCI_MEM32_BYTES},
        .mem64 = {high_ram_end(m->mem), BOARD_PC_PCI_MEM64_BYTES},
        .message = send_message,
        .opaque = m,
    };
    struct pc_pci_config ports = {.ports = m->pc->ports, .mem = m->mem, .ecam_gpa = BOARD_PC_PCI_ECAM_GPA};
    struct device *dev;

    for (uint32_t line = 0; line < PCIE_HOST_LINES; line++)
        config.intx[line] = accel_irq_line(m->accel, BOARD_PC_IRQ_PCI0 + line);
    int rc = pcie_host_create(&config, &m->pcie);
    if (rc == 0)
        rc = machine_device_keep(m, m->pcie);
    if (rc == 0)
        rc = pc_pci_create(&ports, &dev);
    return rc ? rc : machine_device_keep(m, dev);
}

static int create_devices(struct machine *m, struct error *err)
{
    int rc = machine_consoles_create(m, err);

    if (rc)
        return rc;
    m->accel_chip = accel_vm_take_chip(m->accel);
    rc = m->accel_chip ? machine_device_keep(m, m->accel_chip) : 0;
    if (rc == 0)
        rc = machine_test_create(m, BOARD_PC_TEST_GPA);
    if (rc == 0)
        rc = create_reset(m);
    if (rc == 0)
        rc = create_cmos(m);
    if (rc == 0)
        rc = create_pci(m);
    if (rc == 0)
        rc = create_uart(m, BOARD_PC_UART_PORT, BOARD_PC_IRQ_UART, m->console, &m->uart);
    if (rc == 0 && m->config.second_serial)
        rc = create_uart(m, BOARD_PC_UART1_PORT, BOARD_PC_IRQ_UART1, m->second_console, &m->second_uart);
    if (rc)
        return error_set(err, rc, "the board's devices could not be created: %s", strerrordesc_np(-rc));
    rc = machine_virtio_create(m, err);
    if (rc == 0)
        machine_devices_reset(m);
    return rc;
}

/* ---- doorbells ---- */

static void rang(void *opaque, int fd, uint32_t events)
{
    const struct bell *bell = opaque;
    uint64_t count;

    (void)events;
    if (read(fd, &count, sizeof(count)) == sizeof(count))
        virtio_kick(bell->device, bell->queue);
}

/* `*out`: NULL when there are enough; the queue is kicked by an access to the register then. */
static int add_bell(struct machine *m, struct virtio_device *device, uint32_t queue, struct bell **out)
{
    struct machine_pc *pc = m->pc;

    *out = NULL;
    if (pc->bell_count == BELLS_MAX)
        return 0;
    struct bell *bell = &pc->bells[pc->bell_count];
    *bell = (struct bell){.device = device, .queue = queue, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (bell->fd < 0)
        return -errno;
    pc->bell_count++;
    *out = bell;
    return loop_fd_add(m->devices_loop, bell->fd, EPOLLIN, rang, bell);
}

/* Of one that KVM does not take, stores come to the register. */
static void doorbells_moved(void *opaque, uint64_t gpa)
{
    struct function *f = opaque;
    struct machine *m = f->machine;
    bool was = pcie_host_has_memory(m->pcie, f->gpa), is = pcie_host_has_memory(m->pcie, gpa);

    if (gpa == f->gpa) /* another BAR moved */
        return;
    for (unsigned i = 0; i < f->bell_count; i++) {
        const struct bell *bell = &f->bells[i];
        uint64_t offset = bell->queue * (uint64_t)VIRTIO_PCI_DOORBELL_BYTES;
        if (was)
            accel_doorbell_remove(m->accel, f->gpa + offset, sizeof(uint16_t), bell->queue, bell->fd);
        int rc = is ? accel_doorbell(m->accel, gpa + offset, sizeof(uint16_t), bell->queue, bell->fd) : 0;
        if (rc)
            log_guest_error("doorbell at 0x%" PRIx64 ": %s", gpa + offset, strerrordesc_np(-rc));
    }
    f->gpa = gpa;
}

int machine_pc_function(struct machine *m, struct virtio_pci_config *config)
{
    struct machine_pc *pc = m->pc;
    struct function *f = &pc->functions[config->slot];
    struct bell *bell;

    *f = (struct function){.machine = m, .gpa = PCI_NOT_DECODED, .bells = &pc->bells[pc->bell_count]};
    for (uint32_t q = 0; q < config->device->queue_count; q++) {
        int rc = add_bell(m, config->device, q, &bell);
        if (rc)
            return rc;
        f->bell_count += bell != NULL;
    }
    config->doorbells_moved = doorbells_moved;
    config->doorbells_opaque = f;
    return 0;
}

int machine_pc_slot(struct machine *m, unsigned n, struct virtio_mmio_config *config)
{
    struct bell *bell;
    int rc = 0;

    config->gpa = BOARD_PC_VIRTIO_GPA + n * (uint64_t)BOARD_PC_VIRTIO_SLOT_BYTES;
    config->irq_number = board_pc_virtio_irq(n);
    if (!config->device)
        return 0;
    for (uint32_t q = 0; q < config->device->queue_count && rc == 0; q++) {
        rc = add_bell(m, config->device, q, &bell);
        if (rc == 0 && bell)
            rc = accel_doorbell(m->accel, config->gpa + VIRTIO_QUEUE_NOTIFY, 4, q, bell->fd);
    }
    return rc ? rc : accel_irq_edge(m->accel, config->irq_number, &config->irq);
}

/* ---- kernel ---- */

/* The kernel finds virtio-mmio devices by its command line. Returns the new one, the caller's to free(), or NULL. */
static char *whole_cmdline(const struct machine *m)
{
    enum { PER_SLOT_BYTES = 64 };
    const char *given = m->config.cmdline ? m->config.cmdline : "";
    size_t size = strlen(given) + BOARD_PC_VIRTIO_SLOTS * PER_SLOT_BYTES + 1;
    char *line = malloc(size);

    if (!line)
        return NULL;
    int len = snprintf(line, size, "%s", given);
    for (unsigned n = 0; n < m->virtio_count && m->config.virtio == MACHINE_VIRTIO_MMIO; n++)
        len +=
            snprintf(line + len, size - (size_t)len, "%svirtio_mmio.device=4K@0x%" PRIx64 ":%" PRIu32, len ? " " : "",
                     BOARD_PC_VIRTIO_GPA + n * (uint64_t)BOARD_PC_VIRTIO_SLOT_BYTES, board_pc_virtio_irq(n));
    return line;
}

static int load_initrd(struct machine *m, struct error *err)
{
    struct machine_pc *pc = m->pc;

    if (!m->config.initrd)
        return 0;
    if (pc->image.how == LOADER_PC_SECTOR)
        return error_set(err, -EINVAL, "an initrd with a boot sector, which knows none: leave it out");
    int rc = loader_load_initrd(m->mem, m->config.initrd, &pc->image.image, &pc->initrd, err);
    if (rc == 0 && pc->initrd.end - 1 > pc->image.initrd_max)
        rc = error_set(err, -EFBIG, "the kernel takes no initrd above 0x%" PRIx64 "; give a smaller --memory",
                       pc->image.initrd_max);
    return rc;
}

static int load(struct machine *m, struct error *err)
{
    struct machine_pc *pc = m->pc;
    const char *path = m->config.kernel ? m->config.kernel : m->config.bare;
    int rc = loader_pc_load(m->mem, path, &pc->image, err);

    if (rc == 0)
        rc = load_initrd(m, err);
    if (rc)
        return rc;
    char *cmdline = whole_cmdline(m);
    if (!cmdline)
        return error_set(err, -ENOMEM, "no memory for the command line");
    rc = boot_pc_write(m->mem, &pc->image, cmdline, &pc->initrd, err);
    free(cmdline);
    if (rc)
        return rc;
    rc = board_pc_mp_table(m->mem, m->config.cpus);
    if (rc)
        return error_set(err, rc, "no room for the table of processors");
    m->image = pc->image.image;
    return 0;
}

/* The first processor starts; the others wait for INIT and SIPI, as the kernel's controllers have it. */
static int set_start_state(struct machine *m, struct error *err)
{
    struct vcpu_state state;

    vcpu_get_state(m->vcpus[0], &state);
    boot_pc_state(&state, &m->pc->image);
    int rc = vcpu_set_state(m->vcpus[0], &state);
    for (uint32_t i = 0; i < m->hart_count; i++)
        atomic_store(&m->harts[i].state, SBI_HSM_STARTED);
    return rc ? error_set(err, rc, "the first vCPU refused its start state: %s", strerrordesc_np(-rc)) : 0;
}

int machine_pc_create(struct machine *m, struct error *err)
{
    m->pc = calloc(1, sizeof(*m->pc));
    if (!m->pc || mem_create_ports(&m->pc->ports))
        return error_set(err, -ENOMEM, "no memory for a machine");
    int rc = machine_accel_create(m, err);
    if (rc)
        return rc;
    m->env.port_read = port_read;
    m->env.port_write = port_write;
    rc = machine_harts_create(m, err);
    if (rc == 0)
        rc = create_devices(m, err);
    if (rc == 0)
        rc = m->config.restore ? machine_restore_load(m, err) : load(m, err);
    m->has_image = true;
    return rc || m->config.restore ? rc : set_start_state(m, err);
}

/* After vCPUs and devices. */
void machine_pc_destroy(struct machine *m)
{
    struct machine_pc *pc = m->pc;

    accel_vm_destroy(m->accel);
    if (!pc)
        return;
    for (unsigned i = 0; i < pc->bell_count; i++) {
        loop_fd_remove(m->devices_loop, pc->bells[i].fd);
        close(pc->bells[i].fd);
    }
    mem_destroy(pc->ports);
    free(pc);
}
