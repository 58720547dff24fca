/* SBI Debug Triggers extension (SBI 3.0, chapter "Debug Triggers Extension"): the hart's triggers (Sdtrig), which only
 * M-mode reaches, for a kernel's own breakpoints and watchpoints.
 *
 * A trigger's index here is that of the hart's trigger. Its configuration is in the hart's tdata1 to tdata3, so that
 * nothing can disagree with them; what is kept here is which are taken, and in which modes each fires when it is
 * enabled. What a hart cannot do is found out as any software would: by writing it and reading back what the hart made
 * of it, in no mode, so that nothing fires meanwhile.
 *
 * Counts: the chapter's tables refuse trig_count >= trig_max, with which the last trigger could never be used together
 * with the others, though the shared memory has room for all of them. As OpenSBI and its tests have it, trig_max itself
 * is allowed. */
#include "machine/sbi_internal.h"

enum { ENTRY_BYTES = 32, TYPE_MCONTROL = 2, TYPE_MCONTROL6 = 6 };
enum { STATE_MAPPED = 1 << 0, STATE_U = 1 << 1, STATE_S = 1 << 2, STATE_HAVE_HW = 1 << 5, STATE_HW_SHIFT = 8 };

/* tdata1 of every type; of types 2 and 6. */
#define TDATA1_DMODE (1ull << 59)
#define TDATA1_M (1ull << 6)
#define TDATA1_S (1ull << 4)
#define TDATA1_U (1ull << 3)
#define TDATA1_CHAIN (1ull << 11)

static uint64_t type_of(uint64_t tdata1)
{
    return tdata1 >> 60;
}

/* Of a bit that only types 2 and 6 have there. */
static bool has_bit(uint64_t tdata1, uint64_t bit)
{
    return (type_of(tdata1) == TYPE_MCONTROL || type_of(tdata1) == TYPE_MCONTROL6) && (tdata1 & bit);
}

/* ---- the hart's triggers ---- */

static struct sbi_hart_state *state_of(const struct sbi_call *call)
{
    return &call->sbi->harts[call->hart];
}

static struct sbi_trigger get(const struct sbi_call *call, uint64_t index)
{
    const struct sbi_config *c = &call->sbi->config;

    return c->ops->trigger(c->opaque, call->hart, (uint32_t)index, NULL);
}

/* Returns what the hart made of it. */
static struct sbi_trigger set(const struct sbi_call *call, uint64_t index, const struct sbi_trigger *trigger)
{
    const struct sbi_config *c = &call->sbi->config;

    return c->ops->trigger(c->opaque, call->hart, (uint32_t)index, trigger);
}

static bool is_mapped(const struct sbi_call *call, uint64_t index)
{
    return index < SBI_TRIGGERS && (state_of(call)->triggers[index] & STATE_MAPPED);
}

static uint8_t modes_of(uint64_t tdata1)
{
    return (tdata1 & TDATA1_S ? STATE_S : 0) | (tdata1 & TDATA1_U ? STATE_U : 0);
}

/* Does a trigger of the hart's take this as it is? Tried on any of them. */
static bool is_supported(const struct sbi_call *call, const struct sbi_trigger *wanted)
{
    struct sbi_trigger before = get(call, 0), tried = *wanted;

    tried.tdata1 &= ~(TDATA1_S | TDATA1_U);
    const struct sbi_trigger made = set(call, 0, &tried);
    set(call, 0, &before);
    return made.tdata1 == tried.tdata1 && made.tdata2 == tried.tdata2 && made.tdata3 == tried.tdata3;
}

/* What a configuration may not have here, then what no trigger of this hart has. */
static int64_t check(const struct sbi_call *call, const struct sbi_trigger *wanted)
{
    if ((wanted->tdata1 & TDATA1_DMODE) || has_bit(wanted->tdata1, TDATA1_M))
        return SBI_ERR_INVALID_PARAM;
    if (type_of(wanted->tdata1) != TYPE_MCONTROL6)
        return SBI_ERR_NOT_SUPPORTED;
    return is_supported(call, wanted) ? SBI_SUCCESS : SBI_ERR_NOT_SUPPORTED;
}

