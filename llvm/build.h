/* From a region to LLVM's intermediate representation. */
#ifndef TUFF_LLVM_BUILD_H
#define TUFF_LLVM_BUILD_H

#include "engine/region/region.h"

#include <llvm-c/Core.h>

enum { CALL_C = 0, CALL_PRESERVE_ALL = 15, CALL_PRESERVE_NONE = 21 };

/* The guest registers that a statepoint's deoptimisation state stands for, by its number. */
struct live_sets {
    struct live_set {
        uint32_t x, f;
    } *sets;
    uint32_t count, capacity;
};

/* Builds the region's function, called `name`, into `module`; the bodies it calls are declared there, with the mask of
 * what each may return taken from `bodies`. The
 * registers that each exit leaves to the map of locations are put into `live`. Returns NULL, or why the region cannot
 * be built (a static string). */
const char *build_region(const struct region *region, LLVMModuleRef module, LLVMModuleRef bodies, const char *name,
                         struct live_sets *live);

/* What the build's preparation wrote on the body of `sem` under `label` (prepare.c). False: nothing. */
bool body_number(LLVMModuleRef bodies, unsigned sem, const char *label, uint64_t *number);

/* How each of the region's instructions reaches memory: packed sites (probe.h) by instruction, and how many runs there
 * are. Returns 0 or -ENOMEM. */
int plan_probes(const struct region *region, LLVMModuleRef bodies, uint64_t *sites, uint32_t *runs) TUFF_MUST_CHECK;

/* After the bodies were inlined, before registers become SSA values: floating-point registers are doubles throughout,
 * so that they live in the host's. */
void type_registers(LLVMModuleRef module, const char *name);

/* After the bodies were inlined: guest memory and the VM's own data never overlap, and the order of guest accesses to
 * different addresses is weaker than the compiler takes from C's relaxed atomics, or stronger with Ztso. Says so on
 * each access. A hart that is alone needs not look for others' reservations. */
void annotate_accesses(const struct region *region, LLVMModuleRef module, const char *name);

#endif
