/* Slow paths of guest memory accesses: translation, TLB fills, devices, misaligned and page-crossing accesses, code
 * pages, reservations. Everything here runs on the hart's own thread. */
#include "engine/isa/riscv/debug.h"
#include "engine/region/verify.h"
#include "mem/frame.h"
#include "mem/huge.h"
#include "mem/touches.h"

static const uint8_t page_fault_cause[] = {
    [MEM_READ] = CAUSE_LOAD_PAGE, [MEM_WRITE] = CAUSE_STORE_PAGE, [MEM_EXECUTE] = CAUSE_FETCH_PAGE};
static const uint8_t access_fault_cause[] = {
    [MEM_READ] = CAUSE_LOAD_ACCESS, [MEM_WRITE] = CAUSE_STORE_ACCESS, [MEM_EXECUTE] = CAUSE_FETCH_ACCESS};

/* `gva` is as the instruction formed it; what is reported is what it means. */
static bool fault(struct hart *h, uint64_t cause, uint64_t gva)
{
    bool fetch = cause == CAUSE_FETCH_ACCESS || cause == CAUSE_FETCH_PAGE;

    h->trap.cause = cause;
    h->trap.tval = fetch ? gva : tlb_effective(&h->bank->view, gva);
    return false;
}

/* Page-table accesses are checked as supervisor accesses (section 3.7.2). */
static bool pte_allowed(void *opaque, uint64_t gpa, bool write)
{
    struct hart *h = opaque;

    if (!pmp_allows(h, gpa, sizeof(uint64_t), write ? MEM_WRITE : MEM_READ, VCPU_PRIV_S))
        return false;
    mem_touches_note(h->mem, gpa);
    return !write || !h->verify || verify_walk_update(h);
}

/* What is cached is good for this access: permission, and A and D so that no PTE has to change. */
static bool leaf_usable(const struct walk_leaf *leaf, enum mem_access access, const struct tlb_view *view)
{
    uint64_t needed = PTE_A | (access == MEM_WRITE ? PTE_D : 0);

    return (leaf->pte & needed) == needed &&
           walk_permits(leaf->pte, access, view->priv == VCPU_PRIV_U, view->sum, view->mxr);
}

struct walk_params mmu_walk_params(struct hart *h, const struct tlb_view *view, enum mem_access access)
{
    return (struct walk_params){
        .mem = h->mem,
        .root_gpa = (h->satp & ((1ull << 44) - 1)) << MEM_PAGE_SHIFT,
        .levels = SATP_MODE_LEVELS(h->satp >> SATP_MODE_SHIFT),
        .napot = h->isa & ISA_EXT(SVNAPOT),
        .pbmt = h->menvcfg & MENVCFG_PBMTE,
        .shadow_pages = h->menvcfg & ENVCFG_SSE,
        .update_ad = h->menvcfg & MENVCFG_ADUE,
        .user = view->priv == VCPU_PRIV_U,
        .sum = view->sum,
        .mxr = view->mxr,
        .access = access,
        .pte_allowed = pte_allowed,
        .opaque = h,
    };
}

static bool find_leaf(struct hart *h, uint64_t gva, enum mem_access access, const struct tlb_view *view,
                      struct walk_leaf *leaf)
{
    /* Page tables are touched as well. */
    if (!mem_touches_wanted(h->mem) && tlb_leaf_find(h->tlb, gva, view->asid, leaf) && leaf_usable(leaf, access, view))
        return true;
    struct walk_params params = mmu_walk_params(h, view, access);

    HART_EVENT(h, page_walks);
    switch (walk_page_table(&params, gva, leaf)) {
    case WALK_OK:
        tlb_leaf_drop(h->tlb, gva);
        tlb_leaf_insert(h->tlb, gva, view->asid, leaf);
        return true;
    case WALK_PAGE_FAULT:
        return fault(h, page_fault_cause[access], gva);
    case WALK_ACCESS_FAULT:
        break;
    }
    return fault(h, access_fault_cause[access], gva);
}