static void install(const struct sbi_call *call, uint64_t index, const struct sbi_trigger *wanted)
{
    set(call, index, wanted);
    state_of(call)->triggers[index] = STATE_MAPPED | modes_of(wanted->tdata1);
}

/* ---- shared memory ---- */

struct entry {
    uint64_t index; /* or its state */
    struct sbi_trigger trigger;
};
_Static_assert(sizeof(struct entry) == ENTRY_BYTES, "the specification's layout");

/* False: the state names no RAM, as a restored one may. */
static bool transfer(const struct sbi_call *call, uint64_t i, struct entry *entry, bool write)
{
    struct mem *mem = call->sbi->config.mem;
    uint64_t gpa = state_of(call)->triggers_gpa + i * ENTRY_BYTES;

    return (write ? mem_write(mem, gpa, entry, sizeof(*entry)) : mem_read(mem, gpa, entry, sizeof(*entry))) == 0;
}

static enum vcpu_action set_memory(const struct sbi_call *call)
{
    uint64_t *gpa = &state_of(call)->triggers_gpa;

    return sbi_return(call, sbi_take_shared_memory(call, sizeof(uint64_t), SBI_TRIGGERS * ENTRY_BYTES, gpa), 0);
}

static enum vcpu_action read_triggers(const struct sbi_call *call)
{
    uint64_t first = call->args[0], count = call->args[1];

    if (!state_of(call)->triggers_gpa)
        return sbi_return(call, SBI_ERR_NO_SHMEM, 0);
    if (first >= SBI_TRIGGERS || count > SBI_TRIGGERS - first)
        return sbi_return(call, SBI_ERR_BAD_RANGE, 0);
    for (uint64_t i = 0; i < count; i++) {
        struct entry entry = {0};
        if (is_mapped(call, first + i)) {
            entry.index = state_of(call)->triggers[first + i] | STATE_HAVE_HW | (first + i) << STATE_HW_SHIFT;
            entry.trigger = get(call, first + i);
        }
        if (!transfer(call, i, &entry, true))
            return sbi_return(call, SBI_ERR_FAILED, 0);
    }
    return sbi_return(call, SBI_SUCCESS, 0);
}

/* ---- installing and updating: all or nothing ---- */

static uint64_t free_trigger(const struct sbi_call *call, uint64_t from)
{
    while (from < SBI_TRIGGERS && is_mapped(call, from))
        from++;
    return from;
}

static int64_t check_new(const struct sbi_call *call, struct entry entries[SBI_TRIGGERS], uint64_t count, uint64_t *i)
{
    uint64_t place = 0;

    for (*i = 0; *i < count; ++*i) {
        int64_t error = check(call, &entries[*i].trigger);
        if (*i + 1 == count && has_bit(entries[*i].trigger.tdata1, TDATA1_CHAIN))
            error = SBI_ERR_INVALID_PARAM;
        if (error)
            return error;
        place = free_trigger(call, place);
        if (place == SBI_TRIGGERS)
            return SBI_ERR_FAILED;
        entries[*i].index = place++;
    }
    return SBI_SUCCESS;
}

static int64_t check_update(const struct sbi_call *call, struct entry entries[SBI_TRIGGERS], uint64_t count,
                            uint64_t *i)
{
    for (*i = 0; *i < count; ++*i) {
        const struct entry *e = &entries[*i];
        if (e->index >= SBI_TRIGGERS)
            return SBI_ERR_INVALID_PARAM;
        if (!is_mapped(call, e->index))
            return SBI_ERR_FAILED;
        if (type_of(e->trigger.tdata1) != type_of(get(call, e->index).tdata1) ||
            has_bit(e->trigger.tdata1, TDATA1_CHAIN))
            return SBI_ERR_INVALID_PARAM; /* no chain was ever installed */
        int64_t error = check(call, &e->trigger);
        if (error)
            return error;
    }
    return SBI_SUCCESS;
}

