/* The RISC-V back end of the vCPU interface: creating a hart, its run loop, requests from other threads, time, neutral
 * state. */
#include "engine/isa/riscv/hart.h"

#include "engine/baseline/baseline.h"
#include "engine/interp/block.h"
#include "engine/interp/interp.h"
#include "engine/isa/riscv/debug.h"
#include "engine/isa/riscv/fp_flags.h"
#include "engine/region/installed.h"
#include "engine/region/mirrored.h"
#include "mem/frame.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { GRANT_MAX = INT32_MAX };

/* ---- context ---- */

/* Upper bits of data addresses that do not count in a mode. MXR, which lets loads stand for fetches, turns masking off
 * whether there is paging or not. */
static uint8_t masked_bits(const struct hart *h, uint8_t priv)
{
    static const uint8_t by_pmm[] = {0, 0, 64 - 57, 64 - 48};
    uint64_t config = priv == VCPU_PRIV_M ? h->mseccfg : priv == VCPU_PRIV_S ? h->menvcfg : h->senvcfg;

    return h->mstatus & MSTATUS_MXR ? 0 : by_pmm[(config & ENVCFG_PMM) >> ENVCFG_PMM_SHIFT];
}

bool hart_landing_pads(const struct hart *h, uint8_t priv)
{
    return priv == VCPU_PRIV_M ? h->mseccfg & MSECCFG_MLPE
                               : (priv == VCPU_PRIV_S ? h->menvcfg : h->senvcfg) & ENVCFG_LPE;
}

bool hart_shadow_stack(const struct hart *h, uint8_t priv)
{
    return priv != VCPU_PRIV_M && (h->menvcfg & ENVCFG_SSE) && (priv == VCPU_PRIV_S || (h->senvcfg & ENVCFG_SSE));
}

static uint32_t cfi_context(const struct hart *h)
{
    bool pads = hart_landing_pads(h, h->priv);

    return (pads ? CTX_LPE : 0) | (pads && h->elp ? CTX_ELP : 0) | (hart_shadow_stack(h, h->priv) ? CTX_SSE : 0);
}

void hart_update_context(struct hart *h)
{
    bool paging = h->satp >> SATP_MODE_SHIFT != 0;
    uint8_t data_priv = h->priv;

    if (h->priv == VCPU_PRIV_M && (h->mstatus & MSTATUS_MPRV) && (h->mnstatus & MNSTATUS_NMIE))
        data_priv = (h->mstatus & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT;
    h->ctx = ((h->mstatus & MSTATUS_FS) && (h->isa & ISA_EXT(F)) ? 0 : CTX_FS_OFF) | (uint32_t)h->frm << CTX_FRM_SHIFT |
             cfi_context(h);

    bool translated = paging && data_priv != VCPU_PRIV_M;
    struct tlb_view view = {
        .priv = data_priv,
        .translated = translated,
        .sum = translated && data_priv == VCPU_PRIV_S && (h->mstatus & MSTATUS_SUM),
        .mxr = translated && (h->mstatus & MSTATUS_MXR),
        .masked_bits = masked_bits(h, data_priv),
        .asid = translated ? (uint16_t)(h->satp >> 44) : 0,
    };
    /* Most changes are of FS, on the way into a kernel and out of it. */
    if (h->bank && h->bank == h->exec_bank && data_priv == h->priv &&
        tlb_view_word(&view) == tlb_view_word(&h->bank->view))
        return;
    h->bank = tlb_select(h->tlb, &view);
    if (data_priv == h->priv) {
        h->exec_bank = h->bank;
    } else {
        view = (struct tlb_view){.priv = h->priv};
        h->exec_bank = tlb_select(h->tlb, &view);
    }
    mirrored_bank_changed(h);
}

/* ---- requests ---- */

void hart_request_quietly(struct hart *h, uint32_t bits)
{
    atomic_fetch_or(&h->requests, bits);
    atomic_store(&h->countdown.attention, UINT32_MAX);
}

void hart_request(struct hart *h, uint32_t bits)
{
    hart_request_quietly(h, bits);
    if (h->wake)
        h->wake(h->wake_opaque);
}

uint64_t hart_ask_fence(struct hart *h, const struct vcpu_fence *fence)
{
    pthread_mutex_lock(&h->fences_lock);
    if (h->fence_count < HART_REQUESTS_MAX)
        h->fences[h->fence_count++] = *fence;
    else
        h->fence_overflow = true;
    uint64_t ticket = atomic_fetch_add(&h->fences_asked, 1) + 1;
    pthread_mutex_unlock(&h->fences_lock);
    hart_request_quietly(h, REQUEST_FENCES);
    return ticket;
}

bool hart_fence_settled(const struct hart *h, uint64_t ticket)
{
    return !atomic_load(&h->running) || atomic_load(&h->fences_done) >= ticket;
}

void hart_fence_i(struct hart *h)
{
    HART_COUNT(h, fence_is, 1);
    block_cache_fence(h);
}

/* Beyond this many pages a flush of everything is cheaper than one by one. */
enum { FENCE_PAGES_MAX = 64 };

static void fence_vma(struct hart *h, const struct vcpu_fence *fence)
{
    const uint16_t *asid = fence->has_asid ? &fence->asid : NULL;
    bool everything = (fence->start_gva == 0 && fence->size_bytes == 0) || fence->size_bytes == UINT64_MAX ||
                      fence->size_bytes > (uint64_t)FENCE_PAGES_MAX << MEM_PAGE_SHIFT;

    if (everything) {
        HART_COUNT(h, tlb_flushes, 1);
        tlb_flush(h->tlb, NULL, asid);
        return;
    }
    uint64_t first = fence->start_gva & TLB_PAGE_MASK;
    uint64_t pages = (fence->start_gva - first + fence->size_bytes + MEM_PAGE_BYTES - 1) >> MEM_PAGE_SHIFT;
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t gva = first + (i << MEM_PAGE_SHIFT);
        HART_COUNT(h, tlb_page_flushes, 1);
        tlb_flush(h->tlb, &gva, asid);
    }
}