/* Gives the fast path what this access may do from now on. Stores only where they were asked for, since a page that may
 * be stored to directly costs a shoot-down when it becomes code. */
static void fill(struct hart *h, struct tlb_bank *bank, uint64_t gva, uint8_t *host, uint64_t gpa,
                 enum mem_access access, const struct walk_leaf *leaf)
{
    const struct tlb_view *view = &bank->view;
    uint8_t *page = host - (gva & ~TLB_PAGE_MASK);
    bool is_ram = mem_ram_ptr(h->mem, gpa, 1) != NULL;
    bool allowed[3];

    if (!pmp_uniform(h, gpa))
        return;
    for (enum mem_access kind = MEM_READ; kind <= MEM_EXECUTE; kind++)
        allowed[kind] =
            (!leaf || leaf_usable(leaf, kind, view)) && pmp_allows(h, gpa & TLB_PAGE_MASK, 1, kind, view->priv);
    bool write = access == MEM_WRITE && allowed[MEM_WRITE] &&
                 mem_frame_may_write(h->mem, mem_frame_of(h->mem, page), h->config.hart_id);
    /* Under pointer masking a load may mean another page than a fetch. */
    bool read = access != MEM_EXECUTE || tlb_effective(view, gva) == gva;
    if (debug_page_is_watched(h, tlb_effective(view, gva), VCPU_POINT_READ | VCPU_POINT_WRITE))
        read = write = false;
    if (is_ram)
        mem_huge_note(h->mem, gpa);
    HART_COUNT(h, tlb_fills, 1);
    tlb_fill(bank, gva, page, read && is_ram && allowed[MEM_READ], write, access == MEM_EXECUTE && allowed[MEM_EXECUTE],
             leaf);
}

bool mmu_translate(struct hart *h, uint64_t gva, enum mem_access access, unsigned size_bytes, struct mmu_target *target)
{
    struct tlb_bank *bank = access == MEM_EXECUTE ? h->exec_bank : h->bank;
    const struct tlb_view *view = &bank->view;
    struct walk_leaf leaf;
    uint64_t gpa = access == MEM_EXECUTE ? gva : tlb_effective(view, gva);

    if (view->translated) {
        if (!find_leaf(h, gpa, access, view, &leaf))
            return false;
        gpa = leaf.gpa | (gva & ~TLB_PAGE_MASK);
    }
    if (!pmp_allows(h, gpa, size_bytes, access, view->priv))
        return fault(h, access_fault_cause[access], gva);
    target->gpa = gpa;
    target->host = mem_ram_ptr(h->mem, gpa, size_bytes);
    mem_touches_note(h->mem, gpa);
    if (TUFF_UNLIKELY(h->verify) && access == MEM_WRITE && target->host && !verify_store(h, target->host))
        return fault(h, CAUSE_STORE_ACCESS, gva);
    if (!target->host && access != MEM_WRITE)
        target->host = (uint8_t *)(uintptr_t)mem_rom_ptr(h->mem, gpa, size_bytes, access == MEM_EXECUTE);
    /* ROM may be hidden from loads at any time: they ask each time. */
    if (target->host && (access == MEM_EXECUTE || mem_ram_ptr(h->mem, gpa, 1)))
        fill(h, bank, gva, target->host, gpa, access, view->translated ? &leaf : NULL);
    return true;
}