static enum vcpu_action configure(const struct sbi_call *call, bool update)
{
    struct entry entries[SBI_TRIGGERS];
    uint64_t count = call->args[0], i;

    if (!state_of(call)->triggers_gpa)
        return sbi_return(call, SBI_ERR_NO_SHMEM, 0);
    if (count > SBI_TRIGGERS)
        return sbi_return(call, SBI_ERR_BAD_RANGE, 0);
    for (i = 0; i < count; i++) {
        if (!transfer(call, i, &entries[i], false))
            return sbi_return(call, SBI_ERR_FAILED, i);
    }
    int64_t error = update ? check_update(call, entries, count, &i) : check_new(call, entries, count, &i);
    if (error)
        return sbi_return(call, error, i);
    for (i = 0; i < count; i++) {
        install(call, entries[i].index, &entries[i].trigger);
        if (!update && !transfer(call, i, &entries[i], true))
            return sbi_return(call, SBI_ERR_FAILED, i);
    }
    return sbi_return(call, SBI_SUCCESS, 0);
}

/* ---- sets of triggers ---- */

enum change { UNINSTALL, ENABLE, DISABLE };

static void change_one(const struct sbi_call *call, uint64_t index, enum change change)
{
    struct sbi_trigger trigger = {0};
    uint8_t *state = &state_of(call)->triggers[index];

    if (change != UNINSTALL) {
        trigger = get(call, index);
        trigger.tdata1 &= ~(TDATA1_S | TDATA1_U);
    }
    if (change == ENABLE)
        trigger.tdata1 |= (*state & STATE_S ? TDATA1_S : 0) | (*state & STATE_U ? TDATA1_U : 0);
    set(call, index, &trigger);
    if (change == UNINSTALL)
        *state = 0;
}

static enum vcpu_action change_set(const struct sbi_call *call, enum change change)
{
    uint64_t first = call->args[0], mask = call->args[1];

    for (uint64_t left = mask; left; left &= left - 1) {
        uint64_t bit = (uint64_t)__builtin_ctzll(left);
        if (first >= SBI_TRIGGERS || !is_mapped(call, first + bit))
            return sbi_return(call, SBI_ERR_INVALID_PARAM, 0);
    }
    for (uint64_t left = mask; left; left &= left - 1)
        change_one(call, first + (uint64_t)__builtin_ctzll(left), change);
    return sbi_return(call, SBI_SUCCESS, 0);
}

/* ---- calls ---- */

bool sbi_dbtr_offered(const struct sbi *sbi)
{
    return sbi->config.isa & ISA_EXT(SDTRIG);
}

static enum vcpu_action num_triggers(const struct sbi_call *call)
{
    struct sbi_trigger wanted = {.tdata1 = call->args[0]};

    return sbi_return(call, SBI_SUCCESS, !wanted.tdata1 || check(call, &wanted) == SBI_SUCCESS ? SBI_TRIGGERS : 0);
}

enum vcpu_action sbi_dbtr_call(const struct sbi_call *call)
{
    switch (call->fid) {
    case 0:
        return num_triggers(call);
    case 1:
        return set_memory(call);
    case 2:
        return read_triggers(call);
    case 3:
        return configure(call, false);
    case 4:
        return configure(call, true);
    case 5:
        return change_set(call, UNINSTALL);
    case 6:
        return change_set(call, ENABLE);
    case 7:
        return change_set(call, DISABLE);
    default:
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    }
}

void sbi_dbtr_reset(struct sbi *sbi, uint32_t hart)
{
    const struct sbi_call call = {.sbi = sbi, .hart = hart};

    for (uint64_t i = 0; i < SBI_TRIGGERS; i++) {
        if (is_mapped(&call, i))
            change_one(&call, i, UNINSTALL);
    }
    sbi->harts[hart].triggers_gpa = 0;
}
