/* A function on the PCI bus (PCI Local Bus Specification 3.0, chapter 6): configuration space with a mask of writable
 * bits for each byte, BARs, capabilities, INTx and MSI-X. What is behind the BARs is the device's own
 * (struct pci_ops); the bridge (dev/pci/pcie_host.h) brings accesses here and carries interrupts away.
 *
 * Functions are conventional ones with 256 bytes of configuration space, as devices on the root bus of QEMU's board
 * are. They have no power management: Linux wants none of a virtio device, and would only have to switch it on again.
 *
 * `lock` guards the configuration space, MSI-X and INTx, and what the device puts under it. BARs are found and accessed
 * without it. Lock order: this lock, the bridge's, the interrupt controller's.
 */
#ifndef TUFF_DEV_PCI_PCI_DEVICE_H
#define TUFF_DEV_PCI_PCI_DEVICE_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PCI_CONFIG_BYTES = 256, PCI_BARS = 6, PCI_MSIX_VECTORS_MAX = 64, PCI_MSIX_BAR_BYTES = 0x1000 };

/* A BAR's address while it is not decoded: beyond every address that an access can have. */
#define PCI_NOT_DECODED (UINT64_C(1) << 63)

struct pci_device;

/* The device's side. Calls come on vCPU threads, without the lock; must not block. Each may be NULL. */
struct pci_ops {
    /* An access of 1, 2, 4 or 8 bytes that lies in the BAR, at a multiple of its size. Returns 0, or -EFAULT where no
     * register answers: there is no such thing on the bus, so the read gives ones and the write is lost. */
    int (*bar_read)(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t *value);
    int (*bar_write)(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes, uint64_t value);
    /* Before configuration space is read: to bring bytes up to date. */
    void (*config_reading)(struct pci_device *dev, unsigned offset, unsigned size_bytes);
    /* After it was written. `command` is what PCI_COMMAND was before. */
    void (*config_written)(struct pci_device *dev, unsigned offset, unsigned size_bytes, uint16_t command);
    /* A BAR has moved, or is decoded or not decoded now. With the lock, on any thread. */
    void (*bars_moved)(struct pci_device *dev);
};

struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* base class, subclass, interface: 0x010000 */
    uint8_t revision;
    bool has_intx; /* INTA */
};

enum { PCI_BAR_IO = 1, PCI_BAR_64 = 2, PCI_BAR_PREFETCHABLE = 4 };

struct pci_bar {
    uint64_t size_bytes; /* 0: there is none */
    unsigned flags;
    _Atomic uint64_t *decoded; /* the bridge's: where the BAR is now; NULL before pcie_host_add() */
};

struct pci_msix {
    uint16_t vectors; /* 0: no MSI-X */
    uint8_t capability, bar;
    uint32_t table[PCI_MSIX_VECTORS_MAX * 4]; /* address, upper address, data, control */
    uint64_t pending;                         /* a bit a vector */
};

/* First member of each function's struct. */
struct pci_device {
    struct device base;
    const struct pci_ops *ops;
    pthread_mutex_t lock; /* guards config, msix.table and msix.pending, intx */
    /* Saved: PCI_DEVICE_FIELDS. */
    uint8_t config[PCI_CONFIG_BYTES];
    struct pci_msix msix;
    uint8_t intx; /* the device wants an interrupt; the line also depends on PCI_COMMAND and MSI-X */
    bool intx_driven;
    uint64_t messages, intx_rises; /* statistics */

    /* Constant, from here on. */
    uint8_t reset_config[PCI_CONFIG_BYTES];
    uint8_t writable[PCI_CONFIG_BYTES]; /* bits that a driver can change */
    uint8_t last_capability, capability_end;
    struct pci_bar bars[PCI_BARS];
    /* Given by pcie_host_add(). */
    struct irq_line intx_line;
    void (*message)(void *opaque, uint64_t gpa, uint32_t data);
    void *message_opaque;
};

