/* When compiled regions reach guest memory through the host's MMU (mem/mirror.h), and what happens when that faults.
 *
 * An address space gets a mirror once its regions have looked up much in the software TLB, and loses it for a while
 * when keeping the mirror costs more than a share of the time. Pages come into it one fault at a time: the handler of
 * SIGSEGV sends the region to the place where a miss of the TLB goes (struct region_fault), the access is done by the
 * body's slow instance, and if that was plain RAM, the page is mapped.
 *
 * While a region runs, hart.mirror_limit may become out of date for it, which keeps it in a register: an old 0 makes it
 * look things up, an old limit makes it fault. The range stays reserved as long as the hart lives, and gs leads there.
 */
#ifndef TUFF_ENGINE_REGION_MIRRORED_H
#define TUFF_ENGINE_REGION_MIRRORED_H

#include "engine/isa/riscv/hart.h"

/* May a region that `h` chooses now be compiled for mirrors? Those of user code are. */
bool mirrored_wanted(const struct hart *h);
/* On the hart's thread, before it runs guest code; and when its bank changed. */
void mirrored_begin(struct hart *h);
void mirrored_bank_changed(struct hart *h);
/* The hart ends, or its blocks do: faults are not looked up in them any more. */
void mirrored_end(struct hart *h);
/* The bank has seen as many accesses as hart.mirror_wanted says: 100,000 are less than 1 ms. */
void mirrored_start(struct hart *h);
/* The access to [gva, gva + 8) was done, and found the page in the software TLB or brought it there. */
void mirrored_touched(struct hart *h, uint64_t gva, bool write);

#endif
