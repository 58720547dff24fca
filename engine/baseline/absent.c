/* For hosts that the build has no stencils for: there is no baseline tier. */
#include "engine/baseline/baseline.h"

bool baseline_is_built(void)
{
    return false;
}

int baseline_create(struct baseline **out)
{
    *out = NULL;
    return 0;
}

void baseline_destroy(struct baseline *baseline)
{
}

bool baseline_compile(struct hart *h, struct block *block)
{
    return false;
}

void baseline_link(struct hart *h, const struct block *block, unsigned edge, const struct block *next)
{
}

void baseline_unlink(struct hart *h, const struct block *block)
{
}

void baseline_set_region(struct hart *h, const struct block *block, bool on)
{
}

void baseline_flush(struct baseline *baseline)
{
}

const void *baseline_code(const struct hart *h, const struct block *block, size_t *bytes)
{
    *bytes = 0;
    return NULL;
}
