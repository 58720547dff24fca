/* MSI-X of a function (PCI Local Bus Specification 3.0, section 6.8.2): a table of messages and an array of pending
 * bits, both in a BAR of their own. See pci_device.h.
 *
 * Messages are sent with the function's lock held: once a driver has masked a vector and read something back, no
 * message of it is on its way any more, which Linux relies on when it moves an interrupt to another hart.
 */
#include "dev/pci/pci_device.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <string.h>

enum { PBA_OFFSET = PCI_MSIX_BAR_BYTES / 2, WORDS = PCI_MSIX_ENTRY_SIZE / 4, WORD_CONTROL = 3 };
enum { CONTROL_HIGH = PCI_MSIX_FLAGS + 1 }; /* the byte with the bits that a driver can change */

_Static_assert(PCI_MSIX_VECTORS_MAX *PCI_MSIX_ENTRY_SIZE <= PBA_OFFSET, "the table ends before the pending bits");
_Static_assert(PCI_MSIX_VECTORS_MAX == 64, "pending bits are one word");

void pci_add_msix(struct pci_device *dev, unsigned bar, uint16_t vectors)
{
    uint8_t bytes[PCI_CAP_MSIX_SIZEOF - 2], writable[PCI_CAP_MSIX_SIZEOF - 2] = {0};

    assert(vectors >= 1 && vectors <= PCI_MSIX_VECTORS_MAX);
    pci_add_bar(dev, bar, PCI_MSIX_BAR_BYTES, 0);
    pci_put(bytes + PCI_MSIX_FLAGS - 2, 2, vectors - 1u);
    pci_put(bytes + PCI_MSIX_TABLE - 2, 4, bar);
    pci_put(bytes + PCI_MSIX_PBA - 2, 4, PBA_OFFSET | bar);
    writable[CONTROL_HIGH - 2] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
    dev->msix.vectors = vectors;
    dev->msix.bar = (uint8_t)bar;
    dev->msix.capability = pci_add_capability(dev, PCI_CAP_ID_MSIX, bytes, writable, sizeof(bytes));
}

static uint16_t flags(const struct pci_device *dev)
{
    return (uint16_t)pci_get(dev->config + dev->msix.capability + PCI_MSIX_FLAGS, 2);
}

bool pci_msix_enabled(const struct pci_device *dev)
{
    return dev->msix.vectors && (flags(dev) & PCI_MSIX_FLAGS_ENABLE);
}

/* May messages leave the function? Without PCI_COMMAND_MASTER it must not write to memory. */
static bool may_send(const struct pci_device *dev)
{
    return pci_msix_enabled(dev) && !(flags(dev) & PCI_MSIX_FLAGS_MASKALL) &&
           (dev->config[PCI_COMMAND] & PCI_COMMAND_MASTER);
}

static void notify(struct pci_device *dev, uint32_t vector)
{
    const uint32_t *entry = dev->msix.table + (size_t)vector * WORDS;
    uint64_t bit = UINT64_C(1) << vector;

    if (!may_send(dev) || (entry[WORD_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT)) {
        dev->msix.pending |= bit;
        return;
    }
    dev->msix.pending &= ~bit;
    dev->messages++;
    if (dev->message)
        dev->message(dev->message_opaque, (uint64_t)entry[1] << 32 | entry[0], entry[2]);
}

void pci_msix_notify(struct pci_device *dev, uint32_t vector)
{
    if (pci_msix_enabled(dev) && vector < dev->msix.vectors)
        notify(dev, vector);
}

void pci_msix_update(struct pci_device *dev)
{
    if (!may_send(dev))
        return;
    for (uint64_t left = dev->msix.pending; left; left &= left - 1)
        notify(dev, (uint32_t)__builtin_ctzll(left));
}

void pci_msix_clear_pending(struct pci_device *dev)
{
    dev->msix.pending = 0;
}

void pci_msix_reset(struct pci_device *dev)
{
    memset(dev->msix.table, 0, sizeof(dev->msix.table));
    for (uint32_t vector = 0; vector < PCI_MSIX_VECTORS_MAX; vector++)
        dev->msix.table[vector * WORDS + WORD_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
    dev->msix.pending = 0;
}

/* What a word of the table keeps of what is written to it: addresses are multiples of 4, the rest of vector control is
 * reserved. */
static uint32_t legal(size_t word, uint32_t value)
{
    static const uint32_t writable[WORDS] = {~3u, UINT32_MAX, UINT32_MAX, PCI_MSIX_ENTRY_CTRL_MASKBIT};

    return value & writable[word % WORDS];
}

void pci_msix_post_restore(struct pci_device *dev)
{
    for (size_t word = 0; word < TUFF_ARRAY_LEN(dev->msix.table); word++)
        dev->msix.table[word] = legal(word, dev->msix.table[word]);
    if (dev->msix.vectors < PCI_MSIX_VECTORS_MAX)
        dev->msix.pending &= (UINT64_C(1) << dev->msix.vectors) - 1;
}

/* ---- accesses: 4 or 8 bytes, as software must ---- */

static uint32_t read_word(const struct pci_device *dev, uint64_t offset)
{
    if (offset < (uint64_t)dev->msix.vectors * PCI_MSIX_ENTRY_SIZE)
        return dev->msix.table[offset / 4];
    if (offset - PBA_OFFSET < sizeof(dev->msix.pending))
        return (uint32_t)(dev->msix.pending >> 8 * (offset - PBA_OFFSET));
    return 0;
}

static void write_word(struct pci_device *dev, uint64_t offset, uint32_t value)
{
    if (offset < (uint64_t)dev->msix.vectors * PCI_MSIX_ENTRY_SIZE)
        dev->msix.table[offset / 4] = legal(offset / 4, value);
    else
        log_guest_error("pci: write of read-only or reserved offset 0x%" PRIx64 " of an MSI-X table", offset);
}

int pci_msix_read(struct pci_device *dev, uint64_t offset, unsigned size_bytes, uint64_t *value)
{
    if (size_bytes < 4)
        return -EFAULT;
    pthread_mutex_lock(&dev->lock);
    *value = read_word(dev, offset);
    if (size_bytes == 8)
        *value |= (uint64_t)read_word(dev, offset + 4) << 32;
    pthread_mutex_unlock(&dev->lock);
    return 0;
}

int pci_msix_write(struct pci_device *dev, uint64_t offset, unsigned size_bytes, uint64_t value)
{
    if (size_bytes < 4)
        return -EFAULT;
    pthread_mutex_lock(&dev->lock);
    write_word(dev, offset, (uint32_t)value);
    if (size_bytes == 8)
        write_word(dev, offset + 4, (uint32_t)(value >> 32));
    pci_msix_update(dev);
    pthread_mutex_unlock(&dev->lock);
    return 0;
}
