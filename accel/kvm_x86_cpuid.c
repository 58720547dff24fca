/* What CPUID tells the guest: what KVM can do here, less what this program does not carry along, with the vCPU's own
 * numbers. Documented in docs/kvm.md.
 *
 * Taken away: nested virtualisation, performance counters, MONITOR/MWAIT, machine-check banks' Intel extensions, the
 * host's caches' and packages' sharing between processors. Each vCPU is a core of one package, with one thread. Added:
 * the hypervisor bit, the time-stamp counter's deadline timer where KVM has it. KVM's own leaves (0x40000000) stay: the
 * guest finds its clock by them.
 */
#include "accel/kvm_x86.h"

#include <errno.h>
#include <stdlib.h>

enum {
    ENTRIES_MAX = 256,

    LEAF1_ECX_MONITOR = 1 << 3,
    LEAF1_ECX_VMX = 1 << 5,
    LEAF1_ECX_SMX = 1 << 6,
    LEAF1_ECX_PDCM = 1 << 15,
    LEAF1_ECX_X2APIC = 1 << 21,
    LEAF1_ECX_TSC_DEADLINE = 1 << 24,
    LEAF1_ECX_HYPERVISOR = (int)(1u << 31),
    LEAF1_EDX_HTT = 1 << 28,
    LEAF81_ECX_CMP_LEGACY = 1 << 1,
    LEAF81_ECX_SVM = 1 << 2,
    LEAF81_ECX_PERFCTR = 1 << 23,
    LEAF81_ECX_TOPOLOGY = 1 << 22,
};

static unsigned bits_for(uint32_t count)
{
    unsigned bits = 0;

    while ((1u << bits) < count)
        bits++;
    return bits;
}

/* Leaf 0xb (and 0x1f): level 0 is threads of a core, level 1 cores of the package. */
static void set_topology(struct kvm_cpuid_entry2 *e, uint32_t id, uint32_t count)
{
    enum { LEVEL_SMT = 1, LEVEL_CORE = 2 };

    e->eax = e->ebx = 0;
    e->ecx = e->index;
    e->edx = id;
    if (e->index == 0) {
        e->ebx = 1;
        e->ecx |= LEVEL_SMT << 8;
    } else if (e->index == 1) {
        e->eax = bits_for(count);
        e->ebx = count;
        e->ecx |= LEVEL_CORE << 8;
    }
}

static void filter(struct kvm_cpuid_entry2 *e, uint32_t id, uint32_t count, bool deadline_timer)
{
    switch (e->function) {
    case 1:
        e->ebx = (e->ebx & 0xffff) | (count > 255 ? 255u : count) << 16 | id << 24;
        e->ecx &=
            ~(uint32_t)(LEAF1_ECX_MONITOR | LEAF1_ECX_VMX | LEAF1_ECX_SMX | LEAF1_ECX_PDCM | LEAF1_ECX_TSC_DEADLINE);
        e->ecx |= (uint32_t)LEAF1_ECX_HYPERVISOR | (deadline_timer ? LEAF1_ECX_TSC_DEADLINE : 0);
        e->edx = count > 1 ? e->edx | LEAF1_EDX_HTT : e->edx & ~(uint32_t)LEAF1_EDX_HTT;
        break;
    case 4: /* caches: shared by one processor; cores of the package */
        if (e->eax & 0x1f)
            e->eax = (e->eax & 0x3fff) | (count > 64 ? 63u : count - 1) << 26;
        break;
    case 5:
    case 0xa:
        e->eax = e->ebx = e->ecx = e->edx = 0;
        break;
    case 0xb:
    case 0x1f:
        set_topology(e, id, count);
        break;
    case 0x80000001:
        e->ecx &= ~(uint32_t)(LEAF81_ECX_SVM | LEAF81_ECX_PERFCTR | LEAF81_ECX_TOPOLOGY | LEAF81_ECX_CMP_LEGACY);
        if (count > 1)
            e->ecx |= LEAF81_ECX_CMP_LEGACY;
        break;
    case 0x80000008:
        e->ecx = bits_for(count) << 12 | ((count > 256 ? 256u : count) - 1);
        break;
    case 0x8000000a:
    case 0x8000001e:
        e->eax = e->ebx = e->ecx = e->edx = 0;
        break;
    case 0x8000001d: /* as leaf 4 */
        e->eax &= 0x3fff;
        break;
    }
}

static void note_features(const struct kvm_cpuid2 *cpuid, uint32_t features[VCPU_X86_FEATURE_COUNT])
{
    static const struct {
        uint32_t leaf, subleaf, reg;
    } words[] = {
#define X(leaf, subleaf, reg) {leaf, subleaf, reg},
        VCPU_X86_FEATURES(X)
#undef X
    };

    for (uint32_t i = 0; i < cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
        const uint32_t regs[] = {e->eax, e->ebx, e->ecx, e->edx};
        for (size_t w = 0; w < VCPU_X86_FEATURE_COUNT; w++) {
            if (words[w].leaf == e->function && words[w].subleaf == e->index)
                features[w] = regs[words[w].reg];
        }
    }
}

int kvm_x86_set_cpuid(struct kvm_vcpu *v)
{
    struct kvm_x86 *x86 = v->arch_data;
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES_MAX * sizeof(cpuid->entries[0]));
    bool deadline = kvm_ioctl_number(v->vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

    if (!cpuid)
        return -ENOMEM;
    cpuid->nent = ENTRIES_MAX;
    int rc = kvm_ioctl(v->vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
    for (uint32_t i = 0; rc == 0 && i < cpuid->nent; i++)
        filter(&cpuid->entries[i], v->config.hart_id, v->vm->config.vcpu_count, deadline);
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_SET_CPUID2, cpuid);
    if (rc == 0)
        note_features(cpuid, x86->features);
    free(cpuid);
    return rc;
}