static void drop_all_writes(struct hart *h)
{
    /* Which frames is not known any more; their bits in `writers` stay, which only costs a second request. */
    tlb_flush_first_level(h->tlb);
}

static void serve_fences(struct hart *h)
{
    struct vcpu_fence fences[HART_REQUESTS_MAX];

    pthread_mutex_lock(&h->fences_lock);
    uint32_t count = h->fence_count;
    bool overflow = h->fence_overflow;
    uint64_t ticket = atomic_load(&h->fences_asked);
    memcpy(fences, h->fences, count * sizeof(fences[0]));
    h->fence_count = 0;
    h->fence_overflow = false;
    pthread_mutex_unlock(&h->fences_lock);

    for (uint32_t i = 0; i < count; i++) {
        if (fences[i].kind == VCPU_FENCE_I) {
            hart_fence_i(h);
        } else if (fences[i].kind == VCPU_FENCE_VMA) {
            fence_vma(h, &fences[i]);
        } else {
            uint32_t frame = (uint32_t)fences[i].start_gva;
            tlb_drop_writes(h->tlb, mem_frame_host(h->mem, frame));
            mem_frame_drop_writer(h->mem, frame, h->config.hart_id);
        }
    }
    if (overflow) {
        tlb_flush(h->tlb, NULL, NULL);
        drop_all_writes(h);
        hart_fence_i(h);
    }
    atomic_store(&h->fences_done, ticket);
}

/* Takes up whatever was asked; returns true when run() must end. */
static bool serve_requests(struct hart *h)
{
    atomic_store(&h->countdown.attention, 0);
    uint32_t requests = atomic_exchange(&h->requests, 0);

    if (requests)
        HART_COUNT(h, attentions, 1);
    if (requests & REQUEST_FENCES)
        serve_fences(h);
    if (requests & REQUEST_REGIONS)
        region_serve_request(h);
    if (requests & REQUEST_DROP_BLOCKS)
        block_cache_flush(h);
    if (requests & (REQUEST_TIMER | REQUEST_KICK))
        hart_update_timers(h);
    return requests & REQUEST_KICK;
}

/* ---- time ---- */

uint64_t hart_time(struct hart *h)
{
    if (h->config.clock_insns)
        return hart_retired(h) / h->config.insns_per_tick + h->time_skip;
    return h->config.env->time_now(h->config.env_opaque);
}

/* Without Sstc the compare register is out of the guest's reach, but the VM's SBI sets it as firmware would keep a
 * timer of its own and make STIP pending. */
