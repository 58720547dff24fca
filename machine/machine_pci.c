/* The board's PCI Express bridge: its windows, its lines to the interrupt controller, and where functions' messages go.
 */
#include "accel/accel.h"
#include "dev/imsic.h"
#include "dev/pci/pcie_host.h"
#include "machine/machine_internal.h"

#include <stdatomic.h>

/* A message is a store: to an interrupt file, or to RAM, as the guest chose. It enters no other device. */
static void store_message(void *opaque, uint64_t gpa, uint32_t data)
{
    struct machine *m = opaque;
    _Atomic uint32_t *word = gpa % sizeof(data) == 0 ? mem_ram_ptr(m->mem, gpa, sizeof(data)) : NULL;

    if (word) {
        /* As one store, behind what the device wrote before. */
        atomic_store_explicit(word, data, memory_order_release);
        mem_note_write(m->mem, gpa, sizeof(data));
    } else if (m->imsic && m->accel) {
        accel_message(m->accel, gpa, data);
    } else if (m->imsic) {
        imsic_message(m->imsic, gpa, data);
    }
}

static uint64_t high_window(const struct machine *m)
{
    uint64_t ram_end = BOARD_RAM_GPA + m->config.memory_bytes;

    return (ram_end + BOARD_PCIE_HIGH_BYTES - 1) & ~(BOARD_PCIE_HIGH_BYTES - 1);
}

int machine_pci_create(struct machine *m)
{
    struct pcie_host_config config = {
        .mem = m->mem,
        .ecam_gpa = BOARD_PCIE_ECAM_GPA,
        .io = {BOARD_PCIE_IO_GPA, BOARD_PCIE_IO_BYTES},
        .mem32 = {BOARD_PCIE_MMIO_GPA, BOARD_PCIE_MMIO_BYTES},
        .mem64 = {high_window(m), BOARD_PCIE_HIGH_BYTES},
        .intx_number = BOARD_IRQ_PCIE0,
        .irq_parent = m->irq_parent,
        .msi_parent = m->imsic ? BOARD_PHANDLE_IMSIC_S : 0,
        .message = store_message,
        .opaque = m,
    };

    for (uint32_t line = 0; line < PCIE_HOST_LINES; line++)
        config.intx[line] = machine_irq_source(m, BOARD_IRQ_PCIE0 + line);
    int rc = pcie_host_create(&config, &m->pcie);
    return rc ? rc : machine_device_keep(m, m->pcie);
}
