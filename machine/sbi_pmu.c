/* SBI Performance Monitoring Unit extension (SBI 3.0, chapter "Performance Monitoring Unit Extension").
 *
 * Counters, the same for each hart:
 *
 *     index 0        hardware, CSR cycle     counts SBI_PMU_HW_CPU_CYCLES
 *     index 2        hardware, CSR instret   counts SBI_PMU_HW_INSTRUCTIONS
 *     1, 3 to 18     firmware, 64 bits       counts one of the events the VM sees (sbi_internal.h)
 *     from 19        hardware, hpmcounter3.. counts what the hart can (enum vcpu_event): cycles and instructions by the
 * SBI's numbers, anything as a raw event. With Sscofpmf only, whose interrupts make sampling: hardware events prefer
 * these
 *
 * Indices 0 and 2 are where Linux's legacy user-access mode expects the two CSRs. Both CSRs run from reset, as M-mode
 * firmware leaves them, although the counters are "stopped" here until somebody starts them.
 *
 * A firmware counter is the difference of its event's total, so that events are counted without a lock by whichever
 * hart causes them. The snapshot function is optional and not offered: sampling does without. */
#include "machine/sbi_internal.h"

#include "engine/vcpu.h"

enum {
    COUNTER_CYCLE = 0,
    COUNTER_INSTRET = 2,
    CSR_CYCLE = 0xc00,
    CSR_INSTRET = 0xc02,
    CSR_HPMCOUNTER3 = 0xc03,
    COUNTER_PROGRAMMABLE = 19, /* the first */
    COUNTER_WIDTH_BITS = 64,
    COUNTER_INFO_WIDTH_SHIFT = 12,

    EVENT_NONE = 0,
    EVENT_HW_CYCLES = 1,
    EVENT_HW_INSTRUCTIONS = 2,
    EVENT_TYPE_FIRMWARE = 0xf0000,
    EVENT_TYPE_RAW = 0x20000,
    EVENT_TYPE_RAW_V2 = 0x30000, /* more bits of mhpmevent, of which none is used here */
    EVENT_CODE_MASK = 0xffff,
    EVENT_TYPE_SHIFT = 16,

    CONFIG_SKIP_MATCH = 1 << 0,
    CONFIG_CLEAR_VALUE = 1 << 1,
    CONFIG_AUTO_START = 1 << 2,
    CONFIG_UINH = 1 << 5, /* filters: hints that may be ignored, as the fixed and the firmware's counters do */
    CONFIG_SINH = 1 << 6,
    CONFIG_MINH = 1 << 7,
    CONFIG_FLAGS = 0xff,

    START_SET_INIT_VALUE = 1 << 0,
    START_INIT_SNAPSHOT = 1 << 1,
    STOP_RESET = 1 << 0,
    STOP_TAKE_SNAPSHOT = 1 << 1,
    SNAPSHOT_FLAGS = 3,
};

#define COUNTER_INFO_FIRMWARE (1ull << 63)

const struct device_field sbi_hart_fields[] = {
    DEVICE_FIELD_ARRAY(struct sbi_hart_state, event_idx, 1),
    DEVICE_FIELD_ARRAY(struct sbi_hart_state, started, 1),
    DEVICE_FIELD_ARRAY(struct sbi_hart_state, value, 1),
    DEVICE_FIELD_ARRAY(struct sbi_hart_state, fw_total, 1),
    DEVICE_FIELD(struct sbi_hart_state, features_locked, 3),
    DEVICE_FIELD(struct sbi_hart_state, misaligned_to_firmware, 3),
    DEVICE_FIELD(struct sbi_hart_state, steal_gpa, 3),
    DEVICE_FIELD(struct sbi_hart_state, steal_ns, 3),
    DEVICE_FIELD_ARRAY(struct sbi_hart_state, triggers, 4),
    DEVICE_FIELD(struct sbi_hart_state, triggers_gpa, 4),
    {0},
};

/* mhpmevent's filters (Sscofpmf). */
#define MHPMEVENT_MINH (1ull << 62)
#define MHPMEVENT_SINH (1ull << 61)
#define MHPMEVENT_UINH (1ull << 60)

static uint64_t counter_count(const struct sbi *sbi)
{
    return sbi->config.overflow_interrupts ? SBI_COUNTERS : COUNTER_PROGRAMMABLE;
}

static bool is_programmable(uint64_t counter)
{
    return counter >= COUNTER_PROGRAMMABLE;
}

static bool is_hardware(uint64_t counter)
{
    return counter == COUNTER_CYCLE || counter == COUNTER_INSTRET || is_programmable(counter);
}