uint8_t *mmu_peek(struct hart *h, uint64_t gva, bool write)
{
    const struct tlb_view *view = &h->bank->view;
    enum mem_access access = write ? MEM_WRITE : MEM_READ;
    struct walk_params params = mmu_walk_params(h, view, access);
    struct walk_leaf leaf;
    uint64_t page = tlb_effective(view, gva) & TLB_PAGE_MASK;
    uint64_t gpa = page;

    params.update_ad = false;
    /* Nothing goes straight to a page with points on data; what writes may read as well. */
    if (debug_page_is_watched(h, page, VCPU_POINT_READ | VCPU_POINT_WRITE))
        return NULL;
    if (view->translated) {
        if (!(tlb_leaf_find(h->tlb, page, view->asid, &leaf) && leaf_usable(&leaf, access, view)) &&
            walk_page_table(&params, page, &leaf) != WALK_OK)
            return NULL;
        gpa = leaf.gpa;
        tlb_note_leaf(h->bank, gva, &leaf);
    }
    uint8_t *host = mem_ram_ptr(h->mem, gpa, MEM_PAGE_BYTES);
    mem_touches_note(h->mem, gpa);
    if (host)
        mem_huge_note(h->mem, gpa);
    if (!host || !pmp_uniform(h, gpa) || !pmp_allows(h, gpa, 1, access, view->priv))
        return NULL;
    return !write || mem_frame_may_write(h->mem, mem_frame_of(h->mem, host), h->config.hart_id) ? host : NULL;
}

static uint64_t ram_load_bytes(const uint8_t *host, unsigned size_bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size_bytes; i++)
        value |= (uint64_t)__atomic_load_n(host + i, __ATOMIC_RELAXED) << (8 * i);
    return value;
}

static uint64_t ram_load(const void *host, unsigned size_bytes)
{
    switch ((uint64_t)host & (size_bytes - 1) ? 0 : size_bytes) {
    case 1:
        return __atomic_load_n((const uint8_t *)host, __ATOMIC_RELAXED);
    case 2:
        return __atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED);
    case 4:
        return __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
    case 8:
        return __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
    default:
        return ram_load_bytes(host, size_bytes);
    }
}

static void ram_store_plain(void *host, unsigned size_bytes, uint64_t value)
{
    switch ((uint64_t)host & (size_bytes - 1) ? 0 : size_bytes) {
    case 1:
        __atomic_store_n((uint8_t *)host, (uint8_t)value, __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)host, (uint16_t)value, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)host, (uint32_t)value, __ATOMIC_RELAXED);
        break;
    case 8:
        __atomic_store_n((uint64_t *)host, value, __ATOMIC_RELAXED);
        break;
    default:
        for (unsigned i = 0; i < size_bytes; i++)
            __atomic_store_n((uint8_t *)host + i, (uint8_t)(value >> (8 * i)), __ATOMIC_RELAXED);
    }
}

/* Up to 8 bytes inside one page; reservations are broken granule by granule, each piece stored under its granule's
 * lock. */
static void ram_store(struct hart *h, uint8_t *host, uint64_t gpa, unsigned size_bytes, uint64_t value)
{
    struct mem_reservations *r = mem_reservations(h->mem);
    unsigned granule_bytes = 1u << RESERVATION_GRANULE_SHIFT;

    for (unsigned done = 0; done < size_bytes;) {
        unsigned room = granule_bytes - (unsigned)((gpa + done) & (granule_bytes - 1));
        unsigned piece = size_bytes - done < room ? size_bytes - done : room;
        bool guarded = atomic_load(h->reservations_active) != 0;
        if (guarded)
            reservation_store_begin(r, h->config.hart_id, gpa + done);
        ram_store_plain(host + done, piece, value >> (8 * done % 64));
        if (guarded)
            reservation_store_end(r, gpa + done);
        done += piece;
    }
    mem_frame_stored(h->mem, mem_frame_of(h->mem, host), (unsigned)(gpa & (MEM_PAGE_BYTES - 1)), size_bytes);
}

static bool load_piece(struct hart *h, const struct mmu_target *target, uint64_t gva, unsigned size_bytes,
                       uint64_t *value)
{
    if (target->host) {
        *value = ram_load(target->host, size_bytes);
        return true;
    }
    if (h->ram_only)
        return fault(h, CAUSE_LOAD_ACCESS, gva);
    HART_EVENT(h, mmio_accesses);
    *value = 0;
    if (mem_mmio_read(h->mem, target->gpa, size_bytes, value) != 0)
        return fault(h, CAUSE_LOAD_ACCESS, gva);
    return true;
}

