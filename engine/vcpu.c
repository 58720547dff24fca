/* The vCPU interface in front of its back ends. */
#include "engine/vcpu_internal.h"

int vcpu_create(const struct vcpu_ops *ops, const struct vcpu_config *config, struct vcpu **out)
{
    return ops->create(config, out);
}

void vcpu_destroy(struct vcpu *vcpu)
{
    if (vcpu)
        vcpu->ops->destroy(vcpu);
}

enum vcpu_exit vcpu_run(struct vcpu *vcpu, uint64_t max_insns)
{
    return vcpu->ops->run(vcpu, max_insns);
}

void vcpu_kick(struct vcpu *vcpu)
{
    vcpu->ops->kick(vcpu);
}

void vcpu_set_irq(struct vcpu *vcpu, enum vcpu_irq irq, bool level)
{
    if (vcpu->ops->set_irq)
        vcpu->ops->set_irq(vcpu, irq, level);
}

void vcpu_get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
    vcpu->ops->get_state(vcpu, state);
}

int vcpu_set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
    return vcpu->ops->set_state(vcpu, state);
}

uint32_t vcpu_hart_id(const struct vcpu *vcpu)
{
    return vcpu->ops->hart_id(vcpu);
}

void vcpu_counters_read(struct vcpu *vcpu, struct vcpu_counters *out)
{
    vcpu->ops->counters_read(vcpu, out);
}

uint64_t vcpu_instret(const struct vcpu *vcpu)
{
    return vcpu->ops->instret ? vcpu->ops->instret(vcpu) : 0;
}

bool vcpu_has_work(struct vcpu *vcpu)
{
    return !vcpu->ops->has_work || vcpu->ops->has_work(vcpu);
}

void vcpu_set_wake(struct vcpu *vcpu, void (*wake)(void *opaque), void *opaque)
{
    if (vcpu->ops->set_wake)
        vcpu->ops->set_wake(vcpu, wake, opaque);
}

void vcpu_timer_expired(struct vcpu *vcpu)
{
    if (vcpu->ops->timer_expired)
        vcpu->ops->timer_expired(vcpu);
}

uint64_t vcpu_next_deadline(struct vcpu *vcpu)
{
    return vcpu->ops->next_deadline ? vcpu->ops->next_deadline(vcpu) : UINT64_MAX;
}

int vcpu_set_peers(struct vcpu *vcpu, struct vcpu *const *vcpus, uint32_t count)
{
    return vcpu->ops->set_peers ? vcpu->ops->set_peers(vcpu, vcpus, count) : 0;
}

void vcpu_book_tiers(struct vcpu *vcpu)
{
    if (vcpu->ops->book_tiers)
        vcpu->ops->book_tiers(vcpu);
}

void vcpu_remote_fence(struct vcpu *self, struct vcpu *const *vcpus, uint32_t count, uint64_t mask,
                       const struct vcpu_fence *fence)
{
    if (count && vcpus[0]->ops->remote_fence)
        vcpus[0]->ops->remote_fence(self, vcpus, count, mask, fence);
}