static uint32_t counter_csr(uint64_t counter)
{
    if (is_programmable(counter))
        return CSR_HPMCOUNTER3 + (uint32_t)(counter - COUNTER_PROGRAMMABLE);
    return counter == COUNTER_CYCLE ? CSR_CYCLE : CSR_INSTRET;
}

static bool is_firmware_event(uint64_t event)
{
    return event >= EVENT_TYPE_FIRMWARE + SBI_FW_SET_TIMER && event < EVENT_TYPE_FIRMWARE + SBI_FW_EVENT_END;
}

static bool is_raw_event(uint64_t event)
{
    return event == EVENT_TYPE_RAW || event == EVENT_TYPE_RAW_V2;
}

static bool is_hardware_event(uint64_t event)
{
    return event == EVENT_HW_CYCLES || event == EVENT_HW_INSTRUCTIONS || is_raw_event(event);
}

/* Raw events of both kinds say in their data which one is meant. */
static bool raw_event_exists(uint64_t data)
{
    return data && data < VCPU_EVENT_END;
}

static bool can_count(uint64_t counter, uint64_t event)
{
    if (is_programmable(counter))
        return is_hardware_event(event);
    if (counter == COUNTER_CYCLE)
        return event == EVENT_HW_CYCLES;
    if (counter == COUNTER_INSTRET)
        return event == EVENT_HW_INSTRUCTIONS;
    return is_firmware_event(event);
}

void sbi_pmu_count(struct sbi *sbi, uint32_t hart, enum sbi_fw_event event)
{
    __atomic_fetch_add(&sbi->harts[hart].fw_total[event], 1, __ATOMIC_RELAXED);
}

/* The total that a firmware counter follows; 0 for one without a (valid) event. */
static uint64_t followed_total(const struct sbi_hart_state *state, uint64_t counter)
{
    uint32_t event = state->event_idx[counter];

    if (!is_firmware_event(event))
        return 0;
    return __atomic_load_n(&state->fw_total[event & EVENT_CODE_MASK], __ATOMIC_RELAXED);
}

static void hardware_control(const struct sbi_call *call, uint64_t counter, bool running, const uint64_t *value)
{
    const struct sbi_config *c = &call->sbi->config;

    c->ops->counter_control(c->opaque, call->hart, counter_csr(counter), running, value);
}

static void program(const struct sbi_call *call, uint64_t counter, uint64_t code, uint64_t flags)
{
    const struct sbi_config *c = &call->sbi->config;

    code |= flags & CONFIG_MINH ? MHPMEVENT_MINH : 0;
    code |= flags & CONFIG_SINH ? MHPMEVENT_SINH : 0;
    code |= flags & CONFIG_UINH ? MHPMEVENT_UINH : 0;
    hardware_control(call, counter, call->sbi->harts[call->hart].started[counter], NULL);
    c->ops->counter_event(c->opaque, call->hart, counter_csr(counter), code);
}

/* The counter is stopped. */
static void start(const struct sbi_call *call, struct sbi_hart_state *state, uint64_t counter, const uint64_t *value)
{
    if (is_hardware(counter)) {
        hardware_control(call, counter, true, value);
    } else {
        if (value)
            state->value[counter] = *value;
        state->value[counter] -= followed_total(state, counter);
    }
    state->started[counter] = true;
}

/* The counter is started. */
static void stop(const struct sbi_call *call, struct sbi_hart_state *state, uint64_t counter)
{
    if (is_hardware(counter))
        hardware_control(call, counter, false, NULL);
    else
        state->value[counter] += followed_total(state, counter);
    state->started[counter] = false;
}

static void clear(const struct sbi_call *call, struct sbi_hart_state *state, uint64_t counter)
{
    static const uint64_t zero;

    if (is_hardware(counter))
        hardware_control(call, counter, state->started[counter], &zero);
    else
        state->value[counter] = state->started[counter] ? 0 - followed_total(state, counter) : 0;
}

void sbi_pmu_reset(struct sbi *sbi, uint32_t hart)
{
    struct sbi_hart_state *state = &sbi->harts[hart];

    for (uint64_t counter = 0; counter < SBI_COUNTERS; counter++) {
        state->event_idx[counter] = EVENT_NONE;
        state->started[counter] = false;
        state->value[counter] = 0;
    }
}

/* A set of counters: bit i of `mask` is counter base + i. At least one, all of them existing. */
static bool resolve_counters(const struct sbi *sbi, uint64_t base, uint64_t mask, uint64_t *counters)
{
    uint64_t count = counter_count(sbi);

    if (mask == 0 || base >= count || (mask << base) >> base != mask || (mask << base) >> count)
        return false;
    *counters = mask << base;
    return true;
}

