/* Sdtrig: the guest's own triggers (Debug Specification 1.0, chapter "Sdtrig"). A trigger is a point as a debugger's is
 * (debug.h), on the same footing and at the same cost; what comes of it is a breakpoint exception before the
 * instruction.
 *
 * There are triggers of one type, mcontrol6: the address of an instruction, a load or a store, equal to tdata2, in its
 * naturally aligned range, at or above or below it; with a size, and for chosen modes and contexts. Not there:
 * comparisons with data, chains, masks, triggers on counts, interrupts and exceptions (their bits stay zero, their
 * types become "disabled"), and Debug Mode. M-mode keeps its own handler from triggers by tcontrol.
 */
#include "engine/isa/riscv/debug.h"

enum { CSR_SCONTEXT = 0x5a8, CSR_TSELECT = 0x7a0, CSR_TDATA1, CSR_TDATA2, CSR_TDATA3, CSR_TINFO, CSR_TCONTROL };
enum { CSR_MCONTEXT = 0x7a8 };

enum { TYPE_SHIFT = 60, TYPE_MCONTROL6 = 6, TYPE_DISABLED = 15 };
#define DISABLED ((uint64_t)TYPE_DISABLED << TYPE_SHIFT)
#define TINFO (1ull << 24 | 1ull << TYPE_DISABLED | 1ull << TYPE_MCONTROL6) /* version 1 */

/* mcontrol6. */
#define M6_LOAD (1ull << 0)
#define M6_STORE (1ull << 1)
#define M6_EXECUTE (1ull << 2)
#define M6_MODES (1ull << 3 | 1ull << 4 | 1ull << 6) /* U, S, M: bit 3 + the mode's number */
#define M6_MATCH (15ull << 7)
#define M6_SIZE (7ull << 16)
#define M6_HIT0 (1ull << 22)
enum { M6_MODE_SHIFT = 3, M6_MATCH_SHIFT = 7, M6_SIZE_SHIFT = 16 };
enum { MATCH_EQUAL, MATCH_NAPOT, MATCH_GE, MATCH_LT };

#define TCONTROL_MTE (1ull << 3)
#define TCONTROL_MPTE (1ull << 7)

/* textra64. */
#define TEXTRA_SSELECT 3ull
#define TEXTRA_SVALUE (((1ull << 34) - 1) << 2)
#define TEXTRA_SBYTEMASK (31ull << 36)
#define TEXTRA_MHSELECT_MCONTEXT (4ull << 48)
#define TEXTRA_MHVALUE (8191ull << 51)
enum { SSELECT_SCONTEXT = 1, SSELECT_ASID = 2 };
#define SCONTEXT ((1ull << 34) - 1)
#define MCONTEXT 8191ull

/* Sizes in bytes by M6_SIZE; 0: any. */
static const uint8_t sizes[] = {0, 1, 2, 4, 0, 8, 0, 0};

/* ---- what a trigger watches ---- */

static struct debug_range range_of(const struct trigger *t)
{
    struct debug_range range = {.first = t->tdata2, .last = t->tdata2};
    uint64_t aligned = t->tdata2 ^ (t->tdata2 + 1); /* ones up to the lowest zero */

    if (t->tdata1 >> TYPE_SHIFT != TYPE_MCONTROL6 || !(t->tdata1 & M6_MODES))
        return range;
    range.kinds = (t->tdata1 & M6_EXECUTE ? VCPU_POINT_EXECUTE : 0) | (t->tdata1 & M6_LOAD ? VCPU_POINT_READ : 0) |
                  (t->tdata1 & M6_STORE ? VCPU_POINT_WRITE : 0);
    switch ((t->tdata1 & M6_MATCH) >> M6_MATCH_SHIFT) {
    case MATCH_NAPOT:
        range.first = t->tdata2 & ~aligned;
        range.last = t->tdata2 | aligned;
        break;
    case MATCH_GE:
        range.last = UINT64_MAX;
        break;
    case MATCH_LT:
        range.first = 0;
        range.last = t->tdata2 - 1;
        if (!t->tdata2)
            range.kinds = 0;
        break;
    default:
        break;
    }
    return range;
}

static void changed(struct hart *h, unsigned i)
{
    struct debug_range *range = &h->debug->triggers[i];
    struct debug_range now = range_of(&h->triggers[i]);

    if (now.kinds == range->kinds && (!now.kinds || (now.first == range->first && now.last == range->last)))
        return;
    *range = now;
    debug_points_changed(h);
}

static bool context_matches(const struct hart *h, uint64_t textra)
{
    uint64_t value = (textra & TEXTRA_SVALUE) >> 2;
    uint64_t differs = 0;

    if ((textra & TEXTRA_MHSELECT_MCONTEXT) && textra >> 51 != h->mcontext)
        return false;
    if ((textra & TEXTRA_SSELECT) == SSELECT_ASID)
        return (value & 0xffff) == (h->satp >> 44 & 0xffff);
    if ((textra & TEXTRA_SSELECT) == SSELECT_SCONTEXT)
        differs = value ^ h->scontext;
    for (unsigned byte = 0; byte < 5; byte++) {
        if (textra & TEXTRA_SBYTEMASK & (1ull << (36 + byte)))
            differs &= ~(0xffull << 8 * byte);
    }
    return !differs;
}

