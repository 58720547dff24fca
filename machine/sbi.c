/* SBI: dispatch and the small extensions; see sbi.h. Section names in comments are the SBI specification 3.0's.
 *
 * Each extension is a function of the call that ends in sbi_return(). Every parameter comes from a hostile guest: hart
 * numbers, masks and addresses are checked here, before the machine is asked for anything. */
#include "machine/sbi_internal.h"

#include "base/log.h"
#include "mem/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    /* Bounds the time one call keeps the hart; callers write the rest with another call ("Console Write"). */
    CONSOLE_WRITE_MAX_BYTES = 64 << 10,
    CONSOLE_READ_MAX_BYTES = 4 << 10,
};

static uint64_t all_harts(const struct sbi *sbi)
{
    return UINT64_MAX >> (64 - sbi->config.hart_count);
}

static uint64_t hart_bit(uint32_t hart)
{
    return 1ull << hart;
}

/* "Hart list parameter": bit i of `mask` is hart base + i; base -1 is every hart. */
static int resolve_harts(const struct sbi *sbi, uint64_t mask, uint64_t base, uint64_t *harts)
{
    if (base == UINT64_MAX) {
        *harts = all_harts(sbi);
        return SBI_SUCCESS;
    }
    if (base >= sbi->config.hart_count || (mask << base) >> base != mask || ((mask << base) & ~all_harts(sbi)))
        return SBI_ERR_INVALID_PARAM;
    *harts = mask << base;
    return SBI_SUCCESS;
}

/* An address where a hart can start: physical memory, and even since instructions are. */
static bool executable_address(const struct sbi *sbi, uint64_t gpa)
{
    return !(gpa & 1) && mem_ram_ptr(sbi->config.mem, gpa, 2);
}

/* One event for each other hart that is reached, on both sides. */
static void count_remote(const struct sbi_call *call, uint64_t harts, enum sbi_fw_event sent,
                         enum sbi_fw_event received)
{
    for (uint64_t left = harts & ~hart_bit(call->hart); left; left &= left - 1) {
        sbi_pmu_count(call->sbi, call->hart, sent);
        sbi_pmu_count(call->sbi, (uint32_t)__builtin_ctzll(left), received);
    }
}

/* ---- Base Extension ---- */

static bool offered(const struct sbi *sbi, uint64_t eid);

static enum vcpu_action base_call(const struct sbi_call *call)
{
    switch (call->fid) {
    case 0:
        return sbi_return(call, SBI_SUCCESS, SBI_SPEC_VERSION);
    case 1:
        return sbi_return(call, SBI_SUCCESS, SBI_IMPL_ID);
    case 2:
        return sbi_return(call, SBI_SUCCESS, SBI_IMPL_VERSION);
    case 3:
        return sbi_return(call, SBI_SUCCESS, offered(call->sbi, call->args[0]));
    case 4: /* mvendorid, marchid, mimpid: 0 is legal for each, and what the harts' CSRs read */
    case 5:
    case 6:
        return sbi_return(call, SBI_SUCCESS, 0);
    default:
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    }
}

/* ---- Timer Extension ---- */

static enum vcpu_action time_call(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;

    if (call->fid != 0)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    sbi_pmu_count(call->sbi, call->hart, SBI_FW_SET_TIMER);
    c->ops->set_timer(c->opaque, call->hart, call->args[0]);
    return sbi_return(call, SBI_SUCCESS, 0);
}

/* ---- IPI Extension ---- */

/* A stopped hart takes no interrupts, and must not find an old one when it is started. */
static uint64_t interruptible(const struct sbi *sbi, uint64_t harts)
{
    uint64_t running = 0;

    for (uint64_t left = harts; left; left &= left - 1) {
        uint32_t hart = (uint32_t)__builtin_ctzll(left);
        enum sbi_hsm_state state = sbi->config.ops->hart_state(sbi->config.opaque, hart);
        if (state != SBI_HSM_STOPPED && state != SBI_HSM_STOP_PENDING)
            running |= hart_bit(hart);
    }
    return running;
}

