/* What stencils (stencils.c) leave open, as lists: known to the stencils, to the tool that makes the table of them
 * (stencilgen.c) and to the translation of blocks (baseline.c).
 *
 * A hole is the address of an undefined symbol, hole_NAME, whose value a translated instruction knows. A way is an
 * undefined function, way_NAME, that a stencil ends in by a tail call.
 */
#ifndef TUFF_ENGINE_BASELINE_HOLES_H
#define TUFF_ENGINE_BASELINE_HOLES_H

/* X(name, text) */
#define STENCIL_HOLES(X)                                                    \
    X(x_rd, "offset of x[rd] from the hart")                                \
    X(x_rs1, "offset of x[rs1]")                                            \
    X(x_rs2, "offset of x[rs2]")                                            \
    X(f_rd, "offset of f[rd]")                                              \
    X(f_rs1, "offset of f[rs1]")                                            \
    X(f_rs2, "offset of f[rs2]")                                            \
    X(f_rs3, "offset of f[rs3]")                                            \
    X(imm, "the immediate")                                                 \
    X(here, "the instruction's offset in its block")                        \
    X(after, "the offset of the one behind it")                             \
    X(op, "offset of the decoded op from its block's description")          \
    X(insns, "instructions of the block")                                   \
    X(target, "where an edge leads, as an offset from the block's address") \
    X(next, "offset of the next block's description from this one's")

/* X(name, text) */
#define STENCIL_WAYS(X)                                         \
    X(next, "to what follows: dropped where that is a stencil") \
    X(dirty, "the same, and hart.r.fs_dirty is to be set")      \
    X(fall, "over the edge that goes on behind the block")      \
    X(taken, "over the edge of a jump or branch")               \
    X(indirect, "to hart.pc, which an indirect jump has set")   \
    X(miss, "to the slow instance of the same instruction")     \
    X(trap, "the instruction traps")                            \
    X(hot, "the block's heat has run out")                      \
    X(leave, "to the run loop: the block is not charged")       \
    X(there, "wherever the translation says")

enum stencil_hole {
#define X(name, text) HOLE_##name,
    STENCIL_HOLES(X)
#undef X
        STENCIL_HOLE_COUNT
};

enum stencil_way {
#define X(name, text) WAY_##name,
    STENCIL_WAYS(X)
#undef X
        STENCIL_WAY_COUNT
};

#endif