/* The start of each function's table of saved fields (dev/device.h). */
#define PCI_DEVICE_FIELDS                                                                                   \
    DEVICE_FIELD_ARRAY(struct pci_device, config, 1), DEVICE_FIELD_ARRAY(struct pci_device, msix.table, 1), \
        DEVICE_FIELD(struct pci_device, msix.pending, 1), DEVICE_FIELD(struct pci_device, intx, 1)

/* ---- making one: before pcie_host_add() ---- */

/* `base_ops` and `ops` are borrowed. */
void pci_device_init(struct pci_device *dev, const struct device_ops *base_ops, const struct pci_ops *ops,
                     const struct pci_identity *identity);
void pci_device_fini(struct pci_device *dev);

/* `size_bytes` is a power of two: of memory at least 16, of I/O at least 4. PCI_BAR_64 takes the next number too. */
void pci_add_bar(struct pci_device *dev, unsigned bar, uint64_t size_bytes, unsigned flags);

/* Adds a capability behind the last one: `len` bytes (a multiple of 4) from its third byte on, and which of their bits
 * a driver can change (NULL: none). Returns its offset. */
uint8_t pci_add_capability(struct pci_device *dev, uint8_t id, const uint8_t *bytes, const uint8_t *writable,
                           unsigned len);

/* Adds MSI-X (6.8.2) with 1 to PCI_MSIX_VECTORS_MAX vectors and a BAR of its own for table and pending bits. */
void pci_add_msix(struct pci_device *dev, unsigned bar, uint16_t vectors);

/* For the owner's device_ops: to the state after creation, and after fields were restored. */
void pci_device_reset(struct pci_device *dev);
void pci_device_post_restore(struct pci_device *dev);

/* ---- accesses, from the bridge; vCPU threads ---- */

/* 1, 2 or 4 bytes at a multiple of their size inside PCI_CONFIG_BYTES. */
uint32_t pci_config_read(struct pci_device *dev, unsigned offset, unsigned size_bytes);
void pci_config_write(struct pci_device *dev, unsigned offset, unsigned size_bytes, uint32_t value);

/* As pci_ops.bar_read and bar_write; a BAR or an offset that does not exist gives -EFAULT as well. */
TUFF_MUST_CHECK int pci_bar_read(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes,
                                 uint64_t *value);
TUFF_MUST_CHECK int pci_bar_write(struct pci_device *dev, unsigned bar, uint64_t offset, unsigned size_bytes,
                                  uint64_t value);

/* Any thread: where a BAR is, or PCI_NOT_DECODED. */
uint64_t pci_bar_address(const struct pci_device *dev, unsigned bar);

/* ---- interrupts, from the device; any thread, with the lock held ---- */

void pci_set_intx(struct pci_device *dev, bool level);
/* Has the driver chosen MSI-X? */
bool pci_msix_enabled(const struct pci_device *dev);
/* Sends a vector's message, or keeps it pending while it is masked or the function may not write to memory. A vector
 * that does not exist, and any while MSI-X is off, is ignored. */
void pci_msix_notify(struct pci_device *dev, uint32_t vector);
/* Forgets messages that were kept. */
void pci_msix_clear_pending(struct pci_device *dev);

/* ---- within the folder (msix.c) ---- */

/* With the lock held: after a change of masks, sends what was pending. */
void pci_msix_update(struct pci_device *dev);
void pci_msix_reset(struct pci_device *dev);
void pci_msix_post_restore(struct pci_device *dev);
TUFF_MUST_CHECK int pci_msix_read(struct pci_device *dev, uint64_t offset, unsigned size_bytes, uint64_t *value);
TUFF_MUST_CHECK int pci_msix_write(struct pci_device *dev, uint64_t offset, unsigned size_bytes, uint64_t value);

/* Little-endian numbers in configuration space. */
uint32_t pci_get(const uint8_t *bytes, unsigned size_bytes);
void pci_put(uint8_t *bytes, unsigned size_bytes, uint32_t value);

#endif
