/* The host's side of a serial device: where its bytes go and whom to tell that it takes bytes again. */
#ifndef TUFF_DEV_SERIAL_BACKEND_H
#define TUFF_DEV_SERIAL_BACKEND_H

#include <stddef.h>
#include <stdint.h>

/* Both functions are called on vCPU threads with no lock of the device held, so they may call the device. Either may be
 * NULL. write() may wait when the host's side is full (the guest then stands still, as on a line with flow control);
 * can_receive() does not block. */
struct serial_backend {
    void (*write)(void *opaque, const uint8_t *bytes, size_t len);
    /* A receive call took fewer bytes than offered, and now there is space: offer the rest again. */
    void (*can_receive)(void *opaque);
    void *opaque;
};

static inline void serial_backend_write(const struct serial_backend *backend, const uint8_t *bytes, size_t len)
{
    if (backend->write)
        backend->write(backend->opaque, bytes, len);
}

static inline void serial_backend_can_receive(const struct serial_backend *backend)
{
    if (backend->can_receive)
        backend->can_receive(backend->opaque);
}

#endif