static bool store_piece(struct hart *h, const struct mmu_target *target, uint64_t gva, unsigned size_bytes,
                        uint64_t value)
{
    if (target->host) {
        ram_store(h, target->host, target->gpa, size_bytes, value);
        return true;
    }
    if (h->ram_only)
        return fault(h, CAUSE_STORE_ACCESS, gva);
    HART_EVENT(h, mmio_accesses);
    if (mem_mmio_write(h->mem, target->gpa, size_bytes, value) != 0)
        return fault(h, CAUSE_STORE_ACCESS, gva);
    /* The store may have moved this hart's own timer; what follows in the same block must see it. */
    if (atomic_load_explicit(&h->requests, memory_order_relaxed) & REQUEST_TIMER)
        hart_update_timers(h);
    return true;
}

/* Bytes of the access that lie in its first page. */
static unsigned first_page_bytes(uint64_t gva, unsigned size_bytes)
{
    unsigned room = MEM_PAGE_BYTES - (unsigned)(gva & (MEM_PAGE_BYTES - 1));

    return size_bytes < room ? size_bytes : room;
}

/* An access that crosses a page is two pieces; both are translated before either is done, so a fault on the second page
 * leaves nothing half stored, and reports the address where that page begins. Pieces are in RAM: a device is not
 * accessed in bytes. */
struct split {
    struct mmu_target part[2];
    unsigned bytes[2];
};

static bool translate_split(struct hart *h, uint64_t gva, enum mem_access access, unsigned size_bytes,
                            struct split *split)
{
    split->bytes[0] = first_page_bytes(gva, size_bytes);
    split->bytes[1] = size_bytes - split->bytes[0];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = gva + (i ? split->bytes[0] : 0);
        if (!mmu_translate(h, at, access, split->bytes[i], &split->part[i]))
            return false;
        if (!split->part[i].host)
            return fault(h, access_fault_cause[access], at);
    }
    return true;
}

bool mmu_load(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value)
{
    const struct tlb_entry *entry = &h->bank->entries[tlb_index(gva)];
    bool one_page = first_page_bytes(gva, size_bytes) == size_bytes;
    struct mmu_target target;

    HART_COUNT(h, slow_accesses, 1);
    /* Misaligned, most likely: programs that do it do it often. */
    if (one_page && (gva & TLB_PAGE_MASK) == entry->tag_read) {
        *value = ram_load((const void *)(gva + entry->addend), size_bytes);
        return true;
    }
    if (debug_stops_access(h, gva, size_bytes, VCPU_POINT_READ))
        return false;
    if (one_page)
        return mmu_translate(h, gva, MEM_READ, size_bytes, &target) && load_piece(h, &target, gva, size_bytes, value);
    struct split split;
    if (!translate_split(h, gva, MEM_READ, size_bytes, &split))
        return false;
    uint64_t low = ram_load_bytes(split.part[0].host, split.bytes[0]);
    uint64_t high = ram_load_bytes(split.part[1].host, split.bytes[1]);
    *value = low | high << (8 * split.bytes[0]);
    return true;
}

bool mmu_store(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t value)
{
    const struct tlb_entry *entry = &h->bank->entries[tlb_index(gva)];
    bool one_page = first_page_bytes(gva, size_bytes) == size_bytes;
    struct mmu_target target;

    HART_COUNT(h, slow_accesses, 1);
    if (one_page && (gva & TLB_PAGE_MASK) == entry->tag_write && !atomic_load(h->reservations_active)) {
        ram_store_plain((void *)(gva + entry->addend), size_bytes, value);
        return true;
    }
    if (debug_stops_access(h, gva, size_bytes, VCPU_POINT_WRITE))
        return false;
    if (one_page)
        return mmu_translate(h, gva, MEM_WRITE, size_bytes, &target) && store_piece(h, &target, gva, size_bytes, value);
    struct split split;
    if (!translate_split(h, gva, MEM_WRITE, size_bytes, &split))
        return false;
    for (unsigned i = 0; i < 2; i++)
        ram_store(h, split.part[i].host, split.part[i].gpa, split.bytes[i],
                  i ? value >> (8 * split.bytes[0] % 64) : value);
    return true;
}

