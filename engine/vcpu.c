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
