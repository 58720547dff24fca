/* What the next run is to know of this one: regions around code that it had no time to compile. */
#ifndef TUFF_ENGINE_REGION_WANTED_H
#define TUFF_ENGINE_REGION_WANTED_H

struct hart;

/* Regions around what this run had no time to compile, for the store: chosen as if it were to be promoted, from the
 * hottest block down, of those that no such region contains yet. Only what is mapped now: the kernel's code, and the
 * last process'. The hart has stopped. */
void region_save_wanted(struct hart *h);

#endif
