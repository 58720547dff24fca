/* The table of compiled regions: --stats=regions, and "regions" of --stats=json. */
#ifndef TUFF_CLI_REGIONS_H
#define TUFF_CLI_REGIONS_H

#include "machine/machine.h"

#include <jansson.h>
#include <stdio.h>

struct regions;

/* Returns NULL without memory. */
struct regions *regions_create(void);
void regions_destroy(struct regions *regions);
/* Adds those of a machine that does not run. `boot`: its number, from 1. */
void regions_add(struct regions *regions, struct machine *machine, uint32_t boot);

/* The most executed ones. */
void regions_print(struct regions *regions, FILE *out);
/* All, the most executed first. NULL without memory. The caller drops the reference. */
json_t *regions_json(struct regions *regions);

#endif