/* Aligned RAM or a fault; atomics on devices are refused (PMA "AMONone"). `kinds` are the points that it may meet. */
static bool translate_atomic(struct hart *h, uint64_t gva, enum mem_access access, unsigned kinds, unsigned size_bytes,
                             struct mmu_target *target)
{
    if (debug_stops_access(h, gva, size_bytes, kinds))
        return false;
    if (gva & (size_bytes - 1))
        return fault(h, access == MEM_READ ? CAUSE_LOAD_MISALIGNED : CAUSE_STORE_MISALIGNED, gva);
    if (!mmu_translate(h, gva, access, size_bytes, target))
        return false;
    return target->host ? true : fault(h, access_fault_cause[access], gva);
}

static void begin_at(struct hart *h, const struct mmu_target *target, struct mmu_atomic *atomic)
{
    atomic->host = target->host;
    atomic->gpa = target->gpa;
    atomic->guarded = atomic_load(h->reservations_active) != 0;
    if (atomic->guarded)
        reservation_store_begin(mem_reservations(h->mem), h->config.hart_id, target->gpa);
}

bool mmu_atomic_begin(struct hart *h, uint64_t gva, unsigned size_bytes, struct mmu_atomic *atomic)
{
    struct mmu_target target;

    HART_COUNT(h, slow_accesses, 1);
    if (!translate_atomic(h, gva, MEM_WRITE, VCPU_POINT_READ | VCPU_POINT_WRITE, size_bytes, &target))
        return false;
    begin_at(h, &target, atomic);
    return true;
}

void mmu_atomic_end(struct hart *h, const struct mmu_atomic *atomic, unsigned size_bytes)
{
    if (atomic->guarded)
        reservation_store_end(mem_reservations(h->mem), atomic->gpa);
    mem_frame_stored(h->mem, mem_frame_of(h->mem, atomic->host), (unsigned)(atomic->gpa & (MEM_PAGE_BYTES - 1)),
                     size_bytes);
}

/* The fast path's look-up, for accesses that are calls anyway. */
static bool fast_target(struct hart *h, uint64_t gva, enum mem_access access, unsigned size_bytes,
                        struct mmu_target *target)
{
    const struct tlb_entry *entry = &h->bank->entries[tlb_index(gva)];
    uint64_t tag = access == MEM_READ ? entry->tag_read : entry->tag_write;

    if ((gva & (TLB_PAGE_MASK | (size_bytes - 1))) != tag)
        return false;
    target->host = (uint8_t *)(gva + entry->addend);
    target->gpa = mem_host_to_gpa(h->mem, target->host);
    return true;
}

bool mmu_compare_and_swap_pair(struct hart *h, uint64_t gva, uint64_t value[2], uint64_t low, uint64_t high)
{
    unsigned __int128 old = (unsigned __int128)value[1] << 64 | value[0];
    unsigned __int128 new = (unsigned __int128)high << 64 | low;
    struct mmu_target target;

    if (!atomic_load(h->reservations_active) && fast_target(h, gva, MEM_WRITE, sizeof(old), &target)) {
        unsigned __int128 *pair = __builtin_assume_aligned(target.host, sizeof(old));
        old = __sync_val_compare_and_swap(pair, old, new);
    } else {
        struct mmu_atomic atomic;
        if (!mmu_atomic_begin(h, gva, sizeof(old), &atomic))
            return false;
        old = __sync_val_compare_and_swap((unsigned __int128 *)atomic.host, old, new);
        mmu_atomic_end(h, &atomic, sizeof(old));
    }
    value[0] = (uint64_t)old;
    value[1] = (uint64_t)(old >> 64);
    return true;
}

