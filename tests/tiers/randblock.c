/* Making and laying out random blocks: see randblock.h.
 *
 * Instructions are drawn by filling a row's free bits at random and asking the decoder what came out; what does not fit
 * the sandbox is drawn again. That needs no knowledge of formats, so a new row of the table is generated as soon as it
 * exists.
 */
#include "randblock.h"
#include "base/compiler.h"
#include "encode.h"
#include "engine/isa/riscv/isa.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How near to each other jumps and their targets are, in items. */
enum { JUMP_ITEMS = 6, DRAWS_MAX = 100000, JALR_IMM_MAX = 1500 };

static const uint16_t excluded_rows[] = {
    RV_ROW_ecall,
    RV_ROW_ebreak,
    RV_ROW_c_ebreak,
    RV_ROW_mret,
    RV_ROW_mnret,
    RV_ROW_ssamoswap_w,
    RV_ROW_ssamoswap_d,
    RV_ROW_sret,
    RV_ROW_wfi,
    RV_ROW_sfence_vma,
    RV_ROW_sinval_vma,
    RV_ROW_sfence_w_inval,
    RV_ROW_sfence_inval_ir,
    RV_ROW_unimp,
    RV_ROW_csrrw_strap,
    RV_ROW_csrrs_strap,
    /* the emulator's user mode does not enable them */
    RV_ROW_cbo_inval,
    RV_ROW_cbo_clean,
    RV_ROW_cbo_flush,
};

bool rand_row_excluded(enum rv_row row)
{
    for (size_t i = 0; i < TUFF_ARRAY_LEN(excluded_rows); i++) {
        if (excluded_rows[i] == row)
            return true;
    }
    return row == RV_ROW_illegal;
}

/* Which operands a row has, as far as the sandbox cares. */
enum { OPERAND_RD = 1, OPERAND_FRS1 = 2, OPERAND_FRS2 = 4, OPERAND_FRS3 = 8, OPERANDS_KNOWN = 128 };

/* The INSN row that an encoding shares its body with: its syntax names the operands. */
static const struct rv_row_info *defining_row(enum rv_row row)
{
    for (unsigned other = 1; other < RV_ROW_COUNT; other++) {
        if (rv_rows[other].sem == rv_rows[row].sem && rv_rows[other].len_bytes == 4)
            return &rv_rows[other];
    }
    return &rv_rows[row];
}

static bool syntax_has(const char *syntax, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = strstr(syntax, word); at; at = strstr(at + 1, word)) {
        bool starts = at == syntax || !isalnum((unsigned char)at[-1]);
        if (starts && !isalnum((unsigned char)at[len]))
            return true;
    }
    return false;
}

/* Looked up once a row; tests are single-threaded. */
static unsigned row_operands(enum rv_row row)
{
    static uint8_t known[RV_ROW_COUNT];
    if (!known[row]) {
        const char *syntax = defining_row(row)->syntax;
        known[row] = (uint8_t)(OPERANDS_KNOWN | (syntax_has(syntax, "rd") ? OPERAND_RD : 0) |
                               (syntax_has(syntax, "frs1") ? OPERAND_FRS1 : 0) |
                               (syntax_has(syntax, "frs2") ? OPERAND_FRS2 : 0) |
                               (syntax_has(syntax, "frs3") ? OPERAND_FRS3 : 0));
    }
    return known[row];
}

static bool row_is(enum rv_row row, const char *prefix)
{
    return strncmp(rv_rows[row].id, prefix, strlen(prefix)) == 0;
}

static bool row_is_csr(enum rv_row row)
{
    return row_is(row, "csrr");
}

struct maker {
    struct rng *rng;
    const struct rand_block *block;
    struct rand_item *item;
    uint32_t index;  /* the item's place in the block */
    uint8_t pool[6]; /* registers used more often than others, so that results meet */
};

static bool is_protected(const struct maker *maker, unsigned reg)
{
    return reg == REG_SP || reg == maker->block->base || reg == maker->block->counter;
}

/* A register whose value may be replaced by an address. */
static bool may_hold_address(const struct maker *maker, unsigned reg)
{
    return reg != REG_ZERO && !is_protected(maker, reg);
}

static unsigned any_free_register(const struct maker *maker)
{
    unsigned reg;
    do {
        reg = 1 + rng_below(maker->rng, 31);
    } while (!may_hold_address(maker, reg));
    return reg;
}

