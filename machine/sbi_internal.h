/* What sbi.c (dispatch and the small extensions), sbi_pmu.c, sbi_fwft.c, sbi_sta.c and sbi_dbtr.c share. */
#ifndef TUFF_MACHINE_SBI_INTERNAL_H
#define TUFF_MACHINE_SBI_INTERNAL_H

#include "machine/sbi.h"
#include "mem/mem.h"

struct sbi {
    struct sbi_config config;
    struct sbi_hart_state harts[SBI_HARTS_MAX];
    uint64_t stolen_seen_ns[SBI_HARTS_MAX]; /* sbi_ops.stolen_ns when steal time was told last */
};

/* One call in progress. */
struct sbi_call {
    struct sbi *sbi;
    uint32_t hart;
    const uint64_t *args; /* a0..a5 are the function's */
    uint64_t fid;
    struct sbi_ret *ret;
};

/* Codes of firmware events that the VM sees happen (table "PMU Firmware Events"). It never handles a misaligned access,
 * an access fault or an illegal instruction for S-mode (those are delegated), so the codes 0 to 4 cannot be counted
 * here. */
enum sbi_fw_event {
    SBI_FW_SET_TIMER = 5,
    SBI_FW_IPI_SENT,
    SBI_FW_IPI_RECEIVED,
    SBI_FW_FENCE_I_SENT,
    SBI_FW_FENCE_I_RECEIVED,
    SBI_FW_SFENCE_VMA_SENT,
    SBI_FW_SFENCE_VMA_RECEIVED,
    SBI_FW_SFENCE_VMA_ASID_SENT,
    SBI_FW_SFENCE_VMA_ASID_RECEIVED,
    SBI_FW_EVENT_END,
};

static inline enum vcpu_action sbi_return(const struct sbi_call *call, int64_t error, uint64_t value)
{
    *call->ret = (struct sbi_ret){.error = error, .value = value};
    return VCPU_ACTION_RESUME;
}

enum vcpu_action sbi_pmu_call(const struct sbi_call *call);
/* Any thread: the event happened to (or on) the hart. */
void sbi_pmu_count(struct sbi *sbi, uint32_t hart, enum sbi_fw_event event);
/* All counters stopped and without a configuration. Own thread. */
void sbi_pmu_reset(struct sbi *sbi, uint32_t hart);

enum vcpu_action sbi_fwft_call(const struct sbi_call *call);
/* Nothing is locked, misaligned exceptions are delegated. What is in the hart's CSRs is reset with them. */
void sbi_fwft_reset(struct sbi *sbi, uint32_t hart);

enum vcpu_action sbi_sta_call(const struct sbi_call *call);
/* Steal time is not wanted. */
void sbi_sta_reset(struct sbi *sbi, uint32_t hart);

enum vcpu_action sbi_dbtr_call(const struct sbi_call *call);
bool sbi_dbtr_offered(const struct sbi *sbi);
/* No trigger is installed. Own thread. */
void sbi_dbtr_reset(struct sbi *sbi, uint32_t hart);

/* A "shared memory physical address range": its start, or 0 where it is not RAM as a whole. */
static inline uint64_t sbi_shared_memory(const struct sbi_call *call, uint64_t low, uint64_t high, uint64_t size_bytes)
{
    return high == 0 && mem_ram_ptr(call->sbi->config.mem, low, size_bytes) ? low : 0;
}

/* The parameters of a function that sets shared memory: a0 and a1 are its address, or all ones for none (*gpa is 0
 * then), a2 is zero. `alignment` is a power of two. Returns the call's error; *gpa is set with SBI_SUCCESS only. */
static inline int64_t sbi_take_shared_memory(const struct sbi_call *call, uint64_t alignment, uint64_t size_bytes,
                                             uint64_t *gpa)
{
    uint64_t low = call->args[0], high = call->args[1];
    bool none = low == UINT64_MAX && high == UINT64_MAX;

    if (call->args[2] || (!none && (low & (alignment - 1))))
        return SBI_ERR_INVALID_PARAM;
    uint64_t start = none ? 0 : sbi_shared_memory(call, low, high, size_bytes);
    if (!none && !start)
        return SBI_ERR_INVALID_ADDRESS;
    *gpa = start;
    return SBI_SUCCESS;
}

#endif