static enum vcpu_action ipi_call(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;
    uint64_t harts;

    if (call->fid != 0)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    int error = resolve_harts(call->sbi, call->args[0], call->args[1], &harts);
    if (error)
        return sbi_return(call, error, 0);
    harts = interruptible(call->sbi, harts);
    if (harts) {
        count_remote(call, harts, SBI_FW_IPI_SENT, SBI_FW_IPI_RECEIVED);
        c->ops->send_ipi(c->opaque, harts);
    }
    return sbi_return(call, SBI_SUCCESS, 0);
}

/* ---- RFENCE Extension ---- */

static enum vcpu_action do_fence(const struct sbi_call *call, uint64_t harts, const struct vcpu_fence *fence)
{
    const struct sbi_config *c = &call->sbi->config;

    if (harts)
        c->ops->remote_fence(c->opaque, call->hart, harts, fence);
    return sbi_return(call, SBI_SUCCESS, 0);
}

static enum vcpu_action fence_vma(const struct sbi_call *call, uint64_t harts, bool has_asid)
{
    uint64_t start = call->args[2], size = call->args[3];
    bool whole = (start == 0 && size == 0) || size == UINT64_MAX;

    if (!whole && size && size - 1 > UINT64_MAX - start)
        return sbi_return(call, SBI_ERR_INVALID_ADDRESS, 0);
    if (!whole && size == 0) /* an empty range */
        return sbi_return(call, SBI_SUCCESS, 0);
    struct vcpu_fence fence = {.kind = VCPU_FENCE_VMA,
                               .start_gva = whole ? 0 : start,
                               .size_bytes = whole ? UINT64_MAX : size,
                               .has_asid = has_asid,
                               .asid = has_asid ? (uint16_t)call->args[4] : 0};
    if (has_asid)
        count_remote(call, harts, SBI_FW_SFENCE_VMA_ASID_SENT, SBI_FW_SFENCE_VMA_ASID_RECEIVED);
    else
        count_remote(call, harts, SBI_FW_SFENCE_VMA_SENT, SBI_FW_SFENCE_VMA_RECEIVED);
    return do_fence(call, harts, &fence);
}

static enum vcpu_action rfence_call(const struct sbi_call *call)
{
    uint64_t harts;

    if (call->fid > 2) /* 3 to 6 are the hypervisor's: no hart has the H extension */
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    int error = resolve_harts(call->sbi, call->args[0], call->args[1], &harts);
    if (error)
        return sbi_return(call, error, 0);
    if (call->fid != 0)
        return fence_vma(call, harts, call->fid == 2);
    count_remote(call, harts, SBI_FW_FENCE_I_SENT, SBI_FW_FENCE_I_RECEIVED);
    return do_fence(call, harts, &(struct vcpu_fence){.kind = VCPU_FENCE_I});
}

/* ---- Hart State Management Extension ---- */

static enum vcpu_action hart_start(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;

    if (call->args[0] >= c->hart_count)
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (!executable_address(call->sbi, call->args[1]))
        return sbi_return(call, SBI_ERR_INVALID_ADDRESS, 0);
    int rc = c->ops->hart_start(c->opaque, (uint32_t)call->args[0], call->args[1], call->args[2]);
    if (rc == -EALREADY)
        return sbi_return(call, SBI_ERR_ALREADY_AVAILABLE, 0);
    return sbi_return(call, rc ? SBI_ERR_FAILED : SBI_SUCCESS, 0);
}

static enum vcpu_action hart_stop(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;

    if (c->ops->hart_stop(c->opaque, call->hart) != 0)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    /* Whoever starts it again finds all as at power-up. */
    sbi_pmu_reset(call->sbi, call->hart);
    sbi_fwft_reset(call->sbi, call->hart);
    sbi_sta_reset(call->sbi, call->hart);
    sbi_dbtr_reset(call->sbi, call->hart);
    sbi_return(call, SBI_SUCCESS, 0);
    return VCPU_ACTION_STOP;
}