static unsigned a_base(const struct maker *maker)
{
    return rng_one_in(maker->rng, 2) ? REG_SP : maker->block->base;
}

static void put_sized(struct maker *maker, uint32_t bits, unsigned len_bytes)
{
    struct rand_item *item = maker->item;
    item->insns[item->count++] = (struct rand_insn){bits, (uint8_t)len_bytes};
}

static void put(struct maker *maker, uint32_t bits)
{
    put_sized(maker, bits, 4);
}

static void put_insn(struct maker *maker, const struct rv_insn *insn)
{
    put_sized(maker, insn->raw, insn->len_bytes);
}

/* Replaces a register-sized field by one of the pool, where the row leaves the field open. */
static uint32_t bias_field(struct maker *maker, uint32_t bits, uint32_t mask, unsigned low)
{
    if ((mask >> low & 31) || rng_one_in(maker->rng, 2))
        return bits;
    return (bits & ~(31u << low)) | (uint32_t)maker->pool[rng_below(maker->rng, sizeof(maker->pool))] << low;
}

static uint32_t draw_bits(struct maker *maker, enum rv_row row)
{
    const struct rv_row_info *info = &rv_rows[row];
    uint32_t width = info->len_bytes == 2 ? 0xffff : 0xffffffff;
    uint32_t bits = info->match | ((uint32_t)rng_next(maker->rng) & ~info->mask & width);
    if (info->len_bytes == 2)
        return bits;
    bits = bias_field(maker, bits, info->mask, 7);
    bits = bias_field(maker, bits, info->mask, 15);
    bits = bias_field(maker, bits, info->mask, 20);
    if (row_is_csr(row) && !(info->mask & 0xfff00000)) /* the CSR field of a row for any: fflags, frm or fcsr */
        bits = (bits & 0xfffff) | (CSR_FFLAGS + rng_below(maker->rng, 3)) << 20;
    return bits;
}

/* Rounding modes 5 and 6 are reserved and trap. */
static bool rounding_mode_valid(const struct rv_insn *insn)
{
    return !(insn->effects & RV_RM) || (insn->rm != 5 && insn->rm != 6);
}

static bool fits_sandbox(const struct maker *maker, const struct rv_insn *insn)
{
    bool writes_x = row_operands(insn->row) & OPERAND_RD;
    if (writes_x && is_protected(maker, insn->rd) && insn->row != RV_ROW_c_addi16sp)
        return false;
    /* With x0 the emulator's x0 gets another value; the bare-metal program isa_opt has that case. */
    if (row_is(insn->row, "amocas") && insn->rd == REG_ZERO)
        return false;
    if (insn->row == RV_ROW_amocas_q && is_protected(maker, insn->rd + 1u))
        return false;
    if (!rounding_mode_valid(insn))
        return false;
    if (insn->effects & RV_INDIRECT)
        return may_hold_address(maker, insn->rs1) && abs(insn->imm) <= JALR_IMM_MAX;
    if (insn->effects & RV_ATOMIC)
        return may_hold_address(maker, insn->rs1);
    if (insn->effects & (RV_LOAD | RV_STORE)) {
        bool direct = insn->rs1 == REG_SP || insn->rs1 == maker->block->base;
        bool in_scratch = insn->imm >= -RAND_SCRATCH_BELOW && insn->imm <= RAND_SCRATCH_BELOW - 8;
        return direct ? in_scratch : may_hold_address(maker, insn->rs1);
    }
    return true;
}

static void draw(struct maker *maker, enum rv_row row, struct rv_insn *insn)
{
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        rv_decode(draw_bits(maker, row), ISA_ALL, insn);
        if (insn->row == row && fits_sandbox(maker, insn))
            return;
    }
    fprintf(stderr, "tests/tiers: no encoding of %s fits the sandbox (or its row never decodes to itself)\n",
            rv_rows[row].id);
    abort();
}

/* addi rs1, base, t so that rs1 + imm lies in the scratch area. */
static void put_base(struct maker *maker, unsigned rs1, int32_t imm, bool aligned)
{
    int32_t low = -RAND_SCRATCH_BELOW, high = RAND_SCRATCH_BELOW - 8;
    if (low < imm - 2048)
        low = imm - 2048;
    if (high > imm + 2047)
        high = imm + 2047;
    int32_t at = rng_between(maker->rng, low, high);
    if (aligned && (at & ~7) >= low)
        at &= ~7;
    else if (aligned)
        at = (at + 7) & ~7;
    put(maker, enc_addi(rs1, a_base(maker), at - imm));
}