static enum vcpu_action counter_get_info(const struct sbi_call *call)
{
    uint64_t counter = call->args[0];
    uint64_t width = (uint64_t)(COUNTER_WIDTH_BITS - 1) << COUNTER_INFO_WIDTH_SHIFT;

    if (counter >= counter_count(call->sbi))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (is_hardware(counter))
        return sbi_return(call, SBI_SUCCESS, width | counter_csr(counter));
    return sbi_return(call, SBI_SUCCESS, COUNTER_INFO_FIRMWARE | width);
}

/* A stopped counter of the set that can count the event, one without a configuration before one that has: the
 * caller may hold several that it has not started yet. SBI_COUNTERS when there is none. */
static uint64_t find_counter(const struct sbi_hart_state *state, uint64_t counters, uint64_t event)
{
    uint64_t configured = SBI_COUNTERS;
    uint64_t programmable = counters & ~((1ull << COUNTER_PROGRAMMABLE) - 1);

    if (programmable && programmable != counters) {
        uint64_t counter = find_counter(state, programmable, event);
        return counter < SBI_COUNTERS ? counter : find_counter(state, counters & ~programmable, event);
    }

    for (uint64_t left = counters; left; left &= left - 1) {
        uint64_t counter = (uint64_t)__builtin_ctzll(left);
        if (state->started[counter] || !can_count(counter, event))
            continue;
        if (state->event_idx[counter] == EVENT_NONE)
            return counter;
        if (configured == SBI_COUNTERS)
            configured = counter;
    }
    return configured;
}

/* With SKIP_MATCH the first of the set is the caller's choice, which stands if that counter can count the event at all
 * and does not count another one now. */
static uint64_t first_counter(const struct sbi_hart_state *state, uint64_t counters, uint64_t event)
{
    uint64_t counter = (uint64_t)__builtin_ctzll(counters);

    if (!can_count(counter, event) || (state->started[counter] && state->event_idx[counter] != event))
        return SBI_COUNTERS;
    return counter;
}

static enum vcpu_action counter_config_matching(const struct sbi_call *call)
{
    struct sbi_hart_state *state = &call->sbi->harts[call->hart];
    uint64_t counters, flags = call->args[2], event = call->args[3], event_data = call->args[4];

    if (!resolve_counters(call->sbi, call->args[0], call->args[1], &counters) || (flags & ~(uint64_t)CONFIG_FLAGS))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    uint64_t counter =
        flags & CONFIG_SKIP_MATCH ? first_counter(state, counters, event) : find_counter(state, counters, event);
    if (counter == SBI_COUNTERS)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    bool raw = is_raw_event(event);
    if (!raw && event_data) /* reserved for every other event that can be counted here */
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (raw && !raw_event_exists(event_data))
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    state->event_idx[counter] = (uint32_t)event;
    if (is_programmable(counter))
        program(call, counter, raw ? event_data : event, flags);
    if (flags & CONFIG_CLEAR_VALUE)
        clear(call, state, counter);
    if ((flags & CONFIG_AUTO_START) && !state->started[counter])
        start(call, state, counter, NULL);
    return sbi_return(call, SBI_SUCCESS, counter);
}

static bool all_configured(const struct sbi_hart_state *state, uint64_t counters)
{
    for (uint64_t left = counters; left; left &= left - 1)
        if (state->event_idx[__builtin_ctzll(left)] == EVENT_NONE)
            return false;
    return true;
}

/* The counters that can be started are, also when another of the set already was. */
static enum vcpu_action counter_start(const struct sbi_call *call)
{
    struct sbi_hart_state *state = &call->sbi->harts[call->hart];
    uint64_t counters, flags = call->args[2];
    const uint64_t *value = flags & START_SET_INIT_VALUE ? &call->args[3] : NULL;
    int error = SBI_SUCCESS;

    if (!resolve_counters(call->sbi, call->args[0], call->args[1], &counters) || (flags & ~(uint64_t)SNAPSHOT_FLAGS) ||
        flags == (START_SET_INIT_VALUE | START_INIT_SNAPSHOT) || !all_configured(state, counters))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (flags & START_INIT_SNAPSHOT)
        return sbi_return(call, SBI_ERR_NO_SHMEM, 0);
    for (uint64_t left = counters; left; left &= left - 1) {
        uint64_t counter = (uint64_t)__builtin_ctzll(left);
        if (state->started[counter])
            error = SBI_ERR_ALREADY_STARTED;
        else
            start(call, state, counter, value);
    }
    return sbi_return(call, error, 0);
}