static bool supervisor_timer_on(const struct hart *h)
{
    return (h->menvcfg & MENVCFG_STCE) || (!(h->isa & ISA_EXT(SSTC)) && h->config.env->ecall);
}

static uint64_t next_deadline(const struct hart *h)
{
    uint64_t machine = h->timer_lines >> VCPU_IRQ_MTI & 1 ? UINT64_MAX : atomic_load(&h->mtimecmp);
    uint64_t supervisor = !supervisor_timer_on(h) || (h->timer_lines >> VCPU_IRQ_STI & 1) ? UINT64_MAX : h->stimecmp;

    return machine < supervisor ? machine : supervisor;
}

void hart_update_timers(struct hart *h)
{
    uint64_t now = hart_time(h);
    uint64_t lines = 0;

    if (now >= atomic_load(&h->mtimecmp))
        lines |= 1ull << VCPU_IRQ_MTI;
    if (supervisor_timer_on(h) && now >= h->stimecmp)
        lines |= 1ull << VCPU_IRQ_STI;
    h->timer_lines = lines;
    h->irq_check = true;
    if (h->config.clock_insns) {
        /* The run loop grants no further than the deadline; a grant that goes beyond a nearer one ends now. */
        atomic_store(&h->countdown.attention, UINT32_MAX);
    } else if (h->config.env->timer_arm) {
        h->config.env->timer_arm(h->config.env_opaque, &h->vcpu, next_deadline(h));
    }
}

/* Instructions until the next timer fires under --clock=insns. */
static uint64_t insns_to_deadline(struct hart *h)
{
    uint64_t deadline = next_deadline(h);
    uint64_t per_tick = h->config.insns_per_tick;

    if (deadline == UINT64_MAX || deadline < h->time_skip || (deadline - h->time_skip) > UINT64_MAX / per_tick)
        return deadline < h->time_skip ? 0 : UINT64_MAX;
    uint64_t at = (deadline - h->time_skip) * per_tick;
    uint64_t now = hart_retired(h);
    return at > now ? at - now : 0;
}

static void timer_expired(struct vcpu *vcpu)
{
    hart_request(HART_OF(vcpu), REQUEST_TIMER);
}

void vcpu_set_machine_timer(struct vcpu *vcpu, uint64_t deadline_ticks)
{
    struct hart *h = HART_OF(vcpu);

    atomic_store(&h->mtimecmp, deadline_ticks);
    hart_request(h, REQUEST_TIMER);
}

void vcpu_set_supervisor_timer(struct vcpu *vcpu, uint64_t deadline_ticks)
{
    struct hart *h = HART_OF(vcpu);

    h->stimecmp = deadline_ticks;
    hart_update_timers(h);
}

static uint64_t vcpu_deadline(struct vcpu *vcpu)
{
    return next_deadline(HART_OF(vcpu));
}

uint64_t vcpu_time(struct vcpu *vcpu)
{
    return hart_time(HART_OF(vcpu));
}

void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
    struct hart *h = HART_OF(vcpu);
    uint64_t now = hart_time(h);

    if (ticks > now)
        h->time_skip += ticks - now;
    hart_update_timers(h);
}

/* ---- running ---- */

void hart_set_grant(struct hart *h, uint64_t retired, uint32_t grant)
{
    atomic_store_explicit(&h->grant_end, HART_GRANT_CHANGES, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&h->countdown.insns, grant, memory_order_relaxed);
    atomic_store_explicit(&h->grant_end, retired + grant, memory_order_release);
}

/* Opens a grant of at most `insns`: what was used of the last one is booked. */
static void grant(struct hart *h, uint64_t insns)
{
    uint32_t grant = insns < GRANT_MAX ? (uint32_t)insns : GRANT_MAX;

    hart_set_grant(h, hart_retired(h), grant);
}

/* An instruction met a watchpoint and did nothing yet: it is done now, since whoever watches wants to see what it did.
 * False: it took an exception of its own instead. */
static bool pass_watchpoint(struct hart *h)
{
    enum debug_passing before = h->debug->passing;
    struct vcpu_stop stop = h->debug->stop;
    uint64_t retired = hart_retired(h);

    h->stop = false;
    h->debug->passing = DEBUG_PASS_ALL;
    grant(h, 1);
    interp_run_rest(h);
    h->debug->passing = before;
    h->debug->stop = stop;
    return hart_retired(h) != retired;
}

