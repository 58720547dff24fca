/* The part of a vCPU that every back end has first; used by the back ends (in engine/ and accel/) and engine/vcpu.c. */
#ifndef TUFF_ENGINE_VCPU_INTERNAL_H
#define TUFF_ENGINE_VCPU_INTERNAL_H

#include "engine/vcpu.h"

struct vcpu {
    const struct vcpu_ops *ops;
};

#endif