static void make_memory(struct maker *maker, const struct rv_insn *insn)
{
    if (insn->rs1 != REG_SP && insn->rs1 != maker->block->base)
        put_base(maker, insn->rs1, insn->imm, !rng_one_in(maker->rng, 3));
    put_insn(maker, insn);
}

static bool is_lr(enum rv_row row)
{
    return row == RV_ROW_lr_w || row == RV_ROW_lr_d;
}

static bool is_sc(enum rv_row row)
{
    return row == RV_ROW_sc_w || row == RV_ROW_sc_d;
}

/* lr, something harmless, sc; sometimes a second sc, which must fail because the first used the reservation up.
 * Between them nothing that may break a reservation (Unprivileged ISA, "Eventual Success of
 * Store-Conditional Instructions"). */
static void make_reserved(struct maker *maker, struct rv_insn *insn)
{
    bool wide = insn->row == RV_ROW_lr_d || insn->row == RV_ROW_sc_d;
    struct rv_insn lr, sc;
    do {
        draw(maker, wide ? RV_ROW_lr_d : RV_ROW_lr_w, &lr);
    } while (lr.rd == lr.rs1);
    const uint32_t rs1_field = 31u << 15;
    draw(maker, wide ? RV_ROW_sc_d : RV_ROW_sc_w, &sc);
    uint32_t sc_bits = (sc.raw & ~rs1_field) | (lr.raw & rs1_field);
    if (sc.rd == lr.rs1) /* keep the address for the second sc */
        sc_bits &= ~(31u << 7);

    put_base(maker, lr.rs1, 0, true);
    put_insn(maker, &lr);
    if (rng_one_in(maker->rng, 2) && lr.rd != REG_ZERO && lr.rs1 != lr.rd)
        put(maker, enc_addi(lr.rd, lr.rd, rng_between(maker->rng, -9, 9)));
    put(maker, sc_bits);
    if (rng_one_in(maker->rng, 3)) {
        unsigned result = any_free_register(maker);
        put(maker, (sc_bits & ~(31u << 7)) | result << 7);
    }
}

static void make_atomic(struct maker *maker, struct rv_insn *insn)
{
    if (is_lr(insn->row) || is_sc(insn->row)) {
        make_reserved(maker, insn);
        return;
    }
    put_base(maker, insn->rs1, 0, true);
    if (insn->row == RV_ROW_amocas_q) /* 16-byte aligned */
        put(maker, enc_andi(insn->rs1, insn->rs1, -16));
    /* Random values are never equal: half of the compares get what is there. */
    if (row_is(insn->row, "amocas") && insn->rd != insn->rs1 && rng_one_in(maker->rng, 2)) {
        put(maker, enc_ld(insn->rd, insn->rs1, 0));
        if (insn->row == RV_ROW_amocas_q && insn->rd + 1 != insn->rs1)
            put(maker, enc_ld(insn->rd + 1u, insn->rs1, 8));
    }
    put_insn(maker, insn);
}

/* Backward: only while the counter, which never grows, is not negative. `skipped` is the size of what the guard jumps
 * over. */
static void put_guard(struct maker *maker, unsigned skipped_bytes)
{
    unsigned counter = maker->block->counter;
    put(maker, enc_addi(counter, counter, -1));
    put(maker, enc_blt(counter, REG_ZERO, (int32_t)(4 + skipped_bytes)));
}

static void choose_target(struct maker *maker, unsigned guarded_bytes)
{
    struct rand_item *item = maker->item;
    if (rng_one_in(maker->rng, 4)) {
        put_guard(maker, guarded_bytes);
        uint32_t back = rng_below(maker->rng, JUMP_ITEMS);
        item->target = back > maker->index ? 0 : maker->index - back;
    } else {
        item->target = maker->index + 1 + rng_below(maker->rng, JUMP_ITEMS);
        if (item->target > maker->block->count)
            item->target = maker->block->count;
    }
}

static void make_branch(struct maker *maker, const struct rv_insn *insn)
{
    choose_target(maker, insn->len_bytes);
    maker->item->fix = RAND_FIX_RELATIVE;
    maker->item->fix_at = maker->item->count;
    put_insn(maker, insn);
}

