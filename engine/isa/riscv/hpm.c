/* Hardware performance monitors: mhpmcounter3..31 and their events (Privileged Architecture 1.13, section 3.1.10),
 * overflow interrupts and filters by mode (Sscofpmf).
 *
 * A counter that runs is its event's total and an offset, so that nothing is counted twice and counting costs nothing.
 * It runs or stands by mcountinhibit, by its event's filter and the privilege: whoever changes one of them calls
 * hpm_update(). Overflow is a value that became smaller since it was last looked at. The run loop looks: for counters
 * of instructions at the very instruction, since grants end there; for other events at the next edge between blocks. */
#include "engine/isa/riscv/hart.h"

#define EVENT_OF (1ull << 63)
#define EVENT_MINH (1ull << 62)
#define EVENT_SINH (1ull << 61)
#define EVENT_UINH (1ull << 60)
#define EVENT_FLAGS (EVENT_OF | EVENT_MINH | EVENT_SINH | EVENT_UINH)
#define EVENT_CODE (~(0xffull << 56))

static uint64_t code_of(const struct hart *h, unsigned counter)
{
    return h->hpm_event[counter] & EVENT_CODE;
}

static bool counts_instructions(uint64_t code)
{
    return code == VCPU_EVENT_CYCLES || code == VCPU_EVENT_INSTRUCTIONS;
}

/* `retired`: instructions before the moment that is meant. */
static uint64_t total(const struct hart *h, uint64_t code, uint64_t retired)
{
    switch (code) {
    case VCPU_EVENT_CYCLES:
    case VCPU_EVENT_INSTRUCTIONS:
        return retired;
    case VCPU_EVENT_PAGE_WALKS:
        return h->counters.page_walks;
    case VCPU_EVENT_EXCEPTIONS:
        return h->counters.exceptions;
    case VCPU_EVENT_INTERRUPTS:
        return h->counters.interrupts;
    case VCPU_EVENT_DEVICE_ACCESSES:
        return h->counters.mmio_accesses;
    default:
        return 0;
    }
}

static bool event_exists(uint64_t code)
{
    return code >= VCPU_EVENT_CYCLES && code < VCPU_EVENT_END;
}

static uint64_t value_at(const struct hart *h, unsigned counter, uint64_t retired)
{
    bool running = h->hpm_running >> counter & 1;

    return h->hpm_offset[counter] + (running ? total(h, code_of(h, counter), retired) : 0);
}

uint64_t hpm_read(const struct hart *h, unsigned counter)
{
    return value_at(h, counter, hart_retired(h));
}

/* Overflow sets OF; where it was clear, the interrupt is pending. */
static void look(struct hart *h, unsigned counter, uint64_t value)
{
    if (value < h->hpm_seen[counter] && (h->isa & ISA_EXT(SSCOFPMF)) && !(h->hpm_event[counter] & EVENT_OF)) {
        h->hpm_event[counter] |= EVENT_OF;
        h->mip |= 1ull << VCPU_IRQ_LCOFI;
        h->irq_check = true;
    }
    h->hpm_seen[counter] = value;
}

void hpm_check(struct hart *h)
{
    for (uint32_t left = h->hpm_running; left; left &= left - 1) {
        unsigned counter = (unsigned)__builtin_ctz(left);
        look(h, counter, hpm_read(h, counter));
    }
}

/* What may overflow changed: grants end at the next overflow, and other events call for a look. */
static void watch(struct hart *h)
{
    h->hpm_watch = false;
    for (uint32_t left = h->hpm_running; left && (h->isa & ISA_EXT(SSCOFPMF)); left &= left - 1) {
        unsigned counter = (unsigned)__builtin_ctz(left);
        h->hpm_watch |= !(h->hpm_event[counter] & EVENT_OF) && !counts_instructions(code_of(h, counter));
    }
    if (h->hpm_running)
        atomic_store(&h->countdown.attention, UINT32_MAX);
}

static bool runs(const struct hart *h, unsigned counter)
{
    static const uint64_t inhibits[] = {
        [VCPU_PRIV_U] = EVENT_UINH, [VCPU_PRIV_S] = EVENT_SINH, [VCPU_PRIV_M] = EVENT_MINH};

    return code_of(h, counter) && !(h->mcountinhibit >> counter & 1) && !(h->hpm_event[counter] & inhibits[h->priv]);
}

void hpm_update(struct hart *h, uint64_t retired)
{
    for (unsigned counter = HPM_FIRST; counter < HPM_END; counter++) {
        bool running = runs(h, counter);
        if (running == (h->hpm_running >> counter & 1))
            continue;
        uint64_t value = value_at(h, counter, retired);
        if (!running)
            look(h, counter, value);
        h->hpm_running ^= 1u << counter;
        h->hpm_offset[counter] = value - (running ? total(h, code_of(h, counter), retired) : 0);
        h->hpm_seen[counter] = value;
    }
    watch(h);
}

/* The value written is what the next instruction reads, as with minstret. */
void hpm_write(struct hart *h, unsigned counter, uint64_t value)
{
    bool running = h->hpm_running >> counter & 1;

    h->hpm_offset[counter] = value - (running ? total(h, code_of(h, counter), hart_retired(h) + 1) : 0);
    h->hpm_seen[counter] = value;
    watch(h);
}

void hpm_event_write(struct hart *h, unsigned counter, uint64_t event)
{
    uint64_t value = hpm_read(h, counter);
    uint64_t flags = h->isa & ISA_EXT(SSCOFPMF) ? event & EVENT_FLAGS : 0;

    h->hpm_running &= ~(1u << counter);
    h->hpm_offset[counter] = value;
    /* WARL: an event that is not there is none. */
    h->hpm_event[counter] = flags | (event_exists(event & ~EVENT_FLAGS) ? event & ~EVENT_FLAGS : 0);
    h->hpm_filtered = false;
    for (unsigned i = HPM_FIRST; i < HPM_END; i++)
        h->hpm_filtered |= code_of(h, i) && (h->hpm_event[i] & (EVENT_MINH | EVENT_SINH | EVENT_UINH));
    hpm_update(h, hart_retired(h));
}

uint32_t hpm_overflows(const struct hart *h)
{
    uint32_t bits = 0;

    for (unsigned counter = HPM_FIRST; counter < HPM_END; counter++)
        bits |= h->hpm_event[counter] & EVENT_OF ? 1u << counter : 0;
    return bits;
}

uint64_t hpm_insns_to_overflow(const struct hart *h)
{
    uint64_t nearest = UINT64_MAX;

    for (uint32_t left = h->isa & ISA_EXT(SSCOFPMF) ? h->hpm_running : 0; left; left &= left - 1) {
        unsigned counter = (unsigned)__builtin_ctz(left);
        uint64_t insns = 0 - hpm_read(h, counter);
        if (counts_instructions(code_of(h, counter)) && !(h->hpm_event[counter] & EVENT_OF) && insns && insns < nearest)
            nearest = insns;
    }
    return nearest;
}
