/* LR/SC reservations; the protocol is in reservation.h. */
#include "mem/reservation.h"

#include <sched.h>

static uint64_t granule_tag(uint64_t gpa)
{
    return (gpa >> RESERVATION_GRANULE_SHIFT) << 1 | 1;
}

static _Atomic uint32_t *granule_lock(struct mem_reservations *r, uint64_t gpa)
{
    return &r->locks[(gpa >> RESERVATION_GRANULE_SHIFT) % RESERVATION_LOCKS];
}

/* Held for a handful of instructions. Yields after a while: the holder may have lost its host core. */
static void lock(_Atomic uint32_t *word)
{
    unsigned spins = 0;

    while (atomic_exchange_explicit(word, 1, memory_order_acquire)) {
        while (atomic_load_explicit(word, memory_order_relaxed)) {
            if (++spins % 256 == 0)
                sched_yield();
        }
    }
}

static void unlock(_Atomic uint32_t *word)
{
    atomic_store_explicit(word, 0, memory_order_release);
}

void reservation_set(struct mem_reservations *r, uint32_t hart, uint64_t gpa)
{
    uint64_t old = atomic_exchange(&r->hart[hart].granule, granule_tag(gpa));

    if (!old)
        atomic_fetch_add(&r->active, 1);
    atomic_store_explicit(&r->passed, 0, memory_order_relaxed);
}

void reservation_clear(struct mem_reservations *r, uint32_t hart)
{
    if (atomic_load_explicit(&r->hart[hart].granule, memory_order_relaxed) == 0)
        return;
    if (atomic_exchange(&r->hart[hart].granule, 0))
        atomic_fetch_sub(&r->active, 1);
}

bool reservation_store_conditional(struct mem_reservations *r, uint32_t hart, uint64_t gpa, void *host,
                                   unsigned size_bytes, uint64_t loaded, uint64_t value)
{
    _Atomic uint32_t *guard = granule_lock(r, gpa);
    bool stored = false;

    lock(guard);
    uint64_t own = atomic_exchange(&r->hart[hart].granule, 0);
    if (own)
        atomic_fetch_sub(&r->active, 1);
    if (own == granule_tag(gpa)) {
        /* The others' reservations on this granule end with our store. */
        for (uint32_t i = 0; atomic_load(&r->active) && i < MEM_HARTS_MAX; i++) {
            uint64_t expected = own;
            if (atomic_compare_exchange_strong(&r->hart[i].granule, &expected, 0))
                atomic_fetch_sub(&r->active, 1);
        }
        if (size_bytes == 4) {
            uint32_t expected = (uint32_t)loaded;
            stored = atomic_compare_exchange_strong((_Atomic uint32_t *)host, &expected, (uint32_t)value);
        } else {
            uint64_t expected = loaded;
            stored = atomic_compare_exchange_strong((_Atomic uint64_t *)host, &expected, value);
        }
    }
    unlock(guard);
    return stored;
}

void reservation_store_begin(struct mem_reservations *r, uint32_t hart, uint64_t gpa)
{
    uint64_t tag = granule_tag(gpa);
    bool impatient = atomic_fetch_add_explicit(&r->passed, 1, memory_order_relaxed) >= RESERVATION_PATIENCE;

    lock(granule_lock(r, gpa));
    for (uint32_t i = 0; i < MEM_HARTS_MAX; i++) {
        uint64_t old = atomic_load_explicit(&r->hart[i].granule, memory_order_relaxed);
        if (i == hart || !old || (old != tag && !impatient))
            continue;
        if (atomic_compare_exchange_strong(&r->hart[i].granule, &old, 0))
            atomic_fetch_sub(&r->active, 1);
    }
}

void reservation_store_end(struct mem_reservations *r, uint64_t gpa)
{
    unlock(granule_lock(r, gpa));
}
