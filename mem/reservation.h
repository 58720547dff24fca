/* LR/SC reservations (Unprivileged ISA, "Zalrsc"): one per hart, on a 64-byte granule of guest-physical memory.
 *
 * A reservation is broken by any other hart's or device's store to its granule, whatever value it stores. Plain stores
 * do not look at reservations unless `active` is non-zero, i.e. while some hart is between LR and SC; then
 * they take the slow path, which breaks matching reservations under the granule's lock. A store whose look at `active`
 * came before the LR made it non-zero can still arrive after the LR has read; SC therefore also compares the value LR
 * read: if it differs the SC fails, and if it is equal the store can be ordered before the LR, since the storing
 * hart cannot have seen anything the LR's hart did after it.
 *
 * A hart that never finishes (LR without SC) would slow the others' stores; a store that finds the same
 * stranger's reservation RESERVATION_PATIENCE times breaks it, which the ISA allows outside constrained loops (16
 * instructions, far less than that many stores take).
 */
#ifndef TUFF_MEM_RESERVATION_H
#define TUFF_MEM_RESERVATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    MEM_HARTS_MAX = 64,
    RESERVATION_GRANULE_SHIFT = 6,
    RESERVATION_PATIENCE = 1000,
    RESERVATION_LOCKS = 64,
};

struct mem;

struct mem_reservations {
    _Atomic uint32_t active; /* harts that hold a reservation */
    _Atomic uint32_t passed; /* stores that found only strangers' reservations since the last LR */
    struct {
        _Alignas(64) _Atomic uint64_t granule; /* gpa >> RESERVATION_GRANULE_SHIFT << 1 | valid; 0: none */
    } hart[MEM_HARTS_MAX];
    _Atomic uint32_t locks[RESERVATION_LOCKS];
};

struct mem_reservations *mem_reservations(struct mem *mem);

/* LR: call before the load. */
void reservation_set(struct mem_reservations *r, uint32_t hart, uint64_t gpa);
/* Does the hart hold a reservation just now? Others may end it at any time. */
static inline bool reservation_is_held(const struct mem_reservations *r, uint32_t hart)
{
    return atomic_load_explicit(&r->hart[hart].granule, memory_order_relaxed) != 0;
}
/* A trap, SC or anything else that ends the hart's reservation. */
void reservation_clear(struct mem_reservations *r, uint32_t hart);
/* SC of 4 or 8 bytes at `host`, aligned: true when it stored. Ends the reservation in any case. */
bool reservation_store_conditional(struct mem_reservations *r, uint32_t hart, uint64_t gpa, void *host,
                                   unsigned size_bytes, uint64_t loaded, uint64_t value);

/* A store to [gpa, gpa + len_bytes) while `active` is non-zero: lock, break, (store), unlock. `hart` is the storing
 * hart, or MEM_HARTS_MAX for a device. The range must not cross a granule's end. */
void reservation_store_begin(struct mem_reservations *r, uint32_t hart, uint64_t gpa);
void reservation_store_end(struct mem_reservations *r, uint64_t gpa);

#endif
