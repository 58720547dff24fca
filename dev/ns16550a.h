/* The board's serial port: a 16550A with 16-byte FIFOs, registers one byte apart.
 *
 * The line has no speed: what the guest transmits reaches the host at once, so the transmitter is always empty, and the
 * receive time-out (four character times) has passed as soon as there is a byte. Modem inputs are fixed: CTS, DSR and
 * DCD are asserted.
 *
 * Host input is flow-controlled: ns16550a_receive() takes what fits, and the backend's can_receive() tells when to
 * offer the rest. Any thread may call it. Lock order: this device's lock, then what the interrupt line takes; backends
 * are called with no lock held.
 */
#ifndef TUFF_DEV_NS16550A_H
#define TUFF_DEV_NS16550A_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/irq.h"
#include "dev/serial_backend.h"
#include "mem/mem.h"

enum { NS16550A_BYTES = 0x100, NS16550A_CLOCK_HZ = 3686400, NS16550A_FIFO_BYTES = 16 };

struct ns16550a_config {
    struct mem *mem; /* borrowed; no access may come after the device's destruction */
    uint64_t gpa;
    uint64_t size_bytes; /* of its range; 0: a page */
    struct irq_line irq;
    uint32_t irq_number; /* at irq_parent, for the device tree */
    uint32_t irq_parent; /* phandle */
    struct serial_backend backend;
};

/* Returns 0, -ENOMEM, or mem_add_mmio()'s error. */
TUFF_MUST_CHECK int ns16550a_create(const struct ns16550a_config *config, struct device **out);

/* Any thread: offers input. Returns how many bytes were taken, from the front; after fewer than `len`, can_receive()
 * follows. */
size_t ns16550a_receive(struct device *dev, const uint8_t *bytes, size_t len);

/* Any thread: a break condition arrives on the line (Linux: SysRq). */
void ns16550a_receive_break(struct device *dev);

#endif