/* The hart has stopped for a debugger; if it goes on after all, hart.stop is false afterwards. */
static void stopped_for_debugger(struct hart *h)
{
    enum vcpu_stop_kind kind = h->debug->stop.kind;

    if (kind == VCPU_STOP_STEP || kind == VCPU_STOP_BREAKPOINT)
        return;
    bool done = pass_watchpoint(h);
    if (!done)
        h->debug->stop = (struct vcpu_stop){.kind = VCPU_STOP_STEP};
    if (done || h->debug->stepping) {
        h->stop = true;
        h->exit = VCPU_EXIT_DEBUG;
    }
}

static enum vcpu_exit run(struct vcpu *vcpu, uint64_t max_insns)
{
    struct hart *h = HART_OF(vcpu);
    enum vcpu_exit exit;

    if (h->critical)
        return VCPU_EXIT_CRITICAL;
    atomic_store(&h->running, true);
    fp_load_host(h);
    mirrored_begin(h);
    if (h->tlb_generation_seen != mem_tlb_generation(h->mem)) {
        h->tlb_generation_seen = mem_tlb_generation(h->mem);
        tlb_flush_first_level(h->tlb);
    }
    uint64_t start = hart_retired(h);
    uint64_t target = max_insns > UINT64_MAX - start ? UINT64_MAX : start + max_insns;
    h->stop = false;
    hart_update_timers(h);
    for (;;) {
        if (h->config.clock_insns)
            hart_update_timers(h);
        if (serve_requests(h)) {
            exit = VCPU_EXIT_INTERRUPTED;
            break;
        }
        h->irq_check = false;
        uint64_t left = target - hart_retired(h);
        if (left == 0) {
            exit = VCPU_EXIT_BUDGET;
            break;
        }
        if (h->stop) {
            exit = h->exit;
            break;
        }
        if (h->hpm_running)
            hpm_check(h);
        if (hart_take_interrupt(h) && h->stop) {
            exit = h->exit;
            break;
        }
        if (h->hpm_running) {
            uint64_t to_overflow = hpm_insns_to_overflow(h);
            left = to_overflow < left ? to_overflow : left;
        }
        if (h->config.clock_insns) {
            uint64_t to_deadline = insns_to_deadline(h);
            left = to_deadline && to_deadline < left ? to_deadline : left;
        }
        grant(h, left);
        interp_run(h);
        if (!h->stop && hart_charge(h, 0) > 0)
            interp_run_rest(h);
        if (h->stop && h->exit == VCPU_EXIT_DEBUG)
            stopped_for_debugger(h);
        if (h->stop) {
            exit = h->exit;
            break;
        }
    }
    grant(h, 0);
    mirrored_end(h);
    fp_save_host(h);
    atomic_store(&h->running, false);
    return exit;
}

static void kick(struct vcpu *vcpu)
{
    hart_request(HART_OF(vcpu), REQUEST_KICK);
}

static void set_irq(struct vcpu *vcpu, enum vcpu_irq irq, bool level)
{
    struct hart *h = HART_OF(vcpu);
    uint64_t bit = 1ull << irq;

    if (level)
        atomic_fetch_or(&h->lines, bit);
    else
        atomic_fetch_and(&h->lines, ~bit);
    if (level)
        hart_request(h, REQUEST_IRQ);
}

static bool has_work(struct vcpu *vcpu)
{
    struct hart *h = HART_OF(vcpu);

    if (atomic_load(&h->requests) & ~(uint32_t)(REQUEST_FENCES | REQUEST_REGIONS | REQUEST_DROP_BLOCKS))
        return true;
    return hart_interrupt_pending(h);
}

static void set_wake(struct vcpu *vcpu, void (*wake)(void *opaque), void *opaque)
{
    HART_OF(vcpu)->wake = wake;
    HART_OF(vcpu)->wake_opaque = opaque;
}