/* Likewise; a reset takes the configuration from stopped ones too, which is how a caller gives a counter back. */
static enum vcpu_action counter_stop(const struct sbi_call *call)
{
    struct sbi_hart_state *state = &call->sbi->harts[call->hart];
    uint64_t counters, flags = call->args[2];
    int error = SBI_SUCCESS;

    if (!resolve_counters(call->sbi, call->args[0], call->args[1], &counters) || (flags & ~(uint64_t)SNAPSHOT_FLAGS))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (flags & STOP_TAKE_SNAPSHOT)
        return sbi_return(call, SBI_ERR_NO_SHMEM, 0);
    for (uint64_t left = counters; left; left &= left - 1) {
        uint64_t counter = (uint64_t)__builtin_ctzll(left);
        if (state->started[counter])
            stop(call, state, counter);
        else
            error = SBI_ERR_ALREADY_STOPPED;
        if (flags & STOP_RESET)
            state->event_idx[counter] = EVENT_NONE;
    }
    return sbi_return(call, error, 0);
}

/* `high`: the upper half, which RV64 callers find in the value already. */
static enum vcpu_action counter_fw_read(const struct sbi_call *call, bool high)
{
    const struct sbi_hart_state *state = &call->sbi->harts[call->hart];
    uint64_t counter = call->args[0];

    if (counter >= counter_count(call->sbi) || is_hardware(counter))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    uint64_t value = state->value[counter];
    if (state->started[counter])
        value += followed_total(state, counter);
    return sbi_return(call, SBI_SUCCESS, high ? 0 : value);
}

/* ---- information about events ---- */

/* In shared memory, as the specification's table "Event info entry format". */
struct event_info {
    uint32_t event;
    uint32_t output; /* bit 0: can be counted */
    uint64_t data;
};

/* Does the number follow the encoding of events, whether it can be counted or not? */
static bool event_is_encoded(uint32_t event)
{
    switch (event >> EVENT_TYPE_SHIFT) {
    case 0: /* general */
    case 1: /* caches */
    case 15:
        return true;
    case 2:
    case 3:
        return !(event & EVENT_CODE_MASK);
    default:
        return false;
    }
}

static bool event_can_be_counted(const struct sbi *sbi, const struct event_info *info)
{
    for (uint64_t counter = 0; counter < counter_count(sbi); counter++)
        if (can_count(counter, info->event))
            return is_raw_event(info->event) ? raw_event_exists(info->data) : true;
    return false;
}

static enum vcpu_action event_get_info(const struct sbi_call *call)
{
    enum { ENTRIES_MAX = 4096 }; /* bounds the time one call keeps the hart */
    struct mem *mem = call->sbi->config.mem;
    uint64_t count = call->args[2];

    if (call->args[3] || (call->args[0] & (sizeof(struct event_info) - 1)))
        return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    if (count > ENTRIES_MAX)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    if (count == 0)
        return sbi_return(call, SBI_SUCCESS, 0);
    uint64_t gpa = sbi_shared_memory(call, call->args[0], call->args[1], count * sizeof(struct event_info));
    if (!gpa)
        return sbi_return(call, SBI_ERR_INVALID_ADDRESS, 0);
    for (uint64_t i = 0; i < count; i++, gpa += sizeof(struct event_info)) {
        struct event_info info;
        if (mem_read(mem, gpa, &info, sizeof(info)) != 0)
            return sbi_return(call, SBI_ERR_FAILED, 0);
        if (!event_is_encoded(info.event))
            return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
        info.output = event_can_be_counted(call->sbi, &info);
        if (mem_write(mem, gpa + offsetof(struct event_info, output), &info.output, sizeof(info.output)) != 0)
            return sbi_return(call, SBI_ERR_FAILED, 0);
    }
    return sbi_return(call, SBI_SUCCESS, 0);
}

enum vcpu_action sbi_pmu_call(const struct sbi_call *call)
{
    switch (call->fid) {
    case 0:
        return sbi_return(call, SBI_SUCCESS, counter_count(call->sbi));
    case 1:
        return counter_get_info(call);
    case 2:
        return counter_config_matching(call);
    case 3:
        return counter_start(call);
    case 4:
        return counter_stop(call);
    case 5:
    case 6:
        return counter_fw_read(call, call->fid == 6);
    case 8:
        return event_get_info(call);
    default: /* 7, the snapshot memory, is not available */
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    }
}