static enum vcpu_action hart_get_status(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;

    if (call->args[0] >= c->hart_count)
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    return sbi_return(call, SBI_SUCCESS, (uint64_t)c->ops->hart_state(c->opaque, (uint32_t)call->args[0]));
}

static enum vcpu_action hart_suspend(const struct sbi_call *call)
{
    enum { RETENTIVE = 0, NON_RETENTIVE = 0x80000000u };
    const struct sbi_config *c = &call->sbi->config;
    uint32_t type = (uint32_t)call->args[0];

    if (type != RETENTIVE && type != NON_RETENTIVE) /* the rest is reserved or some other platform's */
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (type == NON_RETENTIVE && !executable_address(call->sbi, call->args[1]))
        return sbi_return(call, SBI_ERR_INVALID_ADDRESS, 0);
    if (c->ops->hart_suspend(c->opaque, call->hart, type == RETENTIVE, call->args[1], call->args[2]) != 0)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    sbi_return(call, SBI_SUCCESS, 0);
    return VCPU_ACTION_STOP;
}

static enum vcpu_action hsm_call(const struct sbi_call *call)
{
    switch (call->fid) {
    case 0:
        return hart_start(call);
    case 1:
        return hart_stop(call);
    case 2:
        return hart_get_status(call);
    case 3:
        return hart_suspend(call);
    default:
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    }
}

/* ---- System Suspend Extension ---- */

static bool others_are_stopped(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;

    for (uint32_t hart = 0; hart < c->hart_count; hart++)
        if (hart != call->hart && c->ops->hart_state(c->opaque, hart) != SBI_HSM_STOPPED)
            return false;
    return true;
}

/* Suspend to RAM: with the others stopped, the system sleeps when this hart does. Nobody else could start them. */
static enum vcpu_action susp_call(const struct sbi_call *call)
{
    enum { SUSPEND_TO_RAM = 0 };
    const struct sbi_config *c = &call->sbi->config;

    if (call->fid != 0)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    if ((uint32_t)call->args[0] != SUSPEND_TO_RAM) /* the rest is reserved or some other platform's */
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (!executable_address(call->sbi, call->args[1]))
        return sbi_return(call, SBI_ERR_INVALID_ADDRESS, 0);
    if (!others_are_stopped(call))
        return sbi_return(call, SBI_ERR_DENIED, 0);
    if (c->ops->hart_suspend(c->opaque, call->hart, false, call->args[1], call->args[2]) != 0)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    sbi_return(call, SBI_SUCCESS, 0);
    return VCPU_ACTION_STOP;
}

/* ---- System Reset Extension ---- */

static enum vcpu_action srst_call(const struct sbi_call *call)
{
    enum { REASON_NONE, REASON_SYSTEM_FAILURE };
    const struct sbi_config *c = &call->sbi->config;
    uint32_t type = (uint32_t)call->args[0], reason = (uint32_t)call->args[1];

    if (call->fid != 0)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    if (type > SBI_RESET_WARM_REBOOT || reason > REASON_SYSTEM_FAILURE)
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (c->ops->system_reset(c->opaque, (enum sbi_reset_type)type, reason == REASON_SYSTEM_FAILURE) != 0)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    sbi_return(call, SBI_SUCCESS, 0);
    return VCPU_ACTION_STOP;
}

/* ---- Debug Console Extension ---- */

static enum vcpu_action console_write(const struct sbi_call *call, uint64_t len, uint64_t gpa, uint64_t gpa_high)
{
    const struct sbi_config *c = &call->sbi->config;
    const uint8_t *bytes = mem_ram_ptr(c->mem, gpa, len);

    if (len == 0)
        return sbi_return(call, SBI_SUCCESS, 0);
    if (gpa_high || !bytes)
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (len > CONSOLE_WRITE_MAX_BYTES)
        len = CONSOLE_WRITE_MAX_BYTES;
    return sbi_return(call, SBI_SUCCESS, c->ops->console_write(c->opaque, bytes, len));
}

static enum vcpu_action console_read(const struct sbi_call *call, uint64_t len, uint64_t gpa, uint64_t gpa_high)
{
    const struct sbi_config *c = &call->sbi->config;
    uint8_t bytes[CONSOLE_READ_MAX_BYTES];