static void remote_fence(struct vcpu *self, struct vcpu *const *vcpus, uint32_t count, uint64_t mask,
                         const struct vcpu_fence *fence)
{
    uint64_t tickets[MEM_HARTS_MAX] = {0};
    struct hart *own = self ? HART_OF(self) : NULL;

    for (uint32_t i = 0; i < count; i++) {
        struct hart *h = HART_OF(vcpus[i]);
        if (!(mask >> i & 1))
            continue;
        if (h != own)
            tickets[i] = hart_ask_fence(h, fence);
        else if (fence->kind == VCPU_FENCE_I)
            hart_fence_i(h);
        else
            fence_vma(h, fence);
    }
    for (uint32_t i = 0; i < count; i++) {
        unsigned spins = 0;
        while (tickets[i] && !hart_fence_settled(HART_OF(vcpus[i]), tickets[i])) {
            /* The other may be waiting for us. Our attention stays set for whatever else was asked. */
            if (own && (atomic_load(&own->requests) & REQUEST_FENCES)) {
                atomic_fetch_and(&own->requests, ~(uint32_t)REQUEST_FENCES);
                serve_fences(own);
            }
            if (++spins > 200)
                sched_yield();
        }
    }
}

/* ---- creation ---- */

static void destroy(struct vcpu *vcpu)
{
    struct hart *h = HART_OF(vcpu);

    region_hart_destroy(h);
    block_cache_destroy(h->blocks);
    baseline_destroy(h->baseline);
    tlb_destroy(h->tlb);
    free(h->debug);
    pthread_mutex_destroy(&h->fences_lock);
    free((void *)h->peers);
    free(h);
}

static void reset(struct hart *h)
{
    h->priv = VCPU_PRIV_M;
    h->pc = h->config.reset_pc;
    h->stimecmp = UINT64_MAX;
    atomic_store(&h->mtimecmp, UINT64_MAX);
    /* Hardware that can set A and D does so out of reset; software that wants faults instead clears this. */
    h->menvcfg = h->isa & ISA_EXT(SVADU) ? MENVCFG_ADUE : 0;
    h->mstatus = h->isa & ISA_EXT(SMDBLTRP) ? MSTATUS_MDT : 0;
    h->mnstatus = h->isa & ISA_EXT(SMRNMI) ? 0 : MNSTATUS_NMIE;
    triggers_set(h, (const struct trigger[HART_TRIGGERS]){{0}}, 0, 0, 0, 0);
    hart_update_context(h);
}

static int create(const struct vcpu_config *config, struct vcpu **out)
{
    int rc = -ENOMEM;

    if ((config->isa & ~ISA_ALL) || !(config->isa & ISA_EXT(I)) || config->hart_id >= MEM_HARTS_MAX ||
        (config->clock_insns && !config->insns_per_tick))
        return -EINVAL;
    struct hart *h = aligned_alloc(64, (sizeof(*h) + 63) & ~(size_t)63);
    if (!h)
        return -ENOMEM;
    memset(h, 0, sizeof(*h));
    h->vcpu.ops = &vcpu_riscv_ops;
    h->config = *config;
    h->mem = config->mem;
    h->isa = config->isa;
    h->reservations_active = config->hart_count > 1 ? &mem_reservations(config->mem)->active : &h->alone;
    h->tlb_generation_seen = mem_tlb_generation(config->mem);
    pthread_mutex_init(&h->fences_lock, NULL);
    rc = tlb_create(&h->tlb);
    if (rc == 0)
        rc = block_cache_create(h, &h->blocks);
    if (rc == 0 && config->baseline_after)
        rc = baseline_create(config->hart_count, &h->baseline);
    if (rc == 0 && config->region_cache)
        rc = region_hart_create(h);
    if (rc == 0 && (config->isa & ISA_EXT(SDTRIG)))
        rc = debug_create(h);
    if (rc) {
        destroy(&h->vcpu);
        return rc;
    }
    reset(h);
    *out = &h->vcpu;
    return 0;
}

static int set_peers(struct vcpu *vcpu, struct vcpu *const *vcpus, uint32_t count)
{
    struct hart *h = HART_OF(vcpu);

    if (count > MEM_HARTS_MAX)
        return -EINVAL;
    struct hart **peers = calloc(count, sizeof(struct hart *));
    if (!peers)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        peers[i] = HART_OF(vcpus[i]);
    free((void *)h->peers);
    h->peers = peers;
    h->peer_count = count;
    return 0;
}

/* ---- state ---- */

