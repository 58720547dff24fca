/* What accel/'s files share. The parts that depend on the host's architecture are struct kvm_arch. */
#ifndef TUFF_ACCEL_KVM_INTERNAL_H
#define TUFF_ACCEL_KVM_INTERNAL_H

#include "accel/accel.h"
#include "engine/vcpu_internal.h"
#include "mem/mem.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

enum { KVM_LINES_MAX = 24, KVM_DEVICE_FD_NONE = -1 };
enum { KVM_DEBUG_REGISTERS_MAX = 4, KVM_PATCH_BYTES_MAX = 4 };

struct kvm_debug_arch;
struct kvm_vcpu;

/* A breakpoint instruction in the guest's memory (kvm_debug.h). */
struct kvm_patch {
    uint64_t gva, gpa;
    uint64_t vcpus; /* bit n: vCPU n stops there */
    bool stands;
    uint8_t bytes[KVM_PATCH_BYTES_MAX]; /* the guest's own, while it stands */
};

struct kvm_debug {
    pthread_mutex_t lock; /* guards what follows */
    unsigned running;     /* vCPUs in run() */
    uint32_t patch_count;
    struct kvm_patch patches[VCPU_POINTS_MAX];
};

/* One architecture's side of a back end. */
struct kvm_arch {
    enum vcpu_guest guest;
    /* A capability that must be there, and what its absence is called; ends with a NULL name. */
    const struct kvm_need {
        int capability;
        const char *name;
    } *needs;
    int (*vm_init)(struct accel_vm *vm, struct error *err);
    int (*vcpu_init)(struct kvm_vcpu *v);
    /* NULL: nothing of the kernel's is saved as a device. */
    int (*chip_create)(struct accel_vm *vm, struct device **out);
    /* Handles an exit that is this architecture's. Returns true when run() goes on; else `*exit` is set. */
    bool (*handle)(struct kvm_vcpu *v, enum vcpu_exit *exit);
    uint64_t (*pc)(const struct kvm_vcpu *v); /* for messages */
    void (*get_state)(struct kvm_vcpu *v, struct vcpu_state *state);
    int (*set_state)(struct kvm_vcpu *v, const struct vcpu_state *state);
    const struct kvm_debug_arch *debug; /* NULL: guests cannot be debugged */
    /* RISC-V's; NULL elsewhere. */
    void (*set_irq)(struct kvm_vcpu *v, enum vcpu_irq irq, bool level);
    isa_set (*isa)(struct kvm_vcpu *v, isa_set wanted);
    int (*timebase)(struct kvm_vcpu *v, uint64_t *hz);
    int (*aia_create)(struct accel_vm *vm, const struct accel_aia_config *config, struct error *err);
};

/* The host's; NULL where there is none. */
extern const struct kvm_arch *const kvm_arch_host;

struct kvm_line {
    struct accel_vm *vm;
    int fd; /* the eventfd of an edge line; KVM_DEVICE_FD_NONE: none */
};

struct accel_vm {
    struct accel_vm_config config;
    const struct kvm_arch *arch;
    int kvm_fd, vm_fd;
    size_t run_bytes; /* of the mapping that a vCPU shares with the kernel */
    struct kvm_line lines[KVM_LINES_MAX];
    struct device *chip;
    bool dirty_log;
    uint64_t *dirty_words;
    struct kvm_debug debug;
};

struct kvm_vcpu {
    struct vcpu vcpu;
    struct accel_vm *vm;
    struct vcpu_config config;
    int fd;
    struct kvm_run *run;
    void *arch_data;
    struct vcpu_counters counters; /* written by the vCPU's thread */
    int stats_fd;                  /* KVM's own; KVM_DEVICE_FD_NONE: none */
    uint64_t interrupts_at;        /* in that file */

    /* Of a debugger; changed while the vCPU does not run. */
    struct vcpu_point debug_registers[KVM_DEBUG_REGISTERS_MAX];
    unsigned debug_register_count;
    bool stepping;
    struct kvm_patch *lifted;
    struct vcpu_stop last_stop;

    /* An access to a port or to memory is finished by the kernel when the vCPU is entered the next time. */
    bool unfinished;
    _Atomic bool kicked;
    pthread_mutex_t lock; /* guards what follows */
    bool running;
    pthread_t thread;
};

#define KVM_COUNT(v, name, n) \
    __atomic_store_n(&(v)->counters.name, (v)->counters.name + (uint64_t)(n), __ATOMIC_RELAXED)

/* ioctl() that is asked again when a signal came; returns its result or a negative errno. */
int kvm_ioctl(int fd, unsigned long request, void *argument);
static inline int kvm_ioctl_number(int fd, unsigned long request, unsigned long argument)
{
    return kvm_ioctl(fd, request, (void *)argument);
}

/* kvm_stats.c: a file with KVM's statistics of a vCPU and where in it the one of that name is; KVM_DEVICE_FD_NONE: this
 * host does not tell. Then its value, 0 without a file. Any thread. */
int kvm_stat_open(int vcpu_fd, const char *name, uint64_t *at);
uint64_t kvm_stat_read(int fd, uint64_t at);

/* kvm_riscv_aia.c */
int kvm_riscv_aia_create(struct accel_vm *vm, const struct accel_aia_config *config, struct error *err);

/* kvm_vcpu.c */
extern const struct vcpu_ops kvm_vcpu_ops;

#endif
