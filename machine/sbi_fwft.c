/* SBI Firmware Features extension (SBI 3.0, chapter "Firmware Features Extension"): what a kernel may switch on for
 * itself that M-mode firmware would hold the switch of.
 *
 * All features are of one hart. But for one they are fields of its menvcfg, so that the CSR is the state and nothing
 * can disagree with it; what is kept here is which are locked. Misaligned exceptions are the one: loads and stores of
 * any alignment are done by the engine and never trap, and a misaligned atomic, which does, could not be emulated by
 * firmware either, so that the kernel gets its exception whether it is delegated or passed on. */
#include "machine/sbi_internal.h"

enum sbi_feature {
    FEATURE_MISALIGNED,
    FEATURE_LANDING_PAD,
    FEATURE_SHADOW_STACK,
    FEATURE_DOUBLE_TRAP,
    FEATURE_PTE_AD,
    FEATURE_POINTER_MASKING,
    FEATURE_END,
};

enum { FLAG_LOCK = 1 };

/* menvcfg (Privileged Architecture 1.13, section 3.1.18). */
#define MENVCFG_LPE (1ull << 2)
#define MENVCFG_SSE (1ull << 3)
#define MENVCFG_PMM (3ull << 32)
#define MENVCFG_DTE (1ull << 59)
#define MENVCFG_ADUE (1ull << 61)

/* Pointer masking has two lengths (Smnpm): the field's values and what they mean. */
enum { PMM_SHIFT = 32, PMM_NONE = 0, PMM_7 = 2, PMM_16 = 3 };

const uint64_t sbi_fwft_environment = MENVCFG_LPE | MENVCFG_SSE | MENVCFG_PMM | MENVCFG_DTE | MENVCFG_ADUE;

static const struct {
    isa_set needs;  /* an extension; 0: always there */
    uint64_t field; /* of menvcfg; 0: none */
} features[FEATURE_END] = {
    [FEATURE_LANDING_PAD] = {ISA_EXT(ZICFILP), MENVCFG_LPE},   [FEATURE_SHADOW_STACK] = {ISA_EXT(ZICFISS), MENVCFG_SSE},
    [FEATURE_DOUBLE_TRAP] = {ISA_EXT(SSDBLTRP), MENVCFG_DTE},  [FEATURE_PTE_AD] = {ISA_EXT(SVADU), MENVCFG_ADUE},
    [FEATURE_POINTER_MASKING] = {ISA_EXT(SMNPM), MENVCFG_PMM},
};

static uint64_t environment(const struct sbi_call *call, uint64_t mask, uint64_t value)
{
    const struct sbi_config *c = &call->sbi->config;

    return c->ops->environment(c->opaque, call->hart, mask, value);
}

static uint64_t pmm_length(uint64_t pmm)
{
    return pmm == PMM_16 ? 16 : pmm == PMM_7 ? 7 : 0;
}

/* The shortest length there is of at least `length`. */
static uint64_t pmm_for(uint64_t length)
{
    return length == 0 ? PMM_NONE : length <= 7 ? PMM_7 : PMM_16;
}

static uint64_t get(const struct sbi_call *call, enum sbi_feature feature)
{
    if (feature == FEATURE_MISALIGNED)
        return !call->sbi->harts[call->hart].misaligned_to_firmware;
    uint64_t bits = environment(call, 0, 0) & features[feature].field;
    return feature == FEATURE_POINTER_MASKING ? pmm_length(bits >> PMM_SHIFT) : bits != 0;
}

static void set(const struct sbi_call *call, enum sbi_feature feature, uint64_t value)
{
    uint64_t field = features[feature].field;

    if (feature == FEATURE_MISALIGNED)
        call->sbi->harts[call->hart].misaligned_to_firmware = !value;
    else if (feature == FEATURE_POINTER_MASKING)
        environment(call, field, pmm_for(value) << PMM_SHIFT);
    else
        environment(call, field, value ? field : 0);
}

static enum vcpu_action fwft_set(const struct sbi_call *call, enum sbi_feature feature)
{
    uint8_t *locked = &call->sbi->harts[call->hart].features_locked;
    uint64_t value = call->args[1], flags = call->args[2];

    if (value > (feature == FEATURE_POINTER_MASKING ? 16 : 1) || (flags & ~(uint64_t)FLAG_LOCK))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (*locked >> feature & 1)
        return sbi_return(call, SBI_ERR_DENIED_LOCKED, 0);
    set(call, feature, value);
    if (flags & FLAG_LOCK)
        *locked |= (uint8_t)(1 << feature);
    return sbi_return(call, SBI_SUCCESS, 0);
}

enum vcpu_action sbi_fwft_call(const struct sbi_call *call)
{
    uint32_t number = (uint32_t)call->args[0];

    if (call->fid > 1)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    if (number >= FEATURE_END) /* reserved, or some other platform's */
        return sbi_return(call, SBI_ERR_DENIED, 0);
    enum sbi_feature feature = (enum sbi_feature)number;
    if (features[feature].needs && !(call->sbi->config.isa & features[feature].needs))
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    return call->fid == 0 ? fwft_set(call, feature) : sbi_return(call, SBI_SUCCESS, get(call, feature));
}

void sbi_fwft_reset(struct sbi *sbi, uint32_t hart)
{
    sbi->harts[hart].features_locked = 0;
    sbi->harts[hart].misaligned_to_firmware = 0;
}