bool mmu_load_reserved(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value)
{
    struct mmu_target target;

    if (!fast_target(h, gva, MEM_READ, size_bytes, &target) &&
        !translate_atomic(h, gva, MEM_READ, VCPU_POINT_READ, size_bytes, &target))
        return false;
    reservation_set(mem_reservations(h->mem), h->config.hart_id, target.gpa);
    *value = ram_load(target.host, size_bytes);
    h->reserved_value = *value;
    h->reserved_gpa = target.gpa;
    h->reserved_bytes = (uint8_t)size_bytes;
    return true;
}

bool mmu_store_conditional(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t value, bool *stored)
{
    struct mem_reservations *r = mem_reservations(h->mem);
    struct mmu_target target;
    bool direct = fast_target(h, gva, MEM_WRITE, size_bytes, &target);

    *stored = false;
    if (!direct && !translate_atomic(h, gva, MEM_WRITE, VCPU_POINT_WRITE, size_bytes, &target))
        return false;
    /* The SC must name the bytes the LR loaded: another address or size in the granule may fail, and does. */
    if (target.gpa != h->reserved_gpa || size_bytes != h->reserved_bytes)
        reservation_clear(r, h->config.hart_id);
    else
        *stored = reservation_store_conditional(r, h->config.hart_id, target.gpa, target.host, size_bytes,
                                                h->reserved_value, value);
    if (*stored && !direct)
        mem_frame_stored(h->mem, mem_frame_of(h->mem, target.host), (unsigned)(target.gpa & (MEM_PAGE_BYTES - 1)),
                         size_bytes);
    return true;
}

/* ---- shadow stacks ---- */

/* Without a cache: only the walk tells a mistaken access from one to a missing page. */
static bool translate_shadow(struct hart *h, uint64_t gva, enum mem_access access, unsigned size_bytes,
                             struct mmu_target *target)
{
    const struct tlb_view *view = &h->bank->view;
    uint64_t at = tlb_effective(view, gva);
    struct walk_params params = mmu_walk_params(h, view, access);
    struct walk_leaf leaf;

    params.shadow = true;
    HART_COUNT(h, slow_accesses, 1);
    if (debug_stops_access(h, gva, size_bytes, access == MEM_READ ? VCPU_POINT_READ : VCPU_POINT_WRITE))
        return false;
    if (!view->translated)
        return fault(h, CAUSE_STORE_ACCESS, gva);
    HART_EVENT(h, page_walks);
    enum walk_result result = walk_page_table(&params, at, &leaf);
    if (result != WALK_OK)
        return fault(h, result == WALK_PAGE_FAULT ? CAUSE_STORE_PAGE : CAUSE_STORE_ACCESS, gva);
    target->gpa = leaf.gpa | (at & ~TLB_PAGE_MASK);
    target->host = mem_ram_ptr(h->mem, target->gpa, size_bytes);
    bool allowed = pmp_allows(h, target->gpa, size_bytes, MEM_READ, view->priv) &&
                   pmp_allows(h, target->gpa, size_bytes, MEM_WRITE, view->priv);
    return target->host && allowed ? true : fault(h, CAUSE_STORE_ACCESS, gva);
}

bool mmu_shadow_store(struct hart *h, uint64_t gva, uint64_t value)
{
    struct mmu_target target;

    if (!translate_shadow(h, gva, MEM_WRITE, sizeof(value), &target))
        return false;
    ram_store(h, target.host, target.gpa, sizeof(value), value);
    return true;
}

bool mmu_shadow_load(struct hart *h, uint64_t gva, uint64_t *value)
{
    struct mmu_target target;

    if (!translate_shadow(h, gva, MEM_READ, sizeof(*value), &target))
        return false;
    *value = ram_load(target.host, sizeof(*value));
    return true;
}

