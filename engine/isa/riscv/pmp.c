/* Physical memory protection (Privileged Architecture 1.13, section 3.7, and Smepmp), 4-byte granularity. */
#include "engine/isa/riscv/hart.h"

enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_A_SHIFT = 3, PMP_L = 0x80 };
enum { PMP_OFF, PMP_TOR, PMP_NA4, PMP_NAPOT };

/* Entry i as [first, last]; false when it is off or empty. */
static bool entry_range(const struct hart *h, unsigned i, uint64_t *first, uint64_t *last)
{
    uint64_t address = h->pmpaddr[i];

    switch (h->pmpcfg[i] >> PMP_A_SHIFT & 3) {
    case PMP_TOR:
        *first = i ? h->pmpaddr[i - 1] << 2 : 0;
        *last = (address << 2) - 1;
        return *first < (address << 2);
    case PMP_NA4:
        *first = address << 2;
        *last = *first + 3;
        return true;
    case PMP_NAPOT: {
        /* Trailing ones give the size: 2^(ones + 3) bytes. */
        unsigned ones = address == UINT64_MAX ? 64 : (unsigned)__builtin_ctzll(~address);
        if (ones >= 54) {
            *first = 0;
            *last = UINT64_MAX;
            return true;
        }
        uint64_t mask = (8ull << ones) - 1;
        *first = (address << 2) & ~mask;
        *last = *first | mask;
        return true;
    }
    default:
        return false;
    }
}

void pmp_update(struct hart *h)
{
    h->pmp_count = 0;
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(h->pmpcfg); i++) {
        if (h->pmpcfg[i] >> PMP_A_SHIFT & 3)
            h->pmp_count = (uint8_t)(i + 1);
    }
    tlb_flush_first_level(h->tlb);
}

/* Smepmp's truth table for mseccfg.MML: a rule is M-mode's (L) or the others', but for W without R and a locked RWX,
 * which are shared. */
static uint8_t mml_permissions(uint8_t cfg, uint8_t priv)
{
    static const struct {
        uint8_t machine, others;
    } shared[2][2] = {
        /* W alone, W and X: data, which the others read, or write as well */
        {{PMP_R | PMP_W, PMP_R}, {PMP_R | PMP_W, PMP_R | PMP_W}},
        /* the same locked: code, which M-mode may read as well with X */
        {{PMP_X, PMP_X}, {PMP_R | PMP_X, PMP_X}},
    };
    bool locked = cfg & PMP_L, machine = priv == VCPU_PRIV_M;
    uint8_t rwx = cfg & (PMP_R | PMP_W | PMP_X);

    if ((rwx & (PMP_R | PMP_W)) == PMP_W) {
        bool x = rwx & PMP_X;
        return machine ? shared[locked][x].machine : shared[locked][x].others;
    }
    if (locked && rwx == (PMP_R | PMP_W | PMP_X))
        return PMP_R;
    return locked == machine ? rwx : 0;
}

bool pmp_allows(const struct hart *h, uint64_t gpa, unsigned size_bytes, enum mem_access access, uint8_t priv)
{
    static const uint8_t needed[] = {[MEM_READ] = PMP_R, [MEM_WRITE] = PMP_W, [MEM_EXECUTE] = PMP_X};
    uint64_t last_byte = gpa + size_bytes - 1;

    for (unsigned i = 0; i < h->pmp_count; i++) {
        uint64_t first, last;
        if (!entry_range(h, i, &first, &last) || last_byte < first || gpa > last)
            continue;
        /* The lowest-numbered entry that matches any byte decides, and must match all. */
        if (gpa < first || last_byte > last)
            return false;
        if (h->mseccfg & MSECCFG_MML)
            return mml_permissions(h->pmpcfg[i], priv) & needed[access];
        if (priv == VCPU_PRIV_M && !(h->pmpcfg[i] & PMP_L))
            return true;
        return h->pmpcfg[i] & needed[access];
    }
    if (priv != VCPU_PRIV_M || (h->mseccfg & MSECCFG_MMWP))
        return false;
    return !(h->mseccfg & MSECCFG_MML) || access != MEM_EXECUTE;
}

bool pmp_uniform(const struct hart *h, uint64_t gpa)
{
    uint64_t page = gpa & TLB_PAGE_MASK;
    uint64_t page_last = page + MEM_PAGE_BYTES - 1;

    for (unsigned i = 0; i < h->pmp_count; i++) {
        uint64_t first, last;
        if (!entry_range(h, i, &first, &last) || page_last < first || page > last)
            continue;
        return first <= page && last >= page_last;
    }
    return true;
}