static void make_indirect(struct maker *maker, const struct rv_insn *insn)
{
    struct rand_item *item = maker->item;
    choose_target(maker, 8u + insn->len_bytes);
    item->fix = RAND_FIX_PCREL;
    item->fix_from = item->count;
    put(maker, enc_auipc(insn->rs1, 0));
    item->fix_at = item->count;
    put(maker, enc_addi(insn->rs1, insn->rs1, 0));
    /* Half of the sums are odd: jalr clears the lowest bit. */
    item->addend = -insn->imm + (int32_t)rng_below(maker->rng, 2);
    put_insn(maker, insn);
}

/* A CSR row; frm is made valid again, and what was in it is looked at. */
static void make_csr(struct maker *maker, const struct rv_insn *insn)
{
    put_insn(maker, insn);
    if (insn->imm != CSR_FFLAGS)
        put(maker, enc_csrrwi(any_free_register(maker), CSR_FRM, rng_below(maker->rng, 5)));
}

static void make_addi16sp(struct maker *maker, const struct rv_insn *insn)
{
    put_insn(maker, insn);
    put(maker, enc_addi(any_free_register(maker), REG_SP, rng_between(maker->rng, -2048, 2047)));
    put(maker, enc_addi(REG_SP, REG_SP, -insn->imm));
}

/* Offset of 8 aligned bytes of the scratch area. */
static int32_t scratch_place(struct maker *maker)
{
    return rng_between(maker->rng, -RAND_SCRATCH_BELOW / 8, RAND_SCRATCH_BELOW / 8 - 1) * 8;
}

/* Computation soon turns every float register into NaN, infinity or zero: bring in fresh values. */
static void refresh_operand(struct maker *maker, unsigned freg)
{
    int32_t at = scratch_place(maker);
    unsigned base = a_base(maker);
    switch (rng_below(maker->rng, 3)) {
    case 0:
        put(maker, enc_flh(freg, base, at));
        break;
    case 1:
        put(maker, enc_flw(freg, base, at));
        break;
    default:
        put(maker, enc_fld(freg, base, at));
        break;
    }
}

/* QEMU 10 is wrong about a bfloat whose box is broken (see test_fp.c), so its operand is always a fresh one. */
static void make_from_bfloat(struct maker *maker, const struct rv_insn *insn)
{
    put(maker, enc_flh(insn->rs1, a_base(maker), scratch_place(maker)));
    put_insn(maker, insn);
}

static void make_computation(struct maker *maker, const struct rv_insn *insn)
{
    unsigned operands = row_operands(insn->row);
    if ((operands & OPERAND_FRS1) && rng_one_in(maker->rng, 2))
        refresh_operand(maker, insn->rs1);
    if ((operands & OPERAND_FRS2) && rng_one_in(maker->rng, 2))
        refresh_operand(maker, insn->rs2);
    if ((operands & OPERAND_FRS3) && rng_one_in(maker->rng, 2))
        refresh_operand(maker, insn->rs3);
    put_insn(maker, insn);
    /* QEMU 10 believes that FROUND and FROUNDNX raise no flag, and drops one whose result nobody uses: here it is. */
    if (row_is(insn->row, "fround"))
        put(maker, enc_fsd(insn->rd, a_base(maker), scratch_place(maker)));
}

static void make_item(struct maker *maker, enum rv_row row)
{
    struct rv_insn insn;
    draw(maker, row, &insn);
    maker->item->row = (uint16_t)row;
    if (row_is_csr(row))
        make_csr(maker, &insn);
    else if (row == RV_ROW_c_addi16sp)
        make_addi16sp(maker, &insn);
    else if (row == RV_ROW_fcvt_s_bf16)
        make_from_bfloat(maker, &insn);
    else if (insn.effects & RV_ATOMIC)
        make_atomic(maker, &insn);
    else if (insn.effects & RV_INDIRECT)
        make_indirect(maker, &insn);
    else if (insn.effects & (RV_BRANCH | RV_JUMP))
        make_branch(maker, &insn);
    else if (insn.effects & (RV_LOAD | RV_STORE))
        make_memory(maker, &insn);
    else
        make_computation(maker, &insn);
}