bool trigger_fires(struct hart *h, unsigned i, unsigned size_bytes)
{
    struct trigger *t = &h->triggers[i];
    unsigned size = sizes[(t->tdata1 & M6_SIZE) >> M6_SIZE_SHIFT];

    if (!(t->tdata1 >> M6_MODE_SHIFT >> h->priv & 1) || (size && size != size_bytes))
        return false;
    if (h->priv == VCPU_PRIV_M && !(h->tcontrol & TCONTROL_MTE))
        return false;
    if (!context_matches(h, t->tdata3))
        return false;
    t->tdata1 |= M6_HIT0;
    return true;
}

/* ---- traps ---- */

void triggers_trap_to_machine(struct hart *h)
{
    h->tcontrol = h->tcontrol & TCONTROL_MTE ? TCONTROL_MPTE : 0;
}

void triggers_return_from_machine(struct hart *h)
{
    h->tcontrol = h->tcontrol & TCONTROL_MPTE ? TCONTROL_MPTE | TCONTROL_MTE : 0;
}

/* ---- registers ---- */

static uint64_t tdata1_written(uint64_t value)
{
    if (value >> TYPE_SHIFT != TYPE_MCONTROL6)
        return DISABLED;
    uint64_t written =
        value & (15ull << TYPE_SHIFT | M6_LOAD | M6_STORE | M6_EXECUTE | M6_MODES | M6_MATCH | M6_SIZE | M6_HIT0);
    if ((value & M6_MATCH) >> M6_MATCH_SHIFT > MATCH_LT)
        written &= ~M6_MATCH;
    /* Bit 19 of the field and sizes of other widths than RV64's. */
    if (value >> 19 & 1 || !sizes[(value & M6_SIZE) >> M6_SIZE_SHIFT])
        written &= ~M6_SIZE;
    return written;
}

static uint64_t tdata3_written(uint64_t value)
{
    uint64_t written =
        value & (TEXTRA_SSELECT | TEXTRA_SVALUE | TEXTRA_SBYTEMASK | TEXTRA_MHSELECT_MCONTEXT | TEXTRA_MHVALUE);

    return (value & TEXTRA_SSELECT) > SSELECT_ASID ? written & ~TEXTRA_SSELECT : written;
}

bool triggers_csr_read(const struct hart *h, unsigned number, uint64_t *value)
{
    const struct trigger *t = &h->triggers[h->tselect];

    switch (number) {
    case CSR_TSELECT:
        *value = h->tselect;
        break;
    case CSR_TDATA1:
        *value = t->tdata1;
        break;
    case CSR_TDATA2:
        *value = t->tdata2;
        break;
    case CSR_TDATA3:
        *value = t->tdata3;
        break;
    case CSR_TINFO:
        *value = TINFO;
        break;
    case CSR_TCONTROL:
        *value = h->tcontrol;
        break;
    case CSR_SCONTEXT:
        *value = h->scontext;
        break;
    case CSR_MCONTEXT:
        *value = h->mcontext;
        break;
    default:
        return false;
    }
    return h->isa & ISA_EXT(SDTRIG);
}

void triggers_csr_write(struct hart *h, unsigned number, uint64_t value)
{
    struct trigger *t = &h->triggers[h->tselect];

    switch (number) {
    case CSR_TSELECT:
        if (value < HART_TRIGGERS)
            h->tselect = (uint32_t)value;
        break;
    case CSR_TDATA1:
        t->tdata1 = tdata1_written(value);
        changed(h, h->tselect);
        break;
    case CSR_TDATA2:
        t->tdata2 = value;
        changed(h, h->tselect);
        break;
    case CSR_TDATA3:
        t->tdata3 = tdata3_written(value);
        break;
    case CSR_TCONTROL:
        h->tcontrol = value & (TCONTROL_MTE | TCONTROL_MPTE);
        break;
    case CSR_SCONTEXT:
        h->scontext = value & SCONTEXT;
        break;
    case CSR_MCONTEXT:
        h->mcontext = value & MCONTEXT;
        break;
    default: /* tinfo */
        break;
    }
}

void triggers_set(struct hart *h, const struct trigger *triggers, uint64_t tselect, uint64_t tcontrol,
                  uint64_t mcontext, uint64_t scontext)
{
    for (unsigned i = 0; i < HART_TRIGGERS; i++) {
        h->triggers[i].tdata1 = tdata1_written(triggers[i].tdata1);
        h->triggers[i].tdata2 = triggers[i].tdata2;
        h->triggers[i].tdata3 = tdata3_written(triggers[i].tdata3);
        if (h->isa & ISA_EXT(SDTRIG))
            changed(h, i);
    }
    h->tselect = tselect < HART_TRIGGERS ? (uint32_t)tselect : 0;
    h->tcontrol = tcontrol & (TCONTROL_MTE | TCONTROL_MPTE);
    h->mcontext = mcontext & MCONTEXT;
    h->scontext = scontext & SCONTEXT;
}