/* Saved and restored as they are. */
#define STATE_CSRS(X) \
    X(medeleg)        \
    X(mideleg)        \
    X(mie)            \
    X(mtvec)          \
    X(mcounteren)     \
    X(mcountinhibit)  \
    X(mscratch)       \
    X(mepc)           \
    X(mcause)         \
    X(mtval)          \
    X(menvcfg)        \
    X(mseccfg)        \
    X(mtval2)         \
    X(ssp)            \
    X(mnscratch)      \
    X(mnepc)          \
    X(mncause)        \
    X(seeds)          \
    X(scounteren)     \
    X(senvcfg)        \
    X(stvec)          \
    X(sscratch)       \
    X(sepc)           \
    X(scause)         \
    X(stval)          \
    X(satp)           \
    X(stimecmp)       \
    X(miselect)       \
    X(siselect)       \
    X(cycle_offset)   \
    X(instret_offset) \
    X(time_skip)

static void get_triggers(const struct hart *h, struct vcpu_state *state)
{
    state->tselect = h->tselect;
    state->tcontrol = h->tcontrol;
    state->mcontext = h->mcontext;
    state->scontext = h->scontext;
    for (unsigned i = 0; i < HART_TRIGGERS; i++) {
        state->tdata1[i] = h->triggers[i].tdata1;
        state->tdata2[i] = h->triggers[i].tdata2;
        state->tdata3[i] = h->triggers[i].tdata3;
    }
}

static void set_triggers(struct hart *h, const struct vcpu_state *state)
{
    struct trigger triggers[HART_TRIGGERS];

    _Static_assert(HART_TRIGGERS == TUFF_ARRAY_LEN(state->tdata1), "one place each");
    for (unsigned i = 0; i < HART_TRIGGERS; i++)
        triggers[i] =
            (struct trigger){.tdata1 = state->tdata1[i], .tdata2 = state->tdata2[i], .tdata3 = state->tdata3[i]};
    triggers_set(h, triggers, state->tselect, state->tcontrol, state->mcontext, state->scontext);
}

static void get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
    struct hart *h = HART_OF(vcpu);

    memset(state, 0, sizeof(*state));
    state->version = VCPU_STATE_VERSION;
    state->hart_id = h->config.hart_id;
    memcpy(state->x, h->r.x, sizeof(state->x));
    memcpy(state->f, h->r.f, sizeof(state->f));
    state->pc = h->pc;
    state->priv = h->priv;
    state->fcsr = (uint32_t)h->frm << 5 | fp_read_flags(h);
    state->instret = hart_retired(h);
    state->mstatus = csr_get_mstatus(h);
    state->misa = csr_misa(h);
    /* A supervisor software interrupt that came over its line stays until the guest clears it. */
    state->mip = h->mip | (atomic_load(&h->lines) & 1ull << VCPU_IRQ_SSI);
    state->mnstatus = h->mnstatus;
    state->critical = h->critical;
    state->elp = h->elp;
#define X(name) state->name = h->name;
    STATE_CSRS(X)
#undef X
    memcpy(state->pmpaddr, h->pmpaddr, sizeof(state->pmpaddr));
    memcpy(state->pmpcfg, h->pmpcfg, sizeof(state->pmpcfg));
    memcpy(state->mstateen, h->mstateen, sizeof(state->mstateen));
    get_triggers(h, state);
    hpm_check(h);
    for (unsigned i = HPM_FIRST; i < HPM_END; i++) {
        state->mhpmevent[i] = h->hpm_event[i];
        state->mhpmcounter[i] = hpm_read(h, i);
    }
}

static int set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
    struct hart *h = HART_OF(vcpu);
    bool priv_ok = state->priv == VCPU_PRIV_U || state->priv == VCPU_PRIV_S || state->priv == VCPU_PRIV_M;
    uint64_t mode = state->satp >> SATP_MODE_SHIFT;

    if (state->version != VCPU_STATE_VERSION || state->guest != VCPU_GUEST_RISCV64 || !priv_ok || state->fcsr > 0xff ||
        !csr_satp_mode_exists(h, mode))
        return -EINVAL;
    h->tlb_mode = (uint8_t)mode;
    memcpy(h->r.x, state->x, sizeof(state->x));
    h->r.x[0] = 0;
    memcpy(h->r.f, state->f, sizeof(state->f));
    h->pc = state->pc;
    h->priv = (uint8_t)state->priv;
    fp_write_flags(h, state->fcsr & 0x1f);
    fp_write_frm(h, (uint8_t)(state->fcsr >> 5));
    hart_set_grant(h, state->instret, 0);
