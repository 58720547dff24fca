/* The PCI transport of virtio devices (virtio 1.2, 4.1), modern only: a function whose vendor capabilities say where in
 * BAR 4 the registers are. MSI-X with a vector for each queue and one for the configuration (BAR 1), or INTx.
 *
 * BARs, capabilities and identity are laid out as QEMU's, so the same drivers are known to work with them:
 *
 *   BAR 1          MSI-X table and pending bits
 *   BAR 4  0x0000  common configuration
 *          0x1000  ISR status
 *          0x2000  device configuration
 *          0x3000  notifications: queue n at 4 * n
 *
 * A driver that clears PCI_COMMAND_MASTER takes the right to access memory away, so a running device is reset, as there
 * is no way to go on without its queues; kexec relies on it.
 */
#ifndef TUFF_DEV_VIRTIO_VIRTIO_PCI_H
#define TUFF_DEV_VIRTIO_VIRTIO_PCI_H

#include "base/compiler.h"
#include "dev/device.h"

#include <stdint.h>

enum { VIRTIO_PCI_DOORBELL_BYTES = 4 };

struct virtio_device;

struct virtio_pci_config {
    struct device *host;          /* dev/pci/pcie_host.h; destroyed after the transport */
    unsigned slot;                /* 1 to 31 */
    struct virtio_device *device; /* borrowed; destroyed after the transport */
    /* Where drivers tell of work has changed: queue n's number is stored as 16 bits at gpa + n *
     * VIRTIO_PCI_DOORBELL_BYTES; nowhere where gpa is PCI_NOT_DECODED, as at first. With the function's lock, on any
     * thread. For who catches these stores before they come here; NULL: nobody. */
    void (*doorbells_moved)(void *opaque, uint64_t gpa);
    void *doorbells_opaque;
};

/* Before vCPUs run. Returns 0, -ENOMEM, or what pcie_host_add() said. */
TUFF_MUST_CHECK int virtio_pci_create(const struct virtio_pci_config *config, struct device **out);

/* Any thread: how many MSI-X messages were sent, and how often INTx rose. */
void virtio_pci_counters(struct device *dev, uint64_t *messages, uint64_t *intx);

#endif
