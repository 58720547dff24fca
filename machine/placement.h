/* Where a machine's threads and its RAM are on the host: CPUs for vCPUs, for devices' threads and for compiling
 * threads, by the user's lists or by the host's topology (hwloc); NUMA nodes for RAM (libnuma).
 */
#ifndef TUFF_MACHINE_PLACEMENT_H
#define TUFF_MACHINE_PLACEMENT_H

#include "base/compiler.h"
#include "base/error.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;

/* Strings are borrowed. NULL: nothing is asked for. */
struct placement_config {
    /* "auto", or KIND=CPUS[,KIND=CPUS..] with kinds vcpu, io and compile, and CPUS numbers or ranges joined by '+', as
     * in "vcpu=0-3+8,io=4". */
    const char *affinity;
    /* A node's number, or "interleave". */
    const char *numa;
    uint32_t vcpu_count;
};

enum placement_kind { PLACEMENT_VCPU, PLACEMENT_IO, PLACEMENT_COMPILE, PLACEMENT_KINDS };

struct placement {
    /* Empty: wherever the kernel likes. vCPU n is on the CPU vcpu[n % vcpu_count]. */
    cpu_set_t sets[PLACEMENT_KINDS];
    int vcpu[CPU_SETSIZE];
    unsigned vcpu_count;
    int numa_node; /* -1: no node */
    bool interleave;
};

/* Decides. Returns 0, or -EINVAL with a line in `err`: not of that form, CPUs or nodes that this process cannot use. */
TUFF_MUST_CHECK int placement_make(const struct placement_config *config, struct placement *out, struct error *err);

/* The calling thread goes where threads of the kind belong, and threads that it creates from then on; `vcpu` is the
 * number of a vCPU. placement_leave() puts it back to what placement_enter() found. */
void placement_enter(const struct placement *placement, enum placement_kind kind, uint32_t vcpu, cpu_set_t *before);
void placement_leave(const cpu_set_t *before);

/* Binds RAM. Before it is touched. Returns 0, or a negative errno with a line in `err`. */
TUFF_MUST_CHECK int placement_bind(const struct placement *placement, void *host, size_t size_bytes, struct error *err);

/* One line for the user: CPUs of each kind, RAM's nodes, what huge pages were asked for and how much of RAM is in them
 * now, and whether the host gives them to shared memory. */
void placement_describe(const struct placement *placement, const struct mem *mem, char *text, size_t size);

#endif
