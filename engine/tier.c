/* What a tier is asked for unless somebody says otherwise. */
#include "engine/tier.h"

void tier_config_default(struct tier_config *config)
{
    *config = (struct tier_config){.limit = UINT64_MAX,
#define X(name, value, least, most, text) .tunables.name = (value),
                                   TIER_TUNABLES(X)
#undef X
    };
}
