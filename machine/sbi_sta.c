/* SBI Steal-time Accounting extension (SBI 3.0, chapter "Steal-time Accounting Extension"): how long a hart was ready
 * to run while the host's processors did something else.
 *
 * The guest names 64 bytes of its memory for each hart:
 *
 *     0  sequence   odd while `steal` changes
 *     4  flags      zero
 *     8  steal      nanoseconds
 *    16  preempted  stays zero: a thread of the host is not told before it loses its processor
 *
 * They are written by the hart's own thread, so the hart itself never sees a change under way; the sequence is for
 * others. The guest may write them, or free the memory: it is told what was counted here, whatever it finds there. */
#include "machine/sbi_internal.h"

enum { STEAL_BYTES = 64 };

struct steal_time {
    uint32_t sequence, flags;
    uint64_t steal_ns;
};
_Static_assert(offsetof(struct steal_time, steal_ns) == 8, "the specification's layout");

static uint64_t stolen_ns(const struct sbi *sbi, uint32_t hart)
{
    return sbi->config.ops->stolen_ns(sbi->config.opaque, hart);
}

enum vcpu_action sbi_sta_call(const struct sbi_call *call)
{
    static const uint8_t zeros[STEAL_BYTES];
    struct sbi *sbi = call->sbi;
    uint64_t gpa;

    if (call->fid != 0)
        return sbi_return(call, SBI_ERR_NOT_SUPPORTED, 0);
    int64_t error = sbi_take_shared_memory(call, STEAL_BYTES, STEAL_BYTES, &gpa);
    if (error)
        return sbi_return(call, error, 0);
    if (!gpa) {
        sbi_sta_reset(sbi, call->hart);
        return sbi_return(call, SBI_SUCCESS, 0);
    }
    if (mem_write(sbi->config.mem, gpa, zeros, sizeof(zeros)) != 0)
        return sbi_return(call, SBI_ERR_FAILED, 0);
    sbi->harts[call->hart].steal_gpa = gpa;
    sbi->harts[call->hart].steal_ns = 0;
    sbi->stolen_seen_ns[call->hart] = stolen_ns(sbi, call->hart);
    return sbi_return(call, SBI_SUCCESS, 0);
}

void sbi_sta_reset(struct sbi *sbi, uint32_t hart)
{
    sbi->harts[hart].steal_gpa = 0;
}

static int write_field(struct sbi *sbi, uint64_t gpa, const void *field, size_t len)
{
    return mem_write(sbi->config.mem, gpa, field, len);
}

void sbi_steal_time_update(struct sbi *sbi, uint32_t hart)
{
    struct sbi_hart_state *state = &sbi->harts[hart];
    struct steal_time told;

    if (!state->steal_gpa)
        return;
    uint64_t now = stolen_ns(sbi, hart);
    uint64_t more = now - sbi->stolen_seen_ns[hart];
    sbi->stolen_seen_ns[hart] = now;
    if (more == 0)
        return;
    state->steal_ns += more;
    int rc = mem_read(sbi->config.mem, state->steal_gpa, &told, sizeof(told));
    told.sequence = (told.sequence | 1); /* also where the guest has left an odd one */
    told.steal_ns = state->steal_ns;
    if (rc == 0)
        rc = write_field(sbi, state->steal_gpa, &told.sequence, sizeof(told.sequence));
    if (rc == 0)
        rc = write_field(sbi, state->steal_gpa + offsetof(struct steal_time, steal_ns), &told.steal_ns,
                         sizeof(told.steal_ns));
    told.sequence++;
    if (rc == 0)
        rc = write_field(sbi, state->steal_gpa, &told.sequence, sizeof(told.sequence));
    if (rc) /* a restored state that names no RAM */
        state->steal_gpa = 0;
}
