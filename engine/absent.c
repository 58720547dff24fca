/* For hosts that the engine does not run on: the vCPU interface is there for KVM's back end, and no hart of the
 * engine's can be made, so that none of what belongs to one is ever called. */
#include "engine/baseline/baseline.h"
#include "engine/region/shape.h"
#include "engine/tier.h"
#include "engine/vcpu_internal.h"

#include <errno.h>
#include <stdlib.h>

static int create(const struct vcpu_config *config, struct vcpu **out)
{
    return -ENOTSUP;
}

const struct vcpu_ops vcpu_riscv_ops = {.name = "none", .create = create};

uint64_t *vcpu_x(struct vcpu *vcpu)
{
    abort();
}

void vcpu_set_supervisor_timer(struct vcpu *vcpu, uint64_t deadline_ticks)
{
    abort();
}

void vcpu_set_machine_timer(struct vcpu *vcpu, uint64_t deadline_ticks)
{
    abort();
}

void vcpu_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
    abort();
}

uint64_t vcpu_time(struct vcpu *vcpu)
{
    abort();
}

bool baseline_is_built(void)
{
    return false;
}

int region_cache_create(const struct tier_ops *ops, const struct tier_config *config, struct region_cache **out,
                        struct error *err)
{
    return error_set(err, -ENOTSUP, "guests are compiled on x86-64 hosts only");
}

void region_cache_stop(struct region_cache *cache)
{
}

void region_cache_destroy(struct region_cache *cache)
{
}

const struct tier_counters *region_cache_counters(const struct region_cache *cache)
{
    abort();
}

uint64_t region_cache_each(struct region_cache *cache, tier_region_fn fn, void *opaque)
{
    return 0;
}

int region_bake(const struct tier_ops *ops, const struct tier_config *config, region_bake_fn progress, void *opaque,
                uint32_t *compiled, struct error *err)
{
    return error_set(err, -ENOTSUP, "guests are compiled on x86-64 hosts only");
}

/* Of a database that another host wrote. */
int region_shape_read(const uint8_t *bytes, size_t len, enum region_detail detail, struct region **out)
{
    return -EINVAL;
}

int region_profile_read(const uint8_t *bytes, size_t len, struct region *region)
{
    return -EINVAL;
}

void region_free(struct region *region)
{
}
