/* What is written about compiled code for Linux perf. Any thread. */
#ifndef TUFF_LLVM_PROFILER_H
#define TUFF_LLVM_PROFILER_H

#include "engine/tier.h"

struct region;
struct profiler;

/* Opens what the configuration asks for. Returns 0, -ENOMEM, or what opening a file gave, with a line in err. */
int profiler_create(const struct tier_config *config, struct profiler **out, struct error *err) TUFF_MUST_CHECK;
void profiler_destroy(struct profiler *profiler);
/* The region, called `name`, has code now. */
void profiler_note(struct profiler *profiler, const struct region *region, const char *name);

#endif
