/* HTIF, the interface of bare-metal RISC-V test programs to their host: two 64-bit words in RAM, which the ELF names
 * `tohost` and `fromhost`.
 *
 * A word is device (8 bits), command (8), payload (48). What standard programs use:
 *
 *   device 0, command 0, odd payload   end of the program, exit code payload >> 1
 *   device 0, command 0, even payload  system call: address of {number, a0, a1, a2, ...} (64 bits each); the result
 * goes to the first word, then fromhost becomes non-zero. write to 1 or 2, and exit, are served device 1, command 1 the
 * low byte of the payload goes to the console device 1, command 0                asks for a byte: fromhost = device 1,
 * command 0, 0x100 | byte
 *
 * tohost becomes 0 when a request is taken. Some programs store its two 32-bit halves one by one, and a low half alone
 * may look like another request ('A' followed by "device 1, command 1" begins like an exit): so stores are reported
 * with htif_stored(), which waits for the second half, and htif_poll() takes what is there.
 *
 * Any thread, several at a time. Callbacks are called with no lock held.
 */
#ifndef TUFF_DEV_HTIF_H
#define TUFF_DEV_HTIF_H

#include "base/compiler.h"
#include "dev/device.h"
#include "dev/serial_backend.h"
#include "mem/mem.h"

#include <stdbool.h>

struct htif_config {
    struct mem *mem; /* borrowed */
    uint64_t tohost_gpa;
    bool has_fromhost; /* the ELF has the symbol; without it nothing can be answered */
    uint64_t fromhost_gpa;
    struct serial_backend console;
    void (*exit)(void *opaque, uint32_t code); /* the guest goes on until the machine stops it */
    void *opaque;
};

/* Returns 0, -EINVAL (a word is not 8-byte aligned or not in RAM) or -ENOMEM. */
TUFF_MUST_CHECK int htif_create(const struct htif_config *config, struct device **out);

/* A hart stored `size_bytes` at `gpa`; stores elsewhere are ignored, so the caller may report whole lines or pages. */
void htif_stored(struct device *dev, uint64_t gpa, unsigned size_bytes);

/* Takes a request that is waiting in tohost, however it was stored. */
void htif_poll(struct device *dev);

/* Offers console input. Returns how many bytes were taken: at most one, and only while the guest asks for it;
 * after fewer than `len`, the backend's can_receive() follows. */
size_t htif_receive(struct device *dev, const uint8_t *bytes, size_t len);

#endif