static enum rv_row pick_row(struct rng *rng)
{
    enum rv_row row;
    do {
        row = (enum rv_row)rng_below(rng, RV_ROW_COUNT);
    } while (rand_row_excluded(row));
    return row;
}

void rand_block_create(struct rand_block *block, struct rng *rng, uint32_t count)
{
    *block = (struct rand_block){.items = calloc(count, sizeof(*block->items)), .count = count};
    if (!block->items)
        abort();
    /* Not x1 and x2: c.jalr and c.addi16sp write them. Two different ones. */
    block->base = (uint8_t)(3 + rng_below(rng, 29));
    do {
        block->counter = (uint8_t)(3 + rng_below(rng, 29));
    } while (block->counter == block->base);

    struct maker maker = {.rng = rng, .block = block};
    for (size_t i = 0; i < sizeof(maker.pool); i++)
        maker.pool[i] = (uint8_t)any_free_register(&maker);
    for (uint32_t i = 0; i < count; i++) {
        maker.item = &block->items[i];
        maker.index = i;
        make_item(&maker, pick_row(rng));
    }
}

void rand_block_free(struct rand_block *block)
{
    free(block->items);
    *block = (struct rand_block){0};
}

static uint32_t item_bytes(const struct rand_item *item, unsigned count)
{
    uint32_t bytes = 0;
    for (unsigned i = 0; i < count && !item->dropped; i++)
        bytes += item->insns[i].len_bytes;
    return bytes;
}

static int32_t offset_max(const struct rand_item *item)
{
    const struct rand_insn *insn = &item->insns[item->fix_at];
    if (item->fix == RAND_FIX_PCREL)
        return 2047 - JALR_IMM_MAX - 1;
    struct rv_insn decoded;
    rv_decode(insn->bits, ISA_ALL, &decoded);
    bool branch = decoded.effects & RV_BRANCH;
    if (insn->len_bytes == 2)
        return branch ? 254 : 2046;
    return branch ? 4094 : 1048574;
}

static uint32_t patched(const struct rand_item *item, int32_t offset)
{
    const struct rand_insn *insn = &item->insns[item->fix_at];
    if (item->fix == RAND_FIX_PCREL)
        return insn->bits | enc_bits(offset + item->addend, 11, 0) << 20;
    struct rv_insn decoded;
    rv_decode(insn->bits, ISA_ALL, &decoded);
    bool branch = decoded.effects & RV_BRANCH;
    if (insn->len_bytes == 2)
        return branch ? (insn->bits & ~enc_cb_mask()) | enc_cb_imm(offset)
                      : (insn->bits & ~enc_cj_mask()) | enc_cj_imm(offset);
    return branch ? (insn->bits & ~enc_b_mask()) | enc_b_imm(offset) : (insn->bits & ~enc_j_mask()) | enc_j_imm(offset);
}

/* Distance to the wanted target, or to the nearest item before it that the encoding reaches. */
static int32_t reachable_offset(const struct rand_item *item, const uint32_t *starts, uint32_t index)
{
    unsigned from_insn = item->fix == RAND_FIX_PCREL ? item->fix_from : item->fix_at;
    int32_t from = (int32_t)(starts[index] + item_bytes(item, from_insn));
    int32_t limit = offset_max(item);
    uint32_t target = item->target;
    for (;;) {
        int32_t offset = (int32_t)starts[target] - from;
        if (abs(offset) <= limit)
            return offset;
        target += target > index ? -1u : 1u;
    }
}

static void emit_item(const struct rand_item *item, const uint32_t *starts, uint32_t index, struct program *program)
{
    for (unsigned i = 0; i < item->count; i++) {
        uint32_t bits = item->insns[i].bits;
        if (item->fix != RAND_FIX_NONE && i == item->fix_at)
            bits = patched(item, reachable_offset(item, starts, index));
        program_put_sized(program, bits, item->insns[i].len_bytes);
    }
}

void rand_block_emit(const struct rand_block *block, struct program *program)
{
    uint32_t *starts = calloc(block->count + 1, sizeof(*starts));
    if (!starts)
        abort();
    for (uint32_t i = 0; i < block->count; i++)
        starts[i + 1] = starts[i] + item_bytes(&block->items[i], block->items[i].count);
    for (uint32_t i = 0; i < block->count; i++) {
        if (!block->items[i].dropped)
            emit_item(&block->items[i], starts, i, program);
    }
    free(starts);
}