#define X(name) h->name = state->name;
    STATE_CSRS(X)
#undef X
    h->mip = state->mip;
    h->critical = state->critical;
    h->elp = state->elp;
    h->mnstatus = (state->mnstatus & (MNSTATUS_NMIE | MNSTATUS_MNPP | MNSTATUS_MNPELP)) |
                  (h->isa & ISA_EXT(SMRNMI) ? 0 : MNSTATUS_NMIE);
    memcpy(h->pmpaddr, state->pmpaddr, sizeof(state->pmpaddr));
    memcpy(h->pmpcfg, state->pmpcfg, sizeof(state->pmpcfg));
    csr_set_mstatus(h, state->mstatus);
    pmp_update(h);
    tlb_flush(h->tlb, NULL, NULL);
    for (unsigned i = 0; i < TUFF_ARRAY_LEN(h->mstateen); i++)
        h->mstateen[i] = state->mstateen[i] & csr_mstateen_fields(h, i);
    set_triggers(h, state);
    h->hpm_running = 0;
    memcpy(h->hpm_offset, state->mhpmcounter, sizeof(h->hpm_offset));
    for (unsigned i = HPM_FIRST; i < HPM_END; i++)
        hpm_event_write(h, i, state->mhpmevent[i]);
    hart_update_context(h);
    return 0;
}

uint64_t *vcpu_x(struct vcpu *vcpu)
{
    return HART_OF(vcpu)->r.x;
}

static uint32_t hart_id(const struct vcpu *vcpu)
{
    return ((const struct hart *)vcpu)->config.hart_id;
}

static uint64_t instret(const struct vcpu *vcpu)
{
    return hart_retired((const struct hart *)vcpu);
}

/* The same from any thread: the block being run counts as a whole. */
static uint64_t retired_seen_by_others(const struct hart *h)
{
    uint64_t end, left;

    do {
        end = atomic_load_explicit(&h->grant_end, memory_order_acquire);
        left = atomic_load_explicit(&h->countdown.insns, memory_order_acquire);
    } while (end == HART_GRANT_CHANGES || end != atomic_load_explicit(&h->grant_end, memory_order_relaxed));
    return end - left;
}

static void counters_read(struct vcpu *vcpu, struct vcpu_counters *out)
{
    const struct hart *h = HART_OF(vcpu);

#define X(name, text) out->name = __atomic_load_n(&h->counters.name, __ATOMIC_RELAXED);
    VCPU_COUNTERS(X)
#undef X
    out->insns = retired_seen_by_others(h);
}

static void book_tiers(struct vcpu *vcpu)
{
    struct hart *h = HART_OF(vcpu);

    block_cache_book(h);
    /* What a trap cut short was booked as a whole. */
    uint64_t others = h->counters.insns_interp + h->counters.insns_baseline;
    uint64_t all = hart_retired(h);
    __atomic_store_n(&h->counters.insns_regions, h->regions && all > others ? all - others : 0, __ATOMIC_RELAXED);
}

int vcpu_read_virtual(struct vcpu *vcpu, uint64_t gva, void *buf, uint32_t len)
{
    struct hart *h = HART_OF(vcpu);
    uint8_t *out = buf;

    for (uint32_t i = 0; i < len; i++) {
        struct mmu_target target;
        if (!mmu_translate(h, gva + i, MEM_READ, 1, &target) || !target.host)
            return -EFAULT;
        out[i] = *target.host;
    }
    return 0;
}

static struct mem *memory(struct vcpu *vcpu)
{
    return HART_OF(vcpu)->mem;
}

const struct vcpu_ops vcpu_riscv_ops = {
    .name = "interp",
    .create = create,
    .destroy = destroy,
    .run = run,
    .kick = kick,
    .get_state = get_state,
    .set_state = set_state,
    .set_irq = set_irq,
    .counters_read = counters_read,
    .hart_id = hart_id,
    .has_work = has_work,
    .set_wake = set_wake,
    .timer_expired = timer_expired,
    .next_deadline = vcpu_deadline,
    .set_peers = set_peers,
    .book_tiers = book_tiers,
    .instret = instret,
    .remote_fence = remote_fence,
    .set_points = debug_set_points,
    .last_stop = debug_last_stop,
    .step = debug_step,
    .translate = debug_translate,
    .memory = memory,
};