bool mmu_shadow_swap(struct hart *h, uint64_t gva, unsigned size_bytes, uint64_t *value)
{
    struct mmu_target target;
    struct mmu_atomic atomic;

    if (gva & (size_bytes - 1))
        return fault(h, CAUSE_STORE_MISALIGNED, gva);
    if (!translate_shadow(h, gva, MEM_WRITE, size_bytes, &target))
        return false;
    begin_at(h, &target, &atomic);
    if (size_bytes == 4)
        *value = (uint64_t)(int64_t)__atomic_exchange_n((int32_t *)atomic.host, (int32_t)*value, __ATOMIC_SEQ_CST);
    else
        *value = __atomic_exchange_n((uint64_t *)atomic.host, *value, __ATOMIC_SEQ_CST);
    mmu_atomic_end(h, &atomic, size_bytes);
    return true;
}

/* ---- cache blocks ---- */

static bool block_fault(struct hart *h, uint64_t gva)
{
    bool page = h->trap.cause == CAUSE_LOAD_PAGE || h->trap.cause == CAUSE_STORE_PAGE;

    return fault(h, page ? CAUSE_STORE_PAGE : CAUSE_STORE_ACCESS, gva);
}

/* A block counts as one access of its size, which no device takes. */
static bool translate_block(struct hart *h, uint64_t gva, enum mem_access access, struct mmu_target *target)
{
    return mmu_translate(h, gva & ~(ISA_BLOCK_BYTES - 1ull), access, ISA_BLOCK_BYTES, target) && target->host
               ? true
               : block_fault(h, gva);
}

bool mmu_block_zero(struct hart *h, uint64_t gva)
{
    struct mmu_target target;
    bool direct = fast_target(h, gva & ~(ISA_BLOCK_BYTES - 1ull), MEM_WRITE, ISA_BLOCK_BYTES, &target);

    if (!direct && debug_stops_access(h, gva & ~(ISA_BLOCK_BYTES - 1ull), ISA_BLOCK_BYTES, VCPU_POINT_WRITE))
        return false;
    if (!direct && !translate_block(h, gva, MEM_WRITE, &target))
        return false;
    _Static_assert(ISA_BLOCK_BYTES == 1 << RESERVATION_GRANULE_SHIFT, "all of a block is stored under one lock");
    bool guarded = atomic_load(h->reservations_active) != 0;
    if (guarded)
        reservation_store_begin(mem_reservations(h->mem), h->config.hart_id, target.gpa);
    for (unsigned i = 0; i < ISA_BLOCK_BYTES; i += sizeof(uint64_t))
        ram_store_plain(target.host + i, sizeof(uint64_t), 0);
    if (guarded)
        reservation_store_end(mem_reservations(h->mem), target.gpa);
    if (!direct)
        mem_frame_stored(h->mem, mem_frame_of(h->mem, target.host), (unsigned)(target.gpa & (MEM_PAGE_BYTES - 1)),
                         ISA_BLOCK_BYTES);
    return true;
}

/* What may be written may be read (of PTEs and PMP entries alike, the opposite is reserved), so that asking for a read
 * is asking for either. */
bool mmu_block_check(struct hart *h, uint64_t gva)
{
    struct mmu_target target;

    return fast_target(h, gva & ~(ISA_BLOCK_BYTES - 1ull), MEM_READ, ISA_BLOCK_BYTES, &target) ||
           translate_block(h, gva, MEM_READ, &target);
}

bool mmu_fetch(struct hart *h, uint64_t gva, const uint8_t **host)
{
    const struct tlb_entry *entry = &h->exec_bank->entries[tlb_index(gva)];
    struct mmu_target target;

    if (TUFF_LIKELY((gva & TLB_PAGE_MASK) == entry->tag_execute)) {
        *host = (const uint8_t *)(gva + entry->addend);
        return true;
    }
    if (!mmu_translate(h, gva, MEM_EXECUTE, 2, &target))
        return false;
    if (!target.host)
        return fault(h, CAUSE_FETCH_ACCESS, gva);
    *host = target.host;
    return true;
}