    if (len == 0)
        return sbi_return(call, SBI_SUCCESS, 0);
    if (gpa_high || !mem_ram_ptr(c->mem, gpa, len))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    size_t got = c->ops->console_read(c->opaque, bytes, len < sizeof(bytes) ? len : sizeof(bytes));
    if (got && mem_write(c->mem, gpa, bytes, got) != 0)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    return sbi_return(call, SBI_SUCCESS, got);
}

static enum vcpu_action console_write_byte(const struct sbi_call *call)
{
    const struct sbi_config *c = &call->sbi->config;
    uint8_t byte = (uint8_t)call->args[0];

    return sbi_return(call, c->ops->console_write(c->opaque, &byte, 1) == 1 ? SBI_SUCCESS : SBI_ERR_FAILED, 0);
}

static enum vcpu_action dbcn_call(const struct sbi_call *call)
{
    switch (call->fid) {
    case 0:
        return console_write(call, call->args[0], call->args[1], call->args[2]);
    case 1:
        return console_read(call, call->args[0], call->args[1], call->args[2]);
    case 2:
        return console_write_byte(call);
    default:
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    }
}

/* ---- dispatch ---- */

static const struct {
    uint64_t eid;
    const char *name;
    enum vcpu_action (*call)(const struct sbi_call *call);
} extensions[] = {
    {SBI_EID_TIME, "time", time_call},  {SBI_EID_IPI, "ipi", ipi_call},        {SBI_EID_RFENCE, "rfence", rfence_call},
    {SBI_EID_HSM, "hsm", hsm_call},     {SBI_EID_DBCN, "dbcn", dbcn_call},     {SBI_EID_PMU, "pmu", sbi_pmu_call},
    {SBI_EID_SRST, "srst", srst_call},  {SBI_EID_BASE, "base", base_call},     {SBI_EID_SUSP, "susp", susp_call},
    {SBI_EID_STA, "sta", sbi_sta_call}, {SBI_EID_FWFT, "fwft", sbi_fwft_call}, {SBI_EID_DBTR, "dbtr", sbi_dbtr_call},
};

static bool offered(const struct sbi *sbi, uint64_t eid)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(extensions); i++)
        if (extensions[i].eid == eid)
            return eid != SBI_EID_DBTR || sbi_dbtr_offered(sbi);
    return false;
}

enum vcpu_action sbi_handle(struct sbi *sbi, uint32_t hart, const uint64_t args[8], struct sbi_ret *ret)
{
    const struct sbi_call call = {.sbi = sbi, .hart = hart, .args = args, .fid = args[6], .ret = ret};

    for (size_t i = 0; i < TUFF_ARRAY_LEN(extensions); i++) {
        if (extensions[i].eid != args[7] || !offered(sbi, args[7]))
            continue;
        enum vcpu_action action = extensions[i].call(&call);
        log_debug(LOG_SBI,
                  "hart %u: %s %" PRIu64 " (0x%" PRIx64 ", 0x%" PRIx64 ", 0x%" PRIx64 ") = %" PRId64 ", 0x%" PRIx64,
                  hart, extensions[i].name, args[6], args[0], args[1], args[2], ret->error, ret->value);
        return action;
    }
    log_debug(LOG_SBI, "hart %u: unknown extension 0x%" PRIx64, hart, args[7]);
    return sbi_return(&call, SBI_ERR_NOT_SUPPORTED, 0);
}

int sbi_create(const struct sbi_config *config, struct sbi **out)
{
    if (config->hart_count == 0 || config->hart_count > SBI_HARTS_MAX)
        return -EINVAL;
    struct sbi *sbi = calloc(1, sizeof(*sbi));
    if (!sbi)
        return -ENOMEM;
    sbi->config = *config;
    *out = sbi;
    return 0;
}

void sbi_destroy(struct sbi *sbi)
{
    free(sbi);
}

struct sbi_hart_state *sbi_hart_state(struct sbi *sbi, uint32_t hart)
{
    return &sbi->harts[hart];
}
