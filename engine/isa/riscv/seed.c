/* Zkr: the CSR `seed` (Unprivileged ISA, chapter "Zkr", section "The seed CSR").
 *
 * Each read is 16 bits of the host's entropy. Under --clock=insns, where a run repeats to the instruction, they come
 * from a generator that begins alike in every run: good enough to be distinct, and no secret. How many were given out
 * is a part of the hart's state, so that a restored hart goes on where it was.
 */
#include "engine/isa/riscv/hart.h"

#include <errno.h>

enum { OPST_SHIFT = 30, OPST_WAIT = 1, OPST_ES16 = 2, OPST_DEAD = 3 };

bool seed_allowed(const struct hart *h)
{
    switch (h->priv) {
    case VCPU_PRIV_U:
        return h->mseccfg & MSECCFG_USEED;
    case VCPU_PRIV_S:
        return h->mseccfg & MSECCFG_SSEED;
    default:
        return true;
    }
}

/* SplitMix64's output function over a count (Steele, Lea and Flood 2014): a bijection, so that counts do not meet. */
static uint16_t repeatable(uint32_t hart_id, uint64_t count)
{
    uint64_t x = ((uint64_t)hart_id << 48) + (count + 1) * 0x9e3779b97f4a7c15ull;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return (uint16_t)(x ^ x >> 31);
}

uint64_t seed_read(struct hart *h)
{
    uint16_t bits = 0;
    int rc = h->config.env->entropy ? 0 : -ENOSYS;

    if (h->config.clock_insns) {
        bits = repeatable(h->config.hart_id, h->seeds++);
        rc = 0;
    } else if (rc == 0) {
        rc = h->config.env->entropy(h->config.env_opaque, &bits, sizeof(bits));
    }
    if (rc)
        return (uint64_t)(rc == -EAGAIN ? OPST_WAIT : OPST_DEAD) << OPST_SHIFT;
    return (uint64_t)OPST_ES16 << OPST_SHIFT | bits;
}
