/* Points in the guest's address space at which a hart stops what it does: a debugger's breakpoints and watchpoints, and
 * the guest's own triggers (triggers.c). One mechanism serves both; who set a point only decides what comes of it:
 * vcpu_run() ends, or the guest takes a breakpoint exception.
 *
 * Nothing asks about points where there are none. A virtual page with points on instructions has decoded blocks of its
 * own, whose context says so (CTX_POINTS): they end before such an instruction, which is a block by itself, and neither
 * the jump cache nor a compiled region leads into the page (regions that reach into it decline). The baseline tier
 * compiles what lies between the points. A page with points on data has no entries in the software TLB and none in a
 * mirror for that kind of access, so that each one comes to the slow path, which asks here.
 *
 * The hart's own thread, or while nobody runs it.
 */
#ifndef TUFF_ENGINE_ISA_RISCV_DEBUG_H
#define TUFF_ENGINE_ISA_RISCV_DEBUG_H

#include "engine/isa/riscv/hart.h"

/* Of hart.trap: no trap, but a stop for the debugger, before the instruction. */
#define TRAP_DEBUGGER (1ull << 62)

/* A range of addresses, both ends inclusive. */
struct debug_range {
    uint64_t first, last;
    uint8_t kinds; /* VCPU_POINT_* */
};

enum debug_passing {
    DEBUG_PASS_NOTHING,
    DEBUG_PASS_EXECUTE, /* a step begins at a breakpoint, and goes past it */
    DEBUG_PASS_ALL,     /* the access that met a watchpoint is done now */
};

struct debug {
    struct debug_range ranges[VCPU_POINTS_MAX]; /* the debugger's */
    uint32_t count;
    struct debug_range triggers[HART_TRIGGERS]; /* the guest's */
    uint16_t generation;                        /* of all points; never 0 */
    bool stepping;                              /* exceptions end run(), interrupts wait */
    enum debug_passing passing;
    struct vcpu_stop stop;
};

/* vcpu_ops: of the debugger's side in engine/vcpu.h. */
int debug_set_points(struct vcpu *vcpu, const struct vcpu_point *points, uint32_t count) TUFF_MUST_CHECK;
enum vcpu_exit debug_step(struct vcpu *vcpu);
struct vcpu_stop debug_last_stop(const struct vcpu *vcpu);
int debug_translate(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa) TUFF_MUST_CHECK;

/* Creates what a hart keeps of points. Returns 0 or -ENOMEM. */
int debug_create(struct hart *h) TUFF_MUST_CHECK;

/* Points changed: whatever was cached about pages with or without them is forgotten. */
void debug_points_changed(struct hart *h);

/* Has the page that holds gva points of one of these kinds? Only where hart.point_kinds says that there are any. */
bool debug_page_has(const struct hart *h, uint64_t gva, unsigned kinds);

static inline bool debug_page_is_watched(const struct hart *h, uint64_t gva, unsigned kinds)
{
    return TUFF_UNLIKELY(h->point_kinds & kinds) && debug_page_has(h, gva, kinds);
}

/* The context of blocks on the page that holds pc. */
static inline uint32_t debug_block_context(const struct hart *h, uint64_t pc)
{
    bool points = debug_page_is_watched(h, pc, VCPU_POINT_EXECUTE);

    return points ? h->ctx | (uint32_t)h->debug->generation << CTX_POINTS_SHIFT : h->ctx;
}

/* May something stop before an instruction at pc? */
bool debug_point_at(const struct hart *h, uint64_t pc);
/* Does something stop before the instruction of len_bytes at pc now? True: h->trap says what. */
bool debug_stops_at(struct hart *h, uint64_t pc, unsigned len_bytes);
/* Does something stop before an access of these kinds? True: h->trap says what. `gva` is as the instruction formed it.
 */
bool debug_stops_access(struct hart *h, uint64_t gva, unsigned size_bytes, unsigned kinds);

#endif
